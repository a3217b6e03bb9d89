"""Hyperparameters as traced arrays."""

import dataclasses
from typing import get_type_hints

import jax
import jax.numpy as jnp
import numpy as np

from jaxrl.types import Hparams

KINDS = {float: jnp.float32, int: jnp.int32, bool: jnp.bool_}


def traced(hparams: Hparams) -> Hparams:
    """A record of hyperparameters with every field an array of the kind it declares: float32, int32 or bool.

    So `1` and `1.0` mean the same program, and so does any other value.
    """
    kinds = get_type_hints(type(hparams))
    fields = {field.name: getattr(hparams, field.name) for field in dataclasses.fields(hparams)}
    return dataclasses.replace(hparams, **{name: jnp.asarray(x, KINDS[kinds[name]]) for name, x in fields.items()})


def repeat(hparams: Hparams, agents: int) -> Hparams:
    """The same hyperparameters for each of `agents` agents: leaves `[A]`."""
    return jax.tree.map(lambda x: np.full(agents, x), hparams)
