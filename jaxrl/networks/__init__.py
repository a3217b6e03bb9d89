"""Networks as flax modules, and adapters for those of other libraries. Only this package imports flax."""

from jaxrl.networks.actor_critic import ActorCritic, Discriminator, PolicyNetwork, actor_critic, policy_network
from jaxrl.networks.adapters import from_equinox, from_nnx
from jaxrl.networks.board_network import BoardNetwork, board_network
from jaxrl.networks.continuous import Critic, DeterministicPolicy, SquashedPolicy
from jaxrl.networks.layers import Dense, NoisyDense
from jaxrl.networks.learned_model import LearnedModel, learned_model
from jaxrl.networks.network import Network, example_of
from jaxrl.networks.q_networks import QNetwork, q_network
