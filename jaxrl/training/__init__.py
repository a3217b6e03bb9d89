"""The flow of data: from worlds through a replay to an agent, for one agent or many."""

from jaxrl.training.off_policy import OffPolicyConfig, off_policy
from jaxrl.training.population import population

__all__ = ["OffPolicyConfig", "off_policy", "population"]
