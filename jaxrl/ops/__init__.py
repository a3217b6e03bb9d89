"""The mathematics of one transition or one trajectory: no networks, no state.

Time indices follow rlax: `q_tm1, a_tm1, r_t, discount_t, q_t`. The caller maps over batches:

    targets = jax.vmap(ops.q_learning_target)(r_t, discount_t, q_t)  # [B] of [B], [B] and [B, num_actions]

Functions that share a name with rlax or optax share its meaning.
"""

from optax import huber_loss, l2_loss

from jaxrl.ops.distributional import (
    categorical_l2_project,
    categorical_q_learning_loss,
    quantile_huber_loss,
    quantile_q_learning_loss,
)
from jaxrl.ops.policy_gradients import clipped_surrogate_pg_loss, score_function_loss, score_function_surrogate
from jaxrl.ops.probabilities import (
    categorical_entropy,
    categorical_log_prob,
    greedy_policy,
    normal_entropy,
    normal_log_prob,
    tanh_log_derivative,
)
from jaxrl.ops.returns import (
    discounted_returns,
    generalized_advantage_estimation,
    lambda_returns,
    n_step_bootstrapped_returns,
    n_step_return,
)
from jaxrl.ops.schedules import linear_annealing, linear_decay
from jaxrl.ops.stochastic_graphs import gumbel_softmax, leave_one_out_baseline, straight_through, surrogate_loss
from jaxrl.ops.transforms import signed_hyperbolic, signed_parabolic, transform_from_2hot, transform_to_2hot
from jaxrl.ops.value_learning import (
    double_q_learning_target,
    expected_sarsa_target,
    q_learning_target,
    sarsa_target,
    weighted_mean,
)
