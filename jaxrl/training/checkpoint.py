"""Checkpoints: the whole state of a run on disk, complete or not there at all, and checked when it is read.

Orbax writes them, each in a folder that gets its name only when it is complete, so a run killed while writing leaves
the checkpoint before. A SHA-256 of all values lies beside them, since altered bytes would restore without complaint.
"""

import contextlib
import errno
import hashlib
import logging
import os
import shutil
import string
import sys
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils

from jaxrl.types import PyTree


class CheckpointError(Exception):
    """No checkpoint could be written, or none could be read.

    Attributes:
        result: what `run` would have given, if only its last checkpoint could not be written.
    """

    result: Any = None


class LayoutError(CheckpointError):
    """A checkpoint is of another kind of state: another agent, other sizes, another number of seeds."""


class Checkpoints:
    """The checkpoints of one run, the newest two of which are kept.

    Args:
        directory: their folder; made when the first one is written.
        read_only: only read, and leave alone what another process may be writing. Numbers of another width than asked
            for, as `jax_enable_x64` makes them, are converted then.
    """

    def __init__(self, directory: str | Path, read_only: bool = False) -> None:
        self.directory, self.read_only = Path(directory).absolute(), read_only

    @cached_property
    def _manager(self) -> Any:
        import orbax.checkpoint as ocp  # here, because it takes a second, and a run needs none before its first chunk

        logging.getLogger("absl").setLevel(logging.CRITICAL)  # what goes wrong is raised, and said once
        options = ocp.CheckpointManagerOptions(
            max_to_keep=2,
            create=not self.read_only,
            read_only=self.read_only,
            cleanup_tmp_directories=not self.read_only,
            enable_async_checkpointing=False,
        )
        return ocp.CheckpointManager(self.directory, options=options)

    def steps(self) -> list[int]:
        """The numbers of the complete checkpoints; folders of interrupted writes have longer names."""
        if not self.directory.is_dir():
            return []
        return sorted(int(entry.name) for entry in self.directory.iterdir() if entry.name.isdigit())

    def save(self, step: int, state: PyTree, info: dict[str, Any]) -> None:
        """Writes `state` and the JSON values of `info` as checkpoint number `step`; returns when they are on disk.

        Raises:
            CheckpointError: they could not be written. Earlier checkpoints are as they were.
        """
        from orbax.checkpoint import args

        try:
            if step in self._manager.all_steps():
                return
            description = {"sha256": fingerprint(state), "layout": layout(state), "leaves": leaves(state)}
            contents = {
                "state": args.StandardSave(state),
                "info": args.JsonSave(info | description | {"processes": jax.process_count()}),
            }
            with _said_once():
                self._manager.save(step, args=args.Composite(**contents))
        except Exception as error:  # Orbax and TensorStore raise many kinds; each of them is fatal to the run
            raise CheckpointError(f"cannot write checkpoint {step} in {self.directory}: {_cause(error)}") from error

    def restore(self, like: PyTree) -> tuple[PyTree, dict[str, Any], dict[int, str]]:
        """The newest checkpoint that is whole.

        Args:
            like: `jax.ShapeDtypeStruct`s of the state. Those without a sharding are restored to the first device.

        Returns:
            The state, committed to its devices; its info; and for each newer checkpoint that is damaged, its
            number and what is wrong with it.

        Raises:
            CheckpointError: there is none, or it is the state of something else.
        """
        first = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
        like = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding or first), like)
        damaged: dict[int, str] = {}
        for step in sorted(self._manager.all_steps(), reverse=True):
            try:
                state, info = self._read(step, like)
            except LayoutError:
                raise
            except Exception as error:  # whatever is wrong with this one, the one before may be whole
                damaged[step] = first_line(error)
            else:
                return state, info, damaged
        reasons = "; ".join(f"checkpoint {step} is damaged ({reason})" for step, reason in damaged.items())
        raise CheckpointError(f"no usable checkpoint in {self.directory}" + (f": {reasons}" if reasons else ""))

    def move_aside(self, step: int) -> Path:
        """Moves a checkpoint beside the folder, so that the run can write it again; says where it is now."""
        aside = self.directory.with_name(f"{self.directory.name}-damaged-{step}")
        shutil.rmtree(aside, ignore_errors=True)
        os.replace(self.directory / str(step), aside)
        self._manager.reload()
        return aside

    def _read(self, step: int, like: PyTree) -> tuple[PyTree, dict[str, Any]]:
        from orbax.checkpoint import args

        info = self._manager.restore(step, args=args.Composite(info=args.JsonRestore())).info
        described, expected = info.get("leaves", {}), leaves(like)
        saved = with_widths(like, described) if self.read_only else like
        if info["layout"] != layout(saved):
            raise LayoutError(f"checkpoint {step} in {self.directory} {difference(described, expected)}")
        with jax.enable_x64(True) if layout(saved) != layout(like) else contextlib.nullcontext():
            state = self._manager.restore(step, args=args.Composite(state=args.StandardRestore(saved))).state
            if fingerprint(state, info.get("processes")) != info["sha256"]:
                raise CheckpointError("its values do not match their checksum")
        return jax.tree.map(lambda x, y: x if x.dtype == y.dtype else x.astype(y.dtype), state, like), info


