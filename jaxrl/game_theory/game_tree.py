"""From the rules of a game to its arrays."""

import itertools
import math
from numbers import Integral, Real
from typing import Any, NamedTuple

import numpy as np

from jaxrl.arguments import ArgumentError
from jaxrl.game_theory.rules import Chance, End, History, Rules, Turn
from jaxrl.game_theory.sequence_form import CHANCE, END, Game, Side, Tree

EMPTY = (-1, 0)
"""The empty sequence, as a set and an action."""
MOST = 1_000_000


class _Position(NamedTuple):
    """A position: what happens there, the probability of chance so far, and the last sequences of both players."""

    event: Turn | Chance | End
    chance: float
    sequences: tuple[tuple[int, int], tuple[int, int]]
    parent: int
    move: int


class _Set(NamedTuple):
    """An information set: whose, what is known, the legal actions, the player's last sequence, and its own depth."""

    player: int
    label: str
    actions: tuple[int, ...]
    parent: tuple[int, int]
    depth: int


def build(name: str, rules: Rules) -> Game:
    """The arrays of a game, in float64 on the host.

    Args:
        name: of the game.
        rules: what happens after each history.

    Raises:
        ArgumentError: the rules return something else than a `Turn`, a `Chance` or an `End`, or one that cannot be
            played; nobody decides anything, a player forgets what it knew or did, its actions differ within an
            information set, or there are more than a million positions.
    """
    positions, sets, in_set = _explore(rules)
    if not sets:
        raise ArgumentError("rules", "must let a player decide something", got="a game without a decision")
    order = sorted(range(len(sets)), key=lambda i: (sets[i].player, sets[i].depth, i))
    number = {old: new for new, old in enumerate(order)}
    sets = [sets[i]._replace(parent=_renumber(sets[i].parent, number)) for i in order]
    in_set = [number.get(i, -1) for i in in_set]
    positions = [x._replace(sequences=tuple(_renumber(s, number) for s in x.sequences)) for x in positions]  # type: ignore[arg-type]
    num_actions = 1 + max(max(x.actions) for x in sets)
    legal = np.zeros((len(sets), num_actions), bool)
    for row, x in enumerate(sets):
        legal[row, list(x.actions)] = True
    sides = _side(0, positions, sets, in_set, num_actions), _side(1, positions, sets, in_set, num_actions)
    labels = tuple(x.label for x in sets)
    return Game(sides, legal, _tree(positions, in_set), name, labels, _longest(positions))  # type: ignore[arg-type]


def _renumber(sequence: tuple[int, int], number: dict[int, int]) -> tuple[int, int]:
    return sequence if sequence == EMPTY else (number[sequence[0]], sequence[1])


def _explore(rules: Rules) -> tuple[list[_Position], list[_Set], list[int]]:
    """All positions, parents before children; all information sets; and the set of each position, or -1."""
    positions: list[_Position] = []
    sets: list[_Set] = []
    numbers: dict[tuple[int, str], int] = {}
    in_set: list[int] = []
    waiting: list[tuple[History, float, tuple, int]] = [((), 1.0, (EMPTY, EMPTY), 0)]
    for history, chance, sequences, parent in waiting:
        event, here = rules(history), len(positions)
        _check_event(event, history)
        positions.append(_Position(event, chance, sequences, parent, history[-1] if history else 0))
        if here >= MOST:
            raise ArgumentError("rules", f"must have at most {MOST:,} positions", got="more")
        in_set.append(-1)
        if isinstance(event, Turn):
            own = sequences[event.player]
            depth = 0 if own == EMPTY else sets[own[0]].depth + 1
            found = _Set(event.player, event.information, event.actions, own, depth)
            number = numbers.setdefault((event.player, event.information), len(sets))
            sets += [found] * (number == len(sets))
            if sets[number] != found:
                rule = "must let a player remember what it knew and did, with the same actions in one information set"
                raise ArgumentError("rules", rule, got=f"another way to {event.information!r}")
            in_set[-1] = number
            for action in event.actions:
                after = tuple((number, action) if i == event.player else x for i, x in enumerate(sequences))
                waiting.append(((*history, action), chance, after, here))
        elif isinstance(event, Chance):
            for outcome, probability in zip(event.outcomes, event.probabilities, strict=True):
                waiting.append(((*history, outcome), chance * probability, sequences, here))
    return positions, sets, in_set


def _check_event(event: Any, history: History) -> None:
    """Raises an `ArgumentError` if the rules return what nobody can play."""
    if isinstance(event, Turn):
        moves = event.actions
        numbers = isinstance(moves, tuple) and bool(moves) and all(isinstance(x, Integral) for x in moves)
        increasing = numbers and moves[0] >= 0 and all(x < y for x, y in itertools.pairwise(moves))
        checks = {
            "must have players 0 and 1": event.player in (0, 1),
            "must say what a player knows in a string": isinstance(event.information, str),
            "must have a tuple of actions, numbers from 0 in increasing order": increasing,
        }
    elif isinstance(event, Chance):
        shares = event.probabilities
        checks = {
            "must have as many probabilities as outcomes": len(shares) == len(event.outcomes),
            "must have probabilities that add up to 1": all(x >= 0 for x in shares) and abs(sum(shares) - 1) <= 1e-9,
        }
    elif isinstance(event, End):
        finite = isinstance(event.utility, Real) and math.isfinite(event.utility)
        checks = {"must end with one finite number, what the first player wins": finite}
    else:
        checks = {"must return a Turn, a Chance or an End": False}
    for rule, holds in checks.items():
        if not holds:
            raise ArgumentError("rules", rule, got=f"{event!r} after {list(history)}")


