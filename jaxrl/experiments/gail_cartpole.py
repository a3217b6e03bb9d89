"""GAIL imitates recorded transitions of a cart-pole with the help of a discriminator, and never sees a reward."""

from jaxrl.agents import GAILHparams
from jaxrl.cli.command import main
from jaxrl.recipes.actor_critics import ignored_by_policy_gradient
from jaxrl.recipes.adversarial import GAIL, build_gail, build_gail_to_load
from jaxrl.recipes.demonstrations import report_recorded
from jaxrl.runs import Budget, Execution, Experiment, Options, Task

experiment = Experiment(
    name="gail_cartpole",
    algorithm="GAIL",
    build=build_gail,
    defaults=Options(
        task=Task("CartPole-v1"),
        hparams=GAILHparams(learning_rate=1e-3),
        config=GAIL(num_envs=32, rollout_length=128),
        budget=Budget(300_000),
        execution=Execution(sequential=True),
    ),
    report=report_recorded,
    ignored=ignored_by_policy_gradient,
    build_to_load=build_gail_to_load,
)

if __name__ == "__main__":
    main(experiment)
