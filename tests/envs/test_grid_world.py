"""Grid World: steps against tables, tables against gymnasium and the book, and maps as text."""

from functools import partial
from pathlib import Path
from typing import Any

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrl
from jaxrl.envs import make, vectorize
from jaxrl.envs.grid_world import DOWN, LEFT, RIGHT, UP, GridWorld, GridWorldState, grid_mdp
from jaxrl.envs.maps import MAPS, Grid, read_map

OWN = """
    S.b.#
    .#CCS
    aa.HG
    move = -0.5
    C = -7
    a = 2
    b = .25
"""
"""A map with everything: two starts, a cliff between walls, both kinds of ends, and floor with rewards."""
LONG = ["S" + "." * 99, "#" * 99 + ".", "." * 100, "." + "#" * 99, "." * 99 + "G"]
"""A map of a single way, of 301 moves."""
TWO_THIRDS = 2 / 3  # gymnasium's slippery environments go each of three ways equally often


def optimal_q(mdp, discount: float, iterations: int = 2000) -> np.ndarray:
    """Value iteration: Q_{i+1} = R + γ P max_a' Q_i."""
    transition, reward = np.asarray(mdp.transition, np.float64), np.asarray(mdp.reward, np.float64)
    q = np.zeros_like(reward)
    for _ in range(iterations):
        q = reward + discount * transition @ q.max(1)
    return q


def step_from(env, params, cell: int, action: int, bits=(2**32 - 1, 0)):
    """The cell, reward and termination after one step; the default bits slip only if slipping is certain."""
    state = GridWorldState(jnp.int32(cell), jnp.int32(0))
    state, reward, terminated = env.transition(state, jnp.int32(action), jnp.array(bits, jnp.uint32), params)
    return int(state.cell), float(reward), bool(terminated)


@pytest.mark.parametrize("name", [*MAPS, OWN], ids=[*MAPS, "own"])
def test_steps_are_what_the_tables_say(name: str) -> None:
    env, params = make("GridWorld", map=name, slip_probability=0.3)
    mdp = jax.tree.map(np.asarray, env.mdp(params))
    cells, n = mdp.terminal.size, 1000
    np.testing.assert_allclose(mdp.transition.sum(2), 1.0, rtol=1e-6)
    np.testing.assert_allclose(mdp.initial.sum(), 1.0, rtol=1e-6)

    cell, action, _ = np.indices((cells, 4, n), np.int32).reshape(3, -1)
    bits = jax.random.bits(jax.random.key(0), (2, cell.size))
    state = GridWorldState(jnp.asarray(cell), jnp.zeros_like(cell))
    after, reward, terminated = jax.jit(env.transition)(state, jnp.asarray(action), bits, params)
    frequency = np.zeros((cells, 4, cells))
    np.add.at(frequency, (cell, action, np.asarray(after.cell)), 1 / n)
    reward = np.asarray(reward).reshape(cells, 4, n)

    assert not (frequency[mdp.transition == 0] > 0).any()
    spread = np.sqrt(mdp.transition * (1 - np.minimum(mdp.transition, 1)) / n)
    assert (abs(frequency - mdp.transition) <= 5.5 * spread + 1e-6).all()
    assert (abs(reward.mean(2) - mdp.reward) <= 5.5 * reward.std(2) / np.sqrt(n) + 1e-4).all()
    np.testing.assert_array_equal(terminated, mdp.terminal[after.cell])


@pytest.mark.parametrize("name", [*MAPS, OWN], ids=[*MAPS, "own"])
def test_starts_are_equally_likely(name: str) -> None:
    env, params = make("GridWorld", map=name)
    n = 100_000
    cell = env.initial(jax.random.bits(jax.random.key(0), (2, n)), params).cell
    initial = np.asarray(env.mdp(params).initial)
    frequency = np.bincount(cell, minlength=initial.size) / n
    assert (abs(frequency - initial) <= 5 * np.sqrt(initial / n) * (initial < 1)).all()
    starts = {"lecture": 14, "four_rooms": 103, OWN: 2}.get(name, 1)
    assert np.count_nonzero(frequency) == starts


