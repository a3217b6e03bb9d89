"""Robots: our own by the laws of mechanics, and those of brax beside brax's own steps."""

from types import SimpleNamespace
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl import make, vectorize
from jaxrl.arguments import ArgumentError
from jaxrl.envs import planar_hopper
from jaxrl.envs.planar_hopper import MASSES, PlanarHopper
from jaxrl.envs.robots import BOX_GEOM, CAPSULE, Robot, RobotParams, RobotState
from tests.compiling import quick_jit

HOPPER = PlanarHopper()
PARAMS = HOPPER.default_params


def energy(place: np.ndarray, speed: np.ndarray) -> float:
    """Kinetic and potential energy from the positions of the rods, by numerical derivatives along the motion."""

    def centres(place):
        sin, cos = np.sin(place[2:]), np.cos(place[2:])
        relative = planar_hopper._CENTRES
        return place[:2] + np.stack([relative @ sin, -relative @ cos], 1)

    h = 1e-6
    velocity = (centres(place + h * speed) - centres(place - h * speed)) / (2 * h)
    kinetic = 0.5 * (MASSES * (velocity**2).sum(1)).sum() + 0.5 * (planar_hopper.INERTIAS * speed[2:] ** 2).sum()
    return kinetic + 9.81 * (MASSES * centres(place)[:, 1]).sum()


def test_in_the_air_energy_and_momentum_are_conserved(monkeypatch) -> None:
    """Without motors and friction in the joints; the error of the energy shrinks with the step."""
    monkeypatch.setattr(planar_hopper, "JOINT_DAMPING", 0.0)
    monkeypatch.setattr(planar_hopper, "JOINT_STIFFNESS", 0.0)
    place = jnp.array([0.0, 50.0, 0.3, 1.0, -0.7, 2.0])
    speed = jnp.array([1.0, 0.5, 2.0, -3.0, 4.0, -1.0])

    def drift(step: float) -> tuple[float, np.ndarray, np.ndarray]:
        def body(_, motion):
            place, speed = motion
            speed = speed + step * planar_hopper.accelerations(place, speed, jnp.zeros(3), 9.81)
            return place + step * speed, speed

        ended = quick_jit(lambda: jax.lax.fori_loop(0, round(0.2 / step), body, (place, speed)))()
        after = [np.asarray(x, np.float64) for x in ended]
        start = energy(np.asarray(place, np.float64), np.asarray(speed, np.float64))
        return energy(*after) - start, after[0], after[1]

    coarse, fine = drift(2e-3), drift(5e-4)
    assert abs(fine[0]) < 0.5
    assert abs(fine[0]) < abs(coarse[0]) / 3
    np.testing.assert_allclose(fine[2][:2], [1, 0.5 - 9.81 * 0.2], rtol=1e-4)
    np.testing.assert_allclose(fine[1][0], 0.2, rtol=1e-4)


def test_the_ground_changes_the_energy_by_its_power(monkeypatch) -> None:
    """Force times velocity of toe and heel, both in the ground."""
    monkeypatch.setattr(planar_hopper, "JOINT_DAMPING", 0.0)
    monkeypatch.setattr(planar_hopper, "JOINT_STIFFNESS", 0.0)
    place, speed = np.array([0.0, 0.0, 0.3, 0.5, -0.5, 1.4]), np.array([0.4, -0.3, 1.0, -0.5, 0.7, 0.9])
    place[1] -= min(float(x[1]) for x in planar_hopper.points(jnp.asarray(place))) + 0.06
    change = planar_hopper.accelerations(jnp.float32(place), jnp.float32(speed), jnp.zeros(3), 9.81)
    change = np.asarray(change, np.float64)  # type: ignore[assignment]
    h, power, touching = 1e-5, 0.0, 0
    rate = (energy(place + h * speed, speed + h * change) - energy(place - h * speed, speed - h * change)) / (2 * h)
    for b in planar_hopper._POINTS[list(planar_hopper._CONTACTS)]:
        forward, up = speed[0] + (b * np.cos(place[2:])) @ speed[2:], speed[1] + (b * np.sin(place[2:])) @ speed[2:]
        height = place[1] - b @ np.cos(place[2:])
        touching += height < 0
        x, y = planar_hopper.ground_force(jnp.float32(height), jnp.float32(forward), jnp.float32(up))
        power += float(x * forward + y * up)
    assert touching == 2
    assert rate == pytest.approx(power, rel=1e-3)


