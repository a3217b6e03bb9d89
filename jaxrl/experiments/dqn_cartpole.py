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
        total_steps=600_000,
        log_every=10_000,
        hparams=DQNHparams(learning_rate=2.5e-4, epsilon_end=0.05, epsilon_decay_steps=50_000.0, max_grad_norm=1.0),
        config=Config(num_envs=16, loss="squared", hidden_sizes=(128, 128), warmup_steps=1_000),
    ),
)

if __name__ == "__main__":
    main(experiment)
