"""Planning, by hand, against NumPy, and against its own error bound."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrl
from jaxrl import MDP, make, planning
from jaxrl.arguments import ArgumentError
from jaxrl.envs.grid_world import GridWorldParams, grid_mdp
from jaxrl.envs.maps import Grid

METHODS = (planning.q_value_iteration, planning.value_iteration, planning.policy_iteration)


tables = jax.jit(grid_mdp)
"""One program for all maps of one size. Most tests use tables of 16 states and 4 actions in float64."""


@pytest.fixture(autouse=True)
def double():
    with jax.enable_x64(True):
        yield


@pytest.fixture(params=[False, True], ids=["float32", "float64"])
def precision(request):
    with jax.enable_x64(request.param):
        yield request.param


def table(transition, reward, discount, initial=None) -> MDP:
    reward = jnp.asarray(reward, float)
    states = len(reward)
    initial = jnp.ones(states) / states if initial is None else jnp.asarray(initial, float)
    transition = jnp.asarray(transition, float)
    return MDP(transition, reward, jnp.asarray(discount, float), jnp.zeros(states, bool), initial)


def random_mdps(number: int, discount: float, states: int = 16, actions: int = 4) -> MDP:
    """Independent random problems in which every transition is possible."""
    rng = np.random.default_rng(number)
    transition = rng.dirichlet(np.full(states, 0.3), (number, states, actions))
    reward = 10 * rng.normal(size=(number, states, actions))
    each = [table(transition[i], reward[i], discount) for i in range(number)]
    return jax.tree.map(lambda *x: jnp.asarray(np.stack(x)), *each)


def one(batch, i: int):
    return jax.tree.map(lambda x: x[i], batch)


def backup(mdp: MDP, values: np.ndarray) -> np.ndarray:
    """T of one problem or many in NumPy, in extended precision if the machine has it."""
    transition, reward, discount = (np.asarray(x, np.longdouble) for x in mdp[:3])
    return reward + discount[..., None, None] * (transition @ values[..., None, :, None])[..., 0]


def optimal_q(mdp: MDP) -> np.ndarray:
    """Policy iteration in NumPy. The equations are solved in double precision and refined in extended precision."""
    q = np.asarray(mdp.reward, np.longdouble)
    states = np.arange(q.shape[-2])
    for _ in range(100):
        greedy = q.argmax(-1)[..., None]
        transition = np.take_along_axis(np.asarray(mdp.transition), greedy[..., None], -2)[..., 0, :]
        identity = states[:, None] == states
        matrix = identity - np.asarray(mdp.discount, np.longdouble)[..., None, None] * transition
        values = np.zeros(q.shape[:-1], np.longdouble)
        for _ in range(4):
            residual = np.take_along_axis(backup(mdp, values), greedy, -1)[..., 0] - values
            values += np.linalg.solve(matrix.astype(float), residual.astype(float)[..., None])[..., 0]
        before, q = q, backup(mdp, values)
        if abs(q - before).max() <= 1e-16 * abs(q).max():
            break
    assert abs(q - backup(mdp, q.max(-1))).max() <= 1e-16 * abs(q).max()
    return q


def error(plan: planning.Plan, mdp: MDP) -> np.ndarray:
    """The distance of a plan, or of each of `[N]` plans, from Q*."""
    return abs(np.asarray(plan.q_values) - optimal_q(mdp)).max((-2, -1)).astype(float)


def environment(map: str = "lecture", slip_probability: float = 0.0, discount: float = 0.99) -> MDP:
    env, params = make("GridWorld", map=map, slip_probability=slip_probability)
    return tables(env.grid, params.replace(discount=discount))


MAZE = "...#\n.#..\n...#\n#..G"
STAY_OR_GO = [[[1, 0], [0, 1]], [[0, 1], [1, 0]]]
"""Two states; action 0 stays, action 1 goes to the other one."""


@pytest.mark.parametrize("method", METHODS)
def test_two_states_by_hand(method) -> None:
    """Staying in the second state earns 2, so V* is 2 / (1 - γ) = 4 there, and 0 + γ 4 = 2 in the first."""
    plan = method(table(STAY_OR_GO, [[0.5, 0], [2, 0]], 0.5))
    np.testing.assert_allclose(plan.q_values, [[1.5, 2], [4, 1]], atol=1.1e-5)
    np.testing.assert_allclose(plan.values, [2, 4], atol=1.1e-5)
    assert plan.policy.tolist() == [[0, 1], [1, 0]]
    assert plan.error_bound < 1e-5


def test_iterates_by_hand() -> None:
    mdp = table(STAY_OR_GO, [[0.5, 0], [2, 0]], 0.5)
    first, second, third = ([[0.5, 0], [2, 0]], [[0.75, 1], [3, 0.25]], [[1, 1.5], [3.5, 0.5]])
    for iterations, q in enumerate((first, second, third), 1):
        plan = planning.q_value_iteration(mdp, max_iterations=iterations)
        np.testing.assert_array_equal(plan.q_values, q)
        assert plan.iterations == iterations
    # The last step went 0.5 far (3 to 3.5), and γ / (1 - γ) is 1.
    np.testing.assert_allclose(plan.error_bound, 0.5, rtol=1e-4)
    # From Q_0 = third, one more step: max is (1.5, 3.5).
    plan = planning.q_value_iteration(mdp, max_iterations=1, initial_q=jnp.array(third))
    np.testing.assert_array_equal(plan.q_values, [[1.25, 1.75], [3.75, 0.75]])
    plan = planning.value_iteration(mdp, max_iterations=1, initial_values=jnp.array([1.5, 3.5]))
    np.testing.assert_array_equal(plan.q_values, [[0.5 + 1.75 / 2, 3.75 / 2], [2 + 3.75 / 2, 1.75 / 2]])


def test_the_lectures_values() -> None:
    """With γ = 1: minus the moves to the nearer corner."""
    distances = [0, 1, 2, 3, 1, 2, 3, 2, 2, 3, 2, 1, 3, 2, 1, 0]
    for method in METHODS:
        plan = method(environment(discount=1.0))
        np.testing.assert_allclose(plan.values, np.negative(distances), rtol=1e-6)
        assert plan.error_bound == np.inf
        assert plan.iterations <= 6
    policy = planning.q_value_iteration(environment(discount=1.0)).policy
    assert policy[3].tolist() == [0, 0.5, 0, 0.5]  # from the upper right corner, left or down
    # From a random Q too: the value of an episode that is over stays zero.
    start = np.random.default_rng(0).normal(size=(16, 4)) - 20
    plan = planning.q_value_iteration(environment(discount=1.0), initial_q=start)
    np.testing.assert_array_equal(plan.values, np.negative(distances))


@pytest.mark.parametrize("method", METHODS)
def test_random_problems(method) -> None:
    """Each problem of a batch has its own result and bound."""
    mdps = random_mdps(4, 0.99)
    plans = jax.vmap(method)(mdps)
    assert plans.error_bound.max() <= 1e-5
    assert (error(plans, mdps) <= plans.error_bound).all()
    if method is not planning.policy_iteration:
        assert len(set(plans.iterations.tolist())) > 1
    for i in range(4):
        alone = method(one(mdps, i))
        assert plans.iterations[i] == alone.iterations
        np.testing.assert_allclose(plans.q_values[i], alone.q_values, rtol=1e-12)
        np.testing.assert_allclose(plans.error_bound[i], alone.error_bound, rtol=0.2)


@pytest.mark.parametrize("method", METHODS[:2])
def test_the_bound_holds_at_every_iteration(precision: bool, method) -> None:
    iterate = jax.jit(jax.vmap(method, (None, None, 0)))
    for discount in (0.3, 0.9, 0.999):
        mdp = one(random_mdps(3, discount), 1)
        plans = iterate(mdp, 1e-30, jnp.arange(1, 400, 3))
        assert (error(plans, mdp) <= plans.error_bound).all()
        assert plans.error_bound[-1] < plans.error_bound[0]


def test_a_tolerance_beyond_the_precision_ends_and_is_not_certified(precision: bool) -> None:
    plan = planning.q_value_iteration(environment(MAZE, 0.1), tolerance=1e-30)
    assert plan.iterations < 5000
    assert 1e-30 < plan.error_bound < (1e-10 if precision else 5e-3)
    assert plan.q_values.dtype == (jnp.float64 if precision else jnp.float32)
    # What float32's roundings do with such a discount, nothing bounds.
    near_one = planning.q_value_iteration(environment(MAZE, discount=1 - 1e-7))
    assert np.isfinite(near_one.error_bound) == precision


def test_a_backup_is_a_contraction() -> None:
    mdps = random_mdps(4, 0.9)
    q = 20 * np.random.default_rng(1).normal(size=(2, 4, 16, 4))
    after = jax.jit(jax.vmap(jax.vmap(planning.bellman_backup), (None, 0)))(mdps, q.max(-1))
    far, near = (abs(x[0] - x[1]).max((1, 2)) for x in (q, after))
    assert (near <= 0.9 * far + 1e-12).all()
    np.testing.assert_allclose(after[0], backup(mdps, q[0].max(-1)).astype(float), rtol=1e-12)


def test_methods_agree_and_evaluation_of_the_best_is_the_best() -> None:
    mdp = environment("S...\n....\n....\nSCCG\nC = -9", slip_probability=2 / 3, discount=0.95)
    plans = [method(mdp, 1e-9) for method in METHODS[:2]] + [planning.policy_iteration(mdp)]
    assert 2 < plans[2].iterations < 12
    plans.append(planning.policy_iteration(mdp, initial_policy=plans[0].policy))
    assert plans[3].iterations <= 2  # the best policy, and one that is no better
    for plan in plans:
        assert plan.error_bound <= 1e-9
        np.testing.assert_allclose(plan.q_values, optimal_q(mdp).astype(float), atol=1e-9)
        np.testing.assert_allclose(planning.policy_evaluation(mdp, plan.policy), plan.values, atol=1e-8)
    best = planning.expected_return(mdp, plans[0].policy)
    np.testing.assert_allclose(best, (mdp.initial * plans[0].values).sum(), atol=1e-8)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("huge", [-1e8, 1e30])
def test_small_values_are_right_beside_huge_ones(method, huge: float) -> None:
    """In float32 the sum of all values cannot distinguish a chain worth 1 from 0 beside a state worth -1e8."""
    transition, reward = np.zeros((16, 4, 16)), np.zeros((16, 4))
    for state in range(16):
        transition[state, :, state] = 1
    for state in range(5):
        transition[state, 1, [state, state + 1]] = 0, 1
        reward[state, 0] = 1e-3  # to stay is worth 0.1
    reward[5], reward[6], transition[6] = 0.01, huge, transition[7]  # which is worth that from the first step on
    with jax.enable_x64(False):
        plan = method(table(transition, reward, 0.99))
    assert plan.q_values.dtype == jnp.float32
    np.testing.assert_allclose(plan.values[:7], [*0.99 ** np.arange(5, -1, -1), huge], rtol=2e-5)
    assert plan.policy[:5].tolist() == [[0, 1, 0, 0]] * 5


def test_ties_share_and_stop_policy_iteration() -> None:
    mdp = table(np.full((2, 2, 2), 1 / 2), np.ones((2, 2)), 0.9)  # all policies are the same
    plan = planning.policy_iteration(mdp)
    assert plan.iterations <= 2
    np.testing.assert_allclose(plan.q_values, 10.0, rtol=1e-5)


def test_policies_by_hand() -> None:
    mdp = table(STAY_OR_GO, [[0, 1], [2, 0]], 0.5, initial=[0.25, 0.75])
    go_then_stay, half = jnp.array([[0.0, 1], [1, 0]]), jnp.full((2, 2), 0.5)
    # V(1) = 2 + V(1) / 2 and V(0) = 1 + V(1) / 2; at random, V(0) = 1/2 + m and V(1) = 1 + m, m = (V(0) + V(1)) / 4.
    values = jax.vmap(planning.policy_evaluation, (None, 0))(mdp, jnp.stack([go_then_stay, half]))
    np.testing.assert_allclose(values, [[3, 4], [1.25, 1.75]], rtol=1e-6)
    np.testing.assert_allclose(planning.expected_return(mdp, go_then_stay), 0.75 + 3, rtol=1e-6)


def test_the_random_policys_values_are_figure_4_1s() -> None:
    values = planning.policy_evaluation(environment(discount=1.0), jnp.full((16, 4), 0.25))
    expected = [0, -14, -20, -22, -14, -18, -20, -20, -20, -20, -18, -14, -22, -20, -14, 0]
    np.testing.assert_allclose(values, expected, rtol=1e-4)


@pytest.mark.parametrize("slip_probability", [0.0, 0.1])
def test_without_discount_a_policy_that_never_ends_has_no_value(slip_probability: float) -> None:
    right = jnp.zeros((16, 4)).at[:, 0].set(1.0)  # ends up at a wall
    rooms = [environment(MAZE, slip_probability, discount) for discount in (1.0, 0.9)]
    if slip_probability == 0:
        assert np.isnan(planning.policy_evaluation(rooms[0], right)).all()
        assert np.isnan(planning.expected_return(rooms[0], right))
    assert np.isfinite(planning.policy_evaluation(rooms[1], right)).all()
    random = jnp.full((16, 4), 0.25)
    assert np.isfinite(planning.policy_evaluation(rooms[0], random)).all()  # walls are no policy's loops
    # Rounded probabilities, such as a softmax has, which do not add up to one.
    thirds = jax.nn.softmax(jnp.zeros((2, 3)))
    loop = table(np.full((2, 3, 2), [0.9, 0.1]), -np.ones((2, 3)), 1.0)
    assert np.isnan(planning.policy_evaluation(loop, thirds)).all()


def test_the_exact_policy_gradient() -> None:
    """One state with two actions and a reward each: ∂J/∂θ of a softmax by hand, γ = 0.5."""

    @jax.jit
    @jax.value_and_grad
    def value(theta, mdp: MDP):
        return planning.expected_return(mdp, jax.nn.softmax(theta))

    _, gradient = value(np.zeros((1, 2)), table([[[1], [1]]], [[1, 3]], 0.5))
    np.testing.assert_allclose(gradient, [[-1, 1]], rtol=1e-6)  # J = 2 Σ π r, ∂J/∂θ_a = 2 π_a (r_a - Σ π r)

    mdp = one(random_mdps(1, 0.9), 0)
    theta = np.random.default_rng(0).normal(size=(16, 4))
    gradient = value(theta, mdp)[1]
    for i in range(16):
        step = np.zeros((16, 4))
        step[i, i % 4] = 1e-5
        slope = (value(theta + step, mdp)[0] - value(theta - step, mdp)[0]) / 2e-5
        np.testing.assert_allclose(gradient[i, i % 4], slope, rtol=1e-5, atol=1e-7)


def random_grids(number: int) -> Grid:
    """Maps of 7 × 7: 15 % walls, three goals, and walls instead of cells from which no goal can be reached."""
    height = np.random.default_rng(0).uniform(size=(number, 7, 7))
    wall, goal = height < 0.15, height >= np.sort(height.reshape(number, -1))[:, -3, None, None]
    reached = goal
    for _ in range(49):
        edged = np.pad(reached, ((0, 0), (1, 1), (1, 1)))
        beside = edged[:, 1:-1, 2:] | edged[:, 1:-1, :-2] | edged[:, 2:, 1:-1] | edged[:, :-2, 1:-1]
        reached = reached | (beside & ~wall)
    return Grid(wall=~reached, terminal=goal, cliff=np.zeros_like(goal), start=reached & ~goal)


def test_many_maps_in_one_call() -> None:
    params = GridWorldParams(reward=-np.ones((7, 7)), slip_probability=0.1)

    def solve(grid: Grid) -> tuple[MDP, planning.Plan]:
        mdp = grid_mdp(grid, params)
        return mdp, planning.value_iteration(mdp)

    mdps, plans = jax.jit(lambda grids: jax.lax.map(solve, grids))(random_grids(64))
    assert len(set(plans.iterations.tolist())) > 1
    assert plans.error_bound.max() <= 1e-5
    assert (error(plans, mdps) <= plans.error_bound).all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda mdp: planning.q_value_iteration(mdp, -1), "tolerance must be > 0, got -1"),
        (lambda mdp: planning.value_iteration(mdp, float("nan")), "tolerance must be > 0, got nan"),
        (lambda mdp: planning.value_iteration(mdp, 1, 0), "max_iterations must be >= 1, got 0"),
        (lambda mdp: planning.policy_iteration(mdp, 0), "max_iterations must be >= 1, got 0"),
        (
            lambda mdp: planning.q_value_iteration(mdp, initial_q=jnp.zeros(2)),
            "initial_q must be of shape [S, A], here (2, 2), got (2,)",
        ),
        (
            lambda mdp: planning.value_iteration(mdp, initial_values=jnp.zeros((2, 2))),
            "initial_values must be of shape [S], here (2,), got (2, 2)",
        ),
        (
            lambda mdp: planning.policy_evaluation(mdp, jnp.zeros((3, 2))),
            "policy must be of shape [S, A], here (2, 2), got (3, 2)",
        ),
        (
            lambda mdp: planning.policy_iteration(mdp._replace(transition=jnp.zeros((2, 2)))),
            "mdp.transition must be of shape [S, A, S], here (2, 2, 2), got (2, 2)",
        ),
        (
            lambda mdp: planning.q_value_iteration(mdp._replace(reward=jnp.zeros(2))),
            "mdp.reward must be of shape [S, A], got (2,)",
        ),
    ],
)
def test_bad_input(call, message: str) -> None:
    with pytest.raises(ArgumentError, match=re.escape(message) + "$"):
        call(table(STAY_OR_GO, [[0, 1], [2, 0]], 0.5))


def test_it_is_exported() -> None:
    assert jaxrl.planning is planning
