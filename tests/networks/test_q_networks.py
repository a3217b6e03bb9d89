"""Networks of action values."""

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnax.environments import spaces as gymnax

from jaxrl import ArgumentError, DQNHparams, PPOHparams, make
from jaxrl.networks import Network, NoisyDense, QNetwork, q_network
from jaxrl.networks.network import example_of
from jaxrl.recipes.actor_critics import PPO, build_ppo
from jaxrl.recipes.deep_q import DQN, build_dqn
from tests.compiling import quick_jit


@pytest.mark.parametrize(
    ("shape", "dtype"),
    [
        ((4,), jnp.float32),
        ((10, 10, 4), bool),
        ((10, 10, 7), jnp.float32),
        ((10, 5), jnp.float32),
        ((2, 9, 1), jnp.int32),
        ((), jnp.int32),
    ],
)
def test_shapes(shape: tuple[int, ...], dtype) -> None:
    network: Network = q_network(jax.ShapeDtypeStruct(shape, dtype), 6, (16,))
    observations = jnp.ones((5, *shape), dtype)
    params = quick_jit(network.init)(jax.random.key(0), observations)
    assert network.apply(params, observations).shape == (5, 6)


def test_bytes_of_an_image_are_scaled_and_a_board_is_not() -> None:
    image = np.random.default_rng(0).integers(0, 256, (3, 5, 5, 2), np.uint8)
    network = q_network(image[0], 2, (4,))
    apply, params = quick_jit(network.apply), quick_jit(network.init)(jax.random.key(0), image)
    np.testing.assert_allclose(apply(params, image), apply(params, jnp.float32(image) / 255), rtol=1e-4)
    board = image > 128
    np.testing.assert_allclose(apply(params, board), apply(params, jnp.float32(board)), rtol=1e-4)


def test_a_board_without_a_convolution_is_flattened() -> None:
    boards = np.random.default_rng(0).random((3, 4, 5, 2)) < 0.5
    network = q_network(boards[0], 2, (8,), conv_features=0)
    params = quick_jit(network.init)(jax.random.key(0), boards)
    assert jax.tree.map(jnp.shape, params["params"]["Dense_0"]) == {"kernel": (40, 8), "bias": (8,)}
    flat = quick_jit(QNetwork(2, (8,)).apply)(params, boards.reshape(3, -1))
    np.testing.assert_allclose(quick_jit(network.apply)(params, boards), flat, rtol=1e-6)


def test_numbered_states_are_one_hot() -> None:
    """If a space has their number."""
    network = q_network(gymnax.Discrete(5), 2, (4,))
    params = quick_jit(network.init)(jax.random.key(0), jnp.zeros(1, jnp.int32))
    one_hot = quick_jit(QNetwork(2, (4,)).apply)(params, jnp.eye(5)[3:])
    np.testing.assert_allclose(quick_jit(network.apply)(params, jnp.array([3, 4])), one_hot, rtol=1e-6)
    assert q_network(gymnasium.spaces.Discrete(3, start=2), 2).num_states == 5
    assert q_network(gymnax.Box(0, 1, (4,)), 2).num_states == 0
    with pytest.raises(ArgumentError, match=r"observation must be a space without negative numbers, got .*start=-1"):
        q_network(gymnasium.spaces.Discrete(3, start=-1), 2)


def test_experiments_know_the_numbered_states_of_an_environment() -> None:
    env, params = make("FrozenLake-misc")
    observation = jnp.arange(3)
    for build, config in ((build_dqn, DQN()), (build_ppo, PPO())):
        agent, _ = build(env, params, config)
        hparams = DQNHparams() if build is build_dqn else PPOHparams()
        state = jax.eval_shape(agent.init, jax.random.key(0), hparams, observation[0])
        assert max(x.size for x in jax.tree.leaves(state.params)) >= env.n_states * config.hidden_sizes[0]
    assert example_of(*make("CartPole-v1")).shape == (4,)


def test_a_convolution_is_for_boards() -> None:
    with pytest.raises(ArgumentError, match=r"^conv_features must not be given for observations \[4\], .* got 8$"):
        q_network(jnp.zeros(4), 2, conv_features=8)


@pytest.mark.parametrize("dueling", [False, True])
@pytest.mark.parametrize("outputs", [(), (7,)])
def test_parts_are_composed(dueling: bool, outputs: tuple[int, ...]) -> None:
    network: Network = QNetwork(6, (16, 8), outputs=outputs, dueling=dueling, layer_norm=True, dense=NoisyDense)
    observations = jax.random.normal(jax.random.key(0), (5, 4, 4, 2))
    params = quick_jit(network.init)(jax.random.key(0), observations)
    apply = quick_jit(lambda params, x, word: network.apply(params, x, rngs={"noise": jax.random.key(word)}))
    assert jax.eval_shape(network.apply, params, observations).shape == (5, 6, *outputs)
    one, of_all = apply(params, observations[1:2], 3), apply(params, observations, 3)
    np.testing.assert_allclose(one[0], of_all[1], rtol=1e-4, atol=1e-5)  # nothing mixes the observations
    assert not np.allclose(of_all, apply(params, observations, 4))


def test_a_dueling_network_adds_the_advantages_to_the_value() -> None:
    """Equation 9 of Wang et al. 2016, with the streams' own last layers."""
    network = QNetwork(3, (4,), dueling=True)
    observations = jax.random.normal(jax.random.key(0), (5, 2))
    layers = quick_jit(network.init)(jax.random.key(1), observations)["params"]
    streams = []
    for hidden, last in (("Dense_0", "Dense_1"), ("Dense_2", "Dense_3")):
        x = np.maximum(observations @ layers[hidden]["kernel"] + layers[hidden]["bias"], 0)
        streams.append(x @ layers[last]["kernel"] + layers[last]["bias"])
    value, advantage = streams
    expected = value + advantage - advantage.mean(axis=1, keepdims=True)
    np.testing.assert_allclose(network.apply({"params": layers}, observations), expected, rtol=1e-5, atol=1e-6)
