"""Datasets: recorded transitions, their checks, their files, and batches of them."""

import json
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import DictKey

from jaxrl.arguments import ArgumentError, check_kind
from jaxrl.precision import SINGLE
from jaxrl.replay import minari_files
from jaxrl.types import Array, Sample, Transition
from jaxrl.xla.sharding import shard_batch
from jaxrl.xla.threefry import inline

ABOUT = "about"
"""The entry of a file that is no field: what is known about the transitions, as JSON."""
MINARI = "minari:"
"""What precedes the name of a Minari dataset, in place of a path."""
NEEDED = Transition._fields[:6]
"""The fields that no dataset lacks."""
ONE_NUMBER = {"reward": ("float", jnp.floating), "terminated": ("bool", jnp.bool_), "truncated": ("bool", jnp.bool_)}
"""Fields `[M]`, and their dtypes."""


class Dataset(NamedTuple):
    """Recorded transitions.

    Attributes:
        transitions: leaves `[M, ...]` on the host. Those of an episode follow each other.
        about: where they come from, in JSON's types, such as `{"env": "CartPole-v1"}`.
    """

    transitions: Transition
    about: dict[str, Any]


def save_dataset(path: str | Path, transitions: Transition, about: Mapping[str, Any] | None = None) -> None:
    """Writes a dataset as a compressed NumPy archive, which is complete or absent.

    Args:
        path: the file, usually `*.npz`, or `minari:NAME` for a new Minari dataset.
        transitions: `[M, ...]`. Observations are arrays, or dicts of them.
        about: where they come from, in JSON's types.

    Raises:
        ArgumentError: they are no dataset, what is about them has other types, or the file cannot be written.
    """
    try:
        arrays = {ABOUT: np.array(json.dumps(dict(about or {})))}
    except (TypeError, ValueError) as error:
        rule = f"must be a dict of JSON's types ({str(error).partition(chr(10))[0]})"
        raise ArgumentError("about", rule, about, got=type(about).__name__) from error
    if str(path).startswith(MINARI):
        transitions, about = check_dataset(transitions), dict(about or {})
        number = about.get("num_actions") or num_actions_seen(transitions)
        return minari_files.write(str(path).removeprefix(MINARI), transitions, about, number)
    path = Path(path)
    for keys, x in jax.tree_util.tree_leaves_with_path(check_dataset(transitions)._asdict()):
        names = [key.key for key in keys if isinstance(key, DictKey) and isinstance(key.key, str)]
        if len(names) < len(keys) or any("/" in name for name in names):
            rule = "must have arrays or dicts of them as fields to be saved"
            raise ArgumentError("transitions", rule, got=jax.tree_util.keystr(keys))
        arrays["/".join(names)] = np.asarray(x)
    draft = Path(f"{path}.tmp")
    try:
        with draft.open("wb") as file:
            np.savez_compressed(file, **arrays)  # type: ignore[arg-type]  # numpy's stub takes names for flags
        os.replace(draft, path)
    except OSError as error:
        rule = f"must be a file that can be written ({error.strerror})"
        raise ArgumentError("path", rule, path) from error


def load_dataset(path: str | Path) -> Dataset:
    """Reads what `save_dataset` wrote, or a Minari dataset, `minari:NAME`.

    Raises:
        ArgumentError: the file cannot be read or holds something else, or its transitions are empty, have NaNs or lack
            a field.
    """
    if str(path).startswith(MINARI):
        return _checked(*minari_files.read(str(path).removeprefix(MINARI)), path)
    rule = "must be a file of recorded transitions, as jaxrl.save_dataset writes"
    try:
        arrays = _read_arrays(path)
        about = _about_of(arrays)
        fields = _nested(arrays)
    except Exception as error:  # of many kinds, if the archive is damaged
        why = getattr(error, "strerror", None) or (str(error).splitlines() or [type(error).__name__])[0][:100]
        raise ArgumentError("path", f"{rule} ({why})", path) from error
    if unknown := fields.keys() - set(Transition._fields):
        raise ArgumentError("path", f"{rule} (it has {', '.join(sorted(unknown))})", path)
    return _checked(Transition(**dict.fromkeys(NEEDED, ()) | fields), about, path)


def _checked(transitions: Transition, about: dict[str, Any], path: str | Path) -> Dataset:
    try:
        return Dataset(check_dataset(transitions), about)
    except ArgumentError as error:
        raise ArgumentError("path", error.rule, path, f"{error.got} ({path})") from error


def _read_arrays(path: str | Path) -> dict[str, np.ndarray]:
    if not zipfile.is_zipfile(path) and Path(path).exists():
        raise ValueError("it is no NumPy archive")
    with Path(path).open("rb") as stream, np.load(stream, allow_pickle=False) as file:  # NumPy alone may not close it
        return {name: file[name] for name in file.files}


