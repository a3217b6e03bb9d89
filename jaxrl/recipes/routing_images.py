"""The recipe of routing networks on images of several domains, each of which needs an expert of its own."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import jax
import numpy as np
from annotated_types import Interval
from flax import linen as nn

from jaxrl.agents.routing import RoutingConfig, routing
from jaxrl.distributions import Categorical
from jaxrl.envs.digits import DOMAINS, Digits
from jaxrl.networks import example_of, policy_network
from jaxrl.networks.actor_critic import MLP
from jaxrl.networks.network import as_features
from jaxrl.plots.digit_pictures import draw_routing
from jaxrl.plots.picture_errors import errors_as_notes
from jaxrl.recipes.shown_images import check_shows, show_test_images, wrong_answers
from jaxrl.runs.experiment import ignored_settings
from jaxrl.runs.options import Options
from jaxrl.training import OfflineConfig, offline
from jaxrl.types import Agent, Array, Discrete, PyTree, Trainer

PICTURE = "routing.png"


@dataclasses.dataclass(frozen=True)
class Routing(RoutingConfig, OfflineConfig):
    """Static configuration of routing networks."""

    batch_size: Annotated[int, Interval(ge=2, lt=2**31)] = 256
    """Images per gradient step, at least 2: a baseline is the mean loss of the others."""
    router_sizes: tuple[Annotated[int, Interval(gt=0, lt=2**16)], ...] = (64,)
    """Units of each dense layer of the router."""
    expert_sizes: tuple[Annotated[int, Interval(gt=0, lt=2**16)], ...] = (64,)
    """Units of each dense layer of every expert."""
    activation: Literal["tanh", "relu"] = "relu"
    """Activation function of these layers."""


class Router(nn.Module):
    """Dense layers that choose among experts: observations `[N, ...]` to a `Categorical`.

    Unlike a policy, it does not begin near equal probabilities. Those would soon split digits of all domains among
    experts that have learned nothing yet; random ones differ most where images do, between domains.
    """

    num_experts: int
    hidden_sizes: Sequence[int]
    activation: Literal["tanh", "relu"]

    @nn.compact
    def __call__(self, observations: Array) -> Categorical:
        scale, features = 3.0, as_features(observations, 0)
        return Categorical(MLP(self.hidden_sizes, self.num_experts, scale, self.activation)(features))


def build(env: Any, env_params: Any, config: Routing) -> tuple[Agent, Trainer]:
    """A routing network that learns from images drawn afresh.

    Raises:
        ArgumentError: the environment does not show digits.
    """
    check_shows(env, Digits)
    example = example_of(env, env_params)
    router = Router(config.num_experts, config.router_sizes, config.activation)
    expert = policy_network(example, Discrete(env.num_actions), config.expert_sizes, config.activation)
    agent = routing(router, expert, config)
    return agent, offline(agent, env.training_batch, config)


def report(agent: Agent, env: Digits, env_params: Any, agent_states: PyTree, directory: Path) -> dict[str, Any]:
    """How well experts match domains, one to one, in new images; and the shares of wrong answers.

    Draws which expert got which domain, for the first seed.
    """
    del env_params
    shown = show_test_images(agent, env, agent_states, directory)
    experts = jax.tree.leaves(agent_states.params["experts"])[0].shape[1]
    shares = [shares_of(shown.drawn.domain, chosen, env.domains, experts) for chosen in shown.decisions.extras]
    accuracies = [one_to_one(share) for share in shares]
    with errors_as_notes(directory / PICTURE):
        draw_routing(shown.drawn.image, shown.decisions.extras[0], shares[0], DOMAINS, directory / PICTURE)
    return {
        "routing_accuracy": float(np.mean(accuracies)),
        "routing_accuracy_per_seed": accuracies,
        **wrong_answers(shown),
    }


def shares_of(domain: np.ndarray, chosen: np.ndarray, domains: int, experts: int) -> np.ndarray:
    """The share of all images that are of a domain and went to an expert, `[domains, experts]`."""
    shares = np.zeros((domains, experts))
    np.add.at(shares, (domain, chosen), 1 / len(domain))
    return shares


def one_to_one(shares: np.ndarray) -> float:
    """The share of images that go to the expert of their domain, where no two domains have the same expert.

    Experts are matched to domains so that it is largest. Without that rule, domains that share an expert would count
    as routed perfectly.
    """
    from scipy.optimize import linear_sum_assignment

    return float(shares[linear_sum_assignment(-shares)].sum())


def ignored(options: Options, observation: Any) -> dict[str, str]:
    """The settings that networks of no layers ignore, and why."""
    del observation
    layers = options.config.router_sizes + options.config.expert_sizes
    return ignored_settings(
        (not layers, "config.router_sizes and config.expert_sizes of no layers", ("config.activation",))
    )
