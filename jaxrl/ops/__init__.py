"""The mathematics of one transition. No networks, no state; time indices follow rlax; the caller vmaps."""

from jaxrl.ops.losses import huber_loss, squared_loss
from jaxrl.ops.q_learning import double_q_learning_target, q_learning_target
from jaxrl.ops.schedules import linear_schedule

__all__ = ["double_q_learning_target", "huber_loss", "linear_schedule", "q_learning_target", "squared_loss"]
