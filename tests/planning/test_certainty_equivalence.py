"""Certainty equivalence: counts by hand, and the simulation lemma in random MDPs, with and without little data."""

import re
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl import MDP, planning
from jaxrl.arguments import ArgumentError
from tests.mutants import planted

S, A = 4, 2


@pytest.fixture(autouse=True)
def double():
    with jax.enable_x64(True):
        yield


def test_frequencies_and_mean_rewards() -> None:
    states, actions = jnp.array([0, 0, 0, 1, 2]), jnp.array([1, 1, 1, 0, 0])
    rewards, following = jnp.array([1.0, 2.0, 6.0, -1.0, 5.0]), jnp.array([1, 1, 2, 3, 0])
    counts = planning.count_transitions(S, A, states, actions, rewards, following)
    counts = jax.tree.map(
        jnp.add, counts, planning.count_transitions(S, A, states[:1], actions[:1], rewards[:1], states[:1])
    )
    terminal = jnp.array([False, False, True, False])
    mdp = planning.estimated_mdp(counts, 0.9, terminal, jnp.ones(S) / S)
    np.testing.assert_allclose(mdp.transition[0, 1], [1 / 4, 1 / 2, 1 / 4, 0])
    np.testing.assert_allclose(mdp.reward, [[0, 10 / 4], [-1, 0], [0, 0], [0, 0]])
    np.testing.assert_allclose(mdp.transition[0, 0], [1, 0, 0, 0])  # never tried
    np.testing.assert_allclose(mdp.transition[1, 0], [0, 0, 0, 1])
    np.testing.assert_allclose(mdp.transition[2], [[0, 0, 1, 0]] * 2)  # terminal, whatever was seen
    np.testing.assert_allclose(mdp.transition.sum(-1), 1)


def random_problem(key: jax.Array, samples: jax.Array, discount: jax.Array) -> tuple[MDP, MDP]:
    """An MDP, and its estimate from so many transitions of each pair, at most 64."""
    keys = jax.random.split(key, 4)
    transition = jax.random.dirichlet(keys[0], jnp.full(S, 0.4), (S, A))
    reward = jax.random.uniform(keys[1], (S, A), minval=-1.0)
    mdp = MDP(transition, reward, discount, jnp.zeros(S, bool), jnp.ones(S) / S)
    draws = jax.random.categorical(keys[2], jnp.log(transition), shape=(64, S, A))
    seen = jnp.arange(64)[:, None, None] < samples
    noise = jax.random.normal(keys[3], (64, S, A)) * 0.3
    transitions = (jax.nn.one_hot(draws, S) * seen[..., None]).sum(0)
    counts = planning.Counts(transitions, ((reward + noise) * seen).sum(0))
    return mdp, planning.estimated_mdp(counts, discount, mdp.terminal, mdp.initial)


def deterministic(q: jax.Array) -> jax.Array:
    return jax.nn.one_hot(q.argmax(-1), A)


def losses(key: jax.Array, samples: jax.Array, discount: jax.Array) -> tuple[jax.Array, ...]:
    """What planning in the estimate loses, the bound of V − V̂ and its size, and the identity's error."""
    mdp, model = random_problem(key, samples, discount)
    best = planning.policy_iteration(mdp).values
    policy = deterministic(planning.policy_iteration(model).q_values)
    true, guessed = planning.policy_evaluation(mdp, policy), planning.policy_evaluation(model, policy)
    bound = planning.simulation_bound(mdp, model)
    states = jnp.arange(S)
    action = policy.argmax(-1)
    matrix = jnp.eye(S) - discount * mdp.transition[states, action]
    errors = mdp.reward - model.reward + discount * (mdp.transition - model.transition) @ guessed
    identity = jnp.linalg.solve(matrix, errors[states, action])
    return (best - true).max(), bound, abs(true - guessed).max(), abs(identity - (true - guessed)).max()


