"""Recurrent DQN: sequences against steps, the loss as loops, and tasks that need a memory."""

import dataclasses
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxrl
from jaxrl import ArgumentError, DQNHparams, Input, OffPolicyConfig, Sample, Transition, off_policy, vectorize
from jaxrl.agents.recurrent_dqn import BurnInConfig, RecurrentDQNHparams, recurrent_dqn, unroll
from jaxrl.envs import Environment, rollout
from jaxrl.networks import QNetwork
from jaxrl.networks.recurrent import RecurrentQNetwork, one_step
from jaxrl.recipes.deep_q import RecurrentDQN, build_recurrent_dqn
from jaxrl.training import evaluate
from tests.compiling import quick_jit

L, B, STATES, ACTIONS, H = 7, 5, 3, 2, 4


class Linear:
    """A memory h' = h w + o u, and values h' v: simple enough for loops."""

    def init(self, key, memory, observations, starts):
        shapes = {"w": (H, H), "u": (STATES, H), "v": (H, ACTIONS)}
        keys = jax.random.split(key, len(shapes))
        return {name: 0.7 * jax.random.normal(k, shapes[name]) for k, name in zip(keys, shapes, strict=True)}

    def apply(self, params, memory, observations, starts):
        def step(h, x):
            observation, start = x
            h = jnp.where(start[:, None], 0.0, h) @ params["w"] + observation @ params["u"]
            return h, h

        memories = jax.lax.scan(step, memory, (observations, starts))[1]
        return memories.reshape(-1, H) @ params["v"], memories

    def memory(self, num_envs):
        return jnp.zeros((num_envs, H))


def sample(seed: int) -> Sample:
    """Random sequences with ends of both kinds, legal actions and weights."""
    rng, shape = np.random.default_rng(seed), (L, B)

    def observations():
        return jnp.asarray(rng.normal(size=(*shape, STATES)), jnp.float32)

    def legal():
        return jnp.asarray((rng.random((*shape, ACTIONS)) < 0.6) | (np.arange(ACTIONS) == 1))

    ends = rng.random(shape)
    transitions = Transition(
        observations(), jnp.asarray(rng.integers(0, ACTIONS, shape)), jnp.asarray(rng.normal(size=shape), jnp.float32),
        jnp.asarray(ends < 0.15), jnp.asarray(ends > 0.8), observations(), legal(), legal(),
        extras=jnp.asarray(rng.normal(size=(*shape, H)), jnp.float32),
    )  # fmt: skip
    return Sample(transitions, jnp.asarray(rng.uniform(0.2, 1, B), jnp.float32))


def loss_in_numpy(state, online, batch: Sample, config: BurnInConfig):
    """The loss with the parameters `online`; burn-in and targets keep those of the state. Also the errors."""
    steps = jax.tree.map(lambda x: np.asarray(x, np.float64), batch.transitions)
    trees = [jax.tree.map(lambda x: np.asarray(x, np.float64), p) for p in (online, state.params, state.target_params)]
    learned, before, target = trees
    hparams, total, errors = state.hparams, 0.0, []
    for b in range(B):
        stored = np.asarray(batch.transitions.extras[0, b], np.float64) if config.store_memory else np.zeros(H)
        memory = dict.fromkeys(("learned", "before", "target"), stored)
        q, best = {}, {}
        for t in range(L):
            if t > 0 and steps.terminated[t - 1, b] + steps.truncated[t - 1, b] > 0:
                memory = {name: np.zeros(H) for name in memory}
            in_burn_in = t < config.burn_in
            for name, params in (
                ("learned", before if in_burn_in else learned),
                ("before", before),
                ("target", target),
            ):
                memory[name] = memory[name] @ params["w"] + steps.observation[t, b] @ params["u"]
            q[t] = memory["learned"] @ learned["v"]
            after = steps.next_observation[t, b]
            online_next = (memory["before"] @ before["w"] + after @ before["u"]) @ before["v"]
            target_next = (memory["target"] @ target["w"] + after @ target["u"]) @ target["v"]
            legal = [a for a in range(ACTIONS) if steps.next_legal[t, b, a]]
            best[t] = target_next[max(legal, key=lambda a: online_next[a])]
        found = []
        for t in range(config.burn_in, L):
            target_return, factor, k = 0.0, 1.0, t
            while True:
                target_return += factor * steps.reward[k, b]
                factor *= 0 if steps.terminated[k, b] else float(hparams.discount)
                if steps.terminated[k, b] or steps.truncated[k, b] or k == L - 1 or k == t + config.target_steps - 1:
                    break
                k += 1
            found.append(target_return + factor * best[k] - q[t][int(steps.action[t, b])])
        losses = [e**2 / 2 if abs(e) <= 1 or config.loss == "l2" else abs(e) - 0.5 for e in found]
        total += float(batch.weights[b]) * np.mean(losses) / B
        sizes, eta = np.abs(found), float(hparams.priority_eta)
        errors.append(eta * max(sizes) + (1 - eta) * np.mean(sizes))
    return total, errors


