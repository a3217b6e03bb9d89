"""DAgger: whose states it visits, what it learns there, and how its regret grows with the horizon."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrl
from jaxrl import ArgumentError, BehaviourCloningHparams, DAggerHparams, Decision, Input, Mean, OffPolicyConfig, Sample
from jaxrl.agents.dagger import beta_at
from jaxrl.distributions import Categorical, Normal
from jaxrl.envs import Environment, vectorize
from jaxrl.envs.source import Source
from jaxrl.training.collect import collect
from tests.compiling import quick_jit
from tests.instruments import watching

ROAD, DITCH = 0, 1
ON, OUT = 0, 1
"""On the road, `OUT` leads into the ditch, and in the ditch out of it; `ON` leads nowhere else."""
N, T = 8192, 6


class Params(NamedTuple):
    max_steps_in_episode: int = 16


class State(NamedTuple):
    place: jax.Array
    time: jax.Array


class Cliff(Environment):
    """A road beside a ditch, where each step costs 1. Observations are (1, whether in the ditch)."""

    random_words, num_actions, name = 1, 2, "Cliff"
    default_params: Any = Params()

    def initial(self, bits, params):
        return State(jnp.zeros(bits.shape[1:], jnp.int32), jnp.zeros(bits.shape[1:], jnp.int32))

    def transition(self, state, action, bits, params):
        place = jnp.where(action == OUT, 1 - state.place, state.place)
        cost = (state.place == DITCH).astype(jnp.float32)
        return State(place, state.time + 1), -cost, jnp.zeros(place.shape, bool)

    def encode(self, state):
        return state.place[None].astype(jnp.uint32)

    def decode(self, words):
        return jnp.stack([jnp.ones_like(words[..., 0]), words[..., 0]], -1).astype(jnp.float32)


class Linear:
    """Logits `x W`, from W = 0: what it learns of the road is what it does in a ditch that it has never seen."""

    def init(self, key, observations):
        return jnp.zeros((2, 2))

    def apply(self, params, observations, *, rngs=None):
        return Categorical(observations @ params)


class Normals:
    """A normal distribution with mean `x W` and standard deviation 1."""

    def init(self, key, observations):
        return jnp.zeros((2, 2))

    def apply(self, params, observations, *, rngs=None):
        mean = observations @ params
        return Normal(mean, jnp.zeros_like(mean))


EXPERT = jaxrl.behaviour_cloning(Linear())
EXPERT_STATE = jax.tree.map(
    jnp.float32,
    EXPERT.init(jax.random.key(0), BehaviourCloningHparams(), jnp.zeros(2))._replace(
        params=np.array([[1, -1], [-2, 2]])  # stays on the road, and leaves the ditch
    ),
)
LEARNER = jnp.float32([[0.5, -0.5], [0.3, -0.2]])


def probabilities(params) -> np.ndarray:
    """π(a | s) of a linear policy, `[2, 2]`, in float64."""
    logits = np.array([[1.0, 0.0], [1.0, 1.0]]) @ np.asarray(params, np.float64)
    p = np.exp(logits - logits.max(-1, keepdims=True))
    return p / p.sum(-1, keepdims=True)


def occupancy(policy: np.ndarray, steps: int) -> np.ndarray:
    """P(s_t = s) of a policy `[2, 2]` that starts on the road, `[steps, 2]`."""
    stays, d = policy[:, ON], [np.array([1.0, 0.0])]
    for _ in range(steps - 1):
        d.append(d[-1] * stays + (d[-1] * (1 - stays))[::-1])
    return np.array(d)


def regret(policy: np.ndarray, steps: int) -> float:
    """What a policy loses against the expert, who never sees the ditch: the expected steps there."""
    return occupancy(policy, steps)[:, DITCH].sum()


def mistakes(policy: np.ndarray, visited: np.ndarray) -> float:
    """The expected 0-1 loss of a policy in the states that were visited, `[steps, 2]`."""
    return (visited.mean(0) * [policy[ROAD, OUT], policy[DITCH, ON]]).sum()


def agent_of(**options) -> jaxrl.Agent:
    return jaxrl.dagger(Linear(), EXPERT, EXPERT_STATE, **options)


def learner_of(agent: jaxrl.Agent, hparams) -> Any:
    return quick_jit(agent.init)(jax.random.key(0), hparams, jnp.zeros(2))._replace(params=LEARNER)


def visit(agent: jaxrl.Agent, state, constants=()) -> jaxrl.Transition:
    """The transitions `[T, N]` from the start of N episodes."""
    envs = vectorize(Cliff(), Params(), N)

    @quick_jit
    def visit(state, constants):
        start = Source(envs.reset(jax.random.key(1)), ())
        keys = jax.random.split(jax.random.key(2), (T, 2))
        return envs.decode(collect(agent, envs, state, start, keys, jnp.zeros(T), constants)[1])

    return jax.device_get(visit(state, constants))


@pytest.mark.parametrize("beta", [0.0, 0.3, 1.0])
def test_it_visits_the_states_of_the_mixture(beta: float) -> None:
    """Those of βπ* + (1 − β)π̂; with β = 1 or 0 every step is the expert's or the learner's. All labels are expert's."""
    agent, cloning = agent_of(), jaxrl.behaviour_cloning(Linear())
    learner = learner_of(agent, DAggerHparams(beta_start=beta, beta_end=0.5))
    steps = visit(agent, learner, EXPERT_STATE)
    np.testing.assert_array_equal(steps.extras, steps.observation[..., 1])
    mixture = beta * np.eye(2) + (1 - beta) * probabilities(LEARNER)
    visited = steps.observation[..., 1].mean(1)
    np.testing.assert_allclose(visited, occupancy(mixture, T)[:, DITCH], atol=5 * (1 / 4 / N) ** 0.5 * (beta < 1))

    def act_alone(state, given, key, env_steps):
        if beta == 1:
            return EXPERT.policy(EXPERT_STATE, given, key)
        return cloning.act(state, given, jax.random.split(key, 3)[1], env_steps)

    alone = visit(cloning._replace(act=act_alone), learner)
    same = [(x == y).all() for x, y in zip(*map(jax.tree.leaves, (steps._replace(extras=()), alone)), strict=True)]
    assert all(same) == (beta in (0, 1))


