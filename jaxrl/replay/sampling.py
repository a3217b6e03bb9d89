"""How a replay chooses what to learn from: uniformly, or by priority.

An index is `slot * N + environment` of a ring `[slots, N, words]` (see `jaxrl.replay.ring`): where a sequence of
`n_step` consecutive transitions of one environment begins. The newest `n_step - 1` rows begin none yet; all older ones
do that are stored, wherever the ring wraps around.
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
"""Added to |error|, so that what was learned perfectly is seen again."""


class Sampler(NamedTuple):
    """How a replay chooses what to learn from.

    Attributes:
        init: `(hparams) -> state`, for an empty ring.
        written: `(state, rows_written) -> state`, after each row. `rows_written`: rows ever written, this one among
            them, int32 scalar.
        sample: `(state, key, rows_written, batch_size) -> (index, weight)`: where `batch_size` sequences begin, drawn
            with replacement, int32 `[B]`; and what each counts in the loss, float32 `[B]`. At least `n_step` rows must
            have been written.
        learned: `(state, index, error) -> state`, with the error, float32 `[B]`, of what was sampled at `index`.
    """

    init: Callable[[Hparams], PyTree]
    written: Callable[[PyTree, Array], PyTree]
    sample: Callable[[PyTree, Array, Array, int], tuple[Array, Array]]
    learned: Callable[[PyTree, Array, Array], PyTree]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class PrioritisedHparams:
    """What may be swept: traced values that live in the state, so that no change of them recompiles."""

    priority_exponent: Annotated[float, Interval(ge=0, le=1)] = 0.5
    """α, how much the error decides how often a transition is sampled, in [0, 1]; 0 samples uniformly."""
    importance_exponent_start: Annotated[float, Interval(ge=0, le=1)] = 0.4
    """β at the first step, in [0, 1]: how much weights make up for what is sampled too often; 1 wholly."""
    importance_exponent_end: Annotated[float, Interval(ge=0, le=1)] = 1.0
    """β once its rise is over, in [0, 1]."""
    importance_exponent_steps: Annotated[float, Ge(0)] = 1_000_000
    """Length of the linear rise of β from start to end, in environment steps."""


class PrioritisedState(NamedTuple):
    """What prioritised sampling keeps.

    Attributes:
        tree: p_i of every index, 0 where no sequence begins.
        max_priority: the largest p_i there ever was, float32 scalar.
        hparams: the sampler's own. α and β are read from here, and not from the agent's record.
    """

    tree: sum_tree.SumTree
    max_priority: Array
    hparams: PrioritisedHparams


def uniform(slots: int, num_envs: int, n_step: int = 1) -> Sampler:
    """Samples from all sequences alike, with weights 1. Its state is `()`.

    Raises:
        ArgumentError: `n_step` is not in [1, slots].
    """
    _check(slots, n_step)

    def sample(state: PyTree, key: Array, rows_written: Array, batch_size: int) -> tuple[Array, Array]:
        eligible = ((jnp.minimum(rows_written, slots) - (n_step - 1)) * num_envs).astype(jnp.uint32)
        index = draw_below(key, batch_size, eligible, slots * num_envs)
        if n_step > 1:  # counted from the oldest row; but where all slots are eligible they need no order
            oldest = (jnp.maximum(rows_written - slots, 0) % slots * num_envs).astype(jnp.uint32)
            index = (index + oldest) % (slots * num_envs)
        return index.astype(jnp.int32), jnp.ones(batch_size, jnp.float32)

    return Sampler(
        init=lambda hparams: (),
        written=lambda state, rows_written: state,
        sample=sample,
        learned=lambda state, index, error: state,
    )


def draw_below(key: Array, batch_size: int, limit: Array, most: int) -> Array:
    """Numbers below a limit, all equally likely, uint32 `[batch_size]`.

    Args:
        key: of the draws.
        batch_size: how many.
        limit: uint32 scalar, at most `most`.
        most: static; up to a million one word is drawn for each number, where `randint` draws two.
    """
    if most <= 2**20:  # the remainder favours the first numbers, by a part in 4,000 at a million
        return jax.random.bits(key, (batch_size,), jnp.uint32) % limit
    # The words are a fraction of 64 bits, high + low / 2^32, and the number the whole part of it times the limit.
    high, low = jax.random.bits(key, (2, batch_size), jnp.uint32)
    whole, rest = _multiply(high, limit)
    carry = _multiply(low, limit)[0]
    return whole + (rest + carry < carry)


def _multiply(a: Array, b: Array) -> tuple[Array, Array]:
    """The high and the low word of each product, uint32, of which there is no whole one without 64-bit numbers."""
    a_high, a_low, b_high, b_low = a >> 16, a & 0xFFFF, b >> 16, b & 0xFFFF
    middle = a_high * b_low + (a_low * b_low >> 16)
    other = a_low * b_high + (middle & 0xFFFF)
    return a_high * b_high + (middle >> 16) + (other >> 16), a * b


def prioritised(slots: int, num_envs: int, n_step: int = 1) -> Sampler:
    """Samples in proportion to p_i = (|error| + 1e-6)^α: prioritised replay, the proportional variant.

    Following algorithm 1 of Schaul et al. 2016 (https://arxiv.org/abs/1511.05952), P(i) = p_i / Σ p, what is new comes
    with the largest p so far (at first 1), and the weights are (count · P(i))^-β, where `count` is of all sequences,
    divided by the largest of the batch. Following its appendix B.2.1, Σ p is cut into `batch_size` equal parts, and
    one index drawn from each. β is `linear_annealing` in environment steps. As in the paper, and unlike in DeepMind's
    dqn_zoo, no error is clipped, and nothing is drawn uniformly besides.

    Its state is `PrioritisedState`; hyperparameters are anything with the fields of `PrioritisedHparams`.

    Raises:
        ArgumentError: `n_step` is not in [1, slots].
    """
    _check(slots, n_step)

    def init(hparams: Hparams) -> PrioritisedState:
        fields = [field.name for field in dataclasses.fields(PrioritisedHparams)]
        if missing := [name for name in fields if not hasattr(hparams, name)]:
            raise ArgumentError(
                "hparams",
                f"must have {', '.join(missing)} for a prioritised replay, as RainbowHparams has",
                type(hparams).__name__,
            )
        own = PrioritisedHparams(**{name: getattr(hparams, name) for name in fields})
        return PrioritisedState(sum_tree.allocate(slots * num_envs), jnp.float32(1), own)

    def written(state: PrioritisedState, rows_written: Array) -> PrioritisedState:
        completed = rows_written - n_step  # below 0 it is a slot without a row, which stays at 0
        numbers, values = [completed], [jnp.where(completed < 0, 0.0, state.max_priority)]
        if n_step > 1:  # the newest row begins no sequence yet, and what it replaced none any more
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
        # count and Σ p cancel: the largest weight of the batch is that of its smallest p.
        return index, (priority.min() / priority) ** beta

    def learned(state: PrioritisedState, index: Array, error: Array) -> PrioritisedState:
        priority = (jnp.abs(error).astype(jnp.float32) + SMALLEST_ERROR) ** state.hparams.priority_exponent
        max_priority = jnp.maximum(state.max_priority, priority.max())
        return state._replace(tree=sum_tree.write(state.tree, index, priority), max_priority=max_priority)

    return Sampler(init, written, sample, learned)


def _check(slots: int, n_step: int) -> None:
    if not 1 <= n_step <= slots:
        raise ArgumentError("n_step", f"must be at least 1 and at most the {slots} rows of the replay", n_step)
