"""MinAtar's games against the originals."""

from tests.envs.minatar import asterix, breakout, freeway, seaquest, space_invaders
from tests.envs.minatar.originals import Original

ORIGINALS: dict[str, Original] = {
    "Asterix-MinAtar": asterix.ORIGINAL,
    "Breakout-MinAtar": breakout.ORIGINAL,
    "Freeway-MinAtar": freeway.ORIGINAL,
    "Seaquest-MinAtar": seaquest.ORIGINAL,
    "SpaceInvaders-MinAtar": space_invaders.ORIGINAL,
}
