"""Routing networks: the sparse computation equals the full one, and the gradient that of the expected loss."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl import ArgumentError, Input, OfflineConfig, actor_critic, offline, policy_network
from jaxrl.agents.routing import RoutingConfig, RoutingHparams, apply_chosen, expected_loss, routing
from jaxrl.networks import Network
from jaxrl.recipes.routing_images import one_to_one, shares_of
from jaxrl.types import Discrete, Sample, Transition
from tests.compiling import quick_jit
from tests.instruments import watching

K, ACTIONS, B, FEATURES = 3, 4, 3, 5
ROUTER: Network = policy_network(np.zeros(FEATURES, np.float32), Discrete(K), ())
EXPERT: Network = policy_network(np.zeros(FEATURES, np.float32), Discrete(ACTIONS), (4,))
rng = np.random.default_rng(0)
ENDS = np.zeros(B, bool)
X = rng.normal(size=(B, FEATURES)).astype(np.float32)
STEPS = Transition(X, np.array([2, 0, 1]), np.ones(B, np.float32), ENDS, ENDS, X)


def scaled(state, factor=8.0):
    """Probabilities that are neither equal nor certain."""
    return state._replace(params=jax.tree.map(lambda x: factor * x, state.params))


@pytest.fixture(scope="module")
def state():
    return scaled(routing(ROUTER, EXPERT, RoutingConfig()).init(jax.random.key(0), RoutingHparams(), X[0]))


@pytest.mark.parametrize("number", [1, 23])
def test_only_the_chosen_network_works(number) -> None:
    """Outputs and gradients are those of all networks, of which one is kept for each input."""
    networks, block = 4, 5
    params = {"w": rng.normal(size=(networks, 3, 2)).astype("f4"), "b": rng.normal(size=(networks, 2)).astype("f4")}
    inputs, target = rng.normal(size=(number, 3)).astype("f4"), rng.normal(size=(number, 2)).astype("f4")
    apply = lambda params, x: jnp.tanh(x @ params["w"] + params["b"])  # noqa: E731

    @quick_jit
    def both(params, chosen):
        def loss(params, outputs):
            y = outputs(params)
            return (y * target).sum(), y

        sparse = jax.value_and_grad(loss, has_aux=True)
        few = sparse(params, lambda params: apply_chosen(apply, params, chosen, inputs, block))
        return few, sparse(params, lambda p: jax.vmap(apply, (0, None))(p, inputs)[chosen, jnp.arange(number)])

    for chosen in (rng.integers(networks, size=number), np.full(number, 2), np.arange(number) % 2 * 3):
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), *both(params, chosen))


def test_gradient_is_that_of_the_expected_loss(state) -> None:
    """By enumeration of the experts that three inputs may go to, 27 outcomes."""
    choices = np.array(list(itertools.product(range(K), repeat=B)))

    @quick_jit
    def exact_and_estimated(params):
        def expected(params):
            probs = jax.nn.softmax(ROUTER.apply(params["router"], X).logits)
            logits = jax.vmap(EXPERT.apply, (0, None))(params["experts"], X).logits
            costs = -jax.nn.log_softmax(logits)[:, jnp.arange(B), STEPS.action].T
            mean = probs.mean(0)
            return (probs * costs).sum(1).mean() + 0.3 * (mean * jnp.log(mean)).sum()

        def one(params, chosen):
            hparams = RoutingHparams(balance_coef=0.3)
            return expected_loss(ROUTER, EXPERT, RoutingConfig(K), hparams, params, STEPS, lambda _: chosen)[0]

        log_probs = jax.nn.log_softmax(ROUTER.apply(params["router"], X).logits)
        weights = jnp.exp(log_probs[jnp.arange(B), choices].sum(1))
        each = jax.vmap(jax.value_and_grad(one), (None, 0))(params, choices)
        return jax.value_and_grad(expected)(params), jax.tree.map(lambda x: jnp.tensordot(weights, x, 1), each)

    exact, estimated = exact_and_estimated(state.params)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), estimated, exact)
    assert min(abs(x).max() for x in jax.tree.leaves(exact[1]["router"])) > 1e-3


def test_actions(state) -> None:
    """The policy takes the most probable expert, and its most probable action; a mixture weighs them."""
    probs = jax.nn.softmax(ROUTER.apply(state.params["router"], X).logits)
    each = jax.nn.softmax(jax.vmap(EXPERT.apply, (0, None))(state.params["experts"], X).logits)
    decision = routing(ROUTER, EXPERT, RoutingConfig()).policy(state, Input(X), jax.random.key(0))
    np.testing.assert_array_equal(decision.extras, probs.argmax(1))
    np.testing.assert_array_equal(decision.action, each[probs.argmax(1), jnp.arange(B)].argmax(1))
    mixed = routing(ROUTER, EXPERT, RoutingConfig(choice="soft")).policy(state, Input(X), jax.random.key(0))
    np.testing.assert_array_equal(mixed.action, jnp.einsum("bk,kba->ba", probs, each).argmax(1))


@pytest.mark.parametrize("choice", ["sampled", "soft"])
def test_it_learns_offline(choice) -> None:
    """Two kinds of inputs whose actions are swapped: right in nearly all of them after 200 steps."""

    def draw(key, size):
        keys = jax.random.split(key, 2)
        kind, side = (jax.random.bernoulli(k, 0.5, (1, size)) for k in keys)
        sign = jnp.where(side, 1.0, -1.0)
        x = jnp.stack([sign, jnp.where(kind, 1.0, -1.0), *[jnp.ones_like(sign)] * 3], -1)
        ends = jnp.zeros((1, size), bool)
        return Transition(x, (kind ^ side).astype(jnp.int32), jnp.ones((1, size)), ends, ends, x)

    expert = policy_network(np.zeros(FEATURES, np.float32), Discrete(2), ())
    config = RoutingConfig(2, choice)
    router = policy_network(np.zeros(FEATURES, np.float32), Discrete(2), ())
    trainer = offline(routing(router, expert, config), draw, OfflineConfig(64))
    step = quick_jit(trainer.step)
    state = trainer.init(jax.random.key(1), RoutingHparams(3e-2), trainer.constants)
    for _ in range(200):
        state, metrics = step(state, trainer.constants)
    assert float(metrics["accuracy"].value()) > 0.95
    assert float(metrics["balance"].value()) > 0.6  # both experts work


def test_one_to_one() -> None:
    """Two domains that share an expert are not both routed right."""
    assert one_to_one(np.array([[0.5, 0], [0, 0.5]])) == 1
    assert one_to_one(np.array([[0, 0.5], [0.5, 0]])) == 1
    assert one_to_one(np.array([[0.5, 0], [0.5, 0]])) == 0.5
    assert one_to_one(np.array([[0.3, 0.2, 0], [0.1, 0.1, 0.3]])) == pytest.approx(0.6)
    np.testing.assert_allclose(
        shares_of(np.array([0, 1, 1, 1]), np.array([2, 0, 0, 2]), 2, 3), [[0, 0, 0.25], [0.5, 0, 0.25]]
    )


def test_it_acts_as_it_samples(state) -> None:
    """The joint distribution of experts and actions; the experts begin differently."""
    agent = routing(ROUTER, EXPERT, RoutingConfig())
    with watching(compiled=True) as log:
        act = quick_jit(lambda key: agent.act(state, Input(jnp.tile(X[:1], (4000, 1))), key, jnp.float32(0)))
        found = act(jax.random.key(0))
    log.check()
    probs = jax.nn.softmax(ROUTER.apply(state.params["router"], X[:1]).logits)[0]
    each = jax.nn.softmax(jax.vmap(EXPERT.apply, (0, None))(state.params["experts"], X[:1]).logits)[:, 0]
    assert len(np.unique(each[:, 0])) == K
    joint = np.zeros((K, ACTIONS))
    np.add.at(joint, (found.extras, found.action), 1 / 4000)
    np.testing.assert_allclose(joint, probs[:, None] * each, atol=0.035)


def test_weights_are_those_of_the_losses(state) -> None:
    """A transition of weight 0 is worth nothing, where no expert is sampled; all of weight 0 change nothing."""
    agent, key = routing(ROUTER, EXPERT, RoutingConfig(choice="soft")), jax.random.key(0)
    hparams = RoutingHparams(learning_rate=0.1, balance_coef=0.0)
    state = agent.init(key, hparams, X[0])

    def learn(steps, weights):
        sample = Sample(jax.tree.map(lambda x: x[None], steps), jnp.asarray(weights))
        return agent.update(state, sample, key, jnp.float32(0))[0].params

    jax.tree.map(np.testing.assert_array_equal, learn(STEPS, np.zeros(B, np.float32)), state.params)
    wrong = STEPS._replace(action=np.array([2, 0, 3]))
    one, other = (learn(steps, np.float32([1, 1, 0])) for steps in (STEPS, wrong))
    jax.tree.map(np.testing.assert_array_equal, one, other)
    jax.tree.map(lambda x, y: np.testing.assert_raises(AssertionError, np.testing.assert_array_equal, x, y),
                 one["router"], state.params["router"])  # fmt: skip


@pytest.mark.parametrize("choice", ["sampled", "soft"])
def test_its_loss_and_entropy(state, choice) -> None:
    config, hparams = RoutingConfig(choice=choice), RoutingHparams(balance_coef=0.0)
    loss, metrics = expected_loss(ROUTER, EXPERT, config, hparams, state.params, STEPS, lambda c: c.mode())
    probs = jax.nn.softmax(ROUTER.apply(state.params["router"], X).logits)
    each = jax.nn.softmax(jax.vmap(EXPERT.apply, (0, None))(state.params["experts"], X).logits)
    soft = choice == "soft"
    mixed = jnp.einsum("bk,kba->ba", probs, each) if soft else each[probs.argmax(1), jnp.arange(B)]
    np.testing.assert_allclose(metrics["loss"], -np.log(mixed[jnp.arange(B), STEPS.action]).mean(), rtol=1e-4)
    np.testing.assert_allclose(loss, metrics["loss"], rtol=1e-5)
    np.testing.assert_allclose(metrics["entropy"], -(probs * jnp.log(probs)).sum(1).mean(), rtol=1e-4)


def test_bad_input() -> None:
    def refused(message, function, *arguments):
        with pytest.raises(ArgumentError, match=message):
            function(*arguments)

    refused("num_experts must be", routing, ROUTER, EXPERT, RoutingConfig(1))
    key, hparams = jax.random.key(0), RoutingHparams()
    other: Network = actor_critic(X[0], Discrete(K), (4,))
    for name, networks in (("router", (other, EXPERT)), ("expert", (ROUTER, other))):
        agent = routing(*networks, RoutingConfig())
        refused(f"{name} must return a Categorical, got tuple", agent.init, key, hparams, X[0])
    refused("router must give 3 values", routing(EXPERT, EXPERT, RoutingConfig()).init, key, hparams, X[0])
    agent = routing(ROUTER, EXPERT, RoutingConfig())
    refused("batch must be of the kind Sample", agent.update, None, STEPS, key, 0.0)
    one = Sample(jax.tree.map(lambda x: x[None, :1], STEPS), jnp.ones(1))
    refused("costs must have at least 2 samples", agent.update, agent.init(key, hparams, X[0]), one, key, 0.0)
