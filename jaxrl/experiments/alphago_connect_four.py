"""AlphaGo learns Connect Four from experts' games (--config.dataset, as `record perfect` writes them) and its own."""

from jaxrl.agents import AlphaGoHparams
from jaxrl.cli.command import main
from jaxrl.recipes.alphago_family import (
    AlphaGo,
    build_alphago,
    build_alphago_to_load,
    ignored_by_alphago,
    report_alphago,
)
from jaxrl.runs import Budget, Experiment, Options, Task

experiment = Experiment(
    name="alphago_connect_four",
    algorithm="AlphaGo",
    build=build_alphago,
    defaults=Options(
        task=Task("game:connect_four", env_options=("random_moves=16",)),
        hparams=AlphaGoHparams(learning_rate_decay_steps=4e6),
        config=AlphaGo(),
        budget=Budget(4_000_000),
    ),
    report=report_alphago,
    ignored=ignored_by_alphago,
    build_to_load=build_alphago_to_load,
)

if __name__ == "__main__":
    main(experiment)
