"""DAgger imitates a trained policy in MinAtar's Breakout: the expert labels the states that the learner visits."""

from jaxrl.agents import DAggerHparams
from jaxrl.cli.command import main
from jaxrl.recipes.imitation import DAgger, build_dagger, build_dagger_to_load, ignored_by_dagger, report_expert
from jaxrl.runs import Budget, Experiment, Options, Task

experiment = Experiment(
    name="dagger_minatar",
    algorithm="DAgger",
    build=build_dagger,
    defaults=Options(
        task=Task("Breakout-MinAtar"),
        hparams=DAggerHparams(),
        config=DAgger(
            num_envs=32,
            warmup_steps=1_024,
            updates_per_iteration=8,
            hidden_sizes=(128,),
            activation="relu",
            conv_features=16,
        ),
        budget=Budget(100_000, log_every=5_000),
    ),
    report=report_expert,
    ignored=ignored_by_dagger,
    build_to_load=build_dagger_to_load,
)

if __name__ == "__main__":
    main(experiment)
