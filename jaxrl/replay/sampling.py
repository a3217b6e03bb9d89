"""How a replay buffer chooses what to learn from: uniformly, or by priority.

An index is `slot * N + environment` of a ring `[slots, N, words]`. It is the first of `n_step` consecutive transitions
of one environment, a sequence. No sequence starts in the newest `n_step - 1` rows; in all older ones, one does, also
where the ring wraps around.
"""

import dataclasses
from collections.abc import Callable
from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp
from annotated_types import Ge, Interval

from jaxrl.arguments import ArgumentError
from jaxrl.ops import linear_annealing
from jaxrl.replay import sum_tree
from jaxrl.types import Array, Hparams, PyTree

SMALLEST_ERROR = 1e-6
"""Added to |error|, so that a transition without error is sampled again."""


class Sampler(NamedTuple):
    """How a replay buffer chooses sequences.

    Attributes:
        init: `(hparams) -> state`, for an empty ring.
        add: `(state, rows_written) -> state`, after each row. `rows_written` is the number of rows ever written, this
            one included, int32 scalar.
        sample: `(state, key, rows_written, batch_size) -> (index, weight)`: draws sequences with replacement, int32
            `[B]`, with their weights in the loss, float32 `[B]`. At least `n_step` rows must have been written.
        set_priorities: `(state, index, error) -> state`, with the error, float32 `[B]`, of each sequence in a sample.
    """

    init: Callable[[Hparams], PyTree]
    add: Callable[[PyTree, Array], PyTree]
    sample: Callable[[PyTree, Array, Array, int], tuple[Array, Array]]
    set_priorities: Callable[[PyTree, Array, Array], PyTree]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class PrioritisedHparams:
    """Hyperparameters of prioritised replay."""

    priority_exponent: Annotated[float, Interval(ge=0, le=1)] = 0.5
    """Prioritisation exponent α, in [0, 1]; 0 samples uniformly."""
    importance_exponent_start: Annotated[float, Interval(ge=0, le=1)] = 0.4
    """Importance-sampling exponent β at the first step, in [0, 1]; 1 corrects the sampling bias fully."""
    importance_exponent_end: Annotated[float, Interval(ge=0, le=1)] = 1.0
    """Importance-sampling exponent β after its linear rise, in [0, 1]."""
    importance_exponent_steps: Annotated[float, Ge(0)] = 1_000_000
    """Environment steps over which β rises linearly."""


class PrioritisedState(NamedTuple):
    """The state of prioritised sampling.

    Attributes:
        tree: p_i of every index, 0 where no sequence starts.
        max_priority: the largest p_i so far, float32 scalar.
        hparams: α and β, copied from the agent's hyperparameters.
    """

    tree: sum_tree.SumTree
    max_priority: Array
    hparams: PrioritisedHparams


def uniform(slots: int, num_envs: int, n_step: int) -> Sampler:
    """Samples all sequences with the same probability, with weights 1. Its state is `()`.

    Raises:
        ArgumentError: `n_step` is not in [1, slots].
    """
    _check(slots, n_step)

    def sample(state: PyTree, key: Array, rows_written: Array, batch_size: int) -> tuple[Array, Array]:
        eligible = ((jnp.minimum(rows_written, slots) - (n_step - 1)) * num_envs).astype(jnp.uint32)
        index = draw_below(key, batch_size, eligible, slots * num_envs)
        if n_step > 1:  # count from the oldest row; if all slots are eligible, their order does not matter
            oldest = (jnp.maximum(rows_written - slots, 0) % slots * num_envs).astype(jnp.uint32)
            index = (index + oldest) % (slots * num_envs)
        return index.astype(jnp.int32), jnp.ones(batch_size, jnp.float32)

    return Sampler(lambda hparams: (), lambda state, *_: state, sample, lambda state, *_: state)


def draw_below(key: Array, batch_size: int, limit: Array, most: int) -> Array:
    """Uniform integers in [0, limit), uint32 `[batch_size]`.

    Args:
        key: a random key.
        batch_size: how many to draw.
        limit: uint32, scalar or `[batch_size]`, each at most `most`.
        most: static; up to a million, each integer takes one random word, where `jax.random.randint` takes two.
    """
    if most <= 2**20:  # the remainder favours small integers, by 1 in 4,000 at a million
        return jax.random.bits(key, (batch_size,), jnp.uint32) % limit
    # high + low / 2^32 is a fraction of 64 bits; the result is the integer part of its product with the limit.
    high, low = jax.random.bits(key, (2, batch_size), jnp.uint32)
    whole, rest = _multiply(high, limit)
    carry = _multiply(low, limit)[0]
    return whole + (rest + carry < carry)


