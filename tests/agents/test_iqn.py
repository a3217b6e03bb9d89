"""Implicit quantile networks: the loss as loops, known distributions of returns, and DQN as a special case."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxrl
from jaxrl import ArgumentError, DQNHparams, Input, IQNConfig, IQNHparams, OffPolicyConfig, Sample, Transition, iqn
from jaxrl.agents.iqn import NUM_COSINES, mean_of_worst, quantiles
from jaxrl.agents.optimizers import adam
from jaxrl.networks import QNetwork
from jaxrl.recipes.deep_q import IQN, build_iqn
from tests.agents.probes import DISCOUNT, PLACES, PROBES, STACKED, Probe, exact_q, is_visited, trained
from tests.compiling import AS_USERS_DO, quick_jit

B, STATES, ACTIONS, D = 6, 4, 3, 5
STEPS = 3000
"""Gradient steps with which a distribution is learned."""


class Features:
    """A row of features for each state, observed as one-hot."""

    def init(self, key, observations):
        return jax.random.normal(key, (STATES, D)) + 0.5

    def apply(self, params, observations, *, rngs=None):
        return observations @ params


def sample(steps: int, rng: np.random.Generator) -> Sample:
    """Random sequences with ends of both kinds, legal actions and weights."""
    shape = steps, B

    def observations():
        return jnp.eye(STATES)[rng.integers(0, STATES, shape)]

    def legal():
        return jnp.asarray((rng.random((*shape, ACTIONS)) < 0.5) | (np.arange(ACTIONS) == 1))

    transitions = Transition(
        observations(), jnp.asarray(rng.integers(0, ACTIONS, shape)), jnp.asarray(rng.normal(size=shape), jnp.float32),
        jnp.asarray(rng.random(shape) < 0.3), jnp.asarray(rng.random(shape) < 0.3), observations(), legal(), legal(),
    )  # fmt: skip
    return Sample(transitions, jnp.asarray(rng.uniform(0.2, 1, B), jnp.float32))


def in_numpy(params, state: int, tau: float) -> np.ndarray:
    """Z_τ(s, ·) in float64, one fraction at a time."""
    features, embedding, joint = (np.asarray(params["features"], np.float64), *map(layer, [
        params["embedding"], params["joint"]]))  # fmt: skip
    phi = np.zeros(D)
    for j in range(D):
        phi[j] = max(0, sum(math.cos(math.pi * i * tau) * embedding[0][i, j] for i in range(NUM_COSINES))
                     + embedding[1][j])  # fmt: skip
    return (np.maximum(features[state], 0) * phi) @ joint[0] + joint[1]


def layer(params) -> tuple[np.ndarray, np.ndarray]:
    return np.asarray(params["params"]["kernel"], np.float64), np.asarray(params["params"]["bias"], np.float64)


def loss_in_numpy(state, online, batch: Sample, config: IQNConfig, key, gamma: float):
    """The loss with the parameters `online`, whose targets keep those of the state, and the errors."""
    tau_key, target_key = jax.random.split(key)  # the two kinds of fractions are independent
    tau = np.asarray(jax.random.uniform(tau_key, (B, config.num_quantiles), jnp.float32), np.float64)
    tau_t = np.asarray(jax.random.uniform(target_key, (B, config.num_target_quantiles), jnp.float32), np.float64)
    steps = jax.tree.map(np.asarray, batch.transitions)
    loss, errors, kappa = 0.0, [], config.huber_delta
    for b in range(B):
        reward, discount, t = 0.0, 1.0, 0
        for t in range(len(steps.reward)):
            reward += discount * float(steps.reward[t, b])
            discount *= 0 if steps.terminated[t, b] else gamma
            if steps.terminated[t, b] or steps.truncated[t, b]:
                break
        first, last = steps.observation[0, b].argmax(), steps.next_observation[t, b].argmax()
        chooses = state.params if config.double else state.target_params
        share = float(state.hparams.cvar)
        ks = [share * (k + 0.5) / config.num_policy_quantiles for k in range(config.num_policy_quantiles)]
        q = np.mean([in_numpy(chooses, last, k) for k in ks], 0)
        best = max((a for a in range(ACTIONS) if steps.next_legal[t, b, a]), key=lambda a: q[a])
        action = steps.action[0, b]
        z = [in_numpy(online, first, x)[action] for x in tau[b]]
        targets = [reward + discount * in_numpy(state.target_params, last, x)[best] for x in tau_t[b]]
        for x, quantile in zip(tau[b], z, strict=True):
            for target in targets:
                u = target - quantile
                size = abs(u) if kappa == 0 else (u**2 / 2 if abs(u) <= kappa else kappa * (abs(u) - kappa / 2)) / kappa
                loss += float(batch.weights[b]) / B * abs(x - (u < 0)) * size / len(targets)
        errors.append(np.mean(targets) - np.mean(z))
    return loss, errors


@pytest.mark.parametrize(
    ("steps", "config", "cvar"),
    [
        (1, IQNConfig(num_quantiles=3, num_target_quantiles=4, num_policy_quantiles=5), 1.0),
        (3, IQNConfig(num_quantiles=4, num_target_quantiles=2, num_policy_quantiles=4, huber_delta=0.3), 0.4),
        (2, IQNConfig(num_quantiles=2, num_target_quantiles=3, num_policy_quantiles=3, double=True), 1.0),
        (1, IQNConfig(num_quantiles=3, num_target_quantiles=3, num_policy_quantiles=2, huber_delta=0.0), 1.0),
    ],
)
def test_the_update_is_the_gradient_of_the_loss_in_loops(steps: int, config: IQNConfig, cvar: float) -> None:
    """The gradient by differences of a loss whose targets do not move: none flows into them."""
    batch, key, gamma = sample(steps, np.random.default_rng(steps)), jax.random.key(7), 0.8
    agent = iqn(Features(), ACTIONS, config, optimizer=lambda hparams, env_steps: optax.sgd(1.0))
    hparams = IQNHparams(discount=gamma, cvar=cvar)
    init = quick_jit(lambda key: agent.init(key, hparams, jnp.zeros(STATES)))
    state = init(jax.random.key(1))._replace(target_params=init(jax.random.key(2)).params)
    after, metrics, errors = quick_jit(agent.update)(state, batch, key, jnp.float32(0))
    loss, expected = loss_in_numpy(state, state.params, batch, config, key, gamma)
    assert metrics["loss"].value() == pytest.approx(loss, rel=1e-4)
    np.testing.assert_allclose(errors, expected, rtol=1e-3, atol=1e-5)
    step = jax.tree.map(lambda new, old: np.asarray(new, np.float64) - old, after.params, state.params)
    h = 1e-4
    along = [
        loss_in_numpy(
            state,
            jax.tree.map(lambda x, d, s=sign: np.asarray(x, np.float64) + s * h * d, state.params, step),
            batch,
            config,
            key,
            gamma,
        )[0]
        for sign in (1, -1)
    ]
    length = sum(float((x**2).sum()) for x in jax.tree.leaves(step))
    assert (along[0] - along[1]) / (2 * h) == pytest.approx(-length, rel=2e-3)
    assert length > 1e-3


@pytest.fixture(scope="module")
def halves():
    """One state for ever, γ = ½. Action 0 earns 0 or 1 with probability ½ each, action 1 always 0.3.

    The best return is Σ_k b_k 2^-k with random bits b_k: uniform on [0, 2]. That of action 1 is uniform on [0.3, 1.3].
    """
    config = IQNConfig(num_quantiles=8, num_target_quantiles=8, num_policy_quantiles=4, huber_delta=0.02)
    network = QNetwork(32, ())
    agent = iqn(network, 2, config, lambda h, t: adam(h.learning_rate * (1 - t / STEPS), h.max_grad_norm))
    here, no = jnp.ones((1, 64, 1)), jnp.zeros((1, 64), bool)

    def update(i, state):
        keys = jax.random.split(jax.random.fold_in(jax.random.key(1), i), 3)
        action = jax.random.bernoulli(keys[0], 0.5, (1, 64)).astype(jnp.int32)
        reward = jnp.where(action == 1, 0.3, jax.random.bernoulli(keys[1], 0.5, (1, 64)))
        batch = Sample(Transition(here, action, reward, no, no, here), jnp.ones(64))
        return agent.update(state, batch, keys[2], jnp.float32(i))[0]

    hparams = jax.tree.map(jnp.asarray, IQNHparams(learning_rate=4e-3, discount=0.5, tau=0.05, max_grad_norm=100.0))
    state = quick_jit(agent.init)(jax.random.key(0), hparams, jnp.ones(1))
    learn = jax.jit(lambda state: jax.lax.fori_loop(0, STEPS, update, state), compiler_options=AS_USERS_DO)
    return agent, network, jax.block_until_ready(learn(state))


def test_the_quantiles_of_a_known_distribution_are_learned(halves) -> None:
    _, network, state = halves
    tau = np.linspace(0.05, 0.95, 19, dtype=np.float32)
    learned = quantiles(network, state.params, jnp.ones((1, 1)), jnp.asarray(tau)[None])[0]
    np.testing.assert_allclose(learned[0], 2 * tau, atol=0.1)
    np.testing.assert_allclose(learned[1], 0.3 + tau, atol=0.1)
    np.testing.assert_allclose(mean_of_worst(network, state.params, jnp.ones((1, 1)), 64, 1.0)[0], [1, 0.8], atol=0.04)


def test_a_cautious_policy_maximises_the_mean_of_the_worst(halves) -> None:
    """Of a uniform distribution on [a, b], the mean of the worst share η is a + η (b − a) / 2."""
    agent, network, state = halves
    worst = mean_of_worst(network, state.params, jnp.ones((1, 1)), 64, 0.2)[0]
    np.testing.assert_allclose(worst, [0.2, 0.4], atol=0.06)
    for cvar, best in ((1.0, 0), (0.2, 1)):
        hparams = dataclasses.replace(state.hparams, cvar=cvar, epsilon_eval=0.0)
        chosen = agent.policy(state._replace(hparams=hparams), Input(jnp.ones((3, 1))), jax.random.key(0)).action
        np.testing.assert_array_equal(chosen, best)


class Joined:
    """The same network without τ: an action-value network for DQN."""

    def init(self, key, observations):
        return PARAMS

    def apply(self, params, observations, *, rngs=None):
        joint = params["joint"]["params"]
        return jax.nn.relu(observations @ params["features"]) @ joint["kernel"] + joint["bias"]


def without_tau(params):
    """Parameters of an embedding that is 1 for every fraction."""
    embedding = jax.tree.map(jnp.zeros_like, params["embedding"]["params"])
    return params | {"embedding": {"params": embedding | {"bias": jnp.ones(D)}}}


PARAMS = without_tau(
    quick_jit(iqn(Features(), ACTIONS).init)(jax.random.key(3), IQNHparams(), jnp.zeros(STATES)).params
)


@pytest.mark.parametrize("double", [False, True])
def test_without_fractions_it_is_dqn(double: bool) -> None:
    """Where all quantiles are the mean, actions and errors are DQN's."""
    batch = sample(2, np.random.default_rng(5))
    config = IQNConfig(double=double)
    agents = iqn(Features(), ACTIONS, config), jaxrl.dqn(Joined(), double=double)
    results, acted = [], []
    for agent, hparams in zip(agents, (IQNHparams, DQNHparams), strict=True):
        state = quick_jit(agent.init)(jax.random.key(0), hparams(epsilon_eval=0.0), jnp.zeros(STATES))
        other = jax.tree.map(lambda x: -0.5 * x, PARAMS)
        state = state._replace(params=PARAMS, target_params=without_tau(other))
        results.append(quick_jit(agent.update)(state, batch, jax.random.key(0), jnp.float32(0))[2])
        given = Input(jnp.eye(STATES), jnp.asarray(batch.transitions.legal)[0, :STATES])
        acted.append(agent.policy(state, given, jax.random.key(0)).action)
    np.testing.assert_allclose(results[0], results[1], rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(acted[0], acted[1])


@pytest.mark.slow
def test_action_values_become_exact() -> None:
    network = QNetwork(32, ())
    replay = OffPolicyConfig(num_envs=8, batch_size=32, replay_capacity=512, warmup_steps=256)
    hparams = IQNHparams(learning_rate=5e-3, discount=DISCOUNT, epsilon_end=1.0, max_grad_norm=100.0, tau=0.1)
    agent = iqn(network, 2, IQNConfig(num_policy_quantiles=8))

    def make_trainer(params):
        return jaxrl.off_policy(agent, Probe(), params, replay), hparams

    agents = trained(make_trainer, STACKED, 1000)
    q_values = jax.vmap(lambda params: mean_of_worst(network, params, PLACES.reshape(4, 2), 8, 1.0))(agents.params)
    for (name, params), q in zip(PROBES.items(), q_values.reshape(-1, 2, 2, 2), strict=True):
        seen = is_visited(params)
        np.testing.assert_allclose(q[seen], exact_q(params)[seen], atol=0.06, err_msg=name)


def test_arguments() -> None:
    with pytest.raises(ArgumentError, match=r"^network must return \[N, features\], got \(2, 4, 3\) for N = 2"):
        iqn(QNetwork(4, (), outputs=(3,)), 2).init(jax.random.key(0), IQNHparams(), jnp.zeros(3))
    with pytest.raises(ArgumentError, match=r"^num_quantiles must be > 0, got 0"):
        iqn(Features(), 2, IQNConfig(num_quantiles=0))
    with pytest.raises(ArgumentError, match=r"^hparams must be of the kind IQNHparams"):
        iqn(Features(), 2).init(jax.random.key(0), DQNHparams(), jnp.zeros(STATES))


def test_the_recipe_takes_priorities_and_several_steps() -> None:
    config = IQN(num_envs=4, batch_size=8, warmup_steps=8, replay_capacity=64, hidden_sizes=(8,), conv_features=2,
                 replay="prioritised", n_step=3)  # fmt: skip
    _, trainer = build_iqn(*jaxrl.make("Breakout-MinAtar"), config)
    _, metrics = jax.eval_shape(lambda key: trainer.step(trainer.init(key, IQNHparams())), jax.random.key(0))
    assert set(metrics) >= {"loss", "q_mean", "epsilon", "episode_return"}
