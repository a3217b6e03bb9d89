"""Plays an environment: with random actions, with a trained policy, by keyboard, or a game against a policy."""

import dataclasses
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from annotated_types import Interval

from jaxrl.arguments import ArgumentError, renaming
from jaxrl.cli import human, keyboard
from jaxrl.cli.command import prepare_jax
from jaxrl.cli.errors import errors_in_one_line
from jaxrl.cli.parse import parse
from jaxrl.distributions import epsilon_greedy
from jaxrl.envs import HostEnvironment, action_space_of, describe_rules, num_discrete_actions
from jaxrl.envs.game import GameEnvironment
from jaxrl.envs.tensor_game import TensorGame
from jaxrl.formatting import format_mean, format_return
from jaxrl.loading import load
from jaxrl.plots.video import Renderer, play, save_video
from jaxrl.random import key_stream
from jaxrl.runs.load import TrainedPolicy
from jaxrl.runs.options import EnvOptions, Rules, Task, default_hint
from jaxrl.runs.run_directory import make_directory
from jaxrl.runs.task import make_env, with_map
from jaxrl.runs.train import VIDEO_STEPS
from jaxrl.types import Array, Box, Discrete, Input, PyTree

DEFAULT_ENV = "Breakout-MinAtar"
MOST_RETURNS = 20
"""More returns are summarised."""


@dataclasses.dataclass(frozen=True)
class Options:
    policy: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="POLICY")] = "random"
    """Who plays: random, keyboard (you, in this terminal), or the directory of a run or a sweep."""
    human: Annotated[Literal["first", "second"] | None, default_hint("the policy plays alone")] = None
    """Play a game against the policy in this terminal, and move first or second."""
    env: Annotated[str | None, default_hint("the run's, or Breakout-MinAtar")] = None
    """Such as Seaquest-MinAtar, CartPole-v1, GridWorld, brax:ant, atari:Pong, game:chess, or your module:factory."""
    seed: Annotated[int | None, default_hint("the first")] = None
    """The seed to load from a run of several seeds."""
    agent: Annotated[int | None, default_hint("the best")] = None
    """The agent to load from a sweep."""
    best: bool = False
    """Load the agent as it was at its best evaluation while training, from a run with --keep-best."""
    play_seed: Annotated[int, Interval(ge=0, lt=2**31)] = 0
    """Seed of the random numbers of the environment and of the policy."""
    steps: Annotated[int | None, Interval(gt=0, le=10_000), default_hint("400 for most, no limit by keyboard")] = None
    """Number of steps to play. Environments that are seen in fewer, such as Digits, have fewer by default."""
    out: Annotated[Path | None, default_hint("play.gif", "FILE")] = None
    """The GIF to write. The keyboard writes none."""
    renderer: Renderer = "rods"
    """Who draws a robot: this library, as rods between its joints, or MuJoCo (brax's and MuJoCo Playground's only)."""
    fps: Annotated[int, Interval(gt=0, le=60)] = 8
    """Steps per second by keyboard. An environment without a no-op waits for a key instead."""
    rules: Rules = None
    """Rules of a MinAtar game: the original ones, or gymnax's (fewer actions, no sticky actions, a limit on steps)."""
    env_options: EnvOptions = ()
    """Options of the environment, such as map=FILE max_steps_in_episode=500 for GridWorld. See jaxrl.make."""


@errors_in_one_line()
def main() -> None:
    options = parse(Options, __doc__, prog="python -m jaxrl.experiments.play")
    prepare_jax()
    for name in ("seed", "agent", "best"):
        if options.policy in ("random", "keyboard") and getattr(options, name) not in (None, False):
            rule = "is for the directory of a run or a sweep; --play-seed changes the random numbers"
            raise ArgumentError(name, rule, got="")
    if options.human is not None:
        play_against(options)
    elif options.policy == "keyboard":
        play_by_keyboard(options)
    else:
        record_video(options)


def play_by_keyboard(options: Options) -> None:
    """Plays in the terminal."""
    if options.out is not None:
        raise ArgumentError("out", "is for videos, and the keyboard makes none", options.out)
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise ArgumentError("POLICY", "can only be keyboard in a terminal; random makes a video", got="")
    env_id = options.env or DEFAULT_ENV
    env, env_params = make_env(Task(env_id, options.rules, options.env_options))
    num_discrete_actions(env, env_params)
    if isinstance(env, HostEnvironment):
        raise ArgumentError("env", "must be a pure function to be played by keyboard, and not step on the host", env_id)
    returns = keyboard.play(env, env_params, env_id, options.play_seed, options.fps, options.steps)
    print_returns(f"{env_id} ({describe_rules(env, env_params)})", returns)


