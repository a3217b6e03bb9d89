"""Maps of Grid Worlds as text: named maps, and how a text becomes arrays.

A map has rows of characters of the same length, one character for each cell, and optionally a legend after them:

    ``.`` or ``F``   floor
    ``S``            a start; several are equally likely. Without one, every cell of floor is a start
    ``G``, ``H``     goal and hole: terminal, entering one ends the episode
    ``C``            cliff: entering it sends the agent back to a start, and the episode continues
    ``#``            wall: a move into it, or off the board, stays in place
    ``a`` to ``z``   floor with a reward from the legend

    ``move = -1``    the reward for entering any cell without a line of its own, by default -1
    ``C = -1e2``     the reward for entering a ``C``; likewise for ``G``, ``H`` and the small letters
    ``# words``      a comment, on its own line anywhere or at the end of a line of the legend

A cell's own reward *replaces* the reward of the move. A move that stays in place enters the agent's cell again, and
earns its reward. Spaces around a line and empty lines are ignored. Rows and columns are numbered from 0.
"""

import re
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxrl.arguments import ArgumentError, suggest
from jaxrl.types import Array

MAPS = {
    # Sutton & Barto (2018), example 4.1. The undiscounted optimal value is minus the moves to the nearer corner.
    "lecture": "G...\n....\n....\n...G\n",
    # Sutton & Barto (2018), example 6.6.
    "cliff": "............\n............\n............\nSCCCCCCCCCCG\nC = -100\n",
    # Sutton, Precup & Singh (1999), https://doi.org/10.1016/S0004-3702(99)00052-1, with a hallway as the goal. In the
    # paper only the goal has a reward, 1; here a move costs 1, as in the maps above.
    "four_rooms": """
        #############
        #.....#.....#
        #.....#.....#
        #...........#
        #.....#.....#
        #.....#.....#
        ##.####.....#
        #.....###G###
        #.....#.....#
        #.....#.....#
        #...........#
        #.....#.....#
        #############
    """,
    # Gymnasium's FrozenLake-v1, https://gymnasium.farama.org/environments/toy_text/frozen_lake/.
    "frozen_lake_4x4": "SFFF\nFHFH\nFFFH\nHFFG\nmove = 0\nG = 1\n",
    "frozen_lake_8x8": """
        SFFFFFFF
        FFFFFFFF
        FFFHFFFF
        FFFFFHFF
        FFFHFFFF
        FHHFFFHF
        FHFFHFHF
        FFFHFFFG
        move = 0
        G = 1
    """,
    # Sutton & Barto (2018), example 8.1. The goal is 14 moves away.
    "dyna_maze": """
        .......#G
        ..#....#.
        S.#....#.
        ..#......
        .....#...
        .........
        move = 0
        G = 1
    """,
}
"""The named maps. Write your own: `make("GridWorld", map="S.#\\n..G")`."""

STEP_CAPS = {"frozen_lake_4x4": 100, "frozen_lake_8x8": 200, "dyna_maze": 100_000}
"""gymnasium's step caps of its own maps, and one that is never met: the first episode takes some 1,700 steps."""

CELLS = "#.FSGHC"
COMMENT = re.compile(r"#\s.*[^\W\d_A-Z]{2}.*")
"""A comment line begins like a wall, but contains words."""
LEGEND_LINE = re.compile(r"(move|[GHCa-z])\s*=\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)", re.ASCII)


class Grid(NamedTuple):
    """The cells of a map: bool `[..., H, W]` each. Grids of one size stack into a batch for `vmap`.

    Attributes:
        wall: cells that cannot be entered.
        terminal: cells that end the episode.
        cliff: cells that send the agent back to a start.
        start: cells where episodes start, all equally likely.
    """

    wall: Array | np.ndarray
    terminal: Array | np.ndarray
    cliff: Array | np.ndarray
    start: Array | np.ndarray


class Map(NamedTuple):
    """A parsed map.

    Attributes:
        rows: its characters, H strings of length W.
        grid: their meaning; NumPy arrays `[H, W]`.
        reward: the reward for entering each cell, float32 `[H, W]`, read-only.
        moves: the length of the shortest path to a goal, from the start where it is longest. A start that leads to no
            goal counts with its path to a hole.
        start: row and column of that start.
    """

    rows: tuple[str, ...]
    grid: Grid
    reward: np.ndarray
    moves: int
    start: tuple[int, int]


def map_text(map: Any) -> str:
    """The name in `MAPS`, or the text, of a map in any form.

    Args:
        map: a name; a text; a file, as a path or as its name; or rows of cells, as texts, sequences of characters or a
            NumPy array of them, such as gymnasium's `desc`. The lines of a legend may follow the rows.

    Raises:
        ArgumentError: none of these (the message suggests the nearest name), or a file that cannot be read.
    """
    if _is_sequence(map):
        return "".join(f"{_join(row)}\n" for row in map) or "\n"
    text = str(map) if isinstance(map, Path) else _join(map)
    if not isinstance(map, Path) and (text in MAPS or _has_lines(text)):
        return text
    if _is_file(text):
        try:
            text = Path(text).read_text(encoding="utf-8")
        except (OSError, ValueError) as error:
            raise ArgumentError("map", f"must be a text file that can be read ({error})", str(map)) from error
        return text if _has_lines(text) else text + "\n"
    if not isinstance(map, Path) and set(text) <= set(CELLS) and set(text) & set("GH"):
        return text + "\n"  # a single row
    rule = f"must be an existing file, a text of several lines or a known map ({suggest(text, MAPS)})"
    raise ArgumentError("map", rule, text)


