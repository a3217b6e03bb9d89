"""Planning by sampling: the cross-entropy method and path integrals, through any model.

A model is a pure function `(state, action, key) -> (next state, reward)` of one state, a pytree. The planners sample
sequences of `H` actions, roll each through the model, and improve the distribution from which they were drawn. To
control, take the first action of the plan, step, and plan again from the rest of it (`shift`). All sequences of one
iteration are given the same keys.

    plan = cem(model, state, key, middle(bounds, config.horizon), bounds, config)
    action = plan.actions[0]
"""

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from annotated_types import Gt, Interval
from jax.typing import ArrayLike

from jaxrl.arguments import ArgumentError, check, check_box, check_count, check_kind, first_line
from jaxrl.types import Array, Box, PyTree

Model = Callable[[PyTree, Array, Array], tuple[PyTree, Array]]
"""`(state, action [D], key) -> (next state, reward)`, of one state."""


@dataclasses.dataclass(frozen=True)
class ShootingConfig:
    """The sizes of planning by sampling, which are static."""

    horizon: Annotated[int, Interval(ge=1, lt=2**31)] = 20
    """H, steps that a plan looks ahead."""
    population: Annotated[int, Interval(ge=2, lt=2**31)] = 200
    """Sequences of actions sampled in each iteration, at least 2: one has none to be better than."""
    iterations: Annotated[int, Interval(ge=1, lt=2**31)] = 4
    """Improvements of each plan."""


@dataclasses.dataclass(frozen=True)
class CEMConfig(ShootingConfig):
    """The cross-entropy method."""

    num_elites: Annotated[int, Interval(ge=1, lt=2**31)] = 20
    """The best sequences of each iteration, to which the distribution is fitted; at most the population."""
    smoothing: Annotated[float, Interval(ge=0, lt=1)] = 0.1
    """Share of the last mean and standard deviation that a fit keeps, in [0, 1)."""
    correlation: Annotated[float, Interval(ge=0, lt=1)] = 0.0
    """Correlation of the noise of successive actions, in [0, 1): much moves what is heavy, little can change fast."""


@dataclasses.dataclass(frozen=True)
class MPPIConfig(ShootingConfig):
    """Model predictive path integral control."""

    temperature: Annotated[float, Gt(0)] = 1.0
    """λ, in units of return: sequences are weighted by exp(return / λ)."""
    deviation: Annotated[float, Gt(0)] = 0.5
    """Standard deviation of the sampled actions, in half widths of their range."""


class ActionPlan(NamedTuple):
    """A plan.

    Attributes:
        actions: `[H, D]`, within the bounds.
        expected_return: the return of the best sampled sequence, as the model had it; −∞ if none was finite. Scalar.
            Of CEM it is that of the actions. Of MPPI, whose actions are a mean, it is not: see `predicted_return`.
    """

    actions: Array
    expected_return: Array


def middle(bounds: Box, horizon: int) -> Array:
    """A plan to begin with, `[H, D]`: always the middle of the bounds."""
    check_box("bounds", bounds)
    check_count("horizon", horizon)
    return jnp.tile((bounds.low + bounds.high) / 2, (horizon, 1))


def shift(actions: Array) -> Array:
    """What is left of a plan `[H, D]` after its first action, with the last one repeated."""
    return jnp.concatenate([actions[1:], actions[-1:]])


def predicted_return(model: Model, state: PyTree, actions: Array, key: Array, discount: ArrayLike = 1.0) -> Array:
    """The discounted sum of rewards of actions `[H, D]` from one state, by one rollout of a model; scalar."""
    _, rewards = rollout_model(model, state, actions, key)
    return (rewards * discount ** jnp.arange(len(rewards))).sum()


def rollout_model(model: Model, state: PyTree, actions: Array, key: Array) -> tuple[PyTree, Array]:
    """The states after each of the actions `[H, D]`, `[H, ...]`, and the rewards `[H]`."""

    def step(state: PyTree, x: tuple[Array, Array]) -> tuple[PyTree, tuple[PyTree, Array]]:
        following, reward = model(state, *x)
        return following, (following, reward)

    return jax.lax.scan(step, state, (actions, jax.random.split(key, len(actions))))[1]