def record_video(options: Options) -> None:
    """Records a video of a random or a trained policy."""
    path = options.out or Path("play.gif")
    if path.suffix != ".gif" or path.is_dir():
        raise ArgumentError("out", "must be a file that ends in .gif", path)
    env_id, env, env_params, policy, agent_state, memory = player(options)
    make_directory(path.parent, "out")

    key = key_stream(options.play_seed, "play")
    steps = getattr(env, "video_steps", VIDEO_STEPS) if options.steps is None else options.steps
    trajectory, pictures = play(env, env_params, policy, agent_state, memory, key, steps, options.renderer)
    save_video(env, trajectory, path, env_id, pictures)
    ends = np.flatnonzero(trajectory.terminated | trajectory.truncated) + 1
    reward, whose = trajectory.reward[:, 0], ""
    if isinstance(env, TensorGame):  # whose turn it was wins the reward
        sign = np.where(trajectory.observation[:, 0] < env.game.num_sets[0], 1, -1)
        reward, whose = reward * sign, " (the first player's)"
    returns = [rewards.sum() for rewards in np.split(reward, ends)[:-1]]
    heading = f"{env_id} ({describe_rules(env, env_params)})"
    if isinstance(env, GameEnvironment) and env.is_self_play:
        drawn = sum(score == 0 for score in returns)
        print(f"{heading}\ngames that ended: {len(returns)}, of which {drawn} were drawn")
    else:
        print_returns(heading, returns, whose)
    print(f"written to {path}")


def play_against(options: Options) -> None:
    """Plays a game between a person and a policy."""
    if options.out is not None:
        raise ArgumentError("out", "is for videos, and a game against you makes none", options.out)
    if options.policy == "keyboard":
        raise ArgumentError("POLICY", "must be random, or the directory of a run, to play against", got="keyboard")
    env_id, env, _, policy, agent_state, memory = player(options)
    if isinstance(env, TensorGame):
        raise ArgumentError("human", "is for games in which both players see the whole position", got=env_id)
    if not isinstance(env, GameEnvironment):
        raise ArgumentError("human", "is for games of two players, such as --env game:connect_four", got=env_id)
    print(f"{env_id} ({env.game})")
    key, first = key_stream(options.play_seed, "play"), options.human == "first"
    human.play(env.game, partial(policy, agent_state), memory, key, 0 if first else 1, Path(options.policy).name)


def player(options: Options) -> tuple[str, Any, Any, Callable[[PyTree, Input, Array], Any], PyTree, PyTree]:
    """The environment's name, itself and its parameters; the random or trained policy, its state and its memory."""
    if options.policy == "random":
        env_id = options.env or DEFAULT_ENV
        env, env_params = make_env(Task(env_id, options.rules, options.env_options))
        return env_id, env, env_params, partial(random_actions, action_space_of(env, env_params)), (), ()
    trained = load_trained(options)
    return (
        trained.options.task.env, trained.env, trained.env_params,
        trained.agent.policy, trained.agent_state, trained.memory(1),
    )  # fmt: skip


def random_actions(space: Discrete | Box, agent_state: PyTree, given: Input, key: Array) -> Array:
    """Uniformly random legal actions, one for each observation."""
    del agent_state
    n = len(jax.tree.leaves(given.observation)[0])
    if isinstance(space, Discrete):
        return epsilon_greedy(jnp.zeros((n, space.num_actions)), 1.0, given.legal).sample(key)
    return jax.random.uniform(key, (n, len(space.low)), jnp.float32, space.low, space.high)


def load_trained(options: Options) -> TrainedPolicy:
    """Loads the policy of a run.

    Raises:
        ArgumentError: there is no such run, or `env`, `rules` or `env_options` contradicts it.
    """
    if not Path(options.policy).is_dir():
        raise ArgumentError("POLICY", "must be random, keyboard, or the directory of a run or a sweep", options.policy)
    with renaming(directory="POLICY"):
        trained = load(options.policy, options.seed, options.agent, options.best)
    if trained.name:
        print(trained.name)
    task = trained.options.task
    env_options = with_map(Task(task.env, None, options.env_options)).env_options
    for name, given, own in (
        ("env", options.env, task.env),
        ("rules", options.rules, task.rules or "original"),
        ("env_options", " ".join(sorted(env_options)), " ".join(sorted(task.env_options)) or "empty"),
    ):
        if given and given != own:
            raise ArgumentError(name, f"must be {own}, as in {options.policy}", given, got=given)
    return trained


def print_returns(heading: str, returns: Sequence[float], whose: str = "") -> None:
    """Prints the returns of the episodes that ended, below a heading, and whose they are, if of one of two players."""
    print(heading)
    if not returns:
        print("no episode ended")
    elif len(returns) <= MOST_RETURNS:
        print(f"returns of the episodes that ended{whose}: {', '.join(map(format_return, returns))}")
    else:
        low, high = format_return(min(returns)), format_return(max(returns))
        mean = format_mean([float(np.mean(returns))])
        print(f"{len(returns)} episodes ended, with returns{whose} from {low} to {high} and a mean of {mean}")


if __name__ == "__main__":
    main()
