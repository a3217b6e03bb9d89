"""Dyna around any agent, and PETS: what is imagined, in a model that is known exactly; ends; clocks and keys."""

import dataclasses
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl import Agent, Decision, Input, Mean, Sample, Transition
from jaxrl.agents import DQNHparams, DynaConfig, DynaHparams, PETSConfig, PETSHparams, dqn, dyna, pets
from jaxrl.agents.dqn import n_step
from jaxrl.agents.dyna import imagine
from jaxrl.agents.dynamics import Dynamics, DynamicsConfig, Step, dynamics
from jaxrl.arguments import ArgumentError
from jaxrl.training import as_arrays
from jaxrl.types import Box, Discrete
from tests.compiling import quick_jit
from tests.mutants import planted

BOX = Box(np.float32([-1]), np.float32([1]))
EXAMPLE = jax.ShapeDtypeStruct((2,), jnp.float32)
B, E = 4, 2


def exact(self, state, observations, actions, key) -> Step:
    """Network e moves the first number by the action + e / 8; the second counts steps. It ends beyond 2.5."""
    own = jnp.arange(E, dtype=jnp.float32)[:, None] / 8
    after = observations + jnp.stack([actions[..., 0] + own, jnp.ones(actions.shape[:2])], -1)
    reward = after[..., 0] * 10
    return Step(after, reward, (after[..., 0] <= 2.5).astype(jnp.float32))


@pytest.fixture
def known(monkeypatch):
    monkeypatch.setattr(Dynamics, "sample", exact)


def batch() -> Transition:
    x = jnp.stack([jnp.arange(B, dtype=jnp.float32) / 2, jnp.zeros(B)], 1)
    weights = jnp.ones((B, E), jnp.int8)
    ends = jnp.array([False, True, False, False]), jnp.array([False, False, True, False])
    return Transition(x, jnp.full((B, 1), 0.25), jnp.arange(B) * 1.0, *ends, x + 5, extras=weights)


def test_imagined_rollouts(known) -> None:
    """Three steps by +2, clipped to +1, from 0, 0.5, 1, 1.5: they end beyond 2.5, and nothing counts afterwards."""
    model = dynamics(EXAMPLE, BOX, DynamicsConfig(E, (4,)))
    real = batch()._replace(extras=())

    @partial(jax.jit, static_argnums=2)
    def roll(key, action, k):
        return imagine(model, None, lambda x, key: jnp.full((len(x), 1), action), real, key, k)

    imagined, own = roll(jax.random.key(0), 2.0, 3)
    arrays = imagined.observation, imagined.next_observation, own
    x, y, counts = [np.asarray(z).reshape(3, B, *z.shape[1:]) for z in arrays]
    np.testing.assert_array_equal(x[0], real.observation)
    np.testing.assert_array_equal(x[1:], y[:-1])
    moved = y[..., 0] - x[..., 0]
    assert set(np.unique(moved).tolist()) == {1.0, 1.125}  # both networks, each for half of the rows in each step
    assert all((step == 1.125).sum() == B / E for step in moved)
    np.testing.assert_array_equal(y[..., 1], np.broadcast_to([[1], [2], [3]], (3, B)))
    np.testing.assert_allclose(np.asarray(imagined.reward).reshape(3, B), 10 * y[..., 0])
    terminated = np.asarray(imagined.terminated).reshape(3, B)
    np.testing.assert_array_equal(terminated, y[..., 0] > 2.5)
    np.testing.assert_array_equal(counts, np.concatenate([np.ones((1, B)), ~np.logical_or.accumulate(terminated)[:-1]]))
    assert not imagined.truncated.any()  # the end of a rollout is no end of an episode
    np.testing.assert_array_equal(imagined.action, 2.0)  # as the agent decided it
    first = {float(roll(jax.random.key(i), 0.0, 3)[0].next_observation[0, 0]) for i in range(8)}
    assert first == {0.0, 0.125}  # each row meets every network


