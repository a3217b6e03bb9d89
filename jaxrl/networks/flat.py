"""Networks whose parameters are one vector."""

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrl.networks.network import Network, check_has_no_state
from jaxrl.types import Array, PyTree


@dataclasses.dataclass(frozen=True)
class Flat:
    """The same network with its parameters in one vector `[P]`.

    An optimizer then updates one array instead of a dozen, which takes a CPU a third of the time: in small networks the
    number of kernels dominates a gradient step, not their size.
    """

    network: Network

    def init(self, key: Array, observations: PyTree) -> Array:
        """Parameters `[P]`, from example observations `[N, *observation]`."""
        params = self.network.init(key, observations)
        check_has_no_state(params)
        return jnp.concatenate([jnp.ravel(x) for x in jax.tree.leaves(params)])

    def apply(self, params: Array, observations: PyTree, *, rngs: dict[str, Array] | None = None) -> Any:
        """Outputs of observations `[N, *observation]`."""
        return self.network.apply(self.unravel(params, observations), observations, rngs=rngs)

    def unravel(self, params: Array, observations: PyTree) -> PyTree:
        """The network's own parameters, from the vector and example observations `[N, *observation]`."""
        shapes, tree = jax.tree.flatten(jax.eval_shape(self.network.init, jax.random.key(0), observations))
        parts = jnp.split(params, np.cumsum([math.prod(x.shape) for x in shapes])[:-1])
        return jax.tree.unflatten(tree, [part.reshape(x.shape) for part, x in zip(parts, shapes, strict=True)])
