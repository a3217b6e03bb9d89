"""gymnasium's environments, which step on the host."""

import contextlib
import difflib
import importlib
import os
import reprlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import jax
import numpy as np

from jaxrl.arguments import ArgumentError, first_line
from jaxrl.envs.foreign import is_box
from jaxrl.envs.host import HostEnvironment, HostEnvs, HostError, Outcome, Seen
from jaxrl.envs.spaces import action_space_of
from jaxrl.precision import SINGLE
from jaxrl.types import PyTree

PREFIX = "gymnasium"
MOST_PIXELS = 400
"""Of a picture's longer side, since a video holds hundreds of them."""
MASK = "action_mask"
"""Where an `info` says which actions are legal, as in Taxi."""


def find_gymnasium(env_id: str) -> Callable[..., HostEnvironment]:
    """A function of the options of `gymnasium.make` that makes the environment of that id.

    Args:
        env_id: such as `CartPole-v1`, or `module:NAME` for one that `module` registers.

    Raises:
        ArgumentError: gymnasium is not installed, or knows no such environment.
    """
    name = f"{PREFIX}:{env_id}"
    try:
        import gymnasium
    except ImportError as error:
        rule = "needs the package gymnasium (pip install 'jaxrl[gymnasium]')"
        raise ArgumentError("env_id", rule, name) from error
    module, colon, _ = env_id.partition(":")
    try:
        if colon:  # where it is registered
            importlib.import_module(module)
        gymnasium.spec(env_id.removeprefix(f"{module}:"))
    except (gymnasium.error.Error, ImportError) as error:
        near = difflib.get_close_matches(env_id, gymnasium.registry, n=1)
        # Its own text names the package that is missing.
        missing = isinstance(error, ImportError | gymnasium.error.NamespaceNotFound)
        reason = str(error) if missing or not near else f"the nearest is {PREFIX}:{near[0]}"
        raise ArgumentError("env_id", f"must be a name that gymnasium knows ({reason})", name) from error
    return partial(_make, env_id)


def _make(env_id: str, **options: Any) -> HostEnvironment:
    import gymnasium

    name = f"{PREFIX}:{env_id}"
    if "render_mode" in options:
        raise ArgumentError("render_mode", "is chosen by jaxrl, which draws videos only", options["render_mode"])
    options = {"disable_env_checker": True} | options  # what follows checks an environment, once

    def make(render_mode: str | None = None) -> Any:
        mode: dict[str, Any] = {} if render_mode is None else {"render_mode": render_mode}
        return gymnasium.make(env_id, **mode, **options)

    spec = gymnasium.spec(env_id.rpartition(":")[2])
    cap = options.get("max_episode_steps", spec.max_episode_steps)
    changed = [f"{key} {x}" for key, x in options.items() if key not in ("max_episode_steps", "disable_env_checker")]
    limit = "no step cap" if cap is None or cap < 0 else f"{cap}-step cap"
    try:
        return from_gymnasium(make, name, f"{', '.join(changed) or 'default rules'}, {limit}")
    except (gymnasium.error.Error, ImportError) as error:
        if len(options) > 1:
            raise
        rule = f"must be an environment that can be made here ({first_line(error)})"
        raise ArgumentError("env_id", rule, name) from error


def from_gymnasium(make: Callable[[str | None], Any], name: str, rules: str = "default rules") -> HostEnvironment:
    """An environment for `jaxrl.on_policy`, `jaxrl.off_policy` and others, from a function that makes gymnasium's.

        >>> env = from_gymnasium(lambda render_mode: MyEnv(render_mode), "MyEnv")
        >>> trainer = jaxrl.on_policy(agent, env, None, config)

    Observations may be of the spaces Box, Discrete, MultiBinary and MultiDiscrete, and dicts and tuples of those. An
    `info` with `action_mask` says which actions are legal.

    Args:
        make: `(render_mode) -> gymnasium.Env`, with the mode None or "rgb_array".
        name: its name in errors and on pictures.
        rules: its rules in one line.

    Raises:
        ArgumentError: its actions or observations are of other kinds, or it raises an error or returns something else
            than its spaces say when it is tried for one step.
    """
    env = make(None)
    try:
        shapes = _shapes(env.observation_space, name)
        draws = "rgb_array" in env.metadata.get("render_modes", ())
        actions, observations = env.action_space, env.observation_space
        has_mask = _try_out(env, name, shapes)
    finally:
        env.close()

    def make_envs(num_envs: int, draw: bool) -> HostEnvs:
        drawn = draw and draws
        return GymnasiumEnvs([make("rgb_array" if drawn else None) for _ in range(num_envs)], made, drawn)

    legal = jax.ShapeDtypeStruct((int(actions.n),), bool) if has_mask else None
    made = HostEnvironment(name, rules, Seen(shapes, legal), actions, observations, make_envs)
    action_space_of(made, None)
    return made


