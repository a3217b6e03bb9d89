"""Observations that are trees of arrays: what the default networks make of them."""

import re
from collections import OrderedDict
from typing import Any, NamedTuple

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnax.environments import spaces

from jaxrl import ArgumentError
from jaxrl.networks import QNetwork, actor_critic, example_of, q_network
from jaxrl.networks.network import as_features, num_states_of
from jaxrl.networks.recurrent import RecurrentActorCritic
from jaxrl.types import Discrete
from tests.agents.parts import Parts
from tests.compiling import quick_jit

RNG, N = np.random.default_rng(0), 6
VECTOR, BOARD = RNG.normal(size=(N, 3)).astype(np.float16), RNG.integers(0, 2, (N, 4, 5, 2)).astype(bool)
IMAGE, COUNT, STATE = RNG.integers(0, 256, (N, 2, 2), np.uint8), np.arange(N, dtype=np.int8), np.arange(N) % 4
TREE = {"a": VECTOR, "b": (IMAGE, COUNT), "c": STATE}
JOINED = np.concatenate([VECTOR, IMAGE.reshape(N, -1) / 255, COUNT[:, None], np.eye(4)[STATE]], -1).astype(np.float32)
EXAMPLE = {"a": VECTOR[0], "b": (IMAGE[0], COUNT[0]), "c": spaces.Discrete(4)}


def close(a: Any, b: Any) -> None:
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-6), a, b)


@pytest.mark.parametrize("dtype", [np.float16, np.int8, np.int16, np.uint16, np.int32, np.uint32, np.float32, bool])
def test_numbers_of_any_width_become_floats(dtype) -> None:
    x, y = (RNG.integers(0, 2, shape).astype(dtype) for shape in ((N, 3), (N, 2, 2)))
    features = as_features({"x": x, "y": y}, 0)
    assert features.dtype == jnp.float32
    np.testing.assert_array_equal(features, np.concatenate([x, y.reshape(N, 4)], -1))


def test_parts_are_joined_in_order() -> None:
    """Images are scaled, states are one-hot, and parts without numbers are none."""
    counts: Any = num_states_of(EXAMPLE)
    np.testing.assert_allclose(as_features(TREE, counts), JOINED, rtol=1e-6)
    longer = TREE | {"d": np.zeros((N, 0)), "e": (), "f": None}
    np.testing.assert_allclose(as_features(longer, (*counts, 0)), JOINED, rtol=1e-6)
    two_axes = jax.tree.map(lambda x: x.reshape(2, 3, *x.shape[1:]), TREE)
    np.testing.assert_allclose(as_features(two_axes, counts, batch_axes=2), JOINED.reshape(2, 3, -1), rtol=1e-6)


def test_a_policy_sees_the_parts_side_by_side() -> None:
    tree, joined = (actor_critic(x, Discrete(3), (8,)) for x in (EXAMPLE, JOINED[0]))
    params = quick_jit(joined.init)(jax.random.key(0), JOINED)
    assert jax.tree.map(jnp.shape, quick_jit(tree.init)(jax.random.key(0), TREE)) == jax.tree.map(jnp.shape, params)
    close(quick_jit(tree.apply)(params, TREE), quick_jit(joined.apply)(params, JOINED))


def test_a_recurrent_policy_sees_the_parts_side_by_side() -> None:
    tree, joined = (RecurrentActorCritic(Discrete(3), 8, 4, num_states_of(x)) for x in (EXAMPLE, JOINED[0]))
    memory, starts = tree.memory(3), jnp.zeros((2, 3), bool)
    observations, flat = (jax.tree.map(lambda x: x.reshape(2, 3, *x.shape[1:]), x) for x in (TREE, JOINED))
    params = quick_jit(joined.init)(jax.random.key(0), memory, flat, starts)
    outputs = (
        quick_jit(network.apply)(params, memory, x, starts) for network, x in ((tree, observations), (joined, flat))
    )
    close(*outputs)


def test_action_values_of_parts_side_by_side() -> None:
    tree, joined = (q_network(x, 3, (8,), dueling=True) for x in (EXAMPLE, JOINED[0]))
    params = quick_jit(joined.init)(jax.random.key(0), JOINED)
    close(quick_jit(tree.apply)(params, TREE), quick_jit(joined.apply)(params, JOINED))


def test_only_boards_pass_through_the_convolution() -> None:
    """The values are linear in what the dense layer takes: features of the boards, and the other numbers."""
    both = {"board": BOARD, "other": BOARD[:, :3, :3], "z": VECTOR}
    network = q_network(jax.tree.map(lambda x: x[0], both), 2, (), conv_features=3)
    params = quick_jit(network.init)(jax.random.key(0), both)["params"]
    assert sorted(params) == ["BoardConv_0", "BoardConv_1", "Dense_0"]
    kernel, ends = params["Dense_0"]["kernel"], np.cumsum([3 * 2 * 3, 3 * 1 * 1, 3])
    assert kernel.shape == (ends[-1], 2)
    expected = np.float32(VECTOR) @ kernel[ends[1] :]
    for name, part, rows in (("board", 0, slice(0, ends[0])), ("other", 1, slice(ends[0], ends[1]))):
        own = {"BoardConv_0": params[f"BoardConv_{part}"], "Dense_0": {"kernel": kernel[rows], "bias": np.zeros(2)}}
        expected += quick_jit(QNetwork(2, (), 3).apply)({"params": own}, both[name])
    close(quick_jit(network.apply)({"params": params}, both), expected)


