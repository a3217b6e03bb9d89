"""MBPO swings a pendulum up: SAC learns from short rollouts of a learned model."""

from jaxrl.cli.command import main
from jaxrl.recipes.learned_dynamics import MBPO, MBPOHparams, build_mbpo, ignored_by_mbpo
from jaxrl.runs import Budget, Experiment, Options, Task

experiment = Experiment(
    name="mbpo_pendulum",
    algorithm="MBPO",
    build=build_mbpo,
    defaults=Options(
        task=Task("Pendulum-v1"),
        hparams=MBPOHparams(
            learning_rate=1e-3, temperature_learning_rate=1e-3, tau=0.01, random_steps=256.0, imagine_after=400.0,
            learning_rate_decay_steps=2_200.0, target_entropy=-0.5, discount=0.97,
        ),
        config=MBPO(
            num_envs=1, updates_per_iteration=20, batch_size=100, hidden_sizes=(64, 64), warmup_steps=256,
            replay_capacity=10_000, model_hidden_sizes=(32, 32), imagined_steps=3,
        ),
        budget=Budget(2_000, log_every=200, eval_max_steps=200),
    ),
    ignored=ignored_by_mbpo,
)  # fmt: skip

if __name__ == "__main__":
    main(experiment)
