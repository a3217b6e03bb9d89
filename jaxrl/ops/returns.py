"""Returns and advantages along one trajectory of T steps, computed backwards in time.

Step t leads from one observation to the next: it earns `r_t[t]` and goes on with `discount_t[t]`. `v_tm1[t]` values the
observation it started from, and `v_t[t]` the one it led to: the true one, before any reset.

A trajectory may cross the ends of episodes. Each array says its part, `[T]`:

    ``discount_t``  γ, and 0 where the step terminated its episode: nothing follows
    ``lambda_``     λ, and 0 where the step terminated or truncated its episode: what follows is valued by `v_t`, and
                    nothing of the next episode leaks into this one

A value or return whose factor is 0 counts nothing, even if it is NaN, as after the end of an episode it may be.

The end of the trajectory itself needs no mark: there every estimate bootstraps from `v_t[-1]`. Gradients flow through
all arguments. A second axis in any of them raises `ValueError`: the caller vmaps.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from jaxrl.ops.bootstrapping import discounted
from jaxrl.types import Array


def discounted_returns(r_t: Array, discount_t: Array, v_t: ArrayLike) -> Array:
    """Discounted returns, G_t = r_t + γ_t G_{t+1}: `lambda_returns` with λ = 1.

    Without a λ only termination ends an episode: the rewards after a truncation would be counted. Use `lambda_returns`
    for trajectories that contain one before their last step.

    Args:
        r_t: rewards, `[T]`.
        discount_t: γ, or 0 where the step terminated the episode, `[T]`.
        v_t: value of the last observation, scalar; of values `[T]` the last one counts.

    Returns:
        G, `[T]`.
    """
    return _backwards(r_t, discount_t, jnp.broadcast_to(v_t, r_t.shape)[-1])


def lambda_returns(r_t: Array, discount_t: Array, v_t: Array, lambda_: ArrayLike = 1.0) -> Array:
    """λ-returns, G_t = r_t + γ_t ((1 − λ_t) v_t + λ_t G_{t+1}), after the last step G = v_t[-1].

    Sutton & Barto 2018, equation 12.18. λ = 1 gives the discounted return, λ = 0 the target of TD(0).

    Args:
        r_t: rewards, `[T]`.
        discount_t: γ, or 0 where the step terminated the episode, `[T]`.
        v_t: values of the observations the steps led to, `[T]`.
        lambda_: λ, scalar or `[T]`; 0 where the step terminated or truncated the episode.

    Returns:
        G, `[T]`.
    """
    _check_values(r_t, v_t)
    lambda_ = jnp.asarray(lambda_)
    return _backwards(r_t + discounted(discount_t * (1 - lambda_), v_t), discount_t * lambda_, v_t[-1])


def n_step_bootstrapped_returns(r_t: Array, discount_t: Array, v_t: Array, n: int, lambda_t: ArrayLike = 1.0) -> Array:
    """n-step returns, r_t + γ_t (r_{t+1} + γ_{t+1} (… (r_{t+n-1} + γ_{t+n-1} v_{t+n-1}))).

    Sutton & Barto 2018, equation 7.1. With `lambda_t` below 1 it is the λ-return of the n steps. Where fewer than n
    steps are left, those are taken.

    Args:
        r_t: rewards, `[T]`.
        discount_t: γ, or 0 where the step terminated the episode, `[T]`.
        v_t: values of the observations the steps led to, `[T]`.
        n: number of steps, static, > 0.
        lambda_t: λ, scalar or `[T]`; 0 where the step terminated or truncated the episode.

    Returns:
        Returns, `[T]`.

    Raises:
        ValueError: n is not positive.
    """
    if n < 1:
        raise ValueError(f"n must be > 0, got {n}")
    lambda_t = jnp.asarray(lambda_t)
    start = np.arange(len(r_t))
    window = start[:, None] + np.arange(n)
    # Steps past the end change nothing: x = 0 + 1 · x.
    b = jnp.pad(r_t + discounted(discount_t * (1 - lambda_t), v_t), (0, n - 1))[window]
    a = jnp.pad(discount_t * lambda_t, (0, n - 1), constant_values=1)[window]
    end = v_t[np.minimum(start + n, len(r_t)) - 1]
    return jax.vmap(_backwards)(b, a, end)[:, 0]


def n_step_return(r_t: Array, discount_t: Array, ended_t: Array) -> tuple[Array, Array, Array]:
    """The n-step return of a trajectory's first step without its bootstrap, and what that needs.

    The steps k = 0, …, m count: up to and including the first that ended its episode, else all n. Their n-step return
    (Sutton & Barto 2018, equation 7.1) is `n_step_bootstrapped_returns`' first one,

        r_0 + γ_0 (r_1 + γ_1 (… r_m)) + (γ_0 γ_1 … γ_m) v_m = `return + discount * v_m`,

    where v_m values the observation that step m led to. So the n steps make one long transition for any agent that
    learns from single ones.

    Args:
        r_t: rewards, `[n]`.
        discount_t: γ, or 0 where the step terminated the episode, `[n]`.
        ended_t: the step terminated or truncated the episode, bool `[n]`. What follows the first such step is ignored.

    Returns:
        The discounted sum of rewards, the product of discounts, and m, an int32: scalars.
    """
    last = jnp.argmax(jnp.append(ended_t[:-1], True))
    counts = jnp.arange(len(r_t)) <= last
    discount_t = jnp.where(counts, discount_t, 1.0)
    return _backwards(jnp.where(counts, r_t, 0.0), discount_t, 0.0)[0], jnp.prod(discount_t), last


def generalized_advantage_estimation(
    r_t: Array, discount_t: Array, lambda_: ArrayLike, v_tm1: Array, v_t: Array
) -> Array:
    """Generalized advantage estimates, A_t = δ_t + γ_t λ_t A_{t+1} with δ_t = r_t + γ_t v_t − v_tm1.

    Schulman et al. 2016 (https://arxiv.org/abs/1506.02438), equation 16. Unlike in rlax, whose one array of T + 1
    values cannot express a truncation, the values before and after each step are separate: at the end of an episode the
    observation a step led to is not the one the next step starts from. Where it is, `v_t[i] = v_tm1[i + 1]`, and the
    result equals `lambda_returns` minus `v_tm1`.

    Args:
        r_t: rewards, `[T]`.
        discount_t: γ, or 0 where the step terminated the episode, `[T]`.
        lambda_: λ, scalar or `[T]`; 0 where the step terminated or truncated the episode.
        v_tm1: values of the observations the steps started from, `[T]`.
        v_t: values of the observations the steps led to, `[T]`.

    Returns:
        A, `[T]`.
    """
    _check_values(r_t, v_tm1, v_t)
    return _backwards(r_t + discounted(discount_t, v_t) - v_tm1, discount_t * jnp.asarray(lambda_), 0.0)


def _check_values(r_t: Array, *values: Array) -> None:
    for v in values:
        if jnp.shape(v) != jnp.shape(r_t):
            raise ValueError(f"values must be [T] as the rewards are, got shapes {jnp.shape(v)} and {jnp.shape(r_t)}")


def _backwards(b: Array, a: Array, end: ArrayLike) -> Array:
    """x_t = b_t + a_t x_{t+1}, x_T = end: `[T]` from `[T]`, `[T]` and a scalar.

    A plain scan: on a CPU `associative_scan` took 2 to 10 times as long and an unrolled scan mostly longer too (T of
    128 and 1000, 4 and 64 trajectories), and both compiled several times longer.
    """
    if b.ndim != 1 or a.shape != b.shape:
        raise ValueError(f"a trajectory has arrays [T], vmap over other axes; got shapes {b.shape} and {a.shape}")

    def step(x: Array, coefficients: tuple[Array, Array]) -> tuple[Array, Array]:
        b_t, a_t = coefficients
        x = b_t + discounted(a_t, x)
        return x, x

    return jax.lax.scan(step, jnp.asarray(end, jnp.result_type(b, a, end)), (b, a), reverse=True)[1]
