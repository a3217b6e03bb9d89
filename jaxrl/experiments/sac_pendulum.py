"""SAC swings a pendulum up."""

from jaxrl.agents import SACHparams
from jaxrl.cli.command import main
from jaxrl.recipes.continuous_control import Continuous, build_sac, ignored_by_continuous
from jaxrl.runs import Budget, Experiment, Options, Task

experiment = Experiment(
    name="sac_pendulum",
    algorithm="SAC",
    build=build_sac,
    defaults=Options(
        task=Task("Pendulum-v1"),
        hparams=SACHparams(learning_rate=1e-3, temperature_learning_rate=1e-3, tau=0.01, random_steps=1_000.0),
        config=Continuous(
            num_envs=4, updates_per_iteration=4, batch_size=128, hidden_sizes=(64, 64), warmup_steps=1_000
        ),
        budget=Budget(12_000, log_every=1_000),
    ),
    ignored=ignored_by_continuous,
)

if __name__ == "__main__":
    main(experiment)