class GymnasiumEnvs:
    """`HostEnvs` of gymnasium's environments, stepped one after another.

    Methods raise a `HostError` if an environment does.
    """

    def __init__(self, envs: Sequence[Any], made: HostEnvironment, draw: bool) -> None:
        self.envs, self.made, self.draw = envs, made, draw
        self.treedef: Any = jax.tree.structure(made.example.observation)

    def reset(self, seeds: np.ndarray) -> Seen:
        return self._seen([self._reset(env, seed=int(seed)) for env, seed in zip(self.envs, seeds, strict=True)])

    def step(self, actions: np.ndarray) -> Outcome:
        rewards, ends, last = [], [], []
        with _errors_of(self.made.name, "step"):
            for env, action in zip(self.envs, _own_actions(self.made.actions, actions), strict=True):
                observation, reward, terminated, truncated, info = env.step(action)
                rewards.append(float(reward))
                ends.append((bool(terminated), bool(truncated) and not terminated))
                last.append((observation, info, _picture(env) if self.draw else None))
        terminated, truncated = np.array(ends, bool).T
        after, done = self._seen(last), terminated | truncated  # copied: a reset may write into what was shown
        first = [self._reset(env) if end else shown for env, end, shown in zip(self.envs, done, last, strict=True)]
        following = self._seen(first) if done.any() else after
        return Outcome(np.array(rewards, np.float32), terminated, truncated, after, following)

    def close(self) -> None:
        for env in self.envs:
            env.close()

    def _reset(self, env: Any, **seed: int) -> tuple[Any, dict, Any]:
        """`(observation, info, picture)` of a new episode."""
        with _errors_of(self.made.name, "reset"):
            observation, info = env.reset(**seed)
            return observation, info, _picture(env) if self.draw else None

    def _seen(self, shown: list[tuple[Any, dict, Any]]) -> Seen:
        """What all environments show, from `(observation, info, picture)` of each."""
        observations, infos, pictures = zip(*shown, strict=True)
        shapes, legal = self.made.example[:2]
        with _errors_of(self.made.name, "step or reset"):
            observation = self._stack(observations, shapes)
            if legal is not None:
                legal = np.array([info.get(MASK, np.ones(legal.shape)) for info in infos], bool)
            return Seen(observation, legal, list(pictures) if self.draw else None)

    def _stack(self, observations: Sequence[Any], shapes: PyTree) -> PyTree:
        """Observations as arrays `[N, ...]`, whose shapes must be as the space says."""
        leaves = zip(*(self.treedef.flatten_up_to(_plain(x)) for x in observations), strict=True)
        stacked = []
        for xs, like in zip(leaves, jax.tree.leaves(shapes), strict=True):
            x = np.array(xs, like.dtype)
            if x.shape != (len(self.envs), *like.shape):
                raise ValueError(f"an observation of the shape {list(x.shape[1:])}, not {list(like.shape)}")
            stacked.append(x)
        return self.treedef.unflatten(stacked)


def _plain(observation: Any) -> Any:
    """An observation with dicts and tuples alone: an `OrderedDict` is another kind of node in JAX's trees."""
    if isinstance(observation, Mapping):
        return {key: _plain(x) for key, x in observation.items()}
    return tuple(map(_plain, observation)) if isinstance(observation, tuple) else observation


