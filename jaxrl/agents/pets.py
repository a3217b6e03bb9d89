"""PETS: probabilistic ensembles with trajectory sampling (Chua et al. 2018, https://arxiv.org/abs/1805.12114).

A model of the environment is learned from all that was seen, and every action is planned anew: the cross-entropy method
searches for the actions whose return is largest in expectation over the model. The expectation is a mean over
particles, which change networks in every step (TS1), in turn rather than by chance: all networks take part equally.
"""

import dataclasses
from functools import partial
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
from annotated_types import Ge, Interval

from jaxrl.agents.dynamics import Dynamics, DynamicsConfig, DynamicsHparams, DynamicsState, dynamics, single_steps
from jaxrl.arguments import check_box, check_config, check_kind
from jaxrl.planning import CEMConfig, cem, middle, shift
from jaxrl.planning.shooting import check_cem_config
from jaxrl.types import Agent, Array, Box, Decision, Input, Metrics, PyTree, Sample
from jaxrl.xla.threefry import drawn_once


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class PETSHparams(DynamicsHparams):
    """Hyperparameters of PETS."""

    discount: Annotated[float, Interval(ge=0, le=1)] = 1.0
    """Discount factor γ of a plan's rewards, in [0, 1]."""
    random_steps: Annotated[float, Ge(0)] = 200.0
    """Environment steps with uniformly random actions, before the first plan."""


@dataclasses.dataclass(frozen=True)
class PETSConfig(CEMConfig, DynamicsConfig):
    """Static configuration of PETS."""

    particles: Annotated[int, Interval(ge=1, lt=2**16)] = 1
    """Particles of each network for every sequence of actions."""


class PETSState(NamedTuple):
    """The state of the model, and the hyperparameters."""

    model: DynamicsState
    hparams: PETSHparams


class Particles(NamedTuple):
    """What the model has come to after some actions: observations `[E, P, F]`, and the probability of having got there
    without a termination, `[E, P]`."""

    observations: Array
    alive: Array


def pets(observation: PyTree, action_space: Box, config: PETSConfig) -> Agent[PETSState]:
    """Learns a model from a replay buffer, and plans each action with it.

    It remembers its plan, which begins the next one.

    Args:
        observation: an example, such as `jaxrl.networks.example_of(env, env_params)`, one vector of numbers.
        action_space: a box.
        config: the sizes.

    Returns:
        An agent for a `Sample` of single transitions, with hyperparameters `PETSHparams`. Its metrics are `model_loss`
        and `model_nll` (−log p of a transition in nats).

    Raises:
        ArgumentError: observations are no vector of floats, actions are discrete, or a size is out of bounds.
    """
    check_config(config, PETSConfig)
    check_cem_config(config)
    check_kind("action_space", action_space, Box, ", which the cross-entropy method needs")
    check_box("action_space", action_space)
    model = dynamics(observation, action_space, config)

    def init(key: Array, hparams: PETSHparams, observation: PyTree) -> PETSState:
        check_kind("hparams", hparams, PETSHparams)
        return PETSState(model.init(key, hparams, observation), hparams)

    def policy(state: PETSState, given: Input, key: Array) -> Decision:
        plan = partial(_plan, model, config, state)
        actions = jax.vmap(plan)(given.observation, given.memory, jax.random.split(key, len(given.observation)))
        return Decision(actions[:, 0], jax.vmap(shift)(actions))

    def act(state: PETSState, given: Input, key: Array, env_steps: Array) -> Decision:
        plan_key, random_key, weights_key = jax.random.split(drawn_once(key), 3)
        # Only one of the two is computed, but in a population on an accelerator, whose agents may differ, both.
        decision = jax.lax.cond(
            env_steps < state.hparams.random_steps,
            partial(_act_randomly, action_space, given, random_key),
            partial(policy, state, given, plan_key),
        )
        return decision._replace(extras=model.weigh(weights_key, len(given.observation)))

    def update(
        state: PETSState, batch: Sample, key: Array, env_steps: Array, constants: PyTree = ()
    ) -> tuple[PETSState, Metrics, PyTree]:
        del key, env_steps, constants
        steps = single_steps(batch)
        learned, metrics = model.update(state.model, state.hparams, steps, steps.extras)
        return PETSState(learned, state.hparams), metrics, ()

    return Agent(init, act, policy, update, memory=partial(_first_plans, action_space, config.horizon))


def _act_randomly(action_space: Box, given: Input, key: Array) -> Decision:
    """Uniformly random actions; the plans stay."""
    low, high = action_space
    return Decision(jax.random.uniform(key, (len(given.observation), *low.shape), jnp.float32, low, high), given.memory)


def _first_plans(action_space: Box, horizon: int, state: Any, num_envs: int) -> Array:
    del state
    return jnp.tile(middle(action_space, horizon), (num_envs, 1, 1))


def _plan(
    model: Dynamics, config: PETSConfig, state: PETSState, observation: Array, actions: Array, key: Array
) -> Array:
    """The planned actions `[H, D]` of one environment, from its last plan `[H, D]`."""
    shape = model.ensemble.size, config.particles

    def step(at: Particles, action: Array, key: Array) -> tuple[Particles, Array]:
        at = jax.tree.map(lambda x: jnp.roll(x, 1, axis=0), at)  # on to the next network
        all_same = jnp.broadcast_to(action, (*shape, *action.shape))
        following = model.sample(state.model, at.observations, all_same, key)
        reward = (at.alive * following.reward).mean()
        return Particles(following.next_observation, at.alive * following.continues), reward

    first = Particles(jnp.broadcast_to(observation, (*shape, *observation.shape)), jnp.ones(shape))
    assert isinstance(model.space, Box)
    return cem(step, first, key, actions, model.space, config, state.hparams.discount).actions
