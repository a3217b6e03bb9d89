"""Checkpoints hold the whole state of a run on disk. They are complete or absent, and checked when they are read.

Orbax writes each into a folder that gets its name only when it is complete, so a run killed while writing leaves the
previous checkpoint. A SHA-256 of all values lies beside them, since altered bytes would restore without complaint.
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

from jaxrl.arguments import first_line
from jaxrl.types import PyTree


class CheckpointError(Exception):
    """A checkpoint could not be written, or none could be read.

    Attributes:
        result: the result of `run`, if only its last checkpoint could not be written.
    """

    result: Any = None


class LayoutError(CheckpointError):
    """A checkpoint holds another kind of state: of another agent, other sizes or another number of seeds."""


class Checkpoints:
    """The newest two checkpoints of a run.

    Args:
        directory: their folder, which the first one creates.
        read_only: whether to read only, while another process may be writing. Numbers of another width than requested,
            as `jax_enable_x64` makes them, are then converted.
    """

    def __init__(self, directory: str | Path, read_only: bool = False) -> None:
        self.directory, self.read_only = Path(directory).absolute(), read_only

    @cached_property
    def _manager(self) -> Any:
        import orbax.checkpoint as ocp  # takes a second

        logging.getLogger("absl").setLevel(logging.CRITICAL)  # errors are raised; once is enough
        logging.getLogger("asyncio").addFilter(_is_not_orbax)
        options = ocp.CheckpointManagerOptions(
            max_to_keep=2,
            create=not self.read_only,
            read_only=self.read_only,
            cleanup_tmp_directories=not self.read_only,
            enable_async_checkpointing=False,
        )
        return ocp.CheckpointManager(self.directory, options=options)

    def steps(self) -> list[int]:
        """The numbers of the complete checkpoints. Interrupted writes leave folders with longer names."""
        if not self.directory.is_dir():
            return []
        return sorted(int(entry.name) for entry in self.directory.iterdir() if entry.name.isdigit())

    def save(self, step: int, state: PyTree, info: dict[str, Any], envs: bytes | None = None) -> None:
        """Writes `state`, and `info` as JSON, as checkpoint number `step`. Returns when they are on disk.

        Args:
            step: its number.
            state: arrays.
            info: what else to know.
            envs: the states of environments that step on the host, if they can be saved.

        Raises:
            CheckpointError: they could not be written. Earlier checkpoints stay intact.
        """
        from orbax.checkpoint import args

        try:
            if step in self._manager.all_steps():
                return
            description = {"sha256": fingerprint(state), "leaves": leaves(state), "processes": jax.process_count()}
            if envs is not None:
                description["envs"] = {"size": len(envs), "sha256": hashlib.sha256(envs).hexdigest()}
            contents: dict[str, Any] = {"state": args.StandardSave(state), "info": args.JsonSave(info | description)}
            if envs is not None:
                contents["envs"] = args.StandardSave(_as_array(envs))
            with _quiet_tensorstore():
                self._manager.save(step, args=args.Composite(**contents))
        except Exception as error:  # Orbax and TensorStore raise many kinds
            raise CheckpointError(f"cannot write checkpoint {step} in {self.directory}: {_cause(error)}") from error

    def restore(self, like: PyTree) -> tuple[PyTree, dict[str, Any], dict[int, str]]:
        """Reads the newest intact checkpoint.

        Args:
            like: `jax.ShapeDtypeStruct`s of the state. Leaves without a sharding are restored to the first device.

        Returns:
            The state, committed to its devices; its info, with the `envs` as bytes or None; and the number of each
            newer, damaged checkpoint, with what is wrong with it. If `read_only`, there are no `envs`.

        Raises:
            CheckpointError: no checkpoint is intact, or it holds another kind of state.
        """
        first = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
        like = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding or first), like)
        damaged: dict[int, str] = {}
        for step in sorted(self._manager.all_steps(), reverse=True):
            try:
                state, info = self._read(step, like)
            except LayoutError:
                raise
            except Exception as error:  # the previous one may be intact, whatever is wrong
                damaged[step] = first_line(error)
            else:
                return state, info, damaged
        reasons = "; ".join(f"checkpoint {step} is damaged ({reason})" for step, reason in damaged.items())
        raise CheckpointError(f"no usable checkpoint in {self.directory}" + (f": {reasons}" if reasons else ""))

    def info(self) -> dict[str, Any]:
        """The info of the newest checkpoint in which it can be read; empty if there is none."""
        from orbax.checkpoint import args

        for step in sorted(self._manager.all_steps(), reverse=True):
            with contextlib.suppress(Exception):  # `restore` says what is wrong with it
                return self._manager.restore(step, args=args.Composite(info=args.JsonRestore())).info
        return {}

    def move_aside(self, step: int) -> Path:
        """Moves a checkpoint beside the folder, so that the run can write it again; returns its new path."""
        aside = self.directory.with_name(f"{self.directory.name}-damaged-{step}")
        shutil.rmtree(aside, ignore_errors=True)
        os.replace(self.directory / str(step), aside)
        self._manager.reload()
        return aside

    def _read(self, step: int, like: PyTree) -> tuple[PyTree, dict[str, Any]]:
        from orbax.checkpoint import args

        info = self._manager.restore(step, args=args.Composite(info=args.JsonRestore())).info
        described = info["leaves"]
        saved = _with_widths(like, described) if self.read_only else like
        if list(described.items()) != list(leaves(saved).items()):  # their order counts too
            raise LayoutError(f"checkpoint {step} in {self.directory} {_difference(described, leaves(like))}")
        with jax.enable_x64(True) if leaves(saved) != leaves(like) else contextlib.nullcontext():
            state = self._manager.restore(step, args=args.Composite(state=args.StandardRestore(saved))).state
            if fingerprint(state, info["processes"]) != info["sha256"]:
                raise CheckpointError("its values do not match their checksum")
        info["envs"] = None if self.read_only or "envs" not in info else self._read_envs(step, info["envs"])
        return jax.tree.map(lambda x, y: x if x.dtype == y.dtype else x.astype(y.dtype), state, like), info

    def _read_envs(self, step: int, described: dict[str, Any]) -> bytes:
        from orbax.checkpoint import args

        like = _as_array(bytes(described["size"]))
        envs = self._manager.restore(step, args=args.Composite(envs=args.StandardRestore(like))).envs["bytes"].tobytes()
        if hashlib.sha256(envs).hexdigest() != described["sha256"]:
            raise CheckpointError("its environments do not match their checksum")
        return envs


def _as_array(envs: bytes) -> dict[str, np.ndarray]:
    return {"bytes": np.frombuffer(envs, np.uint8)}


def _is_not_orbax(record: logging.LogRecord) -> bool:
    """Whether an error of asyncio is not about a write of Orbax's that failed together with the one that is raised."""
    return "orbax" not in record.getMessage()