def test_terminations_are_drawn(monkeypatch) -> None:
    """With the model's probability, at each step of each rollout anew: 0.3, then 0.3 of the others."""
    unsure = lambda *given: exact(*given)._replace(continues=jnp.full(given[2].shape[:2], 0.7))  # noqa: E731
    monkeypatch.setattr(Dynamics, "sample", unsure)
    model, number = dynamics(EXAMPLE, BOX, DynamicsConfig(E, (4,))), 4000
    real = jax.tree.map(lambda x: jnp.repeat(x, number // B, 0), batch()._replace(extras=()))
    act = lambda x, key: jnp.zeros((len(x), 1))  # noqa: E731
    imagined, counts = jax.jit(lambda key: imagine(model, None, act, real, key, 2))(jax.random.key(0))
    terminated = np.asarray(imagined.terminated).reshape(2, number)
    np.testing.assert_allclose(terminated.mean(1), 0.3, atol=0.03)
    np.testing.assert_allclose((terminated[0] & terminated[1]).mean(), 0.09, atol=0.02)
    np.testing.assert_array_equal(np.asarray(counts).reshape(2, number), [np.ones(number), ~terminated[0]])


def test_a_model_learns_from_a_termination_that_leads_to_nan() -> None:
    model, real = dynamics(EXAMPLE, BOX, DynamicsConfig(E, (4,))), batch()
    real = real._replace(next_observation=jnp.where(real.terminated[:, None], jnp.nan, real.next_observation))
    hparams = as_arrays(DynaHparams())
    learn = quick_jit(lambda state: model.update(state, hparams, real, real.extras))
    learned = learn(model.init(jax.random.key(0), hparams, jnp.zeros(2)))
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(learned))


def test_nothing_ends_before_an_end_was_learned() -> None:
    """Every episode goes on for certain. From the first end on the networks say how probably, whatever follows."""
    model, real = dynamics(EXAMPLE, BOX, DynamicsConfig(E, (4,))), batch()
    hparams = as_arrays(DynaHparams())
    learn = quick_jit(lambda state, batch: model.update(state, hparams, batch, real.extras)[0])
    x = jnp.tile(real.observation, (E, 1, 1))
    ask = quick_jit(lambda state: model.sample(state, x, jnp.zeros((E, B, 1)), jax.random.key(1)).continues)
    endless = real._replace(terminated=jnp.zeros(B, bool))
    none = learn(model.init(jax.random.key(0), hparams, jnp.zeros(2)), endless)
    np.testing.assert_array_equal(ask(none), np.ones((E, B)))
    some = learn(none, real)
    for state in (some, learn(some, endless)):
        continues = np.asarray(ask(state))
        assert ((continues > 0.001) & (continues < 0.999)).all()
        assert len(np.unique(continues)) == E * B


def spy() -> Agent:
    """An agent whose state is what it was last given to learn from."""

    def update(state, sample, key, env_steps, constants=()):
        return (sample, env_steps), {"loss": Mean.of(jnp.float32(0))}, jnp.arange(sample.weights.size)

    def act(state: Any, given: Input, key: jax.Array, env_steps: jax.Array) -> Decision:
        return Decision(jnp.full((len(given.observation), 1), 0.5))

    def policy(state: Any, given: Input, key: jax.Array) -> Decision:
        return act(state, given, key, jnp.float32(0))

    return Agent(
        lambda key, hparams, observation: jnp.int32(0),
        act,
        lambda state, given, key: act(state, given, key, jnp.float32(0)),
        update,
    )


def test_the_agent_learns_from_real_and_imagined_transitions(known) -> None:
    agent = dyna(spy(), EXAMPLE, BOX, DynaConfig(E, (4,), imagined_steps=2))
    state = jax.jit(agent.init)(jax.random.key(0), as_arrays(DynaHparams(imagine_after=10.0)), jnp.zeros(2))
    real = batch()
    sample = Sample(jax.tree.map(lambda x: x[None], real), jnp.array([0.5, 1, 2, 1]))
    update = jax.jit(agent.update)
    for clock, count in ((9.0, 0.0), (10.0, 1.0)):
        after, metrics, errors = update(state, sample, jax.random.key(1), jnp.float32(clock))
        assert set(metrics) == {"loss", "model_loss", "model_nll"}
        assert errors.tolist() == [0, 1, 2, 3]  # those of the real ones, for a prioritised replay
        given, env_steps = after.agent
        steps = jax.tree.map(lambda x: x[0], given.transitions)
        for name in ("observation", "action", "reward", "terminated", "truncated", "next_observation"):
            np.testing.assert_array_equal(getattr(steps, name)[:B], getattr(real, name))
        assert steps.extras == ()
        np.testing.assert_array_equal(given.weights[:B], sample.weights)
        np.testing.assert_array_equal(given.weights[B : 2 * B], count)
        assert len(given.weights) == 3 * B
        assert env_steps == clock
    decision = agent.act(state, Input(jnp.zeros((3, 2))), jax.random.key(2), jnp.float32(0))
    assert (decision.extras.shape, decision.extras.dtype) == ((3, E), jnp.int8)


def test_it_imagines_with_what_the_model_has_just_learned(monkeypatch) -> None:
    def counting(self, state, observations, actions, key) -> Step:
        seen = jnp.broadcast_to(state.inputs.count, observations.shape[:2])
        return Step(observations, seen, jnp.ones_like(seen))

    monkeypatch.setattr(Dynamics, "sample", counting)
    agent = dyna(spy(), EXAMPLE, BOX, DynaConfig(E, (4,)))
    state = jax.jit(agent.init)(jax.random.key(0), as_arrays(DynaHparams()), jnp.zeros(2))
    sample = Sample(jax.tree.map(lambda x: x[None], batch()), jnp.ones(B))
    after, *_ = quick_jit(agent.update)(state, sample, jax.random.key(1), jnp.float32(0))
    np.testing.assert_array_equal(after.agent[0].transitions.reward[0, B:], B)


def test_bad_input() -> None:
    agent = dyna(spy(), EXAMPLE, BOX, DynaConfig(3, (4,)))
    state = jax.eval_shape(agent.init, jax.random.key(0), as_arrays(DynaHparams()), jnp.zeros(2))
    real = batch()._replace(extras=jnp.ones((B, 3), jnp.int8))
    sample = Sample(jax.tree.map(lambda x: x[None], real), jnp.ones(B))
    with pytest.raises(ArgumentError, match="batch_size must be a multiple of the 3 networks of the ensemble, got 4"):
        jax.eval_shape(agent.update, state, sample, jax.random.key(1), jnp.float32(0))
    some = Sample(jax.tree.map(lambda x: x[None], real._replace(legal=jnp.ones((B, 2), bool))), jnp.ones(B))
    with pytest.raises(ArgumentError, match="env must allow all actions in every state"):
        agent.update(state, some, jax.random.key(1), jnp.float32(0))
    two = Sample(jax.tree.map(lambda x: jnp.stack([x, x]), real), jnp.ones(B))
    planner = pets(EXAMPLE, BOX, PETSConfig(3, (4,)))
    for other, hparams in ((agent, DynaHparams()), (planner, PETSHparams())):
        state = jax.eval_shape(other.init, jax.random.key(0), as_arrays(hparams), jnp.zeros(2))
        with pytest.raises(ArgumentError, match="n_step must be 1, since the model predicts single steps, got 2"):
            jax.eval_shape(other.update, state, two, jax.random.key(1), jnp.float32(0))
    with pytest.raises(ArgumentError, match="agent must be of the kind Agent, got None"):
        dyna(None, EXAMPLE, BOX, DynaConfig())
    remembers = dyna(spy()._replace(memory=lambda state, n: jnp.zeros(n)), EXAMPLE, BOX, DynaConfig())
    with pytest.raises(ArgumentError, match="agent must have no memory"):
        remembers.init(jax.random.key(0), as_arrays(DynaHparams()), jnp.zeros(2))
    for other, hparams in ((agent, DynaHparams()), (planner, PETSHparams())):
        with pytest.raises(ArgumentError, match=r"observation must have the example's shape, \(2,\), got \(3,\)"):
            other.init(jax.random.key(0), as_arrays(hparams), jnp.zeros(3))
    for space in (Discrete(2), Box(-np.ones(2, np.float32), np.ones(2, np.float32))):
        other, kind = dyna(spy(), EXAMPLE, space, DynaConfig()), type(space).__name__
        began = other.init(jax.random.key(0), as_arrays(DynaHparams()), jnp.zeros(2))
        with pytest.raises(ArgumentError, match=f"action_space must be that of the agent's actions, got {kind}"):
            other.act(began, Input(jnp.zeros((3, 2))), jax.random.key(0), jnp.float32(0))
    whole = dyna(spy()._replace(act=lambda *_: Decision(jnp.zeros((3, 1), int))), EXAMPLE, BOX, DynaConfig())
    with pytest.raises(ArgumentError, match="action_space must be that of the agent's actions, got Box"):
        whole.act(began, Input(jnp.zeros((3, 2))), jax.random.key(0), jnp.float32(0))
    with pytest.raises(ArgumentError, match="imagined_steps must be > 0, got 0"):
        dyna(spy(), EXAMPLE, BOX, DynaConfig(imagined_steps=0))
    with pytest.raises(ArgumentError, match="ensemble_size must be > 0, got 0"):
        pets(EXAMPLE, BOX, PETSConfig(ensemble_size=0))
    with pytest.raises(ArgumentError, match="action_space must be of the kind Box"):
        pets(EXAMPLE, Discrete(2), PETSConfig())


def test_pets_plans_with_its_model(known) -> None:
    """+1 as long as that does not end the episode: from 0, two steps lead to 2 and some, and a third ended it."""
    config = PETSConfig(E, (4,), 4, 100, 6, 10, correlation=0.0)
    agent = pets(EXAMPLE, BOX, config)
    state = jax.jit(agent.init)(jax.random.key(0), as_arrays(PETSHparams(random_steps=5.0)), jnp.zeros(2))
    memory = agent.memory(state, 2)
    assert memory.shape == (2, 4, 1)
    given = Input(jnp.array([[0.0, 0.0], [2.0, 0.0]]), memory=memory)
    decision = jax.jit(agent.policy)(state, given, jax.random.key(0))
    assert decision.action.shape == (2, 1)
    assert float(decision.action[0, 0]) > 0.5
    # From 2 every network ends the episode in a step of more than 0.5; it is best to stay below.
    assert float(decision.action[1, 0]) < 0.5
    np.testing.assert_array_equal(decision.memory[:, -1], decision.memory[:, -2])
    act = jax.jit(agent.act)
    early = act(state, given, jax.random.key(0), jnp.float32(4))
    np.testing.assert_array_equal(early.memory, memory)
    late = act(state, given, jax.random.key(0), jnp.float32(5))
    assert (late.memory != memory).any()
    many = Input(jnp.zeros((50, 2)), memory=agent.memory(state, 50))
    anywhere = np.asarray(act(state, many, jax.random.key(1), jnp.float32(0)).action)
    np.testing.assert_allclose([anywhere.min(), anywhere.max()], [-1, 1], atol=0.2)


def test_pets_discounts_what_comes_later(monkeypatch) -> None:
    """−a now and 2 a in the next step: with γ = 1 it is best to pay, with γ = 0.25 to take."""

    def later(self, state, observations, actions, key) -> Step:
        x, first = observations[..., 0], observations[..., 1] == 0
        reward = jnp.where(first, -actions[..., 0], 2 * x)
        after = jnp.stack([jnp.where(first, actions[..., 0], x), jnp.ones_like(x)], -1)
        return Step(after, reward, jnp.ones_like(x))

    monkeypatch.setattr(Dynamics, "sample", later)
    agent = pets(EXAMPLE, BOX, PETSConfig(E, (4,), 2, 50, 3, 5, correlation=0.0))
    state = jax.jit(agent.init)(jax.random.key(0), as_arrays(PETSHparams()), jnp.zeros(2))
    plan = jax.jit(lambda discount: agent.policy(
        state._replace(hparams=dataclasses.replace(state.hparams, discount=discount)),
        Input(jnp.zeros((1, 2)), memory=agent.memory(state, 1)), jax.random.key(0),
    ).action[0, 0])  # fmt: skip
    assert plan(1.0) > 0.8
    assert plan(0.25) < -0.8


def test_particles_of_pets_change_networks(monkeypatch) -> None:
    """One network moves by the action, the other by its opposite, so the second action must oppose the first to get
    far. It would have to agree with the first one if a particle stayed with its network."""

    def opposite(self, state, observations, actions, key) -> Step:
        x = observations[..., 0] + actions[..., 0] * jnp.array([1.0, -1.0])[:, None]
        return Step(jnp.stack([x, observations[..., 1]], -1), x**2, jnp.ones_like(x))

    monkeypatch.setattr(Dynamics, "sample", opposite)
    agent = pets(EXAMPLE, BOX, PETSConfig(E, (4,), 2, 50, 3, 5, correlation=0.0))
    state = quick_jit(agent.init)(jax.random.key(0), as_arrays(PETSHparams()), jnp.zeros(2))
    decision = quick_jit(agent.policy)(
        state, Input(jnp.zeros((1, 2)), memory=agent.memory(state, 1)), jax.random.key(0)
    )
    assert abs(decision.action[0, 0]) > 0.8
    np.testing.assert_allclose(decision.memory[0, 0], -decision.action[0], atol=0.3)


def test_pets_goes_on_with_its_plan(monkeypatch) -> None:
    """In each environment with its own. What is best is 0.1 in the first step, 0.2 in the second, and so on."""

    def ramp(self, state, observations, actions, key) -> Step:
        wanted = 0.1 * (1 + observations[..., 1])
        after = observations + jnp.array([0.0, 1.0])
        return Step(after, -((actions[..., 0] - wanted) ** 2), jnp.ones_like(wanted))

    monkeypatch.setattr(Dynamics, "sample", ramp)
    agent = pets(EXAMPLE, BOX, PETSConfig(E, (4,), 3, 2, 1, 1))  # two sequences, of which one is the last plan
    state = jax.jit(agent.init)(jax.random.key(0), as_arrays(PETSHparams()), jnp.zeros(2))
    plans = jnp.array([[0.1, 0.2, 0.3], [0.3, 0.4, 0.5]])[..., None]
    given = Input(jnp.array([[0.0, 0.0], [0.0, 2.0]]), memory=plans)
    decision = quick_jit(agent.policy)(state, given, jax.random.key(0))
    np.testing.assert_array_equal(decision.action, plans[:, 0])
    np.testing.assert_array_equal(decision.memory, plans[:, jnp.array([1, 2, 2])])


S, A, DISCOUNT = 6, 3, 0.6
DRAWN = np.random.default_rng(0)
FOLLOWING, REWARDS, ENDS = DRAWN.integers(S, size=(S, A)), DRAWN.normal(size=(S, A)), DRAWN.random((S, A)) < 0.2
ONE_HOT = np.eye(S, dtype=np.float32)


def backup(q) -> np.ndarray:
    """The Bellman backup of action values `[S, A]`."""
    return REWARDS + DISCOUNT * np.where(ENDS, 0, np.max(q, -1)[FOLLOWING])


def true_model(self, state, observations, actions, key) -> Step:
    s = observations.argmax(-1)
    following, rewards, ends = (jnp.asarray(x)[s, actions] for x in (FOLLOWING, REWARDS, ENDS))
    return Step(jnp.asarray(ONE_HOT)[following], rewards.astype(jnp.float32), 1.0 - ends)


class LinearTable:
    """A number for each state and action, of one-hot states."""

    def init(self, key, observations):
        return jax.random.normal(key, (S, A))

    def apply(self, params, observations, rngs=None):
        return observations @ params


def first_actions() -> Sample:
    """What was seen: action 0 alone, once in each state."""
    never = np.zeros(S, bool)
    real = Transition(
        ONE_HOT, np.zeros(S, int), np.float32(REWARDS[:, 0]), ENDS[:, 0], never, ONE_HOT[FOLLOWING[:, 0]],
        extras=np.ones((S, E), np.int8),
    )  # fmt: skip
    return Sample(jax.tree.map(lambda x: jnp.asarray(x)[None], real), jnp.ones(S))


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Hparams(DynaHparams, DQNHparams):
    pass


def test_dqn_learns_q_star_from_what_a_true_model_imagines(monkeypatch) -> None:
    """Where a single action was ever taken. All targets are the true model's backups; actions follow the clock's ε."""
    monkeypatch.setattr(Dynamics, "sample", true_model)
    inner, sample = dqn(LinearTable()), first_actions()
    agent = dyna(inner, ONE_HOT[0], Discrete(A), DynaConfig(E, (2,), imagined_steps=2))
    hparams = as_arrays(Hparams(
        learning_rate=0.05, discount=DISCOUNT, tau=1.0, epsilon_end=0.0, epsilon_decay_steps=10.0, imagine_after=0.0
    ))  # fmt: skip
    start = jax.jit(agent.init)(jax.random.key(0), hparams, ONE_HOT[0])

    @quick_jit
    def learn(state):
        step = lambda state, key: (agent.update(state, sample, key, jnp.float32(0))[0], None)  # noqa: E731
        return jax.lax.scan(step, state, jax.random.split(jax.random.key(1), 800))[0]

    q_star = np.zeros((S, A))
    for _ in range(200):
        q_star = backup(q_star)
    np.testing.assert_allclose(learn(start).agent.params, q_star, atol=1e-3)

    watching = dyna(inner._replace(update=spy().update), ONE_HOT[0], Discrete(A), DynaConfig(E, (2,), 2))
    given = quick_jit(lambda clock: watching.update(start, sample, jax.random.key(2), clock)[0].agent[0])
    q = start.agent.params
    for clock, is_greedy in ((10.0, True), (0.0, False)):
        batch = given(jnp.float32(clock))
        first, reward, discount_t, last = n_step(batch.transitions, DISCOUNT)
        s, a, counts = first.observation.argmax(-1), first.action, batch.weights > 0
        targets = reward + discount_t * (last.next_observation @ q).max(-1)
        np.testing.assert_allclose(targets, backup(q)[s, a], rtol=1e-5, atol=1e-6)
        imagined = np.flatnonzero(counts)[S:]
        assert len(imagined) > S
        assert (a == q.argmax(-1)[s])[imagined].all() == is_greedy


MUTANTS = [
    (test_imagined_rollouts, "jaxrl.agents.dyna:imagine", [
        ("a truncation at the end", "truncated=never", "truncated=~never"),
        ("terminates where it goes on", ">= continues", "< continues"),
        ("learns beyond the end", "(after, alive & ~terminated)", "(after, alive)"),
        ("always the same network", "jax.random.randint(shift_key, (), 0, size)", "jnp.int32(0)"),
        ("rows are mixed up", ", -shift, 0)", ", 0, 0)"),
        ("does not clip", "jnp.clip(actions, *model.space)", "actions"),
        ("learns the clipped actions", "action=actions", "action=taken"),
        ("starts at the end of the step", "start = real.observation", "start = real.next_observation"),
    ]),
    (test_the_agent_learns_from_real_and_imagined_transitions, "jaxrl.agents.dyna:_update", [
        ("imagines from the start", "jnp.where(env_steps >= state.hparams.imagine_after, counts, 0.0)", "counts"),
        ("imagines a step late", "env_steps >= state", "env_steps > state"),
        ("forgets the weights", "[batch.weights, counts]", "[jnp.ones_like(batch.weights), counts]"),
        ("all errors", "lambda x: x[:number], errors", "lambda x: x, errors"),
    ]),
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(
    ("test", "function", "old", "new"),
    [pytest.param(*where, *error[1:], id=error[0]) for *where, errors in MUTANTS for error in errors],
)
def test_a_planted_error_is_seen(known, test, function: str, old: str, new: str) -> None:
    with planted(function, old, new), pytest.raises(AssertionError):
        test(None)
