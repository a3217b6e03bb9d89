"""Dyna with learned networks, around any agent that learns from a replay buffer (Sutton 1991).

https://doi.org/10.1145/122344.122377. A model is learned from the replayed transitions. From the states of each batch
it imagines what the agent would do next, for a few steps, and the agent learns from the real and from the imagined
transitions. With SAC and an ensemble of probabilistic networks this is MBPO (Janner et al. 2019,
https://arxiv.org/abs/1906.08253), but that what is imagined is used at once and not stored: it always comes from the
newest model and the newest policy.

The rollouts are short because a model's errors add up. Their end is no end of an episode: the agent bootstraps from the
last imagined observation. A termination is drawn with the probability that the model predicts, and nothing is learned
from beyond it.
"""

import dataclasses
from functools import partial
from typing import Annotated, Any, Generic, NamedTuple

import jax
import jax.numpy as jnp
from annotated_types import Ge, Interval

from jaxrl.agents.dynamics import Dynamics, DynamicsConfig, DynamicsHparams, DynamicsState, dynamics, single_steps
from jaxrl.agents.wrapping import around
from jaxrl.arguments import ArgumentError, check_config, check_kind
from jaxrl.types import Agent, Array, Box, Discrete, Hparams, Input, Metrics, PyTree, Sample, StateT, Transition
from jaxrl.xla.threefry import drawn_once


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class DynaHparams(DynamicsHparams):
    """Hyperparameters of Dyna's model. With those of an agent as second base, they are those of `dyna(agent)`."""

    imagine_after: Annotated[float, Ge(0)] = 500.0
    """Environment steps before imagined transitions count; until then the agent learns from real ones alone."""


@dataclasses.dataclass(frozen=True)
class DynaConfig(DynamicsConfig):
    """Static configuration of Dyna."""

    imagined_steps: Annotated[int, Interval(gt=0, lt=2**16)] = 1
    """k, steps of every imagined rollout."""


class DynaState(NamedTuple, Generic[StateT]):
    """The states of the agent inside and of the model, and the hyperparameters."""

    agent: StateT
    model: DynamicsState
    hparams: Any


def dyna(
    agent: Agent[StateT], observation: PyTree, action_space: Discrete | Box, config: DynaConfig
) -> Agent[DynaState[StateT]]:
    """An agent that also learns from transitions that a learned model imagines.

        agent = dyna(sac(SquashedPolicy(space), Critic(space), space), example_of(env, env_params), space, DynaConfig())

    Args:
        agent: an agent for a `Sample` of single transitions, without a memory or extras, such as SAC or DQN.
        observation: an example, such as `jaxrl.networks.example_of(env, env_params)`, one vector of numbers.
        action_space: of the environment.
        config: the sizes.

    Returns:
        An agent for a `Sample` of single transitions, whose hyperparameters are a subclass of `DynaHparams` and of the
        agent's own. Its `update` returns the errors of the real transitions; it adds the metrics `model_loss` and
        `model_nll` (−log p of a transition in nats).

    Raises:
        ArgumentError: not an agent; observations are no vector of floats, or a size is out of bounds; from `init` and
            `act`, other observations or actions, or an agent with a memory or extras; from `update`, a batch is no
            multiple of the ensemble, holds sequences, or says which actions are legal.
    """
    check_kind("agent", agent, Agent)
    check_config(config, DynaConfig)
    model = dynamics(observation, action_space, config)

    def init(key: Array, hparams: Hparams, observation: PyTree) -> DynaState:
        check_kind("hparams", hparams, DynaHparams)
        agent_key, model_key = jax.random.split(key)
        inner = agent.init(agent_key, hparams, observation)
        if jax.tree.leaves(agent.memory(inner, 1)):
            raise ArgumentError("agent", "must have no memory, since the model predicts single steps", agent, got="")
        return DynaState(inner, model.init(model_key, hparams, observation), hparams)

    def act(state: DynaState, given: Input, key: Array, env_steps: Array) -> Any:
        act_key, weights_key = jax.random.split(drawn_once(key))
        decision = agent.act(state.agent, given, act_key, env_steps)
        _check_actions(decision.action, action_space)
        weights = model.weigh(weights_key, len(decision.action))
        if jax.tree.leaves(decision.extras):
            raise ArgumentError("agent", "must store no extras, which the model cannot imagine", agent, got="")
        return decision._replace(extras=weights)

    return around(
        agent,
        lambda state: state.agent,
        init=init,
        update=partial(_update, agent, model, config),
        act=act,
        prepare=lambda state, transitions: transitions.extras,
    )


