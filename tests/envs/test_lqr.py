"""The linear-quadratic regulator against SciPy's Riccati solver, simulation, and numerical integration."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.linalg import solve_discrete_are

from jaxrl import make, vectorize
from jaxrl.arguments import ArgumentError
from jaxrl.envs import action_space_of
from jaxrl.envs.lqr import LQR

GAMMA = 0.8
TWO = LQR(
    dynamics=((0.9, 0.4, 0.0), (-0.2, 1.1, 0.1), (0.0, 0.3, 0.7)),
    control=((0.1, 0.0), (0.5, 0.2), (0.0, 0.4)),
    state_cost=((1.0, 0.2, 0.0), (0.2, 0.5, 0.0), (0.0, 0.0, 0.3)),
    action_cost=((0.3, 0.1), (0.1, 0.6)),
    max_action=3.0,
)
A, B, Q, R = (np.array(x) for x in (TWO.dynamics, TWO.control, TWO.state_cost, TWO.action_cost))


def test_the_optimum_is_scipy_s() -> None:
    found = TWO.optimum(GAMMA)
    cost = solve_discrete_are(GAMMA**0.5 * A, GAMMA**0.5 * B, Q, R)
    np.testing.assert_allclose(found.cost, cost, rtol=1e-9)
    h = R + GAMMA * B.T @ cost @ B
    np.testing.assert_allclose(found.gain, GAMMA * np.linalg.solve(h, B.T @ cost @ A), rtol=1e-9)
    assert found.constant == 0
    assert not found.covariance.any()
    whole = LQR(state_cost=((1, 0), (0, 2)), action_cost=((1,),))
    assert (
        whole.optimum(GAMMA).cost[0, 0]
        == LQR(state_cost=((1.0, 0.0), (0.0, 2.0)), action_cost=((1.0,),)).optimum(GAMMA).cost[0, 0]
    )


def test_the_soft_optimum_satisfies_the_soft_bellman_equation() -> None:
    """V(x) = α log ∫ exp(Q(x, u) / α) du, and the policy is exp((Q − V) / α), by integration on a grid of actions."""
    alpha, sigma = 0.3, 0.2
    optimum = TWO.optimum(GAMMA, alpha, sigma)
    axis = np.linspace(-8, 8, 401)
    u, area = np.stack(np.meshgrid(axis, axis), -1).reshape(-1, 2), (axis[1] - axis[0]) ** 2

    def value(x):
        return optimum.constant - np.einsum("...i,ij,...j", x, optimum.cost, x)

    for x in np.array([[0.0, 0.0, 0.0], [1.0, -2.0, 0.5]]):
        reward = -x @ Q @ x - np.einsum("ni,ij,nj->n", u, R, u)
        q = reward + GAMMA * (value(x @ A.T + u @ B.T) - sigma**2 * np.trace(optimum.cost))
        assert alpha * np.log(np.exp(q / alpha).sum() * area) == pytest.approx(value(x), rel=1e-6)
        weights = np.exp((q - value(x)) / alpha) * area
        mean = weights @ u
        np.testing.assert_allclose(mean, -optimum.gain @ x, atol=1e-6)
        np.testing.assert_allclose((weights[:, None] * (u - mean)).T @ (u - mean), optimum.covariance, atol=1e-6)


def test_many_step_like_one_and_actions_are_clipped() -> None:
    params = TWO.default_params.replace(max_steps_in_episode=4, noise=0.1)
    envs = vectorize(TWO, params, 3)
    state = envs.reset(jax.random.key(0))
    action = jnp.array([[0.5, -9.0], [9.0, 1.0], [0.0, 0.0]])
    x, clipped = np.asarray(state.env_states.x, np.float64), np.clip(np.asarray(action, np.float64), -3, 3)
    for t in range(1, 5):
        state, step, _ = envs.step(state, action, jax.random.key(t))
        whole = envs.decode(step)
        np.testing.assert_allclose(whole.observation, x.T, rtol=1e-6)
        cost = np.einsum("in,ij,jn->n", x, Q, x) + np.einsum("ni,ij,nj->n", clipped, R, clipped)
        np.testing.assert_allclose(step.reward, -cost, rtol=1e-5)
        noise = np.asarray(whole.next_observation).T - (A @ x + B @ clipped.T)
        assert 0 < abs(noise).max() <= 0.1 * 3**0.5 + 1e-5
        assert (bool(step.truncated.all()), bool(step.terminated.any())) == (t == 4, False)
        x = np.asarray(state.env_states.x, np.float64)
    assert abs(x).max() <= 1
    _, one, reward, _, _, info = TWO.step(
        jax.random.key(0), jax.tree.map(lambda x: x[..., 0], state.env_states), action[0]
    )
    np.testing.assert_allclose(info["final_observation"], A @ x[:, 0] + B @ clipped[0], rtol=1e-5)
    assert reward == pytest.approx(-(x[:, 0] @ Q @ x[:, 0] + clipped[0] @ R @ clipped[0]), rel=1e-5)
    assert one.time == 1


def test_the_noise_has_its_deviation() -> None:
    params = TWO.default_params.replace(noise=0.3, max_steps_in_episode=1)
    envs = vectorize(TWO, params, 20_000)
    state = envs.reset(jax.random.key(0))
    _, step, _ = envs.step(state, jnp.zeros((20_000, 2)), jax.random.key(1))
    noise = np.asarray(envs.decode(step).next_observation) - np.asarray(state.env_states.x).T @ A.T
    np.testing.assert_allclose(np.cov(noise.T), 0.09 * np.eye(3), atol=0.003)
    np.testing.assert_allclose(noise.mean(0), 0, atol=0.01)


def test_it_is_made_by_name_with_a_box_of_actions() -> None:
    env, params = make("LQR", noise=0.5, max_action=2.0)
    assert (env, params.noise) == (LQR(max_action=2.0), 0.5)
    low, high = action_space_of(env, params)  # type: ignore[misc]  # a Box
    assert (low.tolist(), high.tolist()) == ([-2.0], [2.0])
    space = env.action_space(params)
    assert (space.shape, float(space.high[0])) == ((1,), 2.0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dynamics": ((float("nan"), 0.0), (0.0, 1.0))}, "dynamics must be finite"),
        ({"dynamics": ((1.0,),)}, r"dynamics must be a matrix that fits control \(2, 1\)"),
        ({"state_cost": ((1.0, 0.0), (0.0, -1.0))}, "state_cost must be symmetric and positive semidefinite"),
        ({"action_cost": ((0.0,),)}, "action_cost must be symmetric and positive definite"),
        ({"action_cost": ((np.inf,),)}, "action_cost must be finite"),
        ({"max_action": float("inf")}, "max_action must be > 0 and finite"),
    ],
)
def test_bad_systems(options, message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        LQR(**options)


def test_bad_optima() -> None:
    with pytest.raises(ArgumentError, match="discount must be < 1"):
        LQR().optimum(1.0)
    with pytest.raises(ArgumentError, match="temperature must be >= 0"):
        LQR().optimum(0.9, temperature=-1.0)
    with pytest.raises(ArgumentError, match="discount must be a number"):
        LQR().optimum("a")
    with pytest.raises(ArgumentError, match="noise must be >= 0"):
        LQR().optimum(0.9, noise=-1.0)
    grows = LQR(dynamics=((2.0, 0.0), (0.0, 1.0)), control=((0.0,), (1.0,)))  # the first coordinate is out of control
    with np.errstate(all="ignore"), pytest.raises(ArgumentError, match="discount must be small enough"):
        grows.optimum(0.9)
