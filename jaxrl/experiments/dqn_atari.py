"""DQN learns Pong on the Atari 2600, with the network of Mnih et al. 2013, and the rules of 2015."""

from jaxrl.agents import RainbowHparams
from jaxrl.cli.command import main
from jaxrl.recipes.deep_q import DQN, build_dqn, ignored_by_dqn
from jaxrl.runs import Budget, Experiment, Options, Task

experiment = Experiment(
    name="dqn_atari",
    algorithm="DQN",
    build=build_dqn,
    defaults=Options(
        task=Task("atari:Pong"),
        hparams=RainbowHparams(
            learning_rate=2e-4, epsilon_end=0.01, epsilon_decay_steps=1e5, tau=1.0, target_update_period=500
        ),
        config=DQN(
            num_envs=8, updates_per_iteration=2, batch_size=32, replay_capacity=100_000, warmup_steps=10_000,
            double=True, n_step=3,
        ),
        budget=Budget(1_000_000, eval_episodes=8, eval_max_steps=27_000),
    ),
    ignored=ignored_by_dqn,
)  # fmt: skip

if __name__ == "__main__":
    main(experiment)
