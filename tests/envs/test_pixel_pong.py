"""Pixel Pong against a game in plain Python with drawings in NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl import make
from jaxrl.envs.pixel_pong import PixelPong, PixelPongParams, PixelPongState
from tests.compiling import quick_jit


class PlainPong:
    """The rules as they are written in the README and in `PixelPong`, with numbers."""

    def __init__(self, words, points: int, pause: float) -> None:
        self.points, self.pause = points, pause
        self.agent = self.opponent = 36
        self.score = [0, 0]
        self.serve(words)
        self.frames = [self.draw()] * 4

    def serve(self, words) -> None:
        self.ball = [41, 41]
        self.speed = [3 if words[0] % 2 else -3, int(words[0] >> 8) % 5 - 2]

    def step(self, action: int, words) -> tuple[float, bool]:
        self.agent = min(max(self.agent + {1: -4, 2: 4}.get(action, 0), 6), 66)
        if self.speed[0] < 0 and (words[1] >> 8) / 2**24 >= self.pause:
            target = self.ball[1] - 5
            if self.opponent < target:
                self.opponent = min(self.opponent + 2, target, 66)
            elif self.opponent > target:
                self.opponent = max(self.opponent - 2, target, 6)
        self.ball = [self.ball[0] + self.speed[0], self.ball[1] + self.speed[1]]
        if self.ball[1] < 6:
            self.ball[1], self.speed[1] = 6 + (6 - self.ball[1]), -self.speed[1]
        if self.ball[1] > 76:
            self.ball[1], self.speed[1] = 76 - (self.ball[1] - 76), -self.speed[1]
        reward = 0.0
        if self.ball[0] >= 77:
            reward = -1.0 if self.missed(self.agent, 76) else 0.0
        elif self.ball[0] <= 5:
            reward = 1.0 if self.missed(self.opponent, 6) else 0.0
        if reward:
            self.score[reward < 0] += 1
            self.serve(words)
        self.frames = [*self.frames[1:], self.draw()]
        return reward, max(self.score) == self.points

    def missed(self, paddle: int, column: int) -> bool:
        rows = range(self.ball[1], self.ball[1] + 2)
        if not any(paddle <= row < paddle + 12 for row in rows):
            return True
        distance = self.ball[1] + 1 - (paddle + 6)
        self.ball[0] = column
        self.speed = [-self.speed[0], int(distance * 2 / 3)]  # int() rounds towards zero
        return False

    def draw(self) -> np.ndarray:
        frame = np.zeros((84, 84), np.uint8)
        frame[4:6] = frame[78:80] = 80
        frame[self.opponent : self.opponent + 12, 4:6] = 120
        frame[self.agent : self.agent + 12, 78:80] = 200
        frame[self.ball[1] : self.ball[1] + 2, self.ball[0] : self.ball[0] + 2] = 255
        return frame


def test_games_are_those_of_plain_python() -> None:
    """Frames, rewards and ends of 24 games, to one point, side by side; half of the players follow the ball."""
    num_envs, steps, points = 24, 200, 1
    env, params = PixelPong(), PixelPongParams(points=points)
    rng = np.random.default_rng(0)
    words = rng.integers(0, 2**32, (steps + 1, 2, num_envs), np.uint32)
    plain = [PlainPong(words[0, :, i], points, 0.5) for i in range(num_envs)]
    state = quick_jit(env.initial)(words[0], params)
    advance, observe = quick_jit(env.advance), quick_jit(env.observe)
    seen, returned, ended = np.asarray(observe(state)), 0, 0
    for t in range(1, steps + 1):
        for i in range(num_envs):
            assert (seen[i] == plain[i].frames).all(), (t, i)
        follow = np.array([1 + (game.ball[1] > game.agent + 5) for game in plain])
        action = np.where(np.arange(num_envs) < 12, follow, rng.integers(0, 4, num_envs))
        state, final, reward, terminated, truncated = advance(state, action.astype(np.int32), words[t], params)
        last, seen = np.asarray(observe(final)), np.asarray(observe(state))
        assert not truncated.any()
        for i, game in enumerate(plain):
            before = game.speed[0]
            expected = game.step(int(action[i]), words[t, :, i])
            assert (float(reward[i]), bool(terminated[i])) == expected
            assert (last[i] == game.frames).all()
            returned += before == 3 and game.speed[0] == -3 and not expected[0]
            if expected[1]:
                plain[i], ended = PlainPong(words[t, :, i], points, 0.5), ended + 1
    assert returned > 20
    assert ended > 40


def test_steps_from_any_state_are_those_of_plain_python() -> None:
    """Among them all places near a paddle's ends, the walls and both columns."""
    env, params, n, rng = PixelPong(), PixelPongParams(points=2), 4096, np.random.default_rng(1)
    words, zero = rng.integers(0, 2**32, (2, n), np.uint32), np.zeros(n, np.int32)
    ball = np.where(rng.random(n) < 0.5, rng.integers(70, 77, n), rng.integers(6, 12, n)), rng.integers(6, 77, n)
    speed = rng.choice([-3, 3], n), rng.integers(-4, 5, n)
    agent, opponent = (np.clip(ball[1] - rng.integers(-8, 20, n), 6, 66) for _ in range(2))
    score = rng.integers(0, 2, (2, n))
    numbers = [np.int32(x) for x in (*ball, *speed, agent, opponent, *score)]
    action = rng.integers(0, 3, n).astype(np.int32)
    state = PixelPongState(*map(jnp.asarray, numbers), jnp.asarray(zero), jnp.zeros((3, n), jnp.uint32))
    after, reward, terminated = quick_jit(env.transition)(state, jnp.asarray(action), words, params)
    game, found = PlainPong(words[:, 0], 2, 0.5), np.stack(after[:8], 1)
    game.draw = lambda: None  # type: ignore[assignment, method-assign, return-value]
    for i in range(n):
        game.ball, game.speed = [int(ball[0][i]), int(ball[1][i])], [int(speed[0][i]), int(speed[1][i])]
        game.agent, game.opponent, game.score = int(agent[i]), int(opponent[i]), score[:, i].tolist()
        expected = game.step(int(action[i]), words[:, i])
        assert (float(reward[i]), bool(terminated[i])) == expected
        assert found[i].tolist() == [*game.ball, *game.speed, game.agent, game.opponent, *game.score]


