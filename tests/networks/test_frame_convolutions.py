"""The networks of stacks of frames: their sizes, and their outputs against a convolution in NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnax.environments import spaces

from jaxrl import ArgumentError, IQNHparams, PQNHparams, RainbowHparams
from jaxrl.networks import NoisyDense, actor_critic, policy_network, q_network
from jaxrl.networks.frame_convolutions import FRAME_LAYERS, LECTURE, FrameConvolution, StackConv
from jaxrl.recipes.actor_critics import PPO, default_network
from jaxrl.recipes.deep_q import DQN, IQN, PQN, build_dqn, build_iqn, build_pqn
from jaxrl.types import Discrete, PyTree
from tests.compiling import quick_jit

KEY = jax.random.key(0)
STACKS = jax.ShapeDtypeStruct((4, 84, 84), jnp.uint8)


def size(params: PyTree) -> int:
    return sum(x.size for x in jax.tree.leaves(params))


def count(network) -> int:
    return size(jax.eval_shape(lambda key: network.init(key, jnp.zeros((1, *STACKS.shape), jnp.uint8)), KEY))


class Frames:
    """An environment of which only the shapes matter."""

    name, frame_stack = "Frames", 4

    def reset(self, key, params=None):
        return jnp.zeros(STACKS.shape, jnp.uint8), jnp.int32(0)

    def step(self, key, state, action, params=None):
        stack = jnp.zeros(STACKS.shape, jnp.uint8)
        ends = jnp.bool_(False), state >= 8
        return stack, jnp.where(ends[1], 0, state + 1), jnp.float32(0), *ends, {"final_observation": stack}

    def action_space(self, params=None):
        return spaces.Discrete(6)


def test_numbers_of_parameters() -> None:
    """Mnih et al. 2015 with A actions: 1,684,128 + 513 A."""
    lecture = (8 * 8 * 4 + 1) * 16 + (4 * 4 * 16 + 1) * 32 + (9 * 9 * 32 + 1) * 256
    for name, trunk in (("lecture", lecture), ("nature", 1_684_128)):
        convolutions, hidden_size = FRAME_LAYERS[name]
        network = q_network(STACKS, 6, (hidden_size,), convolutions=convolutions)
        assert count(network) == trunk + 6 * (hidden_size + 1)
    assert count(q_network(STACKS, 6)) == lecture + 6 * 257
    flat = (9 * 9 * 32 + 1) * 256
    for sizes in ({}, {"hidden_sizes": (256,)}):
        assert count(actor_critic(STACKS, Discrete(6), **sizes)) == lecture + flat + 7 * 257
        assert count(policy_network(STACKS, Discrete(6), **sizes)) == lecture + 6 * 257
    assert actor_critic(jnp.zeros(3), Discrete(6)).hidden_sizes == (64, 64)


def test_recipes_have_the_networks_of_their_names() -> None:
    """With all parts of DQN, PQN, implicit quantiles and PPO. Sizes are those of the layers in the papers."""
    nature, last = 1_684_128 - (3136 + 1) * 512, (3136 + 1) * 512

    def of(build, config) -> int:
        hparams = {build_dqn: RainbowHparams(), build_iqn: IQNHparams(), build_pqn: PQNHparams()}[build]
        return size(jax.eval_shape(build(Frames(), (), config)[1].init, KEY, hparams).agent.params)

    small = {"num_envs": 2, "batch_size": 4, "replay_capacity": 64, "warmup_steps": 8, "network": "nature"}
    assert of(build_dqn, DQN(**small)) == nature + last + 6 * 513
    rainbow = DQN(**small, dueling=True, noisy=True, values="categorical", num_atoms=51, n_step=3)
    assert of(build_dqn, rainbow) == nature + 2 * (2 * last + (1 + 6) * 51 * 513)
    assert of(build_iqn, IQN(**small)) == nature + last + (64 + 1) * 512 + 6 * 513
    pqn = PQN(num_envs=2, rollout_length=2, num_minibatches=1, network="nature")
    assert of(build_pqn, pqn) == nature + last + 6 * 513 + 2 * (32 + 64 + 64 + 512)
    assert count(default_network(Frames(), (), PPO(network="nature"))) == nature + 2 * last + 7 * 513


def convolve(x: np.ndarray, kernel: np.ndarray, bias: np.ndarray, stride: int) -> np.ndarray:
    """A convolution without padding, `[N, C, H, W]` with a kernel `[features, C, size, size]`, by its definition."""
    size = kernel.shape[-1]
    height, width = ((n - size) // stride + 1 for n in x.shape[2:])
    y = np.empty((len(x), len(kernel), height, width))
    for i in range(height):
        for j in range(width):
            patch = x[:, :, stride * i : stride * i + size, stride * j : stride * j + size]
            y[:, :, i, j] = np.einsum("ncuv,fcuv->nf", patch, kernel) + bias
    return y


def usual_kernel(kernel: np.ndarray, channels: int, size: int, stride: int) -> np.ndarray:
    """`[features, C, size, size]` from the rows of a `StackConv`."""
    squares = size // stride
    split = np.asarray(kernel).reshape(squares, squares, channels, stride, stride, -1)
    return split.transpose(5, 2, 0, 3, 1, 4).reshape(-1, channels, size, size)


@pytest.mark.parametrize(("shape", "layer"), [((3, 13, 17), (5, 8, 4)), ((2, 9, 6), (3, 3, 1)), ((1, 8, 7), (4, 4, 2))])
def test_a_convolution_is_that_of_numpy(shape, layer) -> None:
    """Also of frames that the stride does not divide."""
    x = np.random.default_rng(0).normal(size=(2, *shape)).astype(np.float32)
    module, columns = StackConv(*layer), jnp.moveaxis(x, 0, -1)
    params = module.init(jax.random.key(0), columns)
    params = jax.tree.map(lambda p: p + jax.random.normal(jax.random.key(1), p.shape), params)
    dense = params["params"]["Dense_0"]
    kernel = usual_kernel(dense["kernel"], shape[0], *layer[1:])
    found = np.moveaxis(np.asarray(quick_jit(module.apply)(params, columns)), -1, 0)
    np.testing.assert_allclose(found, convolve(x, kernel, np.asarray(dense["bias"]), layer[2]), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        ((3, 8, 3), r"convolutions must have sizes that are multiples of their strides, got size 8 with stride 3"),
        ((3, 4, 0), r"convolutions must have sizes .*, got size 4 with stride 0"),
        ((3, 14, 7), r"convolutions must fit into what they are applied to, got size 14 for 13 × 17 pixels"),
    ],
)
def test_convolutions_that_are_refused(layer, message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        jax.eval_shape(StackConv(*layer).init, KEY, jnp.zeros((3, 13, 17, 2)))


def test_outputs_are_those_of_numpy() -> None:
    """The lecture's network from bytes to Q(s, ·), and the policy's features; and parts of DQN on top."""
    stacks = np.random.default_rng(0).integers(0, 256, (2, 4, 84, 84), np.uint8)
    network = q_network(stacks[0], 6)
    params = quick_jit(network.init)(jax.random.key(0), stacks)
    x, channels = stacks / 255, 4
    for i, layer in enumerate(LECTURE.convolutions):
        dense = params["params"][f"StackConv_{i}"]["Dense_0"]
        kernel = usual_kernel(dense["kernel"], channels, layer.size, layer.stride)
        x, channels = np.maximum(convolve(x, kernel, np.asarray(dense["bias"]), layer.stride), 0), layer.features
    hidden, last = (params["params"][f"Dense_{i}"] for i in range(2))
    features = x.reshape(2, -1)
    x = np.maximum(features @ np.asarray(hidden["kernel"]) + np.asarray(hidden["bias"]), 0)
    q = x @ np.asarray(last["kernel"]) + np.asarray(last["bias"])
    np.testing.assert_allclose(quick_jit(network.apply)(params, stacks), q, rtol=1e-4, atol=1e-5)

    policy = policy_network(stacks[0], Discrete(6), (), convolutions=LECTURE.convolutions)
    same = {name: params["params"][name] for name in ("StackConv_0", "StackConv_1")}
    shapes = jax.eval_shape(policy.init, jax.random.key(0), stacks)["params"]
    actor = jax.tree.map(lambda x: np.random.default_rng(1).normal(size=x.shape).astype(np.float32), shapes["actor"])
    logits = quick_jit(policy.apply)({"params": same | {"actor": actor}}, stacks).logits
    expected = features @ actor["Dense_0"]["kernel"] + actor["Dense_0"]["bias"]
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-3)


def test_only_stacks_of_frames_have_the_convolutions() -> None:
    """Not boards, in which channels are last, nor small frames."""
    for shape in ((84, 84, 4), (10, 10, 4), (4, 30, 30), (84, 84)):
        assert q_network(jax.ShapeDtypeStruct(shape, jnp.uint8), 6).convolutions == ()
    tree = {"screen": STACKS, "speed": jax.ShapeDtypeStruct((2,), jnp.float32)}
    network = q_network(tree, 6, dense=NoisyDense, dueling=True)
    zeros = jax.tree.map(lambda x: jnp.zeros((3, *x.shape), x.dtype), tree)
    assert jax.eval_shape(lambda: network.apply(network.init(jax.random.key(0), zeros), zeros)).shape == (3, 6)
    assert FrameConvolution(16, 8, 4) == LECTURE.convolutions[0]
    with pytest.raises(ArgumentError, match="conv_features"):
        q_network(STACKS, 6, conv_features=4)
