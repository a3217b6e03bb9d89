"""Two-player zero-sum games as arrays, in sequence form (von Stengel 1996, https://doi.org/10.1006/game.1996.0050).

A player's *sequence* is an information set and an action there, or nothing yet, and its *plan* gives the probability
that the player itself contributes to it: the product of its policy along the way. What a player can expect is linear in
both plans. So all that follows reads each player's information sets once, a level at a time: those after none of its
own decisions, after one, and so on. There are only gathers, no scatters, so that it is fast on any device, and `vmap`
takes many policies, or many games of one shape, at once.

Letters: `I` information sets, those of the first player before those of the second, `A` actions, and of one player `I`
and `S = I * A + 1` sequences, where the last is the empty one. A policy is `[I, A]`, with zeros for illegal actions.
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxrl.arguments import ArgumentError, check_kind
from jaxrl.types import Array


class Side(NamedTuple):
    """What one player knows and what it may win.

    Attributes:
        ancestors: the sequences of its own that lead to each information set, int32 `[I, D]`; missing ones are empty.
        children: for each level, which sets of the next level follow each action, int32 `[L, A, C]`, by their position
            there. The number of these sets stands for none.
        payoff: what the player wins at the ends that follow its sequence with no decision of its own between, times the
            probability of chance, `[S, M]`; 0 for missing ones.
        wins: the same of a game in which a win counts 1 and a loss −1, `[S, M]`.
        opponent: the sequence of the other player at these ends, int32 `[S, M]`.
        chance: the probability of chance at each position of an information set, `[I, H]`; 0 for missing ones.
        seen: the sequence of the other player there, int32 `[I, H]`.
    """

    ancestors: Array
    children: tuple[Array, ...]
    payoff: Array
    wins: Array
    opponent: Array
    chance: Array
    seen: Array


class Tree(NamedTuple):
    """The positions of a game, for play. The first is number 0.

    Attributes:
        child: the position after each action or outcome, int32 `[P, K]`; 0 for those that there are not.
        player: whose turn it is: 0, 1, 2 for chance, 3 at an end, int32 `[P]`.
        set: the information set, int32 `[P]`; where nobody decides, that of the last decision, or 0.
        chance: the probabilities of outcomes, `[P, K]`; 0 elsewhere.
        utility: what the first player wins at an end, `[P]`; 0 elsewhere.
    """

    child: Array
    player: Array
    set: Array
    chance: Array
    utility: Array


CHANCE, END = 2, 3


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Game:
    """A two-player zero-sum game with perfect recall.

    Attributes:
        sides: of both players.
        legal: the legal actions of each information set, bool `[I, A]`.
        tree: its positions.
        name: of the game.
        labels: what is known in each information set.
        longest: the most decisions in a game.
    """

    sides: tuple[Side, Side] = dataclasses.field(repr=False)
    legal: Array = dataclasses.field(repr=False)
    tree: Tree = dataclasses.field(repr=False)
    name: str = dataclasses.field(metadata={"static": True})
    labels: tuple[str, ...] = dataclasses.field(repr=False, metadata={"static": True})
    longest: int = dataclasses.field(metadata={"static": True})

    @property
    def num_sets(self) -> tuple[int, int]:
        """The number of information sets of each player."""
        first, second = (side.ancestors.shape[-2] for side in self.sides)
        return first, second

    def rows(self, player: int) -> slice:
        """The rows of a player in a policy."""
        first, second = self.num_sets
        return slice(0, first) if player == 0 else slice(first, first + second)


def counting_wins(game: Game) -> Game:
    """The same game, but a win counts 1 and a loss −1, whatever they earn."""
    first, second = (side._replace(payoff=side.wins) for side in game.sides)
    return dataclasses.replace(game, sides=(first, second))


def uniform_policy(game: Game) -> Array:
    """The policy that chooses uniformly among legal actions, `[I, A]`."""
    legal = jnp.asarray(game.legal)
    return legal / legal.sum(-1, keepdims=True)


def normalised(game: Game, weights: Array) -> Array:
    """The policy in proportion to weights ≥ 0 `[I, A]`, which is uniform where they are all zero."""
    weights = jnp.where(game.legal, weights, 0)
    total = weights.sum(-1, keepdims=True)
    return jnp.where(total > 0, weights / jnp.where(total > 0, total, 1), uniform_policy(game).astype(weights.dtype))


def check_policy(game: Game, policy: Array) -> None:
    """Checks a policy: its shape, and unless it is traced, its numbers.

    Raises:
        ArgumentError: it has another shape, an illegal action, a negative probability, or probabilities that do not add
            up to 1; or the game is none.
    """
    check_kind("game", game, Game, ", as from jaxrl.game_theory.make_game")
    if np.shape(policy) != np.shape(game.legal):
        shape = list(np.shape(game.legal))
        raise ArgumentError("policy", f"must be of shape {shape}", got=f"shape {list(np.shape(policy))}")
    if isinstance(policy, jax.core.Tracer) or isinstance(game.legal, jax.core.Tracer):
        return
    table, legal = np.asarray(policy), np.asarray(game.legal)
    wrong = (
        ("must not choose an illegal action", ((table != 0) & ~legal).any(-1)),
        ("must have probabilities >= 0", ~(table >= 0).all(-1)),
        ("must have probabilities that add up to 1", np.abs(table.sum(-1) - 1) > 1e-4),
    )
    for rule, where in wrong:
        if where.any():
            row = int(np.flatnonzero(where)[0])
            got = f"{table[row].tolist()} in the information set {game.labels[row]!r}"
            raise ArgumentError("policy", rule, got=got)


def reach(game: Game, policy: Array, player: int) -> Array:
    """The probability that a player itself contributes to each of its information sets, `[I]`."""
    own = jnp.append(policy[game.rows(player)].reshape(-1), 1)
    return own[game.sides[player].ancestors].prod(-1)


def plan(game: Game, policy: Array, player: int) -> Array:
    """The plan of a player, `[S]`: the probability that it contributes to each of its sequences."""
    weights = reach(game, policy, player)[:, None] * policy[game.rows(player)]
    return jnp.append(weights.reshape(-1), 1)


def met(side: Side, others: Array) -> Array:
    """The probability that chance and the other player, with a plan `[S]`, contribute to each set, `[I]`."""
    return (jnp.asarray(side.chance, others.dtype) * others[side.seen]).sum(-1)


def opponent_reach(game: Game, policy: Array, player: int) -> Array:
    """The probability that chance and the other player contribute to each information set of a player, `[I]`."""
    side = game.sides[player]
    return met(side, plan(game, policy, 1 - player))


def sequence_values(game: Game, others: Array, player: int, policy: Array | None) -> tuple[Array, Array]:
    """Counterfactual values of a player, from the leaves up.

    Args:
        game: which.
        others: the plan of the other player, `[S]`.
        player: 0 or 1.
        policy: both players', `[I, A]`; None for the best response.

    Returns:
        The value of each action in each of its information sets times the probability that chance and the other player
        reach the set, `[I, A]` (0 for illegal ones), and the value of the game for this player, scalar.
    """
    side, rows = game.sides[player], game.rows(player)
    legal = jnp.asarray(game.legal)[rows]
    leaves = (jnp.asarray(side.payoff, others.dtype) * others[side.opponent]).sum(-1)
    actions, root = leaves[:-1].reshape(legal.shape), leaves[-1]
    found: list[Array] = []
    below, end = jnp.zeros(1, leaves.dtype), legal.shape[0]
    for children in reversed(side.children):
        level = slice(end - children.shape[-3], end)
        q = actions[level] + below[children].sum(-1)
        best = jnp.where(legal[level], q, -jnp.inf).max(-1)
        values = best if policy is None else (policy[rows][level] * q).sum(-1)
        below, end = jnp.append(values, 0), level.start
        found.insert(0, q)
    return jnp.concatenate(found), root + below.sum()


def counterfactual_values(game: Game, policy: Array) -> Array:
    """The value of each action to who chooses it, times the probability that the others reach its set, `[I, A]`."""
    return jnp.concatenate([sequence_values(game, plan(game, policy, 1 - i), i, policy)[0] for i in (0, 1)])


def action_values(game: Game, policy: Array) -> Array:
    """The expected utility of each action to who chooses it, given that its set is reached, `[I, A]`.

    It is 0 in sets that chance and the other player never reach.
    """
    reached = jnp.concatenate([opponent_reach(game, policy, i) for i in (0, 1)])[:, None]
    return jnp.where(reached > 0, counterfactual_values(game, policy) / jnp.where(reached > 0, reached, 1), 0)


def visits(game: Game, policy: Array) -> Array:
    """The probability that a game passes through each information set, `[I]`."""
    return jnp.concatenate([reach(game, policy, i) * opponent_reach(game, policy, i) for i in (0, 1)])


def value(game: Game, policy: Array) -> Array:
    """What the first player expects to win, scalar.

    Raises:
        ArgumentError: as from `check_policy`.
    """
    check_policy(game, policy)
    return sequence_values(game, plan(game, policy, 1), 0, policy)[1]


def features(game: Game) -> Array:
    """What a network knows of each information set, float32 `[I, F]`: which letter of its label is where.

    Labels are of fields with spaces between, such as a player's card, the bets, the public card, and more bets.
    """
    letters = [
        {(i, j, letter) for i, field in enumerate(label.split(" ")) for j, letter in enumerate(field)}
        for label in game.labels
    ]
    columns = sorted(set().union(*letters))
    return jnp.asarray(np.array([[column in row for column in columns] for row in letters], np.float32))


def best_response(game: Game, policy: Array) -> tuple[Array, Array]:
    """The best response of each player to the other's policy.

    Returns:
        Both as one policy `[I, A]`, which takes the first of equally good actions, and what each wins, `[2]`.

    Raises:
        ArgumentError: as from `check_policy`.
    """
    check_policy(game, policy)
    found = [sequence_values(game, plan(game, policy, 1 - i), i, None) for i in (0, 1)]
    q = jnp.where(game.legal, jnp.concatenate([x for x, _ in found]), -jnp.inf)
    return jax.nn.one_hot(q.argmax(-1), q.shape[-1], dtype=policy.dtype), jnp.stack([x for _, x in found])


def nash_conv(game: Game, policy: Array) -> Array:
    """What both players together can gain by a best response, scalar: 0 if and only if the policy is an equilibrium.

    It is twice the exploitability of Lanctot et al., which is its mean over the two players.

    Raises:
        ArgumentError: as from `check_policy`.
    """
    check_policy(game, policy)
    return sum(sequence_values(game, plan(game, policy, 1 - i), i, None)[1] for i in (0, 1))  # type: ignore[return-value]


def exploitability(game: Game, policy: Array) -> Array:
    """Half of `nash_conv`: what a player can gain on average, scalar."""
    return nash_conv(game, policy) / 2


def behaviour(game: Game, plans: tuple[Array, Array]) -> Array:
    """The policy `[I, A]` of two plans `[S]`, or of weighted sums of plans.

    So policies are averaged: the mean of plans, and not of probabilities in a set, plays as a player that draws one of
    the policies before the game (Kuhn 1953). It is uniform where a player never comes.
    """
    tables = [x[:-1].reshape(-1, game.legal.shape[-1]) for x in plans]
    return normalised(game, jnp.concatenate(tables))
