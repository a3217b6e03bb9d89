"""Pictures of positions in two-player games."""

from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from jaxrl.games import BoardGame
from jaxrl.games.hex import Hex
from jaxrl.plots.palette import BACKGROUND, BOARD, GRID, INK, PALETTE, cell_size, gapped_cells

FIRST, SECOND = 1, 2
"""Who has a cell, in `BoardGame.board`."""
NAMES = {FIRST: "first player", SECOND: "second player"}


def draw_position(game: BoardGame, observation: np.ndarray, before: np.ndarray | None = None) -> Image.Image:
    """Draws an observed position; a ring marks what the last move put on the board.

    Args:
        game: the rules.
        observation: the position, planes `[H, W, C]`.
        before: the position before the last move, if there was one.
    """
    board, pieces = game.board(observation), game.pieces(observation)
    marked = moved(game, before, observation) > 0 if before is not None else np.zeros(board.shape, bool)
    is_hex = isinstance(game, Hex)
    picture, middles, cell = _hexagons(len(board)) if is_hex else _squares(*board.shape)
    font = ImageFont.load_default(0.4 * cell)
    for y, x in np.argwhere(board > 0):
        colour, ring = PALETTE[board[y, x] - 1], max(2, round(cell / 16)) if marked[y, x] else 0
        ImageDraw.Draw(picture).circle(tuple(middles[y, x]), 0.38 * cell, colour, INK, ring)
        ImageDraw.Draw(picture).text(tuple(middles[y, x]), pieces[y, x], BACKGROUND, font, anchor="mm")
    return picture


def moved(game: BoardGame, before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Whose stones a move put or turned, at their cells of the board, int `[H, W]`; 0 elsewhere."""
    old, new = game.board(before), game.board(after)
    return np.where((new != old) | (game.pieces(before) != game.pieces(after)), new, 0)


def outcome(game: BoardGame, observations: np.ndarray, last: np.ndarray, reward: float) -> str:
    """Who won a game in which the players alternate.

    Args:
        game: the rules.
        observations: what was observed before each move, planes `[T, H, W, C]`.
        last: the position at the end, planes `[H, W, C]`.
        reward: that of the last move, for who made it: 1 wins, 0 is a draw.
    """
    if reward == 0:
        return "a draw"
    boards = [*observations, last]
    for move in reversed(range(len(observations))):  # a move that changes nothing, such as a pass, does not say whose
        if (stones := moved(game, boards[move], boards[move + 1])).any():
            mover, since = int(stones.max()), len(observations) - 1 - move
            wins = (mover == FIRST) ^ (since % 2 == 1) ^ (reward < 0)
            return f"{NAMES[FIRST if wins else SECOND]} wins"
    return "decided"


def _squares(height: int, width: int) -> tuple[Image.Image, np.ndarray, int]:
    """An empty board, the middles of its cells `[H, W, 2]` in pixels (x, y), and the size of a cell."""
    cell = int(min(cell_size(height, width)))
    y, x = np.mgrid[:height, :width]
    picture = gapped_cells(np.full((height, width, 3), BACKGROUND, np.uint8), cell)
    return picture, np.stack([x, y], -1) * cell + (cell - 1) / 2, cell


def _hexagons(size: int) -> tuple[Image.Image, np.ndarray, float]:
    """As `_squares`, a rhombus whose rows are shifted, with the players' edges in their colours."""
    width = (BOARD - 4) / (1.5 * size - 0.5)  # of a hexagon, from its left side to its right one
    radius = width / np.sqrt(3)
    y, x = np.mgrid[:size, :size]
    middles = np.stack([(x + y / 2 + 0.5) * width, (1.5 * y + 1) * radius], -1)
    picture = Image.new("RGB", (BOARD, int(np.ceil((1.5 * size + 0.5) * radius)) + 4), BACKGROUND)
    middles += 2
    draw, turns = ImageDraw.Draw(picture), np.radians(np.arange(-90, 270, 60))
    corners = radius * np.stack([np.cos(turns), np.sin(turns)], -1)  # from above, clockwise
    for middle in middles.reshape(-1, 2):
        draw.polygon([tuple(corner) for corner in middle + corners], outline=GRID, width=2)
    for i in range(size):
        for cell, sides, colour in (
            (middles[0, i], (5, 0, 1), 0), (middles[-1, i], (2, 3, 4), 0),
            (middles[i, 0], (4, 5), 1), (middles[i, -1], (1, 2), 1),
        ):  # fmt: skip
            draw.line([tuple(cell + corners[side]) for side in sides], PALETTE[colour], 3)
    return picture, middles, width


def players() -> list[tuple[str, Any]]:
    """The names of the players' colours."""
    return [(NAMES[FIRST], PALETTE[0]), (NAMES[SECOND], PALETTE[1])]
