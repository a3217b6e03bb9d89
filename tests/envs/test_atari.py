"""Atari games: gymnasium's frames, the rules, what counts, and states that are saved."""

import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrl
from jaxrl import Agent, Decision, Mean, OnPolicyConfig, on_policy, rollout, vectorize
from jaxrl.arguments import ArgumentError
from jaxrl.envs import HostError
from jaxrl.envs.host import Outcome, seeds
from jaxrl.envs.host_source import HostSource, no_settling
from jaxrl.envs.registry import describe_rules
from jaxrl.training import Checkpoints, evaluate, run
from tests.mutants import planted

pytest.importorskip("ale_py", reason="needs pip install 'jaxrl[atari]'")
from jaxrl.envs.atari import AtariEnvs, _Process
from jaxrl.envs.atari_emulators import Rules

FIVE = ["Pong", "Breakout", "SpaceInvaders", "Seaquest", "MsPacman"]
QBERT = Rules("qbert", 4, 30, 0.25, 400, False)  # a random player soon loses a life, and a point is worth 25
KEY = jax.random.key(0)


def envs_of(rules: Rules, num_envs: int, processes: int = 1, **options: bool) -> closing[AtariEnvs]:
    return closing(AtariEnvs("game", rules, num_envs, processes=processes, **options))


def actions_of(steps: int, num_envs: int, num_actions: int = 6) -> np.ndarray:
    return np.random.default_rng(2).integers(0, num_actions, (steps, num_envs))


ACTIONS = actions_of(110, 2)


@contextmanager
def gymnasiums(name: str, sticky: float, cap: int, frame_skip: int) -> Iterator[Any]:
    gymnasium = pytest.importorskip("gymnasium")
    import ale_py
    from gymnasium.wrappers import AtariPreprocessing, FrameStackObservation

    gymnasium.register_envs(ale_py)
    options: Any = {"frameskip": 1, "repeat_action_probability": sticky, "max_num_frames_per_episode": cap}
    env = gymnasium.make(f"ALE/{name}-v5", **options)
    wrapped: Any = FrameStackObservation(AtariPreprocessing(env, frame_skip=frame_skip), 4)
    with closing(wrapped):
        yield wrapped


def check_is_gymnasiums(name: str, steps: int, sticky: float, cap: int, frame_skip: int = 4) -> np.ndarray:
    """Steps a game beside gymnasium's; returns how many games were terminated, and how many truncated."""
    env, _ = jaxrl.make(f"atari:{name}", sticky=sticky, max_frames=cap, life_loss=False, frame_skip=frame_skip)
    ends = np.zeros(2, int)
    with gymnasiums(name, sticky, cap, frame_skip) as theirs, closing(env.make_envs(1, False)) as ours:
        np.testing.assert_array_equal(ours.reset(np.array([7])).observation[0], theirs.reset(seed=7)[0])
        for action in actions_of(steps, 1, len(env.action_names)):
            observation, reward, terminated, truncated, _ = theirs.step(int(action[0]))
            outcome = ours.step(action)
            np.testing.assert_array_equal(outcome.last.observation[0], observation)
            assert (outcome.score, outcome.reward) == (reward, np.sign(reward))
            assert (outcome.terminated, outcome.truncated) == (terminated, truncated and not terminated)
            ends += outcome.terminated[0], outcome.truncated[0]
            following = theirs.reset()[0] if terminated or truncated else observation
            np.testing.assert_array_equal(outcome.first.observation[0], following)
    return ends


def test_frames_and_scores_are_gymnasiums() -> None:
    """Of a game that ends, of one that is cut in the middle of a step, and of single frames."""
    assert check_is_gymnasiums("Breakout", 200, 0.25, 108_000)[0] == 1
    assert check_is_gymnasiums("Pong", 60, 0.0, 201)[1] == 1
    assert check_is_gymnasiums("Pong", 30, 0.0, 201, frame_skip=1).sum() == 0


@pytest.mark.slow
@pytest.mark.parametrize("sticky", [0.0, 0.25])
@pytest.mark.parametrize("name", FIVE)
def test_ten_thousand_frames_are_gymnasiums(name: str, sticky: float) -> None:
    check_is_gymnasiums(name, 10_000, sticky, 108_000)


