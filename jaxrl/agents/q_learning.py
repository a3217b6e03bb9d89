"""Q-learning with a table (Watkins & Dayan 1992, https://doi.org/10.1007/BF00992698).

The Bellman equation Q*(s, a) = E[r + γ max_a' Q*(s', a')] contains an expectation over the environment's dynamics.
Planning computes it from the environment's tables. Q-learning averages one sample of it from each step,

    Q(s, a) ← Q(s, a) + α (r + γ max_a' Q(s', a') − Q(s, a)).

Q → Q* with probability 1 if every action is tried in every state again and again, and if the step sizes α of each pair
add up to infinity but their squares do not. With n(s, a) visits so far, this holds for α = 1 / n(s, a)^ω with ω in
(1/2, 1]. With ω = 1, Q(s, a) is the mean of all its targets, including the early and wrong ones: the error falls like
n^−(1−γ). Any ω < 1 forgets them (Even-Dar & Mansour 2003, https://jmlr.org/papers/v5/evendar03a.html). A deterministic
environment needs no average, and α = 1 is best.
"""

import dataclasses
from collections.abc import Callable
from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp
from annotated_types import Interval

from jaxrl import ops
from jaxrl.agents.minibatches import check_rollout
from jaxrl.agents.value_based import epsilon_greedy_agent
from jaxrl.arguments import check_kind
from jaxrl.distributions import masked
from jaxrl.types import Agent, Array, Mean, Metrics, PyTree, Transition


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class QLearningHparams:
    """Hyperparameters of tabular Q-learning."""

    learning_rate: Annotated[float, Interval(gt=0, le=1)] = 1.0
    """c of the step size α = c / n(s, a)^ω at the n-th visit, in (0, 1]."""
    learning_rate_exponent: Annotated[float, Interval(ge=0, le=1)] = 0.8
    """ω of the step size, in [0, 1]: 0 keeps it constant; above 1/2, Q converges to Q*."""
    discount: Annotated[float, Interval(ge=0, le=1)] = 0.99
    """Discount factor γ per step, in [0, 1]."""
    epsilon: Annotated[float, Interval(ge=0, le=1)] = 0.1
    """Probability of a random action, in [0, 1]."""
    epsilon_eval: Annotated[float, Interval(ge=0, le=1)] = 0.0
    """Probability of a random action during evaluation, in [0, 1]."""


class QLearningState(NamedTuple):
    """The state of Q-learning.

    Attributes:
        q_values: `Q(s, a)`, float32 `[S, A]`.
        visits: `n(s, a)`, the transitions learned from, int32 `[S, A]`.
        hparams: the hyperparameters.
    """

    q_values: Array
    visits: Array
    hparams: QLearningHparams


def q_learning(num_states: int, num_actions: int, state_of: Callable[[PyTree], Array]) -> Agent[QLearningState]:
    """Q-learning with a table that starts at zero. It acts ε-greedily.

    With one transition at a time (T = N = 1) it is the textbook's algorithm. All transitions of a larger batch use the
    values from before the batch, and the same α for one pair, that of the last visit. Together, the `k` transitions of
    one pair move its value at most to the mean of their targets: `Q += min(α, 1 / k) Σ δ`. With α = 1 / n that is the
    mean of all targets, as with one transition at a time.

    Args:
        num_states: S.
        num_actions: A.
        state_of: maps observations `[..., *observation]` to the indices of their states, int `[...]` in 0 to S - 1,
            such as `GridWorld.state_of`.

    Returns:
        An agent for rollouts `[T, N]`, or batches of any other shape, with hyperparameters `QLearningHparams`. Its
        `update` returns the TD errors δ of that shape; its metrics are `loss` (½ δ²), `td_error` (|δ|) and
        `q_mean` (the value of the actions taken).
    """

    def init(key: Array, hparams: QLearningHparams, observation: PyTree) -> QLearningState:
        del key, observation
        check_kind("hparams", hparams, QLearningHparams)
        shape = (num_states, num_actions)
        return QLearningState(jnp.zeros(shape, jnp.float32), jnp.zeros(shape, jnp.int32), hparams)

    def q_values(state: QLearningState, observations: PyTree) -> Array:
        return state.q_values[state_of(observations)]

    def update(
        state: QLearningState, batch: Transition, key: Array, env_steps: Array, constants: PyTree = ()
    ) -> tuple[QLearningState, Metrics, PyTree]:
        del key, env_steps, constants
        check_rollout(batch)
        q, hparams = state.q_values, state.hparams
        pair = state_of(batch.observation), batch.action
        discount_t = jnp.where(batch.terminated, 0.0, hparams.discount)
        q_t = masked(q[state_of(batch.next_observation)], batch.next_legal)
        target = jnp.vectorize(ops.q_learning_target, signature="(),(),(a)->()")(batch.reward, discount_t, q_t)
        td_error = target - q[pair]

        visits = state.visits.at[pair].add(1)
        n, k = visits[pair], visits[pair] - state.visits[pair]
        rate = jnp.minimum(hparams.learning_rate / n**hparams.learning_rate_exponent, 1 / k)
        means = {"loss": ops.l2_loss(td_error).mean(), "td_error": abs(td_error).mean(), "q_mean": q[pair].mean()}
        metrics = {name: Mean.of(x) for name, x in means.items()}
        return QLearningState(q.at[pair].add(rate * td_error), visits, hparams), metrics, td_error

    return epsilon_greedy_agent(init, update, q_values, epsilon=lambda hparams, env_steps: hparams.epsilon)
