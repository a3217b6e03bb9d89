"""AlphaZero learns chess on 5 × 5 cells by playing against itself; `--env game:chess` for all of it."""

from jaxrl.agents import AlphaZeroHparams
from jaxrl.cli.command import main
from jaxrl.recipes.self_play import AlphaZero, build_alphazero, ignored_by_alphazero, report
from jaxrl.runs import Budget, Experiment, Options, Task

experiment = Experiment(
    name="alphazero_chess",
    algorithm="AlphaZero",
    build=build_alphazero,
    defaults=Options(
        task=Task("game:gardner_chess", env_options=("random_moves=8",)),
        hparams=AlphaZeroHparams(learning_rate=2e-3, learning_rate_decay_steps=2e5),
        config=AlphaZero(num_envs=64, num_simulations=16, batch_size=256),
        budget=Budget(200_000),
    ),
    report=report,
    ignored=ignored_by_alphazero,
)

if __name__ == "__main__":
    main(experiment)
