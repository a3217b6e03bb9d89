"""PPO balances a cart-pole."""

from jaxrl.agents import PPOHparams
from jaxrl.cli.command import main
from jaxrl.recipes.actor_critics import PPO, build_ppo, ignored_by_policy_gradient
from jaxrl.runs import Budget, Execution, Experiment, Options, Task

experiment = Experiment(
    name="ppo_cartpole",
    algorithm="PPO",
    build=build_ppo,
    defaults=Options(
        task=Task("CartPole-v1"),
        hparams=PPOHparams(learning_rate=1e-3),
        config=PPO(num_envs=4, rollout_length=128),
        budget=Budget(300_000),
        execution=Execution(sequential=True),
    ),
    ignored=ignored_by_policy_gradient,
)

if __name__ == "__main__":
    main(experiment)
