"""A game between a person and a policy, in lines of text that may also come from a pipe."""

from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrl.envs.source import decide_on
from jaxrl.games import BoardGame
from jaxrl.games.notation import edges_of, notation_of
from jaxrl.types import Array, Input, PyTree

STONES = ".XO"
"""A cell that is empty, that of the player who moves first, and of the other. Kinds of pieces have letters instead."""


def play(
    game: BoardGame, policy: Callable[[Input, Array], Any], memory: PyTree, key: Array, human: int, opponent: str
) -> None:
    """Plays one game, in which the person is asked for each move until the input ends.

    Args:
        game: which.
        policy: the other player, `(Input [1], key) -> Decision [1]`, or actions `[1]`.
        memory: what it remembers at first, `[1, ...]`.
        key: a random key for it.
        human: which player the person is: 0 moves first.
        opponent: how to call the policy.
    """
    decide = jax.jit(lambda given, key: decide_on(policy, given, 1, key))
    look = jax.jit(lambda state: (game.observe(state), game.legal_actions(state)))
    step, state, reward, number = jax.jit(game.step), jax.jit(game.initial)(), 0.0, 0
    notation = notation_of(game)
    observation, legal = jax.device_get(look(state))
    has_letters = (game.pieces(observation) != "").any()
    sides = ("large letters", "small letters") if has_letters else STONES[1:]
    print(f"You are {sides[human]}, {opponent} is {sides[1 - human]}.")
    mover = 0
    while not state.terminated:
        mover, write = int(state.player), notation(state) if notation else str
        if mover == human:
            print(f"\n{text(game, state, observation, legal)}\n")
            action = ask({write(action): action for action in np.flatnonzero(legal).tolist()})
            if action is None:
                print("The game is not finished.")
                return
        else:
            last = jax.tree.map(lambda x: jnp.asarray(x)[..., None], state)  # as environments have their states
            given = Input(observation[None], legal[None], memory, last)
            decision = decide(given, jax.random.fold_in(key, number))
            action, memory = int(decision.action[0]), decision.memory
            print(f"{opponent} plays {write(action)}")
        state, reward = step(state, np.int32(action))
        observation, legal = jax.device_get(look(state))
        number += 1
    print(f"\n{text(game, state, observation, np.zeros(game.num_actions, bool))}\n")
    won = float(reward) * (1 if mover == human else -1)
    print("You win." if won > 0 else "You lose." if won < 0 else "It is a draw.")


def text(game: BoardGame, state: Any, observation: np.ndarray, legal: np.ndarray) -> str:
    """The board in lines, and below it the pieces that each player has in hand.

    Moves that are cells have their numbers in empty cells, and those that are columns below them. Where moves are
    written, columns and rows have their names. The letters of pieces are large for the player who moves first, and
    small for the other one.
    """
    board, pieces = game.board(observation), game.pieces(observation).reshape(-1)
    height, width = board.shape
    digits = max(map(len, pieces.tolist())) or len(str(game.num_actions - 1))
    who = zip(pieces.tolist(), board.reshape(-1), strict=True)
    marks = np.array([(x.lower() if player == 2 else x) or STONES[player] for x, player in who], dtype=object)
    by_cell = board.size <= game.num_actions <= board.size + 1  # one beyond, such as to pass, has no cell
    if by_cell:
        free = legal[: board.size]
        marks[free] = np.flatnonzero(free)
    rows = marks.reshape(height, width).tolist()
    if not by_cell and game.num_actions == width:
        rows.append(list(range(width)))
    if (edges := edges_of(game)) is not None:
        columns, names = edges
        rows = [[name, *row] for name, row in zip(names, rows, strict=True)] + [[" ", *columns]]
    lines = [" ".join(f"{mark:>{digits}}" for mark in row) for row in rows]
    first, second = game.hands(state)
    if first or second:
        lines.append(f"in hand: {' '.join([*first, *map(str.lower, second)])}")
    return "\n".join(lines)


def ask(moves: dict[str, int]) -> int | None:
    """A legal move, of those that are written so, or None to quit."""
    written = ranges(list(moves.values())) if all(map(str.isdecimal, moves)) else ", ".join(moves)
    moves = {move.lower(): action for move, action in moves.items()}
    while True:
        try:
            answer = input(f"your move ({written}; q quits): ").strip()
        except EOFError:
            print()
            return None
        if answer.lower() == "q":
            return None
        if answer.lower() in moves:
            return moves[answer.lower()]
        print(f"{answer!r} is not a legal move")


def ranges(numbers: Sequence[int]) -> str:
    """Ascending numbers in words: "0, 2 to 4"."""
    groups = groupby(enumerate(numbers), lambda pair: pair[1] - pair[0])
    runs = [[number for _, number in run] for _, run in groups]
    return ", ".join(f"{run[0]} to {run[-1]}" if len(run) > 1 else str(run[0]) for run in runs)
