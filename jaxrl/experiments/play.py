"""Plays an environment: at random, by a trained policy, or by you."""

import dataclasses
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated

import jax
import numpy as np
from annotated_types import Interval

from jaxrl.arguments import ArgumentError, check
from jaxrl.cli import terminal
from jaxrl.cli.command import prepare_jax
from jaxrl.cli.errors import errors_in_one_line
from jaxrl.cli.loading import load_policy
from jaxrl.cli.parse import parse
from jaxrl.envs import action_space_of, describe_rules, num_discrete_actions, rollout
from jaxrl.formatting import format_return
from jaxrl.plots.video import save_video
from jaxrl.random import key_stream
from jaxrl.runs.load import TrainedPolicy
from jaxrl.runs.options import EnvOptions, Rules, Task, default_hint
from jaxrl.runs.run_directory import make_directory
from jaxrl.runs.task import make_env, with_map
from jaxrl.spaces import Box, Discrete
from jaxrl.types import Array, PyTree, Transition

DEFAULT_ENV = "Breakout-MinAtar"
MOST_RETURNS = 20
"""So many are printed."""


@dataclasses.dataclass(frozen=True)
class Options:
    policy: str = "random"
    """Who plays: random, keyboard (you, here in the terminal), or the directory of a run or a sweep."""
    env: Annotated[str | None, default_hint("the run's, or Breakout-MinAtar")] = None
    """A MinAtar game like Seaquest-MinAtar, CartPole-v1, GridWorld, gymnax's, or your own module:factory."""
    seed: Annotated[int | None, default_hint("the first")] = None
    """Which seed of a run of several."""
    agent: Annotated[int | None, default_hint("the best")] = None
    """Which agent of a sweep."""
    play_seed: Annotated[int, Interval(ge=0, lt=2**31)] = 0
    """Where the randomness of the environment and of the policy comes from."""
    steps: Annotated[
        int | None, Interval(gt=0, le=10_000), default_hint("400 for a video, no end for the keyboard")
    ] = None
    """Steps to play."""
    out: Annotated[Path | None, default_hint("play.gif", "FILE")] = None
    """The video. The keyboard makes none."""
    fps: Annotated[int, Interval(gt=0, le=60)] = 8
    """Steps a second for the keyboard, in an environment that goes on by itself; others wait for a key."""
    rules: Rules = None
    """Rules of a MinAtar game: the original's, or gymnax's (fewer actions, none sticky, a cap on the steps)."""
    env_options: EnvOptions = ()
    """Options of the environment, such as map=FILE max_steps_in_episode=500 for GridWorld; see jaxrl.make."""


@errors_in_one_line()
def main() -> None:
    options = parse(Options, __doc__, prog="python -m jaxrl.experiments.play")
    prepare_jax()
    check(options)
    for name in ("seed", "agent"):
        if options.policy in ("random", "keyboard") and getattr(options, name) is not None:
            raise ArgumentError(name, "is for a run or a sweep that plays; play_seed draws another game", None, got="")
    (by_hand if options.policy == "keyboard" else recorded)(options)


def by_hand(options: Options) -> None:
    """Plays in the terminal."""
    if options.out is not None:
        raise ArgumentError("out", "is for videos, and the keyboard makes none", options.out)
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise ArgumentError("policy", "needs a terminal if it is keyboard; random makes a video", None, got="")
    env_id = options.env or DEFAULT_ENV
    env, env_params = make_env(Task(env_id, options.rules, options.env_options))
    num_discrete_actions(env, env_params)
    returns = terminal.play(env, env_params, env_id, options.play_seed, options.fps, options.steps)
    notify(f"{env_id} ({describe_rules(env, env_params)})", returns)


def recorded(options: Options) -> None:
    """Records a video of a random or a trained policy."""
    path = options.out or Path("play.gif")
    if path.suffix != ".gif" or path.is_dir():
        raise ArgumentError("out", "must be a file that ends in .gif", path)
    policy: Callable[[PyTree, PyTree, Array], Array]
    if options.policy == "random":
        env_id, agent_state = options.env or DEFAULT_ENV, ()
        env, env_params = make_env(Task(env_id, options.rules, options.env_options))
        policy = partial(random_actions, action_space_of(env, env_params))
    else:
        trained = trained_policy(options)
        env_id, env, env_params = trained.options.task.env, trained.env, trained.env_params
        policy, agent_state = trained.agent.policy, trained.agent_state
    make_directory(path.parent, "out")

    def play(agent_state: PyTree, key: Array) -> Transition:
        return rollout(env, partial(policy, agent_state), key, options.steps or 400, 1, env_params)

    trajectory = jax.device_get(jax.jit(play)(agent_state, key_stream(options.play_seed, "play")))
    save_video(env, trajectory, path, env_id)
    ends = np.flatnonzero(trajectory.terminated | trajectory.truncated) + 1
    notify(
        f"{env_id} ({describe_rules(env, env_params)})", [x.sum() for x in np.split(trajectory.reward[:, 0], ends)[:-1]]
    )
    print(f"written to {path}")


def random_actions(space: Discrete | Box, agent_state: PyTree, observations: PyTree, key: Array) -> Array:
    """All actions equally likely, one for each observation."""
    del agent_state
    n = len(jax.tree.leaves(observations)[0])
    if isinstance(space, Discrete):
        return jax.random.randint(key, (n,), 0, space.num_actions)
    return jax.random.uniform(key, (n, len(space.low)), minval=space.low, maxval=space.high)


def trained_policy(options: Options) -> TrainedPolicy:
    """The policy of a run.

    Raises:
        ArgumentError: there is no such run, or `env`, `rules` or `env_options` contradicts it.
    """
    trained = load_policy("policy", Path(options.policy), options.seed, options.agent)
    if trained.name:
        print(trained.name)
    env_id = trained.options.task.env
    if options.env not in (None, env_id):
        raise ArgumentError("env", f"is {env_id} in {options.policy}", options.env)
    env_options = trained.options.task.env_options
    given_options = with_map(Task(env_id, None, options.env_options)).env_options
    if given_options and set(given_options) != set(env_options):
        theirs, given = (" ".join(x) or "empty" for x in (env_options, given_options))
        raise ArgumentError("env_options", f"is {theirs} in {options.policy}", given, got=given)
    if options.rules is not None and make_env(Task(env_id, options.rules, env_options))[0] != trained.env:
        rules = describe_rules(trained.env, trained.env_params)
        raise ArgumentError("rules", f"is that of {options.policy} ({rules})", options.rules)
    return trained


def notify(env_name: str, returns: Sequence[float]) -> None:
    """Prints the rules played by and what came out."""
    print(env_name)
    if not returns:
        print("no episode ended")
    elif len(returns) <= MOST_RETURNS:
        print(f"returns of the episodes that ended: {', '.join(map(format_return, returns))}")
    else:
        low, high = format_return(min(returns)), format_return(max(returns))
        print(f"{len(returns)} episodes ended, with returns of {low} to {high}, on average {np.mean(returns):.2f}")


if __name__ == "__main__":
    main()
