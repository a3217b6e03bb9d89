"""Breakout against the original `minatar` package, fed the same random draws."""

import jax
import jax.numpy as jnp
import minatar
import numpy as np
import pytest

from jaxrl.envs import make


class Draws:
    """Stands in for the original's random generator and keeps what it drew; uniforms are multiples of 2^-24."""

    def __init__(self, seed: int) -> None:
        self.generator = np.random.default_rng(seed)
        self.uniform = 0

    def rand(self) -> float:
        self.uniform = int(self.generator.integers(2**24))
        return self.uniform * 2.0**-24

    def randint(self, high: int) -> int:
        return int(self.generator.integers(high))


def play_original(steps: int, seed: int) -> dict[str, np.ndarray]:
    """Plays the original across episode ends: mostly following the ball, so that walls fall, else at random."""
    game = minatar.Environment("breakout", sticky_action_prob=0.1, difficulty_ramping=True)
    draws = Draws(seed)
    game.random = game.env.random = draws
    choose = np.random.default_rng(seed + 1)
    game.reset()
    names = ("observation", "action", "reward", "terminal", "uniform", "coin", "final_observation")
    rows: dict[str, list] = {name: [] for name in names}
    coin = int(ball_column(game.state()) == 9)
    first_coin, chaos = coin, 0.3
    for _ in range(steps):
        observation = game.state()
        gap = ball_column(observation) - int(np.argmax(observation[9, :, 0]))
        action = int(choose.integers(6)) if choose.random() < chaos else (3 if gap > 0 else 1 if gap < 0 else 0)
        reward, terminal = game.act(action)
        rows["observation"].append(observation)
        for name, x in (("action", action), ("reward", reward), ("terminal", terminal), ("uniform", draws.uniform)):
            rows[name].append(x)
        rows["final_observation"].append(game.state())
        if terminal:
            game.reset()
            coin = int(ball_column(game.state()) == 9)
            chaos = choose.choice([0.0, 0.0, 0.3])
        rows["coin"].append(coin)
    return {name: np.array(values) for name, values in rows.items()} | {"first_coin": np.array(first_coin)}


def ball_column(observation: np.ndarray) -> int:
    return int(np.argmax(observation[:, :, 1].any(axis=0)))


def assert_equal_to_original(steps: int, seed: int) -> dict[str, np.ndarray]:
    env, params = make("Breakout-MinAtar")
    original = play_original(steps, seed)
    bits = ((original["uniform"] << 8) | original["coin"]).astype(np.uint32)[:, None]

    def body(state, x):
        action, bits = x
        observation = env.observe(state)
        state, final, reward, terminated, truncated = env.advance(state, action, bits, params)
        return state, (observation, reward, terminated, truncated, env.observe(final))

    start = env.initial(jnp.array([original["first_coin"]], jnp.uint32), params)
    _, ours = jax.jit(lambda s, xs: jax.lax.scan(body, s, xs))(start, (original["action"], bits))
    observation, reward, terminated, truncated, final = map(np.asarray, ours)
    np.testing.assert_array_equal(reward, original["reward"])
    np.testing.assert_array_equal(terminated, original["terminal"])
    np.testing.assert_array_equal(observation, original["observation"])
    np.testing.assert_array_equal(final, original["final_observation"])
    assert not truncated.any()
    return original


def test_equals_the_original_over_100_000_steps() -> None:
    original = assert_equal_to_original(100_000, seed=0)
    # The walk must have seen what matters: many ends, both corners, and walls that fell and came back.
    bricks = original["observation"][:, :, :, 3].sum(axis=(1, 2))
    assert original["terminal"].sum() > 100
    assert set(original["coin"][original["terminal"]]) == {0, 1}
    assert (bricks == 0).sum() > 0
    assert (original["uniform"] < 0.1 * 2**24).mean() == pytest.approx(0.1, abs=0.01)


@pytest.mark.slow
def test_equals_the_original_over_a_million_steps() -> None:
    assert_equal_to_original(1_000_000, seed=7)


@pytest.mark.parametrize(
    ("protocol", "actions", "sticky", "cap"), [("original", 6, 0.1, None), ("gymnax", 3, 0.0, 1000)]
)
def test_protocols(protocol: str, actions: int, sticky: float, cap: int | None) -> None:
    env, params = make("Breakout-MinAtar", protocol=protocol)
    assert (env.num_actions, params.sticky_action_prob) == (actions, sticky)
    assert env.default_params == params
    assert params.max_steps_in_episode == (cap or 2**31 - 1)
    assert env.action_space(params).n == actions
    space = env.observation_space(params)
    assert (space.shape, space.dtype) == ((10, 10, 4), bool)


def test_the_gymnax_interface_resets_itself_and_shows_the_final_observation() -> None:
    env, params = make("Breakout-MinAtar", protocol="gymnax")
    params = params.replace(max_steps_in_episode=5)
    observation, state = env.reset(jax.random.key(0), params)
    assert observation.shape == (10, 10, 4)
    for t in range(5):
        observation, state, reward, terminated, truncated, info = env.step(jax.random.key(t), state, 0, params)
        assert reward.dtype == jnp.float32
        assert not terminated
        assert truncated == (t == 4)
    assert state.time == 0
    assert info["final_observation"][:, :, 1].argmax() != observation[:, :, 1].argmax()
    assert observation[3, :, 1].any()  # the ball is back in its starting row


def test_the_sticky_memory_survives_the_end_of_an_episode() -> None:
    env, params = make("Breakout-MinAtar")
    state = env.initial(jnp.zeros((1,), jnp.uint32), params)
    never, always = jnp.full((1,), 2**32 - 2, jnp.uint32), jnp.zeros((1,), jnp.uint32)
    terminated = False
    while not terminated:  # to the right, until the ball is lost
        state, _, _, terminated, _ = env.advance(state, jnp.int32(3), never, params)
    assert (state.time, state.game.paddle, state.last_action) == (0, 4, 3)
    state, _, _, _, _ = env.advance(state, jnp.int32(1), always, params)
    assert state.game.paddle == 5  # the action from before the end was executed again


def test_actions_out_of_range_do_nothing() -> None:
    env, params = make("Breakout-MinAtar", protocol="gymnax")
    _, state = env.reset(jax.random.key(0), params)
    for action in (-1, 3, 99):
        _, after, *_ = env.step(jax.random.key(1), state, action, params)
        assert after.game.paddle == state.game.paddle


def test_the_coin_and_the_stickiness_have_their_probabilities() -> None:
    env, params = make("Breakout-MinAtar")
    bits = jax.random.bits(jax.random.key(3), (1, 40_000))
    state = env.initial(bits, params)
    assert float((state.game.ball_x == 0).mean()) == pytest.approx(0.5, abs=0.01)
    moved = state._replace(last_action=jnp.full(40_000, 3))
    after, _, _ = env.transition(moved, jnp.ones(40_000, jnp.int32), bits, params)
    assert float((after.game.paddle == 5).mean()) == pytest.approx(0.1, abs=0.006)
