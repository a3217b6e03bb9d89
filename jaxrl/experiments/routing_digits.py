"""A routing network learns which of three experts to send each image of a digit to, by the score function."""

from jaxrl.agents.routing import RoutingHparams
from jaxrl.cli.command import main
from jaxrl.recipes.routing_images import PICTURE, Routing, build, ignored, report
from jaxrl.runs import Budget, Execution, Experiment, Options, Task

experiment = Experiment(
    name="routing_digits",
    algorithm="a routing network",
    build=build,
    defaults=Options(
        task=Task("Digits", env_options=("domains=3",)),
        hparams=RoutingHparams(learning_rate=2e-3, learning_rate_decay_steps=2_000.0),
        config=Routing(),
        budget=Budget(2_000, log_every=100, eval_episodes=2_000),
        execution=Execution(),
    ),
    report=report,
    pictures=(PICTURE,),
    ignored=ignored,
)

if __name__ == "__main__":
    main(experiment)