def fingerprint(state: PyTree, processes: int | None = None) -> str:
    """SHA-256 over the names, dtypes, shapes and bytes of all leaves, independent of their devices.

    Args:
        state: arrays, which several processes may hold in equal parts.
        processes: the number of such parts, each of which is hashed alone; by default, the number of processes. One
            process can compute the fingerprint of several.
    """
    processes = processes or jax.process_count()
    if jax.process_count() > 1:
        digests = multihost_utils.process_allgather(np.frombuffer(_digest(state, 0, 1), np.uint8))
        return hashlib.sha256(digests.tobytes()).hexdigest()
    parts = [_digest(state, part, processes) for part in range(processes)]
    return parts[0].hex() if processes == 1 else hashlib.sha256(b"".join(parts)).hexdigest()


def fingerprint_of_constants(constants: PyTree) -> str:
    """`fingerprint` of arrays that every process holds whole, on the host or on devices."""
    return _digest(jax.tree.map(lambda x: x if hasattr(x, "dtype") else np.asarray(x), constants), 0, 1).hex()


def _digest(state: PyTree, part: int, parts: int) -> bytes:
    """SHA-256 of this process's part of all leaves, or of its `part`-th of `parts` equal slices."""
    digest = hashlib.sha256()
    for path, leaf in jax.tree_util.tree_leaves_with_path(state):
        if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            leaf = jax.random.key_data(leaf)
        digest.update(f"{jax.tree_util.keystr(path)} {leaf.dtype} {leaf.shape}".encode())
        arrays = _local_parts(leaf)
        if parts > 1 and leaf.ndim:
            rows = leaf.shape[0] // parts
            arrays = [np.asarray(leaf)[part * rows : (part + 1) * rows]]
        for array in arrays:
            digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return digest.digest()


