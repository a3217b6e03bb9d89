"""What SAC and TD3 share: two critics, the start with random actions, and hyperparameters.

The smaller one of two critics that were initialised differently overestimates the value of the best action less
(Fujimoto, van Hoof & Meger 2018, https://arxiv.org/abs/1802.09477, section 4.2).
"""

import dataclasses
from typing import Annotated, Any

import jax
import jax.numpy as jnp
from annotated_types import Ge, Interval

from jaxrl.agents.dqn import n_step
from jaxrl.arguments import ArgumentError, check_kind
from jaxrl.networks.network import Network, initial_params, output_shapes
from jaxrl.replay import PrioritisedHparams
from jaxrl.types import Array, Box, PyTree, Sample, Transition

Critics = tuple[PyTree, PyTree]
"""The parameters of two critics."""


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class ContinuousHparams(PrioritisedHparams):
    """Hyperparameters of agents that learn continuous actions; a uniform replay ignores those of a prioritised one."""

    learning_rate: Annotated[float, Interval(gt=0, lt=1e30)] = 3e-4
    """Learning rate of the policy and of the critics, > 0."""
    learning_rate_decay_steps: Annotated[float, Ge(0)] = 0.0
    """Environment steps over which learning rates decay linearly to zero; 0 keeps them constant."""
    discount: Annotated[float, Interval(ge=0, le=1)] = 0.99
    """Discount factor γ per step, in [0, 1]."""
    tau: Annotated[float, Interval(gt=0, le=1)] = 0.005
    """Polyak coefficient τ of the target networks, in (0, 1]; 1 copies the online networks."""
    random_steps: Annotated[float, Ge(0)] = 5_000.0
    """Environment steps, from the first of the warm-up, in which actions are uniformly random."""
    reward_scale: Annotated[float, Interval(gt=0, lt=1e30)] = 1.0
    """What rewards are multiplied by before they are learned, > 0."""


def check_box(action_space: Any) -> None:
    """Raises `ArgumentError` if actions are not continuous."""
    check_kind("action_space", action_space, Box, ", since this agent learns continuous actions")


def init_critics(critic: Network, key: Array, observation: PyTree, action_space: Box) -> Critics:
    """The parameters of two critics.

    Raises:
        ArgumentError: the network does not map `(observations, actions)` to `[N]`.
    """
    pair = observation, jnp.zeros(action_space.low.shape, jnp.float32)
    first, second = (initial_params(critic, each, pair) for each in jax.random.split(key))
    found = output_shapes(critic, first, pair)
    if getattr(found, "shape", None) != (2,):
        raise ArgumentError("critic", "must return values [N], here [2]", found)
    return first, second


def critic_values(critic: Network, critics: Critics, observations: PyTree, actions: Array) -> Array:
    """Q(s, a) of both critics, `[2, B]`. One after the other, since a CPU is slow at batches of matrix products."""
    return jnp.stack([critic.apply(params, (observations, actions)) for params in critics])


def explore(key: Array, actions: Array, action_space: Box, is_random: Array) -> Array:
    """Actions `[N, D]`, or uniformly random ones in the box."""
    anywhere = jax.random.uniform(key, actions.shape, jnp.float32, action_space.low, action_space.high)
    return jnp.where(is_random, anywhere, actions)


def scaled_n_step(batch: Sample, hparams: ContinuousHparams) -> tuple[Transition, Array, Array, Transition]:
    """`jaxrl.agents.dqn.n_step` of a sample, with scaled rewards."""
    first, reward, discount_t, last = n_step(batch.transitions, hparams.discount)
    return first, hparams.reward_scale * reward, discount_t, last
