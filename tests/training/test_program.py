"""The program of a run: populations in blocks, several devices, and agents that diverge."""

import dataclasses
import math
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl import DQNHparams, OffPolicyConfig, OnPolicyConfig, PPOHparams, actor_critic, dqn, make, off_policy
from jaxrl import on_policy as on_policy_trainer
from jaxrl.agents import MinibatchConfig, ppo
from jaxrl.arguments import ArgumentError
from jaxrl.envs import action_space_of, vectorize
from jaxrl.networks import QNetwork
from jaxrl.replay.buffer import read, write
from jaxrl.training import DivergedError, Program, repeat, run
from jaxrl.training.devices import mesh_of, shard_along, shard_envs
from jaxrl.training.population import block_size, map_blocks, population
from tests.compiling import AS_USERS_DO
from tests.conftest import SMALL

ITERATIONS = 10
HPARAMS = {"off": DQNHparams(learning_rate=1e-3, epsilon_decay_steps=200.0), "on": PPOHparams()}


@pytest.fixture(scope="module", autouse=True)
def quickly():
    """As users compile, since environments must be bit-identical, but without LLVM's optimizations."""
    compile = Program._compile
    with pytest.MonkeyPatch.context() as monkeypatch:
        options = AS_USERS_DO | {"xla_backend_optimization_level": 0}
        monkeypatch.setattr(Program, "_compile", lambda self, lower, given: compile(self, lower, given | options))
        yield


@pytest.fixture(scope="module")
def trainers():
    """One with a replay buffer, one without."""
    env, params = make("CartPole-v1")
    observation, _ = env.reset(jax.random.key(0), params)
    network = actor_critic(observation, action_space_of(env, params), (8,))
    config = dataclasses.replace(SMALL, num_envs=8)
    return {
        "off": off_policy(dqn(QNetwork(num_actions=2, hidden_sizes=(8,))), env, params, config),
        "on": on_policy_trainer(ppo(network, MinibatchConfig(2, 2)), env, params, OnPolicyConfig(8, 8)),
    }


PROGRAMS: dict = {}


def program_of(trainer, hparams, keys, devices=1) -> Program:
    """One program for all trainings of the same sizes."""
    sizes = trainer, keys.shape, devices
    if sizes not in PROGRAMS:
        PROGRAMS[sizes] = Program(trainer, keys, hparams, devices=jax.devices()[:devices])
    return PROGRAMS[sizes]


