"""Normalised observations for any agent, whose networks then need not know their units."""

from functools import partial
from typing import Generic, NamedTuple

import jax
import jax.numpy as jnp

from jaxrl.agents.wrapping import around
from jaxrl.types import Agent, Array, Hparams, Input, Metrics, PyTree, Sample, StateT, Transition


class Statistics(NamedTuple):
    """What is known about the distribution of one array of observations.

    Attributes:
        count: how many were seen, float32 scalar.
        mean: `[*observation]`.
        squares: the sum of squared deviations from the mean, `[*observation]`.
    """

    count: Array  # type: ignore[assignment]  # hides tuple.count
    mean: Array
    squares: Array


class NormalisedState(NamedTuple, Generic[StateT]):
    """The state of the agent inside, and `Statistics` of each leaf of its observations, None for integers."""

    agent: StateT
    statistics: PyTree


def normalised(agent: Agent[StateT], limit: float = 10.0) -> Agent[NormalisedState[StateT]]:
    """The same agent, given observations with mean 0 and standard deviation 1.

    The statistics are those of all observations that it learned from. They change after learning, so that stored
    log-probabilities belong to the statistics with which the agent acted. Integers and booleans stay as they are.

    Args:
        agent: any agent.
        limit: normalised observations are clipped to [-limit, limit].
    """

    scale = partial(_scale_all, limit)

    def init(key: Array, hparams: Hparams, observation: PyTree) -> NormalisedState:
        statistics = jax.tree.map(no_statistics, observation)
        return NormalisedState(agent.init(key, hparams, observation), statistics)

    def of_input(state: NormalisedState, given: Input) -> Input:
        return given._replace(observation=scale(state, given.observation))

    def of_batch(state: NormalisedState, batch: Transition) -> Transition:
        first, last = scale(state, batch.observation), scale(state, batch.next_observation)
        return batch._replace(observation=first, next_observation=last)

    def update(
        state: NormalisedState, batch: Transition | Sample, key: Array, env_steps: Array, constants: PyTree = ()
    ) -> tuple[NormalisedState, Metrics, PyTree]:
        steps = batch.transitions if isinstance(batch, Sample) else batch
        scaled = of_batch(state, steps)
        given = batch._replace(transitions=scaled) if isinstance(batch, Sample) else scaled
        learned, metrics, errors = agent.update(state.agent, given, key, env_steps, constants)
        statistics = jax.tree.map(add_observations, steps.observation, state.statistics)
        return NormalisedState(learned, statistics), metrics, errors

    outputs = agent.outputs
    return around(
        agent,
        lambda state: state.agent,
        init=init,
        update=update,
        act=lambda state, given, *rest: agent.act(state.agent, of_input(state, given), *rest),
        policy=lambda state, given, key: agent.policy(state.agent, of_input(state, given), key),
        prepare=lambda state, batch: agent.prepare(state.agent, of_batch(state, batch)),
        outputs=None if outputs is None else lambda state, x: outputs(state.agent, scale(state, x)),
    )


def no_statistics(x: Array) -> Statistics | None:
    """Those of an observation that was never seen; None for integers and booleans."""
    if not jnp.issubdtype(jnp.result_type(x), jnp.floating):
        return None
    return Statistics(jnp.float32(0), jnp.zeros(jnp.shape(x), jnp.float32), jnp.zeros(jnp.shape(x), jnp.float32))


def _scale_all(limit: float, state: NormalisedState, observations: PyTree) -> PyTree:
    return jax.tree.map(lambda x, seen: normalise(x, seen, limit), observations, state.statistics)


def normalise(x: Array, seen: Statistics | None, limit: float) -> Array:
    """Observations `[..., *observation]` with mean 0 and standard deviation 1, clipped to [-limit, limit]."""
    if seen is None:
        return x
    scaled = (x - seen.mean) / deviation_of(seen)
    return jnp.where(seen.count > 0, jnp.clip(scaled, -limit, limit), x)


def deviation_of(seen: Statistics) -> Array:
    """The standard deviation, `[*observation]`; of no meaning before the first observation."""
    return jnp.sqrt(seen.squares / jnp.maximum(seen.count, 1.0) + 1e-8)  # as in gymnasium


def add_observations(x: Array, seen: Statistics | None) -> Statistics | None:
    """Adds observations `[..., *observation]` (Chan et al. 1983, https://doi.org/10.2307/2683386)."""
    if seen is None:
        return None
    x = x.reshape(-1, *seen.mean.shape).astype(jnp.float32)
    mean, count = x.mean(0), seen.count + len(x)
    squares = ((x - mean) ** 2).sum(0)
    delta = mean - seen.mean
    return Statistics(
        count,
        seen.mean + delta * (len(x) / count),
        seen.squares + squares + delta**2 * (seen.count * len(x) / count),
    )
