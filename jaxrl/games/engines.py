"""Matches against programs that play Go, chess or shogi, which run beside this one and are asked through a pipe.

GNU Go speaks the Go Text Protocol (https://www.lysator.liu.se/~gunnar/gtp), Fairy-Stockfish the Universal Chess
Interface (https://www.shredderchess.com/chess-features/uci-universal-chess-interface.html) and its relative for shogi.
"""

import contextlib
import os
import shutil
import subprocess
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrl.arguments import ArgumentError
from jaxrl.games.board_game import BoardGame
from jaxrl.games.go import Go
from jaxrl.games.matches import Match, Player, action_of, input_of
from jaxrl.games.notation import Notation, find, go_notation, notation_of
from jaxrl.games.pgx_game import AnimalShogi, Chess, GardnerChess, Shogi
from jaxrl.types import Array, PyTree

PLACES = os.pathsep.join([os.environ.get("PATH", ""), "/usr/games"])
"""Where engines are looked for: Debian installs games where not everybody looks."""


class EngineError(RuntimeError):
    """An engine ended, was silent for too long, or answered what is no move."""


class Engine(ABC):
    """A program that answers with a move. It may be asked about many games in turn; `close` ends it.

    Args:
        command: the program and its arguments.
        notation: how moves of the game are written.
        timeout: seconds after which a silent engine is ended.
    """

    def __init__(self, command: Sequence[str], notation: Notation, timeout: float = 60.0) -> None:
        self.name, self.notation, self.timeout = os.path.basename(command[0]), notation, timeout
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True)

    def close(self) -> None:
        """Ends the program."""
        self.process.kill()
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            with contextlib.suppress(BrokenPipeError):  # what was not written before the program ended
                pipe.close()
        self.process.wait()

    @abstractmethod
    def reply(self, moves: Sequence[str]) -> str:
        """The move in the position after `moves` from the first one, or another word if it resigns.

        Raises:
            EngineError: it ended, or did not answer in time.
        """

    def ask(self, text: str, is_last: Callable[[str], bool]) -> list[str]:
        """Writes lines, and reads until the last line of the answer. An engine that does not answer is closed."""
        write, read = self.process.stdin, self.process.stdout
        assert write is not None
        assert read is not None
        if write.closed:
            raise EngineError(f"{self.name} has ended")
        too_late = threading.Timer(self.timeout, self.process.kill)
        too_late.start()
        lines: list[str] = []
        try:
            write.write(text)
            write.flush()
            while not lines or not is_last(lines[-1]):
                if not (line := read.readline()):
                    raise OSError(f"no answer within {self.timeout:g} s")
                lines.append(line.rstrip("\n"))
        except OSError as error:
            self.close()
            raise EngineError(f"{self.name} ended ({error})") from error
        finally:
            too_late.cancel()
        return lines


class GTPEngine(Engine):
    """An engine for Go."""

    def __init__(self, command: Sequence[str], game: Go, timeout: float = 60.0) -> None:
        super().__init__(command, go_notation(game), timeout)
        self.beginning = [f"boardsize {game.size}", f"komi {game.komi}", "clear_board"]

    def reply(self, moves: Sequence[str]) -> str:
        played = [f"play {'bw'[i % 2]} {move}" for i, move in enumerate(moves)]
        commands = [*self.beginning, *played, f"genmove {'bw'[len(moves) % 2]}"]
        for command in commands:  # each answer is a line that begins with = or ?, and an empty one
            *lines, _ = self.ask(f"{command}\n", lambda line: line == "")
            answer = next((line for line in lines if line), "")
            if not answer.startswith("="):
                why = ", a legal move by the rules here: its own differ, such as in ko" if command in played else ""
                raise EngineError(f"{self.name} did not accept {command!r}{why} ({answer})")
        return answer[1:].strip().lower()


class UCIEngine(Engine):
    """An engine for chess or shogi.

    Args:
        command: the program and its arguments.
        game: the rules.
        options: of the engine, as its `uci` or `usi` command lists them; `nodes` is how many positions it looks at for
            a move.

    Raises:
        EngineError: it does not start, or does not play the game.
    """

    def __init__(self, command: Sequence[str], game: Any, options: dict[str, str], timeout: float = 60.0) -> None:
        notation = notation_of(game)
        assert notation is not None
        super().__init__(command, notation, timeout)
        self.limit = f"go nodes {options.get('nodes', '1000')}"
        language, variant = VARIANTS[type(game)]
        known = self.ask(f"{language}\n", lambda line: line == f"{language}ok")
        own = {name: value for name, value in options.items() if name != "nodes"}
        if variant:  # its option is UCI_Variant or USI_Variant, whatever the language
            lists = (line.split() for line in known if line.startswith("option name "))
            name = next((words[2] for words in lists if words[2].endswith("_Variant") and variant in words), None)
            if name is None:
                self.close()
                raise EngineError(f"{self.name} does not play {variant}")
            own[name] = variant
        lines = [f"setoption name {name} value {value}" for name, value in own.items()]
        self.ask("\n".join([*lines, "isready", ""]), lambda line: line == "readyok")

    def reply(self, moves: Sequence[str]) -> str:
        position = " ".join(["position startpos", *(["moves", *moves] if moves else [])])
        *_, answer = self.ask(f"{position}\n{self.limit}\n", lambda line: line.startswith("bestmove"))
        if len(words := answer.split()) < 2:
            raise EngineError(f"{self.name} answered {answer!r}")
        return words[1]


