"""MinAtar's games (Young & Tian 2019, https://arxiv.org/abs/1903.03176), implemented as bit boards."""

from jaxrl.envs.minatar.asterix import ASTERIX
from jaxrl.envs.minatar.breakout import BREAKOUT
from jaxrl.envs.minatar.environment import Game, MinAtar, MinAtarParams, MinAtarState
from jaxrl.envs.minatar.freeway import FREEWAY
from jaxrl.envs.minatar.seaquest import SEAQUEST
from jaxrl.envs.minatar.space_invaders import SPACE_INVADERS

GAMES: dict[str, Game] = {game.name: game for game in (ASTERIX, BREAKOUT, FREEWAY, SEAQUEST, SPACE_INVADERS)}
