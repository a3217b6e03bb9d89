"""Learning from rollouts in minibatches, as PPO and PQN do."""

import dataclasses
from collections.abc import Callable
from typing import Annotated, Any, TypeVar

import jax
import jax.numpy as jnp
from annotated_types import Interval

from jaxrl.arguments import ArgumentError, check_kind
from jaxrl.types import Array, Metrics, PyTree, Transition, total
from jaxrl.xla.sharding import shard_batch
from jaxrl.xla.threefry import inline

StateT = TypeVar("StateT")


@dataclasses.dataclass(frozen=True)
class MinibatchConfig:
    """Epochs and minibatches, static."""

    num_epochs: Annotated[int, Interval(gt=0, lt=2**31)] = 4
    """Passes over each rollout."""
    num_minibatches: Annotated[int, Interval(gt=0, lt=2**31)] = 4
    """Gradient steps in one epoch. They must divide the transitions of a rollout, num-envs × rollout-length."""


def check_rollout(batch: Any) -> None:
    """Raises `ArgumentError` if a batch is not a rollout."""
    check_kind("batch", batch, Transition, ", a rollout, as in jaxrl.on_policy")


def check_minibatches(batch: Transition, num_minibatches: int) -> None:
    """Raises `ArgumentError` if minibatches hold one transition: its advantage, minus their mean, would be zero."""
    if (size := batch.reward.size) == num_minibatches:
        raise ArgumentError("num_minibatches", f"must be less than the {size} transitions of a rollout", size)


def learn_in_minibatches(
    step: Callable[[StateT, PyTree], tuple[StateT, Metrics]],
    state: StateT,
    data: PyTree,
    key: Array,
    config: MinibatchConfig,
    rows: str = "transitions",
) -> tuple[StateT, Metrics]:
    """Passes over a rollout `num_epochs` times, each time in another order.

    Args:
        step: `(state, minibatch) -> (state, metrics)`, one gradient step.
        state: the agent's state.
        data: the rollout, leaves `[rows, ...]`, usually `[T * N, ...]`.
        key: decides the orders.
        config: the numbers of epochs and minibatches.
        rows: what they are.

    Raises:
        ArgumentError: the minibatches do not divide the rollout.
    """
    size, number = len(jax.tree.leaves(data)[0]), config.num_minibatches
    if size % number:
        raise ArgumentError("num_minibatches", f"must divide the {size} {rows} of a rollout", number)

    def epoch(state: StateT, key: Array) -> tuple[StateT, Metrics]:
        order = shuffle(key, size).reshape(number, -1)

        def learn(state: StateT, rows: Array) -> tuple[StateT, Metrics]:
            return step(state, shard_batch(jax.tree.map(lambda x: x[rows], data), axis=0))

        return jax.lax.scan(learn, state, order)

    state, metrics = jax.lax.scan(epoch, state, jax.random.split(inline(key), config.num_epochs))
    return state, total(metrics)


def merge_time(tree: PyTree) -> PyTree:
    """Reshapes leaves `[T, N, ...]` to `[T * N, ...]`."""
    return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), tree)


def apply_in_chunks(apply: Callable[[PyTree], Array], observations: PyTree, chunk: int = 256) -> Array:
    """Applies a network to a whole rollout: leaves `[T, N, ...]` to `[T, N]`.

    Args:
        apply: maps observations, or a tree that contains them, `[M, ...]` to `[M]`.
        observations: of the rollout.
        chunk: batch size on a CPU. A convolution of thousands of boards does not fit a cache: 4096 boards at once took
            4 times as long as 256 at a time.
    """
    shape = jax.tree.leaves(observations)[0].shape[:2]
    merged, size = merge_time(observations), shape[0] * shape[1]
    whole = size - size % chunk

    def in_chunks(merged: PyTree) -> Array:
        chunks = jax.tree.map(lambda x: x[:whole].reshape(-1, chunk, *x.shape[1:]), merged)
        outputs = jax.lax.map(apply, chunks).reshape(whole)
        if whole == size:
            return outputs
        return jnp.concatenate([outputs, apply(jax.tree.map(lambda x: x[whole:], merged))])

    if size <= chunk:
        return apply(merged).reshape(shape)
    return jax.lax.platform_dependent(merged, cpu=in_chunks, default=apply).reshape(shape)


def shuffle(key: Array, size: int) -> Array:
    """A random permutation of `size` indices, int32 `[size]`.

    It sorts random words whose low bits are the indices. Sorting words and indices side by side takes a CPU four times
    as long. Ties of the random bits (20 of them for 4096 indices) put the lower index first; above 2^16 indices too few
    bits are left, and words and indices are sorted side by side after all.
    """
    words, indices = jax.random.bits(key, (size,), jnp.uint32), jnp.arange(size, dtype=jnp.uint32)
    if size > 2**16:
        return jax.lax.sort_key_val(words, indices)[1].astype(jnp.int32)
    low_bits = (1 << max(size - 1, 1).bit_length()) - 1
    return (jnp.sort(words & ~jnp.uint32(low_bits) | indices) & low_bits).astype(jnp.int32)
