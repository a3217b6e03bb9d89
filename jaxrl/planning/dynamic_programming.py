"""Exact planning in a finite MDP given as tables: value iteration, policy iteration, policy evaluation.

Everything here rests on the Bellman equation (Bellman 1957; Sutton & Barto 2018, chapter 4; Puterman 1994, chapter 6),

    Q*(s, a) = R(s, a) + γ Σ_s' P(s' | s, a) max_a' Q*(s', a').

Its right side, `T Q`, is a contraction: ‖T Q - T Q'‖ ≤ γ ‖Q - Q'‖ in the maximum norm. Iterating it therefore converges
to Q* from any start, and the size of a step bounds the remaining error.

All functions are pure and take one MDP; `jax.vmap` or `jax.lax.map` them over many MDPs or policies. They compute in
the precision of the tables. For γ = 0.99, float32 certifies about four digits of the largest value. For twelve digits,
make the tables and plan under `jax.enable_x64(True)`.

    env, params = make("GridWorld", map="cliff")
    plan = planning.value_iteration(env.mdp(params), tolerance=1e-2)
    plan.values  # V*(s), [S]
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxrl import ops
from jaxrl.arguments import ArgumentError
from jaxrl.types import MDP, Array


class Plan(NamedTuple):
    """The result of planning. A batch of plans has more axes in front.

    Attributes:
        q_values: `Q(s, a)`, `[S, A]`.
        iterations: the number of iterations, int32 scalar.
        error_bound: a bound on the distance of every entry of `q_values` from `Q*`, and of `values` from `V*`, rounding
            errors included; scalar. It may exceed the requested tolerance. For γ = 1 it is infinite: `T` is no
            contraction, and even a fixed point may differ from `Q*`. In exact arithmetic, the fixed point is `Q*` if
            some policy ends from every state, and every other policy has a return of −∞ somewhere (Bertsekas &
            Tsitsiklis 1991), as in a Grid World where every move has a cost.
    """

    q_values: Array
    iterations: Array
    error_bound: Array

    @property
    def values(self) -> Array:
        """`V(s) = max_a Q(s, a)`, `[S]`."""
        return self.q_values.max(-1)

    @property
    def policy(self) -> Array:
        """The greedy policy `π(a | s)`, `[S, A]`; ties share the probability."""
        return ops.greedy_policy(self.q_values)


def bellman_backup(mdp: MDP, values: Array) -> Array:
    """`R(s, a) + γ Σ_s' P(s' | s, a) V(s')`, `[S, A]`, of `values` V `[S]`."""
    # At the default precision, accelerators round the factors to as few as eight bits.
    return mdp.reward + mdp.discount * jnp.matmul(mdp.transition, values, precision=jax.lax.Precision.HIGHEST)


def q_value_iteration(
    mdp: MDP, tolerance: float = 1e-5, max_iterations: int = 10_000, initial_q: Array | None = None
) -> Plan:
    """Iterates `Q_{i+1}(s, a) = R(s, a) + γ Σ_s' P(s' | s, a) max_a' Q_i(s', a')` until Q is certified to be near Q*.

    Args:
        mdp: the problem.
        tolerance: stop once `Plan.error_bound` is at most this, or once an iteration changes no entry by more than its
            last bit.
        max_iterations: the maximum number of iterations.
        initial_q: `Q_0`, `[S, A]`, by default zero. In states that are never left and earn nothing it is always zero.

    Raises:
        ArgumentError: a number is not positive, or a shape does not fit.
    """
    check_mdp(mdp, tolerance, max_iterations)
    start = jnp.zeros(mdp.reward.shape) if initial_q is None else jnp.asarray(initial_q)
    _check_shape("initial_q", start, mdp.reward.shape, "[S, A]")
    return _q_value_iteration(mdp, tolerance, max_iterations, start)


def value_iteration(
    mdp: MDP, tolerance: float = 1e-5, max_iterations: int = 10_000, initial_values: Array | None = None
) -> Plan:
    """Iterates `V_{i+1}(s) = max_a R(s, a) + γ Σ_s' P(s' | s, a) V_i(s')`; returns the Q of one more backup.

    Arguments and errors are those of `q_value_iteration`, with `V_0` `[S]` in place of `Q_0`.
    """
    check_mdp(mdp, tolerance, max_iterations)
    start = jnp.zeros(mdp.reward.shape[:1]) if initial_values is None else jnp.asarray(initial_values)
    _check_shape("initial_values", start, mdp.reward.shape[:1], "[S]")
    return _value_iteration(mdp, tolerance, max_iterations, start)


def policy_iteration(mdp: MDP, max_iterations: int = 1000, initial_policy: Array | None = None) -> Plan:
    """Alternates exact policy evaluation and greedy improvement until nothing improves (Howard 1960).

    A state keeps its action unless another one is better. The iteration continues only while the value of some state
    exceeds its value under every earlier policy by more than its last bit. Rounding errors therefore cannot make a
    policy recur, and the iteration ends.

    Args:
        mdp: the problem. With γ = 1 every move must cost something, or the iteration may stop at a policy that never
            ends.
        max_iterations: the maximum number of policies to evaluate.
        initial_policy: `π(a | s)`, `[S, A]`, by default uniform.

    Raises:
        ArgumentError: a number is not positive, or a shape does not fit.
    """
    check_mdp(mdp, max_iterations=max_iterations)
    shape = mdp.reward.shape
    policy = jnp.full(shape, 1 / shape[1]) if initial_policy is None else jnp.asarray(initial_policy)
    _check_shape("initial_policy", policy, shape, "[S, A]")
    return _policy_iteration(mdp, max_iterations, policy)


def policy_evaluation(mdp: MDP, policy: Array) -> Array:
    """`V^π(s)`, `[S]`: the solution of `V = R^π + γ P^π V`. Differentiable.

    The result is NaN if the equations have no solution, or if rounding errors leave no correct digit. This happens for
    γ = 1 if an episode may never end, except in states that are never left and earn nothing.

    Args:
        mdp: the problem.
        policy: `π(a | s)`, `[S, A]`.

    Raises:
        ArgumentError: a shape does not fit.
    """
    check_mdp(mdp)
    _check_shape("policy", policy, mdp.reward.shape, "[S, A]")
    return _policy_evaluation(mdp, policy)


def expected_return(mdp: MDP, policy: Array) -> Array:
    """`J(π) = Σ_s p(s_0 = s) V^π(s)`, a scalar. Its gradient with respect to the policy is the exact policy gradient.

    Arguments, errors and NaN are those of `policy_evaluation`.
    """
    return (mdp.initial * policy_evaluation(mdp, policy)).sum()


def acting_states(mdp: MDP) -> Array:
    """The states that are not terminal and can be reached from an initial state, bool `[S]`."""
    leads = (mdp.transition > 0).any(1)  # terminal states lead to themselves

    def spread(_: Array, reached: Array) -> Array:
        return reached | (reached[:, None] & leads).any(0)

    return jax.lax.fori_loop(0, len(leads), spread, mdp.initial > 0) & ~mdp.terminal


@jax.jit
def _q_value_iteration(mdp: MDP, tolerance: Array, max_iterations: Array, start: Array) -> Plan:
    q = jnp.where(_absorbing(mdp)[:, None], 0, start)
    return Plan(*_iterate(mdp, lambda q: bellman_backup(mdp, q.max(1)), q, tolerance, max_iterations))


@jax.jit
def _value_iteration(mdp: MDP, tolerance: Array, max_iterations: Array, start: Array) -> Plan:
    values = jnp.where(_absorbing(mdp), 0, start)
    values, iterations, error_bound = _iterate(
        mdp, lambda values: bellman_backup(mdp, values).max(1), values, tolerance, max_iterations
    )
    return Plan(bellman_backup(mdp, values), iterations, error_bound)


@jax.jit
def _policy_iteration(mdp: MDP, max_iterations: Array, policy: Array) -> Plan:
    eps = jnp.finfo(dtype_of(mdp)).eps

    def improve(loop: tuple) -> tuple:
        policy, values, best, iterations, _ = loop
        q = bellman_backup(mdp, values)
        better = q.max(1) > (policy * q).sum(1)
        greedy = jnp.where(better[:, None], jax.nn.one_hot(q.argmax(1), q.shape[1], dtype=q.dtype), policy)
        greedy_values = _policy_evaluation(mdp, greedy)
        gains = (greedy_values - best > eps * abs(best)).any()
        values = jnp.where(gains, greedy_values, values)
        return greedy, values, jnp.maximum(best, greedy_values), iterations + 1, gains

    def improves(loop: tuple) -> Array:
        *_, iterations, gains = loop
        return gains & (iterations < max_iterations)

    policy = policy.astype(dtype_of(mdp))
    values = _policy_evaluation(mdp, policy)
    start = policy, values, values, jnp.int32(1), jnp.bool(True)
    _, values, _, iterations, _ = jax.lax.while_loop(improves, improve, start)
    q = bellman_backup(mdp, values)
    return Plan(q, iterations, _certifier(mdp)(values, q.max(1)))


@jax.jit
def _policy_evaluation(mdp: MDP, policy: Array) -> Array:
    absorbing = _absorbing(mdp)
    transition = (policy[:, :, None] * mdp.transition).sum(1)
    reward = (policy * mdp.reward).sum(1)
    identity = jnp.eye(len(absorbing), dtype=transition.dtype)
    matrix = jnp.where(absorbing[:, None], identity, identity - mdp.discount * transition)
    # The second solution, the discounted steps to the end, is the norm of the inverse, which has no negative entry.
    values, steps = jnp.linalg.solve(matrix, jnp.stack([reward, jnp.ones_like(reward)], 1)).T
    solvable = ((steps >= 0) & (steps * len(absorbing) * jnp.finfo(steps.dtype).eps < 1)).all()
    return jnp.where(solvable, values, jnp.nan)


def _absorbing(mdp: MDP) -> Array:
    """States that are never left and earn nothing, bool `[S]`: terminal states and a map's walls."""
    elsewhere = ~jnp.eye(mdp.reward.shape[0], dtype=bool)[:, None]
    return ~((mdp.transition != 0) & elsewhere).any((1, 2)) & (mdp.reward == 0).all(1)


