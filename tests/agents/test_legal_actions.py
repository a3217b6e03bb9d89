"""Legal actions: no agent chooses, values or learns an illegal one, however good its network says it is."""

import dataclasses
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrl
from jaxrl import Input, OffPolicyConfig, OnPolicyConfig, Sample, Transition, off_policy, on_policy
from jaxrl.agents.action_values import categorical, expected_value, quantiles
from jaxrl.distributions import Categorical, epsilon_greedy, restricted
from jaxrl.networks import NoisyDense, QNetwork
from jaxrl.training import evaluate
from tests.agents.doors import ENDS, ILLEGAL, LEGAL, Doors, PolicyTable, Table
from tests.compiling import quick_jit

ENV = Doors()
GAMMA = 0.5
ROOMS = np.tile(np.arange(ENDS), 100)
SEEN = Input(jnp.eye(ENDS + 1)[ROOMS], jnp.asarray(LEGAL[ROOMS]))
LARGE = np.where(LEGAL, np.arange(4) - 1.0, 100.0)
"""Outputs `[room, door]` of which the illegal ones are the largest."""
MINIBATCHES = jaxrl.MinibatchConfig(num_epochs=2, num_minibatches=2)


def each(outputs: np.ndarray, atoms: int) -> np.ndarray:
    """The outputs for every atom."""
    return np.repeat(outputs[..., None], atoms, -1)


Q_AGENTS = {
    "dqn": (lambda: jaxrl.dqn(Table(LARGE)), jaxrl.DQNHparams),
    "double dqn": (lambda: jaxrl.dqn(Table(LARGE), double=True), jaxrl.DQNHparams),
    "c51": (
        lambda: jaxrl.dqn(Table(each(LARGE, 3) * np.array([-1, 0, 1])), categorical(-9, 9, 3)),
        jaxrl.DQNHparams,
    ),
    "qr-dqn": (lambda: jaxrl.dqn(Table(each(LARGE, 3)), quantiles(3)), jaxrl.DQNHparams),
    "noisy dqn": (lambda: jaxrl.dqn(QNetwork(4, (8,), dense=NoisyDense)), jaxrl.DQNHparams),
    "iqn": (lambda: jaxrl.iqn(QNetwork(8, ()), 4), jaxrl.IQNHparams),
    "pqn": (lambda: jaxrl.pqn(Table(LARGE), MINIBATCHES), jaxrl.PQNHparams),
    "q_learning": (
        lambda: jaxrl.q_learning(ENDS + 1, 4, lambda observations: observations.argmax(-1)),
        jaxrl.QLearningHparams,
    ),
}
POLICY_AGENTS = {
    "ppo": (lambda: jaxrl.ppo(PolicyTable(LARGE), MINIBATCHES), jaxrl.PPOHparams),
    "a2c": (lambda: jaxrl.a2c(PolicyTable(LARGE)), jaxrl.A2CHparams),
    "reinforce": (lambda: jaxrl.reinforce(PolicyTable(LARGE)), jaxrl.ReinforceHparams),
}
AGENTS: dict[str, Any] = Q_AGENTS | POLICY_AGENTS


def exploring(hparams: Any, epsilon: float) -> Any:
    """Hyperparameters with this ε, where there is one."""
    names = {field.name for field in dataclasses.fields(hparams)}
    given = {"epsilon", "epsilon_start", "epsilon_end", "epsilon_eval"} & names
    return dataclasses.replace(hparams, **dict.fromkeys(given, epsilon))


@pytest.mark.parametrize("name", AGENTS)
@pytest.mark.parametrize("epsilon", [0.0, 0.5, 1.0])
def test_no_illegal_action_is_chosen(name: str, epsilon: float) -> None:
    make_agent, hparams = AGENTS[name]
    agent = make_agent()
    state = quick_jit(agent.init)(jax.random.key(0), exploring(hparams(), epsilon), SEEN.observation[0])
    acted = agent.act(state, SEEN, jax.random.key(1), jnp.float32(0)).action
    played = agent.policy(state, SEEN, jax.random.key(2)).action
    for actions in (acted, played):
        assert LEGAL[ROOMS, actions].all()
    if epsilon == 1:  # and all legal ones are
        chosen = {(int(room), int(action)) for room, action in zip(ROOMS, np.asarray(acted), strict=True)}
        assert len(chosen) == LEGAL.sum()
    if epsilon == 0 and name in ("dqn", "double dqn", "c51", "qr-dqn", "pqn", "ppo", "a2c", "reinforce"):
        np.testing.assert_array_equal(played, np.where(LEGAL, np.arange(4), -1).max(-1)[ROOMS])


