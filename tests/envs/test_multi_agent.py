"""Environments of several agents: their lanes, and JaxMARL's."""

import importlib.util
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import ImageColor

import jaxrl
from jaxrl.arguments import ArgumentError
from jaxrl.envs import MultiAgentEnvironment, action_space_of, num_discrete_actions, observation_of
from jaxrl.networks import actor_critic, example_of
from jaxrl.plots.render import disc_legend, draw_discs
from jaxrl.plots.video import action_text

SPREAD = "jaxmarl:MPE_simple_spread_v3"
needs_jaxmarl = pytest.mark.skipif(importlib.util.find_spec("jaxmarl") is None, reason="needs JaxMARL")


class _Clock(NamedTuple):
    time: jax.Array
    number: jax.Array
    """Drawn at the start of an episode."""


class _Choices(MultiAgentEnvironment):
    """Agent i earns i + 1 for action i, and cannot choose the action after it. The end comes after three steps.

    An episode with an even number is truncated there, an odd one terminated.
    """

    name, num_agents, default_params = "choices", 3, None

    def reset(self, key: Any, params: Any = None) -> Any:
        state = _Clock(jnp.int32(0), jax.random.randint(key, (), 0, 4))
        return self._observe(state), state

    def _observe(self, state: _Clock) -> Any:
        own = jnp.eye(3), jnp.full((3, 1), state.time), jnp.full((3, 1), state.number)
        return jnp.concatenate([x.astype(jnp.float32) for x in own], -1)

    def step(self, key: Any, state: _Clock, action: Any, params: Any = None) -> Any:
        after = state._replace(time=state.time + 1)
        rewards = jnp.where(action == jnp.arange(3), 1.0 + jnp.arange(3), 0.0)
        done, even = after.time == 3, state.number % 2 == 0
        first, fresh = self.reset(key)
        seen, begun = jax.tree.map(lambda x, y: jnp.where(done, x, y), (first, fresh), (self._observe(after), after))
        return seen, begun, rewards, done & ~even, done & even, {"final_observation": self._observe(after)}

    def action_space(self, params: Any = None) -> Any:
        from gymnax.environments import spaces

        return spaces.Discrete(3)

    def legal_actions(self, state: _Clock, params: Any = None) -> Any:
        return ~jnp.roll(jnp.eye(3, dtype=bool), 1, axis=1)


def test_agents_are_lanes_with_rewards_and_masks_of_their_own() -> None:
    env = _Choices()
    envs = jaxrl.vectorize(env, None, 4)
    assert envs.num_envs == 12
    state = envs.reset(jax.random.key(0))
    numbers = np.asarray(state.env_states.number)
    np.testing.assert_array_equal(state.observation[:, :3], np.tile(np.eye(3), (4, 1)))
    np.testing.assert_array_equal(state.observation[:, 4], np.repeat(numbers, 3))
    np.testing.assert_array_equal(state.legal, np.tile(~np.roll(np.eye(3, dtype=bool), 1, axis=1), (4, 1)))
    actions = jnp.array([0, 1, 2] * 2 + [2, 1, 1] + [0, 0, 0])
    step = jax.jit(envs.step)
    for t in range(3):
        state, transition, metrics = step(state, actions, jax.random.key(t + 1))
        np.testing.assert_array_equal(transition.reward, [1, 2, 3] * 2 + [0, 2, 0] + [1, 0, 0])
        np.testing.assert_array_equal(transition.next_observation[:, 3], np.full(12, t + 1))  # before the reset
        np.testing.assert_array_equal(transition.next_observation[:, 4], np.repeat(numbers, 3))
        even = np.repeat(numbers % 2 == 0, 3)
        np.testing.assert_array_equal(transition.truncated, even & (t == 2))
        np.testing.assert_array_equal(transition.terminated, ~even & (t == 2))
    assert (even.any(), even.all()) == (True, False)
    np.testing.assert_array_equal(state.observation[:, 3], np.zeros(12))
    np.testing.assert_array_equal(state.observation[:, 4], np.repeat(state.env_states.number, 3))
    assert (state.env_states.number != numbers).any()
    # An episode is of all agents, with the mean of 3, 6 and 9 (twice), of 0, 6 and 0, and of 3, 0 and 0.
    assert (float(metrics["episode_return"].sum), int(metrics["episode_return"].count)) == (15.0, 4)
    assert (float(metrics["episode_length"].sum), int(metrics["episode_length"].count)) == (12.0, 4)
    found = jaxrl.evaluate(lambda given, key: given.observation[:, :3].argmax(-1), envs, jax.random.key(0), 9)
    np.testing.assert_array_equal(found.episode_return, [6, 6, 6, 6])
    np.testing.assert_array_equal(found.episode_length, [3, 3, 3, 3])
    assert found.ended.shape == (4,)


