"""MinAtar's games (Young & Tian 2019, https://arxiv.org/abs/1903.03176), written anew as bit boards."""

from jaxrl.envs.minatar.breakout import BREAKOUT
from jaxrl.envs.minatar.environment import Game, MinAtar, MinAtarParams, MinAtarState

GAMES: dict[str, Game] = {"Breakout-MinAtar": BREAKOUT}

__all__ = ["GAMES", "Game", "MinAtar", "MinAtarParams", "MinAtarState"]
