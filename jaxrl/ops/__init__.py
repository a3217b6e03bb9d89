"""The mathematics of one transition or one trajectory.

No networks, no state; time indices follow rlax; the caller vmaps.
"""

from jaxrl.ops.distributional import (
    categorical_l2_project,
    categorical_q_learning_loss,
    quantile_q_learning_loss,
    quantile_regression_loss,
)
from jaxrl.ops.losses import huber_loss, l2_loss
from jaxrl.ops.policy_gradients import clipped_surrogate_pg_loss, policy_gradient_loss, score_function_surrogate
from jaxrl.ops.probabilities import categorical_entropy, categorical_log_prob, normal_entropy, normal_log_prob
from jaxrl.ops.returns import (
    discounted_returns,
    generalized_advantage_estimation,
    lambda_returns,
    n_step_bootstrapped_returns,
    n_step_return,
)
from jaxrl.ops.schedules import linear_decay, linear_schedule
from jaxrl.ops.value_learning import double_q_learning_target, expected_sarsa_target, q_learning_target, sarsa_target

__all__ = [
    "categorical_entropy",
    "categorical_l2_project",
    "categorical_log_prob",
    "categorical_q_learning_loss",
    "clipped_surrogate_pg_loss",
    "discounted_returns",
    "double_q_learning_target",
    "expected_sarsa_target",
    "generalized_advantage_estimation",
    "huber_loss",
    "l2_loss",
    "lambda_returns",
    "linear_decay",
    "linear_schedule",
    "n_step_bootstrapped_returns",
    "n_step_return",
    "normal_entropy",
    "normal_log_prob",
    "policy_gradient_loss",
    "q_learning_target",
    "quantile_q_learning_loss",
    "quantile_regression_loss",
    "sarsa_target",
    "score_function_surrogate",
]