def trainer_of(name: str) -> tuple[jaxrl.Trainer, Any]:
    make_agent, hparams = AGENTS[name]
    if "dqn" in name or name in ("c51", "iqn"):
        replayed = OffPolicyConfig(
            num_envs=8, batch_size=16, replay_capacity=256, warmup_steps=16, n_step=2, updates_per_iteration=2
        )
        return off_policy(make_agent(), ENV, ENV.default_params, replayed), exploring(hparams(), 0.5)
    config = OnPolicyConfig(num_envs=8, rollout_length=8, reset_each_rollout=name == "reinforce")
    return on_policy(make_agent(), ENV, ENV.default_params, config), exploring(hparams(), 0.5)


SLOW = ("double dqn", "c51", "qr-dqn", "a2c", "reinforce")  # as others, but for what they learn
TRAINED = [pytest.param(name, marks=[pytest.mark.slow] if name in SLOW else []) for name in AGENTS]


@pytest.mark.parametrize("name", TRAINED)
def test_training_and_evaluation_never_meet_a_closed_door(name: str) -> None:
    """And all that is learned is finite, though the last state of an episode has no legal action."""
    trainer, hparams = trainer_of(name)

    @quick_jit
    def train(key):
        state, metrics = jax.lax.scan(lambda s, _: trainer.step(s), trainer.init(key, hparams), length=20)
        agent = AGENTS[name][0]()
        envs = jaxrl.vectorize(ENV, ENV.default_params, 32)
        return state.agent, metrics, evaluate(partial(agent.policy, state.agent), envs, key, max_steps=3)

    agent_state, metrics, evaluation = train(jax.random.key(0))
    assert metrics["episode_return"].count.sum() > 20
    assert metrics["episode_return"].sum.min() >= 0 > ILLEGAL
    assert evaluation.ended.all()
    assert evaluation.episode_return.min() >= 0
    for x in jax.tree.leaves((agent_state, metrics)):
        assert np.isfinite(x).all()


# One step from each room, of which the fourth is truncated and the last terminates, each through an open door.
FROM, DOORS, TO = np.array([0, 1, 2, 2, 4]), np.array([2, 3, 0, 1, 1]), np.array([1, 2, 4, 3, 5])
REWARDS = np.array([2, 3, 0, 1, 1], np.float32)
STEPS = Transition(
    observation=jnp.eye(ENDS + 1)[FROM],
    action=jnp.asarray(DOORS),
    reward=jnp.asarray(REWARDS),
    terminated=jnp.asarray(TO == ENDS),
    truncated=jnp.arange(5) == 3,
    next_observation=jnp.eye(ENDS + 1)[TO],
    legal=jnp.asarray(LEGAL[FROM]),
    next_legal=jnp.asarray(LEGAL[TO]),
)
SAMPLE = Sample(jax.tree.map(lambda x: x[None], STEPS), jnp.ones(5))
Q = np.array([[9, 9, 1, 9], [-2, 9, 9, -3], [1, 4, 9, 2], [0, 2, 5, 3], [9, -1, 9, 9], [9, 9, 9, 9]], np.float32)
"""Action values `[room, door]`: 9 for closed doors."""
TARGET = np.array([[9, 9, 1, 9], [-5, 9, 9, 6], [8, 3, 9, 2], [0, 2, 5, 7], [9, -4, 9, 9], [9, 9, 9, 9]], np.float32)
"""Those of a target network."""


def test_dqn_bootstraps_from_legal_actions() -> None:
    """Max over the legal doors of 1, 2, 4 and 3; double DQN's own network prefers doors 0, 1, 1 and 2 there."""
    for double, following in ((False, [6, 8, -4, 7, 0]), (True, [-5, 3, -4, 5, 0])):
        agent = jaxrl.dqn(Table(Q), expected_value("l2"), double=double)
        state = quick_jit(agent.init)(jax.random.key(0), jaxrl.DQNHparams(discount=GAMMA), STEPS.observation[0])
        state = state._replace(target_params=jnp.asarray(TARGET))
        after, metrics, errors = agent.update(state, SAMPLE, jax.random.key(0), jnp.float32(0))
        expected = REWARDS + GAMMA * np.array(following) - Q[FROM, DOORS]
        np.testing.assert_allclose(errors, expected, rtol=1e-6)
        assert metrics["loss"].sum == pytest.approx(0.5 * np.square(expected).mean())
        assert np.isfinite(after.params).all()
        np.testing.assert_array_equal(np.asarray(after.params)[~LEGAL], Q[~LEGAL])


