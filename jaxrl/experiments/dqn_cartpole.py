"""DQN balances a cart-pole."""

from jaxrl.agents import DQNHparams
from jaxrl.cli import Experiment, Options, main
from jaxrl.cli.dqn import Config, build

experiment = Experiment(
    name="dqn_cartpole",
    algorithm="DQN",
    build=build,
    defaults=Options(
        env="CartPole-v1",
        total_steps=500_000,
        log_every=5_000,
        hparams=DQNHparams(learning_rate=1e-3, epsilon_decay_steps=50_000),
        config=Config(num_envs=16, batch_size=128, hidden_sizes=(128, 128), warmup_steps=1_000),
    ),
)

if __name__ == "__main__":
    main(experiment)