def fingerprint(state: PyTree, processes: int | None = None) -> str:
    """SHA-256 over the names, kinds and bytes of all leaves, on however many devices they lie.

    What `processes` processes hold, each an equal part of every leaf, is hashed part by part; one process alone can
    work that out too.
    """
    processes = processes or jax.process_count()
    if jax.process_count() > 1:
        everybody = multihost_utils.process_allgather(np.frombuffer(_digest(state, 0, 1), np.uint8))
        return hashlib.sha256(everybody.tobytes()).hexdigest()
    digests = [_digest(state, part, processes) for part in range(processes)]
    return digests[0].hex() if processes == 1 else hashlib.sha256(b"".join(digests)).hexdigest()


def _digest(state: PyTree, part: int, parts: int) -> bytes:
    """Over what this process has of all leaves, or one of so many equal parts of that."""
    digest = hashlib.sha256()
    for path, leaf in jax.tree_util.tree_leaves_with_path(state):
        if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            leaf = jax.random.key_data(leaf)
        digest.update(f"{jax.tree_util.keystr(path)} {leaf.dtype} {leaf.shape}".encode())
        arrays = _parts(leaf)
        if parts > 1 and leaf.ndim:
            rows = leaf.shape[0] // parts
            arrays = [np.asarray(leaf)[part * rows : (part + 1) * rows]]
        for array in arrays:
            digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return digest.digest()


def _parts(leaf: jax.Array) -> list[np.ndarray]:
    """What this process has of an array, in order; without a copy of the whole if it is cut along its first axis."""
    if leaf.is_fully_replicated:
        return [np.asarray(leaf.addressable_data(0))]
    shards = sorted(leaf.addressable_shards, key=lambda shard: shard.index[0].start or 0)
    if leaf.is_fully_addressable and any(shard.data.shape[1:] != leaf.shape[1:] for shard in shards):
        return [np.asarray(leaf)]
    return [np.asarray(shard.data) for shard in shards]


def layout(state: PyTree) -> str:
    """SHA-256 over the names, kinds and shapes of all leaves."""
    paths = jax.tree_util.tree_leaves_with_path(state)
    described = [f"{jax.tree_util.keystr(path)} {leaf.dtype} {leaf.shape}" for path, leaf in paths]
    return hashlib.sha256("\n".join(described).encode()).hexdigest()


def leaves(state: PyTree) -> dict[str, str]:
    """The kind and shape of each leaf by its name, such as `{".state.key": "key<fry>[]"}`."""
    paths = jax.tree_util.tree_leaves_with_path(state)
    return {jax.tree_util.keystr(path): f"{leaf.dtype}{list(leaf.shape)}" for path, leaf in paths}


def with_widths(like: PyTree, saved: dict[str, str]) -> PyTree:
    """The shapes of a state, with as many bits in each number as it was saved with."""

    def widen(path: Any, x: jax.ShapeDtypeStruct) -> jax.ShapeDtypeStruct:
        dtype = saved.get(jax.tree_util.keystr(path), "").partition("[")[0]
        if dtype.rstrip(string.digits) != str(x.dtype).rstrip(string.digits):
            return x
        return x if dtype == str(x.dtype) else jax.ShapeDtypeStruct(x.shape, dtype, sharding=x.sharding)

    return jax.tree_util.tree_map_with_path(widen, like)


def difference(saved: dict[str, str], expected: dict[str, str]) -> str:
    """What is the first leaf that differs, and which setting of JAX is the cause if one is."""
    rule = "has leaves of other names, shapes or kinds"
    if not saved:  # as checkpoints of an older jaxrl are
        return rule
    name = next(name for name in [*expected, *saved] if saved.get(name) != expected.get(name))
    there, here = saved.get(name, "absent"), expected.get(name, "absent")
    cause = ""
    if there.startswith("key<") and here.startswith("key<") and there.partition("[")[0] != here.partition("[")[0]:
        cause = "; jax_default_prng_impl was another when it was saved"
    elif there.replace("64[", "32[") == here.replace("64[", "32["):
        cause = f"; jax_enable_x64 was {'64[' in there} when it was saved"
    return f"{rule}: {name} is {there} there and {here} here{cause}"


@contextlib.contextmanager
def _said_once() -> Iterator[None]:
    """Keeps TensorStore from printing a traceback for each other file, at once or later, if one cannot be written."""
    before = sys.unraisablehook

    def hook(found: Any) -> None:
        if "Event loop is closed" not in str(found.exc_value):
            before(found)

    sys.unraisablehook = hook
    yield
    sys.unraisablehook = before


def _cause(error: BaseException) -> str:
    """What the operating system says is wrong, if it does, and not what Orbax was doing meanwhile."""
    text, reasons = str(error), {os.strerror(number) for number in errno.errorcode}
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    found = [(text.rfind(reason), reason) for reason in reasons if reason in text]
    return max(found)[1] if found else first_line(error)


def first_line(error: BaseException) -> str:
    """An error in one line."""
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0][:200]}" if text else type(error).__name__
