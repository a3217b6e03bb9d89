"""Go against a board of points that are looked at one by one, known positions, and pgx."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl.arguments import ArgumentError
from jaxrl.games import Go, make, solve
from tests.compiling import quick_jit
from tests.games.as_in_pgx import same_as_in_pgx
from tests.games.random_games import play

Point = tuple[int, int]


class Board:
    """Go by the definition of its rules, without bits: a dictionary of stones, and the boards so far."""

    def __init__(self, size: int, komi: float) -> None:
        self.size, self.komi, self.player, self.moves, self.passed, self.over = size, komi, 0, 0, False, False
        self.stones: dict[Point, int] = {}
        self.past: list[dict[Point, int]] = [{}]
        self.reward = 0.0

    def beside(self, point: Point) -> list[Point]:
        row, column = point
        near = (row + 1, column), (row - 1, column), (row, column + 1), (row, column - 1)
        return [(r, c) for r, c in near if 0 <= r < self.size and 0 <= c < self.size]

    def chain(self, point: Point) -> tuple[set[Point], set[Point]]:
        """All points of the same colour, or empty, that are connected with one; and those beside them."""
        colour, found, edge, todo = self.stones.get(point), {point}, set(), [point]
        while todo:
            for near in self.beside(todo.pop()):
                if self.stones.get(near) != colour:
                    edge.add(near)
                elif near not in found:
                    found.add(near)
                    todo.append(near)
        return found, edge

    def liberties(self, point: Point) -> set[Point]:
        return {near for near in self.chain(point)[1] if near not in self.stones}

    def after(self, point: Point) -> dict[Point, int] | None:
        """The stones after a move; None if it is suicide."""
        board = Board(self.size, self.komi)
        board.stones = {**self.stones, point: self.player}
        for near in board.beside(point):
            if board.stones.get(near) == 1 - self.player and not board.liberties(near):
                for captured in board.chain(near)[0]:
                    del board.stones[captured]
        return board.stones if board.liberties(point) else None

    def legal(self) -> np.ndarray:
        """All empty points but suicides and the retaking of a ko, and the pass."""
        legal = np.zeros(self.size**2 + 1, bool)
        legal[-1] = True
        for point in {(r, c) for r in range(self.size) for c in range(self.size)} - set(self.stones):
            stones = self.after(point)
            takes_back = self.moves > 1 and not self.passed and stones == self.past[-2]
            legal[point[0] * self.size + point[1]] = stones is not None and not takes_back
        return legal

    def move(self, action: int) -> None:
        passes = action == self.size**2
        if not passes:
            stones = self.after(divmod(action, self.size))
            assert stones is not None
            self.stones = stones
        repeats = not passes and self.stones in self.past
        self.past.append(self.stones)
        self.moves += 1
        self.over = repeats or (passes and self.passed) or self.moves == 2 * self.size**2
        lead = self.points(0) - self.points(1) - self.komi
        result = float(np.sign(lead if self.player == 0 else -lead))
        self.reward = (-1.0 if repeats else result) if self.over else 0.0
        self.passed, self.player = passes, 1 - self.player

    def points(self, player: int) -> int:
        """A player's stones, and the empty points from which one reaches its stones only."""
        count = 0
        for point in ((r, c) for r in range(self.size) for c in range(self.size)):
            reached = {self.stones.get(near) for near in self.chain(point)[1]}
            count += self.stones.get(point) == player or (point not in self.stones and reached == {player})
        return count

    def colours(self) -> np.ndarray:
        cells = np.zeros((self.size, self.size), int)
        for point, player in self.stones.items():
            cells[point] = player + 1
        return cells


@pytest.mark.parametrize(
    ("size", "komi", "num_games", "last", "every"),
    [(2, 1.0, 40, 0.3, 1), (3, 0.0, 20, 1.0, 1), (5, 1.5, 5, 1.0, 3), (9, 7.0, 2, 1.0, 15)],
)
def test_games_go_by_the_rules(size: int, komi: float, num_games: int, last: float, every: int) -> None:
    """Random games against a board without bits: legal moves, captures, the ko, repetitions, ends, results."""
    game = Go(size, komi)
    games = play(game, num_games, game.max_moves + 1, size, last)
    for n in range(num_games):
        board = Board(size, komi)
        for t in range(game.max_moves + 1):
            seen = games.observation[t, n]
            np.testing.assert_array_equal(game.board(seen), board.colours())
            assert (games.player[t, n], seen[0, 0, 2], seen[0, 0, 4]) == (board.player, board.player == 0, board.passed)
            assert games.legal[t, n].all() or not board.over
            if board.over:
                assert games.legal[t, n].all()
                assert games.reward[t, n] == 0
                assert games.terminated[t, n]
                continue
            if t % every == 0:
                np.testing.assert_array_equal(games.legal[t, n], board.legal())
            board.move(int(games.action[t, n]))
            assert (games.reward[t, n], games.terminated[t, n]) == (board.reward, board.over)
        assert board.over


def position(game: Go, diagram: str, player: int):
    """The state of a diagram of X (Black), O (White) and dots."""
    cells = np.array([list(line) for line in diagram.split()])
    stones = game.grid.pack(np.stack([cells == "X", cells == "O"], axis=-1)).stack()
    return game.initial()._replace(stones=jnp.asarray(stones), player=jnp.int32(player))


FIVE = Go(5, -1.0)
STEP, LEGAL = quick_jit(FIVE.step), quick_jit(FIVE.legal_actions)