def assert_tables_equal(mdp, original, actions: list[int], states: np.ndarray) -> None:
    """Our tables against gymnasium's `P[s][a] = [(probability, next state, reward, terminated), ...]`."""
    transition, reward = np.zeros_like(mdp.transition), np.zeros_like(mdp.reward)
    for s in states:
        for a in range(4):
            for probability, following, r, terminated in original[s][actions[a]]:
                transition[s, a, following] += probability
                reward[s, a] += probability * r
                assert terminated == mdp.terminal[following]
    np.testing.assert_allclose(mdp.transition[states], transition[states], atol=1e-6)
    np.testing.assert_allclose(mdp.reward[states], reward[states], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("slippery", [False, True])
@pytest.mark.parametrize("size", ["4x4", "8x8"])
def test_frozen_lake_is_gymnasiums(size: str, slippery: bool) -> None:
    original: Any = gymnasium.make("FrozenLake-v1", map_name=size, is_slippery=slippery).unwrapped
    env, params = make("GridWorld", map=f"frozen_lake_{size}", slip_probability=TWO_THIRDS * slippery)
    mdp = env.mdp(params)
    left, down, right, up = range(4)
    assert_tables_equal(mdp, original.P, [right, left, up, down], np.arange(mdp.terminal.size))
    np.testing.assert_array_equal(mdp.initial, original.initial_state_distrib)


@pytest.mark.parametrize("slippery", [False, True])
def test_the_cliff_is_gymnasiums(slippery: bool) -> None:
    original: Any = gymnasium.make("CliffWalking-v1", is_slippery=slippery).unwrapped
    env, params = make("GridWorld", map="cliff", slip_probability=TWO_THIRDS * slippery)
    mdp = env.mdp(params)
    up, right, down, left = range(4)
    # Every state but the goal: gymnasium's table walks on from there, although the episode has ended.
    assert_tables_equal(mdp, original.P, [right, left, up, down], np.flatnonzero(~mdp.terminal))
    np.testing.assert_array_equal(mdp.initial, original.initial_state_distrib)


def test_the_lectures_values() -> None:
    """Example 4.1's optimal values: minus the moves to the nearer corner; every greedy action leads nearer to one."""
    env, params = make("GridWorld")
    q = optimal_q(env.mdp(params), discount=1.0)
    np.testing.assert_array_equal(
        q.max(1).reshape(4, 4), [[0, -1, -2, -3], [-1, -2, -3, -2], [-2, -3, -2, -1], [-3, -2, -1, 0]]
    )
    greedy = [set(np.flatnonzero(row == row.max())) for row in q]
    assert greedy[1] == {LEFT}
    assert greedy[4] == {UP}
    assert greedy[5] == {LEFT, UP}
    assert greedy[3] == {LEFT, DOWN}
    assert greedy[6] == {RIGHT, LEFT, UP, DOWN}


def test_the_random_policys_values_are_figure_4_1s() -> None:
    env, params = make("GridWorld")
    mdp = jax.tree.map(np.asarray, env.mdp(params))
    inner = ~mdp.terminal
    transition = mdp.transition.mean(1)[inner][:, inner]
    values = np.linalg.solve(np.eye(14) - transition, mdp.reward.mean(1)[inner])
    np.testing.assert_allclose(values, [-14, -20, -22, -14, -18, -20, -20, -20, -20, -18, -14, -22, -20, -14], 1e-5)


def test_distances_in_the_mazes() -> None:
    four_rooms = make("GridWorld", map="four_rooms")
    values = optimal_q(four_rooms[0].mdp(four_rooms[1]), discount=1.0, iterations=30).max(1).reshape(13, 13)
    assert values[1, 1] == -14  # through the upper doorway: 8 columns and 6 rows away
    assert values[11, 1] == -12
    assert values.min() == -14
    cliff = make("GridWorld", map="cliff")
    assert optimal_q(cliff[0].mdp(cliff[1]), discount=1.0).max(1)[36] == -13  # along the edge, example 6.6


def test_moves_walls_and_the_legend() -> None:
    env, params = make("GridWorld", map=OWN)
    # 0  1  2  3  4        S . b . #
    # 5  6  7  8  9        . # C C S
    # 10 11 12 13 14       a a . H G
    assert step_from(env, params, 0, RIGHT) == (1, -0.5, False)
    assert step_from(env, params, 1, LEFT) == (0, -0.5, False)
    assert step_from(env, params, 5, UP) == (0, -0.5, False)
    assert step_from(env, params, 0, DOWN) == (5, -0.5, False)
    assert step_from(env, params, 0, UP) == (0, -0.5, False)  # off the board
    assert step_from(env, params, 1, DOWN) == (1, -0.5, False)  # into a wall
    assert step_from(env, params, 1, RIGHT) == (2, 0.25, False)  # a letter's reward replaces the move's
    assert step_from(env, params, 2, UP) == (2, 0.25, False)  # bumping enters the cell anew
    assert step_from(env, params, 11, UP) == (11, 2.0, False)  # whatever it bumps into
    assert step_from(env, params, 2, DOWN) == (0, -7.0, False)  # down the cliff, to the first start
    assert step_from(env, params, 2, DOWN, (0, 2**32 - 1)) == (9, -7.0, False)  # or to the last
    assert step_from(env, params, 12, RIGHT) == (13, -0.5, True)
    assert step_from(env, params, 9, DOWN) == (14, -0.5, True)


def test_slips_go_to_either_side() -> None:
    env, params = make("GridWorld")
    params = params.replace(slip_probability=0.5)
    quarter = 2**30
    for action, first, second in ((RIGHT, UP, DOWN), (LEFT, UP, DOWN), (UP, RIGHT, LEFT), (DOWN, RIGHT, LEFT)):
        for bits, direction in ((0, first), (quarter - 1, first), (quarter, second), (2 * quarter, action)):
            expected = step_from(env, make("GridWorld")[1], 5, direction)
            assert step_from(env, params, 5, action, (bits, 0)) == expected


@pytest.mark.parametrize("action", [-1, 4, 99])
def test_other_actions_stay_and_cost_a_move(action: int) -> None:
    env, params = make("GridWorld", slip_probability=1.0)
    assert step_from(env, params, 5, action, (0, 0)) == (5, -1.0, False)


def test_tables_are_traced_functions_of_the_parameters() -> None:
    env, params = make("GridWorld")
    rewards = jnp.stack([params.reward, 3 * params.reward])
    slips = jnp.array([0.0, 0.5])
    tables = jax.jit(jax.vmap(lambda r, p: env.mdp(params.replace(reward=r, slip_probability=p))))(rewards, slips)
    for i in range(2):
        one = env.mdp(params.replace(reward=rewards[i], slip_probability=slips[i]))
        jax.tree.map(np.testing.assert_array_equal, jax.tree.map(lambda x, i=i: x[i], tables), one)
    assert (tables.reward.min(), tables.transition[1].max()) == (-3.0, 1.0)
    gradient = jax.grad(lambda r: env.mdp(params.replace(reward=r)).reward.sum())(rewards[0])
    assert gradient[0, 0] == 2  # both moves into the terminal corner


def test_maps_of_one_size_are_a_batch() -> None:
    texts = ["..G\n.#.\nS..\n", "S.C\n..#\nH.G\nC = -100\n"]
    environments = [make("GridWorld", map=text, slip_probability=0.2) for text in texts]
    grids = Grid(*map(np.stack, zip(*(env.grid for env, _ in environments), strict=True)))
    params = jax.tree.map(lambda *leaves: jnp.stack(leaves), *(params for _, params in environments))
    tables = jax.jit(jax.vmap(grid_mdp))(grids, params)
    for i, (env, own) in enumerate(environments):
        jax.tree.map(np.testing.assert_array_equal, jax.tree.map(lambda x, i=i: x[i], tables), env.mdp(own))


def test_an_episode_through_gymnaxs_interface() -> None:
    env, params = make("GridWorld", map="cliff")
    observation, state = env.reset(jax.random.key(0), params)
    space = env.observation_space(params)
    assert (observation.shape, observation.dtype) == (space.shape, space.dtype) == ((4, 12, 3), bool)
    assert env.action_space(params).n == 4
    total = 0.0
    for action in [UP, *[RIGHT] * 11, DOWN]:
        _, state, reward, terminated, truncated, info = env.step(jax.random.key(1), state, action, params)
        total += float(reward)
    assert (total, terminated, truncated) == (-13.0, True, False)
    assert np.argwhere(info["final_observation"][:, :, 0]).tolist() == [[3, 11]]
    assert (int(state.cell), int(state.time)) == (36, 0)  # the next episode has begun


def test_the_observation() -> None:
    env, _ = make("GridWorld", map=OWN)
    board = np.asarray(env.decode(jnp.array([[3], [14]], jnp.uint32)))
    assert board.shape == (2, 3, 5, len(env.channels))
    assert np.argwhere(board[..., 0]).tolist() == [[0, 0, 3], [1, 2, 4]]
    for i in range(2):
        assert np.argwhere(board[i, ..., 1]).tolist() == [[0, 4], [1, 1]]
        assert np.argwhere(board[i, ..., 2]).tolist() == [[2, 3], [2, 4]]


def test_many_environments_reset_themselves_and_are_cut_off() -> None:
    env, params = make("GridWorld")
    envs = vectorize(env, params.replace(max_steps_in_episode=3), 64)

    def body(state, key):
        state, transition, metrics = envs.step(state, jax.random.randint(key, (64,), 0, 4), key)
        return state, (transition, metrics, state.env_states.time)

    keys = jax.random.split(jax.random.key(1), 50)
    _, (transition, metrics, time) = jax.jit(lambda key: jax.lax.scan(body, envs.reset(key), keys))(jax.random.key(0))
    assert transition.observation.shape == (50, 64, 1)
    terminal = np.isin(transition.next_observation[..., 0], [0, 15])
    np.testing.assert_array_equal(transition.terminated, terminal)
    assert not np.isin(transition.observation, [0, 15]).any()
    assert transition.truncated.any()
    assert not (transition.terminated & transition.truncated).any()
    np.testing.assert_array_equal(time == 0, transition.terminated | transition.truncated)
    assert time.max() == 2
    assert metrics["episode_return"].sum.sum() == -metrics["episode_length"].sum.sum()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"map": "clif"},
            "map must be an existing file, a text of .* or a known map .the nearest is cliff.*'clif'",
        ),
        ({"map": "..\n.?\n"}, r"map may contain only #.FSGHC and .* got at row 1, column 1 '\?'"),
        ({"map": "..\n.a\nb = 1\n"}, "map may contain only .* got at row 1, column 1 'a'"),
        ({"map": "...\n..\n..G"}, "map must have rows as long as row 0, 3 cells, got 2 in row 1: '..'"),
        ({"map": "move = -1\n"}, "map must have rows of cells, and its legend after them, got none"),
        ({"map": "#G\n"}, "map must have a start: an S, or floor to start on, got '#G'"),
        ({"map": "G..\n..#\n.#S\n"}, "map must lead from every start to a terminal .* got none for row 2, column 2"),
        ({"map": "SCG\n"}, "map must lead from every start to a terminal .* got none for row 0, column 0"),
        ({"map": "...\n..S\n"}, "map must lead from every start to a terminal .* got none for row 1, column 2"),
        ({"map": "SG\nC = ten\n"}, "map must have a legend of lines like 'C = -100' .* got 'C = ten'"),
        ({"map": "SG\nC = 1\nSG\n"}, "map must have a legend of lines like .* got 'SG'"),
        ({"map": "SG\nmove = nan\n"}, "map must have a legend of lines like .* got 'move = nan'"),
        (
            {"map": "SG\nG = 1\nG = 2\n"},
            "map must have a legend that gives 'G' one reward, got a second one in 'G = 2'",
        ),
        ({"slip_probability": 1.5}, "slip_probability must be <= 1, got 1.5"),
        ({"slip_probability": -0.1}, "slip_probability must be >= 0, got -0.1"),
        ({"slip_probability": float("nan")}, "slip_probability must be >= 0, got nan"),
        ({"map": "S.\x0c.G\n"}, r"map may contain only .* got at row 0, column 2 '\\x0c'"),
        ({"map": "S.\u2028.G\n"}, r"map may contain only .* got at row 0, column 2 '\\u2028'"),
        ({"map": "# . #\nS.G\n"}, "map may contain only .* got at row 0, column 1 ' '"),
        ({"map": "SG\nG = 1e39"}, "map must have a legend of rewards that float32 can hold, got 'G = 1e39'"),
        ({"map": "SG\nG = 1e999"}, "map must have a legend of rewards that float32 can hold, got 'G = 1e999'"),
        ({"map": []}, "map must have rows of cells, and its legend after them, got none"),
        ({"map": Path("nowhere.txt")}, "map must be an existing file, .*, got 'nowhere.txt'"),
        ({"map": LONG}, "max_steps_in_episode must be at least 301, the moves from row 0, column 0 .*, got 200"),
        ({"map": LONG, "max_steps_in_episode": 300}, "max_steps_in_episode must be at least 301, .*, got 300"),
        ({"max_steps_in_episode": 0}, "max_steps_in_episode must be >= 1, got 0"),
        ({"slip": 0.1}, "slip is not an option of GridWorld, which has map, slip_probability, .*, got 0.1"),
    ],
)
def test_bad_input(options: dict, message: str) -> None:
    with pytest.raises(jaxrl.arguments.ArgumentError, match=f"^{message}$"):
        make("GridWorld", **options)


