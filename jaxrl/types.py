"""The records every part of jaxrl speaks in.

Axis letters, used in every docstring:

    ``T``  time steps of a rollout              ``N``  environments stepped side by side
    ``B``  transitions in a batch               ``A``  agents of a population (their seeds, their hyperparameters)
    ``W``  random words one environment uses a step   ``[...]`` any batch axes, or none
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax

Array = jax.Array
PyTree = Any
Hparams = Any
"""A pytree of traced hyperparameters, such as `jaxrl.agents.dqn.DQNHparams`, a dict, or `()` for none."""


class Mean(NamedTuple):
    """A mean kept as its sum and its count, so that it stays right when added up, masked, averaged or sharded."""

    sum: Array
    count: Array  # type: ignore[assignment]  # hides the method of tuples, which nobody needs here


Metrics = dict[str, Mean]


class Transition(NamedTuple):
    """One step of an environment, complete in itself: nothing in it depends on the transition stored next to it.

    Attributes:
        observation: what the agent saw, `[..., *observation]`.
        action: what it did, `[...]`.
        reward: what it got, float32 `[...]`.
        terminated: the episode ended by the rules of the environment: nothing follows, so its value is zero, bool
            `[...]`.
        truncated: the episode was cut off (a time limit): the value of `next_observation` still counts, bool `[...]`.
        next_observation: what followed, before any reset, `[..., *observation]`.
    """

    observation: PyTree
    action: Array
    reward: Array
    terminated: Array
    truncated: Array
    next_observation: PyTree


class Sample(NamedTuple):
    """What a replay hands to its agent.

    Attributes:
        transitions: sequences of `n` consecutive steps of one environment, `[n, B]`; an episode may end within one, and
            what follows then belongs to the next. DQN learns towards targets over the `n` steps.
        weights: of the loss of each sequence, float32 `[B]`: 1, unless some are drawn more often than others.
    """

    transitions: Transition
    weights: Array


class MDP(NamedTuple):
    """A finite Markov decision process as arrays: `(S, A, R, P, γ)` and the distribution of first states.

    `S` states and `A` actions are counted from 0. Many problems of one size stack into a batch for `vmap`.

    Attributes:
        transition: `P[s, a, s']`, the probability that action `a` in state `s` leads to `s'`, float32 `[S, A, S]`.
        reward: `R[s, a]`, the expected reward of action `a` in state `s`, float32 `[S, A]`.
        discount: `γ`, float32 scalar in [0, 1].
        terminal: states in which the episode is over, bool `[S]`. All their actions lead back to them with reward 0, so
            that the equations of planning need no exception for them.
        initial: `p(s_0)`, the probability that an episode begins in each state, float32 `[S]`.
    """

    transition: Array
    reward: Array
    discount: Array
    terminal: Array
    initial: Array


class Agent(NamedTuple):
    """A learner as a record of pure functions. It knows no environment, no replay and no device.

    Attributes:
        init: `(key, hparams, observation) -> agent_state`. `observation` is one example, without a batch axis.
        act: `(agent_state, observations[N], key, env_steps) -> actions[N]`, exploring.
        policy: `(agent_state, observations[N], key) -> actions[N]`, for evaluation and use.
        update: `(agent_state, batch, key, env_steps) -> (agent_state, metrics, extras)`. `batch` is a `Transition` of
            `[T, N]` from a rollout, or a `Sample` from a replay; `extras` holds what the data source may need: for a
            prioritised replay, one error `[B]` a sample.
        outputs: `(agent_state, observations[N]) -> what it chooses actions by`: Q(s, ·) `[N, num_actions]`, or a
            `jaxrl.distributions.Distribution`. With it, trainers refuse an agent for another number of actions, which
            no one would notice otherwise; an agent may do without.
        whole_episodes: whether every rollout must begin with an episode, as that of `OnPolicyConfig.reset_each_rollout`
            does. Trainers refuse such an agent where theirs do not.

    `env_steps` is the trainer's clock as a float32 scalar: environment steps one agent has taken so far, over all its
    environments. Schedules depend on it and on nothing else, so a run can be extended.
    """

    init: Callable[[Array, Hparams, PyTree], PyTree]
    act: Callable[[PyTree, PyTree, Array, Array], Array]
    policy: Callable[[PyTree, PyTree, Array], Array]
    update: Callable[[PyTree, Any, Array, Array], tuple[PyTree, Metrics, PyTree]]
    outputs: Callable[[PyTree, PyTree], Any] | None = None
    whole_episodes: bool = False


class TrainState(NamedTuple):
    """Everything a run is: saving it and restoring it continues the run to the same bits.

    Attributes:
        iteration: calls of `Trainer.step` so far, int32 scalar. The only clock: schedules, ring positions and random
            streams derive from it. A population shares one, unbatched.
        key: the run's random key; iteration `i` draws from `fold_in(key, i)`.
        agent: the agent's own state (parameters, optimizer state, hyperparameters).
        envs: the state of the `N` environments.
        replay: stored transitions and the state of their sampler, or `()` for trainers that keep none.
    """

    iteration: Array
    key: Array
    agent: PyTree
    envs: PyTree
    replay: PyTree = ()


class Trainer(NamedTuple):
    """An agent and where its data comes from, as a record of pure functions, ready for `jit`, `vmap` and `scan`.

    Attributes:
        init: `(key, hparams) -> TrainState`; includes the warm-up, so that no step needs a branch for it.
        step: `(TrainState) -> (TrainState, Metrics)`; a fixed rollout and a fixed number of updates.
        steps_per_iteration: environment steps one `step` takes for one agent.
        warmup_steps: environment steps `init` has taken for one agent.
        max_iterations: how often `step` may be called before a counter, int32, overflows.
    """

    init: Callable[[Array, Hparams], TrainState]
    step: Callable[[TrainState], tuple[TrainState, Metrics]]
    steps_per_iteration: int
    warmup_steps: int
    max_iterations: int = 2**31 - 1
