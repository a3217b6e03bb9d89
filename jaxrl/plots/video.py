"""Videos of environments."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np
from PIL import Image

from jaxrl.arguments import ArgumentError
from jaxrl.envs import Environment, HostEnvironment, HostError, MultiAgentEnvironment, rollout
from jaxrl.envs.digits import DOMAINS, DigitCaptions, DigitImages
from jaxrl.envs.game import GameEnvironment
from jaxrl.envs.grid_world import GridWorld
from jaxrl.envs.robots import Robot
from jaxrl.envs.rollout import host_rollout
from jaxrl.envs.source import Policy
from jaxrl.envs.spaces import name_of
from jaxrl.envs.tensor_game import TensorGame
from jaxrl.formatting import format_return
from jaxrl.networks.caption_network import MIDDLE, STRIDE
from jaxrl.networks.glimpses import Glances
from jaxrl.plots.game_boards import outcome
from jaxrl.plots.mujoco_pictures import draw_robot
from jaxrl.plots.palette import scaled
from jaxrl.plots.render import disc_legend, draw_discs, draw_look, draw_rods, frame, render, to_numpy
from jaxrl.types import Array, Decision, Input, PyTree, Transition

MOST_SAMPLED = 40
"""Maximum number of frames from which the palette of a video is made."""
MOST_BYTES = 900_000
"""A larger video is written again with fewer colours, and if need be with half the frames."""

Renderer = Literal["rods", "mujoco"]
"""Who draws a robot: this library, as rods between its joints, or MuJoCo."""
Pictures = Sequence[Sequence[np.ndarray]]
"""What an environment drew before and after each step, uint8 `[H, W, 3]`; the last one of a step is that after it."""


def play(
    env: Any,
    env_params: Any,
    policy: Callable[[PyTree, Input, Array], Any],
    agent_state: PyTree,
    memory: PyTree,
    key: Array,
    num_steps: int,
    renderer: Renderer = "rods",
) -> tuple[Transition, Pictures | None]:
    """What `save_video` needs: steps of a policy `(agent_state, Input, key) -> Decision` or actions in one environment.

    An environment on the host draws its own pictures. If it cannot, a printed note says why. A robot is drawn from its
    `skeleton(state)`, or by MuJoCo, and an image of digits with what is said and what is right. Of several agents, the
    transitions are of the first one, with the mean of all rewards.

    Raises:
        ArgumentError: MuJoCo cannot draw here, or the environment is no robot of brax or MuJoCo Playground.
    """
    if renderer == "mujoco" and not isinstance(env, Robot):
        raise ArgumentError("renderer", "can only be mujoco for a robot of brax or MuJoCo Playground", got="")
    roll = partial(_roll, env, env_params, partial(policy, agent_state), memory, key, num_steps)
    if hasattr(env, "skeleton"):
        return _play_robot(env, roll, renderer)
    if isinstance(env, MultiAgentEnvironment):
        return _play_many(env, roll)
    if isinstance(env, DigitImages):
        return _play_digits(env, roll)
    if not isinstance(env, HostEnvironment):
        compiled = jax.jit(
            lambda agent_state, key: rollout(env, partial(policy, agent_state), key, num_steps, 1, env_params, memory)
        )
        return jax.device_get(compiled(agent_state, key)), None
    rolled = partial(host_rollout, env, partial(policy, agent_state), key, num_steps, 1, memory)
    try:
        trajectory, steps = rolled(draws=True)
    except HostError as error:
        print(f"note: the video shows observations, since {error}")
        trajectory, steps = rolled(draws=False)
    drawn = [(step.seen.pictures, step.outcome.last.pictures) for step in steps]
    pictures = [(before[0], after[0]) for before, after in drawn if before is not None and after is not None]
    return jax.device_get(trajectory), pictures or None


def _roll(
    env: Any, env_params: Any, policy: Policy, memory: PyTree, key: Array, num_steps: int,
    look: Callable[[Input, Decision], PyTree],
) -> Transition:  # fmt: skip
    """Steps of a policy in one environment, on the host. Their extras are what `look` sees at each decision."""

    def act(given: Input, key: Array) -> Decision:
        decision = policy(given, key)
        decision = decision if isinstance(decision, Decision) else Decision(decision)
        return decision._replace(extras=look(given, decision))

    return jax.device_get(jax.jit(lambda key: rollout(env, act, key, num_steps, 1, env_params, memory))(key))


Roll = Callable[[Callable[[Input, Decision], PyTree]], Transition]
"""`_roll` with all its arguments but the last."""


def _play_robot(env: Any, roll: Roll, renderer: Renderer) -> tuple[Transition, Pictures]:
    """`play` of a robot: each decision keeps where it was, and the next one's shows where it led."""
    axis = -1 if isinstance(env, Environment) else 0
    draw: Callable[[Any], list[np.ndarray]]
    if renderer == "mujoco":
        seen, draw = env.pose, partial(draw_robot, env.model)
    else:
        seen, draw = env.skeleton, lambda skeletons: [draw_rods(rods) for rods in skeletons]
    trajectory = roll(lambda given, _: jax.vmap(seen, in_axes=axis)(given.env_states))
    where = jax.tree.map(lambda x: x[:, 0], trajectory.extras)
    return trajectory._replace(extras=()), _with_next(draw(where))


