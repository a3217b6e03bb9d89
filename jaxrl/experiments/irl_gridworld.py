"""Inverse reinforcement learning recovers the reward of a Grid World from what an expert does.

It fits the reward under which demonstrations are most likely, if the expert has the largest causal entropy. Planning
and Q-learning on the recovered reward give policies, which are rated by the true reward.
"""

from jaxrl.agents import BehaviourCloningHparams
from jaxrl.cli.command import main
from jaxrl.recipes.recovered_policies import PICTURE, report
from jaxrl.recipes.reward_recovery import RewardRecovery, build, build_to_load
from jaxrl.runs import Budget, Execution, Experiment, Options, Task

experiment = Experiment(
    name="irl_gridworld",
    algorithm="maximum entropy IRL",
    build=build,
    defaults=Options(
        task=Task("GridWorld", env_options=("map=four_rooms", "slip_probability=0.1")),
        hparams=BehaviourCloningHparams(learning_rate=0.02),
        config=RewardRecovery(),
        budget=Budget(500, log_every=25),
        execution=Execution(sequential=True),
    ),
    report=report,
    pictures=(PICTURE,),
    build_to_load=build_to_load,
)

if __name__ == "__main__":
    main(experiment)
