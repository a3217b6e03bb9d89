"""Evaluation: one episode in each of many environments, with random keys of its own."""

from collections.abc import Callable, Sequence
from contextlib import closing
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from jaxrl.envs import HostEnvironment, VectorEnv, source
from jaxrl.envs.host_source import Act, actor, begin, no_settling
from jaxrl.envs.source import Policy, Source
from jaxrl.random import as_keys, key_stream
from jaxrl.training.devices import bytes_of, platform_of, shard_along, to_devices, to_host
from jaxrl.training.population import block_size, map_blocks
from jaxrl.types import Agent, Array, PyTree


class Evaluation(NamedTuple):
    """One episode in each environment.

    Of several agents in one environment, it is the mean over them.

    Attributes:
        episode_return: undiscounted return, or the return so far of an unfinished episode, float32 `[N]`.
        episode_length: steps, int32 `[N]`.
        ended: whether the episode ended within the allowed steps, bool `[N]`.
    """

    episode_return: Array
    episode_length: Array
    ended: Array


EvaluateAgents = Callable[[PyTree, Array, Mesh], Evaluation]
"""`(agent_states [A], keys [A], mesh) -> Evaluation [A, N]`, on the host."""
EvaluateAt = Callable[[PyTree, int, Mesh], np.ndarray]
"""`(agent_states [A], iteration, mesh) -> returns [A]`."""


def evaluate(policy: Policy, envs: VectorEnv, key: Array, max_steps: int, memory: PyTree = ()) -> Evaluation:
    """Runs one episode in each of `envs.num_envs` environments.

    Args:
        policy: `(Input [N], key) -> Decision [N]`, or actions `[N]`, such as `partial(agent.policy, agent_state)`.
        envs: the environments.
        key: a random key, used for nothing else.
        max_steps: after so many steps, an unfinished episode counts with its return so far.
        memory: what the policy remembers at the start, such as `agent.memory(agent_state, N)`.

    Environments on the host can only be evaluated outside of `jax.jit`.
    """
    if envs.host is not None:
        act = actor(lambda _, given, key: policy(given, key), envs.num_envs)
        return _evaluate_on_host(envs.host, envs.num_envs, partial(act, ()), key, max_steps, memory)

    def unfinished(carry: tuple[Array, Source, Evaluation]) -> Array:
        t, _, result = carry
        return (t < max_steps) & ~result.ended.all()

    def body(carry: tuple[Array, Source, Evaluation]) -> tuple[Array, Source, Evaluation]:
        t, at, result = carry
        act_key, env_key = jax.random.split(jax.random.fold_in(play_key, t))
        decision = source.decide(policy, envs, at, act_key)
        at, transition, _ = source.step(envs, at, decision, memory, env_key)
        running = ~result.ended
        result = Evaluation(
            result.episode_return + jnp.where(running, transition.reward, 0.0),
            result.episode_length + running,
            result.ended | transition.terminated | transition.truncated,
        )
        return t + 1, at, result

    reset_key, play_key = jax.random.split(as_keys(key))
    n = envs.num_envs
    nothing = Evaluation(jnp.zeros(n, jnp.float32), jnp.zeros(n, jnp.int32), jnp.zeros(n, bool))
    start = jnp.int32(0), Source(envs.reset(reset_key), memory), nothing
    _, _, found = jax.lax.while_loop(unfinished, body, start)
    agents = envs.num_agents
    if agents == 1:
        return found
    returns = found.episode_return.reshape(-1, agents).mean(1)
    return Evaluation(returns, found.episode_length[::agents], found.ended[::agents])


def evaluate_agents(agent: Agent, envs: VectorEnv, max_steps: int) -> EvaluateAgents:
    """`evaluate` for a population.

    The agents are spread over the mesh. Further calls with the same shapes do not compile again. On the host, agents
    play one after another.
    """
    if envs.host is not None:
        return _evaluate_agents_on_host(agent, envs.host, envs.num_envs, max_steps)

    def evaluate_one(agent_state: PyTree, key: Array) -> Evaluation:
        memory = agent.memory(agent_state, envs.num_envs)
        return evaluate(partial(agent.policy, agent_state), envs, key, max_steps, memory)

    return for_each_agent(evaluate_one)