def cem(
    model: Model,
    state: PyTree,
    key: Array,
    actions: Array,
    bounds: Box,
    config: CEMConfig,
    discount: ArrayLike = 1.0,
) -> ActionPlan:
    """The cross-entropy method (Rubinstein 1999; de Boer et al. 2005, https://doi.org/10.1007/s10479-005-5724-z).

    Each iteration samples a population from a normal distribution, clipped to the bounds, and fits the distribution to
    the elites, those with a finite return. It begins with half the width of the bounds as standard deviation. The mean
    and the best sequence so far compete with the samples, and the noise is correlated in time (Pinneri et al. 2020,
    https://arxiv.org/abs/2008.06389). The plan is the best sequence of the last population that had one with a finite
    return.

    Args:
        model: of one state.
        state: where the plan begins, a pytree.
        key: a random key.
        actions: the mean of the first population, `[H, D]`.
        bounds: those of an action.
        config: the sizes.
        discount: γ of the returns, scalar.

    Raises:
        ArgumentError: a size or a bound is not allowed, the plan has another shape, the model does not fit the state,
            or, outside of `jit`, it returned numbers that are not finite.
    """
    check_cem_config(config)
    check_plan(model, state, actions, bounds, config, discount)
    improve = partial(_improve_cem, model, state, bounds, config, discount)
    actions = _as_floats(actions, bounds)
    deviation = jnp.broadcast_to((bounds.high - bounds.low) / 2, actions.shape).astype(actions.dtype)
    first = (actions, deviation, ActionPlan(jnp.clip(actions, *bounds), jnp.float32(-jnp.inf)))
    keys = jax.random.split(key, config.iterations)
    (_, _, plan), _ = jax.lax.scan(improve, first, keys)
    return _checked(plan, model, state, key)


def _improve_cem(
    model: Model, state: PyTree, bounds: Box, config: CEMConfig, discount: ArrayLike, loop: tuple, key: Array
) -> tuple[tuple, None]:
    mean, deviation, plan = loop
    sample_key, model_key = jax.random.split(key)
    noise = _correlated_noise(sample_key, (config.population, *mean.shape), config.correlation)
    sampled = jnp.clip(mean + deviation * noise.at[0].set(0.0), *bounds)
    # What was the best so far competes once more, under the noise of this iteration: else the luckiest one would win.
    sampled = jnp.concatenate([sampled, plan.actions[None]])
    returns = _returns(model, state, sampled, model_key, discount)
    returns = returns.at[-1].set(jnp.where(jnp.isfinite(plan.expected_return), returns[-1], -jnp.inf))
    best, elites = jax.lax.top_k(returns, config.num_elites)
    chosen, keep, finite = sampled[elites], config.smoothing, jnp.isfinite(best)
    fit, spread = (of(chosen, 0, where=finite[:, None, None]) for of in (jnp.mean, jnp.std))
    mean = jnp.where(finite[0], keep * mean + (1 - keep) * fit, mean)
    deviation = jnp.where(finite[0], keep * deviation + (1 - keep) * spread, deviation)
    plan = jax.tree.map(partial(jnp.where, finite[0]), ActionPlan(chosen[0], best[0]), plan)
    return (mean, deviation, plan), None


def _correlated_noise(key: Array, shape: tuple[int, int, int], correlation: float) -> Array:
    """Standard normal numbers `[K, H, D]`, of which two neighbours along H have the given correlation."""
    white = jnp.moveaxis(jax.random.normal(key, shape, jnp.float32), 1, 0)

    def mix(last: Array, fresh: Array) -> tuple[Array, Array]:
        mixed = correlation * last + (1 - correlation**2) ** 0.5 * fresh
        return mixed, mixed

    _, others = jax.lax.scan(mix, white[0], white[1:])
    return jnp.moveaxis(jnp.concatenate([white[:1], others]), 0, 1)


def mppi(
    model: Model,
    state: PyTree,
    key: Array,
    actions: Array,
    bounds: Box,
    config: MPPIConfig,
    discount: ArrayLike = 1.0,
) -> ActionPlan:
    """Model predictive path integral control (Williams et al. 2017, https://doi.org/10.1109/ICRA.2017.7989202).

    Each iteration samples a population around the plan, clipped to the bounds, and takes their mean, weighted by
    exp(return / λ). Arguments and errors are those of `cem`.
    """
    check_kind("config", config, MPPIConfig)
    check(config)
    check_plan(model, state, actions, bounds, config, discount)
    actions = _as_floats(actions, bounds)
    deviation = config.deviation * (bounds.high - bounds.low) / 2

    def improve(plan: ActionPlan, key: Array) -> tuple[ActionPlan, None]:
        sample_key, model_key = jax.random.split(key)
        noise = jax.random.normal(sample_key, (config.population, *actions.shape), jnp.float32)
        sampled = jnp.clip(plan.actions + deviation * noise, *bounds)
        returns = _returns(model, state, sampled, model_key, discount)
        weights = jax.nn.softmax((returns - returns.max()) / config.temperature)
        found = jnp.isfinite(returns.max())
        mean = jnp.where(found, jnp.tensordot(weights, sampled, 1), plan.actions)
        return ActionPlan(mean, jnp.maximum(plan.expected_return, returns.max())), None

    first = ActionPlan(jnp.clip(actions, *bounds), jnp.float32(-jnp.inf))
    plan, _ = jax.lax.scan(improve, first, jax.random.split(key, config.iterations))
    return _checked(plan, model, state, key)


