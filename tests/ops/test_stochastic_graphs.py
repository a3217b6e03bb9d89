"""Estimators of gradients through samples, against the exact gradient and Hessian by enumeration of all outcomes."""

import itertools
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl import ArgumentError, ops
from tests.compiling import quick_jit

K, LAYERS, INPUTS = 3, 3, 4
PATHS = K**LAYERS
"""A network with three layers of three experts: 27 paths for each of four inputs."""
CELLS, GLIMPSES = 9, 3
"""Attention over a grid of 3 × 3 cells, with three glimpses: 729 outcomes."""
TIME = np.array([[0, 2, 1], [1, 0, 3], [2, 1, 0]], np.float32)
"""What it costs to use each expert, `[LAYERS, K]`."""


class Routing(NamedTuple):
    """`[LAYERS, K, K]` routers and `[LAYERS, K, K, K]` experts."""

    routers: jax.Array
    experts: jax.Array


class Outcome(NamedTuple):
    input: jax.Array
    path: jax.Array


rng = np.random.default_rng(0)
ROUTING = Routing(rng.normal(size=(LAYERS, K, K)).astype(np.float32), rng.normal(size=(LAYERS, K, K, K)).astype("f4"))
X = rng.normal(size=(INPUTS, K)).astype(np.float32)
OUTCOMES = Outcome(
    *map(np.array, zip(*itertools.product(range(INPUTS), itertools.product(range(K), repeat=LAYERS)), strict=True))
)


def route(params: Routing, outcome: Outcome) -> tuple[jax.Array, jax.Array]:
    """The costs `[LAYERS + 1]` of an outcome, time and at last a loss, and log-probabilities `[LAYERS]`."""
    h, costs, log_probs = jnp.asarray(X)[outcome.input], [], []
    for layer in range(LAYERS):
        chosen = outcome.path[layer]
        log_probs.append(ops.categorical_log_prob(params.routers[layer] @ h, chosen))
        costs.append(jnp.asarray(TIME)[layer, chosen] * (1 + params.routers[0, 0, 0] ** 2))
        h = jnp.tanh(jnp.asarray(params.experts)[layer, chosen] @ h)
    loss = jnp.square(h - jnp.sin(3 * jnp.asarray(X)[outcome.input])).sum()
    return jnp.stack([*costs, loss]), jnp.stack(log_probs)


BASELINES = ("none", "constant", "per input", "per state")
DOWNSTREAM = np.tri(LAYERS + 1, LAYERS)
ALL = np.ones((LAYERS + 1, LAYERS))


def probabilities(params: Routing) -> jax.Array:
    return jnp.exp(jax.vmap(route, (None, 0))(params, OUTCOMES)[1].sum(1))


def surrogate(params: Routing, outcome: Outcome, influences, baselines) -> jax.Array:
    return ops.surrogate_loss(*route(params, outcome), baselines, influences)


def values(params: Routing) -> dict[str, np.ndarray]:
    """Baselines `[outcomes, LAYERS]`: means of the costs that a node influences, given ever more."""
    costs, log_probs = jax.device_get(jax.vmap(route, (None, 0))(params, OUTCOMES))
    probs = np.exp(log_probs.sum(1))
    downstream = costs @ DOWNSTREAM

    def mean_given(known: np.ndarray, s: int) -> np.ndarray:
        same = (known[:, None] == known).all(-1) * probs
        return same @ downstream[:, s] / same.sum(1)

    before = np.concatenate([OUTCOMES.input[:, None], OUTCOMES.path], axis=1)
    known = {
        "none": None,
        "constant": lambda s: before[:, :0],
        "per input": lambda s: before[:, :1],
        "per state": lambda s: before[:, : 1 + s],
    }
    return {
        name: np.zeros_like(log_probs) if of is None else np.stack([mean_given(of(s), s) for s in range(LAYERS)], 1)
        for name, of in known.items()
    }


def flat(tree) -> np.ndarray:
    """Leaves `[M, ...]` as `[M, D]`."""
    return np.concatenate([np.asarray(x, np.float64).reshape(len(x), -1) for x in jax.tree.leaves(tree)], axis=1)


