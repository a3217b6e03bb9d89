"""The ensemble of probabilistic networks: likelihoods by hand, bootstrap samples, and the entropy of a noisy system."""

import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl import Transition
from jaxrl.agents.dynamics import Dynamics, DynamicsConfig, DynamicsHparams, DynamicsState, dynamics
from jaxrl.arguments import ArgumentError
from jaxrl.networks.ensemble import Ensemble, ProbabilisticNetwork, bootstrap_weights, ensemble_loss, normal_nll
from jaxrl.training import as_arrays
from jaxrl.types import Box, Discrete
from tests.compiling import AS_USERS_DO
from tests.mutants import planted

E = 3
ENSEMBLE = Ensemble(ProbabilisticNetwork(2, (4,)), E)
X = jnp.array([[0.1, -0.4, 1.0], [2.0, 0.3, -1.0], [0.0, 0.0, 0.5], [1.0, 1.0, 1.0]])
Y = jnp.array([[0.5, -1.0], [0.0, 2.0], [1.0, 1.0], [-1.0, 0.3]])
ENDS = jnp.array([False, True, False, False])


def test_its_loss_by_hand() -> None:
    """Each network is weighed by its own bootstrap sample, and none learns from another's."""
    params = jax.jit(ENSEMBLE.init)(jax.random.key(0), X)
    weights = jnp.array([[0, 1, 2], [1, 1, 0], [3, 0, 0], [0, 2, 0]], jnp.int8)
    mean, log_variance, termination = (np.asarray(x, np.float64) for x in jax.jit(ENSEMBLE.apply)(params, X))
    assert mean.shape == log_variance.shape == (E, 4, 2)
    assert len(np.unique(mean[:, 0, 0])) == E
    variance = np.exp(log_variance)
    nll = (0.5 * np.log(2 * np.pi * variance) + (np.asarray(Y) - mean) ** 2 / (2 * variance)).sum(-1)
    ends = np.log1p(np.exp(np.where(ENDS, -termination, termination)))
    expected = ((nll + ends) * np.asarray(weights).T).mean(1).sum() + 0.01 * E * 2 * 10.5
    loss_of = jax.jit(jax.value_and_grad(lambda p, w, c: ensemble_loss(ENSEMBLE, p, X, Y, ENDS, w, c), has_aux=True))
    (loss, unweighted), _ = loss_of(params, weights, 0.01)
    np.testing.assert_allclose(loss, expected, rtol=1e-5)
    np.testing.assert_allclose(unweighted, nll.mean(), rtol=1e-5)
    _, grads = loss_of(params, weights.at[:, 0].set(0), 0.0)
    sizes = [abs(x).reshape(E, -1).max(1) for x in jax.tree.leaves(grads)]
    assert all(x[0] == 0 for x in sizes)
    assert max(x[1] for x in sizes) > 0


def test_own_inputs_of_each_network() -> None:
    params = jax.jit(ENSEMBLE.init)(jax.random.key(0), X)
    each = jnp.stack([X, X + 1, X - 1])
    together = jax.jit(ENSEMBLE.apply)(params, each)
    for i in range(E):
        alone = jax.jit(ENSEMBLE.network.apply)(jax.tree.map(lambda x, i=i: x[i], params), each[i])
        jax.tree.map(lambda x, y, i=i: np.testing.assert_allclose(x[i], y, rtol=1e-5), together, alone)


def test_bootstrap_weights_are_poisson_distributed() -> None:
    weights = np.asarray(jax.jit(lambda key: bootstrap_weights(key, 40_000, 2))(jax.random.key(0)), int)
    for k, expected in enumerate([0.36788, 0.36788, 0.18394, 0.06131, 0.01533]):
        np.testing.assert_allclose((weights == k).mean(0), expected, atol=0.01)
    assert weights.max() < 9
    np.testing.assert_allclose(np.corrcoef(weights.T)[0, 1], 0, atol=0.02)  # each network has a sample of its own


MATRIX = np.array([[0.9, 0.2], [-0.1, 0.8]])
PUSH, NOISE = np.array([0.5, 1.0]), np.array([0.1, 0.3])
REWARD_NOISE = 0.2


