"""Videos of environments."""

from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image, ImageSequence
from PIL.GifImagePlugin import GifImageFile

from jaxrl import Decision, Transition
from jaxrl.arguments import ArgumentError
from jaxrl.envs import make
from jaxrl.envs.digits import DOMAINS, WORDS
from jaxrl.envs.robots import Robot
from jaxrl.networks.glimpses import Glances
from jaxrl.plots import video
from jaxrl.plots.palette import BOARD, scaled
from jaxrl.plots.render import PALETTE
from jaxrl.plots.video import action_text, frame_time, play, save_video
from tests.envs.counters import HostCorridor, host_corridor


def test_ten_channels_can_be_told_apart(tmp_path: Path) -> None:
    """In a GIF with nine cells of each."""
    board = np.repeat(np.eye(10, dtype=bool)[:, None], 10, axis=1)
    env = SimpleNamespace(name="an environment of one's own")
    nothing = np.zeros(1, bool)
    save_video(env, Transition(board[None], nothing, nothing, nothing, nothing, board[None]), tmp_path / "video.gif")
    with Image.open(tmp_path / "video.gif") as picture:
        seen = np.array([picture.convert("RGB").getpixel((20, 40 * c + 20)) for c in range(10)])
    np.testing.assert_allclose(seen, PALETTE, atol=8)
    distances = np.abs(seen[:, None] - seen[None]).sum(axis=-1)
    assert distances[~np.eye(10, dtype=bool)].min() > 100


def a_walk() -> Transition:
    """Breakout's ball moves right by one cell a step. The first episode ends with the third of five steps."""
    ball = np.zeros((6, 10, 10, 4), bool)
    ball[np.arange(6), 3, np.arange(6), 1] = True
    ended = np.array([0, 0, 1, 0, 0], bool)
    return Transition(ball[:5], np.zeros(5, int), np.ones(5), ended, np.zeros(5, bool), ball[1:])


@pytest.mark.parametrize("axis", [False, True], ids=["[T]", "[T, 1]"])
def test_a_video_has_a_frame_a_step_and_one_for_each_end(tmp_path: Path, axis: bool) -> None:
    env, _ = make("Breakout-MinAtar")
    trajectory = jax.tree.map(lambda x: x[:, None], a_walk()) if axis else a_walk()
    save_video(env, trajectory, tmp_path / "video", "a video")
    with GifImageFile(tmp_path / "video") as frames:
        assert (frames.format, frames.n_frames) == ("GIF", 6)
        for frame, column in enumerate((0, 1, 2, 3, 3, 4)):  # what the episode ended with, then where the next begins
            frames.seek(frame)
            ball = frames.convert("RGB").getpixel((column * 40 + 20, 3 * 40 + 20))
            assert np.abs(np.subtract(ball, PALETTE[1])).max() < 8


def test_a_video_of_a_pytree(tmp_path: Path) -> None:
    observations = {"board": np.zeros((3, 200, 4), bool), "key": jax.random.split(jax.random.key(0), 3)}
    ends, rewards = np.array([False, True, False]), np.array([-0.153554, -0.2, 1.0])
    save_video(
        SimpleNamespace(), Transition(observations, np.ones((3, 2)), rewards, ends, ends, observations), tmp_path / "a"
    )
    with GifImageFile(tmp_path / "a") as frames:
        assert frames.n_frames == 4


def test_how_long_a_video_shows_a_step(tmp_path: Path) -> None:
    """Slowly in Grid World and in games of two players, and twice as long at the end of an episode."""
    env, _ = make("GridWorld")
    observations = np.zeros((4, 4, 4, 3), np.float32)
    observations[range(4), range(4), 1, 0] = 1
    ends = np.array([False, False, True])
    walk = Transition(observations[:3], np.zeros(3, int), -np.ones(3), ends, 0 * ends, observations[1:])
    save_video(env, walk, tmp_path / "video.gif")
    with GifImageFile(tmp_path / "video.gif") as frames:
        times = []
        for frame in range(frames.n_frames):
            frames.seek(frame)
            times.append(frames.info["duration"])
    assert times == [400, 400, 400, 800]
    assert frame_time(make("game:tic_tac_toe")[0], np.zeros((3, 3, 3, 2))) == 400
    assert frame_time(make("CartPole-v1")[0], np.zeros((3, 4))) == 20
    assert frame_time(make("Breakout-MinAtar")[0], np.zeros((3, 10, 10, 4))) == 70


