"""Maps of Grid Worlds as text: the well-known ones by name, and how any text becomes arrays.

A map is rows of characters of one length, one character a cell, and after them, if need be, lines of a legend:

    ``.`` or ``F``   floor
    ``S``            a start; several are equally likely, and where there is none every cell of floor is a start
    ``G``, ``H``     goal and hole: terminal, entering one ends the episode
    ``C``            cliff: entering it sends the agent back to a start, and the episode goes on
    ``#``            wall: a move into it, or off the board, stays where it is
    ``a`` to ``z``   floor with a reward of its own, which the legend must give

    ``move = -1``    the reward for entering any cell that has no line of its own; -1 unless given
    ``C = -1e2``     the reward for entering a ``C``; likewise for ``G``, ``H`` and the small letters
    ``# words``      a comment: a line of its own anywhere, or the rest of a line of the legend

A cell's own reward *replaces* the reward of the move. A move that stays where it is enters the agent's cell anew and is
rewarded accordingly. Spaces around a line and empty lines mean nothing. Rows and columns are counted from 0.
"""

import difflib
import re
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxrl.arguments import ArgumentError
from jaxrl.types import Array

MAPS = {
    # Sutton & Barto (2018), example 4.1; the undiscounted optimal value is minus the moves to the nearer corner.
    "lecture": "G...\n....\n....\n...G\n",
    # Sutton & Barto (2018), example 6.6.
    "cliff": "............\n............\n............\nSCCCCCCCCCCG\nC = -100\n",
    # The rooms of Sutton, Precup & Singh (1999), https://doi.org/10.1016/S0004-3702(99)00052-1, with a hallway as goal.
    # The paper rewards the goal with 1 and moves with nothing; here a move costs 1, as in the maps above.
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
}
"""The named maps. They are an invitation to write your own: `make("GridWorld", map="S.#\\n..G")`."""

STEP_CAPS = {"frozen_lake_4x4": 100, "frozen_lake_8x8": 200}
"""Steps after which gymnasium cuts an episode, for the maps that are gymnasium's."""

CELLS = "#.FSGHC"
COMMENT = re.compile(r"#\s.*[^\W\d_A-Z]{2}.*")
"""A line that begins as a wall does is a comment if it has words in it."""
LEGEND_LINE = re.compile(r"(move|[GHCa-z])\s*=\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)", re.ASCII)


class Grid(NamedTuple):
    """What the cells of a map are: bool `[..., H, W]` each. Grids of one size stack into a batch for `vmap`.

    Attributes:
        wall: cannot be entered.
        terminal: entering it ends the episode.
        cliff: entering it sends the agent back to a start.
        start: where episodes begin, all equally likely.
    """

    wall: Array | np.ndarray
    terminal: Array | np.ndarray
    cliff: Array | np.ndarray
    start: Array | np.ndarray


class Map(NamedTuple):
    """A map that has been read.

    Attributes:
        rows: its characters, H strings of length W.
        grid: what they mean; NumPy arrays `[H, W]`.
        reward: the reward for entering each cell, float32 `[H, W]`, read-only.
        moves: the least with which a goal can be reached from the start that is furthest from one; or a hole, from a
            start that leads to no goal.
        start: row and column of that start.
    """

    rows: tuple[str, ...]
    grid: Grid
    reward: np.ndarray
    moves: int
    start: tuple[int, int]


def map_text(map: Any) -> str:
    """What any way to give a map means: its name in `MAPS`, or else its text.

    Args:
        map: a name; a text; a file, as a path or as its name; or rows of cells, as texts, sequences of characters or a
            NumPy array of them, such as gymnasium's `desc`. Rows may be followed by the lines of a legend.

    Raises:
        ArgumentError: it is none of these (the nearest name is suggested), or a file that cannot be read.
    """
    if _is_sequence(map):
        return "".join(f"{_row(row)}\n" for row in map) or "\n"
    if isinstance(map, bytes):
        return map_text(_characters(map))
    if not isinstance(map, str | Path):
        raise ArgumentError("map", "must be a text, rows of cells or a file", map)
    if isinstance(map, str) and (map in MAPS or _is_text(map)):
        return map
    if _is_file(map):
        try:
            text = Path(map).read_text(encoding="utf-8")
        except (OSError, ValueError) as error:
            raise ArgumentError("map", f"must be a text file that can be read ({error})", str(map)) from error
        return text if _is_text(text) else text + "\n"
    if isinstance(map, str) and set(map) <= set(CELLS) and set(map) & set("GH"):
        return map + "\n"  # of one row
    near = difflib.get_close_matches(str(map), MAPS, n=1, cutoff=0.0)[0]
    raise ArgumentError(
        "map",
        f"must be a file, a text of several lines or one of {', '.join(MAPS)} (the nearest is {near!r})",
        str(map),
    )


def _is_text(map: str) -> bool:
    return "\n" in map or "\r" in map