@pytest.mark.parametrize(
    "config",
    [
        BurnInConfig(burn_in=0),
        BurnInConfig(burn_in=2, loss="l2"),
        BurnInConfig(burn_in=3, target_steps=3),
        BurnInConfig(burn_in=6, target_steps=2),
        BurnInConfig(burn_in=2, target_steps=2, store_memory=True),
    ],
)
def test_the_update_is_the_gradient_of_the_loss_in_loops(config: BurnInConfig) -> None:
    """The gradient by differences of a loss whose burn-in and targets do not move."""
    batch = sample(config.burn_in)
    agent = recurrent_dqn(Linear(), config, optimizer=lambda hparams, env_steps: optax.sgd(1.0))
    hparams = RecurrentDQNHparams(discount=0.9, priority_eta=0.7)
    init = quick_jit(lambda key: agent.init(key, hparams, jnp.zeros(STATES)))
    state = init(jax.random.key(1))._replace(target_params=init(jax.random.key(2)).params)
    after, metrics, errors = quick_jit(agent.update)(state, batch, jax.random.key(0), jnp.float32(0))
    loss, expected = loss_in_numpy(state, state.params, batch, config)
    assert metrics["loss"].value() == pytest.approx(loss, rel=1e-4)
    np.testing.assert_allclose(errors, expected, rtol=1e-4)
    step = jax.tree.map(lambda new, old: np.asarray(new, np.float64) - old, after.params, state.params)
    h = 1e-4
    ahead, behind = (
        loss_in_numpy(
            state, jax.tree.map(lambda x, d, s=s: np.asarray(x, np.float64) + s * d, state.params, step), batch, config
        )[0]
        for s in (h, -h)
    )
    length = sum(float((x**2).sum()) for x in jax.tree.leaves(step))
    assert (ahead - behind) / (2 * h) == pytest.approx(-length, rel=2e-3)
    assert length > 1e-3


NETWORK = RecurrentQNetwork(2, hidden_size=8, memory_size=6)
ONE_STEP = quick_jit(partial(one_step, NETWORK))


@pytest.fixture(scope="module")
def walk():
    """A greedy policy's rollout from the start of episodes on, which end by both ways."""
    env, params = jaxrl.make("CartPole-v1", velocities=False, max_steps_in_episode=9)
    agent = recurrent_dqn(NETWORK)
    state = quick_jit(agent.init)(jax.random.key(0), RecurrentDQNHparams(epsilon_eval=0.0), jnp.zeros(2))
    steps = quick_jit(
        lambda key: rollout(env, partial(agent.policy, state), key, 24, B, params, agent.memory(state, B))
    )(jax.random.key(0))
    assert steps.terminated[:20].any() or steps.truncated[:20].any()
    return state.params, steps


