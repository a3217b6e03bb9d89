"""MuZero balances a cart-pole, with a model of it that it learns."""

from jaxrl.agents import MuZeroHparams
from jaxrl.cli.command import main
from jaxrl.recipes.model_based import MuZero, build_muzero, ignored_by_muzero, report
from jaxrl.runs import Budget, Experiment, Options, Task

experiment = Experiment(
    name="muzero_cartpole",
    algorithm="MuZero",
    build=build_muzero,
    defaults=Options(
        task=Task("CartPole-v1"),
        hparams=MuZeroHparams(learning_rate=2e-3, learning_rate_decay_steps=5e5, discount=0.99, value_coef=0.5),
        config=MuZero(
            num_envs=32,
            rollout_length=8,
            updates_per_iteration=8,
            replay_capacity=16_000,  # more would hold values of worse policies
            warmup_steps=2_000,
            num_simulations=16,
            target_steps=20,
            max_value=100.0,
            state_size=64,
        ),
        budget=Budget(500_000, log_every=10_000),
    ),
    report=report,
    ignored=ignored_by_muzero,
)

if __name__ == "__main__":
    main(experiment)
