"""The cross-entropy method and path integrals: a quadratic cost by hand, the pendulum's dense program, bad input."""

from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl import planning
from jaxrl.arguments import ArgumentError
from jaxrl.planning import CEMConfig, MPPIConfig, cem, middle, mppi, predicted_return, rollout_model, shift
from jaxrl.planning.shooting import _correlated_noise
from jaxrl.types import Box
from tests.instruments import watching
from tests.mutants import planted
from tests.planning import pendulum

BOX = Box(np.float32([-1, -1]), np.float32([1, 2]))


def reach(state: jax.Array, action: jax.Array, key: jax.Array) -> tuple[jax.Array, jax.Array]:
    """A point that moves by its action. It pays the square of its distance from (1, 3)."""
    del key
    state = state + action
    return state, -((state - jnp.array([1.0, 3.0])) ** 2).sum()


def drawn(state: jax.Array, action: jax.Array, key: jax.Array) -> tuple[jax.Array, jax.Array]:
    return state, action[0] + jax.random.normal(key)


def test_a_rollout_by_hand() -> None:
    actions = jnp.array([[0.5, 1.0], [0.5, 2.0], [0.0, 0.0]])
    states, rewards = rollout_model(reach, jnp.zeros(2), actions, jax.random.key(0))
    np.testing.assert_allclose(states, [[0.5, 1], [1, 3], [1, 3]])
    np.testing.assert_allclose(rewards, [-4.25, 0, 0])
    returns = [predicted_return(reach, jnp.ones(2), actions, jax.random.key(0), x) for x in (1.0, 0.5)]
    first, second, third = 0.25 + 1, 1 + 1, 1 + 1
    np.testing.assert_allclose(returns, [-(first + second + third), -(first + second / 2 + third / 4)])
    _, noise = rollout_model(drawn, jnp.zeros(2), jnp.zeros((3, 2)), jax.random.key(0))
    assert len(np.unique(noise)) == 3  # every step has a key of its own


@pytest.mark.parametrize(
    ("planner", "config"),
    [(cem, CEMConfig(2, 300, 12, 15, correlation=0.0)), (mppi, MPPIConfig(2, 500, 20, temperature=0.01))],
)
def test_it_finds_the_best_actions(planner, config) -> None:
    """From (0, 0): up by 2, the most there is, and right by 1; then up by 1."""
    plan = jax.jit(lambda key: planner(reach, jnp.zeros(2), key, middle(BOX, 2), BOX, config))(jax.random.key(0))
    np.testing.assert_allclose(plan.actions, [[1, 2], [0, 1]], atol=0.2 if planner is mppi else 0.1)
    np.testing.assert_allclose(plan.expected_return, -1, atol=0.05)
    assert (plan.actions >= BOX.low).all()
    assert (plan.actions <= BOX.high).all()
    np.testing.assert_allclose(shift(plan.actions), plan.actions[jnp.array([1, 1])])


def test_one_iteration_of_path_integrals_by_hand() -> None:
    """The mean of the samples, weighted by exp(return / λ)."""
    config = MPPIConfig(2, 50, 1, temperature=3.0, deviation=0.5)
    key = jax.random.key(3)
    start = jnp.array([[0.2, 0.3], [0.1, 0.9]])
    plan = mppi(reach, jnp.zeros(2), key, start, BOX, config, 0.5)
    sample_key, _ = jax.random.split(jax.random.split(key, 1)[0])
    noise = np.asarray(jax.random.normal(sample_key, (50, 2, 2)))
    sampled = np.clip(np.asarray(start) + 0.5 * np.array([1, 1.5]) * noise, [-1, -1], [1, 2])
    states = sampled.cumsum(1)
    returns = -(((states - [1, 3]) ** 2).sum(-1) * [1, 0.5]).sum(1)
    weights = np.exp(returns / 3) / np.exp(returns / 3).sum()
    np.testing.assert_allclose(plan.actions, np.tensordot(weights, sampled, 1), rtol=1e-4)
    np.testing.assert_allclose(plan.expected_return, returns.max(), rtol=1e-5)


