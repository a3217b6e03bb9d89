"""Recording a trained policy: the transitions that others learn from."""

from functools import partial
from typing import Any

import jax
import numpy as np

from jaxrl.arguments import ArgumentError, check_count
from jaxrl.envs import HostEnvironment, action_space_of, describe_env, rollout
from jaxrl.envs.game import GameEnvironment
from jaxrl.games import make_player, noisy_player
from jaxrl.games.matches import action_of
from jaxrl.memory import check_fits
from jaxrl.random import key_stream
from jaxrl.replay import Dataset
from jaxrl.runs.experiment import Experiment
from jaxrl.runs.load import TrainedPolicy
from jaxrl.runs.options import Budget, Options, Task
from jaxrl.runs.task import make_env
from jaxrl.training.devices import bytes_of
from jaxrl.types import Agent, Array, Decision, Discrete, Input, PyTree, Transition

FIRST_STEPS = 256
"""How long whole episodes are first looked for. If they are longer, for twice as many steps, and so on."""


def record_dataset(
    policy: TrainedPolicy,
    num_steps: int | None = None,
    num_envs: int = 8,
    seed: int = 0,
    num_episodes: int | None = None,
) -> Dataset:
    """Records what a trained policy does, for so many steps or so many whole episodes.

    The rows of one environment follow each other, episode by episode. Each environment gives an equal share of the
    steps or the episodes, rounded up, until there are enough: the last ones give fewer, or none. Of steps, the last
    episode of each environment is cut, and marked as truncated.

    Args:
        policy: from `jaxrl.load`.
        num_steps: M, the transitions of all environments.
        num_envs: environments side by side.
        seed: a random seed.
        num_episodes: the episodes of all environments, in place of the steps.

    Returns:
        Transitions `[M, ...]`, and about them: the `env`, its `rules` and `env_options`, as of a task; `env_name` and
        `rules_text`; the `experiment` and `algorithm` that trained the policy; `num_actions`, None for a box;
        `num_steps`, `num_envs` and `record_seed`; `episodes`, how many ended, and their mean undiscounted return,
        `episode_return_mean`. Of few steps only short episodes end, so that their mean is not that of the policy.

    Raises:
        ArgumentError: a number is not a whole one of at least 1, there are fewer steps than environments, or both
            steps and episodes are given.
        MemoryError: the transitions do not fit into the free memory, as those of episodes that do not end.
    """
    num_envs = check_count("num_envs", num_envs)
    if num_episodes is None:
        num_steps = check_count("num_steps", num_steps)
        if num_steps < num_envs:
            raise ArgumentError("num_steps", f"must be at least {num_envs}, one for each environment", num_steps)
        kept = _shares(num_steps, num_envs)
        steps = _play(policy, num_envs, seed, int(kept[0]))
    else:
        if num_steps is not None:
            raise ArgumentError("num_steps", "must be None if num_episodes are given", num_steps)
        num_envs = min(num_envs, check_count("num_episodes", num_episodes))
        steps, kept = _play_episodes(policy, num_envs, seed, _shares(num_episodes, num_envs))
    by_env = [jax.tree.map(lambda x, n=n: x[: kept[n], n], steps) for n in np.flatnonzero(kept)]
    returns = [total for rows in by_env for total in episode_returns(rows)]
    rows = jax.tree.map(lambda *xs: np.concatenate(xs), *by_env)
    last = np.cumsum(kept[kept > 0]) - 1
    rows.truncated[last] |= ~rows.terminated[last]
    about = {
        "num_steps": len(rows.reward),
        "num_envs": num_envs,
        "record_seed": seed,
        "episodes": len(returns),
        "episode_return_mean": float(np.mean(returns)) if returns else None,
    }
    return Dataset(rows, _about(policy) | about)


def game_player(name: str, task: Task, noise: float = 0.0) -> TrainedPolicy:
    """A player of games that was never trained, to be recorded as an expert.

    Args:
        name: as of `jaxrl.games.make_player`: `random`, `greedy` or `perfect`.
        task: a game.
        noise: the probability of a random move, in [0, 1].

    Raises:
        ArgumentError: the environment is no game, or too large to be solved for perfect play.
    """
    env, env_params = make_env(task)
    if not isinstance(env, GameEnvironment):
        raise ArgumentError("env", "must be a game of two players, such as game:connect_four", task.env)
    player = noisy_player(make_player(name, env.game), noise)

    def policy(state: PyTree, given: Input, key: Array) -> Decision:
        del state
        return Decision(action_of(player(given, key)))

    agent: Agent = Agent(None, None, policy, None)  # type: ignore[arg-type]  # it only plays
    title = f"the {name} player" + f" with noise {noise:g}" * (noise > 0)
    options: Options = Options(task, (), (), Budget(1))
    experiment = Experiment(title, title, None, options)  # type: ignore[arg-type]
    return TrainedPolicy(env, env_params, agent, (), experiment, options)


def _about(policy: TrainedPolicy) -> dict[str, Any]:
    """What is known of a policy and its environment."""
    task, space = policy.options.task, action_space_of(policy.env, policy.env_params)
    return {
        "env": task.env,
        "rules": task.rules,
        "env_options": list(task.env_options),
        **describe_env(policy.env, policy.env_params),
        "experiment": policy.experiment.name,
        "algorithm": policy.experiment.algorithm,
        "num_actions": space.num_actions if isinstance(space, Discrete) else None,
    }


def _shares(number: int, num_envs: int) -> np.ndarray:
    """How many of a number each environment gives, int `[N]`: as many as the others, the last ones fewer."""
    share = -(-number // num_envs)
    return np.clip(number - share * np.arange(num_envs), 0, share)


def _play_episodes(
    policy: TrainedPolicy, num_envs: int, seed: int, episodes: np.ndarray
) -> tuple[Transition, np.ndarray]:
    """Steps `[T, N]` with so many `episodes` `[N]` of each environment, and how many steps these are, int `[N]`."""
    length = FIRST_STEPS
    while True:
        steps = _play(policy, num_envs, seed, length)
        ended = np.cumsum(steps.terminated | steps.truncated, axis=0)
        if (ended[-1] >= episodes).all():
            return steps, np.where(episodes > 0, (ended < episodes).sum(0) + 1, 0)
        length *= 2  # the same steps again, and as many more


def _play(policy: TrainedPolicy, num_envs: int, seed: int, length: int) -> Transition:
    """Steps `[T, N]` on the host. Longer ones begin with the same steps."""

    def play(agent_state: PyTree, key: Array) -> Transition:
        act, memory = partial(policy.agent.policy, agent_state), policy.agent.memory(agent_state, num_envs)
        return rollout(policy.env, act, key, length, num_envs, policy.env_params, memory)._replace(extras=())

    arguments = policy.agent_state, key_stream(seed, "recording")
    if isinstance(policy.env, HostEnvironment):
        return jax.device_get(play(*arguments))
    needed = 2 * bytes_of(jax.eval_shape(play, *arguments))  # of the device, and then by environment
    check_fits("the transitions take", needed, "fewer of them need less")
    return jax.device_get(jax.jit(play)(*arguments))


def episode_returns(transitions: Transition) -> list[float]:
    """The undiscounted returns of the episodes that ended in transitions `[M]` of one environment."""
    found, total = list[float](), 0.0
    ends = transitions.terminated | transitions.truncated
    for reward, end in zip(transitions.reward.tolist(), ends.tolist(), strict=True):
        total += reward
        if end:
            found.append(total)
            total = 0.0
    return found
