"""Monte Carlo tree search: many trees at once, with any rule that selects actions.

A simulation descends from the root to an action that was not tried yet, asks the model what comes of it, and adds the
outcome to all nodes on its way back. What a node selects depends on its own statistics alone. So each node remembers
its next action, which is computed anew only when a simulation passes it, and to descend is to follow pointers.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxrl.arguments import ArgumentError
from jaxrl.types import Array, PyTree

UNVISITED = -1


class Root(NamedTuple):
    """Where searches begin.

    Attributes:
        logits: of the prior policy, float32 `[B, A]`.
        value: of the position, for who moves, float32 `[B]`.
        embedding: the state that the model continues from, `[B, ...]`.
    """

    logits: Array
    value: Array
    embedding: PyTree


class Expansion(NamedTuple):
    """What a model says of a step, and of the position behind it.

    Attributes:
        reward: of the step, for who took it, float32 `[B]`.
        discount: of the value behind it: γ, −γ where the player changes, and 0 where the game is over. float32 `[B]`.
        logits: of the prior policy behind it, float32 `[B, A]`. Those of illegal actions are large and negative.
        value: of the position behind it, for who moves there, float32 `[B]`.
    """

    reward: Array
    discount: Array
    logits: Array
    value: Array


Model = Callable[[PyTree, Array], tuple[Expansion, PyTree]]
"""`(embedding [B, ...], action [B]) -> (Expansion [B], embedding [B, ...])`."""


class Statistics(NamedTuple):
    """What selection knows of one node.

    Attributes:
        logits: of the prior policy, `[A]`.
        prior: the prior policy, `[A]`.
        raw_value: the model's value, scalar.
        value: the mean of the model's value and of the outcomes of all simulations that passed, scalar.
        visits: how many simulations took each action, int32 `[A]`.
        q_values: the mean outcome of each action; 0 for actions without a visit. `[A]`.
    """

    logits: Array
    prior: Array
    raw_value: Array
    value: Array
    visits: Array
    q_values: Array


class Tree(NamedTuple):
    """The trees of a search, each with room for M nodes. Node 0 is the root, node i that of simulation i.

    Attributes:
        nodes: the statistics of each node, `[B, M, ...]`.
        children: the node behind each action, or `UNVISITED`, int32 `[B, M, A]`.
        parent: of each node, int32 `[B, M]`.
        action: that leads to each node from its parent, int32 `[B, M]`.
        reward: of this action, `[B, M]`.
        discount: of the value behind it, `[B, M]`.
        chosen: the action that the next simulation takes in each node, int32 `[B, M]`.
        embedding: the model's states, `[B, M, ...]`.
    """

    nodes: Statistics
    children: Array
    parent: Array
    action: Array
    reward: Array
    discount: Array
    chosen: Array
    embedding: PyTree

    @property
    def root(self) -> Statistics:
        """The statistics of the roots, `[B, ...]`."""
        return jax.tree.map(lambda x: x[:, 0], self.nodes)


class Searched(NamedTuple):
    """The result of a search.

    Attributes:
        action: to take, int32 `[B]`.
        policy: the policy that the search recommends to learn, `[B, A]`.
        value: of the root: the mean of the model's value and of the outcomes of all simulations, `[B]`.
        tree: what was searched.
    """

    action: Array
    policy: Array
    value: Array
    tree: Tree


Select = Callable[[Statistics], Array]
"""`(Statistics) -> action`, int32 scalar, of one node."""


def check_legal(legal: Array, root: Root) -> None:
    """Raises an `ArgumentError` if a mask of actions does not have the shape of the logits at the roots."""
    if (shape := jnp.shape(legal)) != (expected := jnp.shape(root.logits)):
        raise ArgumentError(
            "legal", f"must have the shape of root.logits, {list(expected)}", legal, got=str(list(shape))
        )


def search(
    root: Root, model: Model, select_at_root: Callable[[Statistics, Array], Array], select: Select, num_simulations: int
) -> Tree:
    """Searches from B roots at once.

    Args:
        root: where to begin.
        model: what comes of an action.
        select_at_root: `(Statistics [B, ...], simulation) -> action [B]`: the first action of each simulation.
        select: the next ones.
        num_simulations: how often to descend; each adds one node to each tree.
    """

    trees = jnp.arange(len(root.value))

    def simulate(i: Array, tree: Tree) -> Tree:
        parent, action = _descend(tree, select_at_root(tree.root, i - 1))
        embedding = jax.tree.map(lambda x: x[trees, parent], tree.embedding)
        expansion, embedding = model(embedding, action)
        return _back_up(_add(tree, i, parent, action, expansion, embedding, select), i, select)

    start = jax.vmap(partial(_plant, num_simulations + 1))(root)
    return jax.lax.fori_loop(1, num_simulations + 1, simulate, start)


def _plant(size: int, root: Root) -> Tree:
    """A tree of one node."""
    actions = len(root.logits)

    def rows(x: Any) -> Array:
        return jnp.zeros((size, *x.shape), x.dtype).at[0].set(x)

    none, zero = jnp.zeros((size, actions), jnp.int32), jnp.zeros(size)
    prior, value = rows(jax.nn.softmax(root.logits)), rows(root.value)
    nodes = Statistics(rows(root.logits), prior, value, value, none, jnp.zeros((size, actions)))
    where = jnp.zeros(size, jnp.int32)
    return Tree(nodes, none + UNVISITED, where, where, zero, zero, where, jax.tree.map(rows, root.embedding))


def _descend(tree: Tree, action: Array) -> tuple[Array, Array]:
    """The last node on the way from each root, and the action from there that was not tried yet, `[B]`."""

    def inside(at: tuple[Array, Array, Array]) -> Array:
        return (at[2] != UNVISITED).any()

    def follow(at: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        node, action, child = at
        goes_on = child != UNVISITED
        node = jnp.where(goes_on, child, node)
        action = jnp.where(goes_on, tree.chosen[trees, node], action)
        return node, action, tree.children[trees, node, action]

    trees, node = jnp.arange(len(action)), jnp.zeros_like(action)
    return jax.lax.while_loop(inside, follow, (node, action, tree.children[trees, node, action]))[:2]


def _add(
    tree: Tree, new: Array, parent: Array, action: Array, expansion: Expansion, embedding: PyTree, select: Select
) -> Tree:
    """Adds a node to each tree, behind an action `[B]` of its parent `[B]`."""
    value, nothing = expansion.value, jnp.zeros_like(tree.children[:, 0])
    node = Statistics(
        expansion.logits, jax.nn.softmax(expansion.logits), value, value, nothing, nothing.astype(value.dtype)
    )
    put = partial(jax.tree.map, lambda rows, row: rows.at[:, new].set(row))
    return Tree(
        put(tree.nodes, node),
        tree.children.at[jnp.arange(len(parent)), parent, action].set(new),
        put(tree.parent, parent),
        put(tree.action, action),
        put(tree.reward, expansion.reward),
        put(tree.discount, expansion.discount),
        put(tree.chosen, jax.vmap(select)(node)),
        put(tree.embedding, embedding),
    )


def _back_up(tree: Tree, new: Array, select: Select) -> Tree:
    """Adds the value of a new node in each tree to the statistics of all nodes that lead to it."""
    trees, size = jnp.arange(len(tree.parent)), tree.parent.shape[1]

    def below_root(loop: tuple[Statistics, Array, Array, Array]) -> Array:
        return (loop[2] != 0).any()

    def up(loop: tuple[Statistics, Array, Array, Array]) -> tuple[Statistics, Array, Array, Array]:
        nodes, chosen, child, outcome = loop
        parent, action, reward, discount = (
            x[trees, child] for x in (tree.parent, tree.action, tree.reward, tree.discount)
        )
        outcome = reward + discount * outcome
        node = jax.tree.map(lambda x: x[trees, parent], nodes)
        before = node.visits.sum(1) + 1
        taken = jnp.arange(node.visits.shape[1]) == action[:, None]
        q_value = reward + discount * nodes.value[trees, child]
        node = node._replace(
            value=(node.value * before + outcome) / (before + 1),
            visits=node.visits + taken,
            q_values=jnp.where(taken, q_value[:, None], node.q_values),
        )
        # Trees that have arrived at the root write beyond the last node, which has no effect.
        at = trees, jnp.where(child != 0, parent, size)
        nodes = nodes._replace(
            value=nodes.value.at[at].set(node.value),
            visits=nodes.visits.at[at].set(node.visits),
            q_values=nodes.q_values.at[at].set(node.q_values),
        )
        return nodes, chosen.at[at].set(jax.vmap(select)(node)), parent, outcome

    start = jnp.full(len(trees), new, jnp.int32)
    nodes, chosen, _, _ = jax.lax.while_loop(below_root, up, (tree.nodes, tree.chosen, start, tree.nodes.value[:, new]))
    return tree._replace(nodes=nodes, chosen=chosen)