def train(trainer, hparams, keys, devices=1):
    """The run after a few iterations."""
    program = program_of(trainer, hparams, keys, devices)
    run_state = program.compiled()(program.init(keys, hparams), ITERATIONS // 2)
    return program.compiled()(run_state, ITERATIONS - ITERATIONS // 2)


def arrays(tree):
    leaves = jax.tree.leaves(tree)
    return [np.asarray(jax.random.key_data(x) if jnp.issubdtype(x.dtype, jax.dtypes.prng_key) else x) for x in leaves]


def assert_close(one, other):
    """Integers are identical, and floats equal up to the order of sums in a matrix product, also in a ring."""
    for a, b in zip(arrays(one), arrays(other), strict=True):
        if a.dtype == np.uint32 and a.ndim == 4:
            a, b = a.view(np.float32), b.view(np.float32)
        if a.dtype.kind == "f":
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
        else:
            np.testing.assert_array_equal(a, b)


def trial(run_state, i):
    """One agent of a population."""
    clock = run_state.state.iteration
    state = run_state.state._replace(iteration=jnp.broadcast_to(clock, run_state.nan_iteration.shape))
    return jax.tree.map(lambda x: x[i], run_state._replace(state=state))


def eight(kind: str):
    """Hyperparameters and keys of eight agents."""
    rates = np.logspace(-4, -2, 8)
    hparams = dataclasses.replace(repeat(HPARAMS[kind], 8), learning_rate=rates)
    return hparams, jax.random.split(jax.random.key(5), 8)


@pytest.fixture(scope="module", params=["off", "on"])
def kind(request) -> str:
    return request.param


@pytest.fixture(scope="module")
def on_one_device(trainers, kind):
    return train(trainers[kind], *eight(kind))


def test_each_agent_equals_its_solo_run(trainers, kind, on_one_device) -> None:
    hparams, keys = eight(kind)
    assert on_one_device.state.iteration == ITERATIONS
    for i in (0, 7):
        own = jax.tree.map(lambda x, i=i: x[i], hparams)
        assert_close(train(trainers[kind], own, keys[i]), trial(on_one_device, i))


def test_on_many_devices_a_population_is_the_same(trainers, kind, on_one_device) -> None:
    hparams, keys = eight(kind)
    spread = train(trainers[kind], hparams, keys, devices=8)
    assert_close(on_one_device, spread)
    assert len(spread.nan_iteration.sharding.device_set) == 8
    assert {shard.data.shape for shard in spread.nan_iteration.addressable_shards} == {(1,)}


@pytest.mark.parametrize("agents", [3, pytest.param(5, marks=pytest.mark.slow)])
def test_any_number_of_agents_takes_turns(trainers, kind, on_one_device, agents: int) -> None:
    hparams, keys = jax.tree.map(lambda x: x[:agents], eight(kind))
    some = train(trainers[kind], hparams, keys)
    for i in range(agents):
        assert_close(trial(on_one_device, i), trial(some, i))


def test_the_environments_of_one_agent_are_spread_over_devices(trainers, kind) -> None:
    hparams, key = HPARAMS[kind], jax.random.key(1)
    spread = train(trainers[kind], hparams, key, devices=8)
    assert_close(train(trainers[kind], hparams, key), spread)
    parts = [spread.state.source.envs.observation, *([spread.state.replay.rings] if kind == "off" else [])]
    for part in parts:
        assert {shard.data.size * 8 for shard in part.addressable_shards} == {part.size}
    # Gradients are summed over the devices, none of which has the whole batch.
    assert "all-reduce" in program_of(trainers[kind], hparams, key, devices=8)._advance_compiled.as_text()


def test_leaves_that_do_not_count_environments_are_on_every_device(trainers, monkeypatch) -> None:
    """As in a state of an environment of your own."""

    def initial(bits, params):
        return {"shared": jnp.float32(0), "table": jnp.zeros((3, 8)), "own": jnp.zeros((3, *bits.shape[1:]))}

    env, params = make("Breakout-MinAtar")
    monkeypatch.setattr(type(env), "initial", lambda self, bits, params: initial(bits, params))
    axes = vectorize(env, params, 8).axes
    assert axes == {"shared": None, "table": None, "own": 1}
    mesh, shapes = mesh_of(jax.devices()[:4], ()), jax.eval_shape(trainers["on"].init, jax.random.key(0), PPOHparams())

    def with_states(state, states):
        return state._replace(source=state.source._replace(envs=state.source.envs._replace(env_states=states)))

    shapes = with_states(shapes, initial(jnp.zeros((1, 8), jnp.uint32), params))
    trainer = trainers["on"]._replace(env_axes=with_states(trainers["on"].env_axes, axes))
    own = shard_envs(mesh, shapes, trainer).source.envs.env_states
    assert own == {"shared": shard_along(mesh, None), "table": shard_along(mesh, None), "own": shard_along(mesh, 1)}


def test_blocks_of_agents_fit_into_the_cache_of_a_cpu() -> None:
    kib = 1024
    assert [block_size(agents, 110 * kib, "cpu") for agents in (1, 2, 5, 9, 64)] == [1, 2, 3, 3, 4]
    assert [block_size(agents, 1, "cpu") for agents in (5, 64, 100)] == [5, 64, 50]
    assert block_size(64, 1024 * kib, "cpu") == 1
    assert [block_size(agents, 1024 * kib, "gpu") for agents in (1, 5, 64)] == [1, 5, 64]


@pytest.mark.parametrize("size", range(1, 8))
def test_blocks_of_any_size_map_each_row_once(size: int) -> None:
    rows = {"key": jax.random.split(jax.random.key(0), 7), "x": jnp.arange(14.0).reshape(7, 2)}

    def function(row):
        assert row["x"].shape == (2,)
        return {"draw": jax.random.bits(row["key"]), "x": 2 * row["x"]}

    mapped = map_blocks(function, rows, size)
    np.testing.assert_array_equal(mapped["draw"], jax.vmap(jax.random.bits)(rows["key"]))
    np.testing.assert_array_equal(mapped["x"], 2 * rows["x"])


def test_a_ring_among_others_is_written_and_read_like_one_alone() -> None:
    rings, second = jax.random.bits(jax.random.key(0), (3, 4, 2, 5)), jnp.int32(1)
    row, index = jax.random.bits(jax.random.key(1), (2, 5)), jnp.array([0, 3, 7, 6])
    alone, among = write(rings[1:2], None, row, jnp.int32(6)), write(rings, second, row, jnp.int32(6))
    np.testing.assert_array_equal(alone[0, 2], row)
    np.testing.assert_array_equal(among, rings.at[1].set(alone[0]))
    for n_step in (1, 3):
        np.testing.assert_array_equal(read(alone, None, index, n_step), read(among, second, index, n_step))


def test_the_rings_of_a_population_stay_where_they_are(small_agent) -> None:
    """The program of agents one by one copies neither all rings nor one."""
    config = OffPolicyConfig(num_envs=4, batch_size=8, replay_capacity=8192, warmup_steps=16)
    trainer = off_policy(small_agent, *make("Breakout-MinAtar"), config)
    program = Program(trainer, jax.random.split(jax.random.key(0), 4), repeat(DQNHparams(), 4))
    ring = program.shapes.state.replay.rings.size // 4
    made = re.findall(r"= \w+\[([\d,]+)\]\S* ([\w-]+)\(", program._advance_compiled.as_text())
    large = {op for shape, op in made if math.prod(map(int, shape.split(","))) >= ring}
    assert large <= {"dynamic-update-slice", "fusion", "parameter", "get-tuple-element", "bitcast"}
    assert program.memory() < 1.1 * 4 * ring * 4


def test_who_diverges_is_frozen_and_changes_nobody_else(trainers, kind) -> None:
    hparams, keys = eight(kind)
    wild = dataclasses.replace(hparams, learning_rate=np.where(np.arange(8) == 3, 1e29, hparams.learning_rate))
    program = Program(trainers[kind], keys, hparams, freeze_diverged=True)
    calm, lost, longer = (run(program, keys, x, steps) for x, steps in ((hparams, 2_000), (wild, 2_000), (wild, 3_000)))
    assert (calm.diverged_at == -1).all()
    assert (np.flatnonzero(lost.diverged_at >= 0) == [3]).all()
    assert 0 < lost.diverged_at[3] < 2_000
    for a, b in zip(arrays(calm.state.agent), arrays(lost.state.agent), strict=True):
        np.testing.assert_array_equal(np.delete(a, 3, 0), np.delete(b, 3, 0))
    frozen, later = (jax.tree.map(lambda x: x[3], result.state.agent.params) for result in (lost, longer))
    assert all(np.isfinite(x).all() for x in arrays(frozen))
    jax.tree.map(np.testing.assert_array_equal, frozen, later)


def test_who_diverges_stops_a_run_that_freezes_nobody(trainers) -> None:
    hparams, keys = jax.tree.map(lambda x: x[:2], eight("off"))
    wild = dataclasses.replace(hparams, learning_rate=np.array([1e-3, 1e29]))
    with pytest.raises(DivergedError, match="of agent 1 became NaN"):
        run(trainers["off"], keys, wild, 2_000)


def test_other_values_compile_nothing(trainers, kind) -> None:
    compiled = []

    def listener(event: str, *_, **__) -> None:
        if "backend_compile" in event:
            compiled.append(event)

    hparams, keys = eight(kind)
    program = program_of(trainers[kind], hparams, keys)
    run(program, keys, hparams, 1_000)
    jax.monitoring.register_event_duration_secs_listener(listener)
    try:
        others = dataclasses.replace(hparams, discount=np.linspace(0.9, 0.99, 8), learning_rate=np.full(8, 1))
        run(program, jax.random.split(jax.random.key(9), 8), others, 1_000)
        assert not compiled
        jax.jit(lambda x: x + len(compiled) + 17)(1.0)
        assert compiled  # the listener is called
    finally:
        jax.monitoring.unregister_event_duration_listener(listener)


def test_devices_that_do_not_divide_are_refused(trainers) -> None:
    hparams, keys = jax.tree.map(lambda x: x[:3], eight("off"))
    with pytest.raises(ArgumentError, match="agents must be a multiple of the 2 devices, got 3"):
        Program(trainers["off"], keys, hparams, devices=jax.devices()[:2])
    with pytest.raises(ArgumentError, match="num_envs must be a multiple of the 3 devices, got 8"):
        Program(trainers["off"], keys[0], HPARAMS["off"], devices=jax.devices()[:3])


def test_a_run_takes_any_key_and_the_same_number_of_keys_and_hyperparameters(small_trainer, hparams) -> None:
    keys, four = jax.random.split(jax.random.key(0), 4), repeat(hparams, 4)
    shapes = Program(small_trainer, jax.random.key(5), hparams).shapes
    for key in (5, jax.random.PRNGKey(5), jax.random.key(5, impl="rbg")):
        program = Program(small_trainer, key, hparams)
        assert (program.agents, program.shapes) == ((), shapes)
    assert Program(small_trainer, jax.random.key_data(keys), four).agents == (4,)
    for wrong_key, given, message in (
        (keys, hparams, r"hparams\.learning_rate must be of \[4\] agents, .*jaxrl\.repeat.*, got shape \(\)$"),
        (keys, repeat(hparams, 3), r"hparams\.learning_rate must be of \[4\] agents, .*, got shape \(3,\)$"),
        (jax.random.key(0), four, r"hparams\.learning_rate must be one number for one key, got shape \(4,\)$"),
        (keys[None], four, r"key must be one key, or keys \[A\] of a population, got keys of shape \(1, 4\)$"),
        ("0", hparams, "key must be a random key such as "),
    ):
        with pytest.raises(ArgumentError, match=f"^{message}"):
            Program(small_trainer, wrong_key, given)
    with pytest.raises(ArgumentError, match=r"^key must be of shape \(4,\), as the program's, got \(\)$"):
        Program(small_trainer, keys, four).init(jax.random.key(0), hparams)


def test_a_population_is_not_made_of_a_population(small_trainer, hparams) -> None:
    keys = jax.random.split(jax.random.key(0), 2)
    with pytest.raises(
        ArgumentError, match=r"^key must be keys \[A\] of a population; jaxrl\.run takes the trainer of one"
    ):
        Program(population(small_trainer), keys, repeat(hparams, 2))
