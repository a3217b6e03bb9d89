"""PQN balances a cart-pole."""

from jaxrl.agents import PQNHparams
from jaxrl.cli.command import main
from jaxrl.recipes.deep_q import PQN, build_pqn, ignored_by_pqn
from jaxrl.runs import Budget, Experiment, Options, Task

experiment = Experiment(
    name="pqn_cartpole",
    algorithm="PQN",
    build=build_pqn,
    defaults=Options(
        task=Task("CartPole-v1"),
        hparams=PQNHparams(learning_rate=2.5e-4, epsilon_end=0.2, epsilon_decay_steps=100_000, q_lambda=0.95),
        config=PQN(num_envs=32, rollout_length=64, num_minibatches=16, num_epochs=4, hidden_sizes=(128, 128)),
        budget=Budget(500_000, log_every=10_000),
    ),
    ignored=ignored_by_pqn,
)

if __name__ == "__main__":
    main(experiment)
