"""GAIL imitates recorded transitions of MinAtar's Breakout with the help of a discriminator, and sees no rewards."""

from jaxrl.agents import GAILHparams
from jaxrl.cli.command import main
from jaxrl.recipes.actor_critics import ignored_by_policy_gradient
from jaxrl.recipes.adversarial import GAIL, build_gail, build_gail_to_load
from jaxrl.recipes.demonstrations import report_recorded
from jaxrl.runs import Budget, Experiment, Options, Task

experiment = Experiment(
    name="gail_minatar",
    algorithm="GAIL",
    build=build_gail,
    defaults=Options(
        task=Task("Breakout-MinAtar"),
        hparams=GAILHparams(learning_rate=5e-3, learning_rate_decay_steps=1e6, gae_lambda=0.9),
        config=GAIL(num_envs=64, rollout_length=128, num_minibatches=8, activation="relu"),
        budget=Budget(1_000_000),
    ),
    report=report_recorded,
    ignored=ignored_by_policy_gradient,
    build_to_load=build_gail_to_load,
)

if __name__ == "__main__":
    main(experiment)
