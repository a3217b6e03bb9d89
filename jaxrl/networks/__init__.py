"""Networks, as flax modules. The only place that imports flax."""

from jaxrl.networks.q_networks import MLP, Network, QNetwork, q_network

__all__ = ["MLP", "Network", "QNetwork", "q_network"]