def test_one_part_alone_is_like_an_array() -> None:
    alone, part = q_network(BOARD[0], 2, (4,)), q_network({"x": BOARD[0]}, 2, (4,))
    assert (alone.num_states, part.num_states) == (0, (0,))
    key = jax.random.key(0)
    of_alone = quick_jit(lambda: alone.init_with_output(key, BOARD))()
    jax.tree.map(np.testing.assert_array_equal, of_alone, quick_jit(lambda: part.init_with_output(key, {"x": BOARD}))())


class Named(NamedTuple):
    eye: Any
    room: Any


class Shows:
    """An environment of which only the observation matters."""

    def __init__(self, observation: Any, space: Any) -> None:
        self.observation, self.space = observation, space

    def reset(self, key, params=None):
        return self.observation, ()

    def observation_space(self, params=None):
        return self.space


BOX, FOUR = spaces.Box(0, 1, (3,)), spaces.Discrete(4)
EYE, ROOM = jnp.zeros(3), jnp.int32(0)
GYM_FOUR: Any = gymnasium.spaces.Discrete(3, start=1)
GYM_BOX = gymnasium.spaces.Box(0, 1, (3,))


@pytest.mark.parametrize(
    ("observation", "space", "num_states"),
    [
        (ROOM, FOUR, 4),
        (EYE, BOX, 0),
        ({"room": ROOM, "eye": EYE}, spaces.Dict({"room": FOUR, "eye": BOX}), (0, 4)),
        (OrderedDict(room=ROOM, eye=EYE), spaces.Dict({"eye": BOX, "room": FOUR}), (4, 0)),
        ({"room": ROOM, "eye": EYE}, gymnasium.spaces.Dict({"eye": GYM_BOX, "room": GYM_FOUR}), (0, 4)),
        ((EYE, ROOM), spaces.Tuple([BOX, FOUR]), (0, 4)),
        ([ROOM, EYE], gymnasium.spaces.Tuple([GYM_FOUR, GYM_BOX]), (4, 0)),
        (Named(EYE, ROOM), spaces.Dict({"room": FOUR, "eye": BOX}), (0, 4)),
        (Named(EYE, ROOM), spaces.Tuple((BOX, FOUR)), (0, 4)),
        ({"x": (ROOM, {"y": ROOM})}, spaces.Dict({"x": spaces.Tuple((FOUR, spaces.Dict({"y": FOUR})))}), (4, 4)),
        ({"x": ROOM, "none": None, "nothing": ()}, spaces.Dict({"x": FOUR}), (4,)),
        ({"x": jnp.float32(0)}, spaces.Dict({"x": FOUR}), (0,)),
        ({"x": ROOM}, spaces.Dict({"y": FOUR}), (0,)),
        ((ROOM, ROOM), spaces.Tuple((FOUR,)), (4, 0)),
        ({"x": ROOM}, None, (0,)),
        ({"x": ROOM}, FOUR, (0,)),
    ],
)
def test_numbered_states_in_any_tree(observation: Any, space: Any, num_states: Any) -> None:
    example = example_of(Shows(observation, space), None)
    assert num_states_of(example) == num_states
    batch = jax.tree.map(lambda x: x[None], observation)
    network = q_network(example, 2, (4,))
    shape = jax.eval_shape(lambda x: network.apply(network.init(jax.random.key(0), x), x), batch)
    assert shape.shape == (1, 2)


def test_the_parts_of_an_environment() -> None:
    example = example_of(Parts(), None)
    assert num_states_of(example) == (0, 5, 0, 0)
    assert q_network(example, 2).num_states == (0, 5, 0, 0)


@pytest.mark.parametrize("make", [lambda x: actor_critic(x, Discrete(2)), lambda x: q_network(x, 2)])
def test_an_observation_without_numbers(make) -> None:
    for shape in ((0,), (0, 5, 3), (4, 4, 0)):
        got = re.escape(f"got the shape {list(shape)}")
        with pytest.raises(ArgumentError, match=rf"^observation must have at least one number, {got}$"):
            make(np.zeros(shape))
    with pytest.raises(ArgumentError, match=r"got the shape \[0\], \[2, 0\]$"):
        make({"a": np.zeros(0), "b": np.zeros((2, 0))})
    make({"a": np.zeros(0), "b": np.zeros(2)})


def test_what_is_no_observation() -> None:
    message = (
        r"^observation must be an array, or a tree of arrays, as from jaxrl\.networks\.example_of\(env, params\), "
    )
    for observation, got in (
        ({}, "a dict without arrays"),
        (3.0, "a float"),
        ({"x": EYE, "y": "z"}, "a str"),
        (spaces.Dict({"x": FOUR}), "a Dict"),
        (gymnasium.spaces.Dict({"x": GYM_FOUR}), "a Dict"),
    ):
        for make in (q_network, lambda x, n: actor_critic(x, Discrete(n))):
            with pytest.raises(ArgumentError, match=f"{message}got {got}$"):
                make(observation, 2)
    with pytest.raises(ArgumentError, match=r"^conv_features must not be given for observations {'x': \[3\]}, no bo"):
        q_network({"x": EYE}, 2, conv_features=3)
    q_network({"x": EYE, "y": BOARD[0]}, 2, conv_features=3)
    with pytest.raises(ArgumentError, match=r"^observations must have 4 leaves, .*, got 3$"):
        as_features((EYE, EYE, EYE), (0, 0, 0, 0))
