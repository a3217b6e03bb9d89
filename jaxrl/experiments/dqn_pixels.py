"""DQN learns Pong from pixels, with the network of Mnih et al. 2013."""

from jaxrl.agents import RainbowHparams
from jaxrl.cli.command import main
from jaxrl.recipes.deep_q import DQN, build_dqn, ignored_by_dqn
from jaxrl.runs import Budget, Experiment, Options, Task

experiment = Experiment(
    name="dqn_pixels",
    algorithm="DQN",
    build=build_dqn,
    defaults=Options(
        task=Task("PixelPong"),
        hparams=RainbowHparams(learning_rate=3e-4, epsilon_decay_steps=6e4),
        config=DQN(num_envs=32, batch_size=32, updates_per_iteration=4, replay_capacity=200_000, double=True, n_step=3),
        budget=Budget(300_000, log_every=10_000, eval_episodes=32),
    ),
    ignored=ignored_by_dqn,
)

if __name__ == "__main__":
    main(experiment)
