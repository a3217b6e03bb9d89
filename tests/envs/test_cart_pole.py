"""The cart-pole, against gymnasium's and in jaxrl's own terms."""

from typing import Any

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnax.environments.classic_control.cartpole import CartPole as GymnaxCartPole
from gymnax.wrappers import LogWrapper

from jaxrl import Input, Transition, make, rollout
from jaxrl.arguments import ArgumentError
from jaxrl.envs import describe_rules
from jaxrl.envs.cart_pole import CartPole, CartPoleParams, CartPoleState
from tests.compiling import AS_USERS_DO

T, N = 1050, 50
ENV, PARAMS = CartPole(), CartPoleParams()


def balance_or_not(given: Input, key: jax.Array) -> jax.Array:
    """Even environments keep the pole up, most of the odd ones' actions are random."""
    x, x_dot, angle, angle_dot = given.observation.T
    balancing = (0.1 * x + 0.3 * x_dot + 3 * angle + angle_dot > 0).astype(jnp.int32)
    chaos = jax.random.bernoulli(key, 0.8, (N,)) & (jnp.arange(N) % 2 == 1)
    return jnp.where(chaos, jax.random.randint(key, (N,), 0, 2), balancing)


@pytest.fixture(scope="module")
def ours() -> Transition:
    env, params = make("CartPole-v1")
    play = jax.jit(lambda key: rollout(env, balance_or_not, key, T, N, params), compiler_options=AS_USERS_DO)
    return jax.device_get(play(jax.random.key(0)))


@pytest.fixture(scope="module")
def theirs(ours: Transition) -> Transition:
    """gymnasium's answers to the same actions, each step from the state ours was in; its clock runs by itself."""
    env: Any = gymnasium.make("CartPole-v1", disable_env_checker=True)
    answers = []
    for environment in range(N):
        done = True
        for t in range(T):
            if done:
                env.reset(seed=0)
            env.unwrapped.state = ours.observation[t, environment].astype(np.float64)
            _, reward, terminated, truncated, _ = env.step(int(ours.action[t, environment]))
            answers.append((reward, terminated, truncated, *env.unwrapped.state))
            done = terminated or truncated
    columns = np.array(answers).reshape(N, T, 7).transpose(2, 1, 0)
    return ours._replace(
        reward=columns[0],
        terminated=columns[1] == 1,
        truncated=columns[2] == 1,
        next_observation=np.stack(list(columns[3:]), axis=-1),
    )


def step_from(motion: np.ndarray, action: int, params: CartPoleParams = PARAMS) -> tuple[np.ndarray, bool]:
    """`(observation, terminated)` after one step from a position, velocity, angle and angular velocity."""
    state = CartPoleState(jnp.asarray(motion, jnp.float32), time=jnp.int32(0))
    state, _, terminated = ENV.transition(state, jnp.int32(action), jnp.zeros(4, jnp.uint32), params)
    return np.asarray(ENV.observe(state)), bool(terminated)


def test_one_step_from_equal_states_differs_by_rounding_only(ours: Transition, theirs: Transition) -> None:
    assert ours.observation.dtype == ours.next_observation.dtype == np.float32
    np.testing.assert_allclose(ours.next_observation, theirs.next_observation, rtol=3e-7, atol=3e-7)


def test_rewards_and_ends_are_equal_over_50_000_steps(ours: Transition, theirs: Transition) -> None:
    assert ours.reward.size > 50_000
    np.testing.assert_array_equal(ours.reward, theirs.reward)
    np.testing.assert_array_equal(ours.terminated, theirs.terminated)
    np.testing.assert_array_equal(ours.truncated, theirs.truncated & ~theirs.terminated)
    assert ours.terminated.sum() > 200


def test_the_500th_step_truncates_and_does_not_terminate(ours: Transition) -> None:
    balanced = ours.truncated[:, ::2]
    np.testing.assert_array_equal(np.argwhere(balanced.all(axis=1))[:, 0], [499, 999])
    assert balanced.sum() == 2 * balanced.shape[1]
    assert not ours.terminated[:, ::2].any()


def test_the_equations_hold_for_other_parameters() -> None:
    """gymnasium's step with another planet, cart, pole, push and clock."""
    theirs: Any = gymnasium.make("CartPole-v1", disable_env_checker=True).unwrapped
    theirs.reset(seed=0)
    values = {"gravity": 3.7, "masscart": 0.7, "masspole": 0.3, "length": 0.8, "force_mag": 6.0, "tau": 0.05}
    for name, value in values.items():
        setattr(theirs, name, value)
    theirs.total_mass, theirs.polemass_length = 1.0, 0.3 * 0.8
    for seed, action in enumerate((0, 1) * 5):
        motion = np.random.default_rng(seed).uniform(-1, 1, 4).astype(np.float32)
        theirs.state = motion.astype(np.float64)
        theirs.steps_beyond_terminated = None
        theirs.step(action)
        after, _ = step_from(motion, action, PARAMS.replace(**values))
        np.testing.assert_allclose(after, theirs.state, rtol=1e-6, atol=1e-6)


