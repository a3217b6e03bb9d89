"""N environments in lockstep."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl.envs import make, num_discrete_actions, vectorize

T, N = 300, 8


GYMNAX = "gymnax.environments.classic_control.cartpole:CartPole"
CAPS = {"Breakout-MinAtar": 12, "GridWorld": 6, "CartPole-v1": 25, GYMNAX: 25}
"""Environments with step caps that only some episodes reach."""


@pytest.fixture(scope="module", params=CAPS)
def played(request):
    env, params = make(request.param)
    params = params.replace(max_steps_in_episode=CAPS[request.param])
    envs = vectorize(env, params, N)

    def body(state, key):
        actions = jax.random.randint(key, (N,), 0, num_discrete_actions(env, params))
        state, transition, metrics = envs.step(state, actions, key)
        return state, (transition, metrics, state.observation)

    keys = jax.random.split(jax.random.key(1), T)
    transitions, metrics, observations = jax.jit(lambda key: jax.lax.scan(body, envs.reset(key), keys)[1])(
        jax.random.key(0)
    )
    return jax.tree.map(np.asarray, (transitions, metrics, observations))


def test_next_observation_is_the_true_one(played) -> None:
    transitions, _, observations = played
    done = transitions.terminated | transitions.truncated
    assert transitions.terminated.any()
    assert transitions.truncated.any()
    assert not (transitions.terminated & transitions.truncated).any()
    going_on = transitions.next_observation[~done], observations[~done]
    np.testing.assert_array_equal(*going_on)
    differs = (transitions.next_observation != observations).any(axis=-1)
    assert differs[done].mean() > 0.9  # the observation before the reset, not after it


def test_observations_follow_each_other(played) -> None:
    transitions, _, observations = played
    np.testing.assert_array_equal(transitions.observation[1:], observations[:-1])


def test_episode_statistics_are_exact(played) -> None:
    transitions, metrics, _ = played
    returns, lengths = [], []
    for environment in range(N):
        total = length = 0
        for t in range(T):
            total, length = total + transitions.reward[t, environment], length + 1
            if transitions.terminated[t, environment] or transitions.truncated[t, environment]:
                returns.append(total)
                lengths.append(length)
                total = length = 0
    assert metrics["episode_return"].count.sum() == len(returns)
    assert metrics["episode_return"].sum.sum() == sum(returns)
    assert metrics["episode_length"].sum.sum() == sum(lengths)


def test_environments_draw_their_own_randomness() -> None:
    envs = vectorize(*make("Breakout-MinAtar"), 64)
    x = envs.reset(jax.random.key(0)).env_states.game.ball_x
    assert set(np.asarray(x)) == {0, 9}


def test_a_packed_board_unpacks_to_what_is_seen() -> None:
    env, params = make("Breakout-MinAtar")
    envs = vectorize(env, params, 3)
    state = envs.reset(jax.random.key(0))
    board = envs.observe(state)
    assert (board.shape, board.dtype) == ((3, 10, 10, 4), jnp.bool_)
    assert state.observation.nbytes == 3 * 13 * 4
    np.testing.assert_array_equal(board.sum(axis=(1, 2)), [[1, 1, 1, 30]] * 3)


@pytest.mark.parametrize("num_envs", [0, -1, 1.5])
def test_a_number_of_environments_that_cannot_be(num_envs) -> None:
    with pytest.raises(ValueError, match=f"^num_envs must be a whole number >= 1, got {num_envs}$"):
        vectorize(*make("Breakout-MinAtar"), num_envs)


@pytest.mark.parametrize(
    ("env_id", "options", "limit"),
    [
        ("Freeway-MinAtar", {}, 2501),
        ("Freeway-MinAtar", {"rules": "gymnax"}, 2500),
        ("CartPole-v1", {}, 500),
        ("GridWorld", {"map": "cliff"}, None),
        ("Breakout-MinAtar", {"rules": "gymnax"}, 1000),
    ],
)
def test_staggered_episodes_end_at_all_times(env_id: str, options: dict, limit: int | None) -> None:
    """Each state has a clock of its own below the limit, and is otherwise a first state."""
    env, params = make(env_id, **options)
    limit = limit or int(params.max_steps_in_episode)
    envs = vectorize(env, params, 4_000)
    first = envs.reset(jax.random.key(0))
    found = envs.stagger(first, jax.random.key(1))
    clocks = np.asarray(found.env_states.time)
    assert (clocks.min() >= 0) & (clocks.max() < limit)
    assert clocks.min() < 0.01 * limit
    assert clocks.max() > 0.99 * limit
    assert np.mean(clocks) == pytest.approx(limit / 2, rel=0.05)
    assert int(env.time_limit(params)) == limit
    restored = env.elapse(found.env_states, -clocks)
    chex.assert_trees_all_equal(found._replace(env_states=restored), first)


def test_staggered_freeway_ends_when_its_time_is_over() -> None:
    """An episode of 2,501 steps that began `clock` steps ago ends in `2501 - clock`."""
    envs = vectorize(*make("Freeway-MinAtar"), 64)
    state = envs.stagger(envs.reset(jax.random.key(0)), jax.random.key(1))
    clocks = np.asarray(state.env_states.time)

    def step(state, key):
        state, transition, _ = envs.step(state, jnp.zeros(64, jnp.int32), key)
        return state, transition.terminated

    _, ended = jax.jit(lambda state: jax.lax.scan(step, state, jax.random.split(jax.random.key(2), 2501)))(state)
    assert (np.argmax(np.asarray(ended), axis=0) + 1).tolist() == (2501 - clocks).tolist()


@pytest.mark.parametrize("env_id", ["Breakout-MinAtar", "Pendulum-v1"])
def test_environments_without_a_limit_are_not_staggered(env_id: str) -> None:
    """Nor are those of other libraries, whose clocks jaxrl does not know."""
    envs = vectorize(*make(env_id), 8)
    state = envs.reset(jax.random.key(0))
    chex.assert_trees_all_equal(envs.stagger(state, jax.random.key(1)), state)