def test_one_iteration_of_the_cross_entropy_method_by_hand() -> None:
    """The plan is the best of all samples; the next population is drawn around the elites of the last."""
    start = jnp.array([[0.2, 0.3], [0.1, 0.9]])
    for population, elites in ((40, 5), (3, 2)):
        config = CEMConfig(2, population, 3, elites, smoothing=0.2, correlation=0.5)
        plan = jax.jit(lambda key, config=config: cem(reach, jnp.zeros(2), key, start, BOX, config))
        for seed in range(6):
            check_cem(plan(jax.random.key(seed)), jax.random.key(seed), start, population, elites)


def check_cem(plan, key: jax.Array, start: jax.Array, population: int, number: int) -> None:
    mean, deviation, best = np.asarray(start), np.broadcast_to([1, 1.5], (2, 2)), np.zeros((0, 2, 2))
    for each in jax.random.split(key, 3):
        white = np.asarray(jax.random.normal(jax.random.split(each)[0], (population, 2, 2)))
        noise = np.stack([white[:, 0], 0.5 * white[:, 0] + 0.75**0.5 * white[:, 1]], 1)
        noise[0] = 0
        sampled = np.clip(mean + deviation * noise, [-1, -1], [1, 2])
        sampled = np.concatenate([sampled, best])  # the best so far
        returns = -((sampled.cumsum(1) - [1, 3]) ** 2).sum((1, 2))
        elites = sampled[np.argsort(-returns, kind="stable")[:number]]
        best = elites[:1]
        mean = 0.2 * mean + 0.8 * elites.mean(0)
        deviation = 0.2 * deviation + 0.8 * elites.std(0)
    np.testing.assert_allclose(plan.expected_return, returns.max(), rtol=1e-4)
    np.testing.assert_allclose(plan.actions, best[0], rtol=1e-3, atol=1e-3)


def test_noise_is_correlated() -> None:
    noise = np.asarray(_correlated_noise(jax.random.key(0), (20_000, 3, 1), 0.8))[..., 0]
    np.testing.assert_allclose(np.cov(noise.T), [[1, 0.8, 0.64], [0.8, 1, 0.8], [0.64, 0.8, 1]], atol=0.04)


def test_sequences_meet_the_same_noise() -> None:
    """So that the best action is found though the noise is fifty times as large as what it is worth."""

    def noisy(state: jax.Array, action: jax.Array, key: jax.Array) -> tuple[jax.Array, jax.Array]:
        return state, -((action - 0.5) ** 2).sum() + 50 * jax.random.normal(key)

    plan = cem(noisy, jnp.zeros(()), jax.random.key(0), middle(BOX, 1), BOX, CEMConfig(1, 300, 1, 10))
    np.testing.assert_allclose(plan.actions, 0.5, atol=0.2)


def test_a_model_that_is_not_finite() -> None:
    """Sequences without a finite return are left out; a model that has no other is refused, with the step."""

    def breaks(state: jax.Array, action: jax.Array, key: jax.Array) -> tuple[jax.Array, jax.Array]:
        state = state + 1
        return state, jnp.where((state > 2) & (action[0] > -2), jnp.nan, 0.0) + action[1]

    def loses_itself(state: jax.Array, action: jax.Array, key: jax.Array) -> tuple[jax.Array, jax.Array]:
        return jnp.where(state > 2, jnp.nan, state + 1), jnp.where(jnp.isnan(state), jnp.nan, action[0])

    def sometimes(state: jax.Array, action: jax.Array, key: jax.Array) -> tuple[jax.Array, jax.Array]:
        return state, jnp.where(action[0] > 0.3, jnp.inf, action[0])

    arguments = jnp.zeros(()), jax.random.key(0), middle(BOX, 4), BOX
    for planner, config in ((cem, CEMConfig(4, 20, 2, 5)), (mppi, MPPIConfig(4, 20, 2))):
        with pytest.raises(
            ArgumentError, match=r"model must return finite .*, got nan as reward in step 2 of the plan"
        ):
            planner(breaks, *arguments, config)
        with pytest.raises(ArgumentError, match=r"got a state that is not in step 3 of the plan"):
            planner(loses_itself, jnp.float32(0), *arguments[1:2], middle(BOX, 5), BOX, replace(config, horizon=5))
        plan = planner(sometimes, *arguments, config)
        assert -1 < float(plan.expected_return) < 1.2
        assert np.isfinite(plan.actions).all()
    assert (
        jax.jit(lambda key: cem(breaks, jnp.zeros(()), key, *arguments[2:], CEMConfig(4, 20, 2, 5)))(
            jax.random.key(0)
        ).expected_return
        == -jnp.inf
    )