def drawn(state) -> str:
    return " ".join("".join(row) for row in np.array(list(".XO"))[FIVE.board(FIVE.observe(state))])


def test_two_groups_are_captured_at_once() -> None:
    state = position(FIVE, "XO.OX .X.X. ..... ..... OO...", 0)
    state, reward = STEP(state, jnp.int32(2))
    assert (drawn(state), float(reward)) == ("X.X.X .X.X. ..... ..... OO...", 0)


def test_no_stone_takes_its_own_last_liberty() -> None:
    """A lone stone, and one that joins a chain; but it may if it captures."""
    illegal = np.flatnonzero(~np.asarray(LEGAL(position(FIVE, ".O... O.... ..... ...OO ..OX.", 0))))
    np.testing.assert_array_equal(illegal, [0, 1, 5, 18, 19, 22, 23, 24])
    assert LEGAL(position(FIVE, ".OX.. OXX.. X.... ..... .....", 0))[0]


def test_a_ko_is_not_retaken_at_once() -> None:
    state, _ = STEP(position(FIVE, ".XO.. XO.O. .XO.. ..... .....", 0), jnp.int32(7))
    assert drawn(state) == ".XO.. X.XO. .XO.. ..... ....."
    np.testing.assert_array_equal(np.flatnonzero(~np.asarray(LEGAL(state))), [0, 1, 2, 5, 6, 7, 8, 11, 12])
    np.testing.assert_array_equal(np.argwhere(FIVE.observe(state)[..., 3]), [[1, 1]])
    for action in (20, 24):  # elsewhere
        state, _ = STEP(state, jnp.int32(action))
    assert LEGAL(state)[6]
    assert not FIVE.observe(state)[..., 3].any()


def test_a_snapback_is_no_ko() -> None:
    state, _ = STEP(position(FIVE, "X.OX. OXXX. ..... ..... .....", 1), jnp.int32(1))
    assert drawn(state) == ".OOX. OXXX. ..... ..... ....."
    assert LEGAL(state)[0]
    state, _ = STEP(state, jnp.int32(0))
    assert drawn(state) == "X..X. OXXX. ..... ..... ....."


def test_two_liberties_are_enough() -> None:
    """Black has all points but two, any two: White may play there only if they are beside each other."""
    pairs = np.stack(np.triu_indices(25, 1), 1)
    cells = np.zeros((25, len(pairs), 2), bool)
    cells[..., 0] = (np.arange(25)[:, None, None] != pairs).all(-1)
    stones = FIVE.grid.pack(cells.reshape(5, 5, -1, 2)).stack()
    white = FIVE.initial()._replace(player=jnp.int32(1))
    legal = quick_jit(jax.vmap(lambda stones: FIVE.legal_actions(white._replace(stones=stones)), 1))(stones)
    rows, columns = np.divmod(pairs, 5)
    beside = np.abs(np.diff(rows)) + np.abs(np.diff(columns)) == 1
    np.testing.assert_array_equal(np.asarray(legal)[:, :25], ~cells[..., 0].T & beside)


def test_one_stone_may_be_taken_after_two() -> None:
    """A lone stone captures two, and is captured at once: no position repeats."""
    state, _ = STEP(position(FIVE, "OO.O. XXO.. ..... ..... .....", 0), jnp.int32(2))
    assert drawn(state) == "..XO. XXO.. ..... ..... ....."
    assert LEGAL(state)[1]
    state, _ = STEP(state, jnp.int32(1))
    assert drawn(state) == ".O.O. XXO.. ..... ..... ....."


@pytest.mark.parametrize(
    ("player", "komi", "reward"), [(0, -1.0, 0), (1, -1.0, 0), (0, -1.5, 1), (1, -0.5, 1), (0, 0.0, -1)]
)
def test_stones_and_surrounded_points_count(player: int, komi: float, reward: float) -> None:
    """Black has 9 stones and 2 points, White 9 stones and 3 points; both reach the other two."""
    game = Go(5, komi)
    state = position(game, ".XO.O XXOO. X..OO XXXOO .XXO.", player)._replace(passed=jnp.bool(True))
    state, found = quick_jit(game.step)(state, jnp.int32(25))
    assert (bool(state.terminated), float(found)) == (True, reward)


def test_who_repeats_a_position_loses() -> None:
    """The last move captures three stones, and leaves the position after the first move."""
    game = Go(2, 0.0)
    step, state, found = quick_jit(game.step), game.initial(), []
    for action in (0, 3, 1, 2, 0, 1, 0):
        state, reward = step(state, jnp.int32(action))
        found.append((float(reward), bool(state.terminated)))
    assert found == [(0, False)] * 6 + [(-1, True)]


def test_it_has_no_solver() -> None:
    with pytest.raises(ArgumentError, match=r"^game must be one with a solver, .*, got go$"):
        solve(make("go", size=3))
    with pytest.raises(ArgumentError, match=r"^size must be .*<= 19, got 20"):
        Go(20)


@pytest.mark.slow
@pytest.mark.parametrize("size", [2, 5, 9])
def test_games_go_as_in_pgx(size: int) -> None:
    """Hundreds of random games: legal moves, ends and results. Only a tie, which White wins there, is a tie here."""
    pgx = pytest.importorskip("pgx.go", reason="pgx is not installed: pip install pgx")
    same_as_in_pgx(Go(size), pgx.Go(size=size), 300)