def test_values_are_two_dense_layers_of_the_memory() -> None:
    memory = jnp.asarray(np.random.default_rng(0).normal(size=(B, 6)), jnp.float32)
    params = quick_jit(NETWORK.init)(jax.random.key(0), memory, jnp.zeros((1, B, 2)), jnp.zeros((1, B), bool))
    q, after = ONE_STEP(params, memory, jnp.ones((B, 2)))
    first, last = params["params"]["head"]["Dense_0"], params["params"]["head"]["Dense_1"]
    hidden = np.maximum(after @ first["kernel"] + first["bias"], 0)
    np.testing.assert_allclose(q, hidden @ last["kernel"] + last["bias"], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("burn_in", [0, 5])
def test_sequences_are_unrolled_as_the_agent_acts(walk, burn_in: int) -> None:
    params, steps = walk
    q, q_next = quick_jit(unroll, static_argnums=(0, 4))(NETWORK, params, NETWORK.memory(B), steps, burn_in)
    memory, done = jnp.zeros((B, 6)), np.asarray(steps.terminated | steps.truncated)
    for t in range(24):
        values, memory = ONE_STEP(params, memory, steps.observation[t])
        following, _ = ONE_STEP(params, memory, steps.next_observation[t])
        if t >= burn_in:
            np.testing.assert_allclose(q[t - burn_in], values, rtol=1e-4, atol=1e-5)
            np.testing.assert_allclose(q_next[t - burn_in], following, rtol=1e-4, atol=1e-5)
        np.testing.assert_array_equal(steps.action[t], values.argmax(-1))
        memory = jnp.where(done[t][:, None], 0, memory)


class State(NamedTuple):
    cue: jax.Array
    time: jax.Array


class Recall(Environment):
    """Shows one of two cues, then nothing, then asks which it was: a reward of 1 for the right action.

    Observations are (cue 0, cue 1, nothing, question), one-hot.
    """

    random_words, num_actions, name = 1, 2, "Recall"
    default_params: Any = ()

    def describe_rules(self, params):
        return "recall"

    def initial(self, bits, params):
        cue = (bits[0] & 1).astype(jnp.int32)
        return State(cue, jnp.zeros_like(cue))

    def encode(self, state):
        return jnp.where(state.time == 0, state.cue, state.time + 1)[None].astype(jnp.uint32)

    def decode(self, words):
        return jax.nn.one_hot(words[..., 0], 4)

    def transition(self, state, action, bits, params):
        asked = state.time == 2
        reward = jnp.where(asked, action == state.cue, 0).astype(jnp.float32)
        return State(state.cue, state.time + 1), reward, asked

    def is_truncated(self, state, params):
        return jnp.zeros(state.time.shape, bool)


def played(agent, hparams, n_step: int, iterations: int):
    """The agent's state after training in `Recall`, and its mean return."""
    config = OffPolicyConfig(num_envs=8, batch_size=32, warmup_steps=512, replay_capacity=4096, n_step=n_step)
    trainer = off_policy(agent, Recall(), (), config)

    @quick_jit
    def train(key):
        state = jax.lax.fori_loop(0, iterations, lambda _, s: trainer.step(s)[0], trainer.init(key, hparams)).agent
        policy = partial(agent.policy, state)
        return state, evaluate(policy, vectorize(Recall(), (), 256), key, 3, agent.memory(state, 256))

    state, evaluation = train(jax.random.key(0))
    assert evaluation.ended.all()
    return state, float(evaluation.episode_return.mean())


EXPLORING = {"learning_rate": 5e-3, "discount": 0.5, "epsilon_end": 1.0, "epsilon_eval": 0.0, "tau": 0.05}


def test_a_cue_is_recalled_and_the_values_become_exact() -> None:
    """The best return is 1."""
    network = RecurrentQNetwork(2, hidden_size=16, memory_size=16)
    agent = recurrent_dqn(network, BurnInConfig(burn_in=2))
    state, mean = played(agent, RecurrentDQNHparams(**EXPLORING), 8, 600)
    assert mean == 1
    for cue in (0, 1):
        memory = network.memory(1)
        for time, best in enumerate((0.25, 0.5, None)):
            observation = jnp.eye(4)[jnp.array([cue if time == 0 else time + 1])]
            q, memory = one_step(network, state.params, memory, observation)
            np.testing.assert_allclose(q[0], [best] * 2 if best else [cue == 0, cue == 1], atol=0.05)


@pytest.mark.slow
def test_without_a_memory_nothing_is_recalled() -> None:
    _, mean = played(jaxrl.dqn(QNetwork(2, (16,))), DQNHparams(**EXPLORING), 1, 600)
    assert 0.3 < mean < 0.7


def test_only_legal_actions_are_chosen() -> None:
    agent = recurrent_dqn(NETWORK)
    init, act, policy = quick_jit(agent.init), quick_jit(agent.act), quick_jit(agent.policy)
    legal = jnp.asarray([[True, False], [False, True]] * 32)
    given = Input(jnp.ones((64, 2)), legal, NETWORK.memory(64))
    for epsilon in (0.0, 1.0):
        hparams = RecurrentDQNHparams(epsilon_start=epsilon, epsilon_end=epsilon, epsilon_eval=epsilon)
        state = init(jax.random.key(0), hparams, jnp.zeros(2))
        acted = act(state, given, jax.random.key(1), jnp.float32(0))
        for decision in (acted, policy(state, given, jax.random.key(2))):
            np.testing.assert_array_equal(decision.action, [0, 1] * 32)
            assert decision.memory.shape == (64, 6)


def test_exploration_falls_with_the_clock() -> None:
    agent = recurrent_dqn(NETWORK)
    hparams = RecurrentDQNHparams(epsilon_start=1.0, epsilon_end=0.0, epsilon_decay_steps=100.0)
    state, act = quick_jit(agent.init)(jax.random.key(0), hparams, jnp.zeros(2)), quick_jit(agent.act)
    given = Input(jnp.ones((64, 2)), jnp.ones((64, 2), bool), NETWORK.memory(64))
    kinds = [len(set(np.asarray(act(state, given, jax.random.key(1), jnp.float32(t)).action))) for t in (0, 100)]
    assert kinds == [2, 1]


def test_the_stored_memory_is_the_one_before_the_step() -> None:
    agent = recurrent_dqn(NETWORK, BurnInConfig(store_memory=True))
    state = quick_jit(agent.init)(jax.random.key(0), RecurrentDQNHparams(), jnp.zeros(2))
    given = Input(jnp.ones((3, 2)), memory=jnp.full((3, 6), 0.3))
    decision = quick_jit(agent.act)(state, given, jax.random.key(0), jnp.float32(0))
    np.testing.assert_array_equal(decision.extras, given.memory)
    np.testing.assert_allclose(decision.memory, ONE_STEP(state.params, given.memory, given.observation)[1], rtol=1e-5)


def test_the_recipe_takes_priorities() -> None:
    config = RecurrentDQN(num_envs=4, batch_size=8, replay_capacity=64, replay="prioritised", n_step=5, burn_in=2,
                          store_memory=True)  # fmt: skip
    _, trainer = build_recurrent_dqn(*jaxrl.make("CartPole-v1", velocities=False), config)
    _, metrics = jax.eval_shape(lambda key: trainer.step(trainer.init(key, RecurrentDQNHparams())), jax.random.key(0))
    assert set(metrics) >= {"loss", "q_mean", "epsilon", "episode_return"}


def test_arguments() -> None:
    agent = recurrent_dqn(Linear(), BurnInConfig(burn_in=L))
    state = quick_jit(agent.init)(jax.random.key(0), RecurrentDQNHparams(), jnp.zeros(STATES))
    with pytest.raises(ArgumentError, match=r"^burn_in must be less than the 7 steps of a sequence, got 7"):
        agent.update(state, sample(0), jax.random.key(0), jnp.float32(0))
    batch = sample(0)
    forgetful = batch._replace(transitions=batch.transitions._replace(extras=()))
    with pytest.raises(ArgumentError, match=r"^store_memory must be False for transitions that hold no memory, got Tr"):
        recurrent_dqn(Linear(), BurnInConfig(0, store_memory=True)).update(state, forgetful, jax.random.key(0), 0.0)
    with pytest.raises(ArgumentError, match=r"^network must have init, apply and memory, .*, got QNetwork"):
        recurrent_dqn(QNetwork(2, (4,)))
    with pytest.raises(ArgumentError, match=r"^network must be an instance, RecurrentQNetwork\(\)"):
        recurrent_dqn(RecurrentQNetwork)
    with pytest.raises(ArgumentError, match=r"^target_steps must be > 0, got 0"):
        recurrent_dqn(Linear(), BurnInConfig(target_steps=0))
    with pytest.raises(ArgumentError, match=r"^hparams must be of the kind RecurrentDQNHparams"):
        quick_jit(agent.init)(jax.random.key(0), DQNHparams(), jnp.zeros(STATES))
    wrong = off_policy(recurrent_dqn(RecurrentQNetwork(3)), *jaxrl.make("CartPole-v1"), OffPolicyConfig(n_step=9))
    with pytest.raises(ArgumentError, match=r"^agent must give 2 values"):
        jax.eval_shape(wrong.init, jax.random.key(0), RecurrentDQNHparams())


def test_the_learning_rate_falls_to_zero() -> None:
    agent = recurrent_dqn(Linear(), BurnInConfig(0))
    hparams = dataclasses.replace(RecurrentDQNHparams(learning_rate=0.1), learning_rate_decay_steps=100.0)
    state = quick_jit(agent.init)(jax.random.key(0), hparams, jnp.zeros(STATES))
    update = quick_jit(agent.update)
    moved = [
        abs(update(state, sample(0), jax.random.key(0), jnp.float32(clock))[0].params["u"] - state.params["u"]).max()
        for clock in (0, 50, 100)
    ]
    np.testing.assert_allclose(moved, [0.1, 0.05, 0], rtol=1e-3, atol=1e-7)
