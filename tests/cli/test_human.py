"""Games between a person and a policy, with the person's moves from a pipe."""

import io
import sys
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl.cli import human
from jaxrl.experiments import play
from jaxrl.games import ConnectFour, Go, TicTacToe, make
from jaxrl.types import Decision
from tests.compiling import quick_jit


@pytest.fixture
def typed(monkeypatch):
    """Makes lines what the person types."""
    return lambda *lines: monkeypatch.setattr(sys, "stdin", io.StringIO("".join(f"{line}\n" for line in lines)))


def lowest(given, key):
    """Takes the first legal action, and counts its moves in its memory."""
    assert given.env_states.player.shape == (1,)
    return Decision(given.legal.argmax(1), memory=given.memory + 1)


def played(capsys, game, first: bool) -> list[str]:
    human.play(game, lowest, jnp.zeros((1, 1)), jax.random.key(0), 0 if first else 1, "the policy")
    return capsys.readouterr().out.splitlines()


def test_a_won_game(capsys, typed) -> None:
    """Four in a column, with three answers that are no legal moves on the way."""
    typed("3", "x", "5", "", " 3 ", "3", "3")
    lines = played(capsys, ConnectFour(4, 5), first=True)
    assert lines[0] == "You are X, the policy is O."
    assert lines[2:7] == [". . . . .", ". . . . .", ". . . . .", ". . . . .", "0 1 2 3 4"]
    text = "\n".join(lines)
    asked = "your move (0 to 4; q quits): "
    assert f"{asked}the policy plays 0\n\n. . . . .\n. . . . .\n. . . . .\nO . . X .\n0 1 2 3 4\n" in text
    assert [line.removeprefix(asked) for line in lines if "is not a legal" in line] == [
        f"{answer!r} is not a legal move" for answer in ("x", "5", "")
    ]
    assert text.endswith("\n. . . X .\nO . . X .\nO . . X .\nO . . X .\n0 1 2 3 4\n\nYou win.")


def test_a_lost_game_of_who_moves_second(capsys, typed) -> None:
    """A full column is no legal move; the policy's third move, by its lowest number, ends the game."""
    typed("3", "5")
    lines = played(capsys, TicTacToe(), first=False)
    assert lines[:3] == ["You are O, the policy is X.", "the policy plays 0", ""]
    assert lines[3:6] == ["X 1 2", "3 4 5", "6 7 8"]
    assert "your move (1 to 8; q quits): the policy plays 1" in lines
    assert "your move (2, 4 to 8; q quits): the policy plays 2" in lines
    assert lines[-5:] == ["X X X", "O . O", ". . .", "", "You lose."]


def test_a_draw(capsys, typed) -> None:
    typed("0")
    assert played(capsys, TicTacToe(1, 2, 2), first=True)[-3:] == ["X O", "", "It is a draw."]


@pytest.mark.parametrize("lines", [(), ("3", "q"), ("9",)])
def test_a_game_can_be_left(capsys, typed, lines: tuple[str, ...]) -> None:
    typed(*lines)
    assert played(capsys, ConnectFour(4, 5), first=True)[-1].endswith("The game is not finished.")


def text(game, state) -> str:
    return human.text(game, state, np.asarray(game.observe(state)), np.asarray(game.legal_actions(state)))


def test_moves_are_numbered_by_column_or_by_cell() -> None:
    assert human.ranges([0, 2, 3, 4, 6]) == "0, 2 to 4, 6"
    game = TicTacToe(3, 4, 3)
    state, _ = game.step(game.initial(), jnp.int32(5))
    shown = text(game, state)
    assert shown == " 0  1  2  3\n 4  X  6  7\n 8  9 10 11"
    four = ConnectFour(4, 5)
    state, _ = four.step(four.initial(), jnp.int32(2))
    assert text(four, state).endswith("\n. . X . .\n0 1 2 3 4")


def test_who_passes_names_no_cell() -> None:
    game = Go(2)
    state, _ = game.step(game.initial(), jnp.int32(0))
    assert text(game, state) == "X 1\n2 3"


def test_pieces_have_letters_and_no_numbers(capsys, typed) -> None:
    """Large ones of who moves first; actions of such games are no cells."""
    pytest.importorskip("pgx")
    typed("q")
    lines = played(capsys, make("animal_shogi"), first=True)
    assert lines[0] == "You are large letters, the policy is small letters."
    assert lines[2:7] == ["a g l e", "b . c .", "c . C .", "d E L G", "  3 2 1"]
    game, state = make("animal_shogi"), make("animal_shogi").initial()
    actions = np.flatnonzero(game.legal_actions(state))
    states, _ = quick_jit(jax.vmap(game.step, (None, 0)))(state, actions)
    held = [text(game, jax.tree.map(lambda x, i=i: x[i], states)).split("\n")[5:] for i in range(len(actions))]
    assert sorted(held) == [[]] * 3 + [["in hand: C"]]  # the chick takes the other one


def test_moves_of_chess_are_typed_as_written(capsys, typed) -> None:
    pytest.importorskip("pgx")
    typed("0", "A2A3", "b1a3", "q")
    lines = played(capsys, make("gardner_chess"), first=True)
    asked = [line.removeprefix("your move (") for line in lines if line.startswith("your move")]
    assert asked[0] == "a2a3, b1a3, b1c3, b2b3, c2c3, d2d3, e2e3; q quits): '0' is not a legal move"
    assert "the policy plays" in asked[1]
    assert lines[2:8] == ["5 r n b q k", "4 p p p p p", "3 . . . . .", "2 P P P P P", "1 R N B Q K", "  a b c d e"]
    assert lines[-1].endswith("The game is not finished.")


def test_the_command_plays_against_a_random_policy(run_main, typed, tmp_path) -> None:
    call = partial(run_main, play.main)
    typed("0", "1", "2", "3", "4", "5")
    code, out, err = call("random", "--env", "game:tic_tac_toe", "--human", "second", "--play-seed", "3")
    assert (code, err) == (0, [])
    assert out[0] == "game:tic_tac_toe (TicTacToe(rows=3, columns=3, length=3))"
    assert out[1] == "You are O, random is X."
    assert out[-1] in ("You win.", "You lose.", "It is a draw.", "The game is not finished.")
    for arguments, message in (
        (
            "random --env CartPole-v1 --human first",
            "--human is for games of two players, such as",
        ),
        ("keyboard --human first", "POLICY must be random, or the directory of a run, to play against, got keyboard"),
        ("random --human third", "--human must be one of first, second, got 'third'"),
        ("random --human first --out x.gif", "--out is for videos, and a game against you makes none, got x.gif"),
    ):
        code, _, err = call(*arguments.split())
        assert code == 2
        assert err[0].startswith(f"error: {message}")
    assert not list(tmp_path.iterdir())