class Estimates(NamedTuple):
    """Of each input: the exact gradient `[INPUTS, D]`, each estimator's `[INPUTS, M, D]`, and probabilities."""

    exact: np.ndarray
    gradients: dict[str, np.ndarray]
    probs: dict[str, np.ndarray]


@pytest.fixture(scope="module")
def estimates() -> Estimates:
    def expected(params: Routing) -> jax.Array:
        costs = jax.vmap(route, (None, 0))(params, OUTCOMES)[0].sum(1)
        return (probabilities(params) * costs).reshape(INPUTS, -1).sum(1)

    estimators = [("all costs", ALL, "none"), *((name, DOWNSTREAM, name) for name in BASELINES)]
    each, given = quick_jit(jax.vmap(jax.grad(surrogate), (None, 0, None, 0))), values(ROUTING)
    gradients = {
        name: flat(each(ROUTING, OUTCOMES, mask, given[base])).reshape(INPUTS, PATHS, -1)
        for name, mask, base in estimators
    }
    of_path = np.asarray(probabilities(ROUTING), np.float64).reshape(INPUTS, PATHS)
    probs = dict.fromkeys(gradients, of_path)
    gradients["leave one out"], probs["leave one out"] = leave_one_out(of_path)
    return Estimates(flat(quick_jit(jax.jacobian(expected))(ROUTING)), gradients, probs)


