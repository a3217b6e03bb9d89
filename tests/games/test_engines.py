"""Engines are small programs here, that answer as real ones do; where real ones are installed they play, too."""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl import games
from jaxrl.arguments import ArgumentError
from jaxrl.games.engines import PLACES, EngineError, GTPEngine, UCIEngine, make_engine, play_engine
from jaxrl.games.notation import find, go_notation, notation_of

GO = games.make("go", size=3, komi=0.5)
GTP = """
import sys
moves = 0
for line in sys.stdin:
    word, *rest = line.split()
    answer = ""
    if word == "clear_board": moves = 0
    if word == "play":
        assert rest[0] == "bw"[moves % 2]
        moves += 1
    if word == "genmove":
        assert rest == ["bw"[moves % 2]]
        answer = {answer}
    print(f"= {{answer}}\\n", flush=True)
"""


def program(path: Path, answer: str) -> list[str]:
    path.write_text(GTP.format(answer=answer))
    return [sys.executable, "-S", str(path)]


def passes(given, key):
    return jnp.full(len(given.legal), 9)


@pytest.mark.parametrize(
    ("answer", "counts"),
    [
        ("'PASS'", [[0, 0, 1], [1, 0, 0]]),  # White has the komi
        ("'B2' if moves < 2 else 'pass'", [[0, 0, 1], [0, 0, 1]]),  # one stone has the board
        ("'resign'", [[1, 0, 0], [1, 0, 0]]),
        ("'Z9'", [[1, 0, 0], [1, 0, 0]]),
    ],
)
def test_a_match_against_an_engine(answer: str, counts: list, tmp_path: Path) -> None:
    """The player always passes: it wins and loses by what the engine does, with both colours."""
    engine = GTPEngine(program(tmp_path / "gtp.py", answer), GO)
    match = play_engine(GO, passes, engine, jax.random.key(0), number=1, opening_moves=0)
    engine.close()
    np.testing.assert_array_equal(match.counts, counts)


def test_openings_are_played_with_both_colours(tmp_path: Path) -> None:
    """Of a pair of games, the first moves are the same, and the engine knows all of them."""
    asked: list[list[str]] = []

    class Deaf(GTPEngine):
        def reply(self, moves) -> str:
            asked.append(list(moves))
            return "resign"

    engine = Deaf(program(tmp_path / "gtp.py", "''"), GO)
    player = lambda given, key: given.legal.argmax(-1)  # noqa: E731
    match = play_engine(GO, player, engine, jax.random.key(1), number=8, opening_moves=2)
    engine.close()
    assert match.outcomes.shape == (2, 8)
    assert (match.outcomes == 1).all()
    second = [moves for moves in asked if len(moves) == 2]  # where the engine moves first, it is asked at once
    first = [moves[:2] for moves in asked if len(moves) == 3]
    assert (len(asked), second) == (16, first)
    assert len({tuple(moves) for moves in second}) > 3


@pytest.mark.parametrize(
    ("answer", "timeout", "message"),
    [
        ("exit()", 60.0, "^python.* ended"),
        ("__import__('time').sleep(60)", 0.5, r"^python.* ended \(no answer within 0.5 s\)$"),
    ],
)
def test_engines_that_end(answer: str, timeout: float, message: str, tmp_path: Path) -> None:
    engine = GTPEngine(program(tmp_path / "gtp.py", answer), GO, timeout)
    with pytest.raises(EngineError, match=message):
        play_engine(GO, passes, engine, jax.random.key(0), 1, 0)
    with pytest.raises(EngineError, match="ended"):
        engine.reply([])
    engine.close()


def test_an_engine_that_does_not_accept_a_command() -> None:
    engine = GTPEngine(
        [sys.executable, "-S", "-c", "for x in __import__('sys').stdin: print('? no\\n', flush=True)"], GO
    )
    with pytest.raises(EngineError, match=r"did not accept 'boardsize 3' \(\? no\)$"):
        engine.reply([])
    engine.close()