def _returns(model: Model, state: PyTree, sampled: Array, key: Array, discount: ArrayLike) -> Array:
    """The return of each sequence `[K, H, D]`, `[K]`; −∞ where the model has none that is finite.

    All meet the same random numbers (Ng & Jordan 2000, https://arxiv.org/abs/1301.3878), which then do not decide which
    one is best.
    """
    returns = jax.vmap(partial(predicted_return, model, state, key=key, discount=discount))(sampled)
    return jnp.where(jnp.isfinite(returns), returns, -jnp.inf).astype(jnp.float32)


def check_cem_config(config: CEMConfig) -> None:
    """Raises `ArgumentError` if a size is out of bounds."""
    check_kind("config", config, CEMConfig)
    check(config)
    if config.num_elites > config.population:
        raise ArgumentError("num_elites", f"must be at most the population, {config.population}", config.num_elites)


def check_plan(
    model: Model, state: PyTree, actions: Array, bounds: Box, config: ShootingConfig, discount: ArrayLike
) -> None:
    """Raises `ArgumentError` if sizes do not fit, numbers are wrong, or a model returns no such state and reward."""
    if not callable(model):
        raise ArgumentError("model", "must be a function (state, action, key) -> (state, reward)", model)
    if not isinstance(discount, jax.core.Tracer) and not (np.ndim(discount) == 0 and 0 <= np.asarray(discount) <= 1):
        raise ArgumentError("discount", "must be in [0, 1]", discount)
    for name, tree in (("state", state), ("actions", actions)):
        numbers = [x for x in jax.tree.leaves(tree) if not isinstance(x, jax.core.Tracer) and _has_fractions(x)]
        if not all(np.isfinite(x).all() for x in numbers):
            raise ArgumentError(name, "must be finite", tree)
    check_box("bounds", bounds)
    shape = (config.horizon, *np.shape(bounds.low))
    if np.shape(actions) != shape:
        raise ArgumentError("actions", f"must be of shape [H, D], here {shape}", np.shape(actions))
    try:
        following, reward = jax.eval_shape(model, state, _as_floats(actions, bounds)[0], jax.random.key(0))
    except (TypeError, ValueError) as error:
        rule = f"must map (state, action, key) to (state, reward) ({first_line(error)})"
        raise ArgumentError("model", rule, model, got="") from error
    shapes = [jax.tree.map(lambda x: (jnp.shape(x), jnp.result_type(x)), x) for x in (state, following)]
    if shapes[0] != shapes[1]:
        raise ArgumentError("model", f"must return a state like the one it is given, {shapes[0]}", shapes[1])
    if getattr(reward, "shape", None) != ():
        got = str(getattr(reward, "shape", type(reward).__name__))
        raise ArgumentError("model", "must return a reward that is a scalar", got=got)


def _checked(plan: ActionPlan, model: Model, state: PyTree, key: Array) -> ActionPlan:
    """The plan, after a check of its return outside of `jit`: none of its sequences had a finite one if it is −∞."""
    if isinstance(plan.expected_return, jax.core.Tracer) or np.isfinite(plan.expected_return):
        return plan
    states, rewards = rollout_model(model, state, plan.actions, key)
    numbers = [x for x in jax.tree.leaves(states) if _has_fractions(x)]
    fine = np.isfinite(rewards)
    for x in numbers:
        fine &= np.isfinite(np.asarray(x).reshape(len(fine), -1)).all(1)
    rule = "must return finite states and rewards for some actions"
    if fine.all():
        raise ArgumentError("model", rule, got="returns that are not")
    step = int(np.argmin(fine))
    what = "a state that is not" if np.isfinite(rewards[step]) else f"{float(rewards[step]):g} as reward"
    raise ArgumentError("model", rule, got=f"{what} in step {step} of the plan")


def _as_floats(actions: Array, bounds: Box) -> Array:
    """A plan in a type that holds it and its bounds."""
    return jnp.asarray(actions, jnp.result_type(jnp.float32, jnp.asarray(actions), *bounds))


def _has_fractions(x: Any) -> bool:
    return jnp.issubdtype(jnp.result_type(x), jnp.floating)
