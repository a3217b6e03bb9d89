"""The replay buffer: packing and the ring."""

from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl import replay
from jaxrl.envs import make, vectorize
from jaxrl.training.devices import mesh_of
from tests.compiling import quick_jit

DTYPES = [bool, jnp.uint8, jnp.int8, jnp.int16, jnp.bfloat16, jnp.float16, jnp.int32, jnp.uint32, jnp.float32]
OTHERS = [jnp.float8_e4m3fn, jnp.float8_e5m2, jnp.complex64]


@pytest.mark.parametrize("dtype", [*DTYPES, *OTHERS])
@pytest.mark.parametrize("shape", [(), (3,), (10, 10, 4), (33,)])
def test_every_bit_comes_back(dtype, shape: tuple[int, ...]) -> None:
    layout = replay.packing({"x": jax.ShapeDtypeStruct(shape, dtype), "y": jax.ShapeDtypeStruct((), jnp.float32)})
    size, width = int(np.prod(shape)), jnp.dtype(dtype).itemsize
    raw = np.random.default_rng(0).integers(0, 2 if dtype is bool else 256, (5, max(size, 1) * width), np.uint8)
    x = raw.view(dtype).reshape(5, *shape)  # any bit pattern, NaNs among them
    y = np.array([0.0, -0.0, np.nan, np.inf, 1e-42], np.float32)
    words = jax.jit(layout.pack)({"x": x, "y": y})
    assert (words.shape, words.dtype) == ((5, layout.num_words), jnp.uint32)
    back = jax.jit(layout.unpack)(words)
    assert back["x"].dtype == dtype
    assert np.asarray(back["x"]).tobytes() == x.tobytes()
    assert np.asarray(back["y"]).tobytes() == y.tobytes()


def bits(x: jax.Array) -> bytes:
    """All that an array holds; small numbers as bytes, because NumPy does not say which bits of a byte they leave."""
    if jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
        x = jax.random.key_data(x)
    if x.dtype in (jnp.int2, jnp.uint2, jnp.int4, jnp.uint4, jnp.float4_e2m1fn):
        x = x.astype(jnp.float32)
    return np.asarray(x).tobytes()


def small(dtype, shape: tuple[int, ...]) -> jax.Array:
    """All numbers of a small dtype, in any order, again and again."""
    wide = jnp.uint2 if jnp.dtype(dtype) in (jnp.int2, jnp.uint2) else jnp.uint4
    words = np.random.default_rng(0).integers(0, 2 ** jnp.iinfo(wide).bits, shape, np.uint8)
    return jax.lax.bitcast_convert_type(jnp.asarray(words).astype(wide), dtype)


@cache
def trees() -> dict[str, Any]:
    """Elements of all other kinds, `[2, 3, ...]`, and the words of one."""
    f4, keys = jnp.float32(np.random.default_rng(1).normal(size=(2, 3, 5))), jax.random.split(jax.random.key(0), (2, 3))
    return {
        "keys": ({"key": keys, "x": f4}, 2 + 5),
        "several keys": (jax.random.split(jax.random.key(1), (2, 3, 2)), 2 * 2),
        "keys of another kind": ((jax.random.split(jax.random.key(0, impl="rbg"), (2, 3)), f4), 4 + 5),
        "int4": ({"a": small(jnp.int4, (2, 3, 9)), "b": f4}, 2 + 5),
        "uint4": ((small(jnp.uint4, (2, 3)),), 1),
        "float4": ((small(jnp.float4_e2m1fn, (2, 3, 4, 4)),), 2),
        "int2": ((small(jnp.int2, (2, 3, 17)), small(jnp.uint2, (2, 3, 16))), 2 + 1),
        "no numbers": ({"a": jnp.zeros((2, 3, 0)), "b": f4, "c": jnp.zeros((2, 3, 4, 0), bool)}, 5),
        "no numbers at all": (jnp.zeros((2, 3, 0), jnp.int8), 0),
        "no leaves beside others": ({"a": (), "b": f4, "c": {}, "d": None}, 5),
    }


