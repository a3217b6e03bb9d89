"""Maps of Grid Worlds as text: the well-known ones by name, and how any text becomes arrays.

A map is rows of characters of one length, one character a cell, and after them, if need be, lines of a legend:

    ``.`` or ``F``   floor
    ``S``            a start; several are equally likely, and where there is none every cell of floor is a start
    ``G``, ``H``     goal and hole: terminal, entering one ends the episode
    ``C``            cliff: entering it sends the agent back to a start, and the episode goes on
    ``#``            wall: a move into it, or off the board, stays where it is
    ``a`` to ``z``   floor with a reward of its own, which the legend must give

    ``move = -1``    the reward for entering any cell that has no line of its own; -1 unless given
    ``C = -100``     the reward for entering a ``C``; likewise for ``G``, ``H`` and the small letters

A cell's own reward *replaces* the reward of the move. A move that stays where it is enters the agent's cell anew and is
rewarded accordingly. Spaces around a line and empty lines mean nothing. Rows and columns are counted from 0.
"""

import difflib
import re
from functools import cache
from typing import NamedTuple

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

LEGEND_LINE = re.compile(r"(move|[GHCa-z])\s*=\s*([+-]?\d*\.?\d+)")


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
    """

    rows: tuple[str, ...]
    grid: Grid
    reward: np.ndarray


@cache
def read_map(map: str) -> Map:
    """Reads a map.

    Args:
        map: one of `MAPS`, or a text as described above. A text has at least one line break, also when it has one row.

    Raises:
        ArgumentError: an unknown name (the nearest is suggested), an unknown character, rows of unequal length, a line
            of the legend that cannot be read, no start, or a start from which no terminal cell can be reached.
    """
    if not isinstance(map, str):
        raise ArgumentError(f"map must be a text, got {map!r}")
    if map not in MAPS and "\n" not in map:
        near = difflib.get_close_matches(map, MAPS, n=1, cutoff=0.0)[0]
        raise ArgumentError(
            f"map must be a text of several lines or one of {', '.join(MAPS)} (the nearest is {near!r}), got {map!r}"
        )
    lines = [line.strip() for line in MAPS.get(map, map).splitlines() if line.strip()]
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
        raise ArgumentError(f"map must have a start: an S, or floor to start on, got {' '.join(rows)!r}")
    lost = np.argwhere(start & ~_leads_to_a_terminal(grid))
    if len(lost):
        raise ArgumentError(
            f"map must lead from every start to a terminal cell (G or H), got none for row {lost[0, 0]}, "
            f"column {lost[0, 1]}"
        )
    reward = np.array([[rewards.get(cell, rewards["move"]) for cell in row] for row in rows], np.float32)
    reward.flags.writeable = False
    return Map(rows, grid, reward)


def _read_legend(lines: list[str]) -> dict[str, float]:
    rewards: dict[str, float] = {}
    for line in lines:
        match = LEGEND_LINE.fullmatch(line)
        if match is None:
            raise ArgumentError(f"map's legend must have lines like 'C = -100' (move, G, H, C or a to z), got {line!r}")
        if match[1] in rewards:
            raise ArgumentError(f"map's legend must give {match[1]!r} one reward, got a second one in {line!r}")
        rewards[match[1]] = float(match[2])
    return {"move": -1.0} | rewards


def _check_rows(rows: tuple[str, ...], rewards: dict[str, float]) -> None:
    if not rows:
        raise ArgumentError("map must have rows of cells, and its legend after them, got none")
    for y, row in enumerate(rows):
        for x, cell in enumerate(row):
            if cell not in "#.FSGHC" and cell not in rewards:
                raise ArgumentError(
                    f"map must be made of #.FSGHC and of small letters that its legend gives a reward, "
                    f"got at row {y}, column {x} {cell!r}"
                )
        if len(row) != len(rows[0]):
            raise ArgumentError(
                f"map's rows must be as long as row 0, {len(rows[0])} cells, got {len(row)} in row {y}: {row!r}"
            )


def _leads_to_a_terminal(grid: Grid) -> np.ndarray:
    """From which cells some actions lead to a terminal one, bool `[H, W]`: a flood from the terminal cells backwards.

    Slipping changes nothing here, because each of the four directions still has some action that leads there.
    """
    reached = np.array(grid.terminal)
    before = np.zeros_like(reached)
    while not np.array_equal(reached, before):
        before = reached.copy()
        edged = np.pad(before, 1)
        beside = edged[1:-1, 2:] | edged[1:-1, :-2] | edged[2:, 1:-1] | edged[:-2, 1:-1]
        reached |= beside & ~grid.wall & ~grid.cliff
        reached |= grid.cliff & reached[grid.start].any()
    return reached
