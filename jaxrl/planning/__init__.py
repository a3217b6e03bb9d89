"""Planning: exactly in a finite MDP, with a model estimated from counts, or by sampling through any model."""

from jaxrl.planning.certainty_equivalence import Counts, count_transitions, estimated_mdp, simulation_bound
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
from jaxrl.planning.shooting import (
    ActionPlan,
    CEMConfig,
    MPPIConfig,
    cem,
    middle,
    mppi,
    predicted_return,
    rollout_model,
    shift,
)