def test_captions() -> None:
    assert action_text(make("CartPole-v1")[0], np.int32(1)) == "action right"
    assert action_text(None, np.int32(7)) == "action 7"
    assert action_text(None, np.array([0.123, -2.0])) == "action 0.12 -2.00"
    assert action_text(None, np.arange(3.0)) == "action 0.00 1.00 2.00"
    assert action_text(None, np.arange(4.0)) == "action 0.00 1.00 2.00 …"


@pytest.mark.parametrize(("most", "colours"), [(10**6, range(65, 257)), (0, range(2, 65))])
def test_a_large_video_has_fewer_colours(most: int, colours: range, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(video, "MOST_BYTES", most)
    shades = np.arange(192, dtype=np.uint8).reshape(8, 8, 3)
    video.write_gif(lambda _: Image.fromarray(shades).resize((64, 64)), [10], tmp_path / "video.gif")
    with Image.open(tmp_path / "video.gif") as picture:
        assert len(picture.convert("RGB").getcolors() or []) in colours


@pytest.mark.parametrize(("number", "shown"), [(4, [(1, 30), (3, 70)]), (5, [(0, 10), (2, 50), (4, 90)])])
def test_a_larger_one_leaves_out_every_second_frame_and_lasts_as_long(number: int, shown, tmp_path: Path, monkeypatch):
    monkeypatch.setattr(video, "MOST_BYTES", 0)
    shades = [Image.new("RGB", (8, 8), (40 * i, 0, 0)) for i in range(number)]
    video.write_gif(shades.__getitem__, [10 * (i + 1) for i in range(number)], tmp_path / "video.gif")
    seen = []
    with Image.open(tmp_path / "video.gif") as picture:
        for frame in ImageSequence.Iterator(picture):
            seen.append((round(np.asarray(frame.convert("RGB"))[0, 0, 0] / 40), frame.info["duration"]))
    assert seen == shown


def test_a_video_needs_a_step(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match=r"^trajectory must have at least one step, got \(0,\)$"):
        save_video(make("Breakout-MinAtar")[0], jax.tree.map(lambda x: x[:0], a_walk()), tmp_path / "video.gif")


def test_a_video_is_of_one_environment(tmp_path: Path) -> None:
    two = jax.tree.map(lambda x: np.stack([x, x], axis=1), a_walk())
    with pytest.raises(ArgumentError, match=r"^trajectory must be of one environment .*, got \(2,\)$"):
        save_video(make("Breakout-MinAtar")[0], two, tmp_path / "video.gif")


def test_pictures_stand_in_place_of_observations(tmp_path: Path) -> None:
    """Of an environment on the host: before each step, and once more, twice as long, where an episode has ended."""
    env = host_corridor()
    trajectory, pictures = play(env, None, lambda _, given, key: jnp.ones(1, jnp.int32), (), (), jax.random.key(0), 6)
    assert pictures is not None
    save_video(env, trajectory, tmp_path / "video.gif", pictures=pictures)
    with Image.open(tmp_path / "video.gif") as gif:
        middle = BOARD // 2, BOARD // 2, 0
        frames = [(np.asarray(x.convert("RGB"))[middle], x.info["duration"]) for x in ImageSequence.Iterator(gif)]
    shades = [80, 120, 160, 200, 240, 80, 120]  # 40 times the position plus 2, which ends at 4
    assert [shade for shade, _ in frames] == pytest.approx(shades, abs=8)
    assert [duration for _, duration in frames] == [50, 50, 50, 50, 100, 50, 50]


def test_pictures_keep_their_proportions() -> None:
    """Those of Atari, and of gymnasium's cart-pole."""
    assert scaled(np.zeros((210, 160, 3), np.uint8)).size == (305, 400)
    assert scaled(np.zeros((400, 600, 3), np.uint8)).size == (400, 267)


class Slider:
    """A robot with brax's interface, which moves by its action."""

    action_size, sys = 1, SimpleNamespace(mj_model="its model")

    def reset(self, key):
        return self.at(jnp.float32(0))

    def at(self, x):
        return SliderState(Joints(x[None]), x[None], x, jnp.float32(x > 1.8))

    def step(self, state, action):
        return self.at(state.pipeline_state.q[0] + action[0])


class Joints(NamedTuple):
    q: jax.Array


class SliderState(NamedTuple):
    pipeline_state: Joints
    obs: jax.Array
    reward: jax.Array
    done: jax.Array


def test_mujoco_is_given_a_pose_before_each_step(monkeypatch) -> None:
    """The first episode ends with the second of three steps."""

    def draw_robot(model: str, poses: dict[str, np.ndarray]) -> list[np.ndarray]:
        assert (model, poses.keys()) == ("its model", {"qpos"})
        return [np.full((BOARD, BOARD, 3), 10 * place[0], np.uint8) for place in poses["qpos"]]

    monkeypatch.setattr(video, "draw_robot", draw_robot)
    env = Robot("brax:slider", Slider())

    def right(state, given, key):
        return jnp.ones((1, 1))

    _, pictures = play(env, env.default_params, right, (), (), jax.random.key(0), 3, "mujoco")
    assert pictures is not None
    assert [[picture.flat[0] for picture in step] for step in pictures] == [[0, 10], [10, 0], [0, 0]]


def test_a_policy_of_actions_alone_moves_a_robot() -> None:
    env, env_params = make("PlanarHopper")
    trajectory, pictures = play(env, env_params, lambda *_: jnp.zeros((1, 3)), (), (), jax.random.key(0), 2)
    assert trajectory.extras == ()
    assert trajectory.action.shape == (2, 1, 3)
    assert pictures is not None
    assert [len(frames) for frames in pictures] == [2, 2]
    np.testing.assert_array_equal(pictures[0][1], pictures[1][0])


def test_an_environment_that_cannot_draw_is_shown_as_it_observes(capsys, monkeypatch) -> None:
    monkeypatch.setattr(HostCorridor, "render", lambda self: 1 / 0)
    policy = lambda _, given, key: jnp.ones(1, jnp.int32)  # noqa: E731
    trajectory, pictures = play(host_corridor(), None, policy, (), (), jax.random.key(0), 3)
    assert pictures is None
    assert trajectory.reward[:, 0].tolist() == [1, 2, 3]
    said = "note: the video shows observations, since Corridor raised in reset: ZeroDivisionError: division by zero\n"
    assert capsys.readouterr().out == said


def test_a_video_of_digits_shows_every_glimpse_what_is_said_and_what_is_right(tmp_path, monkeypatch) -> None:
    """Of each image a frame for each of two glimpses, and one more, twice as long, where its episode has ended."""
    env, env_params = make("Digits")
    drawn: list[tuple[int, str]] = []

    def draw(image, places, words):
        drawn.append((len(places), words))
        return np.full((BOARD, BOARD, 3), 30 * len(drawn), np.uint8)

    monkeypatch.setattr("jaxrl.plots.video.draw_look", draw)
    glances = Glances(jnp.zeros((1, 2, 2)), jnp.array([[7, 3]]))
    policy = lambda _, given, key: Decision(jnp.array([3]), extras=glances)  # noqa: E731
    trajectory, pictures = play(env, env_params, policy, (), (), jax.random.key(1), 4)
    assert pictures is not None
    right = [words.split("is ")[1] for _, words in drawn]
    assert right[::2] == right[1::2]
    assert len(set(right)) > 1
    assert [words for _, words in drawn] == [
        f"says {said}, is {is_right}" for said, is_right in zip([7, 3] * 4, right, strict=True)
    ]
    assert [number for number, _ in drawn] == [1, 2] * 4
    np.testing.assert_array_equal(trajectory.reward[:, 0], [float(x == "3") for x in right[::2]])
    save_video(env, trajectory, tmp_path / "video.gif", pictures=pictures)
    with Image.open(tmp_path / "video.gif") as gif:
        frames = [(np.asarray(x.convert("RGB"))[9, 9, 0], x.info["duration"]) for x in ImageSequence.Iterator(gif)]
    assert [duration for _, duration in frames] == [400, 400, 800] * 4
    shades = [shade for i in range(4) for shade in (60 * i + 30, 60 * i + 60, 60 * i + 60)]
    assert [shade for shade, _ in frames] == pytest.approx(shades, abs=8)


def test_a_video_of_digits_says_in_which_domain_they_have_their_names(monkeypatch) -> None:
    env, env_params = make("Digits", domains=3)
    drawn: list[str] = []
    monkeypatch.setattr("jaxrl.plots.video.draw_look", lambda image, places, words: drawn.append(words))
    asked = lambda _, given, key: env.domain(given.env_states)  # noqa: E731
    trajectory, _ = play(env, env_params, asked, (), (), jax.random.key(0), 8)
    domains = [DOMAINS[domain] for domain in trajectory.action[:, 0]]
    assert [words.split(",")[0] for words in drawn] == [f"{x}: says {DOMAINS.index(x)}" for x in domains]
    assert set(domains) == set(DOMAINS)


def test_a_video_of_routing_says_which_expert_was_chosen(monkeypatch) -> None:
    env, env_params = make("Digits", domains=3)
    drawn: list[str] = []
    monkeypatch.setattr("jaxrl.plots.video.draw_look", lambda image, places, words: drawn.append(words))
    chosen = lambda _, given, key: Decision(jnp.array([4]), extras=env.domain(given.env_states) + 5)  # noqa: E731
    play(env, env_params, chosen, (), (), jax.random.key(0), 8)
    experts = {name: f"{name}, expert {5 + i}" for i, name in enumerate(DOMAINS)}
    assert {words.split(":")[0] for words in drawn} == set(experts.values())


def test_a_video_of_digits_leaves_out_what_else_a_policy_keeps(monkeypatch) -> None:
    env, env_params = make("Digits")
    drawn: list[str] = []
    monkeypatch.setattr("jaxrl.plots.video.draw_look", lambda image, places, words: drawn.append(words))
    for extras in (jnp.zeros(1), (jnp.zeros(1), jnp.zeros((1, 3))), jnp.zeros((1, 10))):
        policy = lambda _, given, key, extras=extras: Decision(jnp.array([4]), extras=extras)  # noqa: E731
        play(env, env_params, policy, (), (), jax.random.key(0), 1)
    assert len(set(drawn)) == 1
    assert drawn[0].startswith("says 4, is ")


def test_a_video_of_captions_shows_where_it_looks(monkeypatch) -> None:
    """The middle of the place with the most weight, here in row 1 and column 4 of 6, is pixel (15, 39) of 48."""
    env, env_params = make("DigitCaptions")
    drawn: list[np.ndarray] = []
    monkeypatch.setattr("jaxrl.plots.video.draw_look", lambda image, places, words: drawn.append(places))
    weights = jnp.full((1, 36), 0.01).at[0, 10].set(0.6)
    policy = lambda _, given, key: Decision(jnp.array([4]), extras=weights)  # noqa: E731
    play(env, env_params, policy, (), (), jax.random.key(0), 2)
    np.testing.assert_allclose(drawn[0], [[15.5 / 24 - 1, 39.5 / 24 - 1]], rtol=1e-6)


def test_captions_say_words(monkeypatch) -> None:
    """Word for word; a policy that is always wrong starts anew each time, and always right is the same image's word."""
    env, env_params = make("DigitCaptions")
    drawn: list[str] = []
    monkeypatch.setattr("jaxrl.plots.video.draw_look", lambda image, places, words: drawn.append(words))
    always = lambda _, given, key: env.right_action(given.env_states)  # noqa: E731
    trajectory, _ = play(env, env_params, always, (), (), jax.random.key(0), 8)
    said = [WORDS[action] for action in trajectory.action[:, 0]]
    assert drawn == [f"says {word}, is {word}" for word in said]
    assert [word == "stop" for word in said] == (trajectory.reward[:, 0] == 1).tolist()
    assert "stop" in said
