"""The default policy and value networks."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from gymnax.environments import spaces

from jaxrl.arguments import ArgumentError
from jaxrl.distributions import Categorical, Normal
from jaxrl.networks import ActorCritic, Network, PolicyNetwork, actor_critic, policy_network
from jaxrl.types import Box, Discrete
from tests.compiling import quick_jit

OBSERVATIONS = np.random.default_rng(0).normal(size=(50, 2, 3)).astype(np.float32)
BOX = Box(np.float32([-2, 0, 5]), np.float32([2, 10, 6]))


def initialized(space, **more):
    network = ActorCritic(space, hidden_sizes=(16, 16), **more)
    return network, quick_jit(network.init)(jax.random.key(0), OBSERVATIONS)


@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_a_discrete_policy_begins_nearly_uniform(activation: str) -> None:
    network, params = initialized(Discrete(4), activation=activation)
    policy, values = network.apply(params, OBSERVATIONS)
    assert isinstance(policy, Categorical)
    assert (policy.logits.shape, values.shape) == ((50, 4), (50,))
    np.testing.assert_allclose(jax.nn.softmax(policy.logits), 0.25, atol=0.02)
    assert np.std(policy.logits) > 1e-5  # but not constant
    assert np.std(values) > 0.1


def test_a_continuous_policy_begins_in_the_middle_of_its_box() -> None:
    network, params = initialized(BOX)
    policy, _ = network.apply(params, OBSERVATIONS)
    assert isinstance(policy, Normal)
    half = (BOX.high - BOX.low) / 2
    np.testing.assert_allclose((policy.mean - (BOX.low + half)) / half, np.zeros((50, 3)), atol=0.1)
    np.testing.assert_allclose(np.exp(policy.log_std), np.tile(half, (50, 1)), rtol=1e-6)


@pytest.mark.parametrize("space", [Discrete(3), BOX], ids=["discrete", "box"])
def test_actor_and_critic_share_nothing(space) -> None:
    network, params = initialized(space)
    actions = jnp.zeros(50, jnp.int32) if isinstance(space, Discrete) else jnp.zeros((50, 3))

    def of_policy(params):
        return network.apply(params, OBSERVATIONS)[0].log_prob(actions).sum()

    def of_values(params):
        return network.apply(params, OBSERVATIONS)[1].sum()

    policy, values = (quick_jit(jax.grad(loss))(params)["params"] for loss in (of_policy, of_values))
    for zero, other in ((policy["critic"], values["critic"]), (values["actor"], policy["actor"])):
        assert all((np.asarray(x) == 0).all() for x in jax.tree.leaves(zero))
        assert all((np.asarray(x) != 0).any() for x in jax.tree.leaves(other))


@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_actor_and_critic_may_share_all_but_their_last_layers(activation: str) -> None:
    """Against the layers in NumPy."""
    network = actor_critic(OBSERVATIONS[0], Discrete(3), (16, 8), activation, shared=True)
    params = quick_jit(network.init)(jax.random.key(0), OBSERVATIONS)
    own = jax.tree.map(np.asarray, params["params"])
    assert jax.tree.map(np.shape, own["shared"]) == {
        "Dense_0": {"kernel": (6, 16), "bias": (16,)},
        "Dense_1": {"kernel": (16, 8), "bias": (8,)},
    }
    x = OBSERVATIONS.reshape(50, 6)
    for layer in ("Dense_0", "Dense_1"):
        x = x @ own["shared"][layer]["kernel"] + own["shared"][layer]["bias"]
        x = np.tanh(x) if activation == "tanh" else np.maximum(x, 0)
    policy, values = network.apply(params, OBSERVATIONS)
    np.testing.assert_allclose(policy.logits, x @ own["actor"]["Dense_0"]["kernel"], atol=1e-6)
    np.testing.assert_allclose(values, (x @ own["critic"]["Dense_0"]["kernel"])[:, 0], atol=1e-5)
    assert np.std(policy.logits) < 0.05 < np.std(values)
    linear = actor_critic(OBSERVATIONS[0], Discrete(3), (), shared=True)  # nothing to share
    shapes = jax.eval_shape(linear.init, jax.random.key(0), OBSERVATIONS)["params"]
    assert shapes.keys() == {"actor", "critic"}


@pytest.mark.parametrize("space", [Discrete(3), BOX], ids=["discrete", "box"])
def test_a_policy_network_is_the_actor_alone(space) -> None:
    network, params = initialized(space)
    alone = PolicyNetwork(space, (16, 16))
    own = {"params": {name: x for name, x in params["params"].items() if name != "critic"}}
    shapes = jax.eval_shape(alone.init, jax.random.key(0), OBSERVATIONS)
    assert jax.tree.map(jnp.shape, own) == jax.tree.map(jnp.shape, shapes)
    for x, y in zip(alone.apply(own, OBSERVATIONS), network.apply(params, OBSERVATIONS)[0], strict=True):
        np.testing.assert_array_equal(x, y)
    assert policy_network(OBSERVATIONS[0], space, [16, 16]) == alone


def test_sizes_may_be_a_list() -> None:
    """The network remains hashable, as static arguments must be."""
    network = actor_critic(OBSERVATIONS[0], Discrete(2), [4])
    assert hash(network) == hash(actor_critic(OBSERVATIONS[0], Discrete(2), (4,)))


def test_integer_observations() -> None:
    network: Network = actor_critic(jax.ShapeDtypeStruct((4, 4), jnp.bool_), Discrete(2), (4,))
    params = quick_jit(network.init)(jax.random.key(0), jnp.zeros((1, 4, 4), bool))
    assert network.apply(params, jnp.ones((3, 4, 4), bool))[1].dtype == jnp.float32


def test_images_and_numbered_states() -> None:
    image = np.random.default_rng(0).integers(0, 256, (3, 2, 2), np.uint8)
    network = actor_critic(image[0], Discrete(2), (4,))
    params, apply = quick_jit(network.init)(jax.random.key(0), image), quick_jit(network.apply)
    np.testing.assert_allclose(apply(params, image)[1], apply(params, jnp.float32(image) / 255)[1], rtol=1e-5)
    network = actor_critic(spaces.Discrete(4), Discrete(2), (4,))
    of_one_hot = apply(params, jnp.eye(4).reshape(4, 2, 2))[1]
    np.testing.assert_allclose(quick_jit(network.apply)(params, jnp.arange(4))[1], of_one_hot, rtol=1e-5)


@pytest.mark.parametrize("make", [actor_critic, policy_network])
def test_boards_pass_through_a_convolution_that_both_share(make) -> None:
    """Against flax's own convolution and the same networks without one."""
    boards = np.random.default_rng(1).integers(0, 2, (6, 5, 4, 3)).astype(bool)
    beside = np.random.default_rng(2).normal(size=(6, 2)).astype(np.float32)
    example = {"board": boards[0], "speed": beside[0]}
    network = make(example, Discrete(3), (8,), "relu", conv_features=7)
    params = quick_jit(network.init)(jax.random.key(0), {"board": boards, "speed": beside})
    own = dict(params["params"])
    kernel, bias = (own["BoardConv_0"]["Dense_0"][name] for name in ("kernel", "bias"))
    assert own.pop("BoardConv_0").keys() == {"Dense_0"}
    conv = nn.Conv(7, (3, 3), padding="VALID")
    features = conv.apply({"params": {"kernel": kernel.reshape(3, 3, 3, 7), "bias": bias}}, boards.astype(np.float32))
    flat = jnp.moveaxis(jax.nn.relu(features), -1, 1).reshape(6, -1)
    dense = make(jnp.zeros(flat.shape[1] + 2), Discrete(3), (8,), "relu")
    expected = dense.apply({"params": own}, jnp.concatenate([flat, beside], axis=1))
    outputs = network.apply(params, {"board": boards, "speed": beside})
    for got, want in zip(jax.tree.leaves(outputs), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(got, want, atol=1e-6)
    with pytest.raises(
        ArgumentError, match=r"^conv_features must not be given for observations \[4\], no boards, got 7$"
    ):
        make(jnp.zeros(4), Discrete(3), conv_features=7)
