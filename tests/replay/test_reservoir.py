"""A reservoir holds each item that was offered with the same probability."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrl.replay.reservoir import draw, empty_reservoir, offer


def filled(key: jax.Array) -> Any:
    """A reservoir of 10 after 12 offers of 7 items each, of which the third one never counts."""

    def more(reservoir: Any, x: Any) -> tuple[Any, None]:
        number, key = x
        return offer(reservoir, 1 + 7 * number + jnp.arange(7), jnp.arange(7) != 2, key), None

    offers = jnp.arange(12, dtype=jnp.int32), jax.random.split(key, 12)
    return jax.lax.scan(more, empty_reservoir(10, jnp.int32(0)), offers)[0]


def test_every_item_is_included_with_the_same_probability() -> None:
    many = jax.jit(jax.vmap(filled))(jax.random.split(jax.random.key(0), 8000))
    items = np.asarray(many.items)
    assert (np.asarray(many.offered) == 72).all()
    assert all(len(set(row)) == 10 for row in items[:500].tolist())
    counts = np.bincount(items.reshape(-1), minlength=85)
    counted = np.arange(85) % 7 != 3
    counted[0] = False
    assert (counts[~counted] == 0).all()
    # 72 binomial shares of 10 / 72, each within 4.5 standard deviations.
    expected = 8000 * 10 / 72
    assert (abs(counts[counted] - expected) < 4.5 * (expected * (1 - 10 / 72)) ** 0.5).all()
    pairs = ((items == 1).any(1) & (items == 84).any(1)).mean()  # the first and the last one
    assert abs(pairs - 10 * 9 / (72 * 71)) < 4.5 * (0.0176 / 8000) ** 0.5


def test_the_first_items_take_their_places_in_order() -> None:
    start = empty_reservoir(10, (jnp.int32(0), jnp.float32(0)))
    after = offer(start, (jnp.arange(5, dtype=jnp.int32), jnp.arange(5.0)), jnp.arange(5) != 1, jax.random.key(0))
    assert int(after.size) == 4
    np.testing.assert_array_equal(after.items[0][:5], [0, 2, 3, 4, 0])
    np.testing.assert_array_equal(after.items[1][:5], [0, 2, 3, 4, 0])
    drawn, _ = draw(after, jax.random.key(1), 4000)
    counts = np.bincount(drawn, minlength=5)
    assert counts[1] == 0
    assert (abs(counts[[0, 2, 3, 4]] - 1000) < 4.5 * 750**0.5).all()
    assert (np.asarray(draw(start, jax.random.key(1), 5)[0]) == 0).all()
