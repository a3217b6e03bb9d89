"""DQN with a memory balances a cart-pole whose velocities it does not see."""

from jaxrl.agents import RecurrentDQNHparams
from jaxrl.cli.command import main
from jaxrl.recipes.deep_q import RecurrentDQN, build_recurrent_dqn, ignored_by_recurrent_dqn
from jaxrl.runs import Budget, Experiment, Options, Task

experiment = Experiment(
    name="dqn_memory",
    algorithm="recurrent DQN",
    build=build_recurrent_dqn,
    defaults=Options(
        task=Task("CartPole-v1", env_options=("velocities=False",)),
        hparams=RecurrentDQNHparams(
            learning_rate_decay_steps=200_000,
            epsilon_end=0.01,
            epsilon_decay_steps=50_000.0,
            max_grad_norm=1.0,
            tau=0.02,
        ),
        config=RecurrentDQN(
            num_envs=16,
            batch_size=64,
            warmup_steps=2_000,
            n_step=12,
            burn_in=4,
            target_steps=3,
            loss="l2",
            store_memory=True,
        ),
        budget=Budget(200_000, log_every=10_000),
    ),
    ignored=ignored_by_recurrent_dqn,
)

if __name__ == "__main__":
    main(experiment)
