"""Learning from sampled batches, as the trainers do whose agents learn from stored transitions."""

from collections.abc import Callable

import jax

from jaxrl.training.checks import check_update
from jaxrl.types import Agent, Array, Metrics, PyTree, Sample, total
from jaxrl.xla.threefry import ordinary


def learn(
    agent: Agent,
    start: tuple[PyTree, PyTree],
    sample: Callable[[PyTree, Array], tuple[Array, Sample]],
    set_priorities: Callable[[PyTree, Array, PyTree], PyTree],
    keys: Array,
    env_steps: Array,
    constants: PyTree,
) -> tuple[tuple[PyTree, PyTree], Metrics]:
    """Updates an agent once for each pair of keys.

    Args:
        agent: who learns.
        start: the states of the agent and of the sampler.
        sample: `(sampler, key) -> (index [B], Sample [B])`.
        set_priorities: `(sampler, index [B], errors) -> sampler`, with the errors that `Agent.update` returned.
        keys: `[K, 2]`, one for `sample` and one for `Agent.update`.
        env_steps: the clock of all these updates, float32 scalar.
        constants: `Agent.constants`.

    Returns:
        The states of the agent and of the sampler, and the sums of the metrics.

    Raises:
        ArgumentError: the agent's update returns something else than `Agent.update` should.
    """

    def body(carry: tuple[PyTree, PyTree], keys: Array) -> tuple[tuple[PyTree, PyTree], Metrics]:
        (agent_state, sampler), (sample_key, update_key) = carry, keys
        index, batch = sample(sampler, sample_key)
        results = agent.update(agent_state, batch, ordinary(update_key), env_steps, constants)
        agent_state, metrics, errors = check_update(results)
        return (agent_state, set_priorities(sampler, index, errors)), metrics

    end, metrics = jax.lax.scan(body, start, keys)
    return end, total(metrics)