def leave_one_out(of_path: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The mean over two samples of an input, each of which is the other's baseline, for all pairs of paths."""

    def mean(params: Routing, rows: jax.Array) -> jax.Array:
        costs, log_probs = jax.vmap(route, (None, 0))(params, jax.tree.map(lambda x: jnp.asarray(x)[rows], OUTCOMES))
        baselines = ops.leave_one_out_baseline(costs @ DOWNSTREAM)
        return jax.vmap(ops.surrogate_loss, (0, 0, 0, None))(costs, log_probs, baselines, DOWNSTREAM).mean()

    pairs = np.array(list(itertools.product(range(PATHS), repeat=2)))
    rows = pairs + PATHS * np.arange(INPUTS)[:, None, None]
    gradients = flat(quick_jit(jax.vmap(jax.grad(mean), (None, 0)))(ROUTING, rows.reshape(-1, 2)))
    return gradients.reshape(*rows.shape[:2], -1), of_path[:, pairs].prod(-1)


def variance(gradients: np.ndarray, probs: np.ndarray) -> float:
    """The trace of the covariance of one input's estimate, on average over inputs."""
    mean = np.einsum("xm,xmd->xd", probs, gradients)[:, None]
    return float(np.einsum("xm,xmd->x", probs, np.square(gradients - mean)).mean())


def test_every_estimate_is_unbiased(estimates: Estimates) -> None:
    """Over all 27 paths of each of four inputs, or all 729 pairs of paths."""
    assert len(estimates.gradients) == 6
    for name, gradients in estimates.gradients.items():
        mean = np.einsum("xm,xmd->xd", estimates.probs[name], gradients)
        np.testing.assert_allclose(mean, estimates.exact, atol=3e-6, err_msg=name)
    assert np.abs(estimates.exact).max() > 0.1


def relaxed(params: Routing, x: jax.Array, weigh) -> jax.Array:
    """The total cost, to differentiate through: all experts work, and `weigh(layer, logits)` weighs them."""
    h, cost = x, 0.0
    for layer in range(LAYERS):
        weights = weigh(layer, params.routers[layer] @ h)
        cost += weights @ TIME[layer] * (1 + params.routers[0, 0, 0] ** 2)
        h = weights @ jnp.tanh(params.experts[layer] @ h)
    return cost + jnp.square(h - jnp.sin(3 * x)).sum()


def of_straight_through() -> np.ndarray:
    """The gradients `[INPUTS, PATHS, D]` through one-hot samples as if they were their probabilities."""

    def one(params: Routing, outcome: Outcome) -> jax.Array:
        def weigh(layer: int, logits: jax.Array) -> jax.Array:
            return ops.straight_through(jax.nn.one_hot(outcome.path[layer], K), jax.nn.softmax(logits))

        return relaxed(params, jnp.asarray(X)[outcome.input], weigh)

    return flat(quick_jit(jax.vmap(jax.grad(one), (None, 0)))(ROUTING, OUTCOMES)).reshape(INPUTS, PATHS, -1)


def of_gumbel_softmax(temperature: float, samples: int = 4000) -> np.ndarray:
    """Gradients `[INPUTS, samples, D]` through relaxed samples."""

    def one(params: Routing, x: jax.Array, key: jax.Array) -> jax.Array:
        keys = jax.random.split(key, LAYERS)
        return relaxed(params, x, lambda layer, logits: ops.gumbel_softmax(keys[layer], logits, temperature))

    each = jax.jit(jax.vmap(jax.vmap(jax.grad(one), (None, None, 0)), (None, 0, None)))
    gradients = each(ROUTING, X, jax.random.split(jax.random.key(0), samples))
    return np.concatenate([np.asarray(x, np.float64).reshape(INPUTS, samples, -1) for x in gradients], axis=2)


def test_biases_and_variances(estimates: Estimates) -> None:
    """The README's table: the length of the bias and the variance, of one sample of the network."""
    gradients, probs = dict(estimates.gradients), dict(estimates.probs)
    gradients["straight through"], probs["straight through"] = of_straight_through(), probs["none"]
    for temperature in (1.0, 0.1):
        name = f"gumbel softmax {temperature}"
        gradients[name] = of_gumbel_softmax(temperature)
        probs[name] = np.full(gradients[name].shape[:2], 1 / gradients[name].shape[1])
    measured = {}
    for name, given in gradients.items():
        bias = np.einsum("xm,xmd->xd", probs[name], given) - estimates.exact
        at_equally_many_samples = 2 if name == "leave one out" else 1
        measured[name] = np.linalg.norm(bias, axis=1).mean(), at_equally_many_samples * variance(given, probs[name])
    expected = {
        "all costs": (0, 277.4),
        "none": (0, 210.0),
        "constant": (0, 43.2),
        "per input": (0, 38.7),
        "per state": (0, 36.9),
        "leave one out": (0, 65.8),
        "straight through": (0.598, 26.5),
        "gumbel softmax 1.0": (1.08, 6.87),
        "gumbel softmax 0.1": (0.291, 254),
    }
    assert measured.keys() == expected.keys()
    for name, (bias, spread) in expected.items():
        np.testing.assert_allclose(measured[name], (bias, spread), rtol=0.02, atol=2e-5, err_msg=name)


def test_second_derivatives() -> None:
    """The Hessian along two directions, with a baseline that depends on the sampled past and on θ."""
    directions = [jax.tree.map(f, ROUTING) for f in (jnp.cos, lambda x: jnp.sin(2 * x + 1))]
    given = values(ROUTING)["per state"]

    def expected(params: Routing) -> jax.Array:
        return probabilities(params) @ jax.vmap(route, (None, 0))(params, OUTCOMES)[0].sum(1)

    def one(params: Routing, outcome: Outcome, baseline: jax.Array) -> jax.Array:
        return surrogate(params, outcome, DOWNSTREAM, baseline * (1 + params.routers[0, 0, 0]))

    @quick_jit
    def exact_and_estimated(params: Routing, u: Routing) -> tuple[Routing, Routing]:
        exact = jax.jvp(jax.grad(expected), (params,), (u,))[1]
        of = lambda outcome, b: jax.jvp(jax.grad(lambda p: one(p, outcome, b)), (params,), (u,))[1]  # noqa: E731
        estimated = jax.vmap(of)(OUTCOMES, given)
        return exact, jax.tree.map(lambda x: jnp.tensordot(probabilities(params), x, 1), estimated)

    for u in directions:
        exact, estimated = exact_and_estimated(ROUTING, u)
        jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-4, atol=2e-5), estimated, exact)
        assert np.abs(exact.routers).max() > 0.1


