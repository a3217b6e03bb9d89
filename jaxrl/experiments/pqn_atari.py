"""PQN learns Pong on the Atari 2600, with the network of Mnih et al. 2013, and the rules of 2015."""

from jaxrl.agents import PQNHparams
from jaxrl.cli.command import main
from jaxrl.recipes.deep_q import PQN, build_pqn, ignored_by_pqn
from jaxrl.runs import Budget, Experiment, Options, Task

experiment = Experiment(
    name="pqn_atari",
    algorithm="PQN",
    build=build_pqn,
    defaults=Options(
        task=Task("atari:Pong"),
        hparams=PQNHparams(learning_rate=2.5e-4, epsilon_end=0.01, epsilon_decay_steps=300_000),
        config=PQN(num_envs=32, rollout_length=32, num_epochs=2, num_minibatches=32),
        budget=Budget(3_000_000, eval_episodes=8, eval_max_steps=27_000),
    ),
    ignored=ignored_by_pqn,
)

if __name__ == "__main__":
    main(experiment)