def played(rules: Rules, steps: int, num_envs: int, processes: int, cut: int | None = None, **options: bool) -> list:
    """Outcomes of random actions. At `cut` they are those of others, which were restored from the first ones."""
    outcomes: list[Outcome] = []
    with envs_of(rules, num_envs, processes, **options) as envs:
        envs.reset(np.arange(num_envs))
        for t, actions in enumerate(actions_of(steps, num_envs)):
            if t == cut:
                break
            outcomes.append(envs.step(actions))
        saved = envs.save()
    if cut is not None:
        with envs_of(rules, num_envs, processes, **options) as envs:
            seen = envs.restore(saved)
            np.testing.assert_array_equal(seen.observation, outcomes[-1].first.observation)
            outcomes += [envs.step(actions) for actions in actions_of(steps, num_envs)[cut:]]
    return outcomes


def check_restored(processes: int) -> None:
    """Lost lives, ends of games, sticky actions and no-ops included."""
    whole = played(QBERT, 110, 3, 1, life_loss=True)
    cut = played(QBERT, 110, 3, processes, 30, life_loss=True)
    chex.assert_trees_all_equal(whole, cut)
    after = whole[30:]
    assert [sum(ends.sum() for ends in x) for x in zip(*[(y.terminated, y.over) for y in after], strict=True)] == [3, 3]


def check_remembers() -> None:
    """A game that goes on from what another game left, and in which every sticky action shows."""
    rules = Rules("tennis", 4, 30, 0.25, 120, False)
    chex.assert_trees_all_equal(played(rules, 60, 1, 1), played(rules, 60, 1, 1, 40))


def test_processes_and_restored_states_change_no_bit() -> None:
    check_restored(2)
    check_remembers()


def test_what_an_agent_learns_from_and_what_counts() -> None:
    """Scores are of whole games. Rewards are clipped, and lost lives end episodes with a new stack, if that is said."""
    plain = played(QBERT, 110, 2, 1, clip_rewards=False)
    learning = played(QBERT, 110, 2, 1, life_loss=True)
    scores, lives = np.stack([x.score for x in plain]), 0
    assert scores.max() >= 25
    np.testing.assert_array_equal(scores, np.stack([x.reward for x in plain]))
    for one, other in zip(plain, learning, strict=True):
        np.testing.assert_array_equal(one.over, one.terminated | one.truncated)
        np.testing.assert_array_equal((other.score, other.over), (one.score, one.over))
        np.testing.assert_array_equal(other.reward, one.score > 0)
        ended = other.terminated | other.truncated
        assert not (other.terminated & other.truncated).any()
        assert (one.over <= ended).all()
        np.testing.assert_array_equal(other.last.observation[:, -1], one.last.observation[:, -1])
        np.testing.assert_array_equal(other.first.observation[~ended], other.last.observation[~ended])
        begun = other.first.observation[ended]
        np.testing.assert_array_equal(begun, np.repeat(begun[:, -1:], 4, axis=1))
        lives += (ended & ~one.over).sum()
    assert lives == 2
    last = played(QBERT._replace(max_frames=200), 49, 3, 1, life_loss=True)[-1]  # a life is lost in the last frame
    assert last.truncated[1]
    assert not (last.terminated & last.truncated).any()


def test_screens_are_those_before_and_after_a_new_game() -> None:
    """Without no-ops, all games begin with the same picture."""
    with envs_of(Rules("pong", 4, 0, 0.0, 40, False), 2, 2, draws=True) as envs:
        pictures: Any = envs.reset(np.arange(2)).pictures
        (first, other), ends = pictures, 0
        np.testing.assert_array_equal(first, other)
        for actions in actions_of(20, 2):
            outcome: Any = envs.step(actions)
            last, after = outcome.last.pictures[0], outcome.first.pictures[0]
            assert (last != first).any()
            np.testing.assert_array_equal(after, first if outcome.over[0] else last)
            ends += outcome.over[0]
    assert ends == 2
    assert first.shape == (210, 160, 3)


def test_all_actions_are_offered_if_that_is_said() -> None:
    for all_actions, number in ((True, 18), (False, 6)):
        env, _ = jaxrl.make("atari:Pong", all_actions=all_actions)
        assert (len(env.action_names), env.action_space().n) == (number, number)
        assert env.action_names[:3] == (("noop", "fire", "up") if all_actions else ("noop", "fire", "right"))


def test_a_restored_source_knows_the_returns_so_far() -> None:
    env, _ = jaxrl.make("atari:Qbert", sticky=0.25, max_frames=400)
    with closing(HostSource(env, 2)) as source, closing(HostSource(env, 2)) as other:
        source.reset(np.arange(2))
        source.episode_return += [30, 50]
        source.episode_length += [7, 9]
        other.restore(source.save(), source.state, ())
        for one in (source, other):
            for step in one.play(lambda given, done, t: Decision(ACTIONS[t]), 2, no_settling):
                assert step.episode_return[0] == (30, 50)[step.half]
            np.testing.assert_array_equal(one.state.episode_length, [9, 11])


