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
        hparams=PETSHparams(),
        config=PETS(
            horizon=40, population=100, iterations=3, num_elites=10, model_hidden_sizes=(32, 32), random_steps=256
        ),
        budget=Budget(2_000, log_every=200, eval_episodes=32, eval_max_steps=200),
    ),
)

if __name__ == "__main__":
    main(experiment)
