"""DQN balances a cart-pole, and learns from imagined transitions as well as from real ones."""

from jaxrl.cli.command import main
from jaxrl.recipes.learned_dynamics import DynaDQN, DynaDQNHparams, build_dyna_dqn, ignored_by_dyna_dqn
from jaxrl.runs import Budget, Experiment, Options, Task

experiment = Experiment(
    name="dyna_cartpole",
    algorithm="Dyna with DQN",
    build=build_dyna_dqn,
    defaults=Options(
        task=Task("CartPole-v1"),
        hparams=DynaDQNHparams(
            learning_rate=1e-3, epsilon_end=0.05, epsilon_decay_steps=2_000.0, max_grad_norm=1.0, imagine_after=500.0
        ),
        config=DynaDQN(
            num_envs=1, updates_per_iteration=2, batch_size=60, hidden_sizes=(64, 64), warmup_steps=200, loss="l2",
            replay_capacity=20_000, v_max=100.0, model_hidden_sizes=(32, 32), imagined_steps=2,
        ),
        budget=Budget(6_000, log_every=500, eval_every=500, eval_episodes=32, eval_max_steps=500),
    ),
    ignored=ignored_by_dyna_dqn,
)  # fmt: skip

if __name__ == "__main__":
    main(experiment)
