"""Gumbel search (Danihelka et al. 2022, "Policy improvement by planning with Gumbel", ICLR).

The root samples actions without replacement, by the Gumbel-top-k trick, and halves them by sequential halving
(Karnin et al. 2013). The improved policy is π′ = softmax(logits + σ(q̂)), with q̂ the values of actions, completed by
a mixed value where there is no visit. Below the root, actions are taken in proportion to π′. The policy improves on the
prior with as few as two simulations, where PUCT needs many.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np

from jaxrl.arguments import ArgumentError, check_count
from jaxrl.search.tree import Model, Root, Searched, Statistics, check_legal, search
from jaxrl.types import Array


def gumbel_search(
    key: Array,
    root: Root,
    model: Model,
    legal: Array,
    num_simulations: int,
    max_considered: int = 16,
    gumbel_scale: float = 1.0,
) -> Searched:
    """Gumbel MuZero's search, from B roots at once.

    Args:
        key: of the Gumbel noise.
        root: where to begin.
        model: what comes of an action.
        legal: actions at the roots, bool `[B, A]`.
        num_simulations: of each search, at least 2.
        max_considered: how many actions the root samples.
        gumbel_scale: of the noise: 1 in self-play, 0 to play as well as possible.

    Raises:
        ArgumentError: too few simulations, or a mask of another shape than the logits.
    """
    if check_count("num_simulations", num_simulations) < 2:
        raise ArgumentError("num_simulations", "must be at least 2", num_simulations)
    check_legal(legal, root)
    logits = jnp.where(legal, root.logits, jnp.finfo(root.logits.dtype).min)
    noise = gumbel_scale * jax.random.gumbel(key, logits.shape, logits.dtype)
    considered = min(max_considered, logits.shape[1])
    table = np.array([visit_schedule(n, num_simulations) for n in range(considered + 1)])
    schedule = jnp.asarray(table)[jnp.minimum(legal.sum(1), considered)]  # [B, simulations]

    def select_at_root(node: Statistics, simulation: Array) -> Array:
        return jax.vmap(_best)(node, noise, legal, schedule[:, simulation])

    tree = search(root._replace(logits=logits), model, select_at_root, _proportional, num_simulations)
    node = tree.root
    action = jax.vmap(_best)(node, noise, legal, node.visits.max(1))
    policy = jax.nn.softmax(logits + jax.vmap(scaled_values)(node))
    return Searched(action, jnp.where(legal, policy, 0), node.value, tree)


def _best(node: Statistics, noise: Array, legal: Array, visits: Array) -> Array:
    """The best action among those with so many visits."""
    score = noise + node.logits - node.logits.max() + scaled_values(node)
    score = jnp.maximum(score, -1e9)  # so that no score of a legal action is that of an action that is left out
    return jnp.where(legal & (node.visits == visits), score, -jnp.inf).argmax().astype(jnp.int32)


def _proportional(node: Statistics) -> Array:
    """The action of which the visits lag behind π′ most (equation 14)."""
    policy = jax.nn.softmax(node.logits + scaled_values(node))
    return (policy - node.visits / (1 + node.visits.sum())).argmax().astype(jnp.int32)


def scaled_values(node: Statistics, scale: float = 0.1, base: float = 50.0) -> Array:
    """σ(q̂), `[A]` (equation 8): values in [0, 1] by their range, times `scale` (`base` + the most visits).

    An action without a visit has the mixed value (equation 33): the model's value, and the values of visited actions by
    their prior probabilities, as one value of each visit.
    """
    visited, total = node.visits > 0, node.visits.sum()
    prior = jnp.maximum(node.prior, jnp.finfo(node.logits.dtype).tiny)
    weights = jnp.where(visited, prior, 0)
    mean = (weights * node.q_values).sum() / jnp.where(total > 0, weights.sum(), 1)
    mixed = (node.raw_value + total * mean) / (1 + total)
    values = jnp.where(visited, node.q_values, mixed)
    low, high = values.min(), values.max()
    return (base + node.visits.max()) * scale * (values - low) / jnp.maximum(high - low, 1e-8)


def visit_schedule(actions: int, simulations: int) -> tuple[int, ...]:
    """How many visits the action has that each simulation takes, `[simulations]`, by sequential halving.

    In each phase, all remaining actions are visited equally often; then the better half remains, at least two.
    """
    if actions <= 1:
        return tuple(range(simulations))
    phases, remaining, done = math.ceil(math.log2(actions)), actions, 0
    schedule: list[int] = []
    while len(schedule) < simulations:
        rounds = max(1, simulations // (phases * remaining))
        for visits in range(done, done + rounds):
            schedule += [visits] * remaining
        done, remaining = done + rounds, max(2, remaining // 2)
    return tuple(schedule[:simulations])
