"""Inverse reinforcement learning by linear programs (Ng & Russell 2000).

https://ai.stanford.edu/~ang/papers/icml00-irl.pdf. A policy π is optimal if no action is better than its own:
`V^π(s) ≥ Q^π(s, a)` for all `s` and `a`. Both sides are linear in the reward, so that the rewards for which π is
optimal are a cone. It contains `R = 0`. The program chooses the one that sets π apart from other actions most clearly.

These functions run on the host, in float64, and are not for `jit` or `vmap`.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jax.typing import ArrayLike

from jaxrl import planning
from jaxrl.arguments import ArgumentError
from jaxrl.types import MDP

TOLERANCE, SCALE = 1e-10, 1e4
"""The smallest tolerance of constraints that the solver takes, and a scale of its rows. The solver drops coefficients
below 1e-9, so that without the scale an error of 1e-9 remains."""


class LinearProgram(NamedTuple):
    """The result of `linear_program`, as NumPy arrays.

    Attributes:
        weights: the reward of each feature, `[F]`.
        reward: `R(s, a)`, `[S, A]`, zero in terminal states.
        margins: `V^π(s) - Q^π(s, a)`, `[S, A]`, none negative but for rounding errors.
    """

    weights: np.ndarray
    reward: np.ndarray
    margins: np.ndarray


def state_features(mdp: MDP) -> np.ndarray:
    """Features with which every state has its own reward, as in the paper: `[S, A, S]`."""
    states, actions = np.shape(mdp.reward)
    return np.broadcast_to(np.eye(states)[:, None], (states, actions, states))


def optimality_margins(mdp: MDP, policy: ArrayLike, features: ArrayLike | None = None) -> np.ndarray:
    """The part of each feature in `V^π(s) - Q^π(s, a)`, `[S, A, F]`.

    Its product with weights `[F]` has no negative entry if and only if π is optimal for the reward
    `R(s, a) = features @ weights`. With a reward for each state it is γ times the matrix of the paper's theorem 3,
    `(P_π - P_a) (I - γ P_π)^-1`.

    Args:
        mdp: the problem. Its reward plays no part.
        policy: the expert's policy `π(a | s)`, `[S, A]`.
        features: of each state and action, `[S, A, F]`, by default `state_features`. Those of terminal states play no
            part.

    Raises:
        ArgumentError: a shape does not fit, a number is not finite, the policy is none, or, without discount, it has no
            finite values.
    """
    planning.check_mdp(mdp)
    features = np.asarray(state_features(mdp) if features is None else features, np.float64)
    policy, transition = np.asarray(policy, np.float64), np.asarray(mdp.transition, np.float64)
    terminal, discount = np.asarray(mdp.terminal), float(mdp.discount)
    _check(mdp, policy, features)
    features = np.where(terminal[:, None, None], 0, features)
    matrix = np.eye(len(policy)) - discount * np.einsum("sa,sat->st", policy, transition)
    matrix[terminal] = np.eye(len(policy))[terminal]
    if np.linalg.cond(matrix) > 1e12:
        raise ArgumentError("policy", "must end from every state, or mdp.discount be < 1", got="one that may not")
    values = np.linalg.solve(matrix, np.einsum("sa,saf->sf", policy, features))
    return np.where(terminal[:, None, None], 0, values[:, None] - features - discount * transition @ values)


def linear_program(
    mdp: MDP, policy: ArrayLike, features: ArrayLike | None = None, *, max_reward: float = 1.0, l1_penalty: float = 0.0
) -> LinearProgram:
    """The reward that sets a policy apart from all others (the paper's section 4).

    It maximises `Σ_s min_a (V^π(s) - Q^π(s, a)) - λ Σ_i |w_i|` over the weights with `|w_i| ≤ max_reward` for which π
    is optimal. The minimum is over the actions that π never takes. With a large λ, the best reward is zero.

    Args:
        mdp: the problem. Its reward plays no part.
        policy: the expert's policy `π(a | s)`, `[S, A]`. It may be random among optimal actions.
        features: of each state and action, `[S, A, F]`, by default `state_features`.
        max_reward: the bound of all weights.
        l1_penalty: `λ`.

    Raises:
        ArgumentError: as in `optimality_margins`, or a number is out of bounds.
    """
    if not 0 < max_reward < np.inf:
        raise ArgumentError("max_reward", "must be > 0 and finite", max_reward)
    if not 0 <= l1_penalty < np.inf:
        raise ArgumentError("l1_penalty", "must be >= 0 and finite", l1_penalty)
    features = np.asarray(state_features(mdp) if features is None else features, np.float64)
    margins = optimality_margins(mdp, policy, features)
    rows, gain, least = _constraints(mdp, policy, margins)
    number = features.shape[-1]
    cost = np.concatenate([np.full(2 * number, l1_penalty), -gain])
    solution = _solve(cost, rows, np.zeros(len(rows)), [(0, max_reward)] * (2 * number) + least)
    weights = solution[:number] - solution[number : 2 * number]
    reward = np.where(np.asarray(mdp.terminal)[:, None], 0, features @ weights)
    return LinearProgram(weights, reward, margins @ weights)


def critical_l1_penalty(mdp: MDP, policy: ArrayLike, features: ArrayLike | None = None) -> float:
    """The `λ` from which on `linear_program` finds no reward but zero.

    Just below it the reward is simplest, and the paper advises to choose it there. It is the largest
    `Σ_s min_a (V^π(s) - Q^π(s, a))` of all rewards with `Σ_i |w_i| = 1` for which π is optimal.

    Arguments and errors are those of `optimality_margins`.
    """
    margins = optimality_margins(mdp, policy, features)
    rows, gain, least = _constraints(mdp, policy, margins)
    number = margins.shape[-1]
    size = np.concatenate([np.ones(2 * number), 0 * gain])
    bounds = np.append(np.zeros(len(rows)), SCALE)
    cost = np.append(np.zeros(2 * number), -gain)
    return float(-cost @ _solve(cost, np.vstack([rows, SCALE * size]), bounds, [(0, None)] * (2 * number) + least))


def _constraints(
    mdp: MDP, policy: ArrayLike, margins: np.ndarray
) -> tuple[np.ndarray, np.ndarray, list[tuple[float, float | None]]]:
    """What says that π is optimal: rows whose products with the variables must not be positive.

    The variables are the positive and the negative parts of the weights, and the smallest margin of each state. Also
    returned are what these count in the objective, `[S]`, and their bounds.
    """
    other = (np.asarray(policy) == 0) & ~np.asarray(mdp.terminal)[:, None]
    states, actions, _ = margins.shape
    least = np.where(other[..., None], np.eye(states)[:, None], 0)
    rows = np.concatenate([-margins, margins, least], axis=2).reshape(states * actions, -1)
    counts = other.any(1)
    return SCALE * rows[abs(rows).max(1) > 1e-12], 1.0 * counts, [(0, None if some else 0) for some in counts]


def sampled_linear_program(expert: ArrayLike, others: ArrayLike) -> np.ndarray:
    """The weights `[F]` of a linear reward for which the expert is better than others (the paper's section 5).

    It maximises `Σ_k p(w · (μ_E - μ_k))` over `|w_i| ≤ 1`, where `p(x) = x` if `x ≥ 0`, and `2 x` otherwise. Nothing
    but trajectories has to be known. Alternate it with reinforcement learning on the reward that it finds, and add each
    learned policy to `others`, until the expert is no better than the newest.

    Args:
        expert: `μ_E`, the expected discounted sum of the features `E Σ_t γ^t φ(s_t)`, `[F]`, as a mean of trajectories.
        others: `μ_k`, that of each other policy, `[K, F]`.

    Raises:
        ArgumentError: a shape does not fit, there is no other policy, or a number is not finite.
    """
    expert, others = np.asarray(expert, np.float64), np.asarray(others, np.float64)
    if expert.ndim != 1 or not expert.size:
        raise ArgumentError("expert", "must be of shape [F]", expert.shape)
    if others.ndim != 2 or others.shape[1:] != expert.shape or not len(others):
        raise ArgumentError("others", f"must be of shape [K, {len(expert)}] with K >= 1", others.shape)
    for name, x in (("expert", expert), ("others", others)):
        if not np.isfinite(x).all():
            raise ArgumentError(name, "must be finite", got="other numbers")
    better, each = others - expert, np.eye(len(others))
    # Variables: the weights, and p of each other policy, which is the smaller one of x and 2 x.
    rows = np.concatenate([np.concatenate([scale * better, each], axis=1) for scale in (1, 2)])
    cost = np.concatenate([np.zeros(expert.size), -np.ones(len(others))])
    bounds = [(-1, 1)] * expert.size + [(None, None)] * len(others)
    return _solve(cost, rows, np.zeros(len(rows)), bounds)[: expert.size]


def _solve(cost: np.ndarray, rows: np.ndarray, limits: np.ndarray, bounds: Sequence[tuple]) -> np.ndarray:
    """The `x` with the smallest `cost @ x` for which no entry of `rows @ x` exceeds that of `limits`."""
    from scipy.optimize import linprog

    options = {"primal_feasibility_tolerance": TOLERANCE, "dual_feasibility_tolerance": TOLERANCE}
    solution = linprog(cost, A_ub=rows, b_ub=limits, bounds=bounds, method="highs", options=options)
    if solution.x is None:  # x = 0 is feasible and the cost bounded, so that only numbers can be at fault
        raise ArgumentError("mdp", f"must have numbers that the solver can handle ({solution.message})", got="")
    return solution.x


def _check(mdp: MDP, policy: np.ndarray, features: np.ndarray) -> None:
    shape = np.shape(mdp.reward)
    if policy.shape != shape:
        raise ArgumentError("policy", f"must be of shape [S, A], here {shape}", policy.shape)
    if features.ndim != 3 or features.shape[:2] != shape:
        raise ArgumentError("features", f"must be of shape [{shape[0]}, {shape[1]}, F]", features.shape)
    for name, x in (("policy", policy), ("features", features), ("mdp.transition", np.asarray(mdp.transition))):
        if not np.isfinite(x).all():
            raise ArgumentError(name, "must be finite", got="other numbers")
    if (policy < 0).any() or abs(policy.sum(1) - 1).max() > 1e-4:
        raise ArgumentError("policy", "must give probabilities that add up to 1 in every state", got="others")
