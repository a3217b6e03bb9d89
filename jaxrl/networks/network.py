"""What an agent needs of a network."""

from collections.abc import Mapping
from typing import Any, Protocol

import jax
import jax.numpy as jnp

from jaxrl.arguments import ArgumentError, check_is_no_class
from jaxrl.precision import single
from jaxrl.types import Array, PyTree


class Network(Protocol):
    """What an agent needs of a network; every flax linen module is one whose only variables are parameters.

    Modules of flax nnx and of equinox become one by `from_nnx` and `from_equinox`. There is no place for other state,
    such as the running means of a BatchNorm, nor a random stream for Dropout: of random streams DQN has "noise", and
    the other agents none.
    """

    def init(self, key: Array, observations: PyTree, /) -> PyTree:
        """Parameters, from example observations `[N, *observation]`."""

    def apply(self, params: PyTree, observations: PyTree, /, *, rngs: dict[str, Array] | None = None) -> Any:
        """Outputs `[N, ...]` of observations `[N, *observation]`; `rngs` are the keys of named random streams."""


def check_network(network: Any) -> None:
    """Refuses what is not a `Network`.

    Raises:
        ArgumentError: it is something else.
    """
    check_is_no_class("network", network)
    if not (callable(getattr(network, "init", None)) and callable(getattr(network, "apply", None))):
        raise ArgumentError(
            "network",
            "must have init and apply, as modules of flax linen have (for others see jaxrl.networks.from_nnx and "
            "from_equinox)",
            type(network).__name__,
        )


def initial_params(network: Network, key: Array, observation: PyTree) -> PyTree:
    """A network's parameters, never of 64 bits, from one observation without a batch axis.

    Raises:
        ArgumentError: there are other variables among them.
    """
    params = network.init(key, jax.tree.map(lambda x: x[None], observation))
    check_has_no_state(params)
    return single(params)


def check_has_no_state(variables: PyTree) -> None:
    """Refuses variables of a flax linen module that are not parameters: an optimizer would train them all.

    Raises:
        ArgumentError: there are some.
    """
    if isinstance(variables, Mapping) and "params" in variables and len(variables) > 1:
        others = ", ".join(name for name in variables if name != "params")
        raise ArgumentError("network", "must have no variables but parameters (a BatchNorm has others)", others)


def check_one_array(observation: PyTree) -> None:
    """Refuses observations of several parts, for which there is no usual network.

    Raises:
        ArgumentError: the observation is not one array.
    """
    if not hasattr(observation, "shape"):
        raise ArgumentError(
            "observation",
            "must be one array for a default network; pass your own network",
            observation,
            got=f"a {type(observation).__name__}",
        )


def example_of(env: Any, params: Any) -> Any:
    """What a default network is built for: the environment's space of numbered states, or its observation's shape."""
    observation, _ = jax.eval_shape(env.reset, jax.random.key(0), params)
    space = env.observation_space(params) if hasattr(env, "observation_space") else None
    numbered = getattr(observation, "shape", None) == () and jnp.issubdtype(observation.dtype, jnp.integer)
    return space if numbered and num_states_of(space) else observation


def num_states_of(example: Any) -> int:
    """How many states a space numbers, gymnax's `Discrete` or anybody's who follows it; 0 if it is something else.

    Raises:
        ArgumentError: some of the numbers are negative.
    """
    if not hasattr(example, "n") or getattr(example, "shape", None) != ():
        return 0
    first = int(getattr(example, "start", 0))
    if first < 0:
        raise ArgumentError("observation", "must be a space of numbers from 0 on", example)
    return first + int(example.n)


def as_features(observations: Array, num_states: int) -> Array:
    """Observations `[N, ...]` as a usual network takes them: numbered states one-hot, bytes of an image in [0, 1]."""
    if num_states:
        return jax.nn.one_hot(observations, num_states, dtype=jnp.float32)
    return observations.astype(jnp.float32) / 255 if observations.dtype == jnp.uint8 else observations
