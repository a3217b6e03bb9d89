"""What passes between agents and trainers besides observations: memory, extras, what was prepared, and constants."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrl
from jaxrl import Agent, ArgumentError, Decision, Mean, OffPolicyConfig, OnPolicyConfig, Program, off_policy, on_policy
from jaxrl.envs import Environment
from jaxrl.training import population
from jaxrl.training.devices import bytes_of, mesh_of
from jaxrl.training.evaluation import evaluate_agents
from tests.compiling import quick_jit

N, T, WARMUP = 3, 4, 2


class Clocks(NamedTuple):
    time: jax.Array
    length: jax.Array
    word: jax.Array


class Clock(Environment):
    """Episodes of 1 to 4 steps. An observation is (steps so far, a random word, 7), and the reward is the action."""

    random_words, num_actions, name = 1, 100, "Clock"
    default_params: Any = ()

    def describe_rules(self, params):
        return "clock"

    def initial(self, bits, params):
        return Clocks(jnp.zeros_like(bits[0]), 1 + (bits[0] >> 30), bits[0])

    def transition(self, state, action, bits, params):
        after = Clocks(state.time + 1, state.length, bits[0])
        return after, action.astype(jnp.float32), (after.time >= after.length) & (after.length % 2 == 0)

    def is_truncated(self, state, params):
        return state.time >= state.length

    def encode(self, state):
        return jnp.stack([state.time, state.word])

    def decode(self, words):
        return jnp.concatenate([words, jnp.full((*words.shape[:-1], 1), 7, jnp.uint32)], -1)


ENV = Clock()
ENVS = jaxrl.vectorize(ENV, (), N)
OFF = OffPolicyConfig(
    num_envs=N, batch_size=2 * N, replay_capacity=40 * N, warmup_steps=1, rollout_length=T, updates_per_iteration=2
)
ON = OnPolicyConfig(num_envs=N, rollout_length=T)
TRAINERS = {"off": partial(off_policy, config=OFF), "on": partial(on_policy, config=ON)}


def keep(state, batch, key, env_steps, constants):
    """An update that learns nothing; rollouts are kept in the agent's state."""
    return state, {}, ()


def counter(update=keep, change=lambda memory: memory) -> Agent:
    """Acts with the steps it remembers plus its hyperparameter, which it also stores; nothing is learned."""

    def memory(state, num_envs):
        start = jnp.broadcast_to(state["start"], num_envs)
        return {"count": start, "twice": jnp.stack([start, start], -1).astype(jnp.float32)}

    def act(state, given, key, env_steps):
        count = given.memory["count"]
        return Decision(count, change(jax.tree.map(lambda x: x + 1, given.memory)), extras=given.memory)

    return Agent(
        lambda key, hparams, observation: {"start": jnp.asarray(hparams, jnp.int32)},
        act,
        lambda state, given, key: act(state, given, key, 0),
        update,
        memory,
    )


def trained(trainer, key, hparams, iterations=5):
    """The state after some iterations, and all metrics."""

    @quick_jit
    def train(key, hparams):
        state = trainer.init(key, hparams)
        return jax.lax.scan(lambda state, _: trainer.step(state), state, length=iterations)

    return train(key, hparams)


def stored_fields(state) -> tuple[np.ndarray, ...]:
    """Time, action, and the stored memory's count and twice, of all rows in the replay."""
    rows = WARMUP + 5 * T
    words = np.asarray(state.replay.rings[0, :rows])  # observation 2, action, reward, two ends, next observation 2
    return words[..., 0], words[..., 2], words[..., 8], words[..., 9:11].view(np.float32)


def wrong(state, batch, key, env_steps, constants):
    """An update that counts what was remembered wrongly in a batch."""
    steps = batch.transitions if isinstance(batch, jaxrl.Sample) else batch
    expected = steps.observation[..., 0].astype(jnp.int32) + state["start"]
    errors = (steps.extras["count"] != expected) | (steps.extras["twice"] != expected[..., None]).any(-1)
    later = steps.observation[..., 0] > 0
    metrics = {"wrong": Mean(errors.sum(), jnp.int32(1)), "later": Mean(later.sum(), jnp.int32(1))}
    return state, metrics | {"ends": Mean((steps.terminated | steps.truncated).sum(), jnp.int32(1))}, ()


