"""Q-learning with a table (Watkins & Dayan 1992, https://doi.org/10.1007/BF00992698).

The Bellman equation Q*(s, a) = E[r + γ max_a' Q*(s', a')] holds an expectation over what the environment does, which
planning computes from the environment's tables. Q-learning knows no tables: it averages samples of it, one from each
step,

    Q(s, a) ← Q(s, a) + α (r + γ max_a' Q(s', a') − Q(s, a)).

Q → Q* with probability 1 if every action is tried in every state again and again, and if the step sizes α of each pair
add up to infinity but their squares do not. With n(s, a) visits so far, α = 1 / n(s, a)^ω does for ω in (1/2, 1]. ω = 1
makes Q(s, a) the mean of all its targets, and the early ones, which were wrong, stay in it: the error falls like
n^−(1−γ). Any ω < 1 forgets them (Even-Dar & Mansour 2003, https://jmlr.org/papers/v5/evendar03a.html). An environment
without chance needs no average, and there α = 1 is best.
"""

import dataclasses
from collections.abc import Callable
from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp
from annotated_types import Interval

from jaxrl import ops
from jaxrl.agents.minibatches import ROLLOUT
from jaxrl.arguments import check_kind
from jaxrl.distributions import epsilon_greedy
from jaxrl.types import Agent, Array, Mean, Metrics, PyTree, Transition
from jaxrl.xla.threefry import inline


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class QLearningHparams:
    """What may be swept: traced values that live in the state, so that no change of them recompiles."""

    learning_rate: Annotated[float, Interval(gt=0, le=1)] = 1.0
    """c of the step size α = c / n(s, a)^ω, in (0, 1]; with ω = 0, the step size itself."""
    learning_rate_exponent: Annotated[float, Interval(ge=0, le=1)] = 0.8
    """ω, in [0, 1]: how fast the step size falls with the visits n(s, a). 0: it is constant; above 1/2, Q → Q*."""
    discount: Annotated[float, Interval(ge=0, le=1)] = 0.99
    """γ per step, in [0, 1]."""
    epsilon: Annotated[float, Interval(ge=0, le=1)] = 0.1
    """Probability of a random action, in [0, 1]."""
    epsilon_eval: Annotated[float, Interval(ge=0, le=1)] = 0.0
    """Probability of a random action when evaluating, in [0, 1]."""


class QLearningState(NamedTuple):
    """What was learned.

    Attributes:
        q_values: `Q(s, a)`, float32 `[S, A]`.
        visits: `n(s, a)`, how many transitions each was learned from, int32 `[S, A]`.
        hparams: the hyperparameters.
    """

    q_values: Array
    visits: Array
    hparams: QLearningHparams


def q_learning(num_states: int, num_actions: int, state_of: Callable[[PyTree], Array]) -> Agent:
    """Q-learning with a table that is zero at first.

    With transitions one by one (T = N = 1) it is the textbook's algorithm. Those of a larger batch are judged by the
    values from before it, and each moves its pair by the same α, that of the last visit; all `k` transitions of one
    pair together never move it further than to the mean of their targets: `Q += min(α, 1 / k) Σ δ`. With α = 1 / n
    that is the mean of all targets, as it is one by one.

    Args:
        num_states: S.
        num_actions: A.
        state_of: the index, int `[...]` in 0 to S - 1, of the state that each of the observations `[..., *observation]`
            shows, such as `GridWorld.state_of`.

    Returns:
        An agent for rollouts `[T, N]`, or batches of any other shape, whose hyperparameters are `QLearningHparams`,
        whose `update` returns the TD errors δ of that shape as extras, and whose metrics are `loss` (½ δ²), `td_error`
        (|δ|) and `q_mean` (the value of the actions taken).
    """

    def init(key: Array, hparams: QLearningHparams, observation: PyTree) -> QLearningState:
        del key, observation
        check_kind("hparams", hparams, QLearningHparams)
        shape = (num_states, num_actions)
        return QLearningState(jnp.zeros(shape, jnp.float32), jnp.zeros(shape, jnp.int32), hparams)

    def act(state: QLearningState, observations: PyTree, key: Array, env_steps: Array) -> Array:
        del env_steps
        return epsilon_greedy(outputs(state, observations), state.hparams.epsilon).sample(inline(key))

    def policy(state: QLearningState, observations: PyTree, key: Array) -> Array:
        return epsilon_greedy(outputs(state, observations), state.hparams.epsilon_eval).sample(key)

    def outputs(state: QLearningState, observations: PyTree) -> Array:
        return state.q_values[state_of(observations)]

    def update(
        state: QLearningState, batch: Transition, key: Array, env_steps: Array
    ) -> tuple[QLearningState, Metrics, PyTree]:
        del key, env_steps
        check_kind("batch", batch, Transition, ROLLOUT)
        q, hparams = state.q_values, state.hparams
        pair = state_of(batch.observation), batch.action
        discount_t = jnp.where(batch.terminated, 0.0, hparams.discount)
        q_t = q[state_of(batch.next_observation)]
        target = jnp.vectorize(ops.q_learning_target, signature="(),(),(a)->()")(batch.reward, discount_t, q_t)
        td_error = target - q[pair]

        visits = state.visits.at[pair].add(1)
        n, k = visits[pair], visits[pair] - state.visits[pair]
        rate = jnp.minimum(hparams.learning_rate / n**hparams.learning_rate_exponent, 1 / k)
        q_values = q.at[pair].add(rate * td_error)
        metrics = {
            "loss": Mean(ops.l2_loss(td_error).mean(), jnp.int32(1)),
            "td_error": Mean(abs(td_error).mean(), jnp.int32(1)),
            "q_mean": Mean(q[pair].mean(), jnp.int32(1)),
        }
        return QLearningState(q_values, visits, hparams), metrics, td_error

    return Agent(init, act, policy, update, outputs)
