"""DQN learns MinAtar's Breakout."""

from jaxrl.agents import RainbowHparams
from jaxrl.cli.command import main
from jaxrl.recipes.deep_q import DQN, build_dqn, ignored_by_dqn
from jaxrl.runs import Budget, Experiment, Options, Task

experiment = Experiment(
    name="dqn_minatar",
    algorithm="DQN",
    build=build_dqn,
    defaults=Options(
        task=Task("Breakout-MinAtar"),
        hparams=RainbowHparams(learning_rate=1e-3, epsilon_decay_steps=1e6),
        config=DQN(num_envs=256, batch_size=256),
        budget=Budget(4_000_000),
    ),
    ignored=ignored_by_dqn,
)

if __name__ == "__main__":
    main(experiment)