def test_sticky_actions_are_as_frequent_as_said() -> None:
    from jaxrl.envs.atari_emulators import Emulator

    emulator, repeats, frames = Emulator(QBERT), 0, 2000
    emulator.begin()
    for t in range(frames):
        before, action = emulator.repeated, emulator.actions[1 + t % 2]
        emulator.repeated = emulator.actions[3]
        emulator._act(action)
        repeats += emulator.repeated == emulator.actions[3]
        assert emulator.repeated in (action, emulator.actions[3])
        emulator.repeated = before
    assert abs(repeats / frames - 0.25) < 4 * np.sqrt(0.25 * 0.75 / frames)


def test_evaluations_and_training_report_scores() -> None:
    env, _ = jaxrl.make("atari:Qbert", sticky=0.25, max_frames=400)
    assert (env.frame_stack, env.can_save, len(env.action_names)) == (4, True, 6)
    for said in ("sticky actions 0.25", "lost lives end episodes in learning", "400-frame cap", "no-ops", "clipped"):
        assert said in describe_rules(env, None)
    lengths, ends, scores = {}, 0, np.zeros(2)
    with closing(HostSource(env, 2)) as source:
        source.reset(seeds(jax.random.split(KEY)[0], 2))
        for t, step in enumerate(source.play(lambda given, done, t: Decision(ACTIONS[t]), 110, no_settling)):
            ends += step.done[0]
            if step.half not in lengths:
                scores[step.half] += step.score[0]
            if step.over[0] and step.half not in lengths:
                assert step.episode_return[0] == scores[step.half]
                lengths[step.half] = t // 2 + 1
                assert step.episode_length[0] == lengths[step.half]
    assert ends > 2
    assert scores.max() == 50


def test_an_evaluation_is_the_score_of_a_whole_game(monkeypatch) -> None:
    env, _ = jaxrl.make("atari:Qbert", sticky=0.25, max_frames=400)
    step, outcomes = AtariEnvs.step, dict[int, list[Any]]()

    def step_and_note(self, actions):
        outcomes.setdefault(id(self), []).append(step(self, actions))
        return outcomes[id(self)][-1]

    def at_random(given, key):
        return jax.random.randint(key, given.observation.shape[:1], 0, 6)

    monkeypatch.setattr(AtariEnvs, "step", step_and_note)
    evaluation = evaluate(at_random, vectorize(env, None, 2), KEY, 110)
    assert evaluation.ended.all()
    assert len(outcomes) == 2
    for of_one, result in zip(outcomes.values(), evaluation.episode_return, strict=True):
        length = [bool(x.over[0]) for x in of_one].index(True) + 1
        assert any(x.terminated[0] for x in of_one[: length - 1])
        assert result == sum(x.score[0] for x in of_one[:length])
    assert evaluation.episode_return.max() >= 25
    steps = rollout(env, at_random, KEY, 110, 2)  # with the same actions
    for n in range(2):
        length = int(steps.truncated[:, n].argmax()) + 1
        assert steps.reward[:length, n].sum() == evaluation.episode_return[n]
    assert not steps.terminated.any()
    seams = np.asarray(steps.next_observation[:-1] != steps.observation[1:]).any((2, 3, 4)) & ~steps.truncated[:-1]
    assert seams.any()  # lost lives: the game goes on with a new stack
    begun, before = steps.observation[1:][seams], steps.next_observation[:-1][seams]
    np.testing.assert_array_equal(begun, np.repeat(before[:, -1:], 4, axis=1))


def checksums() -> Agent:
    """Acts at random, and keeps sums of all that it was shown."""

    def act(state, given, key, env_steps=0.0):
        return Decision(jax.random.randint(key, given.observation.shape[:1], 0, 6))

    def update(state, batch, key, env_steps, constants):
        weights = jnp.arange(batch.observation.size, dtype=jnp.uint32).reshape(batch.observation.shape)
        shown = sum((x * weights).sum(dtype=jnp.uint32) for x in (batch.observation, batch.next_observation))
        return state * 31 + shown, {"reward": Mean(batch.reward.sum(), jnp.int32(batch.reward.size))}, ()

    return Agent(lambda *_: jnp.uint32(1), act, lambda state, given, key: act(state, given, key), update)