def _with_next(frames: list[np.ndarray]) -> Pictures:
    """Each frame with the one after it; the last one with itself."""
    return list(zip(frames, [*frames[1:], frames[-1]], strict=True))


def _play_many(env: MultiAgentEnvironment, roll: Roll) -> tuple[Transition, Pictures | None]:
    """`play` of several agents: a picture shows them all, if the environment has `discs(state)`."""

    def look(given: Input, decision: Decision) -> PyTree:
        return env.discs(jax.tree.map(lambda x: x[0], given.env_states)) if hasattr(env, "discs") else None

    trajectory = roll(look)
    shown, trajectory = trajectory.extras, trajectory._replace(extras=())
    first = jax.tree.map(lambda x: x[:, :1], trajectory)._replace(reward=trajectory.reward.mean(1, keepdims=True))
    if shown is None:
        return first, None
    discs = zip(*shown, strict=True)
    return first, _with_next([draw_discs(places, radii, env.num_agents) for places, radii in discs])


def _play_digits(env: DigitImages, roll: Roll) -> tuple[Transition, Pictures]:
    """`play` with images of digits: a picture for each glimpse at one, and the last with what is said and is right.

    A network says what it looked at, or which expert it chose, in its `Decision.extras`.
    """
    trajectory: Any = roll(
        lambda given, decision: (decision.extras, env.right_action(given.env_states), env.domain(given.env_states))
    )
    kept, right, domain = trajectory.extras
    pictures, has_domains, is_array = [], getattr(env, "domains", 1) > 1, isinstance(kept, np.ndarray | jax.Array)
    for t, image in enumerate(trajectory.observation[:, 0]):
        said, is_right = (action_name(env, x[t, 0]) for x in (trajectory.action, right))
        names, places, expert = [said], np.zeros((0, 2)), list[str]()
        if isinstance(kept, Glances):
            names, places = [action_name(env, x) for x in kept.answers[t, 0]], np.asarray(kept.places[t, 0])
        elif is_array and isinstance(env, DigitCaptions):  # the weights of places
            places = _most_seen(env, kept[t, 0])
        elif is_array and kept.ndim == 2 and np.issubdtype(kept.dtype, np.integer):
            expert = [f"expert {kept[t, 0]}"]
        where = ", ".join([DOMAINS[domain[t, 0]]] * has_domains + expert)
        be = "here named" if has_domains else "is"
        words = [f"{where}{': ' * bool(where)}says {name}, {be} {is_right}" for name in names]
        seen = [draw_look(image, places[: i + 1], each) for i, each in enumerate(words)]
        pictures.append([*seen, seen[-1]])
    return trajectory._replace(extras=()), pictures


def _most_seen(env: DigitImages, weights: np.ndarray) -> np.ndarray:
    """The middle of the place with most of the weights `[L]`, as (row, column) from −1 to 1: `[1, 2]`."""
    place = np.array(np.unravel_index(weights.argmax(), (round(len(weights) ** 0.5),) * 2))
    return 2 * ((MIDDLE + STRIDE * place + 0.5) / env.shape[:2])[None] - 1


