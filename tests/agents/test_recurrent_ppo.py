"""Recurrent PPO: sequences against steps, and values against a loop."""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

import jaxrl
from jaxrl import ops
from jaxrl.agents.ppo import PPOHparams
from jaxrl.agents.recurrent_ppo import SequenceConfig, recurrent_ppo, sequences
from jaxrl.arguments import ArgumentError
from jaxrl.envs import rollout
from jaxrl.experiments import ppo_memory
from jaxrl.networks import actor_critic
from jaxrl.networks.recurrent import GRU, RecurrentActorCritic, one_step
from jaxrl.runs.load import TrainedPolicy
from jaxrl.training import OnPolicyConfig, as_arrays, on_policy
from jaxrl.types import Discrete, Input
from tests.compiling import quick_jit

ENV, PARAMS = jaxrl.make("CartPole-v1", velocities=False, max_steps_in_episode=9)
NETWORK = RecurrentActorCritic(Discrete(2), hidden_size=8, memory_size=6)
ONE_STEP = quick_jit(partial(one_step, NETWORK))
T, N, L = 24, 4, 8


def test_a_gru_is_its_equations() -> None:
    rng = np.random.default_rng(0)
    memory, x = jnp.array(rng.normal(size=(2, 3)), jnp.float32), jnp.array(rng.normal(size=(4, 2, 5)), jnp.float32)
    starts = jnp.zeros((4, 2), bool).at[2, 1].set(True)
    gru = GRU(3)
    params = gru.init(jax.random.key(0), memory, x, starts)
    outputs = gru.apply(params, memory, x, starts)
    dense = params["params"]["Dense_0"]
    w, b, u = (np.asarray(y, np.float64) for y in (dense["kernel"], dense["bias"], params["params"]["recurrent"]))
    w, u, b = np.stack(np.split(w, 3, 1)), np.stack(np.split(u, 3, 1)), np.stack(np.split(b, 3))
    h = np.asarray(memory, np.float64)
    for t in range(4):
        h = np.where(np.asarray(starts)[t][:, None], 0, h)
        r, z = (1 / (1 + np.exp(-(x[t] @ w[i] + b[i] + h @ u[i]))) for i in range(2))
        h = (1 - z) * np.tanh(x[t] @ w[2] + b[2] + (r * h) @ u[2]) + z * h
        np.testing.assert_allclose(outputs[t], h, rtol=1e-4, atol=1e-6)


@pytest.fixture(scope="module")
def played():
    """A run in the middle of episodes, the run after one gradient step, its metrics and its rollout."""
    agent = recurrent_ppo(NETWORK, SequenceConfig(num_epochs=1, num_minibatches=1, sequence_length=L))
    batches = []

    def watching(state, batch, key, env_steps, constants):
        batches.append(batch)
        return agent.update(state, batch, key, env_steps, constants)

    config = OnPolicyConfig(num_envs=N, rollout_length=T)
    trainer = on_policy(agent._replace(update=watching), ENV, PARAMS, config)
    before = quick_jit(trainer.init)(jax.random.key(0), PPOHparams())
    before = quick_jit(trainer.step)(before)[0]  # the next rollout begins in the middle of episodes
    batches.clear()

    @quick_jit
    def step(state):
        after, metrics = trainer.step(state)
        return after, metrics, batches[-1]

    return before, *step(before)


def test_sequences_are_unrolled_as_the_agent_acted(played) -> None:
    """Before the first gradient step, the new policy is the old one, at every step of every sequence."""
    *_, metrics, batch = played
    done = batch.terminated | batch.truncated
    assert done[: T - 1].any()  # in the middle of a sequence
    assert metrics["clip_fraction"].value() == 0
    assert abs(metrics["approx_kl"].value()) < 1e-7


def test_the_memory_of_a_step_is_that_of_a_loop(played) -> None:
    before, after, _, batch = played
    memory, params = before.source.memory, before.agent.params
    done = np.asarray(batch.terminated | batch.truncated)
    for t in range(T):
        np.testing.assert_allclose(batch.extras[1][t], memory, rtol=1e-5, atol=1e-6)
        (policy, _), memory = ONE_STEP(params, memory, batch.observation[t])
        np.testing.assert_allclose(batch.extras[0][t], policy.log_prob(batch.action[t]), rtol=1e-4, atol=1e-5)
        memory = jnp.where(done[t][:, None], 0, memory)
    np.testing.assert_allclose(after.source.memory, memory, rtol=1e-5, atol=1e-6)


