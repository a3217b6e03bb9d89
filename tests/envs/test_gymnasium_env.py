"""gymnasium's environments: what they show, their errors, and what is refused."""

import os
import sys
from collections import OrderedDict
from typing import NamedTuple

import chex
import gymnasium
import numpy as np
import pytest

from jaxrl import ArgumentError, action_space_of, make
from jaxrl.envs import HostError, describe_rules, from_gymnasium
from jaxrl.envs.gymnasium_env import MOST_PIXELS
from jaxrl.networks.network import example_of
from jaxrl.recipes.actor_critics import PPO, RecurrentPPO, build_ppo, build_recurrent_ppo
from jaxrl.recipes.deep_q import RecurrentDQN, build_recurrent_dqn
from jaxrl.types import Discrete
from tests.envs.counters import HostCorridor, host_corridor


def test_the_last_observation_is_the_true_one_and_the_first_one_follows() -> None:
    env, params = make("gymnasium:CartPole-v1", max_episode_steps=12)
    assert params is None
    assert (describe_rules(env, params), action_space_of(env, params)) == ("default rules, 12-step cap", Discrete(2))
    seeds, envs = np.array([3, 4, 5]), env.make_envs(3, False)
    own = [gymnasium.make("CartPole-v1", max_episode_steps=12) for _ in seeds]
    expected = [one.reset(seed=int(seed))[0] for one, seed in zip(own, seeds, strict=True)]
    np.testing.assert_array_equal(envs.reset(seeds).observation, expected)
    ends = np.zeros((2, 3), int)
    for t in range(60):
        actions = np.array([t % 2, 1, (t // 2) % 2], np.int32)
        got = envs.step(actions)
        for i, one in enumerate(own):
            observation, reward, terminated, truncated, _ = one.step(actions[i])
            np.testing.assert_array_equal(got.last.observation[i], observation)
            assert (got.reward[i], got.terminated[i]) == (reward, terminated)
            assert got.truncated[i] == (truncated and not terminated)
            ends[:, i] += terminated, truncated and not terminated
            following = one.reset()[0] if terminated or truncated else observation
            np.testing.assert_array_equal(got.first.observation[i], following)
    assert ends.sum(axis=1).min() > 3
    assert got.first.observation.dtype == np.float32


def test_what_two_ends_at_once_are() -> None:
    """The environment's rules end the episode, so that nothing follows, whatever the time limit says."""
    envs = from_gymnasium(lambda mode: HostCorridor(cap=4), "Corridor").make_envs(1, False)
    envs.reset(np.zeros(1, int))
    outcomes = [envs.step(np.ones(1, int)) for _ in range(4)]
    assert [bool(x.terminated[0]) for x in outcomes] == [False, False, False, True]
    assert not any(x.truncated[0] for x in outcomes)


def test_masks_pictures_and_actions() -> None:
    envs = host_corridor(masked=True).make_envs(2, True)
    assert envs.reset(np.arange(2)).legal.tolist() == [[True, True]] * 2
    for _ in range(2):
        outcome = envs.step(np.array([1, 0]))
    assert outcome.last.legal.tolist() == [[False, True], [True, True]]
    assert outcome.first.observation[:, 0].tolist() == [2, 0]
    assert [x[0, 0, 0] for x in outcome.last.pictures] == [160, 0]  # before any reset
    assert [x[0, 0, 0] for x in outcome.first.pictures] == [160, 80]
    assert [one.render_mode for one in envs.envs] == ["rgb_array"] * 2
    assert [one.render_mode for one in host_corridor().make_envs(1, False).envs] == [None]
    assert make("gymnasium:Taxi-v4")[0].example.legal.shape == (6,)
    assert host_corridor().make_envs(1, False).reset(np.zeros(1, int)).pictures is None


class Terse(HostCorridor):
    """Says once which actions are legal."""

    def reset(self, *, seed=None, options=None):
        return super().reset()[0], {"action_mask": np.array([False, True])}


def test_without_a_mask_all_actions_are_legal() -> None:
    envs = from_gymnasium(lambda mode: Terse(), "Terse").make_envs(1, False)
    np.testing.assert_array_equal(envs.reset(np.zeros(1, int)).legal, [[False, True]])
    np.testing.assert_array_equal(envs.step(np.ones(1, int)).last.legal, [[True, True]])


class Large(HostCorridor):
    """Draws more pixels than a video shows."""

    picture = np.random.default_rng(0).integers(0, 256, (9, 2 * MOST_PIXELS + 1, 3), np.uint8)

    def render(self):
        return self.picture


def test_the_pixels_of_large_pictures_are_averaged() -> None:
    """Whole blocks of three by three."""
    pictures = from_gymnasium(lambda mode: Large(), "Large").make_envs(1, True).reset(np.zeros(1, int)).pictures
    assert pictures is not None
    picture = pictures[0]
    assert (picture.shape, picture.dtype) == ((3, 267, 3), np.uint8)
    for i, j in ((0, 0), (2, 1), (1, 266)):
        block = Large.picture[3 * i : 3 * i + 3, 3 * j : 3 * j + 3]
        np.testing.assert_array_equal(picture[i, j], block.mean((0, 1)).astype(np.uint8))


class Reusing(HostCorridor):
    """Shows one array, one mask and one picture, into which it writes again and again."""

    def __init__(self, render_mode=None) -> None:
        super().__init__(masked=True, render_mode=render_mode)
        self.shown = super().reset()[0], {"action_mask": np.zeros(2, bool)}, super().render()

    def seen(self):
        if not hasattr(self, "shown"):
            return super().seen()
        observation, info = super().seen()
        self.shown[0][:], self.shown[1]["action_mask"][:] = observation, info["action_mask"]
        return self.shown[:2]

    def render(self):
        self.shown[2][:] = super().render()
        return self.shown[2]


def test_what_was_shown_does_not_change() -> None:
    """Also where an environment shows one array for ever."""
    played = []
    for env in (host_corridor(masked=True), from_gymnasium(Reusing, "Reusing")):
        envs, actions = env.make_envs(2, True), np.array([[1, 0]] * 12)
        played.append((envs.reset(np.arange(2)), [envs.step(each) for each in actions]))
    chex.assert_trees_all_equal(*played)
    assert any(outcome.terminated.any() for outcome in played[0][1])


class Spaces(gymnasium.Env):
    """An environment of any spaces, which remembers the actions that it was given."""

    def __init__(self, observations=None, actions=None, first=None, second=None) -> None:
        self.observation_space = observations or gymnasium.spaces.Box(-1, 1, (3,), np.float64)
        self.action_space = actions or gymnasium.spaces.Discrete(3, start=5)
        self.first, self.second = first, second
        self.actions: list = []

    def reset(self, *, seed=None, options=None):
        return (self.observation_space.sample() if self.first is None else self.first), {}

    def step(self, action):
        self.actions.append(action)
        if self.second == "raises":
            raise RuntimeError("the emulator stopped\nat line 3")
        if isinstance(self.second, tuple):
            return self.second
        return (self.observation_space.sample() if self.second is None else self.second), np.nan, False, False, {}


def of(*arguments):
    return from_gymnasium(lambda mode: Spaces(*arguments), "mine")


def test_actions_reach_the_environment_as_its_space_says() -> None:
    spaces = gymnasium.spaces
    for space, given, expected in (
        (spaces.Discrete(3, start=5), np.array([0, 2], np.int32), [5, 7]),
        (spaces.Box(-1, 1, (1,), np.float64), np.array([[3.0], [0.5]], np.float32), [[1.0], [0.5]]),
    ):
        envs = of(None, space).make_envs(2, False)
        envs.reset(np.arange(2))
        assert np.isnan(envs.step(given).reward).all()  # a reward passes as it is
        assert [np.asarray(one.actions[-1]).tolist() for one in envs.envs] == expected


class Pair(NamedTuple):
    eye: np.ndarray


def test_observations_of_many_kinds() -> None:
    spaces = gymnasium.spaces
    space = spaces.Dict({"b": spaces.Discrete(4), "a": spaces.Tuple([spaces.Box(0, 255, (2, 2), np.uint8)])})
    env = of(space)
    observation = env.make_envs(3, False).reset(np.arange(3)).observation
    assert (observation["b"].dtype, observation["b"].shape) == (np.int32, (3,))
    assert (observation["a"][0].dtype, observation["a"][0].shape) == (np.uint8, (3, 2, 2))
    assert env.make_envs(1, False).step(np.zeros(1, int)).last.observation["b"].shape == (1,)
    one = OrderedDict(b=np.int64(2), a=Pair(np.ones((2, 2), np.uint8)))
    again = of(space, None, one, one).make_envs(2, False)
    for shown in (again.reset(np.arange(2)), again.step(np.zeros(2, int)).last):
        chex.assert_trees_all_equal(shown.observation, {"a": (np.ones((2, 2, 2), np.uint8),), "b": np.full(2, 2)})
    assert example_of(make("gymnasium:FrozenLake-v1")[0], None).n == 16  # numbered states, as networks take them


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((gymnasium.spaces.Text(3),), r"env must observe arrays of fixed shapes, .* got mine, which observes Text"),
        ((None, gymnasium.spaces.MultiDiscrete([2, 3])), r"must have discrete actions .* got mine with MultiDiscrete"),
        ((None, gymnasium.spaces.Box(-np.inf, 1, (2,))), r"finite bounds .* got mine with Box"),
        ((None, None, np.zeros(2)), r"must observe in reset what its space says, \(3,\), got .* \(2,\) from mine"),
        ((None, None, None, np.zeros(1)), r"must observe in step what its space says, \(3,\), got .* \(1,\) from mine"),
        (
            (gymnasium.spaces.Box(0, 9, (2,), np.uint8), None, np.full(2, 0.5)),
            r"in reset .*, uint8, .* dtype\('float64'",
        ),
        ((None, None, None, (1, 2, 3)), r"must step to \(observation, reward, .*, got \(1, 2, 3\) from mine"),
        ((None, None, None, "raises"), r"without an error \(RuntimeError: the emulator stopped\), got 'mine'"),
    ],
)
def test_what_cannot_be_used_is_refused_at_once(arguments, message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        of(*arguments)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("CartPol-v1", {}, r"env_id must be .* gymnasium knows \(the nearest is gymnasium:CartPole-v1\), got"),
        ("Qwxyzk-v5", {}, r"env_id must be a name that gymnasium knows \(Environment `Qwxyzk` doesn't exist"),
        ("Zoo/Hopper-v5", {}, r"gymnasium knows \(Namespace Zoo not found. Have you installed the proper package"),
        ("", {}, r"env_id must have a name after gymnasium:, such as gymnasium:CartPole-v1, got 'gymnasium:'"),
        ("a b", {}, r"gymnasium knows \(Malformed environment ID"),
        ("no_such_module:Nope-v0", {}, r"gymnasium knows \(No module named 'no_such_module'\)"),
        ("CartPole-v1", {"gravity": 3}, r"gravity must be what gymnasium:CartPole-v1 can use \(TypeError: .*, got 3"),
        ("CartPole-v1", {"max_episode_steps": 0}, r"max_episode_steps must be .*to be positive.*, got 0"),
        ("CartPole-v1", {"render_mode": "human"}, r"render_mode is chosen by jaxrl"),
        ("CartPole-v1", {"rules": "gymnax"}, r"rules applies only to the games of MinAtar"),
    ],
)
def test_bad_names_and_options(name: str, options: dict, message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        make(f"gymnasium:{name}", **options)


def test_without_gymnasium(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "gymnasium", None)
    with pytest.raises(ArgumentError, match=r"env_id needs the package gymnasium \(pip install 'jaxrl\[gymnasium\]'\)"):
        make("gymnasium:Acrobot-v1")


def test_an_error_names_the_environment_and_what_it_raised() -> None:
    envs = of().make_envs(2, False)
    envs.reset(np.arange(2))
    envs.envs[1].second = "raises"
    with pytest.raises(HostError, match=r"^mine raised in step: RuntimeError: the emulator stopped$"):
        envs.step(np.zeros(2, int))
    wrongs: list = [np.zeros((1,)), np.zeros((3, 1)), "text", {}]
    for wrong in wrongs:
        envs.envs[1].second = wrong
        with pytest.raises(HostError, match=r"^mine raised in step"):
            envs.step(np.zeros(2, int))


def test_pictures_need_no_screen(monkeypatch) -> None:
    """While an environment draws, and not after. What the user chose stays."""
    monkeypatch.delenv("SDL_VIDEODRIVER", raising=False)
    monkeypatch.setenv("SDL_AUDIODRIVER", "mine")
    seen = []

    def drivers() -> tuple:
        return os.environ.get("SDL_VIDEODRIVER"), os.environ.get("SDL_AUDIODRIVER")

    def render(env: HostCorridor) -> np.ndarray:
        seen.append(drivers())
        return np.zeros((2, 2, 3), np.uint8)

    monkeypatch.setattr(HostCorridor, "render", render)
    host_corridor().make_envs(1, True).reset(np.zeros(1, int))
    assert seen == [("dummy", "mine")]
    assert drivers() == (None, "mine")


def test_no_recipe_takes_observations_without_numbers() -> None:
    env = of(gymnasium.spaces.Box(-1, 1, (0,)))
    recipes: list = [(build_ppo, PPO), (build_recurrent_ppo, RecurrentPPO), (build_recurrent_dqn, RecurrentDQN)]
    for build, kind in recipes:
        with pytest.raises(ArgumentError, match=r"^observation must have at least one number, got the shape \[0\]$"):
            build(env, None, kind())