def test_attention_over_a_grid() -> None:
    """Three glimpses at a grid of nine cells, each place depending on what was seen: all 729 outcomes."""
    draw = np.random.default_rng(1)
    image, target = draw.normal(size=CELLS).astype(np.float32), 0.7
    params = {"see": draw.normal(size=(2, K)), "think": draw.normal(size=(K, K)), "look": draw.normal(size=(CELLS, K))}
    params = jax.tree.map(lambda x: x.astype(np.float32), params)
    places = np.array(list(itertools.product(range(CELLS), repeat=GLIMPSES)))

    def look(params: dict, places: jax.Array) -> tuple[jax.Array, jax.Array]:
        h, costs, log_probs = jnp.ones(K), [], []
        for place in places:
            log_probs.append(ops.categorical_log_prob(params["look"] @ h, place))
            seen = jnp.stack([jnp.asarray(image)[place], place / CELLS]) @ params["see"]
            h = jnp.tanh(params["think"] @ h + seen)
            costs.append(jnp.square(h.sum() - target))
        return jnp.stack(costs), jnp.stack(log_probs)

    @quick_jit
    def exact_and_estimated(params: dict, baselines: jax.Array):
        def expected(params: dict) -> jax.Array:
            costs, log_probs = jax.vmap(look, (None, 0))(params, places)
            return jnp.exp(log_probs.sum(1)) @ costs.sum(1)

        def one(params: dict, places: jax.Array) -> jax.Array:
            return ops.surrogate_loss(*look(params, places), baselines, jnp.tri(GLIMPSES))

        probs = jnp.exp(jax.vmap(look, (None, 0))(params, places)[1].sum(1))
        each = jax.vmap(jax.value_and_grad(one), (None, 0))(params, places)
        mean = jax.tree.map(lambda x: jnp.tensordot(probs, x, 1), each)
        return jax.value_and_grad(expected)(params), mean, probs.sum()

    for baselines in (np.zeros(GLIMPSES), np.array([5.0, -2.0, 1.0])):
        exact, estimated, whole = exact_and_estimated(params, baselines.astype(np.float32))
        np.testing.assert_allclose(whole, 1, rtol=1e-5)
        jax.tree.map(partial(np.testing.assert_allclose, rtol=2e-4, atol=2e-5), estimated, exact)


def test_a_surrogate_by_hand() -> None:
    """Its value is the cost. d / d log p_s: the costs that s influences, minus b_s; nothing flows into b_s."""
    costs, log_probs, baselines = np.array([2.0, 5.0]), np.array([-0.1, -0.7, -2.0]), np.array([1.0, 0.5, 3.0])
    influences = np.array([[1, 0, 0], [1, 1, 0]])
    arguments = [x.astype(np.float32) for x in (costs, log_probs, baselines)]
    of = jax.value_and_grad(lambda *x: ops.surrogate_loss(x[0], x[1], x[2], influences), argnums=(0, 1, 2))
    value, (by_cost, by_log_prob, by_baseline) = of(*arguments)
    assert value == 7
    np.testing.assert_allclose(by_cost, [1, 1])
    np.testing.assert_allclose(by_log_prob, [7 - 1, 5 - 0.5, 0 - 3])
    np.testing.assert_allclose(by_baseline, 0)
    by_log_prob = jax.grad(ops.surrogate_loss, argnums=1)(arguments[0], arguments[1])
    np.testing.assert_allclose(by_log_prob, [7, 7, 7])  # every node influences every cost


def test_leave_one_out_baseline() -> None:
    costs = np.array([[1.0, 4.0], [3.0, 0.0], [8.0, 2.0]], np.float32)
    np.testing.assert_allclose(ops.leave_one_out_baseline(costs), [[5.5, 1], [4.5, 3], [2, 2]])


LOGITS = np.array([0.5, -1.0, 0.2], np.float32)


def test_straight_through_refuses_an_index() -> None:
    with pytest.raises(ArgumentError, match=r"sample must be of the shape \(3,\) of relaxed, got \(\)"):
        ops.straight_through(jnp.int32(1), jnp.ones(3) / 3)


