"""Q-learning in a Grid World, measured against Q*."""

from jaxrl.agents import QLearningHparams
from jaxrl.cli.command import main
from jaxrl.recipes.tabular import ERROR, VALUES, build, report
from jaxrl.runs import Budget, Experiment, Options, Task
from jaxrl.training import OnPolicyConfig

experiment = Experiment(
    name="q_learning_gridworld",
    algorithm="Q-learning",
    build=build,
    defaults=Options(
        task=Task("GridWorld"),
        hparams=QLearningHparams(discount=0.9, epsilon=0.3),
        config=OnPolicyConfig(num_envs=1, rollout_length=1),
        budget=Budget(150_000, log_every=500),
    ),
    report=report,
    pictures=(VALUES, ERROR),
)

if __name__ == "__main__":
    main(experiment)
