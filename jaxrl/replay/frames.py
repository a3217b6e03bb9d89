"""A replay of single frames, for observations that are stacks of the last frames: each frame is stored once.

A row has the newest frame of each observation. A stack is put together from consecutive rows when it is sampled, and so
is that of the next observation. A stack of 4 would otherwise be stored eight times.

As in gymnasium's FrameStackObservation, the first frame of an episode stands for those before it.
"""

import jax
import jax.numpy as jnp

from jaxrl.arguments import ArgumentError
from jaxrl.replay.buffer import Buffer, BufferState, packing, ring_buffer
from jaxrl.replay.sampling import Sampler
from jaxrl.types import Array, Sample, Transition, select_rows


def rows_read(n_step: int, frame_stack: int) -> int:
    """Consecutive rows that a sample of `n_step` steps needs: the older frames of the first, and one frame more."""
    return n_step if frame_stack == 1 else frame_stack - 1 + n_step + 1


def frame_buffer(
    example: Transition, sampler: Sampler, slots: int, num_envs: int, n_step: int, frame_stack: int
) -> Buffer:
    """A ring of `slots` rows of single frames. Sampled transitions have whole stacks, `[n, B, k, *frame]`.

    The frame after the last step of an episode is not stored. After a termination nothing depends on it, and
    `next_observation` repeats the newest frame. Sequences with a truncation have a weight of 0: nothing is learned from
    them, which leaves the targets of all others as they are. The largest weight of the others is 1. The newest row,
    whose next frame is yet to come, is no part of a sequence, nor are the first `k - 1` rows of a run.

    Args:
        example: the shapes of a transition without batch axes, whose observations are `[k, *frame]`, oldest first.
        sampler: made for sequences of `rows_read(n_step, frame_stack)` rows.
        slots, num_envs, n_step: rows, transitions in a row, and length of the sampled sequences.
        frame_stack: k, at least 2.

    Raises:
        ArgumentError: the observations are no such stacks.
    """
    shape = getattr(example.observation, "shape", None)
    if shape is None or len(shape) == 0 or shape[0] != frame_stack:
        got = f"observations {jax.tree.map(lambda x: list(x.shape), example.observation)}"
        raise ArgumentError("frame_stack", f"must be the first axis of observations, {frame_stack}", None, got=got)
    layout = packing(jax.eval_shape(lambda x: _with_newest(x, axis=0), example))
    ring = ring_buffer(layout, sampler, slots, num_envs, rows_read(n_step, frame_stack))

    def add(state: BufferState, transitions: Transition, rows_written: Array) -> BufferState:
        return ring.add(state, _with_newest(transitions, axis=2), rows_written)

    def sample(state: BufferState, key: Array, rows_written: Array, batch_size: int) -> tuple[Array, Sample]:
        index, (rows, weights) = ring.sample(state, key, rows_written, batch_size)
        transitions = with_stacks(rows, frame_stack)
        weights = jnp.where(transitions.truncated.any(0), 0.0, weights)
        return index, Sample(transitions, weights / jnp.maximum(weights.max(), jnp.finfo(weights.dtype).tiny))

    def cut(state: BufferState, rows_written: Array) -> BufferState:
        newest = 0 if state.agent is None else state.agent, (rows_written - 1) % slots
        row = layout.unpack(state.rings[newest])
        row = layout.pack(row._replace(truncated=~row.terminated))
        return state._replace(rings=state.rings.at[newest].set(row))

    return Buffer(ring.init, add, sample, ring.set_priorities, cut)


def _with_newest(transitions: Transition, axis: int) -> Transition:
    """Transitions with the newest frame of each observation alone, and without next observations."""
    newest = jnp.take(transitions.observation, -1, axis)
    return transitions._replace(observation=newest, next_observation=())


def with_stacks(rows: Transition, frame_stack: int) -> Transition:
    """Transitions `[n, B]` with stacks, from the `rows_read(n, k)` rows `[n + k, B]` around them."""
    frames, done = rows.observation, rows.terminated | rows.truncated

    def back(x: Array, steps: int) -> Array:
        """`x` so many steps before each transition, `[n, B, ...]`."""
        first = frame_stack - 1 - steps
        return x[first : first + len(x) - frame_stack]

    stack, same_episode = [back(frames, 0)], jnp.ones_like(back(done, 0))
    for steps in range(1, frame_stack):
        same_episode &= ~back(done, steps)
        stack.append(select_rows(same_episode, back(frames, steps), stack[-1]))
    following = select_rows(back(done, 0), stack[0], back(frames, -1))
    observation = jnp.stack(stack[::-1], axis=2)
    next_observation = jnp.concatenate([observation[:, :, 1:], following[:, :, None]], axis=2)
    transitions: Transition = jax.tree.map(lambda x: back(x, 0), rows)
    return transitions._replace(observation=observation, next_observation=next_observation)