def test_straight_through_is_biased_unless_what_follows_is_linear() -> None:
    """Its expected gradient is Σ_k p_k ∇f(e_k) · ∂p / ∂logits, by enumeration; the exact one is Σ_k f(e_k) ∂p_k."""
    w = np.array([2.0, -1.0, 0.7], np.float32)
    functions = {"linear": lambda x: jnp.dot(w, x), "square": lambda x: jnp.square(jnp.dot(w, x) - 0.3)}
    for name, f in functions.items():

        def estimate(logits, k, f=f):
            return f(ops.straight_through(jax.nn.one_hot(k, K), jax.nn.softmax(logits)))

        values, gradients = jax.vmap(jax.value_and_grad(estimate), (None, 0))(LOGITS, jnp.arange(K))
        of_samples = jax.vmap(f)(jnp.eye(K))
        np.testing.assert_allclose(values, of_samples, rtol=1e-5)
        exact = jax.grad(lambda logits, y=of_samples: jax.nn.softmax(logits) @ y)(LOGITS)
        bias = np.abs(jax.nn.softmax(LOGITS) @ gradients - exact).max()
        assert bias < 1e-6 if name == "linear" else bias > 0.1


def test_gumbel_softmax() -> None:
    """Its largest entry has the probabilities of softmax. The bias shrinks with the temperature; the variance grows."""
    noise = 100_000
    w = np.array([2.0, -1.0, 0.7], np.float32)
    f = lambda x: jnp.square(x @ w - 0.3)  # noqa: E731

    @jax.jit
    def estimates(logits, temperature):
        def one(logits, key):
            sample = ops.gumbel_softmax(key, logits, temperature)
            return f(sample), sample

        gradients, samples = jax.vmap(jax.grad(one, has_aux=True), (None, 0))(logits, jax.random.split(keys, noise))
        shares = jax.nn.one_hot(samples.argmax(-1), K).mean(0)
        return shares, gradients.mean(0), gradients.var(0).sum(), samples.sum(-1)

    keys = jax.random.key(0)
    exact = jax.grad(lambda logits: jax.nn.softmax(logits) @ f(jnp.eye(K)))(LOGITS)
    biases, variances = [], []
    for temperature in (1.0, 0.3, 0.1):
        shares, mean, spread, sums = estimates(LOGITS, temperature)
        probs = np.asarray(jax.nn.softmax(LOGITS))
        assert (np.abs(shares - probs) < 4 * np.sqrt(probs * (1 - probs) / noise)).all()
        np.testing.assert_allclose(sums, 1, rtol=1e-5)
        biases.append(float(np.abs(mean - exact).max()))
        variances.append(float(spread))
    assert biases[0] > 2 * biases[1] > 4 * biases[2]
    assert variances[0] < variances[1] < variances[2]


def test_bad_input() -> None:
    with pytest.raises(ArgumentError, match=r"influences must be \[2, 3\], costs by nodes, got \[3, 2\]"):
        ops.surrogate_loss(np.zeros(2), np.zeros(3), influences=np.ones((3, 2)))
    for arguments, message in (
        ((1.0, 2.0), r"costs must have an axis of costs, \[C, ...\], got a scalar"),
        (
            (jnp.ones((5, 2)), jnp.ones((4, 3))),
            r"log_probs must be .* as the costs \[5, 2\] are .*, got \[4, 3\]",
        ),
        ((jnp.ones(5), jnp.ones((4, 3))), r"log_probs must be \[S, ...\] as the costs \[5\] are .*, got \[4, 3\]"),
        ((jnp.ones((5, 2)), jnp.ones((4, 2)), jnp.ones(7)), r"baselines must be a scalar or \[4, 2\] .*, got \[7\]"),
    ):
        with pytest.raises(ArgumentError, match=message):
            ops.surrogate_loss(*arguments)
    for temperature in (0.0, -1.0):
        with pytest.raises(ArgumentError, match=f"temperature must be > 0, got {temperature}"):
            ops.gumbel_softmax(jax.random.key(0), jnp.zeros(3), temperature)
    with pytest.raises(ArgumentError, match="costs must have at least 2 samples of each input, got 1"):
        ops.leave_one_out_baseline(1.0)
    with pytest.raises(ArgumentError, match="costs must have at least 2 samples of each input, got 1"):
        ops.leave_one_out_baseline(np.zeros((1, 4)))