def make_engine(words: str, game: BoardGame) -> Engine:
    """Starts an engine: `gnugo`, or `fairy-stockfish`, and options such as `level=1` or `nodes=100 Threads=1`.

    Raises:
        ArgumentError: the engine is not known or not installed, does not play the game, does not start, or an option
            has no value.
    """
    name, *rest = words.split()
    if name not in ENGINES:
        raise ArgumentError("engine", f"must be one of {', '.join(ENGINES)}", name)
    plays, install = ENGINES[name]
    if not isinstance(game, plays):
        names = ", ".join(str(kind.name) if isinstance(kind.name, str) else "go" for kind in plays)
        raise ArgumentError("engine", f"{name} plays {names}, not {game.name}", got="")
    if (path := shutil.which(name, path=PLACES)) is None:
        raise ArgumentError("engine", f"must be installed (such as apt install {install})", name)
    options = dict(word.partition("=")[::2] for word in rest)
    if empty := [key for key, value in options.items() if not value]:
        raise ArgumentError("engine", "must have options such as level=1", empty[0])
    if isinstance(game, Go):
        rules = ["--mode", "gtp", "--chinese-rules", "--positional-superko", "--capture-all-dead", "--seed", "1"]
        return GTPEngine([path, *rules, *(x for key, value in options.items() for x in (f"--{key}", value))], game)
    try:
        return UCIEngine([path], game, options)
    except EngineError as error:
        raise ArgumentError("engine", "must start", words, got=str(error)) from error


VARIANTS = {Chess: ("uci", ""), GardnerChess: ("uci", "gardner"), Shogi: ("usi", ""), AnimalShogi: ("usi", "dobutsu")}
"""What to speak about a game, and its name if this language was made for another one."""

ENGINES: dict[str, tuple[tuple[Any, ...], str]] = {
    "gnugo": ((Go,), "gnugo"),
    "fairy-stockfish": (tuple(VARIANTS), "fairy-stockfish"),
}
"""The games that an engine plays, and the package that it is in."""


def play_engine(game: BoardGame, player: Player, engine: Engine, key: Array, number: int, opening_moves: int) -> Match:
    """A match of 2 × `number` games between a player and an engine.

    Each opening of random moves is played twice, with colours exchanged. The rules are those of `game`: who makes
    another move, or resigns, loses.

    Args:
        game: the rules.
        player: a player without memory.
        engine: an engine that plays the game.
        key: of the openings and of the player's draws.
        number: how many openings.
        opening_moves: random moves of an opening.

    Raises:
        EngineError: the engine ended, or did not answer in time.
    """

    @jax.jit
    def look(states: PyTree, key: Array) -> tuple[Array, Array]:
        """The legal actions, and the player's, of 2 N games."""
        legal = jax.vmap(game.legal_actions)(states)
        return legal, action_of(player(input_of(game, states, legal), key))

    step, games = jax.jit(jax.vmap(game.step)), 2 * number
    states = jax.tree.map(lambda x: jnp.broadcast_to(x, (games, *jnp.shape(x))), game.initial())
    moves: list[list[str]] = [[] for _ in range(games)]
    outcomes, over = np.zeros(games, np.int32), np.zeros(games, bool)
    opening_key, key = jax.random.split(key)
    draws = np.asarray(jax.random.uniform(opening_key, (opening_moves, number), jnp.float32))
    for t in range(game.max_moves):
        legal, actions = (np.array(x) for x in look(states, jax.random.fold_in(key, t)))
        ours = (np.arange(games) >= number) == (t % 2 == 1)  # the player moves first in the first half
        if t < opening_moves:
            row = [np.flatnonzero(row)[int(u * row.sum())] for row, u in zip(legal, draws[t], strict=False)]
            actions = np.array([*row, *row])
        positions = jax.tree.map(np.asarray, states)
        for i in np.flatnonzero(~over):
            position = jax.tree.map(lambda x, i=i: x[i], positions)
            if t >= opening_moves and not ours[i]:
                found = find(engine.reply(moves[i]), position, legal[i], engine.notation)
                actions[i] = -1 if found is None else found
            if actions[i] >= 0:
                moves[i].append(engine.notation(position)(int(actions[i])))
        inside = np.clip(actions, 0, game.num_actions - 1)
        illegal = ~legal[np.arange(games), inside] | (inside != actions)
        states, rewards = step(states, inside)
        rewards = np.where(illegal, -1, np.asarray(rewards)).astype(np.int32)
        outcomes += np.where(over, 0, np.where(ours, rewards, -rewards))
        over |= illegal | np.asarray(states.terminated)
        if over.all():
            break
    return Match(jnp.asarray(outcomes.reshape(2, number)))
