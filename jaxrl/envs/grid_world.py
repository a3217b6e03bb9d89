"""Grid World: an agent on a board of cells, some of which end the episode (Sutton & Barto 2018, example 4.1).

`enter` describes a move: a step of the environment applies it to the agent's cell, and the tables of the MDP apply it
to every cell and direction at once. Cell `(y, x)` of an `H × W` map is state `y * W + x`.
"""

import dataclasses
from functools import partial
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from annotated_types import Interval

from jaxrl.arguments import ArgumentError, check
from jaxrl.envs.base import Environment, EnvParams, uniform
from jaxrl.envs.maps import MAPS, STEP_CAPS, Grid, map_text, read_map
from jaxrl.memory import check_fits
from jaxrl.types import MDP, Array

RIGHT, LEFT, UP, DOWN = range(4)
"""Actions. A slip moves at a right angle to the chosen direction: up or down for right or left, and vice versa."""


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class GridWorldParams(EnvParams):
    """Traced parameters of a Grid World."""

    reward: Array | np.ndarray
    """Reward for entering each cell, float32 `[H, W]`."""
    slip_probability: Annotated[float, Interval(ge=0, le=1)] = 0.0
    """Probability of moving at a right angle to the chosen direction, half of it to each side."""
    discount: Annotated[float, Interval(ge=0, le=1)] = 0.99
    """`γ` of the MDP. Steps do not use it, and agents have their own."""
    max_steps_in_episode: Annotated[int, Interval(ge=1, lt=2**31)] = 200
    """Steps after which an episode is truncated. In the named maps, terminal cells are at most 14 moves away. The maps
    of FrozenLake have gymnasium's caps, 100 and 200."""


class GridWorldState(NamedTuple):
    """The agent's cell, `y * W + x`, and the steps since the start of the episode: int32 `[...]` each."""

    cell: Array
    time: Array


