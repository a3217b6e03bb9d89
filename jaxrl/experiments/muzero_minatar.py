"""MuZero learns MinAtar's Breakout, with a model of the game that it learns."""

from jaxrl.agents import MuZeroHparams
from jaxrl.cli.command import main
from jaxrl.recipes.model_based import MuZero, build_muzero, ignored_by_muzero, report
from jaxrl.runs import Budget, Experiment, Options, Task

experiment = Experiment(
    name="muzero_minatar",
    algorithm="MuZero",
    build=build_muzero,
    defaults=Options(
        task=Task("Breakout-MinAtar"),
        hparams=MuZeroHparams(learning_rate=1e-3, learning_rate_decay_steps=2e5, discount=0.99, value_coef=0.5),
        config=MuZero(
            num_envs=64,
            rollout_length=8,
            updates_per_iteration=16,
            num_simulations=8,
            target_steps=10,
            max_value=50.0,
        ),
        budget=Budget(200_000, eval_episodes=32),
    ),
    report=report,
    ignored=ignored_by_muzero,
)

if __name__ == "__main__":
    main(experiment)
