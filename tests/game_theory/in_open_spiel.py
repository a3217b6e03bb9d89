"""open_spiel's games and solvers, as an independent answer."""

from typing import Any

import numpy as np
import pytest

from jaxrl.game_theory import Game

NAMES = {
    "rock_paper_scissors": "matrix_rps",
    "biased_rock_paper_scissors": "matrix_brps",
    "blotto": "blotto(players=2,coins=5,fields=3)",
    "kuhn_poker": "kuhn_poker",
    "leduc_poker": "leduc_poker",
}


def load(game: Game) -> Any:
    """The same game there, whose players take turns."""
    pyspiel = pytest.importorskip("pyspiel", reason="open_spiel is not installed (pip install open-spiel)")
    return pyspiel.load_game_as_turn_based(NAMES[game.name])


def keys_of(game: Game) -> list[str]:
    """open_spiel's name of each information set. Checks turns, legal actions, chance and utilities on the way."""
    tree, keys = game.tree, [""] * len(game.labels)
    waiting = [(load(game).new_initial_state(), 0)]
    for state, here in waiting:
        if state.is_terminal():
            assert tree.player[here] == 3
            assert tree.utility[here] == state.returns()[0]
            continue
        if state.is_chance_node():
            assert tree.player[here] == 2
            actions = [outcome for outcome, _ in state.chance_outcomes()]
            np.testing.assert_allclose(tree.chance[here, actions], [p for _, p in state.chance_outcomes()], rtol=1e-15)
        else:
            row, actions = tree.set[here], state.legal_actions()
            assert tree.player[here] == state.current_player()
            assert np.flatnonzero(game.legal[row]).tolist() == actions
            key = state.information_state_string()
            assert keys[row] in ("", key)
            keys[row] = key
        waiting += [(state.child(action), int(tree.child[here, action])) for action in actions]
    assert len(waiting) == len(tree.player)
    assert len(set(keys)) == len(keys)
    return keys


def as_policy(game: Game, keys: list[str], policy: np.ndarray) -> Any:
    """A policy `[I, A]` as open_spiel's."""
    import pyspiel

    rows = [
        [(int(a), float(row[a])) for a in np.flatnonzero(legal)] for row, legal in zip(policy, game.legal, strict=True)
    ]
    return pyspiel.TabularPolicy(dict(zip(keys, rows, strict=True)))
