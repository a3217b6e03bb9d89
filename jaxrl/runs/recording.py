"""Recording a trained policy: the transitions that others learn from."""

from functools import partial
from numbers import Integral

import jax
import numpy as np

from jaxrl.arguments import ArgumentError
from jaxrl.envs import HostEnvironment, action_space_of, describe_rules, rollout
from jaxrl.memory import check_fits
from jaxrl.random import key_stream
from jaxrl.replay import Dataset
from jaxrl.runs.load import TrainedPolicy
from jaxrl.training.devices import bytes_of
from jaxrl.types import Array, Discrete, PyTree, Transition


def record_dataset(policy: TrainedPolicy, num_steps: int, num_envs: int = 8, seed: int = 0) -> Dataset:
    """Records what a trained policy does.

    The rows of one environment follow each other, episode by episode. Its last episode is cut, and marked as truncated.
    Each environment gives M / N rows, rounded up, until there are M: the last ones give fewer, or none.

    Args:
        policy: from `jaxrl.load`.
        num_steps: M, the transitions of all environments.
        num_envs: environments side by side.
        seed: a random seed.

    Returns:
        Transitions `[M, ...]`, and about them: the `env`, its `rules` and `env_options`, as of a task; `rules_text`;
        the `experiment` and `algorithm` that trained the policy; `num_actions`, None for a box; `num_steps`, `num_envs`
        and `record_seed`; `episodes`, how many ended, and their mean undiscounted return, `episode_return_mean`.

    Raises:
        ArgumentError: a number is not a whole one of at least 1, or there are fewer steps than environments.
        MemoryError: the transitions do not fit into the free memory.
    """
    for name, number in (("num_steps", num_steps), ("num_envs", num_envs)):
        if not isinstance(number, Integral) or number < 1:
            raise ArgumentError(name, "must be a whole number >= 1", number)
    if num_steps < num_envs:
        raise ArgumentError("num_steps", f"must be at least {num_envs}, one for each environment", num_steps)
    length = -(-num_steps // num_envs)

    def play(agent_state: PyTree, key: Array) -> Transition:
        act, memory = partial(policy.agent.policy, agent_state), policy.agent.memory(agent_state, num_envs)
        return rollout(policy.env, act, key, length, num_envs, policy.env_params, memory)._replace(extras=())

    arguments = policy.agent_state, key_stream(seed, "recording")
    if isinstance(policy.env, HostEnvironment):
        steps = play(*arguments)
    else:
        needed = 2 * bytes_of(jax.eval_shape(play, *arguments))  # of the device, and then by environment
        check_fits("the transitions take", needed, "fewer steps need less")
        steps = jax.jit(play)(*arguments)
    rows = jax.tree.map(lambda x: np.asarray(x).swapaxes(0, 1).reshape(-1, *x.shape[2:])[:num_steps], steps)
    returns = episode_returns(rows, length)
    last = np.append(np.arange(length - 1, num_steps - 1, length), num_steps - 1)
    truncated = rows.truncated.copy()
    truncated[last] |= ~rows.terminated[last]
    task, space = policy.options.task, action_space_of(policy.env, policy.env_params)
    about = {
        "env": task.env,
        "rules": task.rules,
        "env_options": list(task.env_options),
        "rules_text": describe_rules(policy.env, policy.env_params),
        "experiment": policy.experiment.name,
        "algorithm": policy.experiment.algorithm,
        "num_actions": space.num_actions if isinstance(space, Discrete) else None,
        "num_steps": num_steps,
        "num_envs": num_envs,
        "record_seed": seed,
        "episodes": len(returns),
        "episode_return_mean": float(np.mean(returns)) if returns else None,
    }
    return Dataset(rows._replace(truncated=truncated), about)


def episode_returns(transitions: Transition, length: int) -> list[float]:
    """The undiscounted returns of the episodes that ended in transitions `[M]`.

    Args:
        transitions: of several environments, one after another.
        length: how many of each, except for the last.
    """
    found, total = list[float](), 0.0
    ends = transitions.terminated | transitions.truncated
    for i, (reward, end) in enumerate(zip(transitions.reward.tolist(), ends.tolist(), strict=True)):
        total = reward if i % length == 0 else total + reward
        if end:
            found.append(total)
            total = 0.0
    return found
