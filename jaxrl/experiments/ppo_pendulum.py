"""PPO swings a pendulum up."""

from jaxrl.agents import PPOHparams
from jaxrl.cli.command import main
from jaxrl.recipes.actor_critics import PPO, build_ppo, ignored_by_policy_gradient
from jaxrl.runs import Budget, Execution, Experiment, Options, Task

experiment = Experiment(
    name="ppo_pendulum",
    algorithm="PPO",
    build=build_ppo,
    defaults=Options(
        task=Task("Pendulum-v1"),
        hparams=PPOHparams(learning_rate=1e-3, discount=0.95, entropy_coef=0.0),
        config=PPO(num_envs=16, rollout_length=200, num_minibatches=16, num_epochs=10),
        budget=Budget(500_000),
        execution=Execution(sequential=True),
    ),
    ignored=ignored_by_policy_gradient,
)

if __name__ == "__main__":
    main(experiment)
