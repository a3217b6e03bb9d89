"""PQN learns MinAtar's Breakout."""

from jaxrl.agents import PQNHparams
from jaxrl.cli.command import main
from jaxrl.recipes.deep_q import PQN, build_pqn, idle_pqn
from jaxrl.runs import Experiment, Options

experiment = Experiment(
    name="pqn_minatar",
    algorithm="PQN",
    build=build_pqn,
    defaults=Options(
        env="Breakout-MinAtar",
        total_steps=1_500_000,
        hparams=PQNHparams(learning_rate=1e-3, epsilon_end=0.01, epsilon_decay_steps=200_000),
        config=PQN(),
    ),
    idle=idle_pqn,
)

if __name__ == "__main__":
    main(experiment)