def test_pushes_and_what_is_no_push() -> None:
    """From rest and upright, a push F of a cart under a pole: ẍ = F/m + m_p l F / (m² l (4/3 - m_p / m))."""
    x_acc = 10 / 1.1 * (1 + 0.1 / 1.1 / (4 / 3 - 0.1 / 1.1))
    for action, direction in ((0, -1), (1, 1), (2, 0), (-1, 0)):
        after, _ = step_from(np.zeros(4), action)
        theta_acc = -10 / 1.1 / (0.5 * (4 / 3 - 0.1 / 1.1))
        np.testing.assert_allclose(after, direction * 0.02 * np.array([0, x_acc, 0, theta_acc]), rtol=1e-6)


@pytest.mark.parametrize(("i", "threshold"), [(0, 2.4), (2, 12 * np.pi / 180)])
def test_an_episode_ends_beyond_the_thresholds_only(i: int, threshold: float) -> None:
    for side in (-1, 1):
        at = np.zeros(4, np.float32)
        at[i] = side * np.float32(threshold)
        assert not step_from(at, 0)[1]
        at[i] = np.nextafter(at[i], np.float32(side * np.inf))
        assert step_from(at, 0)[1]
        assert not step_from(at, 0, PARAMS.replace(x_threshold=3.0, theta_threshold_radians=1.0))[1]


def test_starts_are_uniform_and_independent() -> None:
    words = jax.random.bits(jax.random.key(0), (4, 100_000))
    starts = np.asarray(ENV.observe(ENV.initial(words, PARAMS)), np.float64)
    assert starts.shape == (100_000, 4)
    counts = np.stack([np.histogram(column, 20, (-0.05, 0.05))[0] for column in starts.T])
    assert counts.sum() == starts.size
    chi_squared = ((counts - 5000) ** 2 / 5000).sum(1)
    assert chi_squared.max() < 50  # 19 degrees of freedom: exceeded once in 10 000 times
    np.testing.assert_allclose(np.corrcoef(starts.T), np.eye(4), atol=0.015)
    for word, start in ((0, -0.05), (0x80000000, 0.0), (0xFFFFFFFF, 0.05)):
        observation = ENV.observe(ENV.initial(jnp.full(4, word, jnp.uint32), PARAMS))
        np.testing.assert_allclose(observation, start, rtol=0, atol=1e-8)


def test_every_bit_of_an_observation_survives_packing(ours: Transition) -> None:
    motion = ours.observation[:, 0].T
    state = CartPoleState(jnp.asarray(motion), time=jnp.zeros(T, jnp.int32))
    words = ENV.encode(state)
    assert (words.shape, words.dtype) == ((4, T), jnp.uint32)
    np.testing.assert_array_equal(ENV.decode(words.T), motion.T)


def test_the_gymnax_interface() -> None:
    """Batched by vmap it plays as alone, its wrappers take it, and its spaces are those of gymnax's cart-pole."""
    keys = jax.random.split(jax.random.key(0), 3)
    wrapped = LogWrapper(ENV)
    observations, states = jax.vmap(wrapped.reset, in_axes=(0, None))(keys, PARAMS)
    actions = jnp.arange(3) % 2
    stepped = jax.vmap(wrapped.step, in_axes=(0, 0, 0, None))(keys, states, actions, PARAMS)
    for i in range(3):
        observation, state = ENV.reset(keys[i], PARAMS)
        np.testing.assert_array_equal(observations[i], observation)
        observation, _, reward, terminated, truncated, info = ENV.step(keys[i], state, actions[i], PARAMS)
        np.testing.assert_allclose(stepped[0][i], observation, rtol=1e-6, atol=1e-7)
        np.testing.assert_array_equal(info["final_observation"], observation)
        assert (reward, terminated, truncated) == (1, False, False)
        assert stepped[-1]["returned_episode_lengths"][i] == 0
    theirs = GymnaxCartPole()
    ours, original = ENV.observation_space(PARAMS), theirs.observation_space(theirs.default_params)
    np.testing.assert_allclose(ours.high, original.high, rtol=1e-6)
    np.testing.assert_array_equal(ours.low, -ours.high)
    assert (ours.shape, ours.dtype) == (original.shape, original.dtype) == ((4,), jnp.float32)
    assert ENV.action_space(PARAMS).n == 2


def test_options_and_the_rules() -> None:
    assert describe_rules(*make("CartPole-v1")) == "default rules, 500-step cap"
    env, params = make("CartPole-v1", gravity=1.6, max_steps_in_episode=200)
    assert (params.gravity, params.max_steps_in_episode) == (1.6, 200)
    assert describe_rules(env, params) == "gravity 1.6, 200-step cap"
    for name in ("masscart", "masspole", "length", "force_mag", "tau", "x_threshold", "theta_threshold_radians"):
        with pytest.raises(ArgumentError, match=f"^{name} must be > 0, got 0$"):
            make("CartPole-v1", **{name: 0})
    with pytest.raises(ArgumentError, match=r"^gravity must be < inf, got inf$"):
        make("CartPole-v1", gravity=float("inf"))
    many = jax.vmap(lambda g: PARAMS.replace(gravity=g))(jnp.array([1.0, 2.0]))
    assert many.gravity.shape == (2,)
