"""Acting in N environments: the loop that trainers, evaluation and rollouts share."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxrl.arguments import ArgumentError
from jaxrl.envs.vector import VectorEnv, VectorState
from jaxrl.types import Array, Decision, Input, Metrics, PyTree, Transition, select_rows


class Source(NamedTuple):
    """The state of what an agent acts in.

    Attributes:
        envs: the states of its N environments.
        memory: what it remembers in each of them, `[N, ...]`, or `()`.
    """

    envs: VectorState
    memory: PyTree


Policy = Callable[[Input, Array], Decision | Array]
"""`(Input [N], key) -> Decision [N]`, or actions `[N]`."""


def seen(envs: VectorEnv, source: Source) -> Input:
    """What an agent acts on."""
    return Input(envs.observe(source.envs), source.envs.legal, source.memory, source.envs.env_states)


def decide(policy: Policy, envs: VectorEnv, source: Source, key: Array) -> Decision:
    """What a policy decides, which must keep the shapes of its memory.

    Raises:
        ArgumentError: it does not, or it does not return one action for each environment.
    """
    return decide_on(policy, seen(envs, source), envs.num_envs, key)


def decide_on(policy: Policy, given: Input, num_envs: int, key: Array) -> Decision:
    """`decide`, with what the policy acts on."""
    decision = policy(given, key)
    decision = decision if isinstance(decision, Decision) else Decision(decision)
    if (shape := jnp.shape(decision.action))[:1] != (num_envs,):
        rule = f"must return {num_envs} actions, one for each environment"
        raise ArgumentError("policy", rule, shape, got=f"shape {shape}")
    check_memory("policy", given.memory, decision.memory)
    return decision


def check_memory(name: str, before: PyTree, after: PyTree, where: str = "") -> None:
    """Raises `ArgumentError` if a decision's memory has other shapes than the memory it was given."""
    first, then = (jax.tree.map(lambda x: (jnp.result_type(x).name, *jnp.shape(x)), x) for x in (before, after))
    if first != then:
        raise ArgumentError(name, f"must keep the shapes of its memory{where}, {first}", then)


def step(
    envs: VectorEnv, source: Source, decision: Decision, initial_memory: PyTree, key: Array
) -> tuple[Source, Transition, Metrics]:
    """Steps all environments. Where an episode ends, the memory becomes the initial one."""
    env_states, transition, metrics = envs.step(source.envs, decision.action, key)
    done = transition.terminated | transition.truncated
    memory = reset_memory(decision.memory, initial_memory, done)
    return Source(env_states, memory), transition._replace(extras=decision.extras), metrics


def reset_memory(memory: PyTree, initial: PyTree, done: Array) -> PyTree:
    """Memory `[N, ...]`, initial where an episode is done, bool `[N]`."""
    return select_rows(done, initial, memory)
