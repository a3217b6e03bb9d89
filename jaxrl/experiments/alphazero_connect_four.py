"""AlphaZero learns Connect Four by playing against itself, measured against perfect play."""

from jaxrl.agents import AlphaZeroHparams
from jaxrl.cli.command import main
from jaxrl.recipes.self_play import AlphaZero, build_alphazero, ignored_by_alphazero, report
from jaxrl.runs import Budget, Experiment, Options, Task

experiment = Experiment(
    name="alphazero_connect_four",
    algorithm="AlphaZero",
    build=build_alphazero,
    defaults=Options(
        task=Task("game:connect_four", env_options=("random_moves=16",)),
        hparams=AlphaZeroHparams(learning_rate=2e-3, learning_rate_decay_steps=3e6),
        config=AlphaZero(num_envs=512, num_simulations=16),
        budget=Budget(3_000_000, eval_every=100_000, eval_episodes=4_000),
    ),
    report=report,
    ignored=ignored_by_alphazero,
)

if __name__ == "__main__":
    main(experiment)
