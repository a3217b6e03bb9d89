"""AlphaZero learns tic-tac-toe by playing against itself, measured against perfect play in all positions."""

from jaxrl.agents import AlphaZeroHparams
from jaxrl.cli.command import main
from jaxrl.recipes.self_play import AlphaZero, build_alphazero, ignored_by_alphazero, report
from jaxrl.runs import Budget, Experiment, Options, Task

experiment = Experiment(
    name="alphazero_tictactoe",
    algorithm="AlphaZero",
    build=build_alphazero,
    defaults=Options(
        task=Task("game:tic_tac_toe", env_options=("random_moves=8",)),
        hparams=AlphaZeroHparams(learning_rate=2e-3, learning_rate_decay_steps=5e5),
        config=AlphaZero(num_simulations=24, updates_per_iteration=64, hidden_sizes=(256, 128)),
        budget=Budget(500_000, eval_every=20_000, eval_episodes=4_520),
    ),
    report=report,
    ignored=ignored_by_alphazero,
)

if __name__ == "__main__":
    main(experiment)
