"""Scales of values and two-hot categories, against rlax, against float64, and back again."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import rlax

from jaxrl import ops

X = np.concatenate([[0.0], np.logspace(-8, 6, 60)]).astype(np.float32)
X = np.concatenate([-X[::-1], X])


@pytest.mark.parametrize("eps", [1e-3, 1e-2])
def test_the_transform_equals_rlaxs_and_its_inverse_keeps_all_digits(eps: float) -> None:
    squashed = ops.signed_hyperbolic(X, eps)
    np.testing.assert_allclose(squashed, rlax.signed_hyperbolic(jnp.asarray(X), eps), rtol=2e-6, atol=2e-7)
    exact = np.sign(X) * (np.sqrt(np.abs(X).astype(np.float64) + 1) - 1) + eps * X.astype(np.float64)
    small = np.abs(X) < 1e-6  # there, the exact formula loses digits in float64 too
    np.testing.assert_allclose(squashed[~small], exact[~small], rtol=1e-6)
    np.testing.assert_allclose(squashed[small], (0.5 + eps) * X[small], rtol=1e-6)
    back = jax.jit(ops.signed_parabolic)(squashed, eps)
    np.testing.assert_allclose(back, X, rtol=2e-6)
    theirs = rlax.signed_parabolic(jnp.asarray(squashed), eps)
    np.testing.assert_allclose(back, theirs, rtol=2e-3, atol=2e-4)  # they subtract nearly equal numbers
    assert ops.signed_hyperbolic(3.0) == pytest.approx(1.003)


def test_two_atoms_share_a_number() -> None:
    np.testing.assert_allclose(ops.transform_to_2hot(jnp.array([0.25, -9.0, 2.0]), -1, 2, 4),
                               [[0, 0.75, 0.25, 0], [1, 0, 0, 0], [0, 0, 0, 1]])  # fmt: skip
    numbers = np.random.default_rng(0).uniform(-12, 12, (3, 50)).astype(np.float32)
    probs = ops.transform_to_2hot(numbers, -10.0, 10.0, 41)
    theirs = jax.vmap(rlax.transform_to_2hot, (0, None, None, None))(numbers, -10.0, 10.0, 41)
    np.testing.assert_allclose(probs, theirs, atol=3e-5)  # they add 1e-5 to a distance of 0.5
    np.testing.assert_allclose(probs.sum(-1), 1, atol=1e-6)
    assert (probs > 0).sum(-1).max() == 2
    back = ops.transform_from_2hot(probs, -10.0, 10.0, 41)
    np.testing.assert_allclose(back, np.clip(numbers, -10, 10), atol=1e-5)
    theirs = jax.vmap(rlax.transform_from_2hot, (0, None, None, None))(probs, -10.0, 10.0, 41)
    np.testing.assert_allclose(back, theirs, atol=1e-5)
