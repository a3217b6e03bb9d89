"""The parts of Rainbow, each where it must help, and all together where exact values are known."""

import dataclasses
import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from jaxrl import (
    Checkpoints,
    DQNHparams,
    OffPolicyConfig,
    RainbowHparams,
    Sample,
    Transition,
    dqn,
    make,
    off_policy,
    planning,
)
from jaxrl.agents.action_values import categorical, quantiles
from jaxrl.agents.dqn import n_step
from jaxrl.envs import Environment, GridWorld
from jaxrl.networks import QNetwork
from jaxrl.recipes.deep_q import DQN, build_dqn
from jaxrl.training import as_arrays
from jaxrl.training.checkpoint import fingerprint
from tests.compiling import quick_jit

DISCOUNT = 0.5
ENV = GridWorld(map="...\n.#.\nH.G\nH = -2\nG = 2")
PARAMS = ENV.default_params.replace(discount=DISCOUNT)
MDP = ENV.mdp(PARAMS)
CELLS = np.flatnonzero(ENV.grid.start)
OBSERVATIONS = ENV.decode(jnp.arange(9, dtype=jnp.uint32)[:, None])


def learned(env, params, config: DQN, hparams: RainbowHparams, iterations: int):
    """The agent's state after training."""
    _, trainer = build_dqn(env, params, config)

    @jax.jit
    def train():
        state = trainer.init(jax.random.key(0), hparams)
        return jax.lax.fori_loop(0, iterations, lambda _, state: trainer.step(state)[0], state).agent

    return train()


def n_step_q(n: int) -> np.ndarray:
    """Where n-step targets lead when actions are random: one step, n - 1 more at random, and the largest value there.

    Rewards of n steps are those of the actions taken, so only for n = 1 is this Q*. `[S, A]`.
    """
    transition, reward = np.asarray(MDP.transition, np.float64), np.asarray(MDP.reward, np.float64)
    q = np.zeros_like(reward)
    for _ in range(200):
        value = q.max(1)
        for _ in range(n - 1):
            value = (reward + DISCOUNT * transition @ value).mean(1)
        q = reward + DISCOUNT * transition @ value
    return q


def check_grid_world(**parts) -> None:
    """All Q(s, a) of a small Grid World, learned from random actions."""
    if parts["values"] == "categorical":
        parts |= {"v_min": -3.0, "v_max": 3.0}
    config = DQN(
        num_envs=16, batch_size=64, replay_capacity=2**14, warmup_steps=2**14, hidden_sizes=(32,), num_atoms=13, **parts
    )
    # With β = 1 the weights undo the priorities' bias, and means over what follows by chance stay right.
    hparams = RainbowHparams(
        learning_rate=3e-3, discount=DISCOUNT, epsilon_end=1.0, tau=0.05, importance_exponent_start=1.0
    )
    state = learned(ENV, PARAMS, config, hparams, iterations=1500)
    q_values = read_values(config, state.params, OBSERVATIONS)
    expected = n_step_q(config.n_step)
    if config.n_step == 1:
        np.testing.assert_allclose(planning.policy_iteration(MDP).q_values, expected, atol=1e-4)
    error = abs(q_values - expected)[CELLS]
    if config.n_step == 1 and not config.noisy:
        assert error.max() < 0.05
    else:  # what follows by chance is a mean over some hundred sequences; targets of 2 steps would be off by 0.1
        assert error.mean() < 0.07
        assert error.max() < 0.3


def read_values(config: DQN, params, observations) -> np.ndarray:
    from jaxrl.networks import Dense, NoisyDense
    from jaxrl.recipes.deep_q import default_network, make_action_values

    values = make_action_values(config)
    network = default_network(
        ENV, PARAMS, config, outputs=values.shape, dueling=config.dueling, dense=NoisyDense if config.noisy else Dense
    )
    return np.asarray(values.q_values(network.apply(params, observations)))


RAINBOW = {"double": True, "dueling": True, "noisy": True, "replay": "prioritised", "n_step": 3}


def test_all_parts_together_learn_the_exact_values() -> None:
    check_grid_world(values="categorical", **RAINBOW)


@pytest.mark.slow
@pytest.mark.parametrize("values", ["expected", "categorical", "quantiles"])
@pytest.mark.parametrize("switched_on", list(itertools.product([False, True], repeat=5)))
def test_every_combination_of_parts_learns_the_exact_values(values: str, switched_on: tuple[bool, ...]) -> None:
    plain = {field.name: field.default for field in dataclasses.fields(DQN)}
    parts = {name: RAINBOW[name] if on else plain[name] for name, on in zip(RAINBOW, switched_on, strict=True)}
    check_grid_world(values=values, **parts)


class Chain(Environment):
    """Eight places in a row, whatever the action, and a reward of 1 for leaving the last."""

    random_words, num_actions, name = 1, 2, "Chain"
    default_params: Any = ()

    def describe_rules(self, params):
        return "chain"

    def initial(self, bits, params):
        return jnp.zeros_like(bits[0])

    def encode(self, state):
        return state[None]

    def decode(self, words):
        return jax.nn.one_hot(words[..., 0], 8)

    def transition(self, state, action, bits, params):
        return state + 1, (state == 7).astype(jnp.float32), state == 7

    def is_truncated(self, state, params):
        return jnp.zeros(state.shape, bool)


def test_n_steps_carry_a_delayed_reward_back_sooner() -> None:
    """One 4-step target does the work of 4 one-step targets."""
    error = {}
    for n in (1, 4):
        config = DQN(num_envs=8, batch_size=64, warmup_steps=1024, replay_capacity=1024, n_step=n, hidden_sizes=())
        hparams = RainbowHparams(learning_rate=2e-2, discount=1.0, epsilon_end=1.0, tau=0.05)
        state = learned(Chain(), (), config, hparams, iterations=150)
        q = QNetwork(2, ()).apply(state.params, jnp.eye(8))
        error[n] = float(np.abs(np.asarray(q) - 1).mean())
    assert error[4] < 0.05
    assert error[1] > 3 * error[4]


