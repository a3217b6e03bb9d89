"""MuZero learns Connect Four and its rules by playing against itself."""

from jaxrl.agents import MuZeroHparams
from jaxrl.cli.command import main
from jaxrl.recipes.model_based import MuZero, build_muzero, ignored_by_muzero, report
from jaxrl.runs import Budget, Experiment, Options, Task

experiment = Experiment(
    name="muzero_connect_four",
    algorithm="MuZero",
    build=build_muzero,
    defaults=Options(
        task=Task("game:connect_four", env_options=("random_moves=16",)),
        hparams=MuZeroHparams(
            learning_rate=2e-3, learning_rate_decay_steps=2e6, discount=1.0, value_lambda=0.7, epsilon=0.25
        ),
        config=MuZero(
            num_envs=512,
            rollout_length=16,
            updates_per_iteration=64,
            replay_capacity=240_000,
            num_simulations=16,
            unroll_steps=3,
            target_steps=16,
            num_atoms=3,
            conv_features=64,
            hidden_sizes=(256,),
            state_size=256,
        ),
        budget=Budget(2_000_000),
    ),
    report=report,
    ignored=ignored_by_muzero,
)

if __name__ == "__main__":
    main(experiment)