def linear_system(key: jax.Array, number: int) -> Transition:
    """Transitions of x' = M x + b a + noise, with a reward that is noisy too."""
    keys = jax.random.split(key, 4)
    x, a = jax.random.normal(keys[0], (number, 2)) * 2, jax.random.uniform(keys[1], (number, 1), minval=-1.0)
    after = x @ MATRIX.T + a * PUSH + NOISE * jax.random.normal(keys[2], (number, 2))
    reward = x[:, 0] - 2 * a[:, 0] + REWARD_NOISE * jax.random.normal(keys[3], (number,))
    never = jnp.zeros(number, bool)
    return Transition(x, a, reward, never, never, after)


ENTROPY = float(np.sum(0.5 * np.log(2 * np.pi * np.e * np.array([*NOISE, REWARD_NOISE]) ** 2)))


@pytest.mark.slow
def test_the_likelihood_reaches_the_entropy_of_a_noisy_linear_system() -> None:
    """−log p of new transitions is the entropy of the noise, the least possible, −0.86 nats, to within 0.03."""
    config = DynamicsConfig(ensemble_size=3, model_hidden_sizes=(32, 32))
    example, space = jax.ShapeDtypeStruct((2,), jnp.float32), Box(np.float32([-1]), np.float32([1]))
    model, hparams = dynamics(example, space, config), as_arrays(DynamicsHparams(1e-3))

    def learn(state, key):
        batch_key, weights_key = jax.random.split(key)
        batch = linear_system(batch_key, 256)
        state, metrics = model.update(state, hparams, batch, model.weigh(weights_key, 256))
        return state, metrics["model_nll"].sum

    @jax.jit(compiler_options=AS_USERS_DO)
    def train(key):
        return jax.lax.scan(learn, model.init(key, hparams, jnp.zeros(2)), jax.random.split(key, 10_000))

    state, nlls = train(jax.random.key(0))
    np.testing.assert_allclose(nlls[-500:].mean(), ENTROPY, atol=0.03)
    assert nlls[:5].mean() > ENTROPY + 1
    # Samples of it have the mean and the noise of the system.
    x, a = jnp.tile(jnp.array([1.0, -0.5]), (3, 4000, 1)), jnp.full((3, 4000, 1), 0.5)
    following = model.sample(state, x, a, jax.random.key(5))
    np.testing.assert_allclose(following.next_observation.mean((0, 1)), MATRIX @ [1, -0.5] + PUSH / 2, atol=0.05)
    np.testing.assert_allclose(following.next_observation.std(1).mean(0), NOISE, rtol=0.1)
    np.testing.assert_allclose(following.reward.std(1).mean(), REWARD_NOISE, rtol=0.1)
    assert following.continues.min() > 0.95


@pytest.mark.slow
def test_rare_terminations_are_learned() -> None:
    """Beyond 2, where 2 % of the states are, though the change and the reward are certain and their gradients large."""
    space = Discrete(2)
    model, hparams = (
        dynamics(jax.ShapeDtypeStruct((1,), jnp.float32), space, DynamicsConfig(2, (16, 16))),
        as_arrays(DynamicsHparams()),
    )

    def learn(state, key):
        x, weights = jax.random.normal(key, (64, 1)), jnp.ones((64, 2), jnp.int8)
        never = jnp.zeros(64, bool)
        batch = Transition(x, jnp.zeros(64, int), jnp.ones(64), x[:, 0] > 2, never, x + 0.1)
        return model.update(state, hparams, batch, weights)[0], None

    keys = jax.random.split(jax.random.key(0), 3000)
    start = jax.jit(model.init)(jax.random.key(1), hparams, jnp.zeros(1))
    state, _ = jax.jit(lambda state: jax.lax.scan(learn, state, keys))(start)
    x = jnp.broadcast_to(jnp.array([[0.0], [1.0], [1.7], [2.3], [3.0]]), (2, 5, 1))
    found = model.sample(state, x, jnp.zeros((2, 5), int), jax.random.key(2)).continues
    assert found[:, :3].min() > 0.9
    assert found[:, 3:].max() < 0.2


def nll_by_hand(model: Dynamics, state: DynamicsState, x: np.ndarray, changes: np.ndarray) -> float:
    """Of all that was seen, −log p of the changes and the rewards themselves, by the networks as they are."""
    scaled = (x - x.mean(0)) / np.sqrt(x.var(0) + 1e-8)
    found = jax.jit(model.ensemble.apply)(state.params, np.clip(scaled, -10, 10))
    deviation = np.sqrt(changes.var(0) + 1e-8)
    mean, log_std = found.mean * deviation + changes.mean(0), found.log_variance / 2 + np.log(deviation)
    return (0.5 * ((changes - mean) / np.exp(log_std)) ** 2 + log_std + 0.5 * np.log(2 * np.pi)).sum(-1).mean()