def save_video(
    env: Any,
    trajectory: Transition,
    path: str | Path,
    title: str | None = None,
    pictures: Pictures | None = None,
) -> None:
    """Writes a GIF of one environment: a frame for each observation, and one more for the end of each episode.

    Args:
        env: the environment.
        trajectory: the transitions of one environment, `[T]` or `[T, 1]` as `rollout` returns them. Observations may be
            any pytree.
        path: the GIF to write.
        title: the first line of every frame's caption, by default the environment's name.
        pictures: what to show in place of the observations.

    Raises:
        ArgumentError: the trajectory is of several environments, or has no step.
        OSError: the file cannot be written.
    """
    shape = np.shape(trajectory.reward)
    if shape[1:] not in ((), (1,)):
        rule = "must be of one environment (`jax.tree.map(lambda x: x[:, 0], …)`)"
        raise ArgumentError("trajectory", rule, shape[1:])
    if 0 in shape:
        raise ArgumentError("trajectory", "must have at least one step", shape)
    one = jax.tree.map(lambda x: to_numpy(x)[:, 0] if len(shape) > 1 else to_numpy(x), trajectory)
    title = name_of(env) if title is None else title
    duration = frame_time(env, one.observation)
    is_self_play = isinstance(env, GameEnvironment) and env.is_self_play
    legend = disc_legend(env.num_agents) if isinstance(env, MultiAgentEnvironment) else []
    # What is seen, and was before; caption; milliseconds.
    frames: list[tuple[PyTree, PyTree, tuple[str, ...], int]] = []
    episode, step, score = 1, 0, 0.0

    def seen(t: int, ended: bool) -> PyTree:
        observations = one.next_observation if ended else one.observation
        return jax.tree.map(lambda x: x[t], observations)

    def add_frames(t: int, ended: bool, action: str, milliseconds: int) -> None:
        total = () if is_self_play else (f"return {format_return(score)}",)
        before = seen(t if ended else t - 1, False) if step else None
        caption = (title, f"episode {episode}", f"step {step}", *total, action)
        own = [seen(t, ended)] if pictures is None else pictures[t][-1:] if ended else pictures[t][:-1]
        frames.extend((picture, before, caption, milliseconds) for picture in own)

    def draw_frame(i: int) -> Image.Image:
        now, before, caption, _ = frames[i]
        return render(env, now, caption, before) if pictures is None else frame(scaled(now), legend, caption)

    for t, reward in enumerate(one.reward.tolist()):
        add_frames(t, False, action_text(env, one.action[t]), duration)
        step, score = step + 1, score + reward
        if one.terminated[t] or one.truncated[t]:
            end = ""
            if is_self_play:
                end = outcome(env.game, one.observation[t + 1 - step : t + 1], seen(t, True), reward)
            add_frames(t, True, end, (5 if is_self_play else 2) * duration)
            episode, step, score = episode + 1, 0, 0.0
    write_gif(draw_frame, [milliseconds for *_, milliseconds in frames], path)


def write_gif(draw: Callable[[int], Image.Image], milliseconds: Sequence[int], path: str | Path) -> None:
    """Writes a GIF that repeats forever, with one palette of 256 colours.

    If it becomes large, the palette has 64, and if it still is, every second frame is left out.

    Args:
        draw: draws a frame, given its index. All frames have one size.
        milliseconds: how long to show each frame; multiples of 10.
        path: the GIF to write.

    Raises:
        OSError: the file cannot be written.
    """
    number = len(milliseconds)
    sample = np.concatenate([np.asarray(draw(i)) for i in range(0, number, -(-number // MOST_SAMPLED))])
    for colours, every in ((256, 1), (64, 1), (64, 2)):
        palette = Image.fromarray(sample).quantize(colours)
        shown = range((number - 1) % every, number, every)  # with the last one
        first, *others = (draw(i).quantize(palette=palette, dither=Image.Dither.NONE) for i in shown)
        durations = [sum(milliseconds[max(0, i + 1 - every) : i + 1]) for i in shown]
        first.save(path, format="GIF", save_all=True, append_images=others, duration=durations, loop=0)
        if Path(path).stat().st_size <= MOST_BYTES:
            break


def frame_time(env: Any, observations: PyTree) -> int:
    """Milliseconds to show a step: real time for two environments, elsewhere a pace that the eye can follow."""
    if isinstance(env, GridWorld | GameEnvironment | DigitImages | TensorGame):
        return 400
    if getattr(env, "name", "").rpartition(":")[2] in ("CartPole-v1", "PlanarHopper"):
        return 20
    return 70 if any(np.ndim(leaf) > 2 for leaf in jax.tree.leaves(observations)) else 50


def action_text(env: Any, action: np.ndarray) -> str:
    """The name of an action if the environment has one, or else its number or numbers (the first three).

    Of several agents, it is that of the first one.
    """
    words = "agent 1:" if isinstance(env, MultiAgentEnvironment) else "action"
    if np.ndim(action) == 0 and np.issubdtype(action.dtype, np.integer):
        return f"{words} {action_name(env, action)}"
    numbers = np.ravel(action)
    return f"{words} " + " ".join(f"{x:.2f}" for x in numbers[:3]) + " …" * (len(numbers) > 3)


def action_name(env: Any, action: np.ndarray) -> str:
    """The name of a whole number that is an action, or else the number."""
    names = getattr(env, "action_names", ())
    return names[action] if 0 <= action < len(names) else str(action)
