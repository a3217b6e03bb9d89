"""DQN learns MinAtar's Breakout."""

from jaxrl.agents import RainbowHparams
from jaxrl.cli.command import main
from jaxrl.recipes.deep_q import DQN, build_dqn, idle_dqn
from jaxrl.runs import Experiment, Options

experiment = Experiment(
    name="dqn_minatar",
    algorithm="DQN",
    build=build_dqn,
    defaults=Options(
        env="Breakout-MinAtar",
        total_steps=4_000_000,
        hparams=RainbowHparams(learning_rate=1e-3, epsilon_decay_steps=1e6),
        config=DQN(num_envs=256, batch_size=256),
    ),
    idle=idle_dqn,
)

if __name__ == "__main__":
    main(experiment)
