"""PPO teaches a robot to hop forward."""

from jaxrl.agents import PPOHparams
from jaxrl.cli.command import main
from jaxrl.recipes.actor_critics import PPO, build_ppo, ignored_by_policy_gradient
from jaxrl.runs import Budget, Execution, Experiment, Options, Task

experiment = Experiment(
    name="ppo_robot",
    algorithm="PPO",
    build=build_ppo,
    defaults=Options(
        task=Task("PlanarHopper"),
        hparams=PPOHparams(learning_rate=1e-3, learning_rate_decay_steps=4e6, entropy_coef=0.0, reward_scale=0.1),
        config=PPO(num_envs=64, rollout_length=64, num_minibatches=16, num_epochs=8, normalise=True),
        budget=Budget(4_000_000, log_every=100_000),
        execution=Execution(sequential=True),
    ),
    ignored=ignored_by_policy_gradient,
)

if __name__ == "__main__":
    main(experiment)