def check(number: int) -> np.ndarray:
    keys = jax.random.split(jax.random.key(0), number)
    samples = 1 + jnp.arange(number) % 64
    discounts = jnp.array([0.0, 0.5, 0.9, 0.99])[jnp.arange(number) // 64 % 4]
    loss, bound, difference, identity = (np.asarray(x) for x in jax.jit(jax.vmap(losses))(keys, samples, discounts))
    assert (loss >= -1e-9).all()
    assert (loss > 0.01).mean() > 0.1  # it costs something
    assert (loss <= 2 * bound + 1e-9).all()
    assert (difference <= bound + 1e-9).all()
    assert identity.max() < 1e-9
    return np.asarray([loss.mean(), bound.mean()])


def test_the_simulation_lemma() -> None:
    """In 10,000 random MDPs, estimated from 1 to 64 transitions of each pair, with discounts from 0 to 0.99."""
    check(10_000)


def test_the_bound_is_met() -> None:
    """Where the model is wrong about everything that matters: one state too good by ε, reached for ever."""
    mdp = MDP(jnp.ones((1, 2, 1)), jnp.array([[1.0, 0.0]]), jnp.float64(0.9), jnp.zeros(1, bool), jnp.ones(1))
    model = mdp._replace(reward=mdp.reward + jnp.array([[0.25, 0.0]]))
    np.testing.assert_allclose(planning.simulation_bound(mdp, model), 2.5)
    policy = jnp.array([[1.0, 0.0]])
    values = [planning.policy_evaluation(x, policy)[0] for x in (mdp, model)]
    np.testing.assert_allclose(values[1] - values[0], 2.5)
    # Two states, from which a wrong probability leads away for ever: |P − P̂| = 2 ε, and the span is 10.
    transition = jnp.array([[[1.0, 0.0]], [[0.0, 1.0]]])
    sure = MDP(transition, jnp.array([[0.0], [1.0]]), jnp.float64(0.9), jnp.zeros(2, bool), jnp.ones(2) / 2)
    unsure = sure._replace(transition=transition.at[0, 0].set(jnp.array([0.9, 0.1])))
    np.testing.assert_allclose(planning.simulation_bound(sure, unsure), 0.9 * 0.2 * 10 / 2 / 0.1)
    ever, wrong = (mdp._replace(discount=jnp.float64(1)) for mdp in (sure, unsure))
    assert planning.simulation_bound(ever, wrong) == jnp.inf


@pytest.mark.slow
def test_more_data_loses_less() -> None:
    """The loss falls at least as fast as the bound, whose slope is −1/2."""
    keys = jax.random.split(jax.random.key(1), 2000)
    for_all = jax.jit(jax.vmap(losses, in_axes=(0, None, None)))
    few, many = (np.mean(for_all(keys, n, 0.9)[:3], axis=1) for n in (jnp.int64(4), jnp.int64(64)))
    slopes = np.log(many / few) / np.log(64 / 4)
    np.testing.assert_allclose(slopes[1:], -0.5, atol=0.1)
    assert slopes[0] < -0.5


def test_bad_input() -> None:
    mdp = random_problem(jax.random.key(0), jnp.int64(3), jnp.float64(0.9))[0]
    other = MDP(jnp.ones((1, 2, 1)), jnp.ones((1, 2)), jnp.float64(0.9), jnp.zeros(1, bool), jnp.ones(1))
    with pytest.raises(
        ArgumentError, match=re.escape("model must have the states and actions of the MDP, (4, 2), got (1, 2)")
    ):
        planning.simulation_bound(mdp, other)
    counts = planning.Counts(jnp.zeros((S, A, S)), jnp.zeros((S, A)))
    with pytest.raises(ArgumentError, match=r"mdp.initial must be of shape \[S\], here \(4,\), got \(3,\)"):
        planning.estimated_mdp(counts, 0.9, jnp.zeros(S, bool), jnp.ones(3) / 3)
    with pytest.raises(ArgumentError, match=r"terminal must be of shape \(4,\), as the counts are, got \(3,\)"):
        planning.estimated_mdp(counts, 0.9, jnp.zeros(3, bool), jnp.ones(S) / S)
    with pytest.raises(ArgumentError, match=r"rewards must be of shape \(4, 2\), as the counts are, got \(4,\)"):
        planning.estimated_mdp(counts._replace(rewards=jnp.zeros(S)), 0.9, jnp.zeros(S, bool), jnp.ones(S) / S)
    with pytest.raises(ArgumentError, match=r"model must have the discount of the MDP, 0.9, got 0.5"):
        planning.simulation_bound(mdp, mdp._replace(discount=jnp.float64(0.5)))
    with pytest.raises(ArgumentError, match="model must have finite rewards and probabilities"):
        planning.simulation_bound(mdp, mdp._replace(reward=mdp.reward * jnp.nan))
    with pytest.raises(ArgumentError, match="model must be of the kind MDP, got int"):
        planning.simulation_bound(mdp, cast(Any, 3))
    with pytest.raises(ArgumentError, match=r"discount must be <= 1, got 1\.5"):
        planning.estimated_mdp(counts, 1.5, jnp.zeros(S, bool), jnp.ones(S) / S)
    for initial in (jnp.ones(S), jnp.zeros(S), jnp.array([2.0, -1, 0, 0])):
        with pytest.raises(ArgumentError, match="initial must be a distribution, which adds up to 1"):
            planning.estimated_mdp(counts, 0.9, jnp.zeros(S, bool), initial)
    with pytest.raises(ArgumentError, match="counts must be of the kind Counts, got tuple"):
        planning.estimated_mdp(cast(Any, tuple(counts)), 0.9, jnp.zeros(S, bool), jnp.ones(S) / S)
    undiscounted = mdp._replace(discount=jnp.float64(1))
    assert planning.simulation_bound(undiscounted, undiscounted) == jnp.inf


def test_indices_of_any_type_are_counted() -> None:
    last = np.uint8([255])
    counts = planning.count_transitions(256, 2, last, np.uint8([1]), np.ones(1), last)
    assert counts.transitions[255, 1, 255] == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"states": [0, S]}, "states must be from 0 to 3, got 4"),
        ({"next_states": [-1, 0]}, "next_states must be from 0 to 3, got -1"),
        ({"actions": [0, A]}, "actions must be from 0 to 1, got 2"),
        ({"actions": [0]}, r"actions must be of the shape \(2,\) of rewards, got \(1,\)"),
        ({"states": [0.0, 1.0]}, "states must be whole numbers, got float"),
    ],
)
def test_what_cannot_be_counted(change: dict, message: str) -> None:
    data: dict[str, Any] = {"states": [0, 1], "actions": [0, 1], "rewards": [0.0, 1.0], "next_states": [0, 1]}
    with pytest.raises(ArgumentError, match=message):
        planning.count_transitions(S, A, **data | change)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("test", "function", "old", "new"),
    [
        (lambda: check(2000), "simulation_bound", "discount * distance * span / 2", "0 * distance"),
        (lambda: check(2000), "simulation_bound", "reward_error + ", ""),
        (lambda: check(2000), "simulation_bound", "span / 2) / (1 - discount)", "span / 2)"),
        (test_the_bound_is_met, "simulation_bound", "span / 2", "span"),
        (test_the_bound_is_met, "simulation_bound", "abs(mdp.reward - model.reward)", "(mdp.reward - model.reward)"),
        (test_frequencies_and_mean_rewards, "estimated_mdp", "& ~jnp.asarray(terminal)[:, None]", ""),
        (test_frequencies_and_mean_rewards, "estimated_mdp", "counts.rewards / divisor", "counts.rewards"),
        (test_frequencies_and_mean_rewards, "count_transitions", ".add(rewards)", ".set(rewards)"),
    ],
)
def test_a_planted_error_is_seen(test, function: str, old: str, new: str) -> None:
    with planted(f"jaxrl.planning.certainty_equivalence:{function}", old, new), pytest.raises(AssertionError):
        test()
