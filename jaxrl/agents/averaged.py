"""Averaged parameters for any agent: it acts with the running mean of what it learns."""

from typing import Annotated, Any, NamedTuple

import jax
from annotated_types import Interval

from jaxrl.agents.wrapping import around
from jaxrl.arguments import check_value
from jaxrl.types import Agent, Array, Hparams, Metrics, PyTree


class AveragedState(NamedTuple):
    """The state of the agent inside, which learns, and the mean of its parameters, which act."""

    agent: Any
    params: PyTree


def averaged(agent: Agent, decay: Annotated[float, Interval(ge=0, lt=1)] = 0.99) -> Agent[AveragedState]:
    """The same agent, which acts with an exponential mean of its parameters.

    The noise of single gradient steps cancels out in the mean (Polyak & Juditsky 1992, with equal weights). The mean
    begins with the initial parameters.

    Args:
        agent: any agent whose state has `params`.
        decay: how much of the mean each update keeps; 0.99 averages over some 100 updates.

    Raises:
        ArgumentError: `decay` is out of its bounds.
    """
    check_value("decay", decay, Annotated[float, Interval(ge=0, lt=1)])

    def acting(state: AveragedState) -> Any:
        return state.agent._replace(params=state.params)

    def init(key: Array, hparams: Hparams, observation: PyTree) -> AveragedState:
        inside = agent.init(key, hparams, observation)
        return AveragedState(inside, inside.params)

    def update(
        state: AveragedState, batch: PyTree, key: Array, env_steps: Array, constants: PyTree = ()
    ) -> tuple[AveragedState, Metrics, PyTree]:
        learned, metrics, errors = agent.update(state.agent, batch, key, env_steps, constants)
        params = jax.tree.map(lambda mean, new: decay * mean + (1 - decay) * new, state.params, learned.params)
        return AveragedState(learned, params), metrics, errors

    return around(agent, acting, init=init, update=update)
