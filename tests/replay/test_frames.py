"""The replay of single frames: stacks are those that the environment showed."""

import dataclasses
import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl import OffPolicyConfig, RainbowHparams, dqn, memory, off_policy, replay
from jaxrl.networks import QNetwork
from jaxrl.replay.frames import with_stacks
from jaxrl.training.host_program import HostProgram
from jaxrl.training.off_policy import _counting_unused
from jaxrl.training.program import Program
from jaxrl.types import Agent, Decision, Mean, Transition
from tests.compiling import quick_jit
from tests.envs.frame_envs import STACK, RandomFrames, counted_frames

KEY = jax.random.key(0)


def witness() -> Agent:
    """Stores what it sees beside the frames, and compares that with the stacks of its samples."""

    def act(state, given, key, env_steps=0):
        return Decision(jnp.zeros(len(given.observation), jnp.int32))

    def update(state, batch, key, env_steps, constants):
        steps, weights = batch
        seen, seen_next = steps.extras
        done = steps.terminated | steps.truncated
        wrong = (steps.observation != seen).any((2, 3, 4))
        wrong_next = (steps.next_observation != seen_next).any((2, 3, 4)) & ~done
        counts = {
            "wrong": wrong.sum(),
            "wrong_next": wrong_next.sum(),
            "wrong_weight": ((weights == 0) != steps.truncated.any(0)).sum(),
            "excluded": steps.truncated.any(0).sum(),
            "ends": done[:-1].sum(),
            "terminations": steps.terminated.sum(),
            "starts": (seen[:, :, 0] == seen[:, :, 1]).all((2, 3)).sum(),
            "steps": done.size,
        }
        return state, {name: Mean(jnp.float32(x), jnp.int32(1)) for name, x in counts.items()}, weights

    def prepare(state, transitions):
        return transitions.observation, transitions.next_observation

    return Agent(lambda key, hparams, observation: (), act, act, update, prepare=prepare)


@pytest.mark.parametrize(("kind", "n_step"), [("uniform", 1), ("prioritised", 3)])
def test_samples_are_what_was_seen(kind: str, n_step: int) -> None:
    """Also across episodes and around the ring, of which the runs write the rows four times."""
    config = OffPolicyConfig(num_envs=3, batch_size=16, replay_capacity=60, warmup_steps=30, rollout_length=2,
                             n_step=n_step, replay=kind)  # fmt: skip
    trainer = off_policy(witness(), RandomFrames(), (), config)

    def run(key):
        state = trainer.init(key, RainbowHparams())
        return jax.lax.scan(lambda state, _: trainer.step(state), state, length=40)

    state, metrics = jax.jit(run)(jax.random.key(0))
    found = {name: float(mean.sum.sum()) for name, mean in metrics.items()}
    assert found["steps"] == 40 * 16 * n_step
    assert found["wrong"] == found["wrong_next"] == found["wrong_weight"] == 0
    assert found["excluded"] == found["unused"] > 20
    assert found["terminations"] > 20 * n_step
    assert found["starts"] > 40 * n_step
    assert found["ends"] > 0 or n_step == 1
    words = STACK * 4 // 4 * 2 + 1 + 4  # extras; a frame; action, reward and two flags
    assert state.replay.rings.shape == (1, 20, 3, words)


def test_stacks_are_those_of_a_loop() -> None:
    """Frames are numbers here. A done row ends an episode; what was before it is not in later stacks."""
    rng, k, n, batch = np.random.default_rng(0), 4, 3, 64
    frames = rng.permutation((n + k) * batch).reshape(n + k, batch, 1).astype(np.int32)
    terminated, truncated = rng.random((2, n + k, batch)) < 0.2
    reward = rng.random((n + k, batch))
    found = with_stacks(Transition(frames, reward, reward, terminated, truncated, ()), k)
    for b in range(batch):
        for i in range(n):
            row = k - 1 + i
            stack = [frames[row, b]]
            while len(stack) < k:
                begun = len(stack) > row or terminated[row - len(stack), b] or truncated[row - len(stack), b]
                stack += [stack[-1]] * (k - len(stack)) if begun else [frames[row - len(stack), b]]
            np.testing.assert_array_equal(found.observation[i, b], stack[::-1])
            done = terminated[row, b] or truncated[row, b]
            after = [*stack[-2::-1], frames[row if done else row + 1, b]]
            np.testing.assert_array_equal(found.next_observation[i, b], after)
            assert found.reward[i, b] == reward[row, b]
            assert found.terminated[i, b] == terminated[row, b]