def test_an_engine_with_other_rules(tmp_path: Path) -> None:
    """It does not accept a move that is legal here."""
    path = tmp_path / "gtp.py"
    path.write_text(
        "import sys\nfor line in sys.stdin: print('? illegal move\\n' if 'play' in line else '= b2\\n', flush=True)"
    )
    engine = GTPEngine([sys.executable, "-S", str(path)], GO)
    with pytest.raises(EngineError, match=r"'play b pass', a legal move by the rules here.* \(\? illegal move\)$"):
        play_engine(GO, passes, engine, jax.random.key(0), 1, 0)
    engine.close()


def test_moves_of_go() -> None:
    write = go_notation(games.make("go", size=9))(None)
    assert [write(action) for action in (0, 8, 80, 81)] == ["a9", "j9", "j1", "pass"]
    legal = np.ones(82, bool)
    assert find("c8", None, legal, go_notation(games.make("go", size=9))) == 11
    legal[11] = False
    assert find("c8", None, legal, go_notation(games.make("go", size=9))) is None


def test_moves_of_shogi() -> None:
    """Files count from the right, ranks from above; the second player's chick becomes a hen on the first one's side."""
    pytest.importorskip("pgx")
    game = games.make("animal_shogi")
    notation, step, legal_of = notation_of(game), jax.jit(game.step), jax.jit(game.legal_actions)
    assert notation is not None
    state, hens = game.initial(), []
    for move in ["2d3c", "2b2c", "1d1c", "2c2d+", "3c2d", "2a2b", "c*1b"]:
        action = find(move, state, np.asarray(legal_of(state)), notation)
        assert action is not None, move
        state, _ = step(state, action)
        hens.append((game.pieces(game.observe(state)) == "H").sum())
    assert hens == [0, 0, 0, 1, 0, 0, 0]


@pytest.mark.slow
def test_a_game_of_shogi() -> None:
    """A bishop becomes a horse in a famous opening, is taken, and comes back from the hand."""
    pytest.importorskip("pgx")
    game = games.make("shogi")
    notation, step = notation_of(game), jax.jit(game.step)
    assert notation is not None
    state = game.initial()
    for move in ["7g7f", "3c3d", "8h2b+", "3a2b", "B*5e"]:
        action = find(move, state, np.asarray(game.legal_actions(state)), notation)
        assert action is not None, move
        state, _ = step(state, action)
    pieces = game.pieces(game.observe(state))
    assert (pieces[4, 4], pieces[1, 7]) == ("B", "S")


@pytest.mark.parametrize(
    ("words", "game", "message"),
    [
        ("gnu", "go", "engine must be one of gnugo, fairy-stockfish, got 'gnu'"),
        ("gnugo", "hex", "engine gnugo plays go, not hex"),
        ("fairy-stockfish", "go", "engine fairy-stockfish plays chess, gardner_chess, shogi, animal_shogi, not go"),
        ("gnugo level", "go", "engine must have options such as level=1, got 'level'"),
    ],
)
def test_engines_that_cannot_be(words: str, game: str, message: str, monkeypatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda *_, **__: "/bin/true")
    with pytest.raises(ArgumentError, match=f"^{message}$"):
        make_engine(words, games.make(game))
    monkeypatch.setattr(shutil, "which", lambda *_, **__: None)
    with pytest.raises(ArgumentError, match=r"must be installed \(such as apt install gnugo\), got .gnugo.$"):
        make_engine("gnugo", GO)


def test_an_engine_that_does_not_start(monkeypatch) -> None:
    pytest.importorskip("pgx")
    monkeypatch.setattr(shutil, "which", lambda *_, **__: "/bin/true")
    with pytest.raises(ArgumentError, match=r"^engine must start, got true ended"):
        make_engine("fairy-stockfish nodes=1", games.make("gardner_chess"))