def _has_lines(text: str) -> bool:
    return "\n" in text or "\r" in text


def _is_file(name: str) -> bool:
    try:
        return Path(name).is_file()
    except (OSError, ValueError):  # no file can have such a name
        return False


def _is_sequence(x: Any) -> bool:
    return isinstance(x, list | tuple) or (isinstance(x, np.ndarray) and x.ndim > 0)


def _join(text: Any) -> str:
    """The text of a string, of bytes, or of a sequence of them."""
    if _is_sequence(text):
        return "".join(_join(cell) for cell in text)
    if isinstance(text, bytes):
        return text.decode("utf-8", "replace")
    if not isinstance(text, str):
        raise ArgumentError("map", "must be a text, rows of cells or a file", text)
    return text


@cache
def read_map(map: str) -> Map:
    """Parses a map.

    Args:
        map: a name in `MAPS`, or a text as described above.

    Raises:
        ArgumentError: an unknown character, rows of different lengths, a line of the legend that cannot be parsed, no
            start, or a start that leads to no terminal cell.
    """
    text = MAPS.get(map, map).removeprefix("\ufeff")
    lines = [line.strip(" \t") for line in re.split(r"\r\n|\r|\n", text)]
    lines = [line for line in lines if line and not COMMENT.fullmatch(line)]
    legend_at = next((i for i, line in enumerate(lines) if "=" in line), len(lines))
    rows, rewards = tuple(lines[:legend_at]), {"move": -1.0} | _read_legend(lines[legend_at:])
    _check_rows(rows, rewards)

    cells = np.array([list(row) for row in rows])
    start = cells == "S" if (cells == "S").any() else ~np.isin(cells, list("#GHC"))
    grid = Grid(wall=cells == "#", terminal=np.isin(cells, ["G", "H"]), cliff=cells == "C", start=start)
    if not start.any():
        raise ArgumentError("map", "must have a start: an S, or floor to start on", " ".join(rows))
    to_the_end = _moves_to(grid, grid.terminal)
    to_a_goal = _moves_to(grid, cells == "G") if (cells == "H").any() else to_the_end
    lost = np.argwhere(start & (to_the_end < 0))
    if len(lost):
        got = f"none for row {lost[0, 0]}, column {lost[0, 1]}"
        raise ArgumentError("map", "must lead from every start to a terminal cell (G or H)", lost[0], got=got)
    reward = np.array([[rewards.get(cell, rewards["move"]) for cell in row] for row in rows], np.float32)
    reward.flags.writeable = False
    moves = np.where(start, np.where(to_a_goal >= 0, to_a_goal, to_the_end), -1)
    y, x = divmod(int(moves.argmax()), moves.shape[1])
    return Map(rows, grid, reward, int(moves[y, x]), (y, x))


def _read_legend(lines: list[str]) -> dict[str, float]:
    rewards: dict[str, float] = {}
    for line in lines:
        text = line.partition("#")[0].strip(" \t")
        if not text:
            continue
        match = LEGEND_LINE.fullmatch(text)
        if match is None:
            raise ArgumentError("map", "must have a legend of lines like 'C = -100' (move, G, H, C or a to z)", line)
        if match[1] in rewards:
            rule = f"must have a legend that gives {match[1]!r} one reward"
            raise ArgumentError("map", rule, line, got=f"a second one in {line!r}")
        rewards[match[1]] = float(match[2])
        if abs(rewards[match[1]]) > float(np.finfo(np.float32).max):
            raise ArgumentError("map", "must have a legend of rewards that float32 can hold", line)
    return rewards


def _check_rows(rows: tuple[str, ...], rewards: dict[str, float]) -> None:
    if not rows:
        raise ArgumentError("map", "must have rows of cells, and its legend after them", None, got="none")
    for y, row in enumerate(rows):
        for x, cell in enumerate(row):
            if cell not in CELLS and cell not in rewards:
                rule = f"may contain only {CELLS} and lower-case letters with a reward in its legend"
                raise ArgumentError("map", rule, cell, got=f"at row {y}, column {x} {cell!r}")
        if len(row) != len(rows[0]):
            rule = f"must have rows as long as row 0, {len(rows[0])} cells"
            raise ArgumentError("map", rule, row, got=f"{len(row)} in row {y}: {row!r}")


def _moves_to(grid: Grid, targets: Any) -> np.ndarray:
    """The fewest moves from each cell to a target, a terminal cell, int `[H, W]`; -1 if no path exists.

    A breadth-first search from the targets. A fall may lead to any start. Slips do not matter: each of the four
    directions still has some action that leads there.
    """
    height, width = targets.shape
    target, cliff, start = (np.pad(x, 1).ravel() for x in (targets, grid.cliff, grid.start))
    entered = np.pad(~(grid.wall | grid.terminal | grid.cliff), 1).ravel()  # cells where moves start
    moves, frontier, fallen = np.where(target, 0, -1), np.flatnonzero(target), False
    for count in range(1, moves.size):
        beside = np.unique(np.add.outer((-1, 1, -width - 2, width + 2), frontier))
        frontier = beside[entered[beside] & (moves[beside] < 0)]
        moves[frontier] = count
        if not fallen and start[frontier].any():
            fallen, moves[cliff] = True, count
            frontier = np.append(frontier, np.flatnonzero(cliff))
        if not len(frontier):
            break
    return moves.reshape(height + 2, width + 2)[1:-1, 1:-1]
