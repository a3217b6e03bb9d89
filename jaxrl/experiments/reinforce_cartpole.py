"""REINFORCE with a learned baseline balances a cart-pole."""

from jaxrl.agents import ReinforceHparams
from jaxrl.cli.command import main
from jaxrl.recipes.actor_critics import Reinforce, build_reinforce, ignored_by_policy_gradient
from jaxrl.runs import Budget, Execution, Experiment, Options, Task

experiment = Experiment(
    name="reinforce_cartpole",
    algorithm="REINFORCE",
    build=build_reinforce,
    defaults=Options(
        task=Task("CartPole-v1"),
        hparams=ReinforceHparams(learning_rate=5e-3, learning_rate_decay_steps=2e6, discount=1.0, value_coef=0.005),
        config=Reinforce(num_envs=16, rollout_length=500),
        budget=Budget(2_000_000),
        execution=Execution(sequential=True),
    ),
    ignored=ignored_by_policy_gradient,
)

if __name__ == "__main__":
    main(experiment)
