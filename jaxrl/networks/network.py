"""The interface of networks, and its checks."""

from collections.abc import Mapping
from typing import Any, Protocol

import jax
import jax.numpy as jnp

from jaxrl.arguments import ArgumentError, check_is_no_class
from jaxrl.envs import observation_of
from jaxrl.precision import single
from jaxrl.types import Array, PyTree


class Network(Protocol):
    """A function with parameters, such as every flax linen module whose only variables are parameters.

    `from_nnx` and `from_equinox` adapt modules of flax nnx and equinox. Networks have no other state, such as the
    running means of a BatchNorm. The only random stream is "noise", in DQN.
    """

    def init(self, key: Array, observations: PyTree, /) -> PyTree:
        """Parameters, from example observations `[N, *observation]`."""

    def apply(self, params: PyTree, observations: PyTree, /, *, rngs: dict[str, Array] | None = None) -> Any:
        """Outputs `[N, ...]` for observations `[N, *observation]`; `rngs` holds the keys of named random streams."""


def check_network(network: Any) -> None:
    """Raises `ArgumentError` if an argument is not a `Network`."""
    check_is_no_class("network", network)
    if not (callable(getattr(network, "init", None)) and callable(getattr(network, "apply", None))):
        rule = "must have init and apply, as flax linen modules do (see jaxrl.networks.from_nnx and from_equinox)"
        raise ArgumentError("network", rule, network, got=type(network).__name__)


def initial_params(network: Network, key: Array, observation: PyTree) -> PyTree:
    """A network's initial parameters, of at most 32 bits, from one observation without a batch axis.

    Raises `ArgumentError` if the network has other variables.
    """
    params = network.init(key, jax.tree.map(lambda x: x[None], observation))
    check_has_no_state(params)
    return single(params)


def check_has_no_state(variables: PyTree) -> None:
    """Raises `ArgumentError` if some variables are not parameters, since an optimizer would train them all."""
    if isinstance(variables, Mapping) and "params" in variables and len(variables) > 1:
        others = ", ".join(name for name in variables if name != "params")
        raise ArgumentError("network", "must have no variables but parameters (a BatchNorm has others)", others, others)


def check_one_array(observation: PyTree) -> None:
    """Raises `ArgumentError` if an observation is not one array, as default networks need."""
    if not hasattr(observation, "shape"):
        rule = "must be one array for a default network; pass your own network"
        raise ArgumentError("observation", rule, observation, got=f"a {type(observation).__name__}")


def example_of(env: Any, params: Any) -> Any:
    """The `observation` argument of default networks: the space of numbered states, or an observation's shape."""
    observation = observation_of(env, params)
    space = env.observation_space(params) if hasattr(env, "observation_space") else None
    numbered = getattr(observation, "shape", None) == () and jnp.issubdtype(observation.dtype, jnp.integer)
    return space if numbered and num_states_of(space) else observation


def num_states_of(example: Any) -> int:
    """The number of states of a gymnax-like `Discrete` space; 0 for anything else.

    Raises `ArgumentError` if the space has negative numbers.
    """
    if not hasattr(example, "n") or getattr(example, "shape", None) != ():
        return 0
    first = int(getattr(example, "start", 0))
    if first < 0:
        raise ArgumentError("observation", "must be a space without negative numbers", example)
    return first + int(example.n)


def as_features(observations: Array, num_states: int) -> Array:
    """Preprocesses observations `[N, ...]` for default networks: states become one-hot, uint8 images [0, 1]."""
    if num_states:
        return jax.nn.one_hot(observations, num_states, dtype=jnp.float32)
    return observations.astype(jnp.float32) / 255 if observations.dtype == jnp.uint8 else observations
