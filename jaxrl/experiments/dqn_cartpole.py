"""DQN balances a cart-pole."""

from jaxrl.agents import RainbowHparams
from jaxrl.cli.command import main
from jaxrl.recipes.deep_q import DQN, build_dqn, ignored_by_dqn
from jaxrl.runs import Budget, Experiment, Options, Task

experiment = Experiment(
    name="dqn_cartpole",
    algorithm="DQN",
    build=build_dqn,
    defaults=Options(
        task=Task("CartPole-v1"),
        hparams=RainbowHparams(learning_rate=2.5e-4, epsilon_end=0.05, epsilon_decay_steps=50_000.0, max_grad_norm=1.0),
        config=DQN(num_envs=16, loss="l2", hidden_sizes=(128, 128), warmup_steps=1_000, v_max=100.0),
        budget=Budget(600_000, log_every=10_000),
    ),
    ignored=ignored_by_dqn,
)

if __name__ == "__main__":
    main(experiment)
