"""Tiny worlds whose values are known exactly: what an agent must learn, and where truncation must be told apart."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl import DQNHparams, OffPolicyConfig, dqn, off_policy
from jaxrl.envs import Environment
from jaxrl.networks import QNetwork

DISCOUNT = 0.5


class ProbeParams(NamedTuple):
    max_steps_in_episode: int = 2**31 - 1


class ProbeState(NamedTuple):
    cue: jax.Array
    time: jax.Array


class Probe(Environment):
    """An observation of (cue, time), two actions, rewards and ends as a subclass says."""

    random_words, num_actions, protocol, name = 1, 2, "probe", "Probe"
    default_params = ProbeParams()

    def initial(self, bits, params):
        cue = (bits[0] & 1).astype(jnp.int32)
        return ProbeState(cue, jnp.zeros_like(cue))

    def encode(self, state):
        return jnp.stack([state.cue, state.time]).astype(jnp.uint32)

    def decode(self, words):
        return words.astype(jnp.float32)


class ConstantReward(Probe):
    """One step, reward 1: Q = 1 everywhere."""

    def transition(self, state, action, bits, params):
        return state._replace(time=state.time + 1), jnp.ones(action.shape), jnp.ones(action.shape, bool)


class CueAndAction(Probe):
    """One step, reward 1 if the action equals the cue, else -1: Q = ±1."""

    def transition(self, state, action, bits, params):
        reward = jnp.where(action == state.cue, 1.0, -1.0)
        return state._replace(time=state.time + 1), reward, jnp.ones(action.shape, bool)


class Delayed(Probe):
    """Two steps, reward 1 at the end: Q = discount, then 1."""

    def transition(self, state, action, bits, params):
        last = state.time == 1
        return state._replace(time=state.time + 1), last.astype(jnp.float32), last


class Truncates(Probe):
    """Reward 1 a step for ever, in episodes cut off after one step: Q = 1 / (1 - discount), not 1."""

    default_params = ProbeParams(max_steps_in_episode=1)

    def encode(self, state):
        return jnp.stack([state.cue, jnp.zeros_like(state.time)]).astype(jnp.uint32)

    def transition(self, state, action, bits, params):
        return state._replace(time=state.time + 1), jnp.ones(action.shape), jnp.zeros(action.shape, bool)


PROBES = [
    (ConstantReward, [[0, 0], [1, 0]], [[1, 1], [1, 1]]),
    (CueAndAction, [[0, 0], [1, 0]], [[1, -1], [-1, 1]]),
    (Delayed, [[0, 0], [0, 1]], [[DISCOUNT] * 2, [1, 1]]),
    (Truncates, [[0, 0], [1, 0]], [[1 / (1 - DISCOUNT)] * 2] * 2),
]


@pytest.mark.parametrize(("probe", "observations", "expected"), PROBES, ids=[probe.__name__ for probe, *_ in PROBES])
def test_dqn_learns_the_exact_values(probe, observations, expected) -> None:
    network = QNetwork(num_actions=2, hidden_sizes=(32,))
    env = probe()
    config = OffPolicyConfig(num_envs=8, batch_size=32, replay_capacity=512, warmup_steps=256)
    trainer = off_policy(dqn(network), env, env.default_params, config)
    hparams = DQNHparams(
        learning_rate=5e-3, discount=DISCOUNT, epsilon_end=1.0, target_update_rate=0.1, max_grad_norm=100.0
    )
    state = jax.jit(trainer.init)(jax.random.key(0), hparams)
    state, _ = jax.jit(lambda state: jax.lax.scan(lambda s, _: trainer.step(s), state, length=1500))(state)
    q_values = network.apply(state.agent.params, jnp.array(observations, jnp.float32))
    np.testing.assert_allclose(q_values, expected, atol=0.03)
