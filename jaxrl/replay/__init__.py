"""Replay buffers: rings of packed transitions, as pure functions."""

from jaxrl.replay.buffer import Buffer, BufferState, Packing, num_slots, packing, ring_buffer
from jaxrl.replay.datasets import Dataset, load_dataset, sample_dataset, save_dataset
from jaxrl.replay.frames import frame_buffer, rows_read
from jaxrl.replay.sampling import PrioritisedHparams, Sampler, prioritised, uniform
