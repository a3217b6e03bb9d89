"""PPO learns MinAtar's Breakout."""

from jaxrl.agents import PPOHparams
from jaxrl.cli.command import main
from jaxrl.recipes.actor_critics import PPO, build_ppo, ignored_by_policy_gradient
from jaxrl.runs import Budget, Experiment, Options, Task

experiment = Experiment(
    name="ppo_minatar",
    algorithm="PPO",
    build=build_ppo,
    defaults=Options(
        task=Task("Breakout-MinAtar"),
        hparams=PPOHparams(learning_rate=2.5e-3, learning_rate_decay_steps=1e6, gae_lambda=0.8),
        config=PPO(
            num_envs=64,
            rollout_length=128,
            num_epochs=2,
            num_minibatches=32,
            hidden_sizes=(128,),
            activation="relu",
            conv_features=16,
            shared=True,
        ),
        budget=Budget(1_000_000),
    ),
    ignored=ignored_by_policy_gradient,
)

if __name__ == "__main__":
    main(experiment)
