"""MuZero learns tic-tac-toe and its rules, measured against perfect play in all positions."""

from jaxrl.agents import MuZeroHparams
from jaxrl.cli.command import main
from jaxrl.recipes.model_based import MuZero, build_muzero, ignored_by_muzero, report
from jaxrl.runs import Budget, Experiment, Options, Task

experiment = Experiment(
    name="muzero_tictactoe",
    algorithm="MuZero",
    build=build_muzero,
    defaults=Options(
        task=Task("game:tic_tac_toe", env_options=("random_moves=8",)),
        hparams=MuZeroHparams(
            learning_rate=2e-3, learning_rate_decay_steps=1e6, discount=1.0, value_lambda=0.7, epsilon=0.25
        ),
        config=MuZero(
            num_envs=256,
            rollout_length=16,
            updates_per_iteration=64,
            batch_size=512,
            replay_capacity=120_000,
            num_simulations=24,
            unroll_steps=3,
            target_steps=8,
            num_atoms=3,
            hidden_sizes=(256,),
            state_size=64,
            conv_features=64,
        ),
        budget=Budget(1_000_000),
    ),
    report=report,
    ignored=ignored_by_muzero,
)

if __name__ == "__main__":
    main(experiment)
