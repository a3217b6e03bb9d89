"""Dyna-Q and Dyna-Q+ with tables (Sutton 1990, https://doi.org/10.1016/B978-1-55860-141-3.50030-4).

Sutton & Barto 2018, section 8.2. After each step of the environment, Q-learning learns from the transition, a model
remembers it, and Q-learning learns from `n` more transitions that the model imagines: from a state seen before, drawn
uniformly, and an action taken there before. The model remembers the last reward and the last next state of each pair,
which is all there is to know of an environment that is deterministic.

Dyna-Q+ (section 8.3) adds the bonus κ √τ to an imagined reward, where τ is the number of steps since the pair was last
tried, so that planning leads back to what may have changed. It imagines all actions of a state that it has seen. Those
never tried lead back to the same state with reward 0.
"""

import dataclasses
from collections.abc import Callable
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
from annotated_types import Interval

from jaxrl.agents.minibatches import check_rollout
from jaxrl.agents.q_learning import QLearningHparams, QLearningState, q_learning
from jaxrl.agents.value_based import epsilon_greedy_agent
from jaxrl.arguments import check_kind
from jaxrl.types import Agent, Array, Mean, Metrics, PyTree, Transition
from jaxrl.xla.threefry import inline


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class DynaQHparams(QLearningHparams):
    """Hyperparameters of Dyna-Q and, with an exploration bonus, of Dyna-Q+."""

    learning_rate: Annotated[float, Interval(gt=0, le=1)] = 0.1
    """c of the step size α = c / n(s, a)^ω at the n-th visit, real or imagined, in (0, 1]."""
    learning_rate_exponent: Annotated[float, Interval(ge=0, le=1)] = 0.0
    """ω of the step size, in [0, 1]: 0 keeps it constant."""
    discount: Annotated[float, Interval(ge=0, le=1)] = 0.95
    planning_steps: Annotated[int, Interval(ge=0, lt=2**31)] = 50
    """n, imagined transitions for each batch; 0 is Q-learning, or in prioritised sweeping learns nothing."""
    exploration_bonus: Annotated[float, Interval(ge=0, lt=1e30)] = 0.0
    """κ of the bonus κ √τ for a pair that was last tried τ steps ago (Dyna-Q+); 0 for Dyna-Q."""


class TabularModel(NamedTuple):
    """What happened last after each action in each state, `[S, A]` each.

    Attributes:
        next_state: the state that followed, int32; the state itself if the action was never tried there.
        reward: the reward, float32; 0 if never tried.
        terminated: whether the episode terminated, bool.
        tried: whether the action was ever tried, bool.
        tried_at: the clock when it was last tried, float32; 0 if never.
    """

    next_state: Array
    reward: Array
    terminated: Array
    tried: Array
    tried_at: Array

    @classmethod
    def empty(cls, num_states: int, num_actions: int) -> "TabularModel":
        """The model before the first transition."""
        shape = (num_states, num_actions)
        itself = jnp.broadcast_to(jnp.arange(num_states, dtype=jnp.int32)[:, None], shape)
        zeros, never = jnp.zeros(shape, jnp.float32), jnp.zeros(shape, bool)
        return cls(itself, zeros, never, never, zeros)

    def learn(self, batch: Transition, env_steps: Array) -> "TabularModel":
        """Remembers transitions `[...]` between states int `[...]`."""
        pair = batch.observation, batch.action
        return TabularModel(
            self.next_state.at[pair].set(batch.next_observation),
            self.reward.at[pair].set(batch.reward),
            self.terminated.at[pair].set(batch.terminated),
            self.tried.at[pair].set(True),
            self.tried_at.at[pair].set(env_steps),
        )

    def imagine(self, state: Array, action: Array) -> Transition:
        """The transitions that the model expects, `[...]`."""
        pair = state, action
        terminated = self.terminated[pair]
        never = jnp.zeros_like(terminated)
        return Transition(state, action, self.reward[pair], terminated, never, self.next_state[pair])


