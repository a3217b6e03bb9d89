"""Environments that step on the host: they learn what the same environments learn as pure functions."""

import dataclasses
import importlib
import itertools
from collections.abc import Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl import (
    Agent,
    Decision,
    Input,
    Mean,
    MinibatchConfig,
    OffPolicyConfig,
    OnPolicyConfig,
    PPOHparams,
    RainbowHparams,
    ReinforceHparams,
    Sample,
    SequenceConfig,
    actor_critic,
    dqn,
    off_policy,
    on_policy,
    ppo,
    recurrent_ppo,
    reinforce,
    rollout,
    vectorize,
)
from jaxrl.arguments import ArgumentError
from jaxrl.envs import HostError, from_gymnasium
from jaxrl.envs.host_source import HostSource, no_settling
from jaxrl.networks import QNetwork
from jaxrl.networks.recurrent import RecurrentActorCritic
from jaxrl.training import Checkpoints, Evaluation, Program, evaluate, repeat, run
from jaxrl.training.host_program import HostProgram
from jaxrl.training.population import RunState
from jaxrl.training.program import init_run_state, iterate
from jaxrl.types import Discrete
from tests.compiling import quick_jit
from tests.envs.counters import Corridor, HostCorridor, host_corridor
from tests.mutants import planted

N, T, ITERATIONS = 5, 4, 3
host_loop = importlib.import_module("jaxrl.training.host_loop")  # the module, not the function
KEY = jax.random.key(3)
NETWORK = actor_critic(jnp.zeros(2), Discrete(2), (8,), "tanh")
ON = OnPolicyConfig(num_envs=N, rollout_length=T)
MEMORY = RecurrentActorCritic(Discrete(2), 8, 8, 0)
SEQUENCES = SequenceConfig(num_epochs=2, num_minibatches=1, sequence_length=2)


def clockwork() -> Agent:
    """Its actions say what it remembers, the steps of the episode so far, and what the clock is. It adds a constant."""

    def policy(state, given, key, env_steps=0.0):
        action = (given.memory + env_steps / N).astype(jnp.int32) // 2 % 2
        return Decision(action, given.memory + 1, extras=given.memory)

    def act(state, given, key, env_steps):
        return policy(state, given, key, env_steps)._replace(extras=given.memory + given.constants)

    def update(state, batch, key, env_steps, constants):
        steps = batch.transitions if isinstance(batch, Sample) else batch
        wrong = (steps.extras != steps.observation[..., 1] + constants).sum()
        return state, {"wrong": Mean(wrong, jnp.int32(1))}, ()

    constants = np.int32(7)
    return Agent(lambda *_: (), act, policy, update, lambda state, n: jnp.zeros(n, jnp.int32), constants=constants)


TRAINERS: dict[str, Any] = {
    "clockwork": (on_policy, clockwork(), OnPolicyConfig(N, 3, True), ()),
    "clockwork with a replay": (
        off_policy, clockwork(), OffPolicyConfig(num_envs=N, batch_size=8, replay_capacity=100, warmup_steps=33), (),
    ),
    "ppo": (on_policy, ppo(NETWORK, MinibatchConfig(num_epochs=2, num_minibatches=2)), ON, PPOHparams(0.05)),
    "recurrent": (on_policy, recurrent_ppo(MEMORY, SEQUENCES), ON, PPOHparams(0.05)),
    "reinforce": (on_policy, reinforce(NETWORK), OnPolicyConfig(N, 6, True), ReinforceHparams(learning_rate=0.05)),
    "dqn": (
        off_policy,
        dqn(QNetwork(2, (8,))),
        OffPolicyConfig(
            num_envs=N, rollout_length=T, updates_per_iteration=2, batch_size=8, replay_capacity=100, warmup_steps=12,
            replay="prioritised", n_step=2,
        ),
        RainbowHparams(learning_rate=0.05, epsilon_decay_steps=80.0, target_update_period=2),
    ),
}  # fmt: skip


def trainer_of(kind: str, env: Any):
    make, agent, config, hparams = TRAINERS[kind]
    return make(agent, env, getattr(env, "default_params", None), config), hparams