def _picture(env: Any) -> np.ndarray:
    """A copy of what an environment draws, uint8 `[H, W, 3]`. The pixels of large pictures are averaged."""
    with _offscreen():
        picture = np.array(env.render(), np.uint8)
    size = -(-max(picture.shape[:2]) // MOST_PIXELS)
    height, width = (x // size for x in picture.shape[:2])
    blocks = picture[: height * size, : width * size].reshape(height, size, width, size, 3)
    return blocks.mean((1, 3)).astype(np.uint8) if size > 1 else picture


@contextlib.contextmanager
def _offscreen() -> Iterator[None]:
    """Draws without a screen and sound. Where there are none, SDL, with which many environments draw, complains."""
    chosen = {name: "dummy" for name in ("SDL_VIDEODRIVER", "SDL_AUDIODRIVER") if name not in os.environ}
    os.environ.update(chosen)
    try:
        yield
    finally:  # another may need a window
        for name in chosen:
            os.environ.pop(name, None)


@contextlib.contextmanager
def _errors_of(name: str, method: str) -> Iterator[None]:
    """Turns any error of an environment into a `HostError` with its name."""
    try:
        yield
    except HostError:
        raise
    except Exception as error:
        raise HostError(f"{name} raised in {method}: {first_line(error)}") from error


def _own_actions(space: Any, actions: np.ndarray) -> Any:
    """Actions as the environment takes them: within its box, or numbered from where its space starts."""
    if is_box(space):
        return np.clip(actions, space.low, space.high).astype(space.dtype)
    return (actions + int(space.start)).tolist()


def _shapes(space: Any, name: str) -> PyTree:
    """The shapes and dtypes of a space's observations, with at most 32 bits.

    Raises:
        ArgumentError: they are no arrays of fixed shapes.
    """
    from gymnasium import spaces

    if isinstance(space, spaces.Dict):
        return {key: _shapes(one, name) for key, one in space.spaces.items()}
    if isinstance(space, spaces.Tuple):
        return tuple(_shapes(one, name) for one in space.spaces)
    if not isinstance(space, spaces.Box | spaces.Discrete | spaces.MultiBinary | spaces.MultiDiscrete):
        rule = "must observe arrays of fixed shapes, or dicts and tuples of them"
        raise ArgumentError("env", rule, name, got=f"{name}, which observes {space}")
    dtype = np.dtype(space.dtype)
    return jax.ShapeDtypeStruct(space.shape, SINGLE.get(dtype.name, dtype))


def _try_out(env: Any, name: str, shapes: PyTree) -> bool:
    """Resets an environment and steps it once. Returns whether it says which actions are legal.

    Raises:
        ArgumentError: it raises an error, or returns something else than gymnasium's interface and its spaces say.
    """

    def check_that(holds: Any, rule: str, value: Any) -> None:
        if not holds:
            raise ArgumentError("env", rule, name, got=f"{reprlib.repr(value)} from {name}")

    def check_observation(method: str, observation: Any) -> None:
        arrays = jax.tree.map(np.asarray, _plain(observation), is_leaf=_is_list)
        given = jax.tree.map(lambda x: x.shape, arrays)
        expected = jax.tree.map(lambda x: x.shape, shapes)
        if given != expected:
            got = f"observations of the shape {given} from {name}"
            raise ArgumentError("env", f"must observe in {method} what its space says, {expected}", name, got)
        for x, like in zip(jax.tree.leaves(arrays), jax.tree.leaves(shapes), strict=True):
            rule = f"must observe in {method} what its space says, {like.dtype}, which fractions would not fit"
            check_that(x.dtype.kind != "f" or like.dtype.kind == "f", rule, x.dtype)

    try:
        result = env.reset(seed=0)
        check_that(isinstance(result, tuple) and len(result) == 2, "must reset to (observation, info)", result)
        check_observation("reset", result[0])
        env.action_space.seed(0)
        after = env.step(env.action_space.sample(mask=_mask(result[1])))
    except ArgumentError:
        raise
    except Exception as error:
        rule = f"must reset and step without an error ({first_line(error)})"
        raise ArgumentError("env", rule, name) from error
    five = "must step to (observation, reward, terminated, truncated, info)"
    check_that(isinstance(after, tuple) and len(after) == 5, five, after)
    check_observation("step", after[0])
    check_that(np.ndim(after[1]) == 0, "must give one number as reward", after[1])
    return MASK in result[1]


def _mask(info: dict) -> np.ndarray | None:
    """Which actions a space may sample."""
    return np.asarray(info[MASK], np.int8) if MASK in info else None


def _is_list(x: Any) -> bool:
    return isinstance(x, list)
