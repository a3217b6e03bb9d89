"""MinAtar's games against the originals."""

from functools import cache

from jaxrl.envs import make
from tests.envs.minatar import asterix, breakout, freeway, seaquest, space_invaders
from tests.envs.minatar.originals import Original, SingleSteps, single_steps

ORIGINALS: dict[str, Original] = {
    "Asterix-MinAtar": asterix.ORIGINAL,
    "Breakout-MinAtar": breakout.ORIGINAL,
    "Freeway-MinAtar": freeway.ORIGINAL,
    "Seaquest-MinAtar": seaquest.ORIGINAL,
    "SpaceInvaders-MinAtar": space_invaders.ORIGINAL,
}


@cache
def dense_steps(name: str) -> SingleSteps:
    """5,000 steps of an original from dense states."""
    env, params = make(name)
    return single_steps(env, ORIGINALS[name], params, count=5000)