def _about_of(arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    """What is known about the transitions, which is taken out of the entries."""
    try:
        about = json.loads(str(arrays.pop(ABOUT)))
    except (KeyError, json.JSONDecodeError):
        about = None
    if not isinstance(about, dict):
        raise ValueError(f"it has no entry {ABOUT} with a JSON object")
    return about


def _nested(arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    """Fields from entries such as `reward` and `observation/image`."""
    fields: dict[str, Any] = {}
    for name, x in arrays.items():
        if any(other.startswith(f"{name}/") for other in arrays):
            raise ValueError(f"it has {name} both as an array and as a dict")
        *outer, last = name.split("/")
        inside = fields
        for key in outer:
            inside = inside.setdefault(key, {})
        inside[last] = x
    return fields


def check_dataset(dataset: Any) -> Transition:
    """Returns transitions `[M, ...]` as arrays of at most 32 bits on the host. `jax.ShapeDtypeStruct`s pass.

    Raises:
        ArgumentError: they lack a field, are empty, have NaNs, or their shapes and dtypes do not fit each other.
    """
    check_kind("dataset", dataset, Transition, " of recorded transitions [M, ...]")
    dataset = jax.tree_util.tree_map_with_path(_as_array, dataset)
    for name in NEEDED:
        if not jax.tree.leaves(getattr(dataset, name)):
            raise ArgumentError("dataset", f"must have the field {name}", got="none")
    size = np.shape(dataset.reward)[:1]
    for keys, x in jax.tree_util.tree_leaves_with_path(dataset):
        name = jax.tree_util.keystr(keys).lstrip(".")
        if x.shape[:1] != size or not size:
            raise _refuse(f"must have [{', '.join(map(str, size)) or 'M'}, ...] transitions in every field", x, name)
    if size == (0,):
        raise ArgumentError("dataset", "must have transitions", got="none")
    _check_fields(dataset)
    if not any(isinstance(x, jax.ShapeDtypeStruct) for x in jax.tree.leaves(dataset)):
        _check_values(dataset)
    return dataset


def _as_array(keys: Any, x: Any) -> Any:
    """A field, whose path is `keys`, with at most 32 bits."""
    if isinstance(x, jax.ShapeDtypeStruct):
        return x
    array = np.asarray(x)
    if array.dtype == object:
        raise ArgumentError("dataset", "must have arrays as fields", x, got=type(x).__name__)
    with np.errstate(over="ignore"):  # to infinity, which is refused later
        narrow = np.asarray(array, SINGLE.get(str(array.dtype), array.dtype))
    if narrow is not array and np.issubdtype(array.dtype, np.integer) and (wrong := narrow != array).any():
        name = jax.tree_util.keystr(keys).lstrip(".")
        raise ArgumentError("dataset", f"must have numbers that fit {narrow.dtype}", x, f"{array[wrong][0]} in {name}")
    return narrow


def _refuse(rule: str, x: Any, name: str) -> ArgumentError:
    return ArgumentError("dataset", rule, x, got=f"{x.dtype}{list(x.shape)} in {name}")


def _check_fields(dataset: Transition) -> None:
    """Checks the shapes and dtypes of the fields."""
    for name, (kind, dtype) in ONE_NUMBER.items():
        x = getattr(dataset, name)
        if x.ndim != 1 or not jnp.issubdtype(x.dtype, dtype):
            raise _refuse(f"must have {kind}[M] in {name}", x, name)
    action, legal = dataset.action, dataset.legal
    discrete = jnp.issubdtype(action.dtype, jnp.integer)
    if not (discrete or jnp.issubdtype(action.dtype, jnp.floating)) or action.ndim != (1 if discrete else 2):
        raise _refuse("must have int[M], or float[M, D] for a box, in action", action, "action")
    if legal is not None and (not discrete or legal.ndim != 2 or legal.dtype != jnp.bool_):
        raise _refuse("must have bool[M, num_actions] in legal, for discrete actions alone", legal, "legal")
    for name in ("observation", "legal"):
        this, following = (
            jax.tree.map(lambda x: f"{x.dtype}{list(x.shape)}", getattr(dataset, field))
            for field in (name, f"next_{name}")
        )
        if this != following:
            raise ArgumentError("dataset", f"must have in next_{name} what is in {name}, {this}", got=str(following))


def _check_values(dataset: Transition) -> None:
    """Checks that numbers are finite, and actions legal."""
    for keys, x in jax.tree_util.tree_leaves_with_path(dataset):
        name = jax.tree_util.keystr(keys).lstrip(".")
        if jnp.issubdtype(x.dtype, jnp.floating) and not (finite := np.isfinite(x)).all():
            row = int(np.argwhere(~finite)[0][0])
            raise ArgumentError(
                "dataset", "must have finite numbers", got=f"{x[~finite][0]} in {name}, transition {row}"
            )
    action = dataset.action
    if not jnp.issubdtype(action.dtype, jnp.integer):
        return
    wrong = action < 0
    if dataset.legal is not None:
        inside = np.clip(action, 0, dataset.legal.shape[1] - 1)
        wrong |= (inside != action) | ~dataset.legal[np.arange(len(action)), inside]
    if wrong.any():
        row = int(wrong.argmax())
        raise ArgumentError("dataset", "must have legal actions >= 0", got=f"{action[row]} in transition {row}")


def num_actions_seen(dataset: Transition) -> int:
    """The largest discrete action of a dataset, plus 1; 0 if its actions are continuous or only shapes."""
    if isinstance(dataset.action, jax.ShapeDtypeStruct) or not jnp.issubdtype(dataset.action.dtype, jnp.integer):
        return 0
    return int(dataset.action.max()) + 1


def sample_dataset(dataset: Transition, key: Array, batch_size: int) -> tuple[Array, Sample]:
    """Draws transitions uniformly, with replacement.

    Args:
        dataset: transitions `[M, ...]`, on the device.
        key: a random key.
        batch_size: B.

    Returns:
        Their rows in the dataset, int32 `[B]`, and the sample of sequences of one step, `[1, B]`, with weights 1.
    """
    rows = jax.random.randint(inline(key), (batch_size,), 0, len(dataset.reward), jnp.int32)
    batch = jax.tree.map(lambda x: x.at[rows].get(mode="promise_in_bounds")[None], dataset)
    return rows, Sample(shard_batch(batch, axis=1), jnp.ones(batch_size, jnp.float32))
