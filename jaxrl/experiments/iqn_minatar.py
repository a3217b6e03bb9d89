"""An implicit quantile network learns MinAtar's Breakout."""

from jaxrl.agents import IQNHparams
from jaxrl.cli.command import main
from jaxrl.recipes.deep_q import IQN, build_iqn, ignored_by_iqn
from jaxrl.runs import Budget, Experiment, Options, Task

experiment = Experiment(
    name="iqn_minatar",
    algorithm="IQN",
    build=build_iqn,
    defaults=Options(
        task=Task("Breakout-MinAtar"),
        hparams=IQNHparams(learning_rate=1e-3, epsilon_decay_steps=1e6),
        config=IQN(num_envs=256, batch_size=256),
        budget=Budget(4_000_000),
    ),
    ignored=ignored_by_iqn,
)

if __name__ == "__main__":
    main(experiment)