def test_equations_are_solved() -> None:
    rng = np.random.default_rng(0)
    half = rng.normal(size=(5, 4, 4))
    matrices = half @ half.swapaxes(1, 2) + np.eye(4)
    vectors = rng.normal(size=(5, 4))
    found = planar_hopper.solve(jnp.asarray(np.moveaxis(matrices, 0, -1)), jnp.asarray(vectors.T))
    np.testing.assert_allclose(found.T, np.linalg.solve(matrices, vectors[..., None])[..., 0], rtol=1e-4, atol=1e-5)


def test_forces_and_torques_by_hand() -> None:
    """The ground pushes only upwards, and friction at most 0.9 times as hard, against the motion."""
    height, forward, up = (
        jnp.array([0.01, -0.01, -0.01, -0.001]),
        jnp.array([1.0, 0.1, -9.0, 0.0]),
        jnp.array([0, 0, 0, 9.0]),
    )
    x, y = planar_hopper.ground_force(height, forward, up)
    np.testing.assert_allclose(y, [0, 60, 60, 0], rtol=1e-5)
    np.testing.assert_allclose(x, [0, -10, 54, 0], rtol=1e-5)
    torques = planar_hopper.motor_torques(jnp.array([0.0, 0.5, -0.5, 1.5]), jnp.zeros(4), jnp.array([1.0, 0.5, -1.0]))
    np.testing.assert_allclose(torques, [-60, 60 - 30, 30 + 40, -40], rtol=1e-5)


@pytest.fixture(scope="module")
def played():
    """Four lanes of our hopper for 60 steps, the second of which fails in step 3."""
    envs = vectorize(HOPPER, PARAMS.replace(max_steps_in_episode=40), 4)
    state = envs.reset(jax.random.key(0))
    step, record = quick_jit(envs.step), []
    for t in range(60):
        if t == 3:
            state = state._replace(
                env_states=state.env_states._replace(speed=state.env_states.speed.at[0, 1].set(jnp.nan))
            )
        actions = jax.random.uniform(jax.random.key(t), (4, 3), minval=-0.3, maxval=0.3)
        state, transition, metrics = step(state, actions, jax.random.key(100 + t))
        record.append((transition, metrics, state.env_states))
    return record


def test_a_lane_that_fails_restarts_alone_and_is_counted(played) -> None:
    counts = np.array([float(metrics["failures"].sum) for _, metrics, _ in played])
    assert counts.tolist() == [0, 0, 0, 1] + [0] * 56
    transition, metrics, states = played[3]
    assert metrics["failures"].count == 4
    assert (transition.truncated.tolist(), transition.terminated.any()) == ([False, True, False, False], False)
    assert transition.reward[1] == 0
    assert int(states.time[1]) == 0
    assert all(np.isfinite(x).all() for _, _, states in played[3:] for x in states)
    assert all(np.isfinite(x.reward).all() for x, _, _ in played)


def test_the_reward_is_speed_and_a_fall_ends(played) -> None:
    before = played[10][2]
    action = jnp.zeros((3, 4))
    after, reward, fallen = HOPPER.transition(before, action, jnp.zeros((12, 4), jnp.uint32), PARAMS)
    forward = (after.place[0] - before.place[0]) / 0.02
    np.testing.assert_allclose(reward, forward + jnp.where(fallen, 0, 0.5), atol=1e-4)
    leaning = before._replace(place=before.place.at[2].set(jnp.array([0.0, 1.3, -1.3, 0.0])))
    _, reward, fallen = HOPPER.transition(leaning, action, jnp.zeros((12, 4), jnp.uint32), PARAMS)
    assert fallen.tolist()[1:3] == [True, True]
    starts = {tuple(np.asarray(states.place[:, i])) for _, _, states in played for i in range(4) if states.time[i] == 0}
    assert len(starts) >= 4


def test_what_the_hopper_observes_and_what_actions_cost(played) -> None:
    state = jax.tree.map(lambda x: x[..., 0], played[10][2])
    (_, height, *angles), (forward, up, *turns) = np.asarray(state.place), np.asarray(state.speed)
    expected = [height, angles[0], *np.diff(angles), forward, up, turns[0], *np.diff(turns)]
    np.testing.assert_allclose(HOPPER.observe(state), expected, rtol=1e-5)
    rewards = []
    for params in (PARAMS, PARAMS.replace(action_cost=0.0)):
        action = jnp.array([0.1, -0.2, 0.3])
        rewards.append(HOPPER.transition(state, action, jnp.zeros(12, jnp.uint32), params)[1])
    np.testing.assert_allclose(rewards[0] - rewards[1], -0.05 * 0.14, rtol=1e-2)


