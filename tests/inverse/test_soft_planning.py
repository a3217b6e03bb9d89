"""Soft value iteration and visits: by hand, and against the sum over all trajectories."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl import inverse, planning
from jaxrl.arguments import ArgumentError
from tests.inverse.problems import all_trajectories, grid_world, lottery

HORIZON = 5


@pytest.fixture(autouse=True)
def double():
    with jax.enable_x64(True):
        yield


def test_by_hand() -> None:
    """Two steps: V_1 is log 2 + the reward of the state; in state 0 both actions lead where V_1 is worth the same."""
    mdp = lottery(2.0)
    plan = inverse.soft_value_iteration(mdp, 2)
    np.testing.assert_allclose(plan.values[1], [np.log(2), 2 + np.log(2), -2 + np.log(2), 0], atol=1e-12)
    # Action 0 ends the episode, without a further choice. Action 1 earns 0 on average, and the choice is worth log 2.
    np.testing.assert_allclose(plan.q_values[0, 0], [0, np.log(2)], atol=1e-12)
    np.testing.assert_allclose(plan.policy[0, 0], [1 / 3, 2 / 3], atol=1e-12)


def test_trajectory_form_of_2008_overrates_a_lottery_by_log_cosh() -> None:
    """It values the lottery over ±2 by log cosh 2 = 1.325, and takes it with cosh 2 / (cosh 2 + 1/2), not 2/3."""
    causal, trajectory = (inverse.soft_value_iteration(lottery(2.0), 2, causal) for causal in (True, False))
    difference = trajectory.q_values[0, 0] - causal.q_values[0, 0]
    np.testing.assert_allclose(difference, [0, np.log(np.cosh(2))], atol=1e-12)
    np.testing.assert_allclose(trajectory.policy[0, 0, 1], 2 * np.cosh(2) / (2 * np.cosh(2) + 1), atol=1e-12)
    np.testing.assert_allclose(trajectory.policy[0, 0, 1] - causal.policy[0, 0, 1], 0.216, atol=1e-3)


@pytest.mark.parametrize("slip_probability", [0.0, 0.3])
def test_values_of_2008_are_the_sum_over_all_trajectories(slip_probability: float) -> None:
    mdp = grid_world(0, slip_probability=slip_probability)
    plans = [inverse.soft_value_iteration(mdp, HORIZON, causal) for causal in (True, False)]
    paths = all_trajectories(mdp, np.asarray(plans[0].policy))
    weights = paths.luck * np.exp(paths.counts @ np.ravel(mdp.reward))
    partition = (mdp.initial * jnp.exp(plans[1].values[0])).sum()
    np.testing.assert_allclose(partition, weights.sum(), rtol=1e-12)
    difference = abs(plans[0].policy - plans[1].policy)[:, ~np.asarray(mdp.terminal)].max()
    if slip_probability:
        assert 0.005 < difference < 0.006
    else:  # nothing is random, and the forms agree
        assert difference < 1e-12


def test_the_causal_policy_has_the_largest_return_and_entropy() -> None:
    mdp = grid_world(1, discount=0.9)
    plan = inverse.soft_value_iteration(mdp, HORIZON)
    discounts = 0.9 ** np.arange(HORIZON)

    def objective(policy) -> float:
        """By forward scans of one step each: return and causal entropy."""
        visits, total = np.asarray(mdp.initial), 0.0
        for discount, now in zip(discounts, np.asarray(policy), strict=True):
            visits = np.where(mdp.terminal, 0, visits)
            total += discount * (visits[:, None] * now * (np.asarray(mdp.reward) - np.log(now))).sum()
            visits = np.einsum("s,sa,sat->t", visits, now, mdp.transition)
        return total

    best = objective(plan.policy)
    np.testing.assert_allclose(best, (mdp.initial * plan.values[0]).sum(), rtol=1e-12)
    rng = np.random.default_rng(0)
    for scale in (0.01, 0.3):
        other = jax.nn.softmax(plan.q_values + scale * rng.normal(size=plan.q_values.shape))
        assert objective(other) < best - 1e-3 * scale**2


def test_occupancy_is_the_sum_over_all_trajectories_and_the_gradient_of_the_value() -> None:
    mdp = grid_world(2, discount=0.9)

    def value(reward):
        return (mdp.initial * inverse.soft_value_iteration(mdp._replace(reward=reward), HORIZON).values[0]).sum()

    policy = inverse.soft_value_iteration(mdp, HORIZON).policy
    visits = inverse.occupancy(mdp, policy, HORIZON)
    paths = all_trajectories(mdp, np.asarray(policy))
    summed = (paths.luck * np.exp(paths.log_policy)) @ paths.counts
    np.testing.assert_allclose(visits.ravel(), summed, atol=1e-12)
    np.testing.assert_allclose(jax.grad(value)(mdp.reward), visits, atol=1e-12)
    assert (visits[np.asarray(mdp.terminal)] == 0).all()


def test_the_product_of_occupancy_and_reward_is_the_return() -> None:
    mdp = grid_world(3, size=4, discount=0.8)
    plan = planning.value_iteration(mdp, 1e-12)
    visits = inverse.occupancy(mdp, plan.policy, 200)
    np.testing.assert_allclose((visits * mdp.reward).sum(), planning.expected_return(mdp, plan.policy), atol=1e-10)


def test_shaping_leaves_policies_unchanged() -> None:
    """R + γ Φ(s') - Φ(s), with Φ = 0 where episodes end. The horizon is so long that its end has no effect."""
    mdp = grid_world(4, size=4, discount=0.8, wall=0.1)
    potential = jnp.where(mdp.terminal, 0, np.random.default_rng(0).normal(size=16))
    shaped = jnp.where(mdp.terminal[:, None], 0, planning.bellman_backup(mdp, potential) - potential[:, None])
    other = mdp._replace(reward=shaped)
    assert abs(other.reward - mdp.reward).max() > 0.5
    plans = [planning.policy_iteration(problem) for problem in (mdp, other)]
    np.testing.assert_allclose(plans[1].q_values, plans[0].q_values - potential[:, None], atol=1e-12)
    soft, same = (inverse.soft_value_iteration(problem, 200).policy[0] for problem in (mdp, other))
    np.testing.assert_allclose(same, soft, atol=1e-12)
    unshaped = inverse.soft_value_iteration(mdp._replace(reward=mdp.reward - potential[:, None]), 200).policy[0]
    assert abs(unshaped - soft).max() > 0.1


BAD = [
    (lambda mdp: inverse.soft_value_iteration(mdp, 0), "horizon must be a whole number >= 1, got 0"),
    (lambda mdp: inverse.soft_value_iteration(mdp, 2.5), "horizon must be a whole number >= 1, got 2.5"),
    (lambda mdp: inverse.soft_value_iteration(mdp._replace(reward=mdp.reward[:, 0]), 3), "mdp.reward must be of shape"),
    (lambda mdp: inverse.occupancy(mdp, np.ones((4, 3)), 3), r"policy must be .*\[4, 4\] or \[3, 4, 4\].*got \(4, 3\)"),
    (lambda mdp: inverse.occupancy(mdp, np.ones((2, 4, 4)), 3), r"policy must be of shape .*, got \(2, 4, 4\)"),
]


@pytest.mark.parametrize(("call", "message"), BAD, ids=[message[:30] for _, message in BAD])
def test_bad_arguments(call, message: str) -> None:
    with pytest.raises(ArgumentError) as error:
        call(grid_world(0))
    assert re.match(message, str(error.value)), str(error.value)
