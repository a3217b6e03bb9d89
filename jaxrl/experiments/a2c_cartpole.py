"""A2C balances a cart-pole."""

from jaxrl.agents import A2CHparams
from jaxrl.cli.command import main
from jaxrl.recipes.actor_critics import A2C, build_a2c, ignored_by_policy_gradient
from jaxrl.runs import Budget, Execution, Experiment, Options, Task

experiment = Experiment(
    name="a2c_cartpole",
    algorithm="A2C",
    build=build_a2c,
    defaults=Options(
        task=Task("CartPole-v1"),
        hparams=A2CHparams(learning_rate=2e-3, learning_rate_decay_steps=5e5),
        config=A2C(num_envs=16, rollout_length=8),
        budget=Budget(500_000),
        execution=Execution(sequential=True),
    ),
    ignored=ignored_by_policy_gradient,
)

if __name__ == "__main__":
    main(experiment)
