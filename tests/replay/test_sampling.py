"""Samplers: which sequences they draw, how often, and with which weights."""

import dataclasses
import math
import re
from operator import itemgetter

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl import replay
from jaxrl.arguments import ArgumentError
from jaxrl.replay.buffer import read, write
from jaxrl.replay.sampling import PrioritisedHparams, draw_below, prioritised, uniform
from tests.compiling import AS_USERS_DO

SLOTS, N = 5, 3
HPARAMS = PrioritisedHparams(priority_exponent=0.5, importance_exponent_steps=100.0)


def priorities(state) -> np.ndarray:
    """p_i of every index, and the padding of the leaves."""
    return np.asarray(state.tree[0])


@pytest.mark.parametrize("n_step", [1, 2, 3, SLOTS])
def test_a_sequence_begins_wherever_all_of_it_is_stored(n_step: int) -> None:
    """Twice around the ring, compared with a list of the stored rows."""
    rings = jnp.zeros((1, SLOTS, N, 2), jnp.uint32)
    alike, by_priority = uniform(SLOTS, N, n_step), prioritised(SLOTS, N, n_step)
    state = by_priority.init(HPARAMS)
    add, set_priorities = jax.jit(by_priority.add), jax.jit(by_priority.set_priorities)
    draws = [jax.jit(sampler.sample, static_argnums=3) for sampler in (alike, by_priority)]
    read_rings = jax.jit(read, static_argnums=3)
    stored: list[int] = []  # row numbers, the oldest first
    for number in range(2 * SLOTS + 3):
        row = jnp.stack([jnp.full(N, number), jnp.arange(N)], axis=-1).astype(jnp.uint32)
        rings = write(rings, None, row, jnp.int32(number))
        stored = [*stored, number][-SLOTS:]
        rows = jnp.int32(number + 1)
        state = add(state, rows)
        begins = [first for first in stored if first + n_step - 1 in stored]
        eligible = sorted(first % SLOTS * N + environment for first in begins for environment in range(N))
        np.testing.assert_array_equal(priorities(state).nonzero()[0], eligible)
        if not begins:
            continue
        for sample, sampler_state in zip(draws, ((), state), strict=True):
            index, weight = sample(sampler_state, jax.random.key(number), rows, 512)
            np.testing.assert_array_equal(np.unique(index), eligible)
            assert (index.dtype, weight.dtype, weight.shape) == (jnp.int32, jnp.float32, (512,))
            sequence = np.asarray(read_rings(rings, None, index, n_step))
            assert sequence.shape == (n_step, 512, 2)
            assert set(sequence[0, :, 0]) == set(begins)
            np.testing.assert_array_equal(sequence[..., 0], sequence[0, :, 0] + np.arange(n_step)[:, None])
            np.testing.assert_array_equal(sequence[..., 1], np.broadcast_to(index % N, (n_step, 512)))
        state = set_priorities(state, index, jnp.ones(512))


def test_uniform_sampling_spends_one_draw() -> None:
    for rows in (2, SLOTS, 3 * SLOTS + 1):
        index, weight = uniform(SLOTS, N, 1).sample((), jax.random.key(7), jnp.int32(rows), 32)
        np.testing.assert_array_equal(index, jax.random.bits(jax.random.key(7), (32,)) % (min(rows, SLOTS) * N))
        assert (weight == 1).all()


def test_uniform_sampling_is_uniform_around_the_ring() -> None:
    index, _ = uniform(SLOTS, N, 3).sample((), jax.random.key(0), jnp.int32(SLOTS + 2), 9000)
    counts = np.bincount(index, minlength=SLOTS * N)
    eligible = counts > 0
    assert eligible.sum() == 3 * N
    assert np.abs(counts[eligible] - 1000).max() < 5 * math.sqrt(1000)


def test_what_is_new_has_the_largest_priority() -> None:
    sampler = prioritised(SLOTS, N, 1)
    state = sampler.add(sampler.init(HPARAMS), jnp.int32(1))
    np.testing.assert_array_equal(priorities(state)[:N], 1)
    state = sampler.set_priorities(state, jnp.array([0, 1, 2, 0]), jnp.array([-9.0, 0.25, 0.0, -9.0]))
    np.testing.assert_allclose(priorities(state)[:N], [3, 0.5, 1e-3], rtol=1e-5)
    state = sampler.add(state, jnp.int32(2))
    np.testing.assert_allclose(priorities(state)[N : 2 * N], 3, rtol=1e-6)
    state = sampler.set_priorities(state, jnp.array([0, 3]), jnp.array([0.0, 0.0]))
    state = sampler.add(state, jnp.int32(3))  # the largest so far, not the largest one stored
    np.testing.assert_allclose(priorities(state)[2 * N : 3 * N], 3, rtol=1e-6)


