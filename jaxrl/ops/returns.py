"""Returns and advantages along one trajectory of T steps, computed backwards in time.

Step t leads from one observation to the next. It earns `r_t[t]` and continues with `discount_t[t]`. `v_tm1[t]` is the
value of the observation it starts from, and `v_t[t]` that of the true one it leads to, before any reset. All arrays
are `[T]`.

A trajectory may contain the ends of episodes:

    ``discount_t``  γ, and 0 where the step terminated the episode: nothing follows
    ``lambda_``     λ, and 0 where the step terminated or truncated the episode: `v_t` stands for what follows, and
                    nothing of the next episode leaks into this one

A value or return whose factor is 0 does not count, even if it is NaN, as it may be after the end of an episode.

The end of the trajectory needs no mark: every estimate bootstraps from `v_t[-1]` there. Gradients flow through all
arguments. The caller maps over environments: arrays with a second axis raise `ValueError`.

    returns = jax.vmap(ops.lambda_returns, in_axes=1, out_axes=1)(r_t, discount_t, v_t, lambda_)  # [T, N]
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from jaxrl.ops.bootstrapping import discounted
from jaxrl.types import Array


def discounted_returns(r_t: Array, discount_t: Array, v_t: ArrayLike) -> Array:
    """Discounted returns, G_t = r_t + γ_t G_{t+1} `[T]`: `lambda_returns` with λ = 1.

    Without a λ only termination ends an episode. Use `lambda_returns` for trajectories that contain a truncation before
    their last step.

    Args:
        r_t: rewards, `[T]`.
        discount_t: γ, or 0 where the step terminated the episode, `[T]`.
        v_t: value of the last observation, scalar, or values `[T]`, of which the last one counts.
    """
    return _backwards(r_t, discount_t, jnp.broadcast_to(v_t, r_t.shape)[-1])


def lambda_returns(r_t: Array, discount_t: Array, v_t: Array, lambda_: ArrayLike = 1.0) -> Array:
    """λ-returns, G_t = r_t + γ_t ((1 − λ_t) v_t + λ_t G_{t+1}) `[T]`, with G = v_t[-1] after the last step.

    Sutton & Barto 2018, equation 12.18. λ = 1 gives the discounted return, λ = 0 the target of TD(0).

    Args:
        r_t: rewards, `[T]`.
        discount_t: γ, or 0 where the step terminated the episode, `[T]`.
        v_t: values of the observations the steps lead to, `[T]`.
        lambda_: λ, scalar or `[T]`; 0 where the step terminated or truncated the episode.
    """
    _check_values(r_t, v_t)
    lambda_ = jnp.asarray(lambda_)
    return _backwards(r_t + discounted(discount_t * (1 - lambda_), v_t), discount_t * lambda_, v_t[-1])


def n_step_bootstrapped_returns(r_t: Array, discount_t: Array, v_t: Array, n: int, lambda_t: ArrayLike = 1.0) -> Array:
    """n-step returns, r_t + γ_t (r_{t+1} + γ_{t+1} (… (r_{t+n-1} + γ_{t+n-1} v_{t+n-1}))) `[T]`.

    Sutton & Barto 2018, equation 7.1. With `lambda_t` below 1 they are λ-returns over n steps. Where fewer than n
    steps are left, those count.

    Args:
        r_t, discount_t, v_t: as in `lambda_returns`.
        n: number of steps, static, > 0.
        lambda_t: λ, scalar or `[T]`; 0 where the step terminated or truncated the episode.

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
    """Turns a sequence of n steps into one transition: its n-step return without the bootstrap.

    The steps k = 0, …, m count, up to and including the first one that ended its episode, or all n. Their n-step return
    (Sutton & Barto 2018, equation 7.1) is the first of `n_step_bootstrapped_returns`,

        r_0 + γ_0 (r_1 + γ_1 (… r_m)) + (γ_0 γ_1 … γ_m) v_m = `return + discount * v_m`,

    where v_m is the value of the observation that step m leads to.

    Args:
        r_t: rewards, `[n]`.
        discount_t: γ, or 0 where the step terminated the episode, `[n]`.
        ended_t: whether the step terminated or truncated the episode, bool `[n]`.

    Returns:
        The discounted sum of rewards, the product of discounts, and m as int32: three scalars.
    """
    last = jnp.argmax(jnp.append(ended_t[:-1], True))
    counts = jnp.arange(len(r_t)) <= last
    discount_t = jnp.where(counts, discount_t, 1.0)
    return _backwards(jnp.where(counts, r_t, 0.0), discount_t, 0.0)[0], jnp.prod(discount_t), last


def generalized_advantage_estimation(
    r_t: Array, discount_t: Array, lambda_: ArrayLike, v_tm1: Array, v_t: Array
) -> Array:
    """Generalized advantage estimates `[T]`, A_t = δ_t + γ_t λ_t A_{t+1} with δ_t = r_t + γ_t v_t − v_tm1.

    Schulman et al. 2016 (https://arxiv.org/abs/1506.02438), equation 16. rlax takes one array of T + 1 values, which
    cannot express a truncation. Here the values before and after each step are separate, because at the end of an
    episode a step leads to another observation than the one the next step starts from. Where the two agree,
    `v_t[i] = v_tm1[i + 1]`, the result equals `lambda_returns` minus `v_tm1`.

    Args:
        r_t: rewards, `[T]`.
        discount_t: γ, or 0 where the step terminated the episode, `[T]`.
        lambda_: λ, scalar or `[T]`; 0 where the step terminated or truncated the episode.
        v_tm1: values of the observations the steps start from, `[T]`.
        v_t: values of the observations the steps lead to, `[T]`.
    """
    _check_values(r_t, v_tm1, v_t)
    return _backwards(r_t + discounted(discount_t, v_t) - v_tm1, discount_t * jnp.asarray(lambda_), 0.0)


def _check_values(r_t: Array, *values: Array) -> None:
    for v in values:
        if jnp.shape(v) != jnp.shape(r_t):
            raise ValueError(f"values must be [T] as the rewards are, got shapes {jnp.shape(v)} and {jnp.shape(r_t)}")


def _backwards(b: Array, a: Array, end: ArrayLike) -> Array:
    """Solves x_t = b_t + a_t x_{t+1} with x_T = `end`, for b and a `[T]`.

    On a CPU, a plain scan: `associative_scan` takes 2 to 10 times as long, an unrolled scan mostly longer too (T of 128
    and 1000, 4 and 64 trajectories), and both compile several times longer. Elsewhere each step of a loop is a few
    kernels, whose launches take longer than their work, so that some steps are unrolled into one.
    """
    if b.ndim != 1 or a.shape != b.shape:
        raise ValueError(f"a trajectory has arrays [T], vmap over other axes; got shapes {b.shape} and {a.shape}")

    def step(x: Array, coefficients: tuple[Array, Array]) -> tuple[Array, Array]:
        b_t, a_t = coefficients
        x = b_t + discounted(a_t, x)
        return x, x

    def solve(unroll: int, end: Array, coefficients: tuple[Array, Array]) -> Array:
        return jax.lax.scan(step, end, coefficients, reverse=True, unroll=unroll)[1]

    end = jnp.asarray(end, jnp.result_type(b, a, end))
    return jax.lax.platform_dependent(end, (b, a), cpu=partial(solve, 1), default=partial(solve, 16))