def test_values_bootstrap_from_the_memory_of_the_last_step(played) -> None:
    """The value loss before the first gradient step, computed step by step."""
    before, _, metrics, batch = played
    params, hparams = before.agent.params, before.agent.hparams
    losses = []
    values = [
        ONE_STEP(params, ONE_STEP(params, memory, seen)[1], following)[0][1]
        for memory, seen, following in zip(batch.extras[1], batch.observation, batch.next_observation, strict=True)
    ]
    v_tm1 = jnp.stack([ONE_STEP(params, m, x)[0][1] for m, x in zip(batch.extras[1], batch.observation, strict=True)])
    done = batch.terminated | batch.truncated
    for i in range(N):
        advantages = ops.generalized_advantage_estimation(
            batch.reward[:, i],
            jnp.where(batch.terminated, 0, hparams.discount)[:, i],
            jnp.where(done, 0, hparams.gae_lambda)[:, i],
            v_tm1[:, i],
            jnp.stack(values)[:, i],
        )
        losses.append(0.5 * advantages**2)
    np.testing.assert_allclose(metrics["value_loss"].value(), np.mean(losses), rtol=1e-4)


def test_sequences_are_consecutive_steps_of_one_environment() -> None:
    x = jnp.arange(T)[:, None] * 100 + jnp.arange(N)
    cut = np.asarray(sequences({"x": x}, L)["x"])
    assert cut.shape == (T // L * N, L)
    assert sorted(cut[:, 0].tolist()) == sorted(t * 100 + n for t in range(0, T, L) for n in range(N))
    np.testing.assert_array_equal(cut, cut[:, :1] + 100 * np.arange(L))


def test_only_legal_actions_have_a_probability(played) -> None:
    """When it acts, in evaluation, and when it learns: here the only legal action has the probability 1."""
    before, *_, batch = played
    agent = recurrent_ppo(NETWORK, SequenceConfig(num_epochs=1, num_minibatches=1, sequence_length=L))
    legal = jax.nn.one_hot(batch.action, 2, dtype=bool)
    given = Input(batch.observation[0], legal[0], batch.extras[1][0])
    acted = quick_jit(agent.act)(before.agent, given, jax.random.key(0), 0.0)
    np.testing.assert_array_equal(acted.extras[0], 0)
    for decision in (acted, quick_jit(agent.policy)(before.agent, given, jax.random.key(0))):
        np.testing.assert_array_equal(decision.action, batch.action[0])
    batch = batch._replace(legal=legal, next_legal=legal, extras=(jnp.zeros((T, N)), batch.extras[1]))
    _, metrics, _ = quick_jit(agent.update)(before.agent, batch, jax.random.key(0), jnp.float32(0))
    assert set(np.asarray(batch.action[0])) == {0, 1}
    assert metrics["approx_kl"].value() == 0


def test_the_learning_rate_falls_to_zero(played) -> None:
    before, *_, batch = played
    agent = recurrent_ppo(NETWORK, SequenceConfig(num_epochs=1, num_minibatches=1, sequence_length=L))
    hparams = PPOHparams(learning_rate=0.1, learning_rate_decay_steps=100.0)
    state = before.agent._replace(opt_state=jax.tree.map(jnp.zeros_like, before.agent.opt_state), hparams=hparams)
    update, moved = quick_jit(agent.update), []
    for clock in (0, 50, 100):
        params = update(state, batch, jax.random.key(0), jnp.float32(clock))[0].params
        changes = jax.tree.map(lambda x, y: abs(x - y).max(), params, state.params)
        moved.append(max(jax.tree.leaves(changes)))
    np.testing.assert_allclose(moved, [0.1, 0.05, 0], rtol=1e-2, atol=1e-7)


def test_rewards_are_scaled(played) -> None:
    before, *_, batch = played
    agent = recurrent_ppo(NETWORK, SequenceConfig(num_epochs=1, num_minibatches=1, sequence_length=L))
    update, found = quick_jit(agent.update), []
    for scale, rewards in ((3.0, batch.reward), (1.0, 3 * batch.reward)):
        state = before.agent._replace(hparams=as_arrays(PPOHparams(reward_scale=scale)))
        found.append(update(state, batch._replace(reward=rewards), jax.random.key(0), jnp.float32(0))[1])
    assert found[0]["value_loss"].value() == found[1]["value_loss"].value()


@pytest.mark.parametrize(
    ("sequence_length", "num_minibatches", "message"),
    [
        (7, 4, r"sequence_length must divide the 24 steps of a rollout, got 7"),
        (8, 24, r"num_minibatches must divide the 12 sequences of a rollout, got 24"),
        (1, 96, r"num_minibatches must be less than the 96 transitions of a rollout, got 96"),
    ],
)
def test_sequences_and_minibatches_must_fit_the_rollout(sequence_length, num_minibatches, message: str) -> None:
    config = SequenceConfig(num_minibatches=num_minibatches, sequence_length=sequence_length)
    trainer = on_policy(recurrent_ppo(NETWORK, config), ENV, PARAMS, OnPolicyConfig(num_envs=N, rollout_length=T))
    with pytest.raises(ArgumentError, match=f"^{message}"):
        jax.eval_shape(lambda key: trainer.step(trainer.init(key, PPOHparams())), jax.random.key(0))


class WithState(RecurrentActorCritic):
    """Counts, as a BatchNorm does."""

    @nn.compact
    def __call__(self, memory, observations, starts):
        self.variable("batch_stats", "count", jnp.zeros, ())
        return super().__call__(memory, observations, starts)


def test_networks_that_do_not_fit() -> None:
    with pytest.raises(ArgumentError, match=r"^network must have init, apply and memory, .*, got ActorCritic"):
        recurrent_ppo(actor_critic(jnp.zeros(2), Discrete(2)))
    for network, message in (
        (RecurrentActorCritic(Discrete(3), 8, 6), "agent must give 2 values, one for each action of the environment"),
        (WithState(Discrete(2), 8, 6), "network must have no variables but parameters"),
    ):
        trainer = on_policy(recurrent_ppo(network), ENV, PARAMS, OnPolicyConfig(num_envs=N, rollout_length=T))
        with pytest.raises(ArgumentError, match=f"^{message}"):
            jax.eval_shape(trainer.init, jax.random.key(0), PPOHparams())


def test_a_trained_policy_needs_its_memory(played) -> None:
    agent, state = recurrent_ppo(NETWORK), played[0].agent
    policy = TrainedPolicy(ENV, PARAMS, agent, state, ppo_memory.experiment, ppo_memory.experiment.defaults)
    walk = rollout(ENV, policy, jax.random.key(0), 12, N, PARAMS, policy.memory(N))
    memory, done = policy.memory(N), np.asarray(walk.terminated | walk.truncated)
    for t in range(12):
        (each, _), memory = ONE_STEP(state.params, memory, walk.observation[t])
        np.testing.assert_array_equal(walk.action[t], each.mode())
        memory = jnp.where(done[t][:, None], 0, memory)
    assert done.any()
    with pytest.raises(ArgumentError, match=r"^memory must be of the shape \[4, 6\], .*, got \(\)"):
        rollout(ENV, policy, jax.random.key(0), 12, N, PARAMS)
    with pytest.raises(ArgumentError, match=r"^observations must be a jaxrl.Input, .*, got Array"):
        policy(jnp.zeros(2), jax.random.key(0))
    with pytest.raises(ArgumentError, match=r"^policy must have no memory to be exported"):
        policy.export()


def test_velocities_are_hidden() -> None:
    full, _ = jaxrl.make("CartPole-v1")
    observation, state = ENV.reset(jax.random.key(3), PARAMS)
    np.testing.assert_array_equal(observation, full.reset(jax.random.key(3))[0][::2])
    assert ENV.observation_space(PARAMS).shape == (2,)
    assert "velocities hidden" in ENV.describe_rules(PARAMS)
    assert "velocities" not in full.describe_rules(full.default_params)
    assert dataclasses.is_dataclass(ENV)
    assert state.motion.shape == (4,)