def test_beta_falls_linearly() -> None:
    hparams = DAggerHparams(beta_start=0.8, beta_end=0.2, beta_decay_steps=100.0)
    steps = np.array([0, 50, 100, 1000], np.float32)
    np.testing.assert_allclose([beta_at(hparams, x) for x in steps], [0.8, 0.5, 0.2, 0.2], rtol=1e-6)


def test_its_step_is_that_of_cloning_the_labels() -> None:
    """Whatever was done, and what followed."""
    rng = np.random.default_rng(0)
    x, ends = jnp.asarray(rng.normal(size=(1, 24, 2)), jnp.float32), jnp.zeros((1, 24), bool)
    labels, actions = (jnp.asarray(rng.integers(2, size=(1, 24)), jnp.int32) for _ in range(2))
    steps = jaxrl.Transition(x, actions, jnp.ones((1, 24)), ends, ends, x + 1, extras=labels)
    weights, hparams = jnp.asarray(rng.uniform(0.5, 2, 24), jnp.float32), DAggerHparams(beta_decay_steps=100.0)
    agent, cloning = agent_of(), jaxrl.behaviour_cloning(Linear())
    rest = jax.random.key(0), jnp.float32(25)
    given, said = Sample(steps, weights), Sample(steps._replace(action=labels), weights)
    learned, metrics, errors = quick_jit(agent.update)(learner_of(agent, hparams), given, *rest, EXPERT_STATE)
    cloned, same, _ = quick_jit(cloning.update)(learner_of(cloning, hparams), said, *rest)
    np.testing.assert_array_equal(learned.params, cloned.params)
    assert float(metrics.pop("beta").value()) == 0.75
    assert jax.tree.map(float, metrics) == jax.tree.map(float, same)
    assert errors == ()


HORIZONS = np.geomspace(32, 512, 5).astype(int)


def trained(trainer: jaxrl.Trainer, num_steps: int) -> list[np.ndarray]:
    """The policies of two seeds, `[2, 2]` each."""
    hparams = DAggerHparams(learning_rate=0.1, max_grad_norm=1e9, beta_start=0.5, beta_decay_steps=1000.0)
    keys = jax.random.split(jax.random.key(0))
    result = jaxrl.run(trainer, keys, jaxrl.repeat(hparams, 2), num_steps, log_every=num_steps)
    return [probabilities(params) for params in np.asarray(result.state.agent.params)]


def slope(policy: np.ndarray) -> float:
    """Of the logarithm of the regret over that of the horizon."""
    return np.polyfit(np.log(HORIZONS), np.log([regret(policy, steps) for steps in HORIZONS]), 1)[0]


def test_regret_grows_with_the_square_of_the_horizon_in_cloning_and_linearly_in_dagger() -> None:
    """Both are right where the expert goes, and few episodes see a mistake. All is exact, but for what they learned."""
    config = OffPolicyConfig(num_envs=16, warmup_steps=256)
    online = jaxrl.off_policy(agent_of(), Cliff(), Params(), config)
    steps = jaxrl.rollout(Cliff(), partial(EXPERT.policy, EXPERT_STATE), jax.random.key(3), 64, 16, Params())
    dataset = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), steps)
    offline = jaxrl.offline(jaxrl.behaviour_cloning(Linear()), dataset, jaxrl.OfflineConfig(16))
    longest, expert = HORIZONS[-1], np.eye(2)
    for policy in trained(offline, 2000):
        error = mistakes(policy, occupancy(expert, longest))
        assert longest * error < 0.05
        assert slope(policy) == pytest.approx(2, abs=0.1)
        assert longest**2 * error / 4 < regret(policy, longest) < longest**2 * error  # Ross & Bagnell 2010, theorem 2.1
        assert mistakes(policy, occupancy(policy, longest)) > longest / 4 * error
    for policy in trained(online, 256 + 2000 * 16):
        error = mistakes(policy, occupancy(policy, longest))
        assert longest * error < 0.05
        assert slope(policy) == pytest.approx(1, abs=0.1)
        assert regret(policy, longest) <= longest * error  # theorem 3.2 with u = 1, what a mistake costs
        assert policy[DITCH, OUT] > 0.99


