"""Inline keys give the bits of JAX's own generator, whatever is drawn from them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl.random import inline
from tests.compiling import quick_jit

DRAWS = {
    "uniform": lambda key: jax.random.uniform(key, (5,)),
    "normal": lambda key: jax.random.normal(key, (3, 2)),
    "split": lambda key: jax.random.key_data(jax.random.split(key, (2, 3))),
    "fold_in": lambda key: jax.random.key_data(jax.random.fold_in(key, 2**31)),
    "split, then fold_in": lambda key: jax.random.bits(jax.random.fold_in(jax.random.split(key)[1], 7)),
    "bits8": lambda key: jax.random.bits(key, (7,), jnp.uint8),
    "bits16": lambda key: jax.random.bits(key, (7,), jnp.uint16),
    "bits32": lambda key: jax.random.bits(key, (7,), jnp.uint32),
    "one": lambda key: jax.random.bits(key),
    "none": lambda key: jax.random.bits(key, (0,)),
    "categorical": lambda key: jax.random.categorical(key, jnp.arange(4.0), shape=(9,)),
    "permutation": lambda key: jax.random.permutation(key, 11),
    "randint": lambda key: jax.random.randint(key, (6,), 0, 10),
}


@pytest.fixture(scope="module")
def drawn():
    """What is drawn of three keys, by JAX's generator and from inline keys."""

    def draw(key):
        return {name: draw(key) for name, draw in DRAWS.items()}

    keys = jax.random.split(jax.random.key(2**31 + 7), 3)
    return jax.vmap(draw)(keys), quick_jit(jax.vmap(lambda key: draw(inline(key))))(keys)


@pytest.mark.parametrize("name", DRAWS)
def test_the_same_bits(drawn, name: str) -> None:
    """Those of normal numbers but for how their logarithm is rounded."""
    expected, found = drawn
    np.testing.assert_allclose(found[name], expected[name], rtol=1e-6 if name == "normal" else 0)


@pytest.mark.parametrize("name", ["split", "fold_in", "bits32"])
def test_one_key(drawn, name: str) -> None:
    key = jax.random.split(jax.random.key(2**31 + 7), 3)[0]
    np.testing.assert_array_equal(DRAWS[name](inline(key)), drawn[0][name][0])


def test_bits_of_64() -> None:
    with jax.enable_x64(True):
        key = jax.random.key(3)
        np.testing.assert_array_equal(
            jax.random.bits(inline(key), (5,), jnp.uint64), jax.random.bits(key, (5,), jnp.uint64)
        )


def test_other_generators_are_left_alone() -> None:
    key = jax.random.key(0, impl="rbg")
    assert inline(key) is key


def test_twice_is_once() -> None:
    key = inline(jax.random.key(0))
    assert inline(key) is key
