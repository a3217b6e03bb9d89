"""Replay memories: rings of packed transitions, as pure functions."""

from jaxrl.replay.packing import Packing, packing
from jaxrl.replay.ring import allocate, sample, write

__all__ = ["Packing", "allocate", "packing", "sample", "write"]
