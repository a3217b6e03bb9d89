"""Collecting transitions, as trainers with environments do before they learn."""

import jax

from jaxrl.envs import VectorEnv, VectorState, source
from jaxrl.envs.source import Source
from jaxrl.types import Agent, Array, Metrics, PyTree, TrainState, Transition, total
from jaxrl.xla.threefry import ordinary


def collect(
    agent: Agent,
    envs: VectorEnv,
    agent_state: PyTree,
    start: Source,
    keys: Array,
    env_steps: Array,
    constants: PyTree = (),
) -> tuple[Source, Transition, Metrics]:
    """Acts for T steps in N environments.

    Args:
        agent, agent_state: who acts.
        envs, start: in what, and where it is.
        keys: two for each step, `[T, 2]`.
        env_steps: the clock at each step, float32 `[T]`.
        constants: `Agent.constants`.

    Returns:
        The source, transitions `[T, N]` with observations in stored form, and the sums of the metrics.
    """
    initial_memory = agent.memory(agent_state, envs.num_envs)

    def body(at: Source, x: tuple[Array, Array]) -> tuple[Source, tuple[Transition, Metrics]]:
        (act_key, env_key), clock = x
        given = source.seen(envs, at)._replace(constants=constants)
        decision = agent.act(agent_state, given, ordinary(act_key), clock)
        at, transition, metrics = source.step(envs, at, decision, initial_memory, env_key)
        return at, (transition, metrics)

    end, (transitions, metrics) = jax.lax.scan(body, start, (keys, env_steps))
    return end, transitions, total(metrics)


def train_state_axes(envs: VectorEnv, replay: PyTree = ()) -> TrainState:
    """`Trainer.env_axes`, given those of the replay."""
    axes = Source(VectorState(envs.axes, 0, 0, 0, 0), memory=0)  # type: ignore[arg-type]
    return TrainState(None, None, None, source=axes, replay=replay)  # type: ignore[arg-type]
