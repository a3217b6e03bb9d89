"""Dyna-Q, Dyna-Q+ and prioritised sweeping: NumPy loops with the same draws, the book's mazes, and Q* of the model."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl import ArgumentError, OnPolicyConfig, Transition, make, on_policy, planning
from jaxrl.agents import DynaQHparams, PrioritisedSweepingHparams, dyna_q, prioritised_sweeping
from jaxrl.recipes import tabular_dyna as dyna
from jaxrl.training import as_arrays
from tests.mutants import planted

S, A, STEPS = 6, 3, 60
GAMMA, ALPHA = 0.9, 0.5


def random_steps(seed: int = 0) -> list[tuple]:
    """Transitions (s, a, r, terminated, s') of a deterministic environment, in which some of them end the episode.

    Some pairs are never tried.
    """
    rng = np.random.default_rng(seed)
    following, rewards = rng.integers(0, S, (S, A)), rng.normal(size=(S, A)).astype(np.float32)
    steps: list[tuple] = []
    state = 0
    while len(steps) < STEPS:
        action = int(rng.integers(0, A - (state == 2)))
        after = int(following[state, action])
        ends = after == S - 1 or (state + action) % 4 == 3  # also where the next state has a value
        steps.append((state, action, rewards[state, action], ends, after))
        state = int(rng.integers(0, S - 1)) if ends else after
    return steps


def batch_of(step: tuple) -> Transition:
    state, action, reward, terminated, after = (jnp.asarray(x).reshape(1, 1) for x in step)
    return Transition(state, action, reward, terminated, jnp.zeros((1, 1), bool), after)


def learn_all(agent, hparams, steps: list[tuple]):
    """The state and the metrics after each step, which is learned when the clock shows its number."""
    state = agent.init(jax.random.key(0), as_arrays(hparams), jnp.int32(0))
    update, states = jax.jit(partial(agent.update)), []
    for t, step in enumerate(steps):
        state, metrics, errors = update(state, batch_of(step), jax.random.key(t), jnp.float32(t))
        states.append((state, metrics, errors))
    return states


def loop_of_dyna_q(steps: list[tuple], n: int, kappa: float) -> np.ndarray:
    """Sutton & Barto's loop, with the agent's uniform numbers."""
    q, model, tried_at = np.zeros((S, A)), {}, np.zeros((S, A))

    def learn(s: int, a: int, r: float, terminated: bool, after: int) -> None:
        q[s, a] += ALPHA * (r + (0 if terminated else GAMMA * q[after].max()) - q[s, a])

    draws = jax.jit(
        jax.vmap(lambda t, i: jax.random.uniform(jax.random.fold_in(jax.random.key(t), i), (2,)), in_axes=(None, 0))
    )
    for t, (s, a, *outcome) in enumerate(steps):
        learn(s, a, *outcome)
        model[s, a], tried_at[s, a] = outcome, t
        for first, second in np.asarray(draws(t, jnp.arange(n)), np.float64):
            states = sorted({s for s, _ in model})
            state = states[int(first * len(states))]
            actions = list(range(A)) if kappa else sorted(a for s, a in model if s == state)
            action = actions[int(second * len(actions))]
            reward, *rest = model.get((state, action), (0.0, False, state))
            learn(state, action, reward + kappa * np.sqrt(t - tried_at[state, action]), *rest)
    return q


@pytest.mark.parametrize("kappa", [0.0, 0.1])
def test_dyna_q_is_the_books_loop(kappa: float) -> None:
    steps, n = random_steps(), 7
    hparams = DynaQHparams(ALPHA, discount=GAMMA, planning_steps=n, exploration_bonus=kappa)
    *_, (state, metrics, _) = learn_all(dyna_q(S, A, lambda x: x), hparams, steps)
    np.testing.assert_allclose(state.q_values, loop_of_dyna_q(steps, n, kappa), rtol=1e-4, atol=1e-5)
    assert metrics["backups"].sum == n
    assert state.visits.sum() == (n + 1) * len(steps)
    assert not state.model.tried[S - 1].any()
    assert state.model.tried.sum() == len({step[:2] for step in steps})


def test_dyna_q_without_planning_is_q_learning() -> None:
    steps = random_steps()
    hparams = DynaQHparams(ALPHA, discount=GAMMA, planning_steps=0)
    *_, (state, _, _) = learn_all(dyna_q(S, A, lambda x: x), hparams, steps)
    np.testing.assert_allclose(state.q_values, loop_of_dyna_q(steps, 0, 0.0), rtol=1e-5, atol=1e-6)


def loop_of_sweeping(steps: list[tuple], n: int, theta: float) -> tuple[np.ndarray, list[int]]:
    """Sutton & Barto's loop with a queue as a dictionary."""
    q, backups = np.zeros((S, A)), []
    model: dict[tuple, list] = {}
    queue: dict[tuple, float] = {}

    def error(s: int, a: int) -> float:
        r, terminated, after = model[s, a]
        return r + (0 if terminated else GAMMA * q[after].max()) - q[s, a]

    def wait(pair: tuple) -> None:
        if abs(error(*pair)) > theta:
            queue[pair] = max(queue.get(pair, 0), abs(error(*pair)))

    for s, a, *outcome in steps:
        model[s, a] = outcome
        wait((s, a))
        backups.append(0)
        while queue and backups[-1] < n:
            pair = max(queue, key=lambda pair: queue[pair])
            del queue[pair]
            q[pair] += ALPHA * error(*pair)
            for before in model:
                if model[before][2] == pair[0]:
                    wait(before)
            backups[-1] += 1
    return q, backups


def test_prioritised_sweeping_is_the_books_loop() -> None:
    seen = set()
    for seed, n, theta in ((1, 3, 0.3), (2, 1, 0.01), (3, 1, 0.01), (4, 2, 0.1)):
        steps = random_steps(seed)
        hparams = PrioritisedSweepingHparams(ALPHA, discount=GAMMA, planning_steps=n, priority_threshold=theta)
        learned = learn_all(prioritised_sweeping(S, A, lambda x: x), hparams, steps)
        q, backups = loop_of_sweeping(steps, n, theta)
        np.testing.assert_allclose(learned[-1][0].q_values, q, rtol=1e-4, atol=1e-5)
        assert [int(metrics["backups"].sum) for _, metrics, _ in learned] == backups
        seen |= set(backups)
    assert {0, 1, 2, 3} == seen


def q_star(model, discount: float) -> np.ndarray:
    """Of the deterministic models of many runs, `[runs, S, A]`; an untried action is worth zero."""
    after, reward, terminated, tried, _ = (np.asarray(x) for x in model)
    q = np.zeros(reward.shape)
    for _ in range(1000):
        values = np.take_along_axis(q.max(2)[:, None], after, axis=2)
        q = np.where(tried, reward + discount * np.where(terminated, 0, values), 0)
    return q


def train(agent, hparams, env, params, steps: int, runs: int):
    trainer = on_policy(agent, env, params, OnPolicyConfig(num_envs=1, rollout_length=1))

    @jax.jit
    def learn(keys):
        states = jax.vmap(trainer.init, in_axes=(0, None))(keys, as_arrays(hparams))
        return jax.lax.scan(lambda states, _: jax.vmap(trainer.step)(states), states, length=steps)

    return learn(jax.random.split(jax.random.key(0), runs))


@pytest.mark.parametrize("make_agent", [dyna_q, prioritised_sweeping])
def test_the_table_becomes_q_star_of_the_learned_model(make_agent) -> None:
    """In many runs side by side, each of its own model: after so few steps these differ."""
    env, params = make("GridWorld", map="....\n.#..\n.H.G\nmove = -1\nH = -5\nG = 2", max_steps_in_episode=100)
    hparams = PrioritisedSweepingHparams(1.0, planning_steps=400, priority_threshold=0.0, epsilon=0.5)
    states, _ = train(make_agent(12, 4, env.state_of), hparams, env, params, 60, runs=10)
    tried = np.asarray(states.agent.model.tried)
    assert len(np.unique(tried.sum((1, 2)))) > 1
    np.testing.assert_allclose(states.agent.q_values, q_star(states.agent.model, 0.95), atol=1e-4)


def numpy_lengths(rng: np.random.Generator, env, params, episodes: int, n: int, alpha: float = 0.1) -> list[int]:
    """The lengths of episodes of Dyna-Q, with random draws of its own. γ = 0.95, ε = 0.1."""
    wall, goal = env.grid.wall, env.grid.terminal
    height, width = wall.shape
    start = int(np.flatnonzero(env.grid.start)[0])
    q, model, lengths = np.zeros((wall.size, 4)), {}, []
    seen: dict[int, list[int]] = {}

    def learn(s: int, a: int, r: float, terminated: bool, after: int) -> None:
        q[s, a] += alpha * (r + (0 if terminated else 0.95 * q[after].max()) - q[s, a])

    for _ in range(episodes):
        state, length, terminated = start, 0, False
        while not terminated:
            best = np.flatnonzero(q[state] == q[state].max())
            action = int(rng.integers(4)) if rng.random() < 0.1 else int(rng.choice(best))
            y, x = divmod(state, width)
            dy, dx = ((0, 1), (0, -1), (-1, 0), (1, 0))[action]
            y, x = min(max(y + dy, 0), height - 1), min(max(x + dx, 0), width - 1)
            after = state if wall[y, x] else y * width + x
            terminated = bool(goal[y, x])
            model[state, action] = 1.0 * terminated, terminated, after
            seen.setdefault(state, [])
            if action not in seen[state]:
                seen[state].append(action)
            learn(state, action, *model[state, action])
            states = list(seen)
            for _ in range(n):
                s = states[int(rng.integers(len(states)))]
                a = seen[s][int(rng.integers(len(seen[s])))]
                learn(s, a, *model[s, a])
            state, length = after, length + 1
        lengths.append(length)
    return lengths


def check_lengths(maze: str, n: int, episodes: int, loops: int, runs: int) -> np.ndarray:
    """The mean lengths, each of which is near that of the NumPy loop: 2.6 standard errors, with all episodes at once.

    With Bonferroni's correction for several episodes the level is 99 % for all together.
    """
    env, params = make("GridWorld", map=maze, max_steps_in_episode=100_000)
    keys = jax.random.split(jax.random.key(n), runs)
    ours = dyna.episode_lengths(maze, PrioritisedSweepingHparams(planning_steps=n), keys, episodes)
    rng = np.random.default_rng(n)
    loop = np.array([numpy_lengths(rng, env, params, episodes, n) for _ in range(loops)])
    # Single episodes are skewed: sums of groups of five are compared.
    ours, loop = (x.reshape(len(x), -1, 5).sum(2) for x in (ours, loop))
    deviation = np.sqrt(ours.var(0, ddof=1) / runs + loop.var(0, ddof=1) / loops)
    level = {1: 2.58, 2: 2.81, 3: 2.94, 4: 3.02, 6: 3.14}[ours.shape[1]]
    assert (abs(ours.mean(0) - loop.mean(0)) < level * deviation).all(), (ours.mean(0), loop.mean(0), deviation)
    return ours.mean(0) / 5


SMALL_MAZE = "S.#G\n..#.\n....\nmove = 0\nG = 1\n"


def test_episodes_are_as_long_as_those_of_a_numpy_loop() -> None:
    """The sum of the first five, with 3 planning steps."""
    check_lengths(SMALL_MAZE, n=3, episodes=5, loops=40, runs=200)


@pytest.mark.slow
@pytest.mark.parametrize("n", [0, 5, 50])
def test_the_dyna_maze(n: int) -> None:
    """Figure 8.2: near 14 steps after some 25 episodes without planning, 5 with 5 planning steps, 3 with 50."""
    lengths = check_lengths("dyna_maze", n, episodes=30, loops={0: 100, 5: 60, 50: 20}[n], runs=100)
    near = 21.0  # with ε = 0.1
    assert {0: lengths[4] > near > lengths[5] - 1, 5: lengths[0] > near > lengths[1], 50: near > lengths[1]}[n]


@pytest.mark.slow
def test_the_bonus_finds_what_has_changed() -> None:
    """Figures 8.4 and 8.5: Dyna-Q+ is ahead at the end, and in the shortcut maze it alone finds the new path."""
    keys = jax.random.split(jax.random.key(0), 30)
    for phases, n, kappa, ahead in ((dyna.BLOCKING, 10, 1e-4, 1.3), (dyna.SHORTCUT, 50, 1e-3, 1.2)):
        hparams = partial(PrioritisedSweepingHparams, 1.0, planning_steps=n)
        plain, plus = (dyna.cumulative_rewards(phases, hparams(exploration_bonus=k), keys) for k in (0.0, kappa))
        assert plus[:, -1].mean() > ahead * plain[:, -1].mean()
    late = [x[:, -1] - x[:, -1001] for x in (plain, plus)]
    assert late[1].mean() > 1.2 * late[0].mean()  # 10 steps in place of 16


@pytest.mark.slow
def test_prioritised_sweeping_needs_a_fifth_of_the_backups() -> None:
    """Until the error of every pair that was tried is below 1e-3, from one model of the whole Dyna maze."""
    env, params = make("GridWorld", map="dyna_maze")
    mdp = env.mdp(params.replace(discount=0.95))
    best, acts = planning.q_value_iteration(mdp).q_values, np.asarray(planning.acting_states(mdp))
    cells = np.flatnonzero(acts)
    after = np.asarray(mdp.transition.argmax(-1), np.int32)
    pairs = jnp.asarray(np.stack(np.meshgrid(cells, np.arange(4), indexing="ij"), -1).reshape(-1, 2))
    first, action = pairs.T
    ends = mdp.terminal[after[first, action]]
    everything = Transition(first, action, mdp.reward[first, action], ends, ~ends & False, after[first, action])

    def backups(make_agent) -> int:
        agent = make_agent(54, 4, lambda x: x)
        hparams = as_arrays(PrioritisedSweepingHparams(1.0, planning_steps=1, priority_threshold=1e-4))
        state = agent.init(jax.random.key(0), hparams, jnp.int32(0))
        step = jax.tree.map(lambda x: x[:1], everything)  # nothing new
        state = state._replace(model=state.model.learn(everything, jnp.float32(0)))
        if make_agent is prioritised_sweeping:
            start = abs(everything.reward)
            state = state._replace(priorities=state.priorities.at[first, action].set(start))

        def go(loop):
            state, count = loop
            state, *_ = agent.update(state, step, jax.random.fold_in(jax.random.key(1), count), jnp.float32(0))
            return state, count + 1

        def wrong(loop):
            return (abs(loop[0].q_values - best)[cells].max() > 1e-3) & (loop[1] < 20_000)

        return int(jax.jit(lambda state: jax.lax.while_loop(wrong, go, (state, jnp.int32(0))))(state)[1])

    counts = {make_agent: backups(make_agent) for make_agent in (dyna_q, prioritised_sweeping)}
    assert counts[dyna_q] > 5 * counts[prioritised_sweeping]
    assert counts[prioritised_sweeping] < 400  # 188 pairs, most once


MUTANTS = [
    (partial(test_dyna_q_is_the_books_loop, 0.1), "jaxrl.agents.dyna_q:dyna_q", [
        ("no bonus", "step.reward + bonus[first, action]", "step.reward"),
        ("a bonus of the wrong sign", "step.reward + bonus", "step.reward - bonus"),
        ("a bonus without a root", "jnp.sqrt(env_steps - model.tried_at)", "(env_steps - model.tried_at)"),
        ("untried actions are not imagined", "model.tried[first] | plus", "model.tried[first]"),
        ("the model from before the step", "model = state.model.learn(batch, env_steps)", "model = state.model"),
        ("one draw for state and action", "draw(which[1]", "draw(which[0]"),
        ("forgets the real step", "plan, learned)", "plan, state.learner)"),
    ]),
    (partial(test_dyna_q_is_the_books_loop, 0.0), "jaxrl.agents.dyna_q:dyna_q", [
        ("imagines what was never tried", "model.tried[first] | plus", "model.tried[first] | True"),
        ("all states", "model.tried.any(1)", "jnp.ones(num_states, bool)"),
        ("the same draws in every planning step", "jax.random.fold_in(key, i)", "key"),
        ("one planning step less", "(0, hparams.planning_steps", "(1, hparams.planning_steps"),
    ]),
    (partial(test_dyna_q_is_the_books_loop, 0.0), "jaxrl.agents.dyna_q:TabularModel.imagine", [
        ("no termination", "terminated = self.terminated[pair]", "terminated = self.tried[pair] & False"),
        ("stays", "never, self.next_state[pair]", "never, state"),
    ]),
    (partial(test_dyna_q_is_the_books_loop, 0.0), "jaxrl.agents.dyna_q:draw", [
        ("off by one", "<= rank", "< rank"),
    ]),
    (test_prioritised_sweeping_is_the_books_loop, "jaxrl.agents.prioritised_sweeping:prioritised_sweeping", [
        ("pops the smallest", "priorities.argmax()", "priorities.argmin()"),
        ("does not leave the queue", ".at[first, action].set(0.0)", ".at[first, action].set(priorities.max())"),
        ("successors in place of predecessors", "model.next_state == first", "pairs[0] == model.next_state[first, 0]"),
        ("no threshold", "(change > threshold)", "(change > 0)"),
        ("forgets the queue", "state.priorities.at", "(0 * state.priorities).at"),
        ("one backup more", "backups < hparams", "backups <= hparams"),
    ]),
    (test_prioritised_sweeping_is_the_books_loop, "jaxrl.agents.prioritised_sweeping:errors_of", [
        ("bootstraps from terminations", "jnp.where(step.terminated, 0.0, learned.hparams.discount)",
         "learned.hparams.discount"),
    ]),
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(
    ("test", "function", "old", "new"),
    [
        pytest.param(test, function, old, new, id=name)
        for test, function, errors in MUTANTS
        for name, old, new in errors
    ],
)
def test_a_planted_error_is_seen(test, function: str, old: str, new: str) -> None:
    with planted(function, old, new), pytest.raises(AssertionError):
        test()


def test_hyperparameters_may_be_plain_numbers() -> None:
    agent = dyna_q(2, 1, lambda x: x)
    state = agent.init(jax.random.key(0), DynaQHparams(planning_steps=3), jnp.int32(0))
    no = jnp.zeros((1, 1), bool)
    batch = Transition(jnp.zeros((1, 1), int), jnp.zeros((1, 1), int), jnp.ones((1, 1)), no, no, jnp.ones((1, 1), int))
    _, metrics, _ = agent.update(state, batch, jax.random.key(1), jnp.float32(1))
    assert metrics["backups"].sum == 3


def row(*parts) -> Transition:
    """Transitions `[1, B]` of states, actions, rewards, terminations, truncations and next states."""
    return Transition(*(jnp.asarray(x).reshape(1, -1) for x in parts))


@pytest.mark.parametrize("make_agent", [dyna_q, prioritised_sweeping])
def test_errors_are_those_of_real_transitions_and_a_truncation_is_no_end(make_agent) -> None:
    agent = make_agent(3, 1, lambda x: x)
    hparams = as_arrays(PrioritisedSweepingHparams(1.0, discount=0.5, planning_steps=1, priority_threshold=0.1))
    state = agent.init(jax.random.key(0), hparams, jnp.int32(0))
    state = state._replace(learner=state.learner._replace(q_values=jnp.array([[1.0], [4.0], [0.0]])))
    batch = row([0, 2], [0, 0], [2.0, -1.0], [False, False], [True, False], [1, 2])
    after, metrics, errors = agent.update(state, batch, jax.random.key(0), jnp.float32(0))
    np.testing.assert_allclose(errors, [[2 + 0.5 * 4 - 1, -1]])
    np.testing.assert_allclose(metrics["td_error"].sum, 2)
    assert not after.model.terminated.any()


def test_a_pair_in_the_queue_keeps_its_largest_priority() -> None:
    agent = prioritised_sweeping(2, 1, lambda x: x)
    hparams = as_arrays(PrioritisedSweepingHparams(1.0, planning_steps=0, priority_threshold=0.1))
    state = agent.init(jax.random.key(0), hparams, jnp.int32(0))
    for reward in (3.0, 1.0, 0.0):
        batch = row([0], [0], [reward], [True], [False], [1])
        state, *_ = agent.update(state, batch, jax.random.key(0), jnp.float32(0))
        assert state.priorities[0, 0] == 3


def test_the_recipe() -> None:
    env, _ = make("GridWorld", map="S.G")
    agent = dyna.make_learner(env, dyna.Dyna(search_control="prioritised"))
    state = agent.init(jax.random.key(0), as_arrays(PrioritisedSweepingHparams()), jnp.zeros(3))
    assert isinstance(state.priorities, jax.Array)
    slips = make("GridWorld", map="S.G", slip_probability=0.1)
    with pytest.raises(ArgumentError, match="slip_probability must be 0"):
        dyna.build_dyna(*slips, dyna.Dyna())