def _iterate(
    mdp: MDP, step: Callable[[Array], Array], start: Array, tolerance: Array, max_iterations: Array
) -> tuple[Array, Array, Array]:
    """The last iterate, the number of iterations, and the error bound."""
    certify = _certifier(mdp)

    def body(loop: tuple) -> tuple:
        before, iterations, *_ = loop
        after = step(before)
        moves = (abs(after - before) > jnp.finfo(after.dtype).eps * abs(after)).any()
        return after, iterations + 1, certify(before, after), moves

    def continues(loop: tuple) -> Array:
        _, iterations, error_bound, moves = loop
        return (iterations < max_iterations) & (error_bound > tolerance) & moves

    dtype = dtype_of(mdp)
    first = start.astype(dtype), jnp.int32(0), jnp.asarray(jnp.inf, dtype), jnp.bool(True)
    return jax.lax.while_loop(continues, body, first)[:3]


def _certifier(mdp: MDP) -> Callable[[Array, Array], Array]:
    """Makes `(x, y) -> error bound of y`, for any `y` that was computed as `T x`.

    If ‖y - T x‖ ≤ ε, then ‖y - x*‖ ≤ ‖T x - T x*‖ + ε ≤ γ ‖x - y‖ + γ ‖y - x*‖ + ε, so that
    ‖y - x*‖ ≤ (γ ‖y - x‖ + ε) / (1 - γ). A sum of n products, in any order, has an error of at most n half-units in the
    last place of the sum of their sizes (Higham 2002, section 3.1); the product with γ and the sum with R add two more.
    Counting whole units leaves room for the rounding errors of this bound itself.
    """
    eps = jnp.finfo(dtype_of(mdp)).eps
    roundings = (2 + (mdp.transition != 0).sum(-1).max()) * eps
    modulus = mdp.discount * mdp.transition.sum(-1).max() * (1 + roundings)  # probabilities may not add up to one

    def certify(before: Array, after: Array) -> Array:
        rounding = roundings * (abs(mdp.reward).max() + abs(before).max())
        bound = (modulus * abs(after - before).max() + rounding) / (1 - modulus)
        return jnp.where(modulus < 1, bound, jnp.inf).astype(after.dtype)

    return certify


