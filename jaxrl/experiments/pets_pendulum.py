"""PETS swings a pendulum up: it learns a model of it, and plans every action."""

from jaxrl.agents import PETSHparams
from jaxrl.cli.command import main
from jaxrl.recipes.learned_dynamics import PETS, build_pets
from jaxrl.runs import Budget, Experiment, Options, Task

experiment = Experiment(
    name="pets_pendulum",
    algorithm="PETS",
    build=build_pets,
    defaults=Options(
        task=Task("Pendulum-v1"),
        hparams=PETSHparams(random_steps=256.0),
        config=PETS(
            horizon=30, population=200, iterations=4, num_elites=20, correlation=0.8,
            model_hidden_sizes=(32, 32), updates_per_iteration=15,
        ),
        budget=Budget(2_000, log_every=200, eval_episodes=32, eval_max_steps=200),
    ),
)  # fmt: skip

if __name__ == "__main__":
    main(experiment)