def test_the_luckiest_iteration_does_not_win() -> None:
    """Noise that matters fifty times as much as the action, and is another one in each iteration."""

    def noisy(state: jax.Array, action: jax.Array, key: jax.Array) -> tuple[jax.Array, jax.Array]:
        return state, -((action - 0.5) ** 2).sum() + 50 * jax.random.normal(key)

    bounds, config = Box(np.float32([-1]), np.float32([1])), CEMConfig(1, 20, 10, 5)
    found = jax.jit(jax.vmap(lambda key: cem(noisy, jnp.zeros(()), key, middle(bounds, 1), bounds, config)))
    plans = found(jax.random.split(jax.random.key(0), 200))
    assert abs(plans.actions - 0.5).mean() < 0.003
    assert abs(plans.expected_return.mean()) < 12  # the noise of the last iteration, not the most of ten


def test_an_iteration_without_a_finite_return_changes_nothing() -> None:
    """Each fails with probability 1/2; all of eight do in one of 256."""

    def fails(state: jax.Array, action: jax.Array, key: jax.Array) -> tuple[jax.Array, jax.Array]:
        return state, jnp.where(jax.random.uniform(key) < 0.5, jnp.nan, -((action - 0.5) ** 2).sum())

    bounds, config = Box(np.float32([-1]), np.float32([1])), CEMConfig(1, 20, 8, 5)
    plan = jax.jit(jax.vmap(lambda key: cem(fails, jnp.zeros(()), key, middle(bounds, 1), bounds, config)))
    plans = plan(jax.random.split(jax.random.key(0), 200))
    found = np.isfinite(plans.expected_return)
    assert found.mean() > 0.97
    np.testing.assert_allclose(plans.expected_return[found], -((plans.actions[found, 0, 0] - 0.5) ** 2), atol=1e-6)
    assert abs(plans.actions[found] - 0.5).mean() < 0.05


def test_rewards_may_be_finite_and_their_sum_not() -> None:
    def huge(state: jax.Array, action: jax.Array, key: jax.Array) -> tuple[jax.Array, jax.Array]:
        return state, 3e38 + 0 * action[0]

    with pytest.raises(ArgumentError, match="got returns that are not"):
        cem(huge, jnp.zeros(()), jax.random.key(0), middle(BOX, 3), BOX, CEMConfig(3, 5, 1, 2))


def test_only_finite_elites_count() -> None:
    """Of 20 sequences fewer than 10 have a finite return, and from outside the bounds a plan is clipped."""

    def rarely(state: jax.Array, action: jax.Array, key: jax.Array) -> tuple[jax.Array, jax.Array]:
        return state, jnp.where(action[0] > 0.6, action[0], -jnp.inf)

    def mean(keys: jax.Array) -> jax.Array:
        bounds = Box(np.float32([-1]), np.float32([1]))
        plan = partial(cem, rarely, jnp.zeros(()), actions=middle(bounds, 1), bounds=bounds)
        return jax.vmap(lambda key: plan(key, config=CEMConfig(1, 20, 3, 10)).actions)(keys)

    assert np.isfinite(plans := jax.jit(mean)(jax.random.split(jax.random.key(0), 50))).all()
    assert (plans > 0.6).mean() > 0.98
    assert plans.mean() > 0.95
    never = jax.jit(lambda key: cem(lambda s, a, k: (s, a[0] * jnp.nan), jnp.zeros(()), key, jnp.full((2, 2), 7.0),
                                    BOX, CEMConfig(2, 5, 2, 2)).actions)  # fmt: skip
    np.testing.assert_array_equal(never(jax.random.key(0)), np.broadcast_to(BOX.high, (2, 2)))


