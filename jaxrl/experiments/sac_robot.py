"""SAC teaches a robot to hop forward."""

from jaxrl.agents import SACHparams
from jaxrl.cli.command import main
from jaxrl.recipes.continuous_control import Continuous, build_sac, ignored_by_continuous
from jaxrl.runs import Budget, Experiment, Options, Task

experiment = Experiment(
    name="sac_robot",
    algorithm="SAC",
    build=build_sac,
    defaults=Options(
        task=Task("PlanarHopper"),
        hparams=SACHparams(learning_rate=1e-3, temperature_learning_rate=1e-3),
        config=Continuous(
            num_envs=32,
            updates_per_iteration=8,
            batch_size=128,
            n_step=3,
            hidden_sizes=(128, 128),
            warmup_steps=5_000,
            normalise=True,
        ),
        budget=Budget(300_000, log_every=10_000),
    ),
    ignored=ignored_by_continuous,
)

if __name__ == "__main__":
    main(experiment)
