"""The linear programs of Ng & Russell: the expert is optimal for the reward that they find."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl import inverse, make, planning
from jaxrl.arguments import ArgumentError
from jaxrl.types import MDP
from tests.inverse.problems import grid_world


@pytest.fixture(autouse=True)
def double():
    with jax.enable_x64(True):
        yield


def optimal_policy(mdp: MDP) -> np.ndarray:
    return np.eye(mdp.reward.shape[1])[np.asarray(planning.policy_iteration(mdp).q_values.argmax(1))]


def suboptimality(mdp: MDP, policy: np.ndarray, reward: np.ndarray) -> float:
    """The largest difference between the best value of a state and its value under a policy."""
    rewarded = mdp._replace(reward=jnp.asarray(reward))
    return float(abs(planning.policy_iteration(rewarded).values - planning.policy_evaluation(rewarded, policy)).max())


def check_random_grid_worlds(number: int) -> None:
    for seed in range(number):
        rng = np.random.default_rng(seed)
        mdp = grid_world(seed, 6, rng.choice([0, 0.1, 0.3]), 0.9, wall=0.15)
        policy = optimal_policy(mdp)
        found = inverse.linear_program(mdp, policy, l1_penalty=rng.choice([0, 0.1]))
        assert suboptimality(mdp, policy, found.reward) < 1e-9, seed
        assert found.margins.min() > -1e-10, seed
        assert abs(found.weights).max() == pytest.approx(1), seed
        assert found.margins.max() > 0.1, seed


def test_the_expert_is_optimal_in_random_grid_worlds() -> None:
    check_random_grid_worlds(30)


@pytest.mark.slow
def test_the_expert_is_optimal_in_a_thousand_random_grid_worlds() -> None:
    check_random_grid_worlds(1000)


@pytest.fixture
def paper() -> MDP:
    """The paper's 5 × 5 grid: with probability 0.3 a move has a random direction; only the upper right cell has a
    reward, 1 in each step."""
    env, params = make("GridWorld", map="....G\n.....\n.....\n.....\nS....")
    grid = env.mdp(params.replace(discount=0.9))
    transition = 0.7 * grid.transition + 0.3 * grid.transition.mean(1, keepdims=True)
    reward = jnp.zeros((25, 4)).at[4].set(1.0)
    return MDP(transition, reward, grid.discount, jnp.zeros(25, bool), grid.initial)


def test_the_papers_grid(paper: MDP) -> None:
    """With penalties in a wide range the program recovers the true reward exactly; with a larger one it finds R = 0."""
    policy = optimal_policy(paper)
    rewards = {l1: inverse.linear_program(paper, policy, l1_penalty=l1).weights for l1 in (0.0, 3.0, 5.0, 7.0)}
    for l1 in (3.0, 5.0):
        np.testing.assert_allclose(rewards[l1], np.eye(25)[4], atol=1e-9)
    np.testing.assert_allclose(rewards[7.0], 0, atol=1e-9)
    assert (abs(rewards[0.0]) > 0.1).all()  # without a penalty, no reward is small
    for weights in rewards.values():
        assert suboptimality(paper, policy, np.repeat(weights[:, None], 4, 1)) < 1e-9
    larger = inverse.linear_program(paper, policy, l1_penalty=3, max_reward=10)
    np.testing.assert_allclose(larger.weights, 10 * np.eye(25)[4], atol=1e-8)


def test_the_critical_penalty_separates_rewards_from_zero(paper: MDP) -> None:
    for mdp in (paper, grid_world(3, 4, 0.1, 0.9)):
        policy = optimal_policy(mdp)
        critical = inverse.critical_l1_penalty(mdp, policy)
        below, above = (inverse.linear_program(mdp, policy, l1_penalty=scale * critical) for scale in (0.999, 1.001))
        assert abs(below.weights).max() > 0.99
        assert abs(above.weights).max() < 1e-9


def test_every_policy_is_optimal_without_reward(paper: MDP) -> None:
    """R = 0 satisfies all constraints, whatever the expert does."""
    random = np.random.default_rng(0).dirichlet(np.ones(4), 25)
    for policy in (optimal_policy(paper), random):
        assert (inverse.optimality_margins(paper, policy) @ np.zeros(25) == 0).all()
        assert suboptimality(paper, policy, np.zeros((25, 4))) == 0


def test_no_other_reward_has_a_better_objective(paper: MDP) -> None:
    """Of all rewards for which the expert is optimal, also the true one and those of other penalties."""
    policy, rng = optimal_policy(paper), np.random.default_rng(0)
    margins = inverse.optimality_margins(paper, policy)
    others = np.asarray(policy) == 0

    def objective(weights: np.ndarray, l1: float) -> float:
        least = np.where(others, margins @ weights, np.inf).min(1)
        return least.sum() - l1 * abs(weights).sum()

    found = {l1: inverse.linear_program(paper, policy, l1_penalty=l1).weights for l1 in (0.0, 0.5, 1.0, 3.0, 7.0)}
    candidates = [*found.values(), *rng.dirichlet(np.ones(5), 50) @ np.array(list(found.values()))]
    for l1, weights in found.items():
        best = objective(weights, l1)
        for other in candidates:
            assert (margins @ other).min() > -1e-9
            assert objective(other, l1) <= best + 1e-9


def test_margins_by_hand() -> None:
    """Action 0 stays, action 1 leads to the other state; γ = 1/2. The expert goes to state 1 and stays."""
    transition = jnp.array([[[1.0, 0], [0, 1]], [[0, 1], [1, 0]]])
    mdp = MDP(transition, jnp.zeros((2, 2)), jnp.float64(0.5), jnp.zeros(2, bool), jnp.ones(2) / 2)
    policy = np.array([[0.0, 1], [1, 0]])
    # V(1) = 2 w_1 and V(0) = w_0 + w_1. Q(0, stay) = w_0 + V(0) / 2, Q(1, leave) = w_1 + V(0) / 2.
    expected = [[[-1 / 2, 1 / 2], [0, 0]], [[0, 0], [-1 / 2, 1 / 2]]]
    np.testing.assert_allclose(inverse.optimality_margins(mdp, policy), expected, atol=1e-12)
    np.testing.assert_allclose(inverse.linear_program(mdp, policy).weights, [-1, 1], atol=1e-9)
    # With a reward for each pair, V(0) = w_01 + w_10 and V(1) = 2 w_10: the margins are (w_01 + w_10) / 2 - w_00 and
    # 2 w_10 - w_11 - (w_01 + w_10) / 2. In their sum, w_01 cancels.
    found = inverse.linear_program(mdp, policy, np.eye(4).reshape(2, 2, 4))
    np.testing.assert_allclose(found.weights[[0, 2, 3]], [-1, 1, -1], atol=1e-9)
    np.testing.assert_allclose(found.margins.sum(), 4, atol=1e-9)
    np.testing.assert_allclose(found.reward, found.weights.reshape(2, 2), atol=1e-12)


def test_the_expert_may_be_random_among_optimal_actions() -> None:
    """Both of two actions of state 0 are taken: the reward makes them equally good, and the third one worse."""
    transition = np.zeros((3, 3, 3))
    transition[0, 0, 1] = transition[0, 1, 2] = transition[0, 2, 0] = 1
    transition[1:, :, 0] = 1
    mdp = MDP(*map(jnp.asarray, (transition, np.zeros((3, 3)), 0.9, np.zeros(3, bool), np.eye(3)[0])))
    policy = np.array([[0.5, 0.5, 0], [1 / 3] * 3, [1 / 3] * 3])
    found = inverse.linear_program(mdp, policy)
    np.testing.assert_allclose(found.margins[0, :2], 0, atol=1e-12)
    assert found.margins[0, 2] > 0.5
    assert suboptimality(mdp, policy, found.reward) < 1e-9


def test_terminal_states_have_no_reward_and_need_no_discount() -> None:
    mdp = grid_world(0, 3, 0.1, discount=1.0)._replace(reward=jnp.full((9, 4), -1.0))
    mdp = mdp._replace(reward=jnp.where(mdp.terminal[:, None], 0, mdp.reward))
    policy = optimal_policy(mdp)
    found = inverse.linear_program(mdp, policy)
    assert (found.reward[np.asarray(mdp.terminal)] == 0).all()
    assert found.margins.min() > -1e-10
    assert found.margins.max() > 0.1


def test_sampled_program_by_hand() -> None:
    assert inverse.sampled_linear_program([1, 0], [[0, 0], [0, 1]]).tolist() == [1, -1]
    assert inverse.sampled_linear_program([0], [[1], [-3]]).tolist() == [1]  # loses 1, which counts twice, and gains 3
    assert inverse.sampled_linear_program([0], [[1], [-1.5]]).tolist() == [0]  # any weight loses more than it gains


def test_sampled_program_finds_the_experts_value() -> None:
    """It sees features of policies alone. Planning on its reward soon does as well as the expert by the true one."""
    mdp = grid_world(7, 5, 0.1, 0.9)
    features = np.where(mdp.terminal[:, None, None], 0, np.asarray(mdp.transition) @ np.eye(25))

    def expected_features(policy):
        return np.einsum("sa,saf->f", inverse.occupancy(mdp, policy, 300), features)

    true = np.random.default_rng(1).normal(size=25)
    mdp = mdp._replace(reward=jnp.asarray(features @ true))
    expert = expected_features(optimal_policy(mdp))
    others = [expected_features(np.full((25, 4), 0.25))]
    first = (expert - others[0]) @ true
    for _ in range(15):
        weights = inverse.sampled_linear_program(expert, others)
        others.append(expected_features(optimal_policy(mdp._replace(reward=jnp.asarray(features @ weights)))))
    losses = [(expert - other) @ true for other in others]
    assert first > 1
    assert min(losses) > -1e-9
    assert min(losses) < 0.02 * first


BAD = [
    (lambda mdp, policy: inverse.linear_program(mdp, policy[:, :3]), r"policy must be .*\[S, A\], here \(9, 4\), got"),
    (lambda mdp, policy: inverse.linear_program(mdp, policy + 0.1), "policy must give probabilities that add up to 1"),
    (lambda mdp, policy: inverse.linear_program(mdp, policy * np.nan), "policy must be finite, got other numbers"),
    (
        lambda mdp, policy: inverse.linear_program(mdp, policy, np.ones((9, 4))),
        r"features must be of shape \[9, 4, F\]",
    ),
    (lambda mdp, policy: inverse.linear_program(mdp, policy, max_reward=0), "max_reward must be > 0 and finite, got 0"),
    (lambda mdp, policy: inverse.linear_program(mdp, policy, l1_penalty=-1), "l1_penalty must be >= 0 .*, got -1"),
    (lambda mdp, policy: inverse.linear_program(mdp, policy, l1_penalty=np.nan), "l1_penalty must be >= 0 .*, got nan"),
    (
        lambda mdp, policy: inverse.linear_program(mdp._replace(discount=jnp.float64(1.0)), np.eye(4)[[1] * 9]),
        "policy must end from every state, or mdp.discount be < 1, got one that may not",
    ),
    (
        lambda mdp, policy: inverse.linear_program(mdp._replace(transition=mdp.transition * np.nan), policy),
        "mdp.transition must be finite, got other numbers",
    ),
    (lambda *_: inverse.sampled_linear_program([1, 2], [[1]]), r"others must be .*\[K, 2\] with K >= 1, got \(1, 1\)"),
    (lambda *_: inverse.sampled_linear_program([1], np.ones((0, 1))), r"others must be .*, got \(0, 1\)"),
    (lambda *_: inverse.sampled_linear_program([np.inf], [[1]]), "expert must be finite, got other numbers"),
    (lambda *_: inverse.sampled_linear_program(1, [[1]]), r"expert must be of shape \[F\], got \(\)"),
]


@pytest.mark.parametrize(("call", "message"), BAD, ids=[message[:40] for _, message in BAD])
def test_bad_arguments(call, message: str) -> None:
    mdp = grid_world(0, 3, slip_probability=0.0, discount=0.9)
    with pytest.raises(ArgumentError) as error:
        call(mdp, optimal_policy(mdp))
    assert re.match(message, str(error.value)), str(error.value)