def _padded(rows: list[list], fill: float, dtype: type) -> np.ndarray:
    """Lists of different lengths as one array."""
    width = max((len(row) for row in rows), default=0)
    return np.array([[*row, *[fill] * (width - len(row))] for row in rows], dtype).reshape(len(rows), width)


def _side(player: int, positions: list[_Position], sets: list[_Set], in_set: list[int], num_actions: int) -> Side:
    """The arrays of one player."""
    first = [next((i for i, x in enumerate(sets) if x.player == p), len(sets)) for p in (0, 1)]
    count = [sum(x.player == p for x in sets) for p in (0, 1)]

    def index(sequence: tuple[int, int], p: int) -> int:
        if sequence == EMPTY:
            return count[p] * num_actions
        return (sequence[0] - first[p]) * num_actions + sequence[1]

    own = [x for x in sets if x.player == player]
    ancestors: list[list[int]] = []
    for x in own:
        above = [] if x.parent == EMPTY else ancestors[x.parent[0] - first[player]]
        ancestors.append([*above, *([] if x.parent == EMPTY else [index(x.parent, player)])])
    payoff: list[list] = [[] for _ in range(count[player] * num_actions + 1)]
    wins: list[list] = [[] for _ in payoff]
    opponent: list[list] = [[] for _ in payoff]
    chance: list[list] = [[] for _ in own]
    seen: list[list] = [[] for _ in own]
    for position, number in zip(positions, in_set, strict=True):
        other = index(position.sequences[1 - player], 1 - player)
        if isinstance(position.event, End):
            mine = index(position.sequences[player], player)
            payoff[mine].append(position.chance * position.event.utility * (1 - 2 * player))
            wins[mine].append(position.chance * np.sign(position.event.utility) * (1 - 2 * player))
            opponent[mine].append(other)
        elif number >= 0 and sets[number].player == player:
            chance[number - first[player]].append(position.chance)
            seen[number - first[player]].append(other)
    empty = count[player] * num_actions
    made: Any = (
        _padded(ancestors, empty, np.int32),
        _children(own, first[player], num_actions),
        _padded(payoff, 0, np.float64),
        _padded(wins, 0, np.float64),
        _padded(opponent, 0, np.int32),
        _padded(chance, 0, np.float64),
        _padded(seen, 0, np.int32),
    )
    return Side(*made)


def _children(own: list[_Set], first: int, num_actions: int) -> tuple[np.ndarray, ...]:
    """`Side.children` of one player's sets, which are sorted by depth."""
    starts = [next(i for i, x in enumerate(own) if x.depth == d) for d in range(own[-1].depth + 1)] if own else []
    levels = list(zip(starts, [*starts[1:], len(own)], strict=True))
    found = []
    for depth, (start, end) in enumerate(levels):
        below = levels[depth + 1] if depth + 1 < len(levels) else (end, end)
        lists: list[list] = [[] for _ in range((end - start) * num_actions)]
        for i in range(*below):
            parent, action = own[i].parent
            lists[(parent - first - start) * num_actions + action].append(i - below[0])
        found.append(_padded(lists, below[1] - below[0], np.int32).reshape(end - start, num_actions, -1))
    return tuple(found)


def _tree(positions: list[_Position], in_set: list[int]) -> Tree:
    """The arrays for play. Actions are columns, and so are outcomes, by their numbers."""
    columns = 1 + max(x.move for x in positions)
    child = np.zeros((len(positions), columns), np.int32)
    chance = np.zeros((len(positions), columns))
    player, utility = np.full(len(positions), END, np.int32), np.zeros(len(positions))
    for here, x in enumerate(positions):
        if here:
            child[x.parent, x.move] = here
        if isinstance(x.event, Turn):
            player[here] = x.event.player
        elif isinstance(x.event, Chance):
            player[here] = CHANCE
            chance[here, list(x.event.outcomes)] = x.event.probabilities
        else:
            utility[here] = x.event.utility
    sets = np.zeros(len(positions), np.int32)
    for here, x in enumerate(positions):
        sets[here] = in_set[here] if in_set[here] >= 0 else sets[x.parent]
    return Tree(child, player, sets, chance, utility)  # type: ignore[arg-type]


def _longest(positions: list[_Position]) -> int:
    """The most decisions in a game."""
    decisions = [0] * len(positions)
    for here, x in enumerate(positions):
        if here:
            decisions[here] = decisions[x.parent] + isinstance(positions[x.parent].event, Turn)
    return max(decisions)