def test_n_steps_bootstrap_from_the_legal_actions_of_the_last() -> None:
    """Rooms 0, 1, 2: the reward of both steps, and the best door of room 2."""
    two = jax.tree.map(lambda x: x[:2, None], STEPS)
    agent = jaxrl.dqn(Table(Q), expected_value("l2"))
    state = quick_jit(agent.init)(jax.random.key(0), jaxrl.DQNHparams(discount=GAMMA), STEPS.observation[0])
    _, _, errors = agent.update(state, Sample(two, jnp.ones(1)), jax.random.key(0), jnp.float32(0))
    np.testing.assert_allclose(errors, [2 + GAMMA * (3 + GAMMA * 4) - 1], rtol=1e-6)


def test_c51_bootstraps_from_legal_actions() -> None:
    """All mass is on one atom, so that the target is one atom, too: the loss is its cross entropy."""
    atoms = np.arange(-16, 17)
    outputs = np.where(np.arange(33) == (Q[..., None] + 16), 50.0, 0.0)
    agent = jaxrl.dqn(Table(outputs), categorical(-16, 16, 33))
    state = quick_jit(agent.init)(jax.random.key(0), jaxrl.DQNHparams(discount=1.0), STEPS.observation[0])
    _, _, errors = agent.update(state, SAMPLE, jax.random.key(0), jnp.float32(0))
    best = np.where(LEGAL, Q, -np.inf).max(-1)
    targets = REWARDS + np.where(TO == ENDS, 0, best[TO])
    log_probs = np.asarray(jax.nn.log_softmax(outputs[FROM, DOORS]))
    np.testing.assert_allclose(errors, -log_probs[np.arange(5), np.searchsorted(atoms, targets)], rtol=1e-4, atol=1e-4)


def test_qr_dqn_bootstraps_from_legal_actions() -> None:
    agent = jaxrl.dqn(Table(each(Q, 2)), quantiles(2))
    state = quick_jit(agent.init)(jax.random.key(0), jaxrl.DQNHparams(discount=GAMMA), STEPS.observation[0])
    _, _, errors = agent.update(state, SAMPLE, jax.random.key(0), jnp.float32(0))
    best = np.where(LEGAL, Q, -np.inf).max(-1)
    np.testing.assert_allclose(errors, REWARDS + GAMMA * np.where(TO == ENDS, 0, best[TO]) - Q[FROM, DOORS], rtol=1e-6)


ROLLOUT = jax.tree.map(lambda x: x[:, None], STEPS._replace(truncated=jnp.arange(5) != 4))
"""The same as one environment's rollout `[T, 1]`, each step an episode of its own."""


@pytest.mark.parametrize("q_lambda", [0.0, 0.6, 1.0])
def test_pqn_bootstraps_from_legal_actions(q_lambda: float) -> None:
    agent = jaxrl.pqn(Table(Q), jaxrl.MinibatchConfig(num_epochs=1, num_minibatches=1))
    hparams = jaxrl.PQNHparams(discount=GAMMA, q_lambda=q_lambda)
    state = quick_jit(agent.init)(jax.random.key(0), hparams, STEPS.observation[0])
    after, metrics, _ = agent.update(state, ROLLOUT, jax.random.key(0), jnp.float32(0))
    best = np.where(LEGAL, Q, -np.inf).max(-1)
    errors = REWARDS + GAMMA * np.where(TO == ENDS, 0, best[TO]) - Q[FROM, DOORS]
    assert metrics["loss"].sum == pytest.approx(0.5 * np.square(errors).mean(), rel=1e-5)
    np.testing.assert_array_equal(np.asarray(after.params)[~LEGAL], Q[~LEGAL])


