"""What actions environments take, and how those of a box reach them."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnax.environments import spaces
from gymnax.environments.classic_control.pendulum import Pendulum

from jaxrl import Input, Transition, make, rollout, vectorize
from jaxrl.arguments import ArgumentError
from jaxrl.envs import action_space_of, num_discrete_actions
from jaxrl.training import evaluate
from jaxrl.types import Box, Discrete

T, N = 12, 3


def environment_with(space) -> SimpleNamespace:
    return SimpleNamespace(name="an environment", action_space=lambda params: space)


def test_action_spaces() -> None:
    assert action_space_of(*make("Breakout-MinAtar")) == Discrete(6)
    assert action_space_of(*make("Acrobot-v1")) == Discrete(3)
    env, params = make("Pendulum-v1")
    for torque in (2.0, 3.5):
        space = action_space_of(env, params.replace(max_torque=torque))
        assert isinstance(space, Box)
        np.testing.assert_array_equal(space, [[-torque], [torque]])
        assert space.low.dtype == space.high.dtype == np.float32
    box = spaces.Box(jnp.array([-1.0, -2.0]), 3, (2,))
    np.testing.assert_array_equal(action_space_of(environment_with(box), None), [[-1, -2], [3, 3]])


def test_an_environment_may_have_actions_of_jaxrl_s_own_kind() -> None:
    """They act as gymnax's do."""

    class Own:
        """It observes the last action."""

        def __init__(self, space: Box | Discrete) -> None:
            self.action_space = lambda params: space

        def reset(self, key, params):
            return jnp.zeros(1), jnp.int32(0)

        def step(self, key, state, action, params):
            seen = jnp.reshape(action, 1).astype(jnp.float32)
            return seen, state, seen[0], jnp.bool_(False), jnp.bool_(False), {"final_observation": seen}

    def check(space: Box | Discrete, action: jax.Array, acted: list[float]) -> None:
        assert type(action_space_of(Own(space), None)) is type(space)
        trajectory = rollout(Own(space), lambda given, key: action, jax.random.key(0), 1, 2)
        np.testing.assert_array_equal(trajectory.reward[0], acted)

    check(Box(np.float32([-1]), np.float32([2])), jnp.array([[0.5], [7.0]]), [0.5, 2])
    check(Discrete(3), jnp.array([1, 2]), [1, 2])


@pytest.mark.parametrize(
    "space",
    [
        Box(np.float32([-1]), np.float32([np.inf])),
        Box(np.zeros(2, np.float32), np.ones(3, np.float32)),
        Discrete(0),
        spaces.Box(-1, 1, ()),
        spaces.Box(-1, 1, (0,)),
        SimpleNamespace(n=2.5, shape=()),
        SimpleNamespace(n=2**31, shape=()),
        spaces.Box(-1, 1, (2, 2)),
        spaces.Box(-np.inf, 1, (2,)),
        spaces.Box(0, 5, (2,), jnp.int32),
        spaces.Dict({"left": spaces.Discrete(2)}),
        spaces.Tuple([spaces.Discrete(2), spaces.Discrete(2)]),
        SimpleNamespace(nvec=np.array([2, 2]), shape=(2,)),  # as gymnasium's MultiDiscrete
        SimpleNamespace(n=4, shape=(4,)),  # as gymnasium's MultiBinary
    ],
    ids=lambda space: repr(space)[:40],
)
def test_actions_of_other_kinds_are_refused(space) -> None:
    for ask in (action_space_of, num_discrete_actions):
        with pytest.raises(ArgumentError, match=r"^env must have discrete actions.*, got an environment with "):
            ask(environment_with(space), None)


class Echo(Pendulum):
    """A pendulum that rewards with the torque it is given."""

    def step_env(self, key, state, action, params):
        observation, state, _, terminated, info = super().step_env(key, state, action, params)
        return observation, state, action[0], terminated, info


def four_sines(given: Input, key: jax.Array) -> jax.Array:
    """Torques from -4 to 4."""
    return 4 * given.observation[:, 1:2]


@pytest.fixture(scope="module")
def echoed() -> Transition:
    env = Echo()
    params = env.default_params.replace(max_steps_in_episode=5)
    return jax.device_get(jax.jit(lambda key: rollout(env, four_sines, key, T, N, params))(jax.random.key(0)))


def test_an_environment_gets_actions_clipped_to_its_box(echoed: Transition) -> None:
    assert (echoed.action.shape, echoed.action.dtype) == ((T, N, 1), np.float32)
    assert (np.abs(echoed.action) > 2).any()
    assert (np.abs(echoed.action) < 2).any()
    np.testing.assert_array_equal(echoed.action, 4 * echoed.observation[..., 1:2])  # kept as they were given
    np.testing.assert_array_equal(echoed.reward, np.clip(echoed.action[..., 0], -2, 2))
    assert echoed.truncated.sum() == T // 5 * N


def test_an_evaluation_with_actions_of_a_box() -> None:
    env = Echo()
    environments = vectorize(env, env.default_params.replace(max_steps_in_episode=5), N)
    result = jax.jit(lambda key: evaluate(lambda given, key: jnp.full((N, 1), 7.0), environments, key, max_steps=9))(
        jax.random.key(0)
    )
    np.testing.assert_array_equal(result.episode_return, [10.0] * N)
    assert result.ended.all()


@pytest.mark.parametrize("name", ["Pendulum-v1", "MountainCarContinuous-v0"])
def test_gymnax_environments_with_a_box_of_actions_step(name: str) -> None:
    env, params = make(name)
    envs = vectorize(env, params, N)
    state = jax.eval_shape(envs.reset, jax.random.key(0))
    action = jax.ShapeDtypeStruct((N, 1), jnp.float32)
    after, transition, _ = jax.eval_shape(envs.step, state, action, jax.random.key(0))
    assert jax.tree.map(jnp.shape, after) == jax.tree.map(jnp.shape, state)
    assert (transition.action.shape, transition.reward.shape) == ((N, 1), (N,))