def for_each_agent(evaluate_one: Callable[[PyTree, Array], Evaluation]) -> EvaluateAgents:
    """The evaluation of a population from that of one agent, `(agent_state, key data) -> Evaluation`."""

    def evaluate_some(platform: str, agent_states: PyTree, key_data: Array) -> Evaluation:
        agents = len(key_data)
        size = block_size(agents, bytes_of(agent_states) / agents, platform)
        return map_blocks(lambda x: evaluate_one(*x), (agent_states, key_data), size)

    @partial(jax.jit, static_argnums=2)
    def on_each_device(agent_states: PyTree, key_data: Array, mesh: Mesh) -> Evaluation:
        own, here = shard_along(mesh, 0).spec, partial(evaluate_some, platform_of(mesh))
        return jax.shard_map(here, mesh=mesh, in_specs=own, out_specs=own, check_vma=False)(agent_states, key_data)

    def evaluate_all(agent_states: PyTree, keys: Array, mesh: Mesh) -> Evaluation:
        key_data = to_devices(jax.random.key_data(keys), shard_along(mesh, 0))
        return to_host(on_each_device(agent_states, key_data, mesh))

    return evaluate_all


def _evaluate_on_host(
    env: HostEnvironment,
    num_envs: int,
    make_act: Callable[[Array, PyTree], Act],
    key: Array,
    max_steps: int,
    memory: PyTree,
) -> Evaluation:
    """`evaluate` for an environment that steps on the host, with NumPy arrays; `make_act` takes a key and `memory`."""
    reset_key, play_key = jax.random.split(as_keys(key))
    returns, lengths, ended = np.zeros(num_envs, np.float32), np.zeros(num_envs, np.int32), np.zeros(num_envs, bool)
    with closing(begin(env, num_envs, reset_key, memory)) as envs:
        for step in envs.play(make_act(play_key, memory), max_steps, no_settling):
            rows = envs.rows[step.half]
            returns[rows] += np.where(ended[rows], 0, step.score)
            lengths[rows] += ~ended[rows]
            ended[rows] |= step.over
            if ended.all():
                break
    result: Any = Evaluation(returns, lengths, ended)  # type: ignore[arg-type]
    return result


def _evaluate_agents_on_host(agent: Agent, env: HostEnvironment, num_envs: int, max_steps: int) -> EvaluateAgents:
    make_act = actor(agent.policy, num_envs)

    def evaluate_all(agent_states: PyTree, keys: Array, mesh: Mesh) -> Evaluation:
        del mesh
        results = []
        for i in range(len(keys)):
            agent_state = jax.tree.map(lambda x, i=i: jnp.asarray(x[i]), agent_states)
            memory = agent.memory(agent_state, num_envs)
            results.append(_evaluate_on_host(env, num_envs, partial(make_act, agent_state), keys[i], max_steps, memory))
        return jax.tree.map(lambda *xs: np.stack(xs), *results)

    return evaluate_all


def evaluation_while_training(evaluate_all: EvaluateAgents, seeds: Sequence[int]) -> EvaluateAt:
    """What `run` calls at some rows: the mean return of one episode in each environment.

    Args:
        evaluate_all: from `evaluate_agents`.
        seeds: one for each agent. The keys of each evaluation are of their own.
    """
    own_keys = jax.vmap(partial(key_stream, use="evaluation while training"))(jnp.array(seeds, jnp.uint32))

    def mean_returns(agent_states: PyTree, iteration: int, mesh: Mesh) -> np.ndarray:
        keys = jax.vmap(lambda key: jax.random.fold_in(key, np.uint32(iteration)))(own_keys)
        return np.mean(evaluate_all(agent_states, keys, mesh).episode_return, axis=1)

    return mean_returns
