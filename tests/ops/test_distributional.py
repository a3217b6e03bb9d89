"""Distributional Q-learning of one transition, by hand, against NumPy and rlax, and by its properties."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import rlax

from jaxrl import ops

B, A, K = 16, 3, 7
ATOMS = np.linspace(-2, 3, K, dtype=np.float32)
TAU = ((2 * np.arange(K) + 1) / (2 * K)).astype(np.float32)


@pytest.fixture(scope="module")
def batch():
    """Arguments of the losses after the atoms: outputs_tm1, a_tm1, r_t, discount_t, outputs_t, q_t_selector."""
    rng = np.random.default_rng(0)
    outputs_tm1, outputs_t = rng.normal(size=(2, B, A, K)).astype(np.float32)
    r_t = np.append(rng.normal(size=B - 2), [9.0, -9.0]).astype(np.float32)  # the last two leave the support
    discount_t = np.where(rng.random(B) < 0.8, 0.9, 0.0).astype(np.float32)
    return outputs_tm1, rng.integers(A, size=B), r_t, discount_t, outputs_t, rng.normal(size=(B, A)).astype(np.float32)


def project_by_atom(z_p, probs, z_q):
    """Algorithm 1 of Bellemare et al. 2017: an atom at position b of the support is split between floor and ceiling."""
    mass = np.zeros(len(z_q))
    for z, p in zip(np.asarray(z_p, np.float64), probs, strict=True):
        b = (np.clip(z, z_q[0], z_q[-1]) - z_q[0]) / (z_q[1] - z_q[0])
        low, high = int(np.floor(b)), int(np.ceil(b))
        mass[low] += p * (high - b if high > low else 1)
        mass[high] += p * (b - low)
    return mass


def test_projection_by_hand() -> None:
    z_p, probs = jnp.array([-1, 0.25, 1.5, 5]), jnp.array([0.1, 0.4, 0.2, 0.3])
    projected = ops.categorical_l2_project(z_p, probs, jnp.array([0.0, 1.0, 2.0]))
    np.testing.assert_allclose(projected, [0.1 + 0.75 * 0.4, 0.25 * 0.4 + 0.5 * 0.2, 0.5 * 0.2 + 0.3], rtol=1e-6)


def test_projection_equals_numpy_and_rlax_and_keeps_mass_and_mean() -> None:
    rng = np.random.default_rng(1)
    inside = rng.uniform(ATOMS[0], ATOMS[-1], size=(B, 5))
    z_p = np.concatenate([inside, 2 * inside, np.broadcast_to(ATOMS[:5], (B, 5))]).astype(np.float32)
    probs = rng.dirichlet(np.ones(5), size=3 * B).astype(np.float32)
    ours = np.asarray(jax.jit(jax.vmap(ops.categorical_l2_project, (0, 0, None)))(z_p, probs, ATOMS))
    np.testing.assert_allclose(ours, [project_by_atom(z, p, ATOMS) for z, p in zip(z_p, probs, strict=True)], atol=2e-6)
    theirs = jax.jit(jax.vmap(rlax.categorical_l2_project, (0, 0, None)))(z_p, probs, ATOMS)
    np.testing.assert_allclose(ours, theirs, atol=2e-6)
    np.testing.assert_allclose(ours.sum(axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(ours[:B] @ ATOMS, np.sum(z_p * probs, axis=1)[:B], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(ours[2 * B :, :5], probs[2 * B :], atol=2e-6)  # an atom of the support stays


def test_projection_keeps_the_mass_where_atoms_are_rounded() -> None:
    """Atoms 0.4 apart at 1e6, where float32 has steps of 0.06, and a mass between any two of them."""
    z_q = np.linspace(1e6, 1e6 + 20, 51, dtype=np.float32)
    between = np.arange(1e6 - 1, 1e6 + 21, 0.0625, dtype=np.float32)
    project = jax.jit(jax.vmap(ops.categorical_l2_project, (0, None, None)))
    projected = np.asarray(project(between[:, None], jnp.ones(1), z_q))
    np.testing.assert_allclose(projected.sum(1), 1, rtol=1e-6)
    assert ((projected > 0).sum(1) <= 2).all()


def test_categorical_loss_by_hand() -> None:
    q_atoms = jnp.array([0.0, 1.0, 2.0])
    q_logits_tm1, q_logits_t = jnp.array([[5.0, 1, 2], [0, 0, 0]]), jnp.log(jnp.array([[0.5, 0.25, 0.25], [1, 1, 8]]))
    loss = ops.categorical_q_learning_loss(q_atoms, q_logits_tm1, 1, 0.5, 0.5, q_logits_t, jnp.array([2.0, 1.0]))
    target = np.array([0.25, 0.25 + 0.25 + 0.125, 0.125])  # of masses at 0.5, 1 and 1.5
    assert loss == pytest.approx(np.sum(target * np.log(target / (1 / 3))), rel=1e-5)


@pytest.mark.filterwarnings("ignore:Rlax categorical_cross_entropy:PendingDeprecationWarning")
def test_categorical_loss_equals_numpy_and_rlax(batch) -> None:
    def softmax(logits):
        return np.exp(logits) / np.exp(logits).sum()

    expected, entropies = [], []
    for logits_tm1, a, r, discount, logits_t, selector in zip(*batch, strict=True):
        target = project_by_atom(r + discount * ATOMS, softmax(logits_t[selector.argmax()]), ATOMS)
        some = target > 0
        entropies.append(-np.sum(target[some] * np.log(target[some])))
        expected.append(np.sum(-target * np.log(softmax(logits_tm1[a]))) - entropies[-1])
    ours = jax.jit(jax.vmap(ops.categorical_q_learning_loss, (None, 0, 0, 0, 0, 0, 0)))(ATOMS, *batch)
    np.testing.assert_allclose(ours, expected, rtol=1e-4, atol=1e-5)
    # rlax leaves the entropy of the target in.
    rlax_axes = (None, 0, 0, 0, 0, None, 0, 0)
    theirs = jax.vmap(rlax.categorical_double_q_learning, rlax_axes)(ATOMS, *batch[:4], ATOMS, *batch[4:])
    np.testing.assert_allclose(ours, theirs - np.array(entropies), rtol=1e-4, atol=1e-5)


def test_categorical_targets() -> None:
    """∂loss/∂logits is the probabilities minus the target for the action taken, and zero for all others."""
    q_logits = jnp.array(np.random.default_rng(2).normal(size=(A, K)), jnp.float32)
    selector = jnp.array([0.0, 1.0, 0.0])

    @jax.jit
    def loss_and_target(a_tm1, r_t, discount_t):
        loss, gradient = jax.value_and_grad(ops.categorical_q_learning_loss, argnums=1)(
            ATOMS, q_logits, a_tm1, r_t, discount_t, q_logits, selector
        )
        return loss, jax.nn.softmax(q_logits[a_tm1]) - gradient[a_tm1], gradient

    _, target, gradient = loss_and_target(2, 0.75 * ATOMS[3] + 0.25 * ATOMS[4], 0.0)
    np.testing.assert_allclose(target, [0, 0, 0, 0.75, 0.25, 0, 0], atol=1e-6)  # a termination: all mass at r
    np.testing.assert_array_equal(gradient[:2], 0)
    loss, target, gradient = loss_and_target(1, 0.0, 1.0)  # predicts its own target
    np.testing.assert_allclose(target, jax.nn.softmax(q_logits[1]), atol=1e-6)
    np.testing.assert_allclose(loss, 0, atol=1e-6)
    np.testing.assert_allclose(gradient, 0, atol=1e-6)


def test_quantile_regression_by_hand() -> None:
    quantiles, targets = jnp.array([0.0, 2.0]), jnp.array([1.0, 4.0])  # errors [[1, 4], [-1, 2]]
    weights = np.array([[0.25, 0.25], [0.25, 0.75]])
    for delta, sizes in ((1.0, [[0.5, 3.5], [0.5, 1.5]]), (2.0, [[0.25, 3], [0.25, 1]]), (0.0, [[1, 4], [1, 2]])):
        loss = ops.quantile_huber_loss(quantiles, targets, delta)
        assert loss == pytest.approx(np.sum(weights * sizes) / 2), delta


@pytest.mark.parametrize("delta", [0.0, 0.5, 1.0])
def test_quantile_loss_equals_numpy_and_rlax(batch, delta: float) -> None:
    expected = []
    for quantiles_tm1, a, r, discount, quantiles_t, selector in zip(*batch, strict=True):
        total = 0.0
        for i in range(K):
            for j in range(K):
                u = r + discount * quantiles_t[selector.argmax(), j] - quantiles_tm1[a, i]
                size = abs(u) - delta / 2 if abs(u) > delta else u**2 / (2 * delta)
                total += abs(TAU[i] - (u < 0)) * size / K
        expected.append(total)
    ours = jax.jit(jax.vmap(partial(ops.quantile_q_learning_loss, huber_delta=delta)))(*batch)
    np.testing.assert_allclose(ours, expected, rtol=1e-4)

    # rlax has the quantiles first, chooses by the mean of quantiles, and does not divide by δ.
    def theirs(quantiles_tm1, a_tm1, r_t, discount_t, quantiles_t, selector):
        args = (quantiles_tm1.T, TAU, a_tm1, r_t, discount_t, selector[None], quantiles_t.T)
        return rlax.quantile_q_learning(*args, delta) / (delta or 1)

    np.testing.assert_allclose(ours, jax.jit(jax.vmap(theirs))(*batch), rtol=1e-4)


def test_quantile_loss_of_given_fractions_equals_rlax(batch) -> None:
    tau = np.random.default_rng(5).uniform(size=(B, K)).astype(np.float32)
    args = (*batch, 0.5, tau)
    ours = jax.vmap(ops.quantile_q_learning_loss, (0,) * 6 + (None, 0))(*args)

    def theirs(tau, quantiles_tm1, a_tm1, r_t, discount_t, quantiles_t, selector):
        return rlax.quantile_q_learning(
            quantiles_tm1.T, tau, a_tm1, r_t, discount_t, selector[None], quantiles_t.T, 0.5
        ) / 0.5  # fmt: skip

    np.testing.assert_allclose(ours, jax.vmap(theirs)(tau, *batch), rtol=1e-4)


@pytest.mark.parametrize("delta", [0.0, 0.02])
def test_quantile_regression_finds_the_quantiles(delta: float) -> None:
    """Gradient descent from zero finds quantiles with a share τ_i of the sample below."""
    sample = jnp.array(np.random.default_rng(3).exponential(size=400), jnp.float32)
    gradient = jax.grad(ops.quantile_huber_loss)

    @jax.jit
    def descend(quantiles):
        return jax.lax.fori_loop(0, 400, lambda _, q: q - 0.5 * gradient(q, sample, delta), quantiles)

    found = descend(jnp.zeros(4))
    np.testing.assert_allclose([np.mean(sample < q) for q in found], [1 / 8, 3 / 8, 5 / 8, 7 / 8], atol=0.01)


@pytest.mark.parametrize(
    "loss",
    [lambda *transition: ops.categorical_q_learning_loss(ATOMS, *transition), ops.quantile_q_learning_loss],
    ids=["categorical", "quantile"],
)
def test_gradients_flow_into_the_prediction_only(batch, loss) -> None:
    def total(outputs_tm1, r_t, discount_t, outputs_t, selector):
        return jax.vmap(loss)(outputs_tm1, batch[1], r_t, discount_t, outputs_t, selector).sum()

    prediction, *targets = jax.jit(jax.grad(total, argnums=range(5)))(batch[0], *batch[2:])
    for gradient in targets:
        np.testing.assert_array_equal(gradient, 0)
    taken = np.arange(A) == batch[1][:, None]
    assert np.all(np.any(prediction != 0, axis=2) == taken)
