"""Q-learning with a table: updates by hand, its exploration, and convergence to the Q* of planning."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl import Input, Transition, make, planning
from jaxrl.agents import QLearningHparams, q_learning
from jaxrl.agents.q_learning import QLearningState
from jaxrl.distributions import epsilon_greedy
from jaxrl.training import OnPolicyConfig, as_arrays, on_policy

Q = np.array([[1.0, 2.0], [3.0, 5.0], [0.5, -1.0]], np.float32)
AGENT = q_learning(3, 2, lambda observations: observations)


def state_of(visits=0, **hparams) -> QLearningState:
    return QLearningState(
        jnp.asarray(Q), jnp.full((3, 2), visits), as_arrays(QLearningHparams(**{"discount": 0.5} | hparams))
    )


def batch_of(*steps: tuple, shape=(-1, 1)) -> Transition:
    """A rollout `[T, N]` of (s, a, r, terminated, truncated, s')."""
    return Transition(*(jnp.array(x).reshape(shape) for x in zip(*steps, strict=True)))


def learn(state: QLearningState, batch: Transition):
    return jax.jit(AGENT.update)(state, batch, jax.random.key(0), jnp.float32(0))


def test_one_step_is_watkins_update() -> None:
    """α = 1 / 4^0.5 at the fourth visit; y = 1 + 0.5 · 5, and nothing else changes."""
    state, metrics, td_error = learn(
        state_of(visits=3, learning_rate_exponent=0.5), batch_of((0, 1, 1.0, False, False, 1))
    )
    np.testing.assert_allclose(td_error, [[1.5]])
    np.testing.assert_allclose(state.q_values, [[1, 2 + 0.75], [3, 5], [0.5, -1]], rtol=1e-6)
    assert state.visits.tolist() == [[3, 4], [3, 3], [3, 3]]
    assert [metrics[name].sum for name in ("loss", "td_error", "q_mean")] == pytest.approx([1.125, 1.5, 2.0])


def test_a_truncation_bootstraps_and_a_termination_does_not() -> None:
    batch = batch_of((0, 0, 1.0, True, False, 1), (1, 0, 1.0, False, True, 1), (2, 0, 1.0, False, False, 1))
    state, _, td_error = learn(state_of(), batch)
    np.testing.assert_allclose(td_error[:, 0], [1 - 1, 3.5 - 3, 3.5 - 0.5])
    np.testing.assert_allclose(state.q_values[:, 0], [1, 3.5, 3.5])  # a first visit takes its target


@pytest.mark.parametrize("shape", [(4, 1), (2, 2), (4,)])
def test_transitions_of_one_pair_are_combined(shape) -> None:
    """Targets 2.5, 5.5 and 10 of (0, 1) in one batch, and one of another pair, all from the old values."""
    steps = [(0, 1, r, term, False, 1) for r, term in ((0.0, False), (3.0, False), (10.0, True))]
    batch = batch_of(*steps, (1, 0, 2.0, False, False, 0), shape=shape)
    # 1 / n: the mean of these and of the two targets before, whose mean is Q = 2.
    state, _, td_error = learn(state_of(visits=2, learning_rate_exponent=1.0), batch)
    assert td_error.shape == shape
    np.testing.assert_allclose(state.q_values, [[1, (2 * 2 + 2.5 + 5.5 + 10) / 5], [3, 5], [0.5, -1]], rtol=1e-6)
    assert state.visits.tolist() == [[2, 5], [3, 2], [2, 2]]
    # A constant rate: the sum of the errors 0.5, 3.5 and 8 as long as that leads to no further than their mean, 4.
    for rate, move in ((0.1, 1.2), (0.9, 4.0)):
        state, _, _ = learn(state_of(learning_rate=rate, learning_rate_exponent=0.0), batch)
        np.testing.assert_allclose(state.q_values[0], [1, 2 + move], rtol=1e-6)


def test_exploration_and_ties() -> None:
    q_values = jnp.tile(jnp.array([0.0, 3.0, 3.0]), (30_000, 1))
    actions = np.asarray(epsilon_greedy(q_values, 0.3).sample(jax.random.key(0)))
    np.testing.assert_allclose(np.bincount(actions) / 30_000, [0.1, 0.45, 0.45], atol=0.015)
    given, state = Input(jnp.ones(1000, jnp.int32)), state_of(epsilon=1.0)
    policy = jax.jit(AGENT.policy)
    greedy = policy(state, given, jax.random.key(0)).action
    anything = jax.jit(AGENT.act)(state, given, jax.random.key(0), 0.0).action
    assert (set(greedy.tolist()), set(anything.tolist())) == ({1}, {0, 1})
    assert set(policy(state_of(epsilon_eval=1.0), given, jax.random.key(0)).action.tolist()) == {0, 1}


def test_it_converges_to_q_star() -> None:
    """Agents with different environments, discounts and step sizes in one program, each to its own Q*."""
    env, params = make("GridWorld", map="...\n.#.\n.HG\nH = -5")
    agent, config = q_learning(9, 4, env.state_of), OnPolicyConfig(num_envs=32, rollout_length=2)

    @jax.jit
    @jax.vmap
    def train(key: jax.Array, slip_probability: jax.Array, hparams: QLearningHparams) -> tuple:
        trainer = on_policy(agent, env, params.replace(slip_probability=slip_probability), config)
        early = jax.lax.fori_loop(0, 4, lambda _, state: trainer.step(state)[0], trainer.init(key, hparams))
        late = jax.lax.fori_loop(0, 6000, lambda _, state: trainer.step(state)[0], early)
        return early.agent, late.agent

    slips, exponents = jnp.array([0.0, 0.0, 0.2, 0.2]), jnp.array([0.0, 0.0, 0.9, 0.9])
    discounts, tolerances = jnp.array([0.9, 0.9, 0.9, 0.5]), [1e-5, 1e-5, 0.02, 0.02]
    hparams = jax.vmap(lambda x, w: QLearningHparams(discount=x, learning_rate_exponent=w, epsilon=0.5))
    early, late = train(jax.random.split(jax.random.key(0), 4), slips, hparams(discounts, exponents))
    assert (early.visits[0] != early.visits[1]).any()  # seeds act differently
    acts = ~np.ravel(env.grid.wall | env.grid.terminal)
    for i, tolerance in enumerate(tolerances):
        best = planning.q_value_iteration(env.mdp(params.replace(discount=discounts[i], slip_probability=slips[i])))
        assert ((late.visits[i].sum(1) > 0) == acts).all()
        assert abs(early.q_values[i] - best.q_values)[acts].max() > 10 * tolerance
        assert abs(late.q_values[i] - best.q_values)[acts].max() < tolerance
