"""Datasets: files that give back what was saved."""

import json
from pathlib import Path

import jax
import numpy as np
import pytest

from jaxrl import ArgumentError, Transition, load_dataset, save_dataset

M = 6
ENDS = np.arange(M) % 3 == 2
RNG = np.random.default_rng(0)
ABOUT = {"env": "CartPole-v1", "env_options": ["a=1"], "episode_return_mean": 1.5}


def cart_pole(**fields) -> Transition:
    observation = RNG.normal(size=(M, 4)).astype(np.float32)
    action, reward = np.arange(M, dtype=np.int32) % 2, np.ones(M, np.float32)
    return Transition(observation, action, reward, ENDS, ~ENDS, observation + 1)._replace(**fields)


def of_parts() -> Transition:
    """Observations of parts, legal actions, and extras."""
    observation = {"eye": {"left": np.zeros((M, 2, 2), np.uint8), "right": np.ones((M, 3), bool)}, "n": np.arange(M)}
    legal = np.ones((M, 2), bool)
    return cart_pole(observation=observation, next_observation=observation, legal=legal, next_legal=legal,
                     extras={"log_prob": np.zeros(M, np.float32)})  # fmt: skip


@pytest.mark.parametrize("make_transitions", [cart_pole, of_parts])
def test_a_file_gives_back_what_was_saved(make_transitions, tmp_path) -> None:
    path, transitions = tmp_path / "data.npz", make_transitions()
    save_dataset(path, transitions, ABOUT)
    loaded, about = load_dataset(str(path))
    assert about == ABOUT
    assert str(jax.tree.structure(loaded)) == str(jax.tree.structure(transitions))
    for x, y in zip(jax.tree.leaves(loaded), jax.tree.leaves(transitions), strict=True):
        np.testing.assert_array_equal(x, y)
        assert x.dtype == (np.int32 if y.dtype == np.int64 else y.dtype)
    assert [x.name for x in tmp_path.iterdir()] == ["data.npz"]
    with np.load(path) as file:  # by NumPy alone
        assert json.loads(str(file["about"])) == ABOUT
        np.testing.assert_array_equal(file["reward"], 1)


def test_what_cannot_be_saved(tmp_path) -> None:
    pair = (np.zeros(M), np.zeros(M))
    for bad in (pair, {"a/b": np.zeros(M)}, {1: np.zeros(M)}):
        with pytest.raises(ArgumentError, match=r"^transitions must have arrays or dicts of them as fields"):
            save_dataset(tmp_path / "x.npz", cart_pole(observation=bad, next_observation=bad))
    with pytest.raises(ArgumentError, match=r"^path must be a file that can be written \(No such file or directory\)"):
        save_dataset(tmp_path / "nowhere" / "x.npz", cart_pole())
    wrongs: list = [[1, 2], {"return": np.float32(1)}, "text"]
    for about in wrongs:
        with pytest.raises(ArgumentError, match=r"^about must be a dict of JSON's types \(.*\), got (list|dict|str)$"):
            save_dataset(tmp_path / "x.npz", cart_pole(), about)
    assert not list(tmp_path.iterdir())


def write(path: Path, **arrays) -> None:
    np.savez(path, **arrays)


def test_files_that_hold_no_dataset(tmp_path) -> None:
    good = {name: x for name, x in cart_pole()._asdict().items() if isinstance(x, np.ndarray)} | {"about": "{}"}
    path = tmp_path / "data.npz"
    rule = f"path must be a file of recorded transitions, as jaxrl.save_dataset writes ({{}}), got {path}"

    def message() -> str:
        with pytest.raises(ArgumentError) as error:
            load_dataset(path)
        assert "\n" not in str(error.value)
        return str(error.value)

    assert message() == rule.format("No such file or directory")
    path.write_text("no archive")
    assert message().startswith(rule.partition("{")[0].partition(" (")[0])
    for about in ("not json", "[1]", "3", None):
        write(path, **good | {"about": about} if about else {"x": np.zeros(3)})
        assert message() == rule.format("it has no entry about with a JSON object")
    write(path, **good | {"observation/eye": np.zeros(M)})
    assert message() == rule.format("it has observation both as an array and as a dict")
    write(path, **good, colour=np.zeros(M))
    assert message() == rule.format("it has colour")
    write(path, **good | {"action": np.array([{}] * M, object)})
    assert message().startswith(rule.partition(" (")[0])
    np.save(path.with_suffix(".npy"), np.zeros(3))
    path.with_suffix(".npy").rename(path)
    assert message().startswith(rule.partition(" (")[0])
    write(path, **{name: x for name, x in good.items() if name != "next_observation"})
    assert message() == f"path must have the field next_observation, got none ({path})"
    write(path, **good | {"reward": np.full(M, np.nan, np.float32)})
    assert message() == f"path must have finite numbers, got nan in reward, transition 0 ({path})"
    write(path, **good | {"reward": np.full(M, 1e300)})
    assert message() == f"path must have finite numbers, got inf in reward, transition 0 ({path})"


def test_a_damaged_file(tmp_path) -> None:
    """Whichever byte is damaged, the error is one of the file."""
    path, messages = tmp_path / "data.npz", []
    save_dataset(path, cart_pole(), ABOUT)
    sound = path.read_bytes()
    for i in range(0, len(sound), 7):
        path.write_bytes(sound[:i] + bytes([sound[i] ^ 0xFF]) + sound[i + 1 :])
        try:
            load_dataset(path)
        except ArgumentError as error:
            messages.append(str(error))
    assert len(messages) > len(sound) // 14
    assert all(str(path) in message and "\n" not in message for message in messages)
