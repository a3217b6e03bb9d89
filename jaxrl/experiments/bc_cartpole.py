"""Behaviour cloning imitates recorded transitions of a cart-pole, without stepping it."""

from jaxrl.agents import BehaviourCloningHparams
from jaxrl.cli.command import main
from jaxrl.recipes.demonstrations import report_recorded
from jaxrl.recipes.imitation import BehaviourCloning, build_cloning, build_cloning_to_load, ignored_by_cloning
from jaxrl.runs import Budget, Execution, Experiment, Options, Task

experiment = Experiment(
    name="bc_cartpole",
    algorithm="behaviour cloning",
    build=build_cloning,
    defaults=Options(
        task=Task("CartPole-v1"),
        hparams=BehaviourCloningHparams(),
        config=BehaviourCloning(),
        budget=Budget(10_000, log_every=500),
        execution=Execution(sequential=True),
    ),
    report=report_recorded,
    ignored=ignored_by_cloning,
    build_to_load=build_cloning_to_load,
)

if __name__ == "__main__":
    main(experiment)
