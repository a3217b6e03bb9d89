"""DQN learns MinAtar's Breakout."""

from jaxrl.agents import DQNHparams
from jaxrl.cli import Experiment, Options, main
from jaxrl.cli.dqn import Config, build

experiment = Experiment(
    name="dqn_minatar",
    algorithm="DQN",
    build=build,
    defaults=Options(
        env="Breakout-MinAtar",
        total_steps=4_000_000,
        hparams=DQNHparams(learning_rate=1e-3, epsilon_decay_steps=1e6),
        config=Config(num_envs=256, batch_size=256),
    ),
)

if __name__ == "__main__":
    main(experiment)