def test_the_skeleton_is_as_long_as_its_rods(played) -> None:
    rods = HOPPER.skeleton(played[5][2])
    lengths = jnp.sqrt(jnp.square(rods[:, 1] - rods[:, 0]).sum(1))
    np.testing.assert_allclose(lengths, np.broadcast_to(planar_hopper.LENGTHS[:, None], (4, 4)), rtol=1e-4)


def test_the_rods_of_a_foreign_robot_are_where_its_bodies_are() -> None:
    """Brax's and Playground's: a capsule, a box along its longest axis, and a ball on its side; the floor is none."""
    half = float(np.sqrt(0.5))
    model = SimpleNamespace(
        ngeom=4,
        geom_bodyid=[0, 1, 1, 2],
        geom_type=[0, CAPSULE, BOX_GEOM, 2],
        geom_size=np.array([[9.0, 9, 9], [0.1, 0.5, 0], [0.3, 2, 0.4], [0.6, 0, 0]]),
        geom_pos=np.array([[0.0, 0, 0], [0, 0, 1], [0, 0, 0], [1, 0, 0]]),
        geom_quat=np.array([[1.0, 0, 0, 0], [1, 0, 0, 0], [1, 0, 0, 0], [half, 0, half, 0]]),
    )
    place = jnp.array([[5.0, 0, 2], [0, 0, 0]])
    turn = jnp.array([[half, 0, half, 0], [1.0, 0, 0, 0]])  # the first body by a quarter about y: up is forward
    expected = np.array([
        [[5.5, 0, 2], [6.5, 0, 2]],
        [[5, -2, 2], [5, 2, 2]],
        [[0.7, 0, 0], [1.3, 0, 0]],
    ])  # fmt: skip
    with_brax = SimpleNamespace(pipeline_state=SimpleNamespace(x=SimpleNamespace(pos=place, rot=turn)))
    floor = jnp.zeros((1, 3)), jnp.array([[1.0, 0, 0, 0]])
    data = SimpleNamespace(xpos=jnp.concatenate([floor[0], place]), xquat=jnp.concatenate([floor[1], turn]))
    for physics, state in (
        (SimpleNamespace(sys=SimpleNamespace(mj_model=model)), with_brax),
        (SimpleNamespace(mj_model=model), SimpleNamespace(data=data)),
    ):
        found = Robot("robot", physics).skeleton(RobotState(state, jnp.int32(0)))
        side = np.stack([expected[..., 0] + 0.4 * expected[..., 1], expected[..., 2] + 0.3 * expected[..., 1]], -1)
        np.testing.assert_allclose(found, side, atol=1e-5)


def test_the_pose_of_playgrounds_robots_has_targets_too() -> None:
    pose = {"qpos": jnp.arange(3.0), "mocap_pos": jnp.ones((1, 3)), "mocap_quat": jnp.ones((1, 4))}
    state = RobotState(SimpleNamespace(data=SimpleNamespace(**pose)), jnp.int32(0))
    found = Robot("playground:Reacher", SimpleNamespace()).pose(state)
    jax.tree.map(np.testing.assert_array_equal, found, pose)


class FragileState(NamedTuple):
    pipeline_state: jax.Array
    obs: jax.Array
    reward: jax.Array
    done: jax.Array


class Fragile:
    """A robot with brax's interface, whose number grows by the action, and is NaN beyond 2."""

    action_size = 1

    def state(self, x):
        return FragileState(x, x[None], jnp.float32(1), jnp.float32(x < 0))

    def reset(self, key):
        return self.state(jax.random.uniform(key))

    def step(self, state, action):
        x = state.pipeline_state + action[0]
        return self.state(jnp.where(x > 2, jnp.nan, x))