def _local_parts(leaf: jax.Array | np.ndarray) -> list[np.ndarray]:
    """This process's parts of an array, in order. An array that is split along its first axis is not copied whole."""
    if not isinstance(leaf, jax.Array):
        return [leaf]
    if leaf.is_fully_replicated:
        return [np.asarray(leaf.addressable_data(0))]
    shards = sorted(leaf.addressable_shards, key=lambda shard: shard.index[0].start or 0)
    if leaf.is_fully_addressable and any(shard.data.shape[1:] != leaf.shape[1:] for shard in shards):
        return [np.asarray(leaf)]
    return [np.asarray(shard.data) for shard in shards]


def leaves(state: PyTree) -> dict[str, str]:
    """The dtype and shape of each leaf by its name, such as `{".state.key": "key<fry>[]"}`."""
    paths = jax.tree_util.tree_leaves_with_path(state)
    return {jax.tree_util.keystr(path): f"{leaf.dtype}{list(leaf.shape)}" for path, leaf in paths}


def _with_widths(like: PyTree, saved: dict[str, str]) -> PyTree:
    """The shapes of a state, with the dtype of each number as wide as it was saved."""

    def widen(path: Any, x: jax.ShapeDtypeStruct) -> jax.ShapeDtypeStruct:
        dtype = saved.get(jax.tree_util.keystr(path), "").partition("[")[0]
        if dtype.rstrip(string.digits) != str(x.dtype).rstrip(string.digits):
            return x
        return x if dtype == str(x.dtype) else jax.ShapeDtypeStruct(x.shape, dtype, sharding=x.sharding)

    return jax.tree_util.tree_map_with_path(widen, like)


def _difference(saved: dict[str, str], expected: dict[str, str]) -> str:
    """The first leaf that differs, and the setting of JAX that caused it, if one did."""
    name = next((name for name in [*expected, *saved] if saved.get(name) != expected.get(name)), None)
    if name is None:
        return f"has its leaves in another order: {', '.join(saved)}"
    there, here = saved.get(name, "absent"), expected.get(name, "absent")
    cause = ""
    if there.startswith("key<") and here.startswith("key<") and there.partition("[")[0] != here.partition("[")[0]:
        cause = "; jax_default_prng_impl was another when it was saved"
    elif there.replace("64[", "32[") == here.replace("64[", "32["):
        cause = f"; jax_enable_x64 was {'64[' in there} when it was saved"
    return f"has leaves of other names, shapes or kinds: {name} is {there} there and {here} here{cause}"


@contextlib.contextmanager
def _quiet_tensorstore() -> Iterator[None]:
    """If a file cannot be written, keeps TensorStore from printing a traceback for each other one."""
    before = sys.unraisablehook

    def hook(found: Any) -> None:
        if "Event loop is closed" not in str(found.exc_value):
            before(found)

    sys.unraisablehook = hook
    yield
    sys.unraisablehook = before


def _cause(error: BaseException) -> str:
    """What the operating system reports, if it does, without what Orbax was doing."""
    text, reasons = str(error), {os.strerror(number) for number in errno.errorcode}
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    found = [(text.rfind(reason), reason) for reason in reasons if reason in text]
    return max(found)[1] if found else first_line(error)