@pytest.mark.slow
def test_rare_inputs_are_clipped_and_rare_rewards_are_not() -> None:
    """One of 401 transitions has another observation and reward, 20 standard deviations from their means."""
    model = dynamics(jax.ShapeDtypeStruct((1,), jnp.float32), Discrete(2), DynamicsConfig(2, (4,)))
    hparams, rare = as_arrays(DynamicsHparams()), jnp.arange(401) == 400
    state, x, never = jax.jit(model.init)(jax.random.key(0), hparams, jnp.zeros(1)), rare[:, None] * 3.0, rare & False
    batch = Transition(x, jnp.zeros(401, int), rare * 7.0, never, never, x + 1)
    learned, metrics = jax.jit(model.update)(state, hparams, batch, jnp.ones((401, 2), jnp.int8))
    given = np.stack([x[:, 0], jnp.ones(401), jnp.zeros(401)], 1)
    expected = nll_by_hand(model, state, given, np.stack([jnp.ones(401), rare * 7.0], 1))
    np.testing.assert_allclose(metrics["model_nll"].sum, expected, rtol=1e-4)
    far = jnp.broadcast_to(jnp.array([[30.0], [60.0]]), (2, 2, 1))
    first, second = jax.jit(model.sample)(learned, far, jnp.zeros((2, 2), int), jax.random.key(0)).continues.T
    np.testing.assert_array_equal(first, second)


def test_samples_of_a_known_model() -> None:
    """The statistics are those of what was learned, and predictions come back in the environment's units."""
    model = dynamics(jax.ShapeDtypeStruct((2,), jnp.float32), Discrete(3), DynamicsConfig(2, (4,)))
    state = jax.jit(model.init)(jax.random.key(0), as_arrays(DynamicsHparams()), jnp.zeros(2))
    batch = Transition(
        jnp.array([[1.0, 2.0], [3.0, 6.0]]), jnp.array([0, 2]), jnp.array([1.0, 5.0]), jnp.array([True, False]),
        jnp.zeros(2, bool), jnp.array([[2.0, 0.0], [6.0, 4.0]]),
    )  # fmt: skip
    learned, metrics = jax.jit(model.update)(state, as_arrays(DynamicsHparams()), batch, jnp.ones((2, 2), jnp.int8))
    np.testing.assert_allclose(learned.inputs.mean, [2, 4, 0.5, 0, 0.5])
    np.testing.assert_allclose(learned.targets.mean, [2, -2, 3])  # changes, and the reward
    x, changes = np.array([[1, 2, 1, 0, 0], [3, 6, 0, 0, 1]]), np.array([[1, -2, 1], [3, -2, 5]])
    np.testing.assert_allclose(metrics["model_nll"].sum, nll_by_hand(model, state, x, changes), rtol=1e-4)
    deviation = np.sqrt(changes.var(0) + 1e-8)
    zeros = jax.tree.map(jnp.zeros_like, learned.params)
    sure = jax.tree_util.tree_map_with_path(
        lambda path, x: x - 60.0 if "log_variance" in str(path) else x, zeros
    )  # no noise, and the mean of the targets
    following = jax.jit(model.sample)(
        learned._replace(params=sure), jnp.ones((2, 1, 2)), jnp.zeros((2, 1), int), jax.random.key(0)
    )
    np.testing.assert_allclose(following.next_observation, np.broadcast_to([3.0, -1.0], (2, 1, 2)), atol=1e-5)
    np.testing.assert_allclose(following.reward, [[3], [3]], atol=1e-5)
    np.testing.assert_allclose(following.continues, [[0.5], [0.5]])
    unsure = jax.tree_util.tree_map_with_path(
        lambda path, x: x + np.log(4) if "log_variance" in str(path) else x, zeros
    )  # two standard deviations of the targets
    many = jnp.ones((2, 4000, 2)), jnp.zeros((2, 4000), int)
    drawn = jax.jit(model.sample)(learned._replace(params=unsure), *many, jax.random.key(0))
    np.testing.assert_allclose(drawn.reward.std(1), 2 * deviation[2], rtol=0.05)
    np.testing.assert_allclose(drawn.next_observation[..., 0].std(1), 2 * deviation[0], rtol=0.05)