def test_a_fall_can_be_the_way_to_a_goal() -> None:
    assert read_map("SC#\n#SG\n").moves == 2  # from the upper start only by falling to the lower one


def test_the_moves_to_a_goal() -> None:
    """Against the tables: how often the transition must be applied until every start may be at a goal."""
    for text in (MAPS["four_rooms"], "S.H..\n..#G.\nS....\n", "SC..\n...G\n"):
        env, params = make("GridWorld", map=text)
        leads: Any = np.asarray(env.mdp(params).transition).any(1)
        found = np.array([cell == "G" for cell in "".join(read_map(text).rows)])
        moves = 0
        while not found[np.ravel(env.grid.start)].all():
            found, moves = found | leads[:, found].any(1), moves + 1
        assert read_map(text).moves == moves
    assert read_map("SH#G\n").moves == 1  # no goal can be reached, but a hole


def test_the_step_cap() -> None:
    env, params = make("GridWorld", map=LONG, max_steps_in_episode=301, discount=0.5)
    assert (params.max_steps_in_episode, params.discount) == (301, 0.5)
    assert env.describe_rules(params) == "own map, 5 × 100, slip probability 0, 301-step cap"
    for name, original in (("4x4", "FrozenLake-v1"), ("8x8", "FrozenLake8x8-v1")):
        steps = make("GridWorld", map=f"frozen_lake_{name}")[1].max_steps_in_episode
        assert steps == gymnasium.spec(original).max_episode_steps


