"""What an agent needs of a network."""

from typing import Any, Protocol

from jaxrl.arguments import ArgumentError
from jaxrl.types import Array, PyTree


class Network(Protocol):
    """What an agent needs of a network; every flax linen module is one."""

    def init(self, key: Array, observations: PyTree, /) -> PyTree:
        """Parameters, from example observations `[N, *observation]`."""

    def apply(self, params: PyTree, observations: PyTree, /, *, rngs: dict[str, Array] | None = None) -> Any:
        """Outputs `[N, ...]` of observations `[N, *observation]`; `rngs` are the keys of named random streams."""


def check_one_array(observation: PyTree) -> None:
    """Refuses observations of several parts, for which there is no usual network.

    Raises:
        ArgumentError: the observation is not one array.
    """
    if not hasattr(observation, "shape"):
        raise ArgumentError(
            f"no default network for observations that are a {type(observation).__name__}; pass your own"
        )
