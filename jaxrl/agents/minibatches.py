"""Learning several times from one rollout, in minibatches: what PPO and PQN share."""

import dataclasses
from collections.abc import Callable
from typing import Annotated, TypeVar

import jax
import jax.numpy as jnp
from annotated_types import Interval

from jaxrl.arguments import ArgumentError
from jaxrl.types import Array, Metrics, PyTree
from jaxrl.xla.sharding import shard_batch
from jaxrl.xla.threefry import inline

StateT = TypeVar("StateT")

ROLLOUT = ", a rollout, as jaxrl.on_policy makes it"
"""What agents that learn from a `Transition` say of it to those who give them something else."""


@dataclasses.dataclass(frozen=True)
class MinibatchConfig:
    """What decides the program: static values."""

    num_epochs: Annotated[int, Interval(gt=0, lt=2**31)] = 4
    """Times that each rollout is learned from."""
    num_minibatches: Annotated[int, Interval(gt=0, lt=2**31)] = 4
    """Gradient steps of an epoch; they share the rollout's num_envs * rollout_length transitions equally."""


def learn_in_minibatches(
    step: Callable[[StateT, PyTree], tuple[StateT, Metrics]],
    state: StateT,
    data: PyTree,
    key: Array,
    config: MinibatchConfig,
) -> tuple[StateT, Metrics]:
    """Goes through a rollout `num_epochs` times, each time in another order.

    Args:
        step: `(state, minibatch) -> (state, metrics)`, one gradient step.
        state: the agent's.
        data: the rollout, leaves `[T * N, ...]`.
        key: of the orders.
        config: how often, and in how many minibatches.

    Raises:
        ArgumentError: the minibatches do not divide the rollout.
    """
    size, number = len(jax.tree.leaves(data)[0]), config.num_minibatches
    if size % number:
        raise ArgumentError("num_minibatches", f"must divide num_envs * rollout_length = {size}", number)

    def epoch(state: StateT, key: Array) -> tuple[StateT, Metrics]:
        order = shuffle(key, size).reshape(number, -1)

        def learn(state: StateT, rows: Array) -> tuple[StateT, Metrics]:
            return step(state, shard_batch(jax.tree.map(lambda x: x[rows], data), axis=0))

        return jax.lax.scan(learn, state, order)

    state, metrics = jax.lax.scan(epoch, state, jax.random.split(inline(key), config.num_epochs))
    return state, jax.tree.map(lambda x: x.sum(dtype=x.dtype), metrics)


def merge_time(tree: PyTree) -> PyTree:
    """Leaves `[T, N, ...]` as `[T * N, ...]`, one batch for a network."""
    return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), tree)


def apply_in_chunks(apply: Callable[[PyTree], Array], observations: PyTree, chunk: int = 256) -> Array:
    """What a network gives for a whole rollout: leaves `[T, N, ...]` to `[T, N]`.

    Args:
        apply: observations, or a tree of them and more, `[M, ...]` to `[M]`.
        observations: of the rollout.
        chunk: how many at a time on a CPU. A convolution of thousands of boards fills megabytes, which it has to fetch
            anew each time: 4096 boards at once took 4 times as long as 256 at a time.
    """
    shape = jax.tree.leaves(observations)[0].shape[:2]
    merged, size = merge_time(observations), shape[0] * shape[1]
    if size <= chunk or jax.default_backend() != "cpu":
        return apply(merged).reshape(shape)
    whole = size - size % chunk
    chunks = jax.tree.map(lambda x: x[:whole].reshape(-1, chunk, *x.shape[1:]), merged)
    outputs = jax.lax.map(apply, chunks).reshape(whole)
    if whole < size:
        outputs = jnp.concatenate([outputs, apply(jax.tree.map(lambda x: x[whole:], merged))])
    return outputs.reshape(shape)


def shuffle(key: Array, size: int) -> Array:
    """A random order of `size` things, int32 `[size]`.

    Sorts random words whose low bits are the things themselves: to sort words and things side by side takes a CPU four
    times as long. Of two things with the same random bits (for 4096 things there are 20 of them) the lower comes first.
    Things so many that this would leave less than a random value for each are sorted side by side all the same.
    """
    words, things = jax.random.bits(key, (size,), jnp.uint32), jnp.arange(size, dtype=jnp.uint32)
    if size > 2**16:
        return jax.lax.sort_key_val(words, things)[1].astype(jnp.int32)
    low_bits = (1 << max(size - 1, 1).bit_length()) - 1
    return (jnp.sort(words & ~jnp.uint32(low_bits) | things) & low_bits).astype(jnp.int32)
