"""AlphaZero learns Go by playing against itself; `--env-options size=9` for a larger board."""

from jaxrl.agents import AlphaZeroHparams
from jaxrl.cli.command import main
from jaxrl.recipes.self_play import AlphaZero, build_alphazero, ignored_by_alphazero, report
from jaxrl.runs import Budget, Experiment, Options, Task

experiment = Experiment(
    name="alphazero_go",
    algorithm="AlphaZero",
    build=build_alphazero,
    defaults=Options(
        task=Task("game:go", env_options=("size=5", "random_moves=8")),
        hparams=AlphaZeroHparams(learning_rate=2e-3, learning_rate_decay_steps=1e6),
        config=AlphaZero(num_simulations=16),
        budget=Budget(1_000_000),
    ),
    report=report,
    ignored=ignored_by_alphazero,
)

if __name__ == "__main__":
    main(experiment)