def _is_file(map: str | Path) -> bool:
    try:
        return Path(map).is_file()
    except (OSError, ValueError):  # no file can have such a name
        return False


def _is_sequence(x: Any) -> bool:
    return isinstance(x, list | tuple) or (isinstance(x, np.ndarray) and x.ndim > 0)


def _row(row: Any) -> str:
    """A row as text."""
    return "".join(_characters(cell) for cell in row) if _is_sequence(row) else _characters(row)


def _characters(text: Any) -> str:
    if isinstance(text, bytes):
        return text.decode("utf-8", "replace")
    if not isinstance(text, str):
        raise ArgumentError("map", "must be a text, rows of cells or a file", text, got=f"a row or a cell {text!r}")
    return text


@cache
def read_map(map: str) -> Map:
    """Reads a map.

    Args:
        map: one of `MAPS`, or a text as described above.

    Raises:
        ArgumentError: an unknown character, rows of unequal length, a line of the legend that cannot be read, no start,
            or a start from which no terminal cell can be reached.
    """
    text = MAPS.get(map, map).removeprefix("\ufeff")
    lines = [line.strip(" \t") for line in re.split(r"\r\n|\r|\n", text)]
    lines = [line for line in lines if line and not COMMENT.fullmatch(line)]
    legend_at = next((i for i, line in enumerate(lines) if "=" in line), len(lines))
    rewards = _read_legend(lines[legend_at:])
    rows = tuple(lines[:legend_at])
    _check_rows(rows, rewards)

    cells = np.array([list(row) for row in rows])
    start = cells == "S"
    if not start.any():
        start = ~np.isin(cells, list("#GHC"))
    grid = Grid(wall=cells == "#", terminal=np.isin(cells, ["G", "H"]), cliff=cells == "C", start=start)
    if not start.any():
        raise ArgumentError("map", "must have a start: an S, or floor to start on", " ".join(rows))
    to_the_end = _moves_to(grid, grid.terminal)
    to_a_goal = _moves_to(grid, cells == "G") if (cells == "H").any() else to_the_end
    lost = np.argwhere(start & (to_the_end < 0))
    if len(lost):
        raise ArgumentError(
            "map",
            "must lead from every start to a terminal cell (G or H)",
            lost[0, 0],
            got=f"none for row {lost[0, 0]}, column {lost[0, 1]}",
        )
    reward = np.array([[rewards.get(cell, rewards["move"]) for cell in row] for row in rows], np.float32)
    reward.flags.writeable = False
    moves = np.where(start, np.where(to_a_goal >= 0, to_a_goal, to_the_end), -1)
    y, x = divmod(int(moves.argmax()), moves.shape[1])
    return Map(rows, grid, reward, int(moves[y, x]), (y, x))


def _read_legend(lines: list[str]) -> dict[str, float]:
    rewards: dict[str, float] = {}
    for line in lines:
        said = line.partition("#")[0].strip(" \t")
        match = LEGEND_LINE.fullmatch(said)
        if match is None:
            if not said:
                continue
            raise ArgumentError("map", "must have a legend of lines like 'C = -100' (move, G, H, C or a to z)", line)
        if match[1] in rewards:
            raise ArgumentError(
                "map's", f"legend must give {match[1]!r} one reward", line, got=f"a second one in {line!r}"
            )
        rewards[match[1]] = float(match[2])
        if abs(rewards[match[1]]) > float(np.finfo(np.float32).max):
            raise ArgumentError("map", "must have a legend of rewards that float32 can hold", line)
    return {"move": -1.0} | rewards


def _check_rows(rows: tuple[str, ...], rewards: dict[str, float]) -> None:
    if not rows:
        raise ArgumentError("map", "must have rows of cells, and its legend after them", None, got="none")
    for y, row in enumerate(rows):
        for x, cell in enumerate(row):
            if cell not in CELLS and cell not in rewards:
                raise ArgumentError(
                    "map",
                    f"must be made of {CELLS} and of small letters that its legend gives a reward",
                    y,
                    got=f"at row {y}, column {x} {cell!r}",
                )
        if len(row) != len(rows[0]):
            raise ArgumentError(
                "map's",
                f"rows must be as long as row 0, {len(rows[0])} cells",
                len(row),
                got=f"{len(row)} in row {y}: {row!r}",
            )


def _moves_to(grid: Grid, targets: Any) -> np.ndarray:
    """The least moves from each cell to one of the targets, which are terminal, int `[H, W]`; -1: none lead there.

    Slipping changes nothing here, because each of the four directions still has some action that leads there. A fall
    may lead to any start.
    """
    height, width = targets.shape
    framed = [np.pad(x, 1).ravel() for x in (targets, grid.cliff, grid.start)]
    target, cliff, start = framed
    entered = np.pad(~(grid.wall | grid.terminal | grid.cliff), 1).ravel()  # cells that moves begin in
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
