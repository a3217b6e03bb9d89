"""The comparison with the originals is sharp: it sees each of these errors, one wrong expression at a time.

Some are errors that other ports of the games have or had. Only a mutant whose expression is still in the source can be
planted: when a game is rewritten its mutants are, too. They run uncompiled, since compiling them would take minutes.
"""

from typing import NamedTuple

import pytest

from jaxrl.envs.minatar import GAMES, MinAtar
from tests.envs.minatar import ORIGINALS, dense_steps
from tests.envs.minatar.originals import differences, our_single_steps, our_step
from tests.mutants import planted


class Mutant(NamedTuple):
    error: str
    function: str
    old: str
    new: str


MUTANTS = {
    "Asterix-MinAtar": [
        Mutant("a full board loses something", "spawn", "free & -free ", "jnp.where(free == 0, 2, free & -free)"),
        Mutant("the wrong free row", "spawn", "i < rank", "i <= rank"),
        Mutant("a meeting counts before the move only", "step", "caught | move & moved_caught", "caught"),
        Mutant("all rows can be reached", "step", "(action == UP), 1, 8", "(action == UP), 0, 9"),
        Mutant("the speed changes at even ramps", "ramp", "& 1 == 1", "& 1 == 0"),
        Mutant("a ramp every 101 steps", "ramp", "s.ramp_timer < 0", "s.ramp_timer <= 0"),
    ],
    "Breakout-MinAtar": [
        Mutant("the ball keeps its column at a brick", "step", "ball_x=x", "ball_x=jnp.where(hit, s.ball_x, x)"),
        Mutant("the ball strikes two bricks in a row", "step", "strike=meets_brick", "strike=hit"),
        Mutant("the wall comes back at once", "step", "bottom & (bricks == 0)", "(bricks == 0)"),
        Mutant("the paddle moves after the ball", "step", "(s.ball_x == paddle)", "(s.ball_x == s.paddle)"),
        Mutant(
            "a corner does not turn the ball", "step", "caught_at_corner, -direction_x", "caught_at_corner, direction_x"
        ),
    ],
    "Freeway-MinAtar": [
        Mutant("the game ends after 2500 acts", "step", "time_left < 0", "time_left <= 0"),
        Mutant("a hit counts before the move only", "step", " | (x == CHICKEN_X)", ""),
        Mutant(
            "cars rest as before after a crossing", "step", "jnp.where(crossed, abs(speed), s.car_timer)", "s.car_timer"
        ),
        Mutant("a car waits at the edge", "step", "jnp.where(x > 9, 0, x)", "jnp.where(x > 9, 9, x)"),
        Mutant("other speeds than drawn", "draw_speeds", "outcome + 1, 4 - outcome", "outcome + 1, outcome - 10"),
    ],
    "Seaquest-MinAtar": [
        Mutant(
            "a submarine that meets a bullet does not shoot",
            "move_enemies",
            "shoots & moved.alive",
            "shoots & moved.alive & ~at(moved, s.bullets.x, s.bullets.y)[0]",
        ),
        Mutant("a bullet that is met hits the oldest", "move_enemies", "newest(", "oldest("),
        Mutant("a bullet that is met hits fish first", "move_enemies", "there & s.submarines", "there & ~s.submarines"),
        Mutant("a bullet hits the newest", "move_bullets", "oldest(", "newest("),
        Mutant("a bullet hits submarines first", "move_bullets", "there & ~s.submarines", "there & s.submarines"),
        Mutant("the oldest diver comes aboard first", "move_divers", "newest(met)", "oldest(met)"),
        Mutant("surfacing without a diver has its effects", "breathe", "surfaces &= s.diver_count != 0", ""),
        Mutant("the air lasts a step longer", "breathe", "s.oxygen <= 0", "s.oxygen < 0"),
        Mutant("the speed changes at even ramps", "breathe", "s.ramp_index & 1 == 1", "s.ramp_index & 1 == 0"),
        Mutant(
            "enemy bullets stay on the board",
            "move_enemy_bullets",
            "s.bullets_right.right(),",
            "s.bullets_right.right() | (s.bullets_right - s.bullets_right.right().left()),",
        ),
        Mutant("a row is for one enemy", "spawn_enemy", " & (e.right ^ everywhere(right))", ""),
    ],
    "SpaceInvaders-MinAtar": [
        Mutant(
            "bullets fall on where the cannon was",
            "step",
            "s.aliens.row_9) & cannon",
            "s.aliens.row_9) & (jnp.uint32(1) << s.cannon_x.astype(jnp.uint32))",
        ),
        Mutant("of two columns the right one shoots", "shooter", "cannon * cannon <=", "cannon * cannon <"),
        Mutant("aliens shoot before they move", "step", "shooter(aliens", "shooter(s.aliens"),
        Mutant("aliens are counted after the kills", "step", "(s.aliens.size()", "((s.aliens - friendly).size()"),
        Mutant("new aliens start to the left", "step", "s.moving_right ^ turns", "(s.moving_right ^ turns) & ~cleared"),
        Mutant("a gap of two levels", "step", "s.move_interval - (cleared", "s.move_interval - 2 * (cleared"),
    ],
}
OF_ALL_GAMES = [
    Mutant("the end of an episode resets what sticks", "restart", "last_action=state.last_action", ""),
    Mutant("the chosen action sticks", "transition", "MinAtarState(game, executed", "MinAtarState(game, chosen"),
    Mutant("actions stick too rarely", "transition", "drawn < params", "2 * drawn < params"),
]


def differs(name: str) -> bool:
    """Whether the comparison sees a difference between the game as it now is and the original."""
    steps = dense_steps(name)
    ours = our_single_steps(MinAtar(GAMES[name]), ORIGINALS[name], steps, our_step, batch=len(steps.rows))
    return any(seen.any() for seen in differences(ORIGINALS[name], steps.outcomes, ours).values())


@pytest.mark.parametrize("name", GAMES)
def test_without_an_error_nothing_differs(name: str) -> None:
    assert not differs(name)


@pytest.mark.parametrize(
    ("name", "mutant"),
    [pytest.param(name, mutant, id=f"{name}: {mutant.error}") for name in MUTANTS for mutant in MUTANTS[name]],
)
def test_an_error_in_a_game_is_seen(name: str, mutant: Mutant) -> None:
    with planted(f"{GAMES[name].step.__module__}:{mutant.function}", mutant.old, mutant.new):
        assert differs(name)


@pytest.mark.parametrize("name", GAMES)
@pytest.mark.parametrize("mutant", OF_ALL_GAMES, ids=lambda mutant: mutant.error)
def test_an_error_around_the_games_is_seen(name: str, mutant: Mutant) -> None:
    with planted(f"{MinAtar.__module__}:MinAtar.{mutant.function}", mutant.old, mutant.new):
        assert differs(name)