def outcomes() -> Sample:
    """Ends of an episode from one state: 0 half of the time, 1 in three of ten, 4 in one of five."""
    rewards = np.array([[0] * 50 + [1] * 30 + [4] * 20], np.float32)
    one = np.ones((1, 100), bool)
    here = np.ones((1, 100, 1), np.float32)
    return Sample(Transition(here, np.zeros((1, 100), np.int32), rewards, one, ~one, here), jnp.ones(100))


class Same(nn.Module):
    """The same outputs everywhere, for two actions."""

    outputs: int

    @nn.compact
    def __call__(self, observations):
        return jnp.broadcast_to(
            self.param("x", nn.initializers.zeros, (2, self.outputs)), (len(observations), 2, self.outputs)
        )


@pytest.mark.parametrize("kind", ["categorical", "quantiles"])
def test_a_known_distribution_of_returns_is_learned(kind: str) -> None:
    values = categorical(0.0, 4.0, 5) if kind == "categorical" else quantiles(10)
    agent = dqn(Same(values.shape[0]), values)
    hparams = DQNHparams(learning_rate=0.02, max_grad_norm=100.0)
    state = quick_jit(agent.init)(jax.random.key(0), jax.tree.map(jnp.asarray, hparams), jnp.ones(1))

    def update(_, state):
        return agent.update(state, outcomes(), jax.random.key(0), jnp.float32(0))[0]

    state = jax.jit(lambda state: jax.lax.fori_loop(0, 3000, update, state))(state)
    x = np.asarray(state.params["params"]["x"][0])
    if kind == "categorical":
        np.testing.assert_allclose(jax.nn.softmax(x), [0.5, 0.3, 0, 0, 0.2], atol=0.01)
    else:  # the midpoints 0.05, 0.15, …, 0.95; the Huber loss blends what lies within 1 of each other
        assert abs(x[:3]).max() < 0.35
        assert (np.diff(x) > -0.02).all()
        np.testing.assert_allclose(x[8:], 4, atol=0.8)


def test_a_sequence_of_one_step_is_the_step() -> None:
    sample = outcomes().transitions
    first, reward, discount_t, last = n_step(sample, jnp.float32(0.9))
    for step in (first, last):
        jax.tree.map(lambda ours, theirs: np.testing.assert_array_equal(ours, theirs[0]), step, sample)
    np.testing.assert_array_equal(reward, sample.reward[0])
    assert not np.any(discount_t)


class Rare(Environment):
    """Episodes of one step. One in 512 observations announces a reward of 5."""

    random_words, num_actions, name = 1, 2, "Rare"
    default_params: Any = ()

    def describe_rules(self, params):
        return "rare"

    def initial(self, bits, params):
        return ((bits[0] & 511) == 0).astype(jnp.uint32)

    def encode(self, state):
        return state[None]

    def decode(self, words):
        return jnp.concatenate([words, 1 - words], -1).astype(jnp.float32)

    def transition(self, state, action, bits, params):
        return state, 5 * state.astype(jnp.float32), jnp.ones(state.shape, bool)

    def is_truncated(self, state, params):
        return jnp.zeros(state.shape, bool)


def test_priorities_find_a_rare_reward() -> None:
    error = {}
    for kind in ("uniform", "prioritised"):
        config = OffPolicyConfig(num_envs=4, batch_size=32, replay_capacity=4096, warmup_steps=2048, replay=kind)
        agent = dqn(QNetwork(2, ()))
        trainer = off_policy(agent, Rare(), (), config)
        hparams = RainbowHparams(learning_rate=2e-2, priority_exponent=0.9, importance_exponent_start=0.0)

        @quick_jit
        def train(trainer=trainer, hparams=hparams):
            state = trainer.init(jax.random.key(0), hparams)
            return jax.lax.fori_loop(0, 300, lambda _, state: trainer.step(state)[0], state).agent

        q = QNetwork(2, ()).apply(train().params, jnp.float32([[1, 0], [0, 1]]))
        error[kind] = abs(np.asarray(q).max(1) - [5, 0])  # one action suffices, of a reward that few have seen
    assert error["prioritised"].max() < 0.3
    assert error["uniform"][0] > 2


def test_rainbow_resumes_bit_for_bit_with_one_program(tmp_path) -> None:
    config = DQN(
        num_envs=4, batch_size=8, replay_capacity=64, warmup_steps=16, hidden_sizes=(8,), num_atoms=5,
        values="categorical", **RAINBOW,
    )  # fmt: skip
    _, trainer = build_dqn(*make("CartPole-v1"), config)
    init, step = quick_jit(trainer.init), quick_jit(lambda state: trainer.step(state)[0])

    def train(state, iterations: int):
        state = jax.device_put(state, jax.devices()[0])  # as restored arrays are: others would compile once more
        for _ in range(iterations):
            state = step(state)
        return state

    whole = train(init(jax.random.key(0), as_arrays(RainbowHparams())), 40)
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(15, train(init(jax.random.key(0), as_arrays(RainbowHparams())), 15), {})
    restored, _, _ = checkpoints.restore(jax.eval_shape(lambda: whole))
    assert fingerprint(train(restored, 25)) == fingerprint(whole)
    other = RainbowHparams(priority_exponent=0.9, importance_exponent_start=0.1, learning_rate=1e-3)
    train(init(jax.random.key(1), as_arrays(other)), 1)
    assert step._cache_size() == 1  # type: ignore[attr-defined]