def _multiply(a: Array, b: Array) -> tuple[Array, Array]:
    """The high and the low word of each product, uint32, without 64-bit integers."""
    a_high, a_low, b_high, b_low = a >> 16, a & 0xFFFF, b >> 16, b & 0xFFFF
    middle = a_high * b_low + (a_low * b_low >> 16)
    other = a_low * b_high + (middle & 0xFFFF)
    return a_high * b_high + (middle >> 16) + (other >> 16), a * b


def prioritised(slots: int, num_envs: int, n_step: int) -> Sampler:
    """Samples in proportion to p_i = (|error| + 1e-6)^α, the proportional variant of prioritised replay.

    Follows algorithm 1 of Schaul et al. 2016 (https://arxiv.org/abs/1511.05952): P(i) = p_i / Σ p, a new sequence has
    the largest p so far (at first 1), and the weights are (count · P(i))^-β, where `count` is the number of sequences,
    divided by the largest weight of the batch. As in appendix B.2.1, Σ p is divided into `batch_size` equal ranges, and
    one index is drawn from each. β is `linear_annealing` in environment steps. As in the paper, and unlike in
    DeepMind's dqn_zoo, errors are not clipped, and no index is drawn uniformly.

    Its state is a `PrioritisedState`. Its hyperparameters are any record with the fields of `PrioritisedHparams`.

    Raises:
        ArgumentError: `n_step` is not in [1, slots]; from `init`, the hyperparameters lack a field.
    """
    _check(slots, n_step)

    def init(hparams: Hparams) -> PrioritisedState:
        fields = [field.name for field in dataclasses.fields(PrioritisedHparams)]
        if missing := [name for name in fields if not hasattr(hparams, name)]:
            rule = f"must have {', '.join(missing)} for a prioritised replay, as RainbowHparams has"
            raise ArgumentError("hparams", rule, type(hparams).__name__)
        own = PrioritisedHparams(**{name: getattr(hparams, name) for name in fields})
        return PrioritisedState(sum_tree.allocate(slots * num_envs), jnp.float32(1), own)

    def add(state: PrioritisedState, rows_written: Array) -> PrioritisedState:
        completed = rows_written - n_step  # a negative one is a slot without a row, which keeps 0
        numbers, values = [completed], [jnp.where(completed < 0, 0.0, state.max_priority)]
        if n_step > 1:  # no sequence starts in the newest row yet, and those in the replaced row are gone
            numbers, values = [*numbers, rows_written - 1], [*values, jnp.float32(0)]
        rows = jnp.broadcast_to(jnp.stack(values)[:, None], (len(values), num_envs))
        return state._replace(tree=sum_tree.write_ranges(state.tree, rows, jnp.stack(numbers) % slots * num_envs))

    def sample(state: PrioritisedState, key: Array, rows_written: Array, batch_size: int) -> tuple[Array, Array]:
        uniform = jax.random.uniform(key, (batch_size,), jnp.float32)
        part = (jnp.arange(batch_size, dtype=jnp.float32) + uniform) / batch_size
        index, priority = sum_tree.find(state.tree, part * sum_tree.total(state.tree))
        env_steps = rows_written.astype(jnp.float32) * num_envs
        h = state.hparams
        beta = linear_annealing(
            env_steps, h.importance_exponent_start, h.importance_exponent_end, h.importance_exponent_steps
        )
        # count and Σ p cancel: the smallest p of the batch has its largest weight.
        return index, (priority.min() / priority) ** beta

    def set_priorities(state: PrioritisedState, index: Array, error: Array) -> PrioritisedState:
        priority = (jnp.abs(error).astype(jnp.float32) + SMALLEST_ERROR) ** state.hparams.priority_exponent
        max_priority = jnp.maximum(state.max_priority, priority.max())
        return state._replace(tree=sum_tree.write(state.tree, index, priority), max_priority=max_priority)

    return Sampler(init, add, sample, set_priorities)


def _check(slots: int, n_step: int) -> None:
    if not 1 <= n_step <= slots:
        raise ArgumentError("n_step", f"must be at least 1 and at most the {slots} rows of the replay", n_step)
