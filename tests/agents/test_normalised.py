"""Normalised observations, compared with NumPy's statistics."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxrl.agents.normalised import normalised
from jaxrl.types import Agent, Decision, Input, Sample, Transition
from tests.compiling import quick_jit

T, N = 5, 3


def echo() -> Agent:
    """Acts with what it sees, and returns what it learned from as its state."""
    return Agent(
        init=lambda key, hparams, observation: (),
        act=lambda state, given, key, env_steps: Decision(given.observation["x"]),
        policy=lambda state, given, key: Decision(given.observation["x"]),
        update=lambda state, batch, key, env_steps, constants: (batch, {}, "errors"),
        prepare=lambda state, batch: batch.observation["x"],
        outputs=lambda state, observations: observations["x"],
    )


def batch(seed: int) -> Transition:
    rng = np.random.default_rng(seed)
    x, after = (rng.normal([100, -3], [20, 0.1], (T, N, 2)).astype(np.float32) for _ in range(2))
    number = rng.integers(0, 9, (T, N))
    zeros = jnp.zeros((T, N))
    first, last = {"x": jnp.array(x), "n": jnp.array(number)}, {"x": jnp.array(after), "n": jnp.array(number)}
    return Transition(first, zeros, zeros, zeros > 0, zeros > 0, last)


def test_statistics_are_those_of_all_that_was_learned_and_change_afterwards() -> None:
    agent, batches = normalised(echo()), [batch(seed) for seed in range(4)]
    first = jax.tree.map(lambda x: x[0, 0], batches[0].observation)
    state, seen = quick_jit(agent.init)(jax.random.key(0), (), first), np.zeros((0, 2))
    update = jax.jit(lambda state, batch: agent.update(state, batch, None, 0, ())[:2])
    for each in batches:
        x = np.asarray(each.observation["x"])
        expected = x if not len(seen) else np.clip((x - seen.mean(0)) / seen.std(0), -10, 10)
        given = Input(jax.tree.map(lambda x: x[0], each.observation))
        for acted in (agent.act(state, given, None, 0), agent.policy(state, given, None)):
            np.testing.assert_allclose(acted.action, expected[0], rtol=1e-3, atol=1e-3)
        np.testing.assert_allclose(agent.prepare(state, each), expected, rtol=1e-3, atol=1e-3)
        assert agent.outputs is not None
        np.testing.assert_allclose(agent.outputs(state, given.observation), expected[0], rtol=1e-3, atol=1e-3)
        state, _ = update(state, each)
        np.testing.assert_allclose(state.agent.observation["x"], expected, rtol=1e-3, atol=1e-3)
        np.testing.assert_array_equal(state.agent.observation["n"], each.observation["n"])
        state, seen = state._replace(agent=()), np.concatenate([seen, x.reshape(-1, 2)])
    np.testing.assert_allclose(state.statistics["x"].mean, seen.mean(0), rtol=1e-5)
    np.testing.assert_allclose(state.statistics["x"].squares / len(seen), seen.var(0), rtol=1e-4)


def test_a_sample_is_normalised_at_both_ends_and_keeps_its_weights() -> None:
    agent, one = normalised(echo(), limit=1.5), batch(0)
    state = agent.init(jax.random.key(0), (), jax.tree.map(lambda x: x[0, 0], one.observation))
    state = agent.update(state, Sample(one, jnp.ones(N)), None, 0, ())[0]._replace(agent=())
    state, _, errors = agent.update(state, Sample(one, jnp.full(N, 0.5)), None, 0, ())
    x, after = (np.asarray(each["x"]) for each in (one.observation, one.next_observation))
    for ours, raw in ((state.agent.transitions.observation, x), (state.agent.transitions.next_observation, after)):
        expected = (raw - x.mean((0, 1))) / x.std((0, 1))
        assert (abs(expected) > 1.5).any()
        np.testing.assert_allclose(ours["x"], np.clip(expected, -1.5, 1.5), rtol=1e-3, atol=1e-3)
    assert errors == "errors"
    np.testing.assert_array_equal(state.agent.weights, 0.5)


def test_a_constant_observation_becomes_zero() -> None:
    agent = normalised(echo())
    steps = batch(0)
    steps = steps._replace(observation={**steps.observation, "x": jnp.full((T, N, 2), 7.0)})
    state = agent.init(jax.random.key(0), (), jax.tree.map(lambda x: x[0, 0], steps.observation))
    state = agent.update(state, steps, None, 0, ())[0]._replace(agent=())
    seen = agent.policy(state, Input(jax.tree.map(lambda x: x[0], steps.observation)), None).action
    np.testing.assert_allclose(seen, 0, atol=0.01)
