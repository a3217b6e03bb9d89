"""PPO with a memory balances a cart-pole whose velocities it does not see."""

from jaxrl.agents import PPOHparams
from jaxrl.cli.command import main
from jaxrl.recipes.actor_critics import RecurrentPPO, build_recurrent_ppo
from jaxrl.runs import Budget, Execution, Experiment, Options, Task

experiment = Experiment(
    name="ppo_memory",
    algorithm="recurrent PPO",
    build=build_recurrent_ppo,
    defaults=Options(
        task=Task("CartPole-v1", env_options=("velocities=False",)),
        hparams=PPOHparams(learning_rate=1e-3, learning_rate_decay_steps=1_000_000),
        config=RecurrentPPO(num_envs=32, rollout_length=128, sequence_length=32, num_epochs=4, num_minibatches=8),
        budget=Budget(1_000_000),
        execution=Execution(sequential=True),
    ),
)

if __name__ == "__main__":
    main(experiment)
