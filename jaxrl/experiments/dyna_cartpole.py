"""Dyna with DQN balances a cart-pole: DQN also learns from what a learned model imagines."""

from jaxrl.cli.command import main
from jaxrl.recipes.deep_q import ignored_by_dqn
from jaxrl.recipes.learned_dynamics import DynaDQN, DynaDQNHparams, build_dyna_dqn
from jaxrl.runs import Budget, Experiment, Options, Task

experiment = Experiment(
    name="dyna_cartpole",
    algorithm="Dyna with DQN",
    build=build_dyna_dqn,
    defaults=Options(
        task=Task("CartPole-v1"),
        hparams=DynaDQNHparams(
            learning_rate=1e-3, tau=0.01, epsilon_end=0.05, epsilon_decay_steps=2_000.0, imagine_after=500.0
        ),
        config=DynaDQN(
            loss="l2", double=True, hidden_sizes=(64, 64), warmup_steps=200, replay_capacity=10_000, v_max=100.0
        ),
        budget=Budget(5_000, log_every=500, eval_every=1_000, eval_episodes=32, eval_max_steps=500),
    ),
    ignored=ignored_by_dqn,
)  # fmt: skip

if __name__ == "__main__":
    main(experiment)