class DynaQState(NamedTuple):
    """The state of an agent that plans with a table of transitions.

    Attributes:
        learner: the state of Q-learning.
        model: what it knows of the environment.
        priorities: of prioritised sweeping, float32 `[S, A]`; `()` in Dyna-Q.
    """

    learner: QLearningState
    model: TabularModel
    priorities: Any = ()

    @property
    def q_values(self) -> Array:
        return self.learner.q_values

    @property
    def visits(self) -> Array:
        return self.learner.visits

    @property
    def hparams(self) -> Any:
        return self.learner.hparams


def dyna_q(num_states: int, num_actions: int, state_of: Callable[[PyTree], Array]) -> Agent[DynaQState]:
    """Q-learning that also learns from what a table of remembered transitions imagines. It acts ε-greedily.

    With one transition at a time (T = N = 1) it is the textbook's algorithm. Of a larger batch, planning begins after
    all transitions were learned.

    Args:
        num_states: S.
        num_actions: A.
        state_of: maps observations `[..., *observation]` to the indices of their states, int `[...]` in 0 to S - 1,
            such as `GridWorld.state_of`.

    Returns:
        An agent for rollouts `[T, N]`, with hyperparameters `DynaQHparams`. Its `update` returns the TD errors of the
        real transitions; its metrics are those of Q-learning for them, and `backups`, the imagined transitions.
    """
    learner = q_learning(num_states, num_actions, lambda states: states)

    def init(key: Array, hparams: DynaQHparams, observation: PyTree) -> DynaQState:
        check_kind("hparams", hparams, DynaQHparams)
        return DynaQState(learner.init(key, hparams, observation), TabularModel.empty(num_states, num_actions))

    def update(
        state: DynaQState, batch: Transition, key: Array, env_steps: Array, constants: PyTree = ()
    ) -> tuple[DynaQState, Metrics, PyTree]:
        del constants
        check_rollout(batch)
        batch, hparams = numbered(batch, state_of), state.hparams
        learned, metrics, errors = learner.update(state.learner, batch, key, env_steps)
        model = state.model.learn(batch, env_steps)
        plus = hparams.exploration_bonus > 0
        bonus = hparams.exploration_bonus * jnp.sqrt(env_steps - model.tried_at)

        def plan(i: Array, learned: QLearningState) -> QLearningState:
            which = jax.random.uniform(inline(jax.random.fold_in(key, i)), (2,), jnp.float32)
            first = draw(which[0], model.tried.any(1))
            action = draw(which[1], model.tried[first] | plus)
            step = model.imagine(first, action)
            step = step._replace(reward=step.reward + bonus[first, action])
            return learner.update(learned, step, key, env_steps)[0]

        learned = jax.lax.fori_loop(0, hparams.planning_steps, plan, learned)
        backups = Mean.of(jnp.asarray(hparams.planning_steps, jnp.float32))
        return DynaQState(learned, model), metrics | {"backups": backups}, errors

    return tabular_agent(init, update, state_of)


def numbered(batch: Transition, state_of: Callable[[PyTree], Array]) -> Transition:
    """Transitions between the numbers of states."""
    return batch._replace(observation=state_of(batch.observation), next_observation=state_of(batch.next_observation))


def draw(uniform: Array, among: Array) -> Array:
    """One of the true entries of `among`, bool `[K]`, from a number in [0, 1): its index, int32 scalar."""
    number = among.sum()
    rank = jnp.minimum((uniform * number).astype(jnp.int32), number - 1)
    return (jnp.cumsum(among) <= rank).sum(dtype=jnp.int32)


def tabular_agent(init: Callable, update: Callable, state_of: Callable[[PyTree], Array]) -> Agent[DynaQState]:
    """An agent that acts ε-greedily by the table of its learner."""

    def q_values(state: DynaQState, observations: PyTree) -> Array:
        return state.q_values[state_of(observations)]

    return epsilon_greedy_agent(init, update, q_values, epsilon=lambda hparams, env_steps: hparams.epsilon)
