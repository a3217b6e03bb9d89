"""Inverse reinforcement learning in finite MDPs given as tables: from what an expert does to a reward.

Two families of methods, both exact:

- `linear_program`: a reward for which a known policy is optimal (Ng & Russell 2000), and `sampled_linear_program`, for
  experts and environments that are known by trajectories alone.
- `max_entropy`: a reward under which demonstrations are most likely, if the expert chooses trajectories with a
  probability that grows exponentially with their return (Ziebart et al. 2008; Ziebart 2010; Wulfmeier et al. 2015).

Many rewards explain one policy. `R = 0` makes all policies optimal, and `R + γ Φ(s') - Φ(s)` has the optimal policies
of `R` for every potential `Φ` (Ng, Harada & Russell 1999). Compare policies and their values, not rewards.
"""

from jaxrl.inverse.linear_program import (
    LinearProgram,
    critical_l1_penalty,
    linear_program,
    optimality_margins,
    sampled_linear_program,
)
from jaxrl.inverse.max_entropy import MaxEntropy, max_entropy, negative_log_likelihood
from jaxrl.inverse.soft_planning import SoftPlan, occupancy, soft_value_iteration
from jaxrl.inverse.trajectories import Trajectories, sample_trajectories, trajectory_occupancy