def test_episodes_of_a_foreign_robot() -> None:
    """Its ends, true last observations, and fresh starts; a lane that fails is truncated where it was."""
    env = Robot("brax:fragile", Fragile())
    envs = vectorize(env, RobotParams(max_steps_in_episode=3), 4)
    state, step = envs.reset(jax.random.key(0)), quick_jit(envs.step)
    actions = jnp.array([[0.1], [1.0], [-1.0], [0.0]])
    starts = [np.asarray(state.observation[:, 0])]
    for t in range(3):
        before = state.observation
        state, transition, metrics = step(state, actions, jax.random.key(t))
        fails = np.asarray(before[:, 0] + actions[:, 0] > 2)
        assert float(metrics["failures"].sum) == fails.sum()
        assert transition.terminated.tolist() == [False, False, True, False]
        assert transition.truncated.tolist() == [t == 2, bool(fails[1]), False, t == 2]
        expected = np.where(fails, before[:, 0], before[:, 0] + actions[:, 0])
        np.testing.assert_allclose(transition.next_observation[:, 0], expected, rtol=1e-6)
        np.testing.assert_array_equal(transition.reward, np.where(fails, 0, 1))
        starts.append(np.asarray(state.observation[:, 0]))
    assert len({*starts[0], *(x[2] for x in starts[1:]), *starts[3]}) == 4 + 3 + 2
    assert np.isfinite(np.stack(starts)).all()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of brax, mjx and jaxopt
@pytest.mark.parametrize("name", ["inverted_pendulum", "hopper", "ant"])
def test_brax_steps_as_brax_does(name: str) -> None:
    """1,000 steps, across the ends of episodes."""
    pytest.importorskip("brax", reason="brax is not installed: pip install 'jaxrl[robots]'")
    env, params = make(f"brax:{name}", max_steps_in_episode=100)
    step, theirs, reset = jax.jit(env.step), jax.jit(env.physics.step), jax.jit(env.physics.reset)
    observation, state = jax.jit(env.reset)(jax.random.key(0), params)
    own, starts = reset(jax.random.key(0)), []
    np.testing.assert_array_equal(observation, own.obs)
    for t in range(1000):
        key, action = jax.random.key(t), jax.random.uniform(jax.random.key(t), (env.num_actions,), minval=-1)
        own = theirs(own, action)
        observation, state, reward, terminated, truncated, info = step(key, state, action, params)
        np.testing.assert_allclose(info["final_observation"], own.obs, rtol=1e-4, atol=1e-4)
        assert float(reward) == pytest.approx(float(own.reward), rel=1e-4, abs=1e-4)
        assert bool(terminated) == bool(own.done)
        own = state.physics  # so that rounding does not add up
        if terminated or truncated:
            np.testing.assert_allclose(observation, reset(key).obs, rtol=1e-5, atol=1e-5)
            starts.append(tuple(np.asarray(observation)))
    assert len(starts) >= 9
    assert len(set(starts)) == len(starts)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of brax, mjx and jaxopt
def test_a_robot_is_seen_from_as_near_however_far_it_went_sideways() -> None:
    pytest.importorskip("brax", reason="brax is not installed: pip install 'jaxrl[robots]'")
    env, _ = make("brax:ant")
    places = jax.random.normal(jax.random.key(0), (env.physics.sys.mj_model.nbody - 1, 3))
    turns = jnp.tile(jnp.array([1.0, 0.0, 0.0, 0.0]), (len(places), 1))

    def seen(moved: list[float]) -> jax.Array:
        bodies = SimpleNamespace(pos=places + jnp.array(moved), rot=turns)
        return env.skeleton(RobotState(SimpleNamespace(pipeline_state=SimpleNamespace(x=bodies)), jnp.int32(0)))

    here = seen([0.0, 0.0, 0.0])
    np.testing.assert_allclose(seen([0.0, 50.0, 0.0]), here, atol=1e-4)
    np.testing.assert_allclose(seen([2.0, 0.0, 1.0]), here + jnp.array([2.0, 1.0]), atol=1e-5)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_names_that_are_no_robots() -> None:
    pytest.importorskip("brax", reason="brax is not installed: pip install 'jaxrl[robots]'")
    with pytest.raises(
        ArgumentError, match=r"must be a robot that brax knows \(the nearest is brax:hopper\), got 'brax:hoper'"
    ):
        make("brax:hoper")
    with pytest.raises(ArgumentError, match="nosuch is not an option of brax:inverted_pendulum, got 3"):
        make("brax:inverted_pendulum", nosuch=3)


@pytest.mark.parametrize(("name", "module"), [("brax:hopper", "brax"), ("playground:CheetahRun", "mujoco_playground")])
def test_without_the_extra_the_command_that_installs_it_is_named(monkeypatch, name: str, module: str) -> None:
    monkeypatch.setitem(__import__("sys").modules, module, None)
    with pytest.raises(
        ArgumentError, match=r"env_id needs the robots of .* \(pip install 'jaxrl\[robots\]'( playground)?\), got"
    ):
        make(name)