def snapshot(run_state: RunState) -> RunState:
    """NumPy arrays, which a program cannot take over."""
    keys = jax.dtypes.prng_key
    return jax.tree.map(lambda x: np.array(jax.random.key_data(x) if jnp.issubdtype(x.dtype, keys) else x), run_state)


def scanned(kind: str, masked: bool) -> list[RunState]:
    """The state after each iteration, from the compiled program of pure functions."""
    trainer, hparams = trainer_of(kind, Corridor(masked))
    run_state = quick_jit(partial(init_run_state, trainer))(KEY, hparams, trainer.constants)
    step, states = quick_jit(partial(iterate, trainer)), [snapshot(run_state)]
    for _ in range(ITERATIONS):
        run_state = step(run_state, trainer.constants)
        states.append(snapshot(run_state))
    return states


def hosted(kind: str, overlap: bool = True, calls: Sequence[int] = (1,) * ITERATIONS):
    """The same on the host."""
    trainer, hparams = trainer_of(kind, host_corridor(MASKED[kind]))
    program = HostProgram(trainer, KEY, hparams, overlap=overlap)
    run_state = program.init(KEY, hparams)
    advance, states = program.compiled(), [snapshot(run_state)]
    for iterations in calls:
        run_state = advance(run_state, iterations)
        states.append(snapshot(run_state))
    return states


def check_close(ours: RunState, theirs: RunState) -> None:
    """Two states are equal up to rounding, and to the bit in their episodes. Observations are stored in other forms."""
    for name in ("episode_return", "episode_length", "legal"):
        chex.assert_trees_all_equal(*(getattr(x.state.source.envs, name) for x in (ours, theirs)))
    for name in ("episode_return", "episode_length"):
        chex.assert_trees_all_equal(ours.metrics[name], theirs.metrics[name])
    parts = [(x.state.agent, x.state.source.memory, x.metrics, x.state.iteration, x.state.key) for x in (ours, theirs)]
    chex.assert_trees_all_close(*parts, rtol=2e-4, atol=1e-5)
    if ours.state.replay:
        chex.assert_trees_all_close(ours.state.replay.sampler, theirs.state.replay.sampler, rtol=2e-4, atol=1e-5)


MASKED = {kind: kind in ("recurrent", "reinforce") for kind in TRAINERS}


@cache
def expected(kind: str) -> list[RunState]:
    return scanned(kind, MASKED[kind])


@pytest.mark.parametrize("kind", TRAINERS)
def test_they_learn_what_pure_functions_learn(kind: str) -> None:
    for ours, theirs in zip(hosted(kind), expected(kind), strict=True):
        check_close(ours, theirs)
    if kind.startswith("clockwork"):
        assert ours.metrics["wrong"].sum == 0
    else:
        assert ours.metrics["episode_return"].count > 4


@pytest.mark.parametrize(
    ("kind", "overlap", "calls"),
    [("recurrent", False, (1, 2)), pytest.param("dqn", False, (3,), marks=pytest.mark.slow)],
)
def test_halves_and_calls_change_no_bit(kind: str, overlap: bool, calls: Sequence[int]) -> None:
    *_, one = hosted(kind)
    *_, other = hosted(kind, overlap, calls)
    chex.assert_trees_all_equal(one, other)