def test_no_sample_reads_over_the_newest_row() -> None:
    """Row t has the frame t. All rows but the newest, and the first of the ring, give samples."""
    slots, k, n = 12, 4, 2
    stack, number, flag = (jax.ShapeDtypeStruct(*x) for x in (((k,), jnp.int32), ((), jnp.int32), ((), bool)))
    example: Any = Transition(stack, number, number, flag, flag, stack)
    sampler = replay.uniform(slots, 1, replay.rows_read(n, k))
    buffer = replay.frame_buffer(example, sampler, slots, 1, n, k)
    state, add = buffer.init(()), jax.jit(buffer.add)
    for t in range(17):
        seen, no, now = jnp.arange(t - k + 1, t + 1)[None, None], jnp.zeros((1, 1), bool), jnp.full((1, 1), t)
        state = add(state, Transition(seen, now, now, no, no, seen + 1), jnp.int32(t))
    _, (steps, weights) = buffer.sample(state, jax.random.key(0), jnp.int32(17), 256)
    newest = np.asarray(steps.observation[..., -1])
    assert set(newest[0]) == set(range(5 + k - 1, 17 - n))
    np.testing.assert_array_equal(newest[1], newest[0] + 1)
    np.testing.assert_array_equal(steps.observation, newest[..., None] + np.arange(-k + 1, 1))
    np.testing.assert_array_equal(steps.next_observation, steps.observation + 1)
    np.testing.assert_array_equal(steps.action, newest)
    assert (weights == 1).all()


def tiny_buffer(kind: str) -> replay.Buffer:
    """Six rows of two environments, whose observations are stacks of two numbers."""
    stack, number, flag = (jax.ShapeDtypeStruct(*x) for x in (((2,), jnp.int32), ((), jnp.int32), ((), bool)))
    example: Any = Transition(stack, number, number, flag, flag, stack)
    sampler = getattr(replay, kind)(6, 2, replay.rows_read(1, 2))
    return replay.frame_buffer(example, sampler, 6, 2, 1, 2)


def numbered(times: np.ndarray, terminated: np.ndarray, truncated: np.ndarray) -> Transition:
    """Rows whose frames are the `times` `[T]`, with ends `[T, 2]`."""
    frames = np.broadcast_to(times[:, None, None], (len(times), 2, 2)).astype(np.int32)
    return Transition(frames, frames[..., 0], frames[..., 0], terminated, truncated, ())


def test_what_holds_a_truncation_is_hardly_drawn_again() -> None:
    """Of two environments, one is always truncated: its share of the samples falls, and the others' weights stay 1."""
    buffer, never = tiny_buffer("prioritised"), np.zeros((6, 2), bool)
    rows = numbered(np.arange(6), never, never | [False, True])

    def update(agent_state, batch, key, env_steps, constants):
        return agent_state, {}, jnp.full(64, 9.0)

    agent = _counting_unused(witness()._replace(update=update))

    def learn(state, key):
        index, batch = buffer.sample(state, key, jnp.int32(6), 64)
        _, metrics, errors = agent.update((), batch, key, jnp.float32(0), ())
        return buffer.set_priorities(state, index, errors), (index, batch.weights, metrics["unused"].sum)

    def run(keys):
        state = buffer.add(buffer.init(RainbowHparams(importance_exponent_start=1.0)), rows, jnp.int32(0))
        return jax.lax.scan(learn, state, keys)[1]

    index, weights, unused = quick_jit(run)(jax.random.split(KEY))
    np.testing.assert_array_equal(weights, index % 2 == 0)
    assert unused[0] == 32
    assert unused[1] < 4


def test_a_truncation_that_is_drawn_leaves_the_weights_of_the_others() -> None:
    """Its priority is a third of theirs, so that its own weight would be the largest."""
    buffer, never = tiny_buffer("prioritised"), np.zeros((6, 2), bool)
    rows = numbered(np.arange(6), never, never | [False, True])

    def run(key):
        state = buffer.add(buffer.init(RainbowHparams(importance_exponent_start=1.0)), rows, jnp.int32(0))
        index, _ = buffer.sample(state, key, jnp.int32(6), 64)  # all that there are
        state = buffer.set_priorities(state, index, jnp.where(index % 2 == 1, 1.0, 3.0))
        return buffer.sample(state, key, jnp.int32(6), 64)

    index, (_, weights) = quick_jit(run)(KEY)
    assert {0, 1} == {*(index % 2).tolist()}
    np.testing.assert_array_equal(weights, index % 2 == 0)


