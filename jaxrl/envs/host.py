"""Environments that step on the host, such as gymnasium's, and emulators.

No compiled program can step them. A trainer with such an environment is cut where the environments step (see
`jaxrl.training.stages`), and `jaxrl.training.host_program` calls its parts around their steps.
"""

import dataclasses
import io
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, NoReturn, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from jaxrl.random import as_keys
from jaxrl.types import Array, PyTree


class HostError(Exception):
    """An environment on the host raised an error, or returned something that its spaces do not contain.

    Attributes:
        run_state: the state of the run after its last complete iteration; None if there is none yet.
    """

    run_state: Any = None


class Seen(NamedTuple):
    """What N environments show. It stays as it is while they go on: arrays that nobody writes into again.

    Attributes:
        observation: NumPy arrays `[N, *observation]`.
        legal: which actions are legal, bool `[N, num_actions]`; None if the environment does not say.
        pictures: one for each environment, uint8 `[H, W, 3]`, if they were made to draw and can; else None.
    """

    observation: PyTree
    legal: Any = None
    pictures: list[np.ndarray] | None = None


class Outcome(NamedTuple):
    """One step of N environments.

    What an agent learns from may differ from what counts. In Atari games its rewards are clipped, and a lost life may
    end its episode, but returns are the scores of whole games.

    Attributes:
        reward: what the agent learns from, float32 `[N]`.
        terminated, truncated: where the agent's episode ended, bool `[N]`, never both.
        last: what the actions led to, before any reset.
        first: what the next actions depend on: the same, or where an episode ended, the first of the next one.
        score: what counts in returns, float32 `[N]`; None if that is the reward.
        over: where a return is complete, bool `[N]`, at an end of the agent's episode; None if it is at each.
    """

    reward: np.ndarray
    terminated: np.ndarray
    truncated: np.ndarray
    last: Seen
    first: Seen
    score: np.ndarray | None = None
    over: np.ndarray | None = None


class HostEnvs(Protocol):
    """N environments in lockstep, which reset themselves."""

    def reset(self, seeds: np.ndarray) -> Seen:
        """Begins a new episode in each environment, with random numbers that follow from `seeds`, int64 `[N]`."""

    def step(self, actions: np.ndarray) -> Outcome:
        """One step of each environment, with actions int32 `[N]`, or float32 `[N, D]` for a box."""

    def close(self) -> None:
        """Releases what the environments hold."""


class SavedEnvs(HostEnvs, Protocol):
    """N environments whose states can be saved, so that a resumed run has the same bits as one without a stop."""

    def save(self) -> bytes:
        """All that the next steps depend on."""

    def restore(self, saved: bytes) -> Seen:
        """Goes on from there, also in another process; returns what the environments show."""


@dataclasses.dataclass(frozen=True, eq=False)  # compared and hashed by identity
class HostEnvironment:
    """An environment that steps on the host. It has gymnax's methods for its spaces, and cannot be traced."""

    name: str
    rules: str
    """Its rules in one line."""
    example: Seen
    """The shapes and dtypes of what one environment shows, as `jax.ShapeDtypeStruct`s."""
    actions: Any
    """The space of its actions, of gymnasium or gymnax."""
    observations: Any
    """The space of its observations."""
    make_envs: Callable[[int, bool], HostEnvs] = dataclasses.field(repr=False)
    """`(num_envs, draws) -> HostEnvs`, which make pictures if they should draw."""
    can_save: bool = False
    """Whether `make_envs` makes `SavedEnvs`."""
    frame_stack: int = 1
    """k, if observations are stacks `[k, *frame]` of the last k frames, the newest last. At the start of an episode its
    first frame stands for those before it. A replay then stores each frame once."""
    action_names: tuple[str, ...] = ()
    """Names of its actions, for videos."""

    def action_space(self, params: Any = None) -> Any:
        del params
        return self.actions

    def observation_space(self, params: Any = None) -> Any:
        del params
        return self.observations


def seeds(key: Array, num_envs: int) -> np.ndarray:
    """Seeds for `HostEnvs.reset`, from 0 to 2^31 - 1, int64 `[N]`."""
    return np.asarray(jax.random.bits(as_keys(key), (num_envs,), jnp.uint32) >> 1).astype(np.int64)


def pack(parts: Mapping[str, bytes]) -> bytes:
    """Several states in one, as a compressed archive that holds no code."""
    file = io.BytesIO()
    np.savez_compressed(file, **{name: np.frombuffer(part, np.uint8) for name, part in parts.items()})  # type: ignore[arg-type]
    return file.getvalue()


def unpack(packed: bytes) -> dict[str, bytes]:
    """What `pack` packed."""
    with np.load(io.BytesIO(packed), allow_pickle=False) as parts:
        return {name: parts[name].tobytes() for name in parts.files}


def shapes_only(env: HostEnvironment, num_envs: int) -> tuple[Callable, Callable]:
    """`(reset, step)` of N environments as `jaxrl.envs.vectorize` needs them, for their shapes alone.

    They can be traced, which finds the shapes of a whole trainer, and its errors. A program that runs them raises an
    error that says why it cannot.
    """

    def batch(*shape: int, dtype: Any = None) -> Any:
        return jax.ShapeDtypeStruct((num_envs, *shape), dtype)

    seen = jax.tree.map(lambda x: batch(*x.shape, dtype=x.dtype), tuple(env.example[:2]))
    ended = batch(dtype=jnp.float32), batch(dtype=bool), batch(dtype=bool)

    def reset(key: Array) -> tuple[tuple[()], PyTree, Array | None]:
        del key
        return (), *_stand_in(env.name, seen)

    def step(env_states: PyTree, actions: Array, key: Array) -> tuple:
        del env_states, actions, key
        first, last, ends = _stand_in(env.name, (seen, seen, ended))
        return ((), *first), ends, last, None

    return reset, step


def _stand_in(name: str, shapes: PyTree) -> PyTree:
    """Arrays that can be traced, and raise an error where they are computed."""

    def refuse() -> NoReturn:
        raise HostError(f"{name} steps on the host: train with jaxrl.run, and call evaluate and rollout outside of jit")

    return jax.pure_callback(refuse, shapes, vmap_method="sequential")
