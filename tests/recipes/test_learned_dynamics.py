"""The recipes of PETS, MBPO, and Dyna with DQN: they learn from a replay, which stores the bootstrap weights."""

import dataclasses
from typing import Any

import jax
import numpy as np
import pytest

from jaxrl import ArgumentError, make
from jaxrl.agents import PETSHparams
from jaxrl.recipes import learned_dynamics as recipe
from jaxrl.training import as_arrays
from tests.compiling import quick_jit

SMALL = {
    "num_envs": 2, "batch_size": 4, "replay_capacity": 32, "warmup_steps": 4,
    "ensemble_size": 2, "model_hidden_sizes": (4,),
}  # fmt: skip


@pytest.mark.parametrize("name", ["pets", "mbpo", "dyna_dqn"])
def test_it_learns_from_a_replay(name: str) -> None:
    env = make("CartPole-v1" if name == "dyna_dqn" else "Pendulum-v1")
    cases: dict[str, Any] = {
        "pets": (
            recipe.build_pets,
            recipe.PETS(**SMALL, horizon=2, population=4, iterations=1, num_elites=2),
            PETSHparams(),
        ),
        "mbpo": (recipe.build_mbpo, recipe.MBPO(**SMALL, hidden_sizes=(4,)), recipe.MBPOHparams()),
        "dyna_dqn": (recipe.build_dyna_dqn, recipe.DynaDQN(**SMALL, hidden_sizes=(4,)), recipe.DynaDQNHparams()),
    }
    build, config, hparams = cases[name]
    _, trainer = build(*env, config)
    state = quick_jit(trainer.init)(jax.random.key(0), as_arrays(hparams))
    _, metrics = quick_jit(trainer.step)(state)
    assert np.isfinite(float(metrics["model_nll"].value()))
    with pytest.raises(ArgumentError, match="n_step must be 1"):
        build(*env, dataclasses.replace(config, n_step=2))