MUTANTS = [
    ("recurrent", "gymnasium_env:GymnasiumEnvs.step", "self._seen(first) if", "self._seen(first) if False and"),
    ("ppo", "gymnasium_env:GymnasiumEnvs.step", "after, following)", "following, following)"),
    ("ppo", "gymnasium_env:GymnasiumEnvs.step", "np.array(ends, bool).T", "np.array(ends, bool).T[::-1]"),
    ("ppo", "gymnasium_env:GymnasiumEnvs.step", "bool(terminated), bool", "bool(terminated or truncated), bool"),
    ("recurrent", "host_source:HostSource.play", "done[rows] = step.done", "done[rows] = False"),
    ("recurrent", "host_source:HostSource.play", "decisions[half].memory), done", "decisions[0].memory), done"),
    ("recurrent", "host_source:HostSource.play", "in decisions], done", "in decisions], done & False"),
    (
        "recurrent",
        "host_source:merge",
        "x[r] for x, r in zip(xs, rows, strict=True)",
        "x[r] for x, r in zip(xs[::-1], rows, strict=True)",
    ),
    ("ppo", "host_source:_gather", "for half in range(halves)", "for half in reversed(range(halves))"),
    ("ppo", "host_source:HostSource._step", "np.where(over, 0, episode_return)", "episode_return"),
    (
        "ppo",
        "host_source:HostSource._step",
        "before = self.rows[half], self.seen[half]",
        "before = self.rows[half], self.seen[0]",
    ),
    ("dqn", "host_source:HostSource._step", "episode_length[rows] + 1", "episode_length[rows]"),
    ("ppo", "host_source:_metrics", "np.where(over, x, 0)", "np.where(True, x, 0)"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "function", "old", "new"), MUTANTS)
def test_an_error_is_seen(kind: str, function: str, old: str, new: str) -> None:
    expected(kind)
    with planted(f"jaxrl.envs.{function}", old, new), pytest.raises((AssertionError, TypeError, ValueError)):
        test_they_learn_what_pure_functions_learn(kind)


def test_the_places_of_all_errors_are_there() -> None:
    for _, function, old, new in MUTANTS:
        with planted(f"jaxrl.envs.{function}", old, new):
            pass


def at_random(given: Input, key: jax.Array) -> jax.Array:
    return jax.random.randint(key, given.observation.shape[:1], 0, 2)


def test_evaluations_and_rollouts_are_those_of_pure_functions() -> None:
    hosted, pure = vectorize(host_corridor(), None, 7), vectorize(Corridor(), Corridor.default_params, 7)
    for max_steps in (2, 9):
        given, wanted = (evaluate(at_random, envs, KEY, max_steps) for envs in (hosted, pure))
        chex.assert_trees_all_equal(given, Evaluation(*map(np.asarray, wanted)))
    assert given.ended.all()
    ours, theirs = (rollout(env, at_random, KEY, 20, 3) for env in (host_corridor(True), Corridor(True)))
    chex.assert_trees_all_equal(ours, theirs)
    assert ours.truncated.any()
    with pytest.raises(ArgumentError, match=r"env must be stepped outside of jax\.jit, .*, got 'Corridor'"):
        jax.jit(lambda key: evaluate(at_random, hosted, key, 9))(KEY)


def test_a_resumed_run_says_what_it_has_lost(tmp_path: Path) -> None:
    trainer, hparams = trainer_of("dqn", host_corridor())
    said: list[str] = []
    train = partial(run, trainer, KEY, hparams, log_every=40, checkpoints=Checkpoints(tmp_path), notify=said.append)
    first = train(total_steps=100)
    kept = snapshot(RunState(first.state, {}, jnp.int32(0)))
    assert said == []
    again = train(total_steps=100, resume=True)
    lost, resumed = said
    assert lost == "Corridor cannot be restored: its environments start new episodes"
    assert resumed.startswith("resuming at 100 ")
    chex.assert_trees_all_equal(snapshot(RunState(again.state, {}, jnp.int32(0))), kept)
    last = train(total_steps=200, resume=True)
    assert int(last.state.iteration) == int(kept.state.iteration) + 5
    assert (last.state.source.envs.episode_length <= 5).all()


def test_a_policy_on_the_host_remembers_as_in_pure_functions() -> None:
    """In evaluations and rollouts, from a memory that is not zero on."""
    agent, memory, played = clockwork(), jnp.full(3, 3), []
    for env, params in ((host_corridor(), None), (Corridor(), Corridor.default_params)):
        policy = partial(agent.policy, ())
        evaluation = evaluate(policy, vectorize(env, params, 3), KEY, 9, memory)
        played.append((tuple(evaluation), rollout(env, policy, KEY, 20, 3, params, memory)))
    chex.assert_trees_all_equal(*jax.tree.map(np.asarray, played))
    steps = played[0][1]
    np.testing.assert_array_equal(steps.extras, 3 + steps.observation[..., 1])
    assert (steps.terminated | steps.truncated)[:-1].any()


