"""Rainbow learns MinAtar's Breakout."""

from jaxrl.agents import RainbowHparams
from jaxrl.cli.command import main
from jaxrl.recipes.deep_q import DQN, build_dqn, ignored_by_dqn
from jaxrl.runs import Budget, Experiment, Options, Task

experiment = Experiment(
    name="rainbow_minatar",
    algorithm="Rainbow",
    build=build_dqn,
    defaults=Options(
        task=Task("Breakout-MinAtar"),
        hparams=RainbowHparams(
            learning_rate=5e-4, epsilon_start=0.0, epsilon_end=0.0, epsilon_eval=0.0, importance_exponent_steps=1e6
        ),
        config=DQN(
            num_envs=64,
            batch_size=256,
            n_step=3,
            replay="prioritised",
            double=True,
            dueling=True,
            noisy=True,
            values="categorical",
        ),
        budget=Budget(1_000_000),
    ),
    ignored=ignored_by_dqn,
)

if __name__ == "__main__":
    main(experiment)