def enter(grid: Grid, reward: Array | np.ndarray, cell: Array, direction: Array) -> tuple[Array, Array]:
    """The cell that a move enters, and the reward for it, elementwise in `cell` and `direction`.

    A move off the board, into a wall, or in none of the four directions enters its own cell again. Terminal cells
    and walls are never left, and earn nothing.

    Args:
        grid: the map, `[H, W]`.
        reward: for entering each cell, `[H, W]`.
        cell: where the move starts, int `[...]`.
        direction: an action, int `[...]`.
    """
    height, width = grid.wall.shape
    wall, never_left = jnp.ravel(grid.wall), jnp.ravel(grid.wall | grid.terminal)
    y = jnp.clip(cell // width + (direction == DOWN) - (direction == UP), 0, height - 1)
    x = jnp.clip(cell % width + (direction == RIGHT) - (direction == LEFT), 0, width - 1)
    ahead = y * width + x
    entered = jnp.where(wall[ahead] | never_left[cell], cell, ahead)
    return entered, jnp.where(never_left[cell], 0.0, jnp.ravel(reward)[entered])


def grid_mdp(grid: Grid, params: GridWorldParams) -> MDP:
    """The tables of a Grid World with `S = H * W` states. Walls are states that cannot be reached.

    A pure function of arrays: `jax.vmap(grid_mdp)(grids, params)` makes the tables of many maps of one size.

    Raises:
        MemoryError: the tables do not fit into the free memory.
    """
    height, width = grid.wall.shape
    table = (height * width) ** 2 * 4 * jnp.result_type(float).itemsize  # and as much to make it
    check_fits(f"the table P[S, 4, S] of {height} × {width} cells takes", 2 * table, "a smaller map needs less")
    wall, terminal, cliff, start = (jnp.ravel(x) for x in grid)
    states, directions = jnp.arange(wall.size), jnp.arange(4)
    entered, reward = enter(grid, params.reward, states[:, None], directions)  # [S, direction]
    initial = start / start.sum()
    lands = jnp.where(cliff[entered][..., None], initial, entered[..., None] == states)  # [S, direction, S]
    across = directions[:, None] // 2 != directions // 2
    goes = jnp.where(across, params.slip_probability / 2, (1 - params.slip_probability) * jnp.eye(4))  # [A, direction]
    return MDP(
        # Not matrix products, whose factors a GPU may round to ten bits.
        transition=(goes[:, :, None] * lands[:, None]).sum(2),
        reward=(goes * reward[:, None]).sum(2),
        discount=jnp.asarray(params.discount, jnp.result_type(float)),
        terminal=terminal,
        initial=initial,
    )


@dataclasses.dataclass(frozen=True)
class GridWorld(Environment):
    """An agent that moves right, left, up or down (actions 0 to 3) until it enters a terminal cell.

    Other actions stay in place, as if bumping into a wall, without slipping.

    Args:
        map: a name in `jaxrl.envs.maps.MAPS`, a text as described there, its rows, or a file: see `map_text`. The field
            holds the name or the text.
        slip_probability, discount, max_steps_in_episode: default parameters. The last is 200 by default, or
            gymnasium's cap for its maps.

    Random words: word 0 decides whether and where a move slips; word 1 selects the start of an episode, or after a
    fall from a cliff.

    Raises:
        ArgumentError: the map cannot be used, a number is out of bounds, or the path from some start to its nearest
            goal is longer than an episode.
    """

    map: Any = "lecture"
    slip_probability: Annotated[float, Interval(ge=0, le=1)] = 0.0
    discount: Annotated[float, Interval(ge=0, le=1)] = 0.99
    max_steps_in_episode: Annotated[int | None, Interval(ge=1, lt=2**31)] = None

    name = "GridWorld"
    num_actions = 4
    random_words = 2
    video_steps = 100
    """Steps of a video, which shows each one for long enough to follow it."""
    action_names = ("right", "left", "up", "down")
    channels = ("agent", "wall", "terminal")
    """Names of the observation's channels."""

    def __post_init__(self) -> None:
        check(self)
        object.__setattr__(self, "map", map_text(self.map))
        _, _, _, moves, (y, x) = read_map(self.map)
        steps = STEP_CAPS.get(self.map, 200) if self.max_steps_in_episode is None else self.max_steps_in_episode
        if steps < moves:
            rule = f"must be at least {moves}, the moves from row {y}, column {x} of the map to its nearest goal"
            raise ArgumentError("max_steps_in_episode", rule, steps)
        object.__setattr__(self, "max_steps_in_episode", steps)

    @property
    def grid(self) -> Grid:
        """The map as arrays."""
        return read_map(self.map).grid

    def describe_rules(self, params: GridWorldParams) -> str:
        height, width = self.grid.wall.shape
        name = self.map if self.map in MAPS else "own"
        cap = params.max_steps_in_episode
        return f"{name} map, {height} × {width}, slip probability {params.slip_probability:g}, {cap}-step cap"

    @property
    def default_params(self) -> GridWorldParams:
        steps = self.max_steps_in_episode
        return GridWorldParams(read_map(self.map).reward, self.slip_probability, self.discount, steps)  # type: ignore[arg-type]

    @partial(jax.jit, static_argnames="self")
    def mdp(self, params: GridWorldParams) -> MDP:
        """The environment as tables, for planning."""
        return grid_mdp(self.grid, params)

    def initial(self, bits: Array, params: GridWorldParams) -> GridWorldState:
        del params
        cell = self._draw_start(bits)
        return GridWorldState(cell, time=jnp.zeros_like(cell))

    def transition(
        self, state: GridWorldState, action: Array, bits: Array, params: GridWorldParams
    ) -> tuple[GridWorldState, Array, Array]:
        drawn = uniform(bits[0])
        slips = (drawn < params.slip_probability) & (action >= 0) & (action < 4)
        across = jnp.where(action < UP, UP, RIGHT) + (drawn >= params.slip_probability / 2)
        entered, reward = enter(self.grid, params.reward, state.cell, jnp.where(slips, across, action))
        falls = jnp.ravel(self.grid.cliff)[entered]
        cell = jnp.where(falls, self._draw_start(bits), entered)
        return GridWorldState(cell, state.time + 1), reward, jnp.ravel(self.grid.terminal)[entered]

    def time_limit(self, params: Any) -> Array:
        return params.max_steps_in_episode

    def encode(self, state: GridWorldState) -> Array:
        """The agent's cell, one word."""
        return state.cell.astype(jnp.uint32)[None]

    def decode(self, words: Array) -> Array:
        """bool `[..., H, W, 3]` (y, x, channel) from uint32 `[..., 1]`. Only the agent's channel changes."""
        wall, terminal = self.grid.wall, self.grid.terminal
        agent = (words == jnp.arange(wall.size, dtype=jnp.uint32)).reshape(*words.shape[:-1], *wall.shape)
        return jnp.stack(jnp.broadcast_arrays(agent, wall, terminal), axis=-1)

    def state_of(self, observations: Array) -> Array:
        """The state of the MDP, int32 `[...]`, from observations `[..., H, W, 3]`: the agent's cell."""
        cells = jnp.arange(self.grid.wall.size, dtype=jnp.int32).reshape(self.grid.wall.shape)
        return jnp.where(observations[..., 0], cells, 0).sum((-2, -1))  # an argmax is slower

    def _draw_start(self, bits: Array) -> Array:
        starts = np.flatnonzero(self.grid.start).astype(np.int32)
        return jnp.asarray(starts)[(uniform(bits[1]) * len(starts)).astype(jnp.int32)]
