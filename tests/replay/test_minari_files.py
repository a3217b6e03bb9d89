"""Datasets in Minari's format: what is written is read again, also by Minari, and what cannot be is refused."""

import jax
import numpy as np
import pytest

from jaxrl import ArgumentError, load_dataset, save_dataset
from tests.replay.test_datasets import M, cart_pole

minari = pytest.importorskip("minari")


@pytest.fixture(autouse=True)
def folder(monkeypatch, tmp_path):
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))


def consecutive(observation, **fields):
    """Transitions whose observations follow each other: two episodes, the second of which has not ended."""
    following = jax.tree.map(lambda x: np.roll(x, -1, axis=0), observation)
    ends = np.arange(M) == 1
    return cart_pole(
        observation=observation, next_observation=following, terminated=ends, truncated=np.zeros(M, bool), **fields
    )


@pytest.mark.parametrize(
    ("observation", "fields"),
    [
        (np.arange(4.0 * M, dtype=np.float32).reshape(M, 4), {}),
        (np.arange(18 * M).reshape(M, 3, 3, 2) % 5 == 0, {}),
        ({"a": np.arange(M, dtype=np.float32)[:, None], "b": np.arange(2 * M, dtype=np.uint8).reshape(M, 2)}, {}),
        (np.ones((M, 4), np.float32), {"action": np.linspace(-1, 1, M, dtype=np.float32)[:, None]}),
    ],
    ids=["floats", "booleans", "a dict", "continuous actions"],
)
def test_what_is_written_is_read(observation, fields) -> None:
    written = consecutive(observation, **fields)
    save_dataset("minari:tests/car-v0", written, {"env": "CartPole-v1", "num_actions": 2, "algorithm": "PPO"})
    read, about = load_dataset("minari:tests/car-v0")
    expected = written._replace(truncated=np.arange(M) == M - 1)
    jax.tree.map(np.testing.assert_array_equal, read, expected)
    kinds = [jax.tree.map(lambda x: x.dtype.kind, transitions) for transitions in (read, expected)]
    assert kinds[0] == kinds[1]
    assert about == {
        "env": "CartPole-v1", "num_actions": 2, "algorithm": "PPO", "episodes": 2,
        "episode_return_mean": pytest.approx(written.reward.sum() / 2),
    }  # fmt: skip
    episodes = list(minari.load_dataset("tests/car-v0").iterate_episodes())
    assert [len(episode) for episode in episodes] == [2, M - 2]


def test_what_cannot_be_used(tmp_path) -> None:
    """None of that name, a name that is none, and one that exists."""
    steps = consecutive(np.ones((M, 4), np.float32))
    rule = r"^path must be a Minari dataset that can be used "
    with pytest.raises(ArgumentError, match=rule + r"\(Dataset nosuch-v0 not found .*, got 'minari:nosuch-v0'$"):
        load_dataset("minari:nosuch-v0")
    for name in ("no name", "cartpole", "a/b-vX", "a/b-v0/"):
        with pytest.raises(ArgumentError, match=rf"^path must be minari:NAME with a version .*, got 'minari:{name}'$"):
            save_dataset(f"minari:{name}", steps)
    assert not list(tmp_path.iterdir())
    save_dataset("minari:tests/car-v0", steps)
    with pytest.raises(ArgumentError, match=rule + r"\(.*already exists"):
        save_dataset("minari:tests/car-v0", steps)