def test_labels_are_the_experts_and_the_ring_holds_the_newest() -> None:
    """A label is what the expert does in its state, bit for bit, and the oldest one is `replay_capacity` steps old."""
    agent, capacity = agent_of(), 32

    def act(state, given, key, env_steps):
        decision = agent.act(state, given, key, env_steps)
        return decision._replace(extras=(decision.extras, jnp.full(len(decision.action), env_steps)))

    def update(state, batch, key, env_steps, constants):
        label, step = batch.transitions.extras
        said = EXPERT.policy(constants, Input(batch.transitions.observation[0]), key).action
        return state, {"right": Mean.of((label[0] == said).mean()), "oldest": Mean.of(env_steps - step.min())}, ()

    config = OffPolicyConfig(num_envs=4, batch_size=32, replay_capacity=capacity, warmup_steps=32)
    trainer = jaxrl.off_policy(agent._replace(act=act, update=update), Cliff(), Params(), config)
    hparams, constants = DAggerHparams(beta_start=0.5), trainer.constants
    first = quick_jit(trainer.init)(jax.random.key(0), hparams, constants)
    train = quick_jit(lambda state, constants: jax.lax.scan(lambda s, _: trainer.step(s, constants), state, length=40))
    last, metrics = train(first, constants)
    np.testing.assert_array_equal(metrics["right"].sum, 1)
    assert metrics["oldest"].sum.max() == capacity
    assert jax.tree.map(jnp.shape, last) == jax.tree.map(jnp.shape, first)


def test_learner_expert_and_who_acts_draw_with_keys_of_their_own() -> None:
    expert = EXPERT._replace(policy=lambda state, given, key: EXPERT.act(state, given, key, 0.0))
    agent = jaxrl.dagger(Linear(), expert, EXPERT_STATE)
    with watching() as log:
        state = learner_of(agent, DAggerHparams(beta_start=0.5))
        agent.act(state, Input(jnp.ones((4, 2)), constants=EXPERT_STATE), jax.random.key(1), jnp.float32(0))
    log.check()
    assert len(log.uses) == 4


def test_continuous_actions() -> None:
    """The expert acts in some environments, with all of an action, and the learner in the others."""
    expert = jaxrl.behaviour_cloning(Normals())
    state = expert.init(jax.random.key(0), BehaviourCloningHparams(), jnp.zeros(2))._replace(params=jnp.eye(2) * 9)
    agent, hparams, x = jaxrl.dagger(Normals(), expert, state), DAggerHparams(beta_start=0.5), jnp.ones((64, 2))
    decision = agent.act(
        quick_jit(agent.init)(jax.random.key(0), hparams, x[0]), Input(x, constants=state), jax.random.key(1), 0.0
    )
    np.testing.assert_array_equal(decision.extras, 9)
    by_expert = np.asarray(decision.action) == 9
    assert 16 < by_expert.all(1).sum() == by_expert.any(1).sum() < 48


def test_bad_arguments() -> None:
    agent, x = agent_of(), jnp.zeros((4, 2))
    with pytest.raises(ArgumentError, match=r"hparams must be of the kind DAggerHparams, got BehaviourCloningHparams"):
        quick_jit(agent.init)(jax.random.key(0), BehaviourCloningHparams(), x[0])
    state = quick_jit(agent.init)(jax.random.key(0), DAggerHparams(), x[0])
    with pytest.raises(
        ArgumentError, match=r"constants must be the state of the expert, as Trainer.constants are, got tuple"
    ):
        agent.act(state, Input(x), jax.random.key(0), 0.0)
    with pytest.raises(ArgumentError, match=r"batch must be of the kind Sample, as in jaxrl.off_policy, got tuple"):
        agent.update(state, (), jax.random.key(0), 0.0, EXPERT_STATE)
    with pytest.raises(ArgumentError, match=r"expert must have no memory, got an agent with one"):
        jaxrl.dagger(Linear(), EXPERT._replace(memory=lambda state, n: jnp.zeros((n, 3))), EXPERT_STATE)
    steers = EXPERT._replace(policy=lambda state, given, key: Decision(jnp.zeros((len(given.observation), 2))))
    other = jaxrl.dagger(Linear(), steers, EXPERT_STATE)
    with pytest.raises(ArgumentError, match=r"expert must act with int32\[4\], as the learner, got float32\[4, 2\]"):
        other.act(state, Input(x, constants=EXPERT_STATE), jax.random.key(0), 0.0)
    assert not agent.needs_env_states
    assert jaxrl.dagger(Linear(), EXPERT._replace(needs_env_states=True), EXPERT_STATE).needs_env_states
