"""Modules of flax nnx and equinox learn like a linen module with the same weights; others are refused."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from flax import nnx

from jaxrl import ArgumentError, DQNHparams, Sample, Transition, dqn
from jaxrl.networks import from_equinox, from_nnx
from tests.compiling import quick_jit

OBSERVATIONS = jnp.float32(np.random.default_rng(0).normal(size=(1, 5, 3)))
BATCH = Sample(
    Transition(
        OBSERVATIONS,
        action=jnp.ones((1, 5), jnp.int32),
        reward=jnp.ones((1, 5)),
        terminated=jnp.zeros((1, 5), bool),
        truncated=jnp.zeros((1, 5), bool),
        next_observation=OBSERVATIONS,
    ),
    jnp.ones(5),
)


class Linen(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.Dense(2, name="last")(nn.relu(nn.Dense(4, name="first")(x)))


class Module(nnx.Module):
    def __init__(self, rngs):
        self.layers = nnx.List([nnx.Linear(3, 4, rngs=rngs), nnx.Linear(4, 2, rngs=rngs)])

    def __call__(self, x):
        return self.layers[1](nnx.relu(self.layers[0](x)))


class Normed(Module):
    def __init__(self, rngs):
        super().__init__(rngs)
        self.norm = nnx.BatchNorm(2, rngs=rngs)


class Dropped(Module):
    def __init__(self, rngs):
        super().__init__(rngs)
        self.dropout = nnx.Dropout(0.5, rngs=rngs)


def learned(network, params):
    """The weights after one update, and their values."""
    agent = dqn(network)
    state = quick_jit(agent.init)(jax.random.key(0), DQNHparams(), OBSERVATIONS[0, 0])
    assert jax.tree.map(jnp.shape, state.params) == jax.tree.map(jnp.shape, params)
    state, _, _ = quick_jit(agent.update)(
        state._replace(params=params, target_params=params), BATCH, jax.random.key(1), 0.0
    )
    return state.params, quick_jit(network.apply)(state.params, OBSERVATIONS[0])


def equinox():
    eqx = pytest.importorskip("equinox")
    return from_equinox(lambda key: eqx.nn.MLP(3, 2, 4, 1, key=key))


@pytest.mark.parametrize("make", [lambda: from_nnx(lambda rngs: Module(rngs)), equinox], ids=["nnx", "equinox"])
def test_it_learns_as_linen_does(make) -> None:
    network = make()
    init = quick_jit(network.init)
    a, b = (init(jax.random.key(seed), OBSERVATIONS[0]) for seed in (0, 1))
    assert all((x != y).any() for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True) if x.ndim == 2)
    weights = {name: x for name, x in a.items() if x.ndim == 2}
    biases = [x for x in a.values() if x.ndim == 1]
    # Names are in the order of layers; equinox has its weights transposed.
    kernels = [x if "kernel" in name else x.T for name, x in weights.items()]
    layers = [{"kernel": kernel, "bias": bias} for kernel, bias in zip(kernels, biases, strict=True)]
    of_linen, expected = learned(Linen(), {"params": dict(zip(("first", "last"), layers, strict=True))})
    after, values = learned(network, a)
    np.testing.assert_allclose(values, expected, rtol=1e-4, atol=1e-6)
    sums, of_linen_sums = (sorted(float(x.sum()) for x in jax.tree.leaves(tree)) for tree in (after, of_linen))
    np.testing.assert_allclose(sums, of_linen_sums, rtol=1e-4, atol=1e-6)


class LinenNormed(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.BatchNorm(use_running_average=True)(nn.Dense(2)(x))


def test_what_is_not_supported_is_refused() -> None:
    no_module: Any = lambda key: key  # noqa: E731
    for make, message in (
        (
            lambda: from_nnx(Normed),
            "make must return a module whose only variables are parameters, got one with norm/mean",
        ),
        (lambda: from_nnx(Dropped), "make must .*, got one with dropout/rngs"),
        (lambda: from_nnx(Module(nnx.Rngs(0))), r"make must be a function \(rngs\) -> module, got Module"),
        (lambda: from_equinox(3), r"make must be a function \(key\) -> module, got int"),
        (lambda: from_equinox(no_module), "make must return a callable module, got "),
        (
            lambda: dqn(Module(nnx.Rngs(0))),
            "network must have init and apply, .*from_nnx and from_equinox.*, got Module",
        ),
        (lambda: learned(LinenNormed(), {}), "network must have no variables but parameters .*, got batch_stats"),
    ):
        with pytest.raises(ArgumentError, match=message):
            make()