def test_a_game_of_21_points_is_long_and_may_be_truncated() -> None:
    env, params = make("PixelPong", max_steps_in_episode=30)
    assert env.describe_rules(params) == "default rules, 30-step cap, first to 21 points"
    state = env.initial(jnp.zeros((2, 1), jnp.uint32), params)
    for t in range(30):
        state, final, _, terminated, truncated = env.advance(state, jnp.zeros(1), jnp.zeros((2, 1), jnp.uint32), params)
        assert bool(truncated[0]) == (t == 29)
        assert not terminated[0]
    assert (int(final.time[0]), int(state.time[0])) == (30, 0)
    assert make("PixelPong")[1].points == 21


def test_it_can_be_beaten() -> None:
    """By a player that meets the ball with the end of its paddle: it wins at least 19 of 20 points."""
    env, params, num_envs = PixelPong(), PixelPongParams(), 128

    def body(carry, key):
        state, won, lost = carry
        distance = state.y + 1 - (state.agent + 6) - 4
        action = jnp.where(distance > 1, 2, jnp.where(distance < -1, 1, 0))
        words = jax.random.bits(key, (2, num_envs), jnp.uint32)
        state, _, reward, _, _ = env.advance(state, action, words, params)
        return (state, won + (reward > 0).sum(), lost + (reward < 0).sum()), None

    def play(key):
        first = env.initial(jax.random.bits(key, (2, num_envs), jnp.uint32), params)
        return jax.lax.scan(body, (first, 0, 0), jax.random.split(key, 1000))[0]

    _, won, lost = quick_jit(play)(jax.random.key(0))
    assert won + lost > 1000
    assert won / (won + lost) > 0.95


@pytest.mark.parametrize(("won", "lost"), [(21, 0), (21, 2), (13, 21), (0, 21)])
def test_the_return_tells_the_share_of_points(won: int, lost: int) -> None:
    """By the formulas in the documentation of `PixelPong`."""
    r = won - lost
    assert (21 / (42 - r) if r > 0 else (21 + r) / (42 + r)) == won / (won + lost)


def test_its_space_has_what_it_shows() -> None:
    env, params = make("PixelPong")
    observation, _ = env.reset(jax.random.key(0), params)
    space = env.observation_space(params)
    assert (observation.shape, observation.dtype) == (space.shape, space.dtype) == ((4, 84, 84), jnp.uint8)