def test_ppo_learns_one_policy_for_all_agents() -> None:
    """What each sees says who it is, and what it earns is its own: all find their action."""
    env = _Choices()
    network = actor_critic(example_of(env, None), action_space_of(env, None), (32,))
    agent = jaxrl.ppo(network, jaxrl.MinibatchConfig(num_epochs=2, num_minibatches=2))
    trainer = jaxrl.on_policy(agent, env, None, jaxrl.OnPolicyConfig(8, 6))
    assert trainer.steps_per_iteration == 48  # of environments, whatever the number of agents
    state = trainer.init(jax.random.key(0), jaxrl.PPOHparams(learning_rate=1e-2))
    step = jax.jit(lambda x: jax.lax.scan(lambda s, _: trainer.step(s), x, length=40))
    state, metrics = step(state)
    assert float(metrics["episode_return"].sum[-1] / metrics["episode_return"].count[-1]) > 5.8  # of 6
    found = jaxrl.evaluate(
        lambda given, key: agent.policy(state.agent, given, key), jaxrl.vectorize(env, None, 2), jax.random.key(1), 5
    )
    np.testing.assert_array_equal(found.episode_return, [6, 6])


@needs_jaxmarl
def test_spread_is_jaxmarls_own_for_a_thousand_steps() -> None:
    env, params = jaxrl.make(SPREAD)
    observation: Any = observation_of(env, params)
    assert (env.num_agents, observation.shape, num_discrete_actions(env, params)) == (3, (18,), 5)
    own = env.env
    start = env.reset(jax.random.key(2), params)[1].replace(p_vel=jnp.zeros((6, 2)))
    for name, direction in zip(env.action_names, ([0, 0], [-1, 0], [1, 0], [0, -1], [0, 1]), strict=True):
        action = jnp.full(3, env.action_names.index(name))
        moved = own.step_env(jax.random.key(0), start, dict.fromkeys(own.agents, action[0]))[1].p_vel[0]
        np.testing.assert_array_equal(np.sign(np.round(moved, 3)), direction, err_msg=name)
        assert action_text(env, np.asarray(action[0])) == f"agent 1: {name}"

    def both(state: Any, key: Any) -> Any:
        action_key, key = jax.random.split(key)
        actions = jax.random.randint(action_key, (3,), 0, 5)
        named = {name: actions[i] for i, name in enumerate(own.agents)}
        expected, _, earned, dones, _ = own.step(key, state, named)
        seen, state, rewards, terminated, truncated, info = env.step(key, state, actions, params)
        stacked = [jnp.stack([x[name] for name in own.agents]) for x in (expected, earned)]
        ours = seen, rewards, terminated, truncated, info["final_observation"]
        return state, (*ours, *stacked, dones["__all__"])

    start_key, key = jax.random.split(jax.random.key(0))
    start = env.reset(start_key, params)[1]
    _, found = jax.jit(lambda: jax.lax.scan(both, start, jax.random.split(key, 1000)))()
    seen, rewards, terminated, truncated, final, expected, earned, dones = map(np.asarray, found)
    np.testing.assert_allclose(seen, expected, atol=1e-6)
    np.testing.assert_allclose(rewards, earned, atol=1e-6)
    np.testing.assert_array_equal(truncated, dones)  # spread ends by its clock alone
    assert not terminated.any()
    assert truncated.sum() == 1000 // 26
    np.testing.assert_array_equal((final != seen).any((1, 2)), dones)
    moved = final[dones][:, :, 2:4] - seen[np.flatnonzero(dones) - 1][:, :, 2:4]
    assert abs(moved).max() < 0.5  # where the last action led: no agent jumps


def test_several_agents_are_drawn() -> None:
    picture = draw_discs(np.array([[0.0, 0], [1, 1]]), np.array([0.2, 0.1]), 1)
    middle = len(picture) // 2
    agent, landmark = picture[middle, middle], picture[middle - len(picture) // 3, middle + len(picture) // 3]
    assert (agent != landmark).any()
    assert landmark.max() - landmark.min() < agent.max() - agent.min()  # grey
    names, colours = zip(*disc_legend(1), strict=True)
    assert names == ("agent 1", "landmark")
    np.testing.assert_array_equal(
        [ImageColor.getrgb(x) if isinstance(x, str) else x for x in colours], [agent, landmark]
    )


@needs_jaxmarl
def test_arguments_are_checked() -> None:
    with pytest.raises(ArgumentError, match=r"JaxMARL knows .*jaxmarl:MPE_simple_spread_v3"):
        jaxrl.make("jaxmarl:MPE_simple_spred_v3")
    with pytest.raises(ArgumentError, match="num_agentz"):
        jaxrl.make(SPREAD, num_agentz=2)
    with pytest.raises(ArgumentError, match="agents with equal observations"):
        jaxrl.make("jaxmarl:MPE_simple_tag_v3")
    with pytest.raises(ArgumentError, match="must be of one agent"):
        jaxrl.off_policy(jaxrl.dqn(jaxrl.q_network(jnp.zeros(5), 3)), _Choices(), None, jaxrl.OffPolicyConfig())