def test_each_network_learns_from_its_bootstrap_sample_and_none_takes_a_time_limit_for_an_end() -> None:
    model = dynamics(jax.ShapeDtypeStruct((2,), jnp.float32), Discrete(3), DynamicsConfig(2, (4,)))
    hparams = as_arrays(DynamicsHparams())
    state, never = jax.jit(model.init)(jax.random.key(0), hparams, jnp.zeros(2)), jnp.zeros(2, bool)
    x = jnp.array([[1.0, 2.0], [3.0, 6.0]])
    batch = Transition(x, jnp.array([0, 2]), jnp.array([1.0, 5.0]), never, never, x[::-1])
    update, weights = jax.jit(model.update), jnp.array([[0, 1], [0, 2]], jnp.int8)
    learned, _ = update(state, hparams, batch, weights)
    kernels = [x.params["params"]["Dense_0"]["kernel"] for x in (state, learned)]
    assert jnp.not_equal(*kernels).any((1, 2)).tolist() == [False, True]
    cut, _ = update(state, hparams, batch._replace(truncated=~never), weights)
    jax.tree.map(np.testing.assert_array_equal, cut, learned)


def test_the_bounds_of_a_variance_do_not_cross() -> None:
    """Their width counts, whichever is larger: otherwise the loss would have no lower bound."""
    ensemble = Ensemble(ProbabilisticNetwork(1, (4,)), 2)
    x, y, ends = jnp.zeros((3, 1)), jnp.zeros((3, 1)), jnp.zeros(3, bool)
    params = ensemble.init(jax.random.key(0), x)

    def width(low: float) -> jax.Array:
        own = params["params"] | {"min_log_variance": jnp.full((2, 1), low), "max_log_variance": jnp.zeros((2, 1))}
        return ensemble_loss(ensemble, {"params": own}, x, y, ends, jnp.zeros((3, 2)))[0]

    np.testing.assert_allclose([width(-3.0), width(3.0)], 0.01 * 2 * 3, rtol=1e-6)


def test_a_model_that_has_learned_nothing_predicts_in_the_units_of_its_networks() -> None:
    model = dynamics(jax.ShapeDtypeStruct((2,), jnp.float32), Discrete(2), DynamicsConfig(2, (4,)))
    state = model.init(jax.random.key(0), as_arrays(DynamicsHparams()), jnp.zeros(2))
    x = jnp.zeros((2, 2000, 2))
    assert model.sample(state, x, jnp.zeros((2, 2000), int), jax.random.key(1)).next_observation.std() > 0.01


def test_bad_input() -> None:
    shapes = {"float32[3, 3]": ((3, 3), jnp.float32), "int32[3]": ((3,), jnp.int32), "float32[0]": ((0,), jnp.float32)}
    examples: dict[str, Any] = {got: jax.ShapeDtypeStruct(*each) for got, each in shapes.items()} | {"dict": {"a": 1}}
    for got, example in examples.items():
        rule = "env must have observations that are one vector of floats, which the model can predict, got "
        with pytest.raises(ArgumentError, match=re.escape(rule + got)):
            dynamics(example, Discrete(2), DynamicsConfig())


@pytest.mark.parametrize(
    ("test", "function", "old", "new"),
    [
        (test_its_loss_by_hand, "normal_nll", "+ log_variance", "- log_variance"),
        (test_its_loss_by_hand, "normal_nll", "jnp.exp(-log_variance)", "jnp.exp(log_variance)"),
        (test_its_loss_by_hand, "ensemble_loss", "(nll + ends)", "nll"),
        (test_its_loss_by_hand, "ensemble_loss", "weights.T", "weights.T[:1]"),
        (test_its_loss_by_hand, "ensemble_loss", "terminated.astype", "(~terminated).astype"),
        (test_bootstrap_weights_are_poisson_distributed, "bootstrap_weights", ">= cumulative", "< cumulative"),
    ],
)
@pytest.mark.slow
def test_a_planted_error_is_seen(test, function: str, old: str, new: str) -> None:
    assert normal_nll is not None
    with planted(f"jaxrl.networks.ensemble:{function}", old, new), pytest.raises(AssertionError):
        test()