def _check_actions(actions: Array, space: Discrete | Box) -> None:
    """Raises `ArgumentError` if an agent's actions `[N, ...]` are not of the kind that the model was made for."""
    shape, kind = ((), jnp.integer) if isinstance(space, Discrete) else (space.low.shape, jnp.floating)
    if actions.shape[1:] != shape or not jnp.issubdtype(actions.dtype, kind):
        got = f"{space} for {actions.dtype}{list(actions.shape)}"
        raise ArgumentError("action_space", "must be that of the agent's actions", space, got)


def _update(
    agent: Agent,
    model: Dynamics,
    config: DynaConfig,
    state: DynaState,
    batch: Sample,
    key: Array,
    env_steps: Array,
    constants: PyTree = (),
) -> tuple[DynaState, Metrics, PyTree]:
    real = single_steps(batch)
    imagine_key, update_key = jax.random.split(drawn_once(key))
    if batch.transitions.legal is not None:
        raise ArgumentError(
            "env", "must allow all actions in every state, since the model predicts no others", got="one that does not"
        )
    learned, metrics = model.update(state.model, state.hparams, real, real.extras)
    real = real._replace(extras=())

    def act(observations: Array, key: Array) -> Array:
        return agent.act(state.agent, Input(observations), key, env_steps).action

    imagined, counts = imagine(model, learned, act, real, imagine_key, config.imagined_steps)
    counts = jnp.where(env_steps >= state.hparams.imagine_after, counts, 0.0)
    both = jax.tree.map(lambda *x: jnp.concatenate(x)[None], real, imagined)
    sample = Sample(both, jnp.concatenate([batch.weights, counts]))
    inner, own_metrics, errors = agent.update(state.agent, sample, update_key, env_steps, constants)
    number = len(real.reward)
    return DynaState(inner, learned, state.hparams), own_metrics | metrics, jax.tree.map(lambda x: x[:number], errors)


def imagine(
    model: Dynamics, state: DynamicsState, act: Any, real: Transition, key: Array, steps: int
) -> tuple[Transition, Array]:
    """Rollouts of a model from the states of transitions `[B]`, as transitions `[k B]`.

    Every network continues a share of the rollouts, drawn anew in each step. Terminations are drawn. Where an
    episode ends is known vaguely while few have ended: at no state may an end be more probable than not, and rollouts
    that then never ended would bootstrap from values of states that do not exist.

    Args:
        model, state: the model.
        act: `(observations [B, F], key) -> actions [B, ...]`.
        real: transitions from whose first observations to begin. A box's actions are clipped to it.
        key: a random key.
        steps: k.

    Returns:
        The transitions, and their weights, float32 `[k B]`: 0 after a termination.

    Raises:
        ArgumentError: B is no multiple of the ensemble.
    """
    size, number = model.ensemble.size, len(real.reward)
    model.check_batch(number)

    def step(loop: tuple[Array, Array], key: Array) -> tuple[tuple[Array, Array], tuple[Transition, Array]]:
        observations, alive = loop
        act_key, shift_key, model_key, end_key = jax.random.split(key, 4)
        actions = act(observations, act_key)
        taken = jnp.clip(actions, *model.space) if isinstance(model.space, Box) else actions
        # A shift of the rows by whole shares gives each network another one.
        shift = jax.random.randint(shift_key, (), 0, size) * (number // size)
        given = jax.tree.map(lambda x: jnp.roll(x, shift, 0).reshape(size, -1, *x.shape[1:]), (observations, taken))
        following = model.sample(state, given[0], given[1], model_key)
        after, reward, continues = (jnp.roll(x.reshape(number, *x.shape[2:]), -shift, 0) for x in following)
        terminated = jax.random.uniform(end_key, (number,), jnp.float32) >= continues
        never = jnp.zeros_like(terminated)
        transition = real._replace(
            observation=observations, action=actions, reward=reward, terminated=terminated, truncated=never,
            next_observation=after,
        )  # fmt: skip
        return (after, alive & ~terminated), (transition, alive.astype(jnp.float32))

    start = real.observation, jnp.ones(number, bool)
    _, imagined = jax.lax.scan(step, start, jax.random.split(key, steps))
    return jax.tree.map(lambda x: x.reshape(steps * number, *x.shape[2:]), imagined)
