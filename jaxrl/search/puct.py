"""PUCT search, as in AlphaGo Zero, AlphaZero and MuZero (Schrittwieser et al. 2020, appendix B).

A node takes the action of the largest

    q̄(a) + P(a) √N / (1 + N(a)) · (c₁ + log((N + c₂ + 1) / c₂)),

with q̄ its value by the range of values that the node has seen, and N the visits of the node, its first one included.
The visits of the root's actions are the policy to learn.
"""

import jax
import jax.numpy as jnp

from jaxrl.arguments import check_count
from jaxrl.search.tree import Model, Root, Searched, Statistics, check_legal, search
from jaxrl.types import Array


def puct_search(
    key: Array,
    root: Root,
    model: Model,
    legal: Array,
    num_simulations: int,
    noise_fraction: float = 0.25,
    noise_concentration: float = 0.3,
    temperature: float = 1.0,
) -> Searched:
    """The search of AlphaGo Zero, AlphaZero and MuZero, from B roots at once.

    Args:
        key: of the noise and of the action.
        root: where to begin.
        model: what comes of an action.
        legal: actions at the roots, bool `[B, A]`.
        num_simulations: of each search, at least 1.
        noise_fraction: the share of noise in the prior policy of the root: 0.25 in self-play, 0 to play.
        noise_concentration: α of the noise, Dirichlet(α, …, α); the papers take some 10 / A.
        temperature: actions are drawn in proportion to visits^(1 / temperature); 0 takes the most visited one.

    Raises:
        ArgumentError: no simulations, or a mask of another shape than the logits.
    """
    check_count("num_simulations", num_simulations)
    check_legal(legal, root)
    noise_key, action_key = jax.random.split(key)
    logits = jnp.where(legal, root.logits, -jnp.inf)
    gamma = jax.random.loggamma(noise_key, jnp.full(logits.shape, noise_concentration, logits.dtype))
    noise = jax.nn.softmax(jnp.where(legal, gamma, -jnp.inf))  # among legal actions only
    prior = (1 - noise_fraction) * jax.nn.softmax(logits) + noise_fraction * noise
    lowest = jnp.finfo(logits.dtype).min

    def select_at_root(node: Statistics, simulation: Array) -> Array:
        del simulation
        return jnp.where(legal, jax.vmap(scores)(node), -jnp.inf).argmax(1).astype(jnp.int32)

    def select(node: Statistics) -> Array:
        return scores(node).argmax().astype(jnp.int32)

    tree = search(
        root._replace(logits=jnp.maximum(jnp.log(prior), lowest)), model, select_at_root, select, num_simulations
    )
    visits = tree.root.visits
    counts = jnp.maximum(jnp.log(visits.astype(logits.dtype)), lowest)
    drawn = jax.random.categorical(action_key, counts / jnp.maximum(temperature, jnp.finfo(logits.dtype).tiny))
    action = jnp.where(temperature > 0, drawn, visits.argmax(1)).astype(jnp.int32)
    return Searched(action, visits / num_simulations, tree.root.value, tree)


def scores(node: Statistics, c1: float = 1.25, c2: float = 19652.0) -> Array:
    """What a node's next action maximises, `[A]`. Actions without a visit have the lowest value."""
    total, visited = 1 + node.visits.sum(), node.visits > 0
    values = jnp.where(visited, node.q_values, node.value)
    low, high = jnp.minimum(values.min(), node.value), jnp.maximum(values.max(), node.value)
    value = (jnp.where(visited, values, low) - low) / jnp.maximum(high - low, 1e-8)
    return value + jnp.sqrt(total) * (c1 + jnp.log((total + c2 + 1) / c2)) * node.prior / (1 + node.visits)
