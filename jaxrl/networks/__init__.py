"""Networks, as flax modules. The only place that imports flax."""

from jaxrl.networks.q_networks import Network, QNetwork, q_network

__all__ = ["Network", "QNetwork", "q_network"]