def test_a_cut_truncates_what_has_not_terminated() -> None:
    """Two environments, of which the first one terminates in the newest row."""
    buffer, times, never = tiny_buffer("uniform"), np.arange(6), np.zeros((6, 2), bool)
    rows = numbered(times, (times[:, None] == 3) & [True, False], never)

    def run(key):
        before, after = jax.tree.map(lambda x: x[:4], rows), jax.tree.map(lambda x: x[4:], rows)
        state = buffer.cut(buffer.add(buffer.init(()), before, jnp.int32(0)), jnp.int32(4))
        return buffer.sample(buffer.add(state, after, jnp.int32(4)), key, jnp.int32(6), 64)

    index, (steps, weights) = quick_jit(run)(KEY)
    newest, is_first = steps.observation[0, :, -1] == 3, index % 2 == 0
    assert (newest & is_first).any()
    assert (newest & ~is_first).any()
    np.testing.assert_array_equal(steps.terminated[0], newest & is_first)
    np.testing.assert_array_equal(steps.truncated[0], newest & ~is_first)
    np.testing.assert_array_equal(weights, ~(newest & ~is_first))


def test_a_million_transitions_take_seven_gigabytes() -> None:
    stack, number = jax.ShapeDtypeStruct((4, 84, 84), jnp.uint8), jax.ShapeDtypeStruct((), jnp.float32)
    flag = jax.ShapeDtypeStruct((), bool)
    example: Any = Transition(stack, number, number, flag, flag, stack)
    slots, num_envs = 10**6 // 8, 8
    buffer = replay.frame_buffer(example, replay.uniform(slots, num_envs, 5), slots, num_envs, 1, 4)
    rings = jax.eval_shape(buffer.init, ()).rings
    assert 7.0e9 < rings.size * 4 < 7.1e9


def test_new_episodes_after_a_restart_are_not_joined_to_old_ones() -> None:
    """The environments of a program that starts anew begin again; no stack has frames of both lives."""
    config = OffPolicyConfig(num_envs=2, batch_size=32, replay_capacity=64, warmup_steps=16)
    trainer = off_policy(witness(), counted_frames(), None, config)
    key, hparams = jax.random.key(0), RainbowHparams()
    run_state = HostProgram(trainer, key, hparams).init(key, hparams)
    again = HostProgram(trainer, key, hparams)
    for _ in range(20):
        run_state = again.compiled()(run_state, 1)
    wrong = {name: float(mean.sum) for name, mean in run_state.metrics.items()}
    assert wrong["wrong"] == wrong["wrong_next"] == wrong["wrong_weight"] == 0
    assert wrong["excluded"] > 0  # the newest row of the old life, which no episode's end truncated
    assert wrong["starts"] > 0


def test_a_replay_that_does_not_fit_says_what_would(monkeypatch) -> None:
    monkeypatch.setattr(memory, "free_on_machine", lambda: 2**20)
    sizes = OffPolicyConfig(num_envs=4, batch_size=8, replay_capacity=10**6, warmup_steps=16)
    agent, key, hparams = dqn(QNetwork(2, (8,))), jax.random.key(0), RainbowHparams()
    for make, env in ((Program, RandomFrames()), (HostProgram, counted_frames())):
        with pytest.raises(MemoryError, match=r"a smaller replay_capacity .* would fit") as raised:
            make(off_policy(agent, env, (), sizes), key, hparams)
        capacity = int(re.findall(r"at most ([\d,]+)", str(raised.value))[0].replace(",", ""))
        assert 30_000 < capacity < 2**20 // 20  # 20 bytes a transition
        make(off_policy(agent, env, (), dataclasses.replace(sizes, replay_capacity=capacity)), key, hparams)


def test_what_is_refused() -> None:
    config = OffPolicyConfig(num_envs=3, batch_size=4, replay_capacity=9, warmup_steps=4)
    with pytest.raises(ValueError, match="replay_capacity must hold at least 12 transitions for stacks of 3 frames"):
        off_policy(witness(), RandomFrames(), (), config)

    class Wrong(RandomFrames):
        frame_stack = 2

    config = dataclasses.replace(config, replay_capacity=90)
    with pytest.raises(ValueError, match=r"frame_stack must be the first axis of observations, 2, got observations"):
        jax.eval_shape(off_policy(witness(), Wrong(), (), config).init, jax.random.key(0), RainbowHparams())