def test_numbers_below_a_limit() -> None:
    """From 64 bits, as computed with Python integers; and uniform over ten intervals below 1.5e9."""
    draw = jax.jit(draw_below, static_argnums=(1, 3))
    for limit in (1, 3, 2**20 + 1, 1_500_000_000, 2**31 - 1):
        key = jax.random.key(limit)
        drawn = draw(key, 1000, jnp.uint32(limit), 2**31 - 1)
        high, low = np.asarray(jax.random.bits(key, (2, 1000), jnp.uint32)).tolist()
        assert drawn.tolist() == [(h * 2**32 + x) * limit >> 64 for h, x in zip(high, low, strict=True)]
    sampler = uniform(1_500_000, 1000, 1)
    index, _ = sampler.sample((), jax.random.key(0), jnp.int32(2_000_000), 100_000)
    counts = np.bincount(np.asarray(index) // 150_000_000, minlength=10)
    assert np.square(counts - 10_000).sum() / 10_000 < 27.9  # the 0.999 quantile of chi² with 9 degrees of freedom


def test_weights_by_hand() -> None:
    """Eight transitions, four of p = 2 and four of p = 1: P = 1/6 and 1/12, count · P = 4/3 and 2/3."""
    sampler = prioritised(slots=4, num_envs=4, n_step=1)
    hparams = PrioritisedHparams(1.0, importance_exponent_start=0.2, importance_exponent_end=0.8,
                                 importance_exponent_steps=16.0)  # fmt: skip
    state = sampler.init(hparams)
    for rows in (1, 2):
        state = sampler.add(state, jnp.int32(rows))
    state = sampler.set_priorities(state, jnp.arange(8), jnp.array([2.0] * 4 + [1.0] * 4))
    # Four of the six equal ranges belong to one p = 2 each, and the other two to two transitions each.
    index, weight = sampler.sample(state, jax.random.key(0), jnp.int32(2), 6)
    assert index[:4].tolist() == [0, 1, 2, 3]
    assert index[4] in (4, 5)
    assert index[5] in (6, 7)
    beta = 0.2 + (0.8 - 0.2) * 8 / 16  # two rows of four, of sixteen
    expected = np.array([4 / 3] * 4 + [2 / 3] * 2) ** -beta
    np.testing.assert_allclose(weight, expected / expected.max(), rtol=1e-5)
    assert expected[0] / expected.max() == pytest.approx(0.5**0.5)
    later = sampler.sample(state, jax.random.key(0), jnp.int32(40), 6)[1]
    np.testing.assert_allclose(later[0], 0.5**0.8, rtol=1e-5)


def test_how_often_each_is_drawn() -> None:
    """In proportion to p_i over many batches, and stratified within each batch."""
    slots, num_envs, batch_size, batches = 10, 20, 64, 2000
    sampler = prioritised(slots, num_envs, 1)
    state = sampler.init(PrioritisedHparams(priority_exponent=1.0))
    for rows in range(1, slots + 1):
        state = sampler.add(state, jnp.int32(rows))
    error = np.random.default_rng(0).exponential(size=200) ** 3
    error[7], error[8] = error.sum() / 9, 0.0
    state = sampler.set_priorities(state, jnp.arange(200), jnp.asarray(error, jnp.float32))
    keys = jax.random.split(jax.random.key(0), batches)
    index, _ = jax.jit(jax.vmap(lambda key: sampler.sample(state, key, jnp.int32(slots), batch_size)))(keys)
    counts = np.stack([np.bincount(row, minlength=200) for row in np.asarray(index)])
    p = error + 1e-6
    expected = batch_size * p / p.sum()
    assert (counts >= np.floor(expected) - 1).all()
    assert (counts <= np.ceil(expected) + 1).all()
    deviation = np.abs(counts.mean(axis=0) - expected)
    assert (deviation <= 5 * np.sqrt(np.maximum(expected, 1 / batches) / batches)).all()


def test_exponent_zero_is_uniform() -> None:
    sampler = prioritised(SLOTS, N, 1)
    state = sampler.init(dataclasses.replace(HPARAMS, priority_exponent=0.0))
    for rows in range(1, SLOTS + 1):
        state = sampler.add(state, jnp.int32(rows))
    state = sampler.set_priorities(state, jnp.arange(SLOTS * N), 10.0 ** jnp.arange(SLOTS * N))
    index, weight = sampler.sample(state, jax.random.key(0), jnp.int32(SLOTS), SLOTS * N)
    np.testing.assert_array_equal(index, np.arange(SLOTS * N))  # each once, since all ranges are equal
    assert (weight == 1).all()


def loop(sampler: replay.Sampler, num_envs: int, batch_size: int):
    """Many training steps: each adds a row, samples, and sets new priorities."""

    def body(t, carry):
        state, key, seen = carry
        state = sampler.add(state, t + 1)
        key, sample_key = jax.random.split(key)
        index, weight = sampler.sample(state, sample_key, t + 1, batch_size)
        error = jnp.sin(index.astype(jnp.float32) + t) * weight
        return sampler.set_priorities(state, index, error), key, (seen[0] + index, seen[1] + weight)

    return lambda carry, steps: jax.lax.fori_loop(1, steps, body, carry)


def begin(sampler: replay.Sampler, batch_size: int, hparams, key):
    state = sampler.add(sampler.init(hparams), jnp.int32(1))
    return state, key, (jnp.zeros(batch_size, jnp.int32), jnp.zeros(batch_size))


def test_each_agent_of_many_equals_its_solo_run() -> None:
    sampler = prioritised(64, 8, 2)
    run = loop(sampler, 8, 16)
    many = PrioritisedHparams(
        priority_exponent=jnp.array([0.0, 0.5, 1.0]),
        importance_exponent_start=jnp.array([0.4, 0.0, 1.0]),
        importance_exponent_end=jnp.ones(3),
        importance_exponent_steps=jnp.array([100.0, 0.0, 1e6]),
    )
    keys = jax.random.split(jax.random.key(0), 3)
    together = jax.jit(lambda keys, many: jax.vmap(lambda key, h: run(begin(sampler, 16, h, key), 200))(keys, many))(
        keys, many
    )
    solo = jax.jit(lambda key, h: run(begin(sampler, 16, h, key), 200))
    for i in range(3):
        alone = solo(keys[i], jax.tree.map(itemgetter(i), many))
        np.testing.assert_array_equal(together[2][0][i], alone[2][0])
        np.testing.assert_allclose(together[2][1][i], alone[2][1], rtol=1e-5)
        for level, same in zip(together[0].tree, alone[0].tree, strict=True):
            np.testing.assert_allclose(level[i], same, rtol=1e-5)


@pytest.mark.parametrize("agents", [1, 3])
@pytest.mark.parametrize("n_step", [1, 3])
def test_the_tree_is_changed_in_place(agents: int, n_step: int) -> None:
    """The compiled program has no copy and no select as large as the leaves."""
    sampler = prioritised(512, 8, n_step)
    run = loop(sampler, 8, 16)
    start = lambda key: begin(sampler, 16, HPARAMS, key)  # noqa: E731
    key = jax.random.key(0)
    if agents > 1:
        run, start, key = jax.vmap(run, in_axes=(0, None)), jax.vmap(start), jax.random.split(key, agents)
    shapes = jax.eval_shape(start, key)
    program = jax.jit(run, donate_argnums=0).lower(shapes, jnp.int32(0)).compile(AS_USERS_DO)
    size = shapes[0].tree[0].size
    made = re.findall(r"= \w+\[([\d,]+)\]\S* ([\w-]+)\(", program.as_text())
    large = {op for shape, op in made if math.prod(map(int, shape.split(","))) >= size}
    assert "dynamic-update-slice" in large
    assert large <= {"dynamic-update-slice", "scatter", "fusion", "parameter", "get-tuple-element", "bitcast"}
    assert (analysis := program.memory_analysis()) is not None
    assert analysis.temp_size_in_bytes < size * 4


@pytest.mark.parametrize("make", [uniform, prioritised])
@pytest.mark.parametrize("n_step", [0, -1, SLOTS + 1])
def test_a_sequence_must_fit(make, n_step: int) -> None:
    with pytest.raises(ArgumentError, match=rf"^n_step must be .*5.*, got {n_step}"):
        make(SLOTS, N, n_step)