def test_discounts_decide() -> None:
    """A cost now, and twice as much later."""

    def model(state: jax.Array, action: jax.Array, key: jax.Array) -> tuple[jax.Array, jax.Array]:
        first = state[0] == 0
        return jnp.stack([state[0] + 1, jnp.where(first, action[0], state[1])]), jnp.where(
            first, -action[0], 2 * state[1]
        )

    for discount, best in ((1.0, 1.0), (0.25, -1.0)):
        plan = cem(model, jnp.zeros(2), jax.random.key(0), middle(BOX, 2), BOX, CEMConfig(2, 50, 3, 5), discount)
        np.testing.assert_allclose(plan.actions[0, 0], best, atol=0.2)


@pytest.mark.parametrize(("planner", "config"), [(cem, CEMConfig(2, 4, 2, 2)), (mppi, MPPIConfig(2, 4, 2))])
def test_no_key_is_used_twice(planner, config) -> None:
    def noisy(state: jax.Array, action: jax.Array, key: jax.Array) -> tuple[jax.Array, jax.Array]:
        return state, -((action - 0.5) ** 2).sum() + 50 * jax.random.normal(key)

    with watching(compiled=True) as log:
        plan = jax.jit(lambda key: planner(noisy, jnp.zeros(()), key, middle(BOX, 2), BOX, config).actions)
        plan(jax.random.key(0))
    log.check()


def test_the_expected_return_of_path_integrals_is_the_best_of_all_iterations() -> None:
    bounds, number = Box(np.float32([-1]), np.float32([1])), 6
    config = MPPIConfig(1, 3, number, temperature=1e3)
    plan = mppi(lambda s, a, k: (s, a[0]), jnp.zeros(()), jax.random.key(0), jnp.zeros((1, 1)), bounds, config)
    x, best = jnp.zeros((1, 1)), []
    for key in jax.random.split(jax.random.key(0), number):
        noise = jax.random.normal(jax.random.split(key)[0], (3, 1, 1), jnp.float32)
        sampled = jnp.clip(x + 0.5 * noise, -1, 1)
        best.append(float(sampled.max()))
        x = jnp.tensordot(jax.nn.softmax(sampled[:, 0, 0] / 1e3), sampled, 1)
    assert best.index(max(best)) < number - 1
    np.testing.assert_allclose(plan.expected_return, max(best), rtol=1e-5)


def raises_without_words(state, action, key):
    raise ValueError


BAD = [
    ({"config": CEMConfig(horizon=0)}, r"horizon must be >= 1, got 0"),
    ({"config": CEMConfig(population=1, num_elites=1)}, r"population must be >= 2, got 1"),
    (
        {"config": CEMConfig(horizon=2, population=5, num_elites=6)},
        r"num_elites must be at most the population, 5, got 6",
    ),
    ({"config": CEMConfig(horizon=3)}, r"actions must be of shape \[H, D\], here \(3, 2\), got \(2, 2\)"),
    ({"discount": -2.0}, r"discount must be in \[0, 1\], got -2.0"),
    ({"discount": jnp.nan}, r"discount must be in \[0, 1\], got nan"),
    ({"state": jnp.full(2, jnp.nan)}, r"state must be finite"),
    ({"actions": jnp.full((2, 2), jnp.inf)}, r"actions must be finite"),
    ({"model": lambda state, action, key: (state, None)}, r"model must return a reward that is a scalar, got NoneType"),
    ({"model": lambda state, action, key: (state, {"r": 1})}, r"must return a reward that is a scalar, got dict"),
    ({"config": MPPIConfig()}, r"config must be of the kind CEMConfig, got MPPIConfig"),
    ({"model": lambda state, action: state}, r"model must map \(state, action, key\) to \(state, reward\)"),
    ({"model": lambda state, action, key: state}, r"model must map \(state, action, key\) to \(state, reward\)"),
    ({"model": raises_without_words}, r"model must map \(state, action, key\) to \(state, reward\) \(ValueError\)"),
    ({"model": lambda state, action, key: (state[0], state[0])}, r"model must return a state like the one it is given"),
    ({"model": lambda state, action, key: (state, action)}, r"model must return a reward that is a scalar, got \(2,\)"),
    ({"bounds": (0, 1)}, r"bounds must be of the kind Box, got tuple"),
    ({"bounds": Box(-BOX.high, -BOX.high)}, r"bounds must have two finite bounds \[D\] with low < high, got Box"),
    (
        {"bounds": Box(BOX.low, np.full(2, np.inf))},
        r"bounds must have two finite bounds \[D\] with low < high, got Box",
    ),
    ({"model": jnp.zeros(2), "state": reach}, r"model must be a function \(state, action, key\) -> \(state, reward\)"),
    ({"bounds": Box([-1.0, 0.0], [1.0, 1.0])}, r"bounds must have arrays as bounds, \[D\], got Box"),
    ({"bounds": Box(BOX.low, [1.0, 1.0])}, r"bounds must have arrays as bounds, \[D\], got Box"),
    ({"bounds": Box(BOX.low[:1], BOX.high)}, r"bounds must have two finite bounds \[D\] with low < high, got Box"),
]