@pytest.mark.parametrize("overlap", [False, True])
def test_what_was_passed_on_stays_when_environments_go_on(overlap: bool) -> None:
    """A device may not have read it yet."""
    source, kept = HostSource(host_corridor(), 3), []

    def act(given: Input, done: np.ndarray, t: int) -> Decision:
        kept.append(jax.tree.map(lambda x: (x, x.copy()), (given.observation, done)))
        return Decision(jnp.ones(3, jnp.int32))

    source.reset(np.arange(3))
    before = source.state
    for _ in source.play(act, 6, no_settling, overlap):
        pass
    for given, copied in itertools.chain(*kept):
        np.testing.assert_array_equal(given, copied)
    assert any(copied.any() for _, (_, copied) in kept)
    np.testing.assert_array_equal(before.episode_length, 0)
    np.testing.assert_array_equal(before.episode_return, 0)
    np.testing.assert_array_equal(source.state.episode_length, 2)


class Failing(HostCorridor):
    """Raises an error in its last step."""

    steps_left = 60

    def step(self, action):
        type(self).steps_left -= 1
        if type(self).steps_left < 0:
            raise OSError("the emulator is gone")
        return super().step(action)


@pytest.mark.parametrize("agents", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_run_whose_environment_fails_is_saved_first(agents: int, tmp_path: Path, monkeypatch) -> None:
    env = from_gymnasium(lambda mode: Failing(), "Failing")
    trainer, hparams = trainer_of("ppo", env)
    key, hparams = (KEY, hparams) if agents == 1 else (jax.random.split(KEY, 2), repeat(hparams, 2))
    monkeypatch.setattr(Failing, "steps_left", 130 if agents == 1 else 310)
    checkpoints = Checkpoints(tmp_path)
    monkeypatch.setattr(host_loop._Loop, "pace", lambda self: 2)
    with pytest.raises(HostError, match=r"^Failing raised in step: OSError: the emulator is gone$") as error:
        run(trainer, key, hparams, 400, log_every=10**6, checkpoints=checkpoints, notify=lambda line: None)
    assert isinstance(error.value.__cause__, OSError)
    assert checkpoints.steps() == [6]  # of a population, what all agents have finished: the first one was at 8
    monkeypatch.setattr(Failing, "steps_left", 10**6)
    resumed = run(trainer, key, hparams, 400, checkpoints=checkpoints, resume=True, notify=lambda line: None)
    assert resumed.finished
    monkeypatch.setattr(Failing, "steps_left", 0)
    with pytest.raises(HostError, match="Failing raised in step"):
        run(trainer, key, hparams, 400)


def test_agents_of_a_population_learn_as_alone() -> None:
    trainer, hparams = trainer_of("dqn", host_corridor())
    keys, many = jax.random.split(KEY, 2), dataclasses.replace(repeat(hparams, 2), learning_rate=np.array([0.05, 0.01]))
    program = HostProgram(trainer, keys, many)
    together = program.init(keys, many)
    for iterations in (1, 2):
        together = program.compiled()(together, iterations)
    assert jax.tree.map(lambda x: x.shape, together) == jax.tree.map(lambda x: x.shape, program.shapes)
    for i in range(2):
        one = keys[i], dataclasses.replace(hparams, learning_rate=many.learning_rate[i])
        alone = HostProgram(trainer, *one)
        ours = snapshot(jax.tree.map(lambda x, i=i: x[i] if x.ndim else x, together))
        chex.assert_trees_all_equal(ours, snapshot(alone.compiled()(alone.init(*one), 3)))


def test_a_state_of_another_run_starts_new_episodes() -> None:
    trainer, hparams = trainer_of("ppo", host_corridor())
    program = HostProgram(trainer, KEY, hparams)
    first, second = (program.init(key, hparams) for key in jax.random.split(KEY))
    del second
    after = program.compiled()(first, 1)
    assert int(after.state.iteration) == 1


def test_what_is_restored_starts_new_episodes(monkeypatch) -> None:
    """With other seeds each time and for each agent, and the memory of a first step; also after an error."""
    seeds, memories = [], []
    reset, play = HostSource.reset, HostSource.play

    def reset_and_note(self, numbers, memory=()):
        seeds.append(tuple(numbers))
        return reset(self, numbers, memory)

    def play_and_note(self, *arguments):
        memories.append(np.asarray(self.memory))
        return play(self, *arguments)

    monkeypatch.setattr(HostSource, "reset", reset_and_note)
    monkeypatch.setattr(HostSource, "play", play_and_note)
    monkeypatch.setattr(Failing, "steps_left", 6 * N * T + 7)
    trainer, hparams = trainer_of("recurrent", from_gymnasium(lambda mode: Failing(), "Failing"))
    keys, many = jax.random.split(KEY, 2), repeat(hparams, 2)
    program = HostProgram(trainer, keys, many, overlap=False)
    advance, run_state = program.compiled(), program.init(keys, many)
    for _ in range(2):
        run_state = advance(jax.tree.map(lambda x: x.copy(), run_state), 1)
    assert len(set(seeds)) == len(seeds) == 6
    run_state = advance(run_state, 1)
    with pytest.raises(HostError) as error:
        advance(run_state, 1)
    assert len(seeds) == 6
    np.testing.assert_array_equal(memories[:4], 0)
    assert memories[4].any()
    monkeypatch.setattr(Failing, "steps_left", 2 * N * T)
    advance(error.value.run_state, 1)
    assert len(set(seeds)) == len(seeds) == 8
    np.testing.assert_array_equal(memories[-2:], 0)


def test_the_faster_way_is_taken_after_both_were_tried() -> None:
    trainer, hparams = trainer_of("ppo", host_corridor())
    program = HostProgram(trainer, KEY, hparams)
    for alone, overlapping, overlaps in (
        ([1.0, 9, 9, 9, 9], [2.0] * 5, False),
        ([2.0] * 5, [9.0, 9, 9, 9, 1], True),
        ([1.0] * 5, [9.0] * 4, True),  # not yet tried as often
    ):
        program._seconds = {False: alone, True: overlapping}
        assert program._overlap() == overlaps


def test_environments_are_closed_after_an_error(monkeypatch) -> None:
    closed = []
    monkeypatch.setattr(Failing, "close", lambda self: closed.append(self))
    env = from_gymnasium(lambda mode: Failing(), "Failing")
    closed.clear()
    for play in (
        lambda: evaluate(at_random, vectorize(env, None, N), KEY, 9),
        lambda: rollout(env, at_random, KEY, 20, N),
    ):
        monkeypatch.setattr(Failing, "steps_left", 7)
        with pytest.raises(HostError):
            play()
    assert len(closed) == 2 * N


def test_what_is_refused() -> None:
    trainer, hparams = trainer_of("ppo", host_corridor())
    with pytest.raises(ArgumentError, match=r"trainer must be that of pure functions; .*, got one of Corridor"):
        Program(trainer, KEY, hparams)
    with pytest.raises(ArgumentError, match=r"trainer must be of environments that step on the host"):
        HostProgram(trainer_of("ppo", Corridor())[0], KEY, hparams)
    with pytest.raises(ArgumentError, match=r"num_devices must be 1, since Corridor steps on the host, got 2"):
        HostProgram(trainer, KEY, hparams, devices=jax.devices()[:2])
    with pytest.raises(ArgumentError, match=r"debug_nans must be False, for Corridor steps on the host"):
        run(trainer, KEY, hparams, 40, debug_nans=True)
    with pytest.raises(ArgumentError, match=r"key must be of shape \(\), as the program's"):
        HostProgram(trainer, KEY, hparams).init(jax.random.split(KEY, 2), repeat(hparams, 2))
    planner = TRAINERS["ppo"][1]._replace(needs_env_states=True)
    with pytest.raises(ArgumentError, match=r"agent must"):
        run(on_policy(planner, host_corridor(), None, ON), KEY, hparams, 40)