@pytest.mark.parametrize(
    ("name", "said"),
    [("chess", "uci"), ("gardner_chess", "uci gardner"), ("shogi", "usi"), ("animal_shogi", "usi dobutsu")],
)
def test_engines_know_the_language_and_the_game(name: str, said: str, monkeypatch) -> None:
    """One that answers with the commands that it has read, and plays one variant."""
    answers = (
        "import sys\nlines = []\nfor line in sys.stdin:\n    lines.append(line.split())\n"
        "    if line in ('uci\\n', 'usi\\n'):\n"
        "        print('option name Threads type spin default 1 min 1 max 8')\n"
        "        print('option name XXI_Variant type combo default chess var gardner var dobutsu')\n"
        "        print(line[:3] + 'ok', flush=True)\n"
        "    if line == 'isready\\n': print('readyok', flush=True)\n"
        "    if line.startswith('go'): print('bestmove', lines, flush=True)"
    )
    popen = subprocess.Popen
    monkeypatch.setattr(
        subprocess, "Popen", lambda _, **options: popen([sys.executable, "-S", "-c", answers], **options)
    )
    monkeypatch.setattr(games.engines, "notation_of", lambda game: lambda state: str)
    game: Any = next(kind for kind in games.engines.VARIANTS if kind.name == name)
    engine = UCIEngine(["fish"], object.__new__(game), {"Threads": "1", "nodes": "7"})
    read = engine.ask("position startpos moves e2e4\ngo nodes 7\n", lambda line: True)[0]
    engine.close()
    language, *variant = said.split()
    options = [["Threads", "1"], *(["XXI_Variant", each] for each in variant)]
    commands = [[language], *(["setoption", "name", x, "value", y] for x, y in options), ["isready"]]
    assert read.startswith(f"bestmove {str(commands)[:-1]}")
    assert engine.limit == "go nodes 7"
    if variant:
        monkeypatch.setitem(games.engines.VARIANTS, game, (language, "hexapawn"))
        with pytest.raises(EngineError, match=r"^fish does not play hexapawn$"):
            UCIEngine(["fish"], object.__new__(game), {})


STOCKFISH = shutil.which("fairy-stockfish", path=PLACES)


@pytest.mark.slow
@pytest.mark.skipif(STOCKFISH is None, reason="fairy-stockfish is not installed")
@pytest.mark.parametrize("name", ["chess", "gardner_chess", "shogi", "animal_shogi"])
def test_legal_moves_are_those_of_an_engine(name: str) -> None:
    """In every position of random games, with castling, promotions and captures in passing."""
    pytest.importorskip("pgx")
    game = games.make(name)
    engine = make_engine("fairy-stockfish nodes=1", game)
    assert isinstance(engine, UCIEngine)
    notation, step, legal_of = engine.notation, jax.jit(game.step), jax.jit(game.legal_actions)
    rng, count = np.random.default_rng(0), 0
    for _ in range(6):
        state, moves = game.initial(), list[str]()
        while not state.terminated and len(moves) < 150:
            write, legal = notation(state), np.flatnonzero(legal_of(state))
            position = " ".join(["position startpos", *(["moves", *moves] if moves else [])])
            *lines, _ = engine.ask(f"{position}\ngo perft 1\n", lambda line: line.startswith("Nodes"))
            theirs = {line.split(":")[0] for line in lines if ":" in line and not line.startswith("info")}
            if name == "animal_shogi":  # where the engine lets a chick stay what it is
                theirs -= {move[:-1] for move in theirs if move[-1] == "+"}
            assert {write(int(action)) for action in legal} == theirs, moves
            action = int(rng.choice(legal))
            moves.append(write(action))
            state, count = step(state, action), count + 1
            state = state[0]
    engine.close()
    assert count > 150


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("gnugo", path=PLACES) is None, reason="gnugo is not installed")
def test_gnu_go_beats_a_random_player() -> None:
    game = games.make("go", size=5)
    engine = make_engine("gnugo level=1", game)
    match = play_engine(game, games.random_player, engine, jax.random.key(0), 4, 2)
    engine.close()
    assert match.counts.sum(0)[2] >= 7