@pytest.mark.parametrize(("change", "message"), BAD)
def test_bad_input(change: dict, message: str) -> None:
    good = {"model": reach, "state": jnp.zeros(2), "key": jax.random.key(0), "actions": middle(BOX, 2), "bounds": BOX}
    with pytest.raises(ArgumentError, match=message):
        cem(**good | {"config": CEMConfig(2, 10, 2, 5)} | change)


@pytest.mark.parametrize("planner", [cem, mppi])
def test_a_plan_to_begin_with_may_be_whole_numbers_or_a_list(planner) -> None:
    config = CEMConfig(2, 10, 2, 5) if planner is cem else MPPIConfig(2, 10, 2)
    plans = [planner(reach, jnp.zeros(2), jax.random.key(0), first, BOX, config).actions
             for first in (jnp.zeros((2, 2)), jnp.zeros((2, 2), int), [[0, 0], [0, 0]])]  # fmt: skip
    for plan in plans[1:]:
        np.testing.assert_array_equal(plan, plans[0])


@pytest.mark.parametrize("planner", [cem, mppi])
def test_a_plan_in_double_precision_stays_in_it(planner) -> None:
    config = CEMConfig(2, 10, 2, 5) if planner is cem else MPPIConfig(2, 10, 2)
    with jax.enable_x64(True):
        first = jnp.zeros((2, 2), jnp.float64)
        assert planner(reach, jnp.zeros(2), jax.random.key(0), first, BOX, config).actions.dtype == jnp.float64
        with pytest.raises(ArgumentError, match="model must return a state like the one it is given"):
            planner(reach, jnp.zeros(2, jnp.float32), jax.random.key(0), first, BOX, config)


def test_a_plan_to_begin_with_needs_bounds_and_steps() -> None:
    with pytest.raises(ArgumentError, match="bounds must have two finite bounds"):
        middle(Box(np.float32([-np.inf]), np.float32([np.inf])), 3)
    with pytest.raises(ArgumentError, match="horizon must be a whole number >= 1, got 0"):
        middle(BOX, 0)
    traced = jax.jit(lambda low: middle(Box(low, -low), 2))(jnp.array([-3.0]))
    np.testing.assert_array_equal(traced, np.zeros((2, 1)))


def test_more_iterations_come_to_the_optimum() -> None:
    """Of a plan whose first action is at its bound and whose others are not; a quadratic program has −2.4816."""

    def decays(state: jax.Array, action: jax.Array, key: jax.Array) -> tuple[jax.Array, jax.Array]:
        return 0.9 * state + action[0], -(state**2) - 0.1 * action[0] ** 2

    bounds = Box(np.float32([-1]), np.float32([1]))
    plan = cem(decays, 1.5, jax.random.key(0), middle(bounds, 10), bounds, CEMConfig(horizon=10, iterations=20))
    assert -2.485 < plan.expected_return < -2.4815
    assert plan.actions[0, 0] < -0.98


PENDULUM = Box(np.float32([-2]), np.float32([2]))


@pytest.mark.slow
def test_the_oracle_is_the_pendulum() -> None:
    """Gymnax's, step by step; and the followed policy has the value that its dense program says."""
    from jaxrl import make

    env, params = make("Pendulum-v1")
    _, state = env.reset(jax.random.key(1), params)
    own = jnp.array([state.theta, state.theta_dot])
    for t in range(3):
        action = jnp.array([2.5 * (-1.0) ** t])
        _, state, reward, *_ = env.step(jax.random.key(t), state, action, params)
        own, mine = pendulum.step(own, action)
        np.testing.assert_allclose([*own, mine], [state.theta, state.theta_dot, reward], rtol=1e-5)


