"""The replay buffer: packing and the ring."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl import replay
from jaxrl.envs import make, vectorize
from jaxrl.training.devices import mesh_of

DTYPES = [bool, jnp.uint8, jnp.int8, jnp.int16, jnp.bfloat16, jnp.float16, jnp.int32, jnp.uint32, jnp.float32]


@pytest.mark.parametrize("dtype", DTYPES)
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