def dtype_of(mdp: MDP) -> np.dtype[Any]:
    """The dtype in which an MDP is planned, that of its tables."""
    return jnp.result_type(mdp.transition, mdp.reward, mdp.discount)


def check_mdp(mdp: MDP, tolerance: Any = 1, max_iterations: Any = 1) -> None:
    """Checks the shapes of an MDP's tables, and the limits of an iteration.

    Raises:
        ArgumentError: a shape does not fit the others, or a number is not positive.
    """
    if np.ndim(mdp.reward) != 2:
        raise ArgumentError("mdp.reward", "must be of shape [S, A]", np.shape(mdp.reward))
    states, actions = mdp.reward.shape
    _check_shape("mdp.transition", mdp.transition, (states, actions, states), "[S, A, S]")
    _check_shape("mdp.discount", mdp.discount, (), "[]")
    _check_shape("mdp.terminal", mdp.terminal, (states,), "[S]")
    _check_shape("mdp.initial", mdp.initial, (states,), "[S]")
    if not isinstance(tolerance, jax.core.Tracer) and not tolerance > 0:
        raise ArgumentError("tolerance", "must be > 0", tolerance)
    if not isinstance(max_iterations, jax.core.Tracer) and not max_iterations >= 1:
        raise ArgumentError("max_iterations", "must be >= 1", max_iterations)


def _check_shape(name: str, x: Any, shape: tuple[int, ...], letters: str) -> None:
    if np.shape(x) != shape:
        raise ArgumentError(name, f"must be of shape {letters}, here {shape}", np.shape(x))
