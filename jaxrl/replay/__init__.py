"""Replay memories: rings of packed transitions, as pure functions."""

from jaxrl.replay.packing import Packing, packing
from jaxrl.replay.ring import allocate, num_slots, sample, write

__all__ = ["Packing", "allocate", "num_slots", "packing", "sample", "write"]
