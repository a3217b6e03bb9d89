"""Keys are always threefry's, and inline keys give the bits of JAX's own generator."""

from functools import partial
from typing import get_args

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl import make
from jaxrl.arguments import ArgumentError
from jaxrl.random import Stream, as_keys, key_stream
from jaxrl.xla.threefry import drawn_once, inline, ordinary
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
    """Draws from three keys, with JAX's generator, with inline keys, and with those that keep what they draw."""

    def draw(key):
        return {name: draw(key) for name, draw in DRAWS.items()}

    keys = jax.random.split(jax.random.key(2**31 + 7), 3)
    once = quick_jit(jax.vmap(lambda key: draw(drawn_once(key))))(keys)
    return jax.vmap(draw)(keys), quick_jit(jax.vmap(lambda key: draw(inline(key))))(keys), once


@pytest.mark.parametrize("name", DRAWS)
def test_the_same_bits(drawn, name: str) -> None:
    """Normal numbers up to the rounding of their logarithm."""
    expected, *found = drawn
    for each in found:
        np.testing.assert_allclose(each[name], expected[name], rtol=1e-6 if name == "normal" else 0)


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


def test_twice_is_once() -> None:
    key = inline(jax.random.key(0))
    assert inline(key).dtype == key.dtype
    np.testing.assert_array_equal(jax.random.key_data(inline(key)), jax.random.key_data(key))
    assert ordinary(key) == jax.random.key(0)


@pytest.mark.parametrize(
    "key",
    [7, np.int64(7), jnp.uint32(7), jax.random.PRNGKey(7), np.array([0, 7], np.uint32), jax.random.key(7),
     jax.random.key(7, impl="rbg"), jax.random.PRNGKey(7, impl="rbg")],
    ids=["int", "NumPy's int", "jax's int", "old", "NumPy's", "typed", "rbg", "old rbg"],
)  # fmt: skip
def test_all_that_jax_takes_for_a_key_is_one(key) -> None:
    assert as_keys(key) == jax.random.key(7, impl="threefry2x32")
    assert jax.jit(as_keys)(key) == jax.random.key(7, impl="threefry2x32")


def test_many_keys_stay_many() -> None:
    keys = jax.random.split(jax.random.key(0), (2, 3))
    for given in (keys, jax.random.key_data(keys)):
        np.testing.assert_array_equal(jax.random.key_data(as_keys(given)), jax.random.key_data(keys))


@pytest.mark.parametrize(
    "key", ["0", 1.5, True, None, [0, 1], np.zeros(2), np.zeros((4, 3), np.uint32), jnp.arange(2)], ids=str
)
def test_anything_else_is_none(key) -> None:
    with pytest.raises(ArgumentError, match=r"^key must be a random key such as jax\.random\.key\(0\), got "):
        as_keys(key)


def test_keys_do_not_depend_on_the_default_generator() -> None:
    """With rbg, an agent in a population would differ from the same agent alone."""
    expected = jax.random.key_data(key_stream(3, "play"))
    with jax.default_prng_impl("rbg"):
        np.testing.assert_array_equal(jax.random.key_data(key_stream(3, "play")), expected)
        assert as_keys(3) == as_keys(jax.random.key(3)) == as_keys(jax.random.PRNGKey(3))
        env, params = make("CartPole-v1")
        under_rbg, _ = env.reset(jax.random.key(0), params)
    np.testing.assert_array_equal(under_rbg, env.reset(jax.random.key(0), params)[0])


def test_no_two_uses_of_a_seed_share_a_key() -> None:
    """Nor do the keys that are split from them: two splits of one key have keys in common."""
    uses = [jax.vmap(partial(key_stream, use=use))(jnp.arange(3)) for use in get_args(Stream)]
    keys = jnp.stack(uses).ravel()
    data = jax.random.key_data(jnp.concatenate([keys, jax.vmap(lambda key: jax.random.split(key, 5))(keys).ravel()]))
    assert len({tuple(key) for key in data.tolist()}) == len(data) == 6 * len(keys)


def test_training_and_evaluation_are_what_they_were() -> None:
    """Recorded results were made with these."""
    streams = [key_stream(5, use) for use in ("training", "evaluation", "video")]
    np.testing.assert_array_equal(
        jax.random.key_data(jnp.stack(streams)), jax.random.key_data(jax.random.split(jax.random.key(5), 3))
    )


@pytest.mark.parametrize("seed", [-1, 2**32, 2**70])
def test_a_seed_has_32_bits_with_x64_and_without(seed: int) -> None:
    with pytest.raises(ArgumentError, match=rf"^key must be >= 0 and < 2\^32 if it is a seed, got {seed}$"):
        as_keys(seed)
    with jax.enable_x64(True):
        assert as_keys(2**32 - 1) == jax.random.wrap_key_data(np.array([0, 2**32 - 1], np.uint32), impl="threefry2x32")
