"""REINFORCE with a learned baseline balances a cart-pole."""

from jaxrl.agents import ReinforceHparams
from jaxrl.cli import Experiment, Options, main
from jaxrl.cli.on_policy import Reinforce, build

experiment = Experiment(
    name="reinforce_cartpole",
    algorithm="REINFORCE",
    build=build,
    defaults=Options(
        env="CartPole-v1",
        total_steps=2_000_000,
        hparams=ReinforceHparams(learning_rate=5e-3),
        config=Reinforce(num_envs=16, rollout_length=500, fresh_worlds=True),
    ),
)

if __name__ == "__main__":
    main(experiment)