@pytest.mark.slow
def test_the_cross_entropy_method_against_a_dense_program_of_the_pendulum() -> None:
    """Plans of 40 steps are within 2 % of the best there are, and control of 200 steps within 3 % of the optimum.

    Control cannot be better: with exact plans of 40 steps it loses 1.6 %.
    """
    values = pendulum.solve(400, 321, 21)
    first = pendulum.starts(jax.random.key(5), 64)
    optimum, followed = pendulum.Grid(values[200]).at(first).mean(), pendulum.follow(values, first, 41).mean()
    np.testing.assert_allclose(optimum, followed, rtol=0.005)
    best = pendulum.Grid(values[40]).at(first).mean()
    config = CEMConfig(40, 400, 10, 20, correlation=0.8)
    plan = partial(cem, pendulum.step, bounds=PENDULUM, config=config)
    open_loop = jax.jit(jax.vmap(lambda x, key: plan(x, key, middle(PENDULUM, 40)).expected_return))
    planned = open_loop(first, jax.random.split(jax.random.key(1), 64)).mean()
    assert 1.02 * best < planned < 0.99 * best
    wide = CEMConfig(40, 1000, 5, 50, correlation=0.8)
    returns = pendulum.control(
        lambda x, key, actions: cem(pendulum.step, x, key, actions, PENDULUM, wide),
        first[:32], jax.random.key(0), 40, batch=8,
    )  # fmt: skip
    assert returns.mean() > 1.03 * pendulum.Grid(values[200]).at(first[:32]).mean()


MUTANTS = [
    (test_one_iteration_of_the_cross_entropy_method_by_hand, "_improve_cem", [
        ("keeps the worst", "jax.lax.top_k(returns,", "jax.lax.top_k(-returns,"),
        ("forgets the best", "returns[-1], -jnp.inf", "-jnp.inf, -jnp.inf"),
        ("smooths the wrong way", "keep * mean + (1 - keep)", "(1 - keep) * mean + keep"),
        ("the mean does not compete", "noise.at[0].set(0.0)", "noise"),
        ("a fixed deviation", "keep * deviation + (1 - keep) * spread", "deviation"),
    ]),
    (test_one_iteration_of_path_integrals_by_hand, "mppi", [
        ("weights of the wrong sign", "(returns - returns.max()) / config", "(returns.max() - returns) / config"),
        ("no temperature", "/ config.temperature", ""),
        ("no discount", "model_key, discount)", "model_key, 1.0)"),
        ("whole widths", "(bounds.high - bounds.low) / 2", "(bounds.high - bounds.low)"),
    ]),
    (test_a_rollout_by_hand, "rollout_model", [
        ("one key for all steps", "jax.random.split(key, len(actions))", "jnp.repeat(key[None], len(actions))"),
        ("states from before", "(following, reward)", "(state, reward)"),
    ]),
    (test_a_rollout_by_hand, "predicted_return", [("discounts the first reward", "jnp.arange(len(rewards))",
                                                   "(1 + jnp.arange(len(rewards)))")]),
    (test_sequences_meet_the_same_noise, "_returns", [
        ("noise of their own", "partial(predicted_return, model, state, key=key, discount=discount))(sampled)",
         "lambda x, k: predicted_return(model, state, x, k, discount))(sampled, jax.random.split(key, len(sampled)))"),
    ]),
    (test_noise_is_correlated, "_correlated_noise", [("grows", "(1 - correlation**2) ** 0.5", "1.0")]),
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(
    ("test", "function", "old", "new"),
    [pytest.param(*where, *error[1:], id=error[0]) for *where, errors in MUTANTS for error in errors],
)
def test_a_planted_error_is_seen(test, function: str, old: str, new: str) -> None:
    with planted(f"jaxrl.planning.shooting:{function}", old, new), pytest.raises(AssertionError):
        test()


def test_its_names_are_public() -> None:
    assert planning.cem is cem