def test_a_resumed_run_has_the_same_bits(tmp_path: Path) -> None:
    env, _ = jaxrl.make("atari:Qbert", sticky=0.25, max_frames=400)
    trainer = on_policy(checksums(), env, None, OnPolicyConfig(num_envs=2, rollout_length=20))
    said: list[str] = []
    train = partial(run, trainer, KEY, (), log_every=240, notify=said.append)
    whole = train(total_steps=240)
    part = train(total_steps=80, checkpoints=Checkpoints(tmp_path))
    resumed = train(total_steps=240, checkpoints=Checkpoints(tmp_path), resume=True)
    assert said == ["resuming at 80 environment steps"]
    assert part.state.agent != whole.state.agent
    chex.assert_trees_all_equal(resumed.state, whole.state)
    assert whole.row["episodes"] == 2
    for name in ("episode_return", "episode_length", "episodes", "reward"):
        assert resumed.row[name] == whole.row[name]
    checkpoints = Checkpoints(tmp_path)
    for file in [file for file in tmp_path.glob(f"{checkpoints.steps()[-1]}/envs/**/*") if file.is_file()]:
        file.unlink()
    again = train(total_steps=240, checkpoints=checkpoints, resume=True)
    assert "is damaged" in said[1]
    chex.assert_trees_all_equal(again.state, whole.state)


def test_an_emulator_that_fails_is_named(monkeypatch) -> None:
    with envs_of(QBERT, 2, 2) as envs:
        envs.reset(np.arange(2))
        for wrong in ([99, 0], [0, 99]):  # in another process, and in this one
            with pytest.raises(HostError, match=r"^game raised in step: .*IndexError.*") as error:
                envs.step(np.array(wrong))
            assert "atari_emulators.py" in str(error.value.__cause__)
        envs.step(np.array([0, 1]))
        worker: Any = envs.workers[0]
        worker = worker._process
        worker.send_signal(signal.SIGKILL)
        worker.wait()
        with pytest.raises(HostError, match=r"^game ended in step: the process of an emulator is gone$"):
            envs.step(np.array([0, 1]))


def test_a_process_ends_quietly_when_nobody_listens() -> None:
    """Also in the middle of an answer."""
    worker = _Process()
    worker.send(("make", tuple(QBERT), 1, False))
    worker.close()
    assert worker._process.returncode == 0


def test_what_is_refused(tmp_path: Path, monkeypatch) -> None:
    with pytest.raises(
        ArgumentError, match=r"env_id must be a game .* \(the nearest is atari:Pong\), got 'atari:pong'"
    ):
        jaxrl.make("atari:pong")
    with pytest.raises(ArgumentError, match=r"sticky must be .*, got 1.0"):
        jaxrl.make("atari:Pong", sticky=1.0)
    with pytest.raises(ArgumentError, match=r"frame_skip must be .*, got 0"):
        jaxrl.make("atari:Pong", frame_skip=0)
    with pytest.raises(ArgumentError, match=r"max_frames must be 0, for no cap, or more than 34, .*, got 3"):
        jaxrl.make("atari:Pong", max_frames=3)
    with pytest.raises(ArgumentError, match=r"life_loss must be true or false, got 5"):
        jaxrl.make("atari:Pong", life_loss=5)
    with pytest.raises(ArgumentError, match=r"lives is not an option of atari:Pong, which has sticky, frame_skip, "):
        jaxrl.make("atari:Pong", lives=3)
    monkeypatch.setenv("ALE_ROMS_DIR", str(tmp_path))
    with pytest.raises(
        ArgumentError, match=r"env_id must have its ROM \(FileNotFoundError: .*pong\.bin.*\), got 'atari:Pong'"
    ):
        jaxrl.make("atari:Pong", max_noops=3)
    monkeypatch.setitem(sys.modules, "jaxrl.envs.atari_emulators", None)  # as if ale-py were missing
    monkeypatch.delattr("jaxrl.envs.atari_emulators", raising=False)
    with pytest.raises(ArgumentError, match=r"needs the packages ale-py and .* \(pip install 'jaxrl\[atari\]'\)"):
        jaxrl.make("atari:Breakout", max_noops=4)


def check_scores() -> None:
    test_evaluations_and_training_report_scores()
    with pytest.MonkeyPatch.context() as monkeypatch:
        test_an_evaluation_is_the_score_of_a_whole_game(monkeypatch)


def check_resumed() -> None:
    with tempfile.TemporaryDirectory() as directory:
        test_a_resumed_run_has_the_same_bits(Path(directory))