def test_all_ways_to_give_a_map(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    rows, expected = ["SFFF", "FHFH", "FFFH", "HFFG"], make("GridWorld", map="SFFF\nFHFH\nFFFH\nHFFG\n")[0]
    Path("lake").write_text("\ufeff# a lake\nSFFF\r\nFHFH\rFFFH\nHFFG", encoding="utf-8", newline="")
    lake: Any = gymnasium.make("FrozenLake-v1").unwrapped
    desc = lake.desc  # an array of bytes, one a cell
    cells, encoded = [list(row) for row in rows], [row.encode() for row in rows]
    for given in (rows, tuple(rows), cells, encoded, desc, desc.astype(str), np.array(rows), Path("lake"), "lake",
                  "./lake", "SFFF\rFHFH\r\nFFFH\nHFFG"):  # fmt: skip
        env = make("GridWorld", map=given)[0]
        assert read_map(env.map).rows == read_map(expected.map).rows, given
        assert GridWorld(given) == env
        hash(env)
    assert make("GridWorld", map=rows)[0] is make("GridWorld", map=tuple(rows))[0] is make("GridWorld", map=desc)[0]
    assert make("GridWorld", map="S..G")[0].grid.wall.shape == (1, 4)
    Path("lake").write_text("S.G")
    assert make("GridWorld", map="lake")[0].grid.wall.shape == (1, 3)  # as it is now
    Path("lake").write_bytes(b"\xff")
    with pytest.raises(jaxrl.arguments.ArgumentError, match=r"map must be a text file that can be read .* got 'lake'"):
        make("GridWorld", map="lake")


def test_rewards_in_a_legend() -> None:
    text = "# the rewards = of cells\nS.aG\n# more\nmove = -1e-05  # a step\na=+10.\n#\nG = -.5E1 # the end\n"
    np.testing.assert_array_equal(read_map(text).reward, np.float32([[-1e-5, -1e-5, 10, -5]]))


def test_tables_that_cannot_fit_are_refused() -> None:
    env, params = make("GridWorld", map=["S" + "." * 1999, "." * 1999 + "G"] * 200, max_steps_in_episode=10**6)
    for tables in (env.mdp, partial(grid_mdp, env.grid)):
        with pytest.raises(
            MemoryError, match=r"^the table P\[S, 4, S\] of 400 × 2000 cells takes 19073\.49 GiB, but only "
        ):
            tables(params)


def test_equal_calls_make_one_environment() -> None:
    env, params = make("GridWorld", map="cliff", slip_probability=0.1)
    assert make("GridWorld", map="cliff", slip_probability=0.1)[0] is env
    assert make("GridWorld", map="cliff", slip_probability=0.1)[1] is params
    assert make("GridWorld", slip_probability=0.1, map="cliff") == (env, params)
    assert hash(make("GridWorld", slip_probability=0.1, map="cliff")[0]) == hash(env)
    assert make("GridWorld", map="lecture") == make("GridWorld")
    assert make("GridWorld")[0] != env
    assert env.describe_rules(params) == "cliff map, 4 × 12, slip probability 0.1, 200-step cap"


def test_changed_parameters_retrace_nothing() -> None:
    traces = 0

    @partial(jax.jit, static_argnums=0)
    def step(env, params, state):
        nonlocal traces
        traces += 1
        return env.transition(state, jnp.int32(0), jnp.zeros(2, jnp.uint32), params)

    for slip in (0.0, 0.5):
        env, params = make("GridWorld", map="lecture")
        step(env, params.replace(slip_probability=slip, reward=2 * params.reward), GridWorldState(5, 0))
    assert traces == 1


def test_networks_and_trainers_take_it() -> None:
    env, params = make("GridWorld", map="frozen_lake_4x4")
    network = jaxrl.q_network(jax.eval_shape(env.reset, jax.random.key(0), params)[0], 4, (8,))
    config = jaxrl.OffPolicyConfig(num_envs=4, batch_size=8, replay_capacity=64, warmup_steps=16, rollout_length=2)
    trainer = jaxrl.off_policy(jaxrl.dqn(network), env, params, config)
    _, metrics = jax.jit(lambda key: trainer.step(trainer.init(key, jaxrl.DQNHparams())))(jax.random.key(0))
    assert np.isfinite(metrics["loss"].sum)
