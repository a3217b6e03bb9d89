"""Planning: exactly in a finite MDP, with a model estimated from counts, or by sampling through any model."""

from jaxrl.planning.dynamic_programming import (
    Plan,
    acting_states,
    bellman_backup,
    check_mdp,
    dtype_of,
    expected_return,
    policy_evaluation,
    policy_iteration,
    q_value_iteration,
    value_iteration,
)