STEP, EMULATOR = "envs.atari:AtariEnvs.step", "envs.atari_emulators:Emulator"
SOURCE, EVALUATE = "envs.host_source:HostSource", "training.evaluation:_evaluate_on_host"
FRAMES, LEARNING = test_frames_and_scores_are_gymnasiums, test_what_an_agent_learns_from_and_what_counts
SCREENS, ACTIONS_OFFERED = (
    test_screens_are_those_before_and_after_a_new_game,
    test_all_actions_are_offered_if_that_is_said,
)
RETURNS = test_a_restored_source_knows_the_returns_so_far
MUTANTS: list[tuple[str, str, str, Any]] = [
    (f"{EMULATOR}.step", "in reversed(range(self.rules.frame_skip))", "in range(self.rules.frame_skip)", FRAMES),
    (f"{EMULATOR}.step", "game_over(with_truncation=False)", "game_over()", FRAMES),
    (f"{EMULATOR}.step", "self.screens[left]", "self.screens[1 - left]", FRAMES),
    (f"{EMULATOR}.load", "if self.rules.all_actions else", "if False else", ACTIONS_OFFERED),
    (STEP, "self._seen(last_screens)", "self._seen(first_screens)", SCREENS),
    (STEP, "self._seen(first_screens)", "self._seen(last_screens)", SCREENS),
    (f"{EMULATOR}._frame", "np.maximum", "np.minimum", FRAMES),
    (f"{EMULATOR}._begin", "integers(1, ", "integers(0, ", FRAMES),
    (f"{EMULATOR}._act", "random_raw(2)[0]", "random_raw(2)[1]", FRAMES),
    (f"{EMULATOR}._act", "self.repeated = action", "pass", test_sticky_actions_are_as_frequent_as_said),
    (STEP, "self.stack = self.stack.copy()", "pass", FRAMES),
    (STEP, "self.stack[ended] = first[ended, None]", "pass", FRAMES),
    (STEP, "self.stack[ended] = first[ended", "self.stack[over] = first[over", LEARNING),
    (STEP, "first_screens), score, over", "first_screens), reward, over", LEARNING),
    (STEP, "score, over)", "score, terminated | truncated)", LEARNING),
    (STEP, "np.sign(score) if", "score if", LEARNING),
    (STEP, "lost_life & ~truncated", "lost_life", LEARNING),
    (f"{EMULATOR}.save", "self.played)", "self.played[:-1])", partial(check_restored, 0)),
    (f"{EMULATOR}.restore", "restoreSystemState(", "isSupportedROM and (", check_remembers),
    (f"{EMULATOR}.restore", "self.noops.bit_generator.state = ", "_ = ", partial(check_restored, 0)),
    (f"{EMULATOR}.restore", "self.sticky.state = ", "_ = ", check_remembers),
    ("envs.atari:AtariEnvs.restore", "_split(emulators)", "_split(emulators[:1] * 3)", partial(check_restored, 2)),
    (f"{SOURCE}._step", "[rows] + score", "[rows] + outcome.reward", check_scores),
    (f"{SOURCE}._step", "np.where(over, 0, episode_return)", "np.where(done, 0, episode_return)", check_scores),
    (f"{SOURCE}._step", "np.where(over, 0, episode_length)", "np.where(done, 0, episode_length)", check_scores),
    (EVALUATE, "step.score", "step.outcome.reward", check_scores),
    (EVALUATE, "step.over", "step.done", check_scores),
    ("envs.host_source:_scored", "return step.score", "return step.outcome.reward", check_scores),
    ("envs.host_source:_scored", "terminated & step.over", "terminated", check_scores),
    ("envs.host_source:_episodes", "step.over", "step.done", check_resumed),
    (f"{SOURCE}.restore", "np.array(state.episode_length)", "0 * np.array(state.episode_length)", check_resumed),
    (f"{SOURCE}.restore", "np.array(state.episode_return)", "0 * np.array(state.episode_return)", RETURNS),
    ("training.host_program:HostProgram.restore_envs", "self._live = run", "_ = run", check_resumed),
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(("function", "old", "new", "check"), MUTANTS)
def test_an_error_is_seen(function: str, old: str, new: str, check: Any) -> None:
    with planted(f"jaxrl.{function}", old, new), pytest.raises((AssertionError, TypeError, ValueError)):
        check()


def test_the_places_of_all_errors_are_there() -> None:
    for function, old, new, _ in MUTANTS:
        with planted(f"jaxrl.{function}", old, new):
            pass
