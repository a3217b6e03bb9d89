"""AlphaGo Zero learns Connect Four by playing against itself. Its player is replaced only by one that wins a match."""

from jaxrl.agents import AlphaZeroHparams
from jaxrl.cli.command import main
from jaxrl.recipes.alphago_family import AlphaGoZero, build_alphago_zero
from jaxrl.recipes.self_play import ignored_by_alphazero, report
from jaxrl.runs import Budget, Experiment, Options, Task

experiment = Experiment(
    name="alphago_zero_connect_four",
    algorithm="AlphaGo Zero",
    build=build_alphago_zero,
    defaults=Options(
        task=Task("game:connect_four", env_options=("random_moves=16",)),
        hparams=AlphaZeroHparams(learning_rate=2e-3, learning_rate_decay_steps=2e6, value_lambda=1.0),
        config=AlphaGoZero(search="puct", num_envs=512, num_simulations=16),
        budget=Budget(2_000_000),
    ),
    report=report,
    ignored=ignored_by_alphazero,
)

if __name__ == "__main__":
    main(experiment)