def test_q_learning_bootstraps_from_legal_actions() -> None:
    agent = jaxrl.q_learning(ENDS + 1, 4, lambda observations: observations.argmax(-1))
    state = quick_jit(agent.init)(jax.random.key(0), jaxrl.QLearningHparams(discount=GAMMA), STEPS.observation[0])
    _, _, errors = agent.update(state._replace(q_values=jnp.asarray(Q)), ROLLOUT, jax.random.key(0), jnp.float32(0))
    best = np.where(LEGAL, Q, -np.inf).max(-1)
    expected = REWARDS + GAMMA * np.where(TO == ENDS, 0, best[TO]) - Q[FROM, DOORS]
    np.testing.assert_allclose(errors[:, 0], expected, rtol=1e-6)


@pytest.mark.parametrize("name", POLICY_AGENTS)
def test_policies_have_their_entropy_over_legal_actions(name: str) -> None:
    """It is the logarithm of their number where all are alike, and no gradient reaches an illegal one."""
    build: dict[str, Any] = {
        "ppo": partial(jaxrl.ppo, config=jaxrl.MinibatchConfig(num_epochs=1, num_minibatches=1)),
        "a2c": jaxrl.a2c,
        "reinforce": jaxrl.reinforce,
    }
    logits = np.where(LEGAL, 1.0, 50.0)
    agent = build[name](PolicyTable(logits))
    state = quick_jit(agent.init)(jax.random.key(0), POLICY_AGENTS[name][1](), STEPS.observation[0])
    log_probs = -np.log(LEGAL[FROM].sum(-1)).astype(np.float32)
    batch = jax.tree.map(lambda x: x[None] if name == "reinforce" else x[:, None], STEPS)  # five short episodes
    batch = batch._replace(extras=jnp.asarray(log_probs).reshape(batch.reward.shape))
    after, metrics, _ = agent.update(state, batch, jax.random.key(0), jnp.float32(0))
    entropy = metrics["entropy"]
    assert entropy.sum / entropy.count == pytest.approx(-log_probs.mean(), rel=1e-5)
    if name == "ppo":
        assert abs(metrics["approx_kl"].sum) < 1e-6
    learned = np.asarray(after.params[0])
    assert np.isfinite(learned).all()
    np.testing.assert_array_equal(learned[~LEGAL], logits[~LEGAL])
    assert (learned[[1, 2]][LEGAL[[1, 2]]] != 1).any()


def test_ppo_stores_the_log_probabilities_of_the_legal_actions() -> None:
    agent = jaxrl.ppo(PolicyTable(LARGE))
    state = quick_jit(agent.init)(jax.random.key(0), jaxrl.PPOHparams(), SEEN.observation[0])
    decision = agent.act(state, SEEN, jax.random.key(1), jnp.float32(0))
    weights = np.where(LEGAL, np.exp(LARGE), 0)[ROOMS]
    taken = weights[np.arange(len(ROOMS)), decision.action] / weights.sum(-1)
    assert decision.extras.shape == (len(ROOMS),)
    np.testing.assert_allclose(decision.extras, np.log(taken), rtol=1e-5, atol=1e-6)


def test_distributions_over_legal_actions() -> None:
    """Where none is legal, all is finite, and so is its gradient."""
    logits = jnp.asarray(LARGE)

    def parts(logits):
        policy = restricted(Categorical(logits), jnp.asarray(LEGAL))
        return policy.entropy(), policy.log_prob(jnp.full(len(LEGAL), 3))

    entropy, _ = parts(logits)
    weights = [np.exp(LARGE[room][LEGAL[room]]) for room in range(ENDS)]
    exact = [-(x / x.sum() * np.log(x / x.sum())).sum() for x in weights]
    np.testing.assert_allclose(entropy[:ENDS], exact, rtol=1e-5, atol=1e-6)
    for i in range(2):
        assert np.isfinite(parts(logits)[i]).all()
        assert np.isfinite(jax.grad(lambda x, i=i: parts(x)[i].sum())(logits)).all()
    whole = Categorical(logits)
    assert restricted(whole, None) is whole
    greedy = np.exp(epsilon_greedy(logits[:ENDS], 0.4, jnp.asarray(LEGAL[:ENDS])).logits)
    number = LEGAL[:ENDS].sum(-1, keepdims=True)
    best = np.arange(4) == np.where(LEGAL[:ENDS], LARGE[:ENDS], -np.inf).argmax(-1)[:, None]
    np.testing.assert_allclose(greedy, 0.6 * best + np.where(LEGAL[:ENDS], 0.4 / number, 0), rtol=1e-5)
