"""Inline keys give the bits of JAX's own generator, whatever is drawn from them."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl.random import inline

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
    """What is drawn of one key and of three under `vmap`, by JAX's generator and from inline keys."""

    def draw(key):
        return {name: draw(key) for name, draw in DRAWS.items()}

    keys = jax.random.split(jax.random.key(2**31 + 7), 3)
    # The rounds are written out, which takes long to compile well.
    compiled = partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
    both = compiled(lambda keys: (draw(inline(keys[0])), jax.vmap(lambda key: draw(inline(key)))(keys)))
    return jax.vmap(draw)(keys), both(keys)


@pytest.mark.parametrize("name", DRAWS)
def test_the_same_bits(drawn, name: str) -> None:
    expected, (one, many) = drawn
    np.testing.assert_array_equal(one[name], expected[name][0])
    np.testing.assert_array_equal(many[name], expected[name])


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
