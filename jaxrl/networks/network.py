"""The interface of networks, and its checks."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

import jax
import jax.numpy as jnp

from jaxrl.arguments import ArgumentError, check_count, check_is_no_class
from jaxrl.envs import observation_of
from jaxrl.precision import single
from jaxrl.types import Array, PyTree

T = TypeVar("T")


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


def output_shapes(network: Network, params: PyTree, observation: PyTree) -> Any:
    """The shapes of a network's outputs for two observations like this one, which has no batch axis."""
    return jax.eval_shape(network.apply, params, jax.tree.map(lambda x: jnp.stack([x, x]), observation))


def check_output_kind(name: str, network: Network, params: PyTree, observation: PyTree, kind: type[T]) -> T:
    """Returns the shapes of a network's outputs; raises `ArgumentError` if they are not of a kind."""
    found = output_shapes(network, params, observation)
    if not isinstance(found, kind):
        raise ArgumentError(name, f"must return a {kind.__name__}", found, got=type(found).__name__)
    return found


def check_has_no_state(variables: PyTree) -> None:
    """Raises `ArgumentError` if some variables are not parameters, since an optimizer would train them all."""
    if isinstance(variables, Mapping) and "params" in variables and len(variables) > 1:
        others = ", ".join(name for name in variables if name != "params")
        raise ArgumentError("network", "must have no variables but parameters (a BatchNorm has others)", others, others)


def check_hidden_sizes(sizes: Any) -> tuple[int, ...]:
    """Returns the units of each dense layer, whole numbers of at least 1.

    Raises:
        ArgumentError: they are something else.
    """
    if isinstance(sizes, str) or not isinstance(sizes, Iterable):
        raise ArgumentError("hidden_sizes", "must be a tuple of whole numbers", sizes)
    return tuple(check_count("hidden_sizes", size) for size in sizes)


def check_observation(observation: PyTree) -> None:
    """Raises `ArgumentError` if an observation is not an array or a tree of arrays with numbers.

    Default networks need those.
    """
    leaves = jax.tree.leaves(observation)
    others = [x for x in leaves if not isinstance(getattr(x, "shape", None), tuple)]
    if others or not leaves:
        got = f"a {type((others or [observation])[0]).__name__}" + ("" if others else " without arrays")
        rule = "must be an array, or a tree of arrays, as from jaxrl.networks.example_of(env, params)"
        raise ArgumentError("observation", rule, observation, got)
    if not any(math.prod(x.shape) for x in leaves):
        shapes = ", ".join(str(list(x.shape)) for x in leaves)
        raise ArgumentError("observation", "must have at least one number", observation, f"the shape {shapes}")


def example_of(env: Any, params: Any) -> PyTree:
    """The `observation` argument of default networks, for an environment and its parameters.

        network = q_network(example_of(env, params), env.num_actions)

    It is the shape and dtype of an observation. In place of each leaf that is a number of a state, it has that leaf's
    space, if the environment has an `observation_space(params)` that says how many states there are.
    """
    space = env.observation_space(params) if hasattr(env, "observation_space") else None
    return _with_spaces(observation_of(env, params), space)


def _with_spaces(observation: PyTree, space: Any) -> PyTree:
    """An observation's shapes, with the spaces of its leaves in place of those that are numbers of states."""
    if jax.tree_util.all_leaves([observation]):
        is_whole = getattr(observation, "shape", None) == () and jnp.issubdtype(observation.dtype, jnp.integer)
        return space if is_whole and _num_states(space) else observation
    parts, tree = jax.tree_util.tree_flatten_with_path(observation, is_leaf=lambda x: x is not observation)
    spaces = [_part(space, path[0], i) for i, (path, _) in enumerate(parts)]
    return jax.tree.unflatten(tree, [_with_spaces(x, own) for (_, x), own in zip(parts, spaces, strict=True)])


def _part(space: Any, key: Any, index: int) -> Any:
    """The part of gymnax's or gymnasium's `Dict` by its key, or of a `Tuple` by its index; None if there is none."""
    spaces = getattr(space, "spaces", None)
    if isinstance(spaces, Mapping):
        return spaces.get(getattr(key, "key", getattr(key, "name", None)))
    return spaces[index] if isinstance(spaces, Sequence) and index < len(spaces) else None


def num_states_of(example: PyTree) -> int | tuple[int, ...]:
    """The number of states of a gymnax-like `Discrete` space, and 0 for an array; of a tree, that of each leaf.

    Raises `ArgumentError` if a space has negative numbers.
    """
    counts = tuple(_num_states(leaf) for leaf in jax.tree.leaves(example))
    return counts[0] if jax.tree_util.all_leaves([example]) else counts


def _num_states(space: Any) -> int:
    if not hasattr(space, "n") or getattr(space, "shape", None) != ():
        return 0
    first = int(getattr(space, "start", 0))
    if first < 0:
        raise ArgumentError("observation", "must be a space without negative numbers", space)
    return first + int(space.n)


def features_of(observations: PyTree, num_states: int | Sequence[int]) -> list[Array]:
    """Preprocesses each leaf of observations `[N, ...]`: states become one-hot, uint8 images numbers in [0, 1].

    Args:
        observations: an array, or a tree of them.
        num_states: as from `num_states_of`. One number holds for every leaf.
    """
    leaves = jax.tree.leaves(observations)
    counts = [num_states] * len(leaves) if isinstance(num_states, int) else num_states
    if len(counts) != len(leaves):
        rule = f"must have {len(counts)} leaves, like those that the network was made for"
        raise ArgumentError("observations", rule, len(leaves))
    return [_features(x, n) for x, n in zip(leaves, counts, strict=True)]


def _features(x: Array, num_states: int) -> Array:
    if num_states:
        return jax.nn.one_hot(x, num_states, dtype=jnp.float32)
    return x.astype(jnp.float32) / 255 if x.dtype == jnp.uint8 else x


def as_features(observations: PyTree, num_states: int | Sequence[int], batch_axes: int = 1) -> Array:
    """Preprocesses observations `[N, ...]` as `features_of` does. The leaves of a tree are joined: `[N, features]`.

    `batch_axes` is how many axes precede those of an observation: 1, `N`, or 2 in sequences `[L, B, ...]`.
    """
    parts = features_of(observations, num_states)
    if len(parts) == 1:
        return parts[0]
    flat = [x.reshape(*x.shape[:batch_axes], math.prod(x.shape[batch_axes:])).astype(jnp.float32) for x in parts]
    return jnp.concatenate(flat, axis=-1)
