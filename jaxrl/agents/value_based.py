"""What DQN and PQN share: the hyperparameters of a network that learns Q, and acts ε-greedily on it."""

import dataclasses
from typing import Annotated

import jax
import jax.numpy as jnp
from annotated_types import Ge, Gt, Interval

from jaxrl import ops
from jaxrl.arguments import ArgumentError
from jaxrl.networks import Network
from jaxrl.types import Array, PyTree


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class ValueBasedHparams:
    """What may be swept: traced values that live in the state, so that no change of them recompiles."""

    learning_rate: Annotated[float, Interval(gt=0, lt=1e30)] = 5e-4
    """The optimizer's step size, > 0."""
    discount: Annotated[float, Interval(ge=0, le=1)] = 0.99
    """γ per step, in [0, 1]."""
    epsilon_start: Annotated[float, Interval(ge=0, le=1)] = 1.0
    """Probability of a random action at the first step, in [0, 1]."""
    epsilon_end: Annotated[float, Interval(ge=0, le=1)] = 0.02
    """Probability of a random action once the decay is over, in [0, 1]."""
    epsilon_decay_steps: Annotated[float, Ge(0)] = 750_000
    """Length of the linear decay from start to end, in environment steps."""
    epsilon_eval: Annotated[float, Interval(ge=0, le=1)] = 0.001
    """Probability of a random action when evaluating, in [0, 1]."""
    max_grad_norm: Annotated[float, Gt(0)] = 10.0
    """Gradients with a larger global norm are scaled down to it, > 0."""


def epsilon_at(hparams: ValueBasedHparams, env_steps: Array) -> Array:
    """Exploration after `env_steps` environment steps."""
    return ops.linear_schedule(env_steps, hparams.epsilon_start, hparams.epsilon_end, hparams.epsilon_decay_steps)


def check_outputs(network: Network, params: PyTree, observation: PyTree, shape: tuple[int, ...]) -> None:
    """Refuses a network that does not give numbers of `shape` for each action, `[N, num_actions, *shape]`.

    Raises:
        ArgumentError: it gives something else.
    """
    two = jax.tree.map(lambda x: jnp.stack([x, x]), observation)
    given = jax.eval_shape(network.apply, params, two)
    found = getattr(given, "shape", None)
    if found is None or len(found) != 2 + len(shape) or found[0] != 2 or found[2:] != shape:
        expected = ", ".join(["N", "num_actions", *map(str, shape)])
        raise ArgumentError(
            "network",
            f"must give [{expected}]",
            found or type(given).__name__,
            got=f"{found or type(given).__name__} for N = 2",
        )
