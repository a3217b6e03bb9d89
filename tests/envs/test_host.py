"""Environments that step on the host, where compiled programs need their shapes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl import vectorize
from jaxrl.envs.host import seeds
from tests.envs.counters import Corridor, host_corridor


@pytest.mark.parametrize("masked", [False, True])
def test_a_trace_finds_the_shapes_that_a_pure_function_has(masked: bool) -> None:
    hosted, pure = vectorize(host_corridor(masked), None, 3), vectorize(Corridor(masked), Corridor.default_params, 3)

    def shapes(envs):
        def play(key):
            state = envs.reset(key)
            stepped, transition, metrics = envs.step(state, jnp.zeros(3, jnp.int32), key)
            return envs.observe(state), envs.decode(transition), metrics, stepped[2:]

        return jax.eval_shape(play, jax.random.key(0))

    assert shapes(hosted) == shapes(pure)


def test_a_program_cannot_step_them() -> None:
    envs = vectorize(host_corridor(), None, 3)
    with pytest.raises(jax.errors.JaxRuntimeError, match=r"Corridor steps on the host: train with jaxrl\.run"):
        jax.block_until_ready(jax.jit(envs.reset)(jax.random.key(0)))


def test_seeds_follow_from_the_key_and_differ() -> None:
    first = seeds(jax.random.key(0), 100)
    assert len(set(first)) == 100
    assert first.min() >= 0
    assert 2**30 < first.max() < 2**31
    np.testing.assert_array_equal(first, seeds(jax.random.key(0), 100))
    assert not np.isin(first, seeds(jax.random.key(1), 100)).any()