@pytest.mark.parametrize("kind", TRAINERS)
def test_a_memory_begins_anew_with_each_episode(kind: str) -> None:
    """In training, also during the warm-up; and it lasts from one iteration to the next."""
    state, metrics = trained(TRAINERS[kind](counter(wrong), ENV, ()), jax.random.key(0), 7)
    assert metrics["wrong"].sum.sum() == 0
    assert metrics["later"].sum.sum() > 10
    assert metrics["ends"].sum.sum() > 10
    np.testing.assert_array_equal(state.source.memory["count"], 7 + state.source.envs.env_states.time)
    if kind == "off":
        time, action, count, twice = stored_fields(state)
        assert set(np.unique(time)) == {0, 1, 2, 3}
        np.testing.assert_array_equal(action, 7 + time)
        np.testing.assert_array_equal(count, 7 + time)
        np.testing.assert_array_equal(twice, np.stack([7.0 + time] * 2, -1))


def test_a_memory_begins_anew_where_environments_are_reset() -> None:
    trainer = on_policy(counter(wrong), ENV, (), OnPolicyConfig(N, T, reset_each_rollout=True))
    _, metrics = trained(trainer, jax.random.key(0), 7)
    assert metrics["wrong"].sum.sum() == 0


@pytest.mark.parametrize("kind", TRAINERS)
def test_each_agent_of_a_population_remembers_as_alone(kind: str) -> None:
    trainer = TRAINERS[kind](counter(wrong), ENV, ())
    keys, starts = jax.random.split(jax.random.key(3), 4), jnp.array([0, 5, 20, 50])
    many, metrics = trained(population(trainer), keys, starts)
    assert metrics["wrong"].sum.sum() == 0
    program = Program(trainer, keys, starts)  # which on a CPU takes them in turns
    in_turns = program.compiled()(program.init(keys, starts), 5)
    assert (in_turns.metrics["wrong"].sum == 0).all()
    for i in range(4):
        alone, _ = trained(trainer, keys[i], starts[i])
        for together in (many, in_turns.state):
            jax.tree.map(
                lambda a, b, i=i: np.testing.assert_array_equal(a, b[i]),
                (alone.source, alone.replay),
                (together.source, together.replay),
            )


@pytest.mark.parametrize("kind", TRAINERS)
def test_devices_share_the_memory(kind: str) -> None:
    """Each has that of its environments."""
    program = Program(TRAINERS[kind](counter(), ENV, ()), jax.random.key(0), 7, devices=jax.devices()[:N])
    memory = program.shapes.state.source.memory
    assert {x.sharding.shard_shape(x.shape)[0] for x in jax.tree.leaves(memory)} == {1}


@pytest.mark.parametrize("kind", TRAINERS)
def test_a_resumed_run_remembers(kind: str, tmp_path) -> None:
    """To the same bits, with memory and extras in the middle of an episode."""
    trainer = TRAINERS[kind](counter(wrong), ENV, ())
    key = jax.random.key(4)
    program = Program(trainer, key, 7)
    steps = [trainer.warmup_steps + iterations * trainer.steps_per_iteration for iterations in (3, 7)]
    checkpoints = jaxrl.Checkpoints(tmp_path)
    half = jaxrl.run(program, key, 7, steps[0], checkpoints=checkpoints)
    assert (np.asarray(half.state.source.memory["count"]) > 7).any()
    resumed = jaxrl.run(program, key, 7, steps[1], checkpoints=checkpoints, resume=True)
    whole = jaxrl.run(program, key, 7, steps[1])
    jax.tree.map(np.testing.assert_array_equal, whole.state._replace(key=()), resumed.state._replace(key=()))
    assert resumed.row["wrong"] == 0


def sums(start, n):
    """start + (start + 1) + …, of n numbers."""
    return start * n + n * (n - 1) / 2


def test_an_evaluation_remembers() -> None:
    """The return of an episode of n steps is the sum of what was remembered."""
    agent, envs = counter(), jaxrl.vectorize(ENV, (), 64)
    state = quick_jit(agent.init)(None, 7, None)
    alone = quick_jit(
        lambda key: jaxrl.evaluate(partial(agent.policy, state), envs, key, 9, agent.memory(state, envs.num_envs))
    )(jax.random.key(0))
    n = np.asarray(alone.episode_length)
    assert set(n) == {1, 2, 3, 4}
    np.testing.assert_array_equal(alone.episode_return, sums(7, n))
    starts = np.array([0, 7, 30])
    many = evaluate_agents(agent, envs, 9)(
        {"start": jnp.asarray(starts, jnp.int32)}, jax.random.split(jax.random.key(0), 3), mesh_of(None, (3,))
    )
    np.testing.assert_array_equal(many.episode_return, sums(starts[:, None], np.asarray(many.episode_length)))


