"""Acting in N environments on the host: the loop that training, evaluation and rollouts share there."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxrl.arguments import ArgumentError
from jaxrl.envs.host import HostEnvironment, Outcome, Seen, seeds
from jaxrl.envs.source import decide_on, reset_memory
from jaxrl.envs.vector import VectorState
from jaxrl.types import Array, Decision, Input, Mean, Metrics, PyTree, Transition

Act = Callable[[Input, np.ndarray, int], Decision]
"""`(Input [N], done [N], t) -> Decision [N]`. It resets the memory where an episode is done, and then decides."""


class HostStep(NamedTuple):
    """One step of some of the environments, all NumPy arrays.

    Attributes:
        half: which of them: the index of a part of `HostSource.rows`.
        seen: what they showed before.
        action, extras: what was decided there.
        outcome: what followed.
        done: where the agent's episode ended, bool.
        score: what counts in returns, float32.
        over: where a return is complete, bool.
        episode_return, episode_length: of what is not over, with this step; float32 and int32.
    """

    half: int
    seen: Seen
    action: np.ndarray
    extras: PyTree
    outcome: Outcome
    done: np.ndarray
    score: np.ndarray
    over: np.ndarray
    episode_return: np.ndarray
    episode_length: np.ndarray


class HostSource:
    """N environments on the host, and what an agent remembers in each of them.

    A device can decide for one half of them while the other half steps. It decides for all N each time, and one half
    counts: so random numbers are the same, and nothing depends on whether halves overlap.

    Attributes:
        rows: the environments of each half; one environment has no halves.
        memory: what the agent remembers, `[N, ...]`.
    """

    def __init__(self, env: HostEnvironment, num_envs: int, draws: bool = False) -> None:
        self.rows = halves_of(num_envs)
        self.envs: list[Any] = [env.make_envs(rows.stop - rows.start, draws) for rows in self.rows]
        self.num_envs = num_envs
        self.memory: PyTree = ()

    def reset(self, numbers: np.ndarray, memory: PyTree = ()) -> None:
        """Begins new episodes, with seeds `numbers`, int64 `[N]`, and the memory of their start."""
        self.seen = [envs.reset(numbers[rows]) for envs, rows in zip(self.envs, self.rows, strict=True)]
        self.episode_return = np.zeros(self.num_envs, np.float32)
        self.episode_length = np.zeros(self.num_envs, np.int32)
        self.memory = memory

    def save(self) -> list[bytes]:
        """The states of the environments of each half, if they can be saved."""
        return [envs.save() for envs in self.envs]

    def restore(self, saved: Sequence[bytes], state: VectorState, memory: PyTree) -> None:
        """Goes on where another source was saved, whose `state` and memory these are."""
        self.seen = [envs.restore(one) for envs, one in zip(self.envs, saved, strict=True)]
        self.episode_return, self.episode_length = np.array(state.episode_return), np.array(state.episode_length)
        self.memory = memory

    def close(self) -> None:
        for envs in self.envs:
            envs.close()

    @property
    def state(self) -> VectorState:
        """What is known of the environments: all but their own states."""
        observation, legal = _join([seen[:2] for seen in self.seen], axis=0)
        so_far: Any = self.episode_return.copy(), self.episode_length.copy()
        return VectorState((), observation, legal, *so_far)

    def play(
        self, act: Act, num_steps: int, settle: Callable[[Sequence[PyTree], np.ndarray], PyTree], overlap: bool = False
    ) -> Iterator[HostStep]:
        """Steps all environments, one half after the other.

        Args:
            act: decides.
            num_steps: T.
            settle: `(memories, done [N]) -> memory [N]` after the last step, from the memory of each half.
            overlap: whether the next decision for one half is made while the other half steps.
        """
        done = np.zeros(self.num_envs, bool)
        decisions = [act(self._input(self.memory), done, 0)] * len(self.rows)
        for t in range(num_steps):
            for half, rows in enumerate(self.rows):
                step = self._step(half, decisions[half])
                done = done.copy()  # what was passed to a device may not have been read yet
                done[rows] = step.done
                if overlap and t + 1 < num_steps:
                    decisions[half] = act(self._input(decisions[half].memory), done, t + 1)
                yield step
            if not overlap and t + 1 < num_steps:
                decisions = [act(self._input(decisions[0].memory), done, t + 1)] * len(self.rows)
        self.memory = settle([decision.memory for decision in decisions], done)

    def _input(self, memory: PyTree) -> Input:
        observation, legal = _join([seen[:2] for seen in self.seen], axis=0)
        return Input(observation, legal, memory)

    def _step(self, half: int, decision: Decision) -> HostStep:
        """Steps the environments of a half."""
        rows, before = self.rows[half], self.seen[half]
        treedef: Any
        leaves, treedef = jax.tree.flatten((decision.action, decision.extras))
        action, extras = jax.tree.unflatten(treedef, [np.asarray(x)[rows] for x in leaves])
        outcome = self.envs[half].step(action)
        self.seen[half] = outcome.first
        done = outcome.terminated | outcome.truncated
        score = outcome.reward if outcome.score is None else outcome.score
        over = done if outcome.over is None else outcome.over
        episode_return, episode_length = self.episode_return[rows] + score, self.episode_length[rows] + 1
        self.episode_return[rows] = np.where(over, 0, episode_return)
        self.episode_length[rows] = np.where(over, 0, episode_length)
        return HostStep(half, before, action, extras, outcome, done, score, over, episode_return, episode_length)


def collect(
    source: HostSource,
    act: Act,
    num_steps: int,
    settle: Callable[[Sequence[PyTree], np.ndarray], PyTree],
    overlap: bool,
) -> tuple[Transition, Metrics]:
    """Acts for T steps, as `HostSource.play` does: transitions `[T, N]`, and the sums of the metrics."""
    steps = list(source.play(act, num_steps, settle, overlap))
    return transitions_of(steps, len(source.rows)), _metrics(*_gather(steps, len(source.rows), _episodes))


def transitions_of(steps: Sequence[HostStep], halves: int, scored: bool = False) -> Transition:
    """The transitions `[T, N]` of steps, those of all halves.

    Args:
        steps: in the order in which they were made.
        halves: how many there are.
        scored: whether rewards and ends are those that count in returns, and not those that an agent learns from.
    """
    (observation, legal), (last, next_legal), (reward, terminated, truncated), action, extras = _gather(
        steps,
        halves,
        lambda step: (
            step.seen[:2], step.outcome.last[:2], _scored(step) if scored else step.outcome[:3], step.action,
            step.extras,
        ),
    )  # fmt: skip
    return Transition(observation, action, reward, terminated, truncated, last, legal, next_legal, extras)


def _scored(step: HostStep) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return step.score, step.outcome.terminated & step.over, step.outcome.truncated & step.over


def _episodes(step: HostStep) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return step.over, step.episode_return, step.episode_length


def _gather(steps: Sequence[HostStep], halves: int, get: Callable[[HostStep], PyTree]) -> PyTree:
    """Something of all steps, `[T, N, ...]`."""
    parts = [[get(step) for step in steps if step.half == half] for half in range(halves)]
    return _join([jax.tree.map(lambda *xs: np.stack(xs), *part) for part in parts], axis=1)


def halves_of(num_envs: int) -> list[slice]:
    """The environments of each half. One environment has no halves."""
    middle = num_envs // 2
    return [rows for rows in (slice(0, middle), slice(middle, num_envs)) if rows.start < rows.stop]


def _metrics(over: np.ndarray, episode_return: np.ndarray, episode_length: np.ndarray) -> Metrics:
    """The metrics of the returns that are complete, as `VectorEnv.step` has them."""
    episodes: Any = np.int32(over.sum())
    sums = (np.where(over, x, 0).sum(dtype=np.float32) for x in (episode_return, episode_length))
    return {name: Mean(x, episodes) for name, x in zip(("episode_return", "episode_length"), sums, strict=True)}


def _join(parts: Sequence[PyTree], axis: int) -> PyTree:
    """Arrays of several halves as one."""
    return parts[0] if len(parts) == 1 else jax.tree.map(lambda *xs: np.concatenate(xs, axis), *parts)


def merge(memories: Sequence[PyTree], rows: Sequence[slice], initial: PyTree, done: Array) -> PyTree:
    """The memory `[N, ...]` of which each half has its rows, and the initial one where an episode is done. Pure."""
    memory = jax.tree.map(lambda *xs: jax.numpy.concatenate([x[r] for x, r in zip(xs, rows, strict=True)]), *memories)
    return reset_memory(memory, initial, done)


def actor(policy: Callable[[PyTree, Input, Array], Any], num_envs: int) -> Callable[[PyTree, Array, PyTree], Act]:
    """`(agent_state, key, memory) -> Act` of a policy `(agent_state, Input [N], key) -> Decision [N]`, or actions.

    `memory` is that of a first step. All agents with states of the same shapes share one compiled program.
    """

    @jax.jit
    def act(agent_state: PyTree, key: Array, initial: PyTree, given: Input, done: Array, t: Array) -> Decision:
        act_key, _ = jax.random.split(jax.random.fold_in(key, t))
        given = given._replace(memory=reset_memory(given.memory, initial, done))
        return decide_on(partial(policy, agent_state), given, num_envs, act_key)

    def bind(agent_state: PyTree, key: Array, memory: PyTree) -> Act:
        return lambda given, done, t: act(agent_state, key, memory, given, done, np.int32(t))

    return bind


def no_settling(memories: Sequence[PyTree], done: np.ndarray) -> tuple[()]:
    """`settle` for those who do not go on after the last step."""
    del memories, done
    return ()


def begin(env: HostEnvironment, num_envs: int, key: Array, memory: PyTree, draws: bool = False) -> HostSource:
    """New environments at the start of an episode.

    Raises:
        ArgumentError: this is called in a program.
    """
    if isinstance(key, jax.core.Tracer):
        raise ArgumentError("env", "must be stepped outside of jax.jit, for it steps on the host", env.name)
    source = HostSource(env, num_envs, draws=draws)
    source.reset(seeds(key, num_envs), memory)
    return source