@pytest.mark.parametrize("name", trees())
def test_everything_packs(name: str) -> None:
    """One element, under `vmap`, and with one and two batch axes."""
    tree, num_words = trees()[name]
    layout = replay.packing(jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape[2:], x.dtype), tree))

    parts = [jax.tree.map(lambda x, at=at: x[at], tree) for at in ((1, 2), (1,))]

    @quick_jit
    def pack(tree, parts):
        return layout.pack(tree), jax.vmap(jax.vmap(layout.pack))(tree), [layout.pack(part) for part in parts]

    @quick_jit
    def unpack(words):
        whole = layout.unpack(words), jax.vmap(layout.unpack, 1, 1)(words)
        return whole, (layout.unpack(words[1, 2]), layout.unpack(words[1]))

    words, mapped, found = pack(tree, parts)
    unpacked, backs = unpack(words)
    assert (words.shape, words.dtype) == ((2, 3, num_words), jnp.uint32)
    for part, packed, back, expected in zip(parts, found, backs, (words[1, 2], words[1]), strict=True):
        np.testing.assert_array_equal(packed, expected)
        assert jax.tree.map(bits, back) == jax.tree.map(bits, part)
    np.testing.assert_array_equal(mapped, words)
    for back in unpacked:
        assert jax.tree.map(lambda x: (x.shape, x.dtype), back) == jax.tree.map(lambda x: (x.shape, x.dtype), tree)
        assert jax.tree.map(bits, back) == jax.tree.map(bits, tree)


@pytest.mark.parametrize("tree", [(), {}, {"a": (), "b": None}], ids=str)
def test_nothing_packs_into_no_words(tree) -> None:
    layout = replay.packing(tree)
    assert layout.num_words == 0
    words = layout.pack(tree)
    assert (words.shape, words.dtype) == ((0,), jnp.uint32)
    assert layout.unpack(jnp.zeros((4, 0), jnp.uint32)) == tree


def test_64_bits_pack_with_x64() -> None:
    raw = np.random.default_rng(0).integers(0, 256, (5, 48), np.uint8)
    with jax.enable_x64(True):
        for dtype in (np.float64, np.int64, np.uint64, np.complex128):
            x = raw.view(dtype)
            layout = replay.packing(x[0])
            assert layout.num_words == 12
            words = jax.jit(layout.pack)(x)
            assert words.dtype == jnp.uint32
            for back in (jax.jit(layout.unpack)(words), jax.vmap(layout.unpack)(words)):
                assert back.dtype == dtype
                assert np.asarray(back).tobytes() == x.tobytes()


def test_a_breakout_transition_takes_at_most_128_bytes() -> None:
    envs = vectorize(*make("Breakout-MinAtar"), 2)
    state = jax.eval_shape(envs.reset, jax.random.key(0))
    _, transition, _ = jax.eval_shape(envs.step, state, jnp.zeros(2, jnp.int32), jax.random.key(0))
    layout = replay.packing(jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape[1:], x.dtype), transition))
    assert layout.num_words * 4 == 120


def test_devices_share_the_batch_and_not_the_steps_of_a_sequence() -> None:
    sizes = 16, 4, 2
    layout = replay.packing(jax.ShapeDtypeStruct((), jnp.uint32))
    buffer = replay.ring_buffer(layout, replay.uniform(*sizes), *sizes)
    with jax.set_mesh(mesh_of(jax.devices()[:2], ())):
        _, sample = jax.jit(buffer.sample, static_argnums=3)(buffer.init(()), jax.random.key(0), jnp.int32(16), 8)
    assert {shard.data.shape for shard in sample.transitions.addressable_shards} == {(2, 4)}


def test_the_buffer_forgets_the_oldest() -> None:
    sizes = replay.num_slots(10, 4), 4, 1  # 3 rows of 4
    layout = replay.packing(jax.ShapeDtypeStruct((), jnp.uint32), decode=lambda words: words + 100)
    buffer = replay.ring_buffer(layout, replay.uniform(*sizes), *sizes)
    state = buffer.init(())
    assert np.shape(state.rings) == (1, 3, 4, 1)
    for t in range(5):
        state = buffer.add(state, jnp.full((1, 4), t, jnp.uint32), jnp.int32(t))
    assert sorted(set(np.asarray(state.rings).ravel())) == [2, 3, 4]
    index, sample = buffer.sample(state, jax.random.key(0), jnp.int32(5), 64)
    np.testing.assert_array_equal(sample.transitions[0], np.asarray(state.rings).reshape(-1)[index] + 100)
    assert sorted(set(np.asarray(sample.transitions).ravel())) == [102, 103, 104]