def test_a_rollout_remembers() -> None:
    agent = counter()
    state = quick_jit(agent.init)(None, 7, None)
    steps = jaxrl.rollout(ENV, partial(agent.policy, state), jax.random.key(0), 20, N, (), agent.memory(state, N))
    assert (steps.terminated | steps.truncated).sum() > N
    np.testing.assert_array_equal(steps.action, 7 + steps.observation[..., 0])
    np.testing.assert_array_equal(steps.extras["count"], steps.action)


CHANGES = {
    "another dtype": lambda memory: memory | {"count": memory["count"] + 0.5},
    "another shape": lambda memory: memory | {"twice": memory["twice"][..., :1]},
    "another structure": lambda memory: memory["count"],
    "none": lambda memory: (),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_memory_that_changes_its_shape_is_refused(change: str) -> None:
    """While tracing, before anything is compiled."""
    agent = counter(change=CHANGES[change])
    state = quick_jit(agent.init)(None, 7, None)
    message = "must keep the shapes of its memory, "
    for make_trainer in TRAINERS.values():
        with pytest.raises(ArgumentError, match=f"^agent {message}"):
            Program(make_trainer(agent, ENV, ()), jax.random.key(0), 7)
    memory = agent.memory(state, N)
    policy = partial(agent.policy, state)
    with pytest.raises(ArgumentError, match=f"^policy {message}"):
        jax.eval_shape(lambda key: jaxrl.evaluate(policy, ENVS, key, 9, memory), jax.random.key(0))
    with pytest.raises(ArgumentError, match=f"^policy {message}"):
        jax.eval_shape(lambda key: jaxrl.rollout(ENV, policy, key, 9, N, (), memory), jax.random.key(0))


@pytest.mark.parametrize("kind", TRAINERS)
def test_an_agent_must_return_a_decision(kind: str) -> None:
    agent = counter()._replace(act=lambda state, given, key, env_steps: given.memory["count"])
    with pytest.raises(ArgumentError, match=r"^agent must return a jaxrl\.Decision from act, got an array"):
        Program(TRAINERS[kind](agent, ENV, ()), jax.random.key(0), 7)


def bits_of(word) -> dict[str, jax.Array]:
    """Extras of all dtypes from a random word `[...]`: every other float32 is a NaN, and a bfloat16 is a number."""
    scrambled = word[..., None] * jnp.uint32([1, 2654435761, 40503])
    halves = jax.lax.bitcast_convert_type(scrambled, jnp.uint16) & jnp.uint16(0xBFFF)
    scrambled |= jnp.where(word % 2 == 0, jnp.uint32(0x7F800000), jnp.uint32(0))[..., None]
    return {
        "bool": word % 3 == 0,
        "bytes": jax.lax.bitcast_convert_type(scrambled, jnp.uint8),
        "bfloat16": jax.lax.bitcast_convert_type(halves, jnp.bfloat16),
        "int32": jax.lax.bitcast_convert_type(word, jnp.int32),
        "float32": jax.lax.bitcast_convert_type(scrambled, jnp.float32),
        "complex64": jax.lax.complex(
            *jnp.moveaxis(jax.lax.bitcast_convert_type(scrambled[..., :2], jnp.float32), -1, 0)
        ),
        "key": jax.random.wrap_key_data(scrambled[..., :2]),
        "int4": scrambled.astype(jnp.int4),
        "empty": {"tree": (), "axis": jnp.zeros((*word.shape, 0))},
    }


def raw(x) -> jax.Array:
    """The bits of an array."""
    if jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
        return jax.random.key_data(x)
    if x.dtype == jnp.complex64:
        return raw(jnp.stack([x.real, x.imag]))
    return x if x.dtype in (bool, jnp.int4) else jax.lax.bitcast_convert_type(x, f"uint{8 * x.dtype.itemsize}")


@pytest.mark.parametrize("kind", TRAINERS)
def test_extras_come_back_bit_for_bit(kind: str) -> None:
    def act(state, given, key, env_steps=0):
        return Decision(jnp.zeros(N, jnp.int32), extras=bits_of(given.observation[:, 1]))

    def update(state, batch, key, env_steps, constants):
        steps = batch.transitions if isinstance(batch, jaxrl.Sample) else batch
        expected = bits_of(steps.observation[..., 1])
        assert jax.tree.map(jnp.shape, steps.extras) == jax.tree.map(jnp.shape, expected)
        wrong = [(raw(x) != raw(y)).sum() for x, y in zip(*map(jax.tree.leaves, (steps.extras, expected)), strict=True)]
        nans = jnp.isnan(steps.extras["float32"]).sum()
        return state, {"wrong": Mean(sum(wrong), jnp.int32(1)), "nans": Mean(nans, jnp.int32(1))}, ()

    agent = Agent(lambda key, hparams, observation: (), act, None, update)._replace(policy=act)
    _, metrics = trained(TRAINERS[kind](agent, ENV, ()), jax.random.key(0), ())
    assert metrics["wrong"].sum.sum() == 0
    assert metrics["nans"].sum.sum() > 0


@pytest.mark.parametrize("kind", TRAINERS)
def test_what_was_collected_is_prepared_once_and_decoded(kind: str) -> None:
    """And the result is what is stored and learned."""
    prepared = []

    def prepare(state, steps):
        assert steps.observation.shape[1:] == steps.next_observation.shape[1:] == (N, 3)  # not the two stored words
        assert steps.extras["count"].shape == steps.reward.shape
        jax.debug.callback(lambda reward: prepared.append(len(reward)), steps.reward)
        to_go = jnp.cumsum(steps.reward[::-1], 0)[::-1]
        return {"to_go": to_go, "seven": steps.observation[..., 2], "word": steps.observation[..., 1]}

    def update(state, batch, key, env_steps, constants):
        steps = batch.transitions if isinstance(batch, jaxrl.Sample) else batch
        extras = steps.extras
        wrong = (extras["seven"] != 7).sum() + (extras["word"] != steps.observation[..., 1]).sum()
        if kind == "on":
            wrong += (extras["to_go"] != jnp.cumsum(steps.reward[::-1], 0)[::-1]).sum()
        else:  # the steps of one collection that follow have rewards, too
            wrong += (extras["to_go"] < steps.reward).sum()
        return state, {"wrong": Mean(wrong, jnp.int32(1))}, ()

    trainer = TRAINERS[kind](counter(update)._replace(prepare=prepare), ENV, ())
    _, metrics = trained(trainer, jax.random.key(0), 7, iterations=3)
    jax.effects_barrier()
    assert metrics["wrong"].sum.sum() == 0
    assert prepared == ([1] * WARMUP if kind == "off" else []) + [T] * 3


TABLE = np.arange(1000, dtype=np.float32)


def reader(table=TABLE) -> Agent:
    """Reads a table in its update."""

    def update(state, batch, key, env_steps, constants):
        return state, {"read": Mean(constants["table"][state["start"]], jnp.int32(1))}, ()

    return counter(update)._replace(constants={"table": jnp.asarray(table)})


@pytest.mark.parametrize("kind", TRAINERS)
def test_constants_are_read_and_are_no_part_of_the_state(kind: str) -> None:
    trainer = TRAINERS[kind](reader(), ENV, ())
    keys, starts = jax.random.split(jax.random.key(0), 3), jnp.array([3, 50, 999])
    state = quick_jit(population(trainer).init)(keys, starts)
    assert not [x for x in jax.tree.leaves(state) if 1000 in x.shape]
    _, metrics = quick_jit(population(trainer).step)(state, trainer.constants)
    read = np.asarray(metrics["read"].sum) / metrics["read"].count
    np.testing.assert_array_equal(read, starts)
    result = jaxrl.run(trainer, keys, starts, 400, notify=lambda line: None)
    np.testing.assert_array_equal(result.row["read"], starts)


@pytest.mark.parametrize(("agents", "devices"), [((), 1), ((16,), 1), ((16,), 4)])
@pytest.mark.parametrize("kind", TRAINERS)
def test_constants_are_one_copy_on_each_device(kind: str, agents: tuple[int, ...], devices: int) -> None:
    """In a program of 16 agents, too."""
    key, hparams = jax.random.key(0), jnp.zeros(agents, jnp.int32)
    keys = jax.random.split(key, agents) if agents else key
    program = Program(TRAINERS[kind](reader(), ENV, ()), keys, hparams, devices=jax.devices()[:devices])
    compiled = program._advance_compiled
    memory: Any = compiled.memory_analysis()
    assert memory.argument_size_in_bytes == bytes_of(program.shapes) + 4 + TABLE.nbytes
    assert memory.output_size_in_bytes < bytes_of(program.shapes) + TABLE.nbytes
    assert program.constants["table"].sharding.is_fully_replicated
    assert len(program.constants["table"].sharding.device_set) == devices
    text = compiled.as_text()
    assert "f32[1000]" in text
    assert "f32[16,1000]" not in text
    assert f"f32[{16 // devices},1000]" not in text
    run_state = program.compiled()(program.init(keys, hparams), 2)
    assert np.isfinite(run_state.metrics["read"].sum).all()
