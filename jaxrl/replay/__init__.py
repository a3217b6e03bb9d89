"""Replay memories: rings of packed transitions, as pure functions."""

from jaxrl.replay.packing import Packing, packing
from jaxrl.replay.ring import Place, allocate, gather, num_slots, write
from jaxrl.replay.sampling import PrioritisedHparams, Sampler, prioritised, uniform

__all__ = [
    "Packing",
    "Place",
    "PrioritisedHparams",
    "Sampler",
    "allocate",
    "gather",
    "num_slots",
    "packing",
    "prioritised",
    "uniform",
    "write",
]
