"""V(s') of a rollout from the values of its rows."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl.agents.policy_gradient import next_values
from jaxrl.types import Transition
from tests.compiling import quick_jit

T, N, D = 7, 5, 3
WEIGHTS = jax.random.normal(jax.random.key(0), (D, 8)), jax.random.normal(jax.random.key(1), (8,))


def value(weights, observations) -> jax.Array:
    """V(s), by a small network."""
    return jnp.tanh(observations["seen"] @ weights[0]) @ weights[1]


def rollout(truncated: float, terminated: float, num_steps: int = T) -> Transition:
    """Random observations, which follow each other within an episode."""
    rng = np.random.default_rng([round(100 * truncated), round(100 * terminated), num_steps])
    ends = rng.random((num_steps, N)) < terminated
    cut = (rng.random((num_steps, N)) < truncated) & ~ends
    seen, last = rng.normal(size=(2, num_steps + 1, N, D)).astype(np.float32)
    follows = np.where((ends | cut)[..., None], last[:-1], seen[1:])
    nothing = jnp.zeros((num_steps, N))
    return Transition(
        {"seen": jnp.asarray(seen[:-1])}, nothing, nothing, jnp.asarray(ends), jnp.asarray(cut),
        {"seen": jnp.asarray(follows)},
    )  # fmt: skip


def shifted(batch: Transition) -> jax.Array:
    return next_values(value, WEIGHTS, batch, value(WEIGHTS, batch.observation))


def check(found, batch: Transition) -> None:
    """As a pass of the whole network, but where an episode terminated."""
    counts = ~np.asarray(batch.terminated)
    np.testing.assert_allclose(found[counts], value(WEIGHTS, batch.next_observation)[counts], rtol=1e-5, atol=1e-6)
    assert np.isfinite(found).all()


CASES = [(0.0, 0.0), (0.0, 0.4), (0.1, 0.0), (0.4, 0.3), (0.8, 0.1), (1.0, 0.0), (0.0, 1.0)]


@pytest.mark.parametrize(("truncated", "terminated"), CASES)
@pytest.mark.parametrize("num_steps", [1, T])
def test_next_values_are_those_of_a_full_pass(truncated: float, terminated: float, num_steps: int) -> None:
    """Also where more rows are truncated than there are environments."""
    batch = rollout(truncated, terminated, num_steps)
    if truncated >= 0.8 and num_steps == T:
        assert batch.truncated[:-1].sum() > 2 * N
    for compile_or_not in (lambda f: f, quick_jit):
        check(compile_or_not(shifted)(batch), batch)


def test_next_values_of_a_population() -> None:
    """Rollouts with very different numbers of truncations, side by side."""
    batches = [rollout(*case) for case in CASES]
    stacked = jax.tree.map(lambda *x: jnp.stack(x), *batches)
    for i, found in enumerate(quick_jit(jax.vmap(shifted))(stacked)):
        check(found, batches[i])


def test_next_values_cost_one_row_without_truncations() -> None:
    """The network is applied to the last row, and to one row at a time for truncations."""
    sizes: list[int] = []

    def noted(weights, observations):
        sizes.append(len(observations["seen"]))
        return value(weights, observations)

    batch = rollout(0.4, 0.3)
    jax.make_jaxpr(lambda batch: next_values(noted, WEIGHTS, batch, value(WEIGHTS, batch.observation)))(batch)
    assert set(sizes) == {N}


def test_derivatives_of_next_values_are_those_of_a_full_pass() -> None:
    """In both modes, for weights and observations."""
    batch = rollout(0.3, 0.0)

    def loss(weights, seen, following):
        cut = batch._replace(next_observation={"seen": seen})
        return jnp.square(following(weights, cut)).sum()

    def by_rows(weights, batch):
        return next_values(value, weights, batch, value(weights, batch.observation))

    def full(weights, batch):
        return value(weights, batch.next_observation)

    seen = batch.next_observation["seen"]
    for derivative in (jax.jacrev, jax.jacfwd):
        found, expected = (quick_jit(derivative(lambda w, x, f=f: loss(w, x, f), (0, 1)))(WEIGHTS, seen)
                           for f in (by_rows, full))  # fmt: skip
        jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-5), found, expected)
