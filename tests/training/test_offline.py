"""The offline trainer: what it draws, what it counts, and what it shares between agents."""

import dataclasses
from collections.abc import Callable
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxrl import (
    ArgumentError,
    BehaviourCloningHparams,
    Decision,
    OfflineConfig,
    PPOHparams,
    Transition,
    actor_critic,
    behaviour_cloning,
    dqn,
    offline,
    policy_network,
    ppo,
    q_network,
)
from jaxrl.agents import DQNHparams, normalised, reinforce
from jaxrl.training import Checkpoints, Program, RunInfo, repeat, run
from jaxrl.training.checkpoint import fingerprint
from jaxrl.training.loggers import CSVLogger
from jaxrl.types import Agent, Discrete, Mean
from tests.compiling import quick_jit
from tests.instruments import spy_agent, watching
from tests.mutants import planted
from tests.training.test_program import assert_close, trial

M, BATCH, ITERATIONS = 12, 4, 3
HPARAMS = BehaviourCloningHparams(learning_rate=1e-2)
STATES, ACTIONS = 3, 2


def recorded(size: int = M, width: int = STATES, seed: int = 0) -> Transition:
    """Transitions whose observation begins with their number, and whose reward is that number."""
    rng, number, ends = np.random.default_rng(seed), np.arange(size), np.zeros(size, bool)
    observation = np.zeros((size, width), np.float32)
    observation[:, 0] = number
    actions = rng.integers(ACTIONS, size=size).astype(np.int32)
    return Transition(observation, actions, number.astype(np.float32), ends, ends, observation + 1)


def one_hot(seed: int = 0, size: int = 64) -> Transition:
    """A tabular problem with random actions."""
    rng = np.random.default_rng(seed)
    states, following = (np.eye(STATES, dtype=np.float32)[rng.integers(STATES, size=size)] for _ in range(2))
    ends = np.zeros(size, bool)
    action = rng.integers(ACTIONS, size=size).astype(np.int32)
    return Transition(states, action, rng.normal(size=size).astype(np.float32), ends, ends, following)


def cloning(**more) -> Agent:
    return behaviour_cloning(policy_network(np.zeros(STATES, np.float32), Discrete(ACTIONS), ()), **more)


def train(trainer, hparams=(), iterations: int = ITERATIONS):
    state = trainer.init(jax.random.key(0), hparams, trainer.constants)
    for _ in range(iterations):
        state, _ = trainer.step(state, trainer.constants)
    return state


def test_keys_and_clock() -> None:
    """No key is used twice, and the clock counts gradient steps."""
    with watching() as log:
        train(offline(spy_agent(log), recorded(), OfflineConfig(BATCH)))
    log.check()
    assert {user: log.count(user) for user in ("init", "act", "update")} == {"init": 1, "act": 0, "update": ITERATIONS}
    assert log.clocks["update"] == [0, 1, 2]
    assert log.clocks["smallest weight"] == [1] * ITERATIONS


MUTANTS = [
    ("_step", "the same key in every step", "jax.random.fold_in(state.key, state.iteration)", "state.key"),
    ("_step", "the clock counts the step to come", "state.iteration.astype", "(1 + state.iteration).astype"),
    ("_step", "the clock counts transitions", "astype(jnp.float32)\n", "astype(jnp.float32) * config.batch_size\n"),
    ("_step", "samples with the key of the run", "(dataset, key,", "(dataset, state.key,"),
    ("_init", "makes the agent and trains with one key", "agent.init(agent_key", "agent.init(run_key"),
]


@pytest.mark.parametrize(("function", "old", "new"), [pytest.param(f, a, b, id=name) for f, name, a, b in MUTANTS])
def test_an_error_of_keys_or_clock_is_seen(function: str, old: str, new: str) -> None:
    with planted(f"jaxrl.training.offline:{function}", old, new), pytest.raises(AssertionError):
        test_keys_and_clock()


def counting() -> Agent:
    """Its state counts how often it saw each transition, and those whose fields are not of one row."""

    def update(state, batch, key, env_steps, constants):
        steps = batch.transitions
        assert steps.reward.shape == (1, BATCH)
        rows = steps.reward[0].astype(jnp.int32)
        mixed = (steps.observation[0, :, 0] != rows) | (steps.next_observation[0, :, 0] != rows + 1)
        seen, wrong = state
        return (seen.at[rows].add(1), wrong + mixed.sum()), {"first": Mean.of(steps.reward[0, 0])}, ()

    def policy(state, given, key):
        return Decision(jnp.zeros(len(given.observation), jnp.int32))

    return Agent(lambda *_: (jnp.zeros(M, jnp.int32), jnp.int32(0)), policy, policy, update)


def test_batches_are_drawn_uniformly_with_replacement() -> None:
    steps = 3000
    result = run(offline(counting(), recorded(), OfflineConfig(BATCH)), jax.random.key(1), (), steps)
    seen, wrong = result.state.agent
    expected = steps * BATCH / M
    assert int(seen.sum()) == steps * BATCH
    assert ((np.asarray(seen) - expected) ** 2 / expected).sum() < 31.3  # χ² with 11 degrees of freedom, 0.1 %
    assert int(wrong) == 0
    assert result.row["first"] == pytest.approx((M - 1) / 2, abs=0.3)


@pytest.mark.slow
def test_a_policy_becomes_the_frequencies_of_the_dataset() -> None:
    """With a learning rate that falls to 0, so that the noise of the batches averages out."""
    data, steps = one_hot(size=200), 1000
    hparams = BehaviourCloningHparams(learning_rate=0.3, learning_rate_decay_steps=steps, max_grad_norm=1e9)
    agent = cloning(optimizer=lambda h, t: optax.sgd(h.learning_rate * jnp.maximum(1 - t / steps, 0)))
    state = run(offline(agent, data, OfflineConfig(64)), jax.random.key(0), hparams, steps).state.agent
    assert agent.outputs is not None
    policy = np.asarray(jax.nn.softmax(agent.outputs(state, jnp.eye(STATES)).logits))
    counts = np.zeros((STATES, ACTIONS))
    np.add.at(counts, (data.observation.argmax(1), data.action), 1)
    np.testing.assert_allclose(policy, counts / counts.sum(1, keepdims=True), atol=0.02)


@pytest.fixture(scope="module")
def trainer():
    return offline(cloning(), one_hot(), OfflineConfig(8))


def test_a_population_shares_the_dataset() -> None:
    """Sixteen agents and 51 MB of transitions."""
    data = recorded(100_000, 64)
    size = sum(x.nbytes for x in jax.tree.leaves(data))
    network = policy_network(data.observation[0], Discrete(ACTIONS), (8,))
    hparams, keys = repeat(HPARAMS, 16), jax.random.split(jax.random.key(0), 16)
    program = Program(offline(behaviour_cloning(network), data, OfflineConfig(BATCH)), keys, hparams)
    assert size > 50e6
    assert size < program.memory() < 1.05 * size
    run_state = program.init(keys, hparams)
    assert sum(x.nbytes for x in jax.tree.leaves(run_state) if hasattr(x, "nbytes")) < 0.01 * size  # nor saved


def test_each_agent_of_a_population_equals_its_solo_run(trainer) -> None:
    hparams = dataclasses.replace(repeat(HPARAMS, 3), learning_rate=np.float32([1e-3, 1e-2, 1e-1]))
    keys = jax.random.split(jax.random.key(0), 3)
    program = Program(trainer, keys, hparams)
    together = program.compiled()(program.init(keys, hparams), 10)
    assert together.state.source == together.state.replay == ()
    alone = Program(trainer, keys[0], jax.tree.map(lambda x: x[0], hparams))
    for i in range(3):
        own = jax.tree.map(lambda x, i=i: x[i], hparams)
        assert_close(alone.compiled()(alone.init(keys[i], own), 10), trial(together, i))


def test_agents_that_diverge_are_frozen(trainer) -> None:
    """While the others go on."""
    hparams = dataclasses.replace(repeat(HPARAMS, 2), learning_rate=np.float32([1e29, 1e-21]))
    agent = cloning(optimizer=lambda h, t: optax.sgd(h.learning_rate * 1e20))
    keys = jax.random.split(jax.random.key(0), 2)
    program = Program(offline(agent, one_hot(), OfflineConfig(8)), keys, hparams, freeze_diverged=True)
    result = run(program, keys, hparams, 20)
    assert result.diverged_at.tolist() == [2, -1]  # its first loss is still finite
    assert all(np.isfinite(x[1]).all() for x in jax.tree.leaves(result.state.agent.params))


def train_into(folder: Path, trainer, total_steps: int, **more):
    notes: list[str] = []
    result = run(
        trainer, jax.random.key(0), HPARAMS, total_steps, log_every=10, loggers=[CSVLogger()], info=RunInfo(folder),
        checkpoints=Checkpoints(folder / "checkpoints"), notify=notes.append, **more,
    )  # fmt: skip
    return result, notes


def test_a_run_resumes_to_the_same_bits_with_its_own_dataset_alone(trainer, tmp_path) -> None:
    program = Program(trainer, jax.random.key(0), HPARAMS)
    whole, _ = train_into(tmp_path / "whole", program, 30)
    train_into(tmp_path / "parts", program, 17)
    other = offline(cloning(), one_hot(seed=1), OfflineConfig(8))
    compiled = program.compile_seconds
    for changed in (other, trainer._replace(constants=trainer.constants._replace(agent=np.float32(1)))):
        with pytest.raises(ArgumentError) as error:
            train_into(tmp_path / "parts", changed, 30, resume=True)
        rule = f"must be the same as in {tmp_path / 'parts'} to resume it: the same dataset, or the same expert"
        assert str(error.value).startswith(f"constants {rule}, got others (SHA-256 ")
    resumed, notes = train_into(tmp_path / "parts", program, 30, resume=True)
    assert fingerprint(resumed.state) == fingerprint(whole.state)
    assert notes == ["resuming at 17 gradient steps"]
    assert program.compile_seconds == compiled
    header, *lines = (tmp_path / "parts" / "metrics.csv").read_text().splitlines()
    assert header == "seed,gradient_steps,accuracy,loss,gradient_steps_per_second,wall_seconds"
    assert [line.split(",")[1] for line in lines] == ["10", "20", "30"]
    assert (resumed.steps, resumed.row["gradient_steps"]) == (30, 30)


def test_a_dataset_may_come_from_a_device_and_be_of_64_bits(trainer) -> None:
    data = one_hot()
    wide = jax.tree.map(lambda x: x.astype({"f": np.float64, "i": np.int64}.get(x.dtype.kind, x.dtype)), data)
    for other in (wide, jax.tree.map(jnp.asarray, data)):
        constants = offline(cloning(), other, OfflineConfig(8)).constants
        assert all(isinstance(x, np.ndarray) for x in jax.tree.leaves(constants))
        for x, y in zip(jax.tree.leaves(constants), jax.tree.leaves(trainer.constants), strict=True):
            assert x.dtype == y.dtype
            np.testing.assert_array_equal(x, y)


@pytest.mark.parametrize("kind", ["dqn", "normalised"])
def test_other_agents_learn_offline(kind: str) -> None:
    hparams = DQNHparams() if kind == "dqn" else HPARAMS
    agent = dqn(q_network(np.zeros(STATES), ACTIONS, (4,))) if kind == "dqn" else normalised(cloning())
    jax.eval_shape(partial(train, offline(agent, one_hot(), OfflineConfig(8)), hparams))


@pytest.mark.slow
def test_a_batch_is_spread_over_devices(trainer) -> None:
    """Each has the dataset, and a part of every batch."""
    key = jax.random.key(0)
    program, alone = (Program(trainer, key, HPARAMS, devices=jax.devices()[:n]) for n in (8, 1))
    assert "all-reduce" in program._advance_compiled.as_text()
    assert_close(*(x.compiled()(x.init(key, HPARAMS), 5) for x in (program, alone)))


def test_dtypes_are_the_same_with_x64(trainer) -> None:
    dtypes = []
    for x64 in (False, True):
        with jax.enable_x64(x64):
            state = jax.eval_shape(trainer.init, jax.random.key(0), HPARAMS, trainer.constants)
            steps = state, jax.eval_shape(trainer.step, state, trainer.constants)
            dtypes.append([str(x.dtype) for x in jax.tree.leaves(steps)])
    assert dtypes[0] == dtypes[1]


def test_programs_share_the_dataset_that_is_on_their_devices(trainer) -> None:
    keys = jax.random.split(jax.random.key(0), 4)
    first = Program(trainer, keys, repeat(HPARAMS, 4))
    second = Program(trainer._replace(constants=first.constants), keys[:2], repeat(HPARAMS, 2))
    assert all(x is y for x, y in zip(*map(jax.tree.leaves, (first.constants, second.constants)), strict=True))


def changed(**fields) -> Callable[[], Transition]:
    return lambda: one_hot()._replace(**fields)


ENDS = np.zeros(64, bool)
NAN = np.where(np.arange(64)[:, None] == 5, np.nan, np.eye(STATES, dtype=np.float32)[ENDS.astype(int)])
BAD_DATASETS = [
    (lambda: {"observation": 0}, "dataset must be of the kind Transition of recorded transitions [M, ...], got dict"),
    (changed(next_observation=()), "dataset must have the field next_observation, got none"),
    (changed(reward=None), "dataset must have the field reward, got none"),
    (
        changed(terminated=ENDS[1:]),
        "dataset must have [64, ...] transitions in every field, got bool[63] in term",
    ),
    (changed(reward=np.float32(1)), "dataset must have [M, ...] transitions in every field, got float32[64, 3] in obs"),
    (lambda: jax.tree.map(lambda x: x[:0], one_hot()), "dataset must have transitions, got none"),
    (changed(reward=ENDS), "dataset must have float[M] in reward, got bool[64] in reward"),
    (changed(truncated=ENDS.astype(int)), "dataset must have bool[M] in truncated, got int32[64] in truncated"),
    (changed(action=ENDS), "dataset must have int[M], or float[M, D] for a box, in action, got bool[64] in action"),
    (
        changed(action=np.zeros((64, 2), bool)),
        "dataset must have int[M], or float[M, D] for a box, in action, got bool[64, 2",
    ),
    (changed(action=np.array(["left"] * 64, object)), "dataset must have arrays as fields, got ndarray"),
    (
        changed(next_observation=np.zeros((64, 2), np.float32)),
        "dataset must have in next_observation what is in observation, float32[64, 3], got float32[64, 2]",
    ),
    (
        changed(observation=NAN, next_observation=NAN),
        "dataset must have finite numbers, got nan in observation, t",
    ),
    (
        changed(action=np.arange(64) + 2**32),
        "dataset must have numbers that fit int32, got 4294967296 in action",
    ),
    (changed(action=np.arange(64) - 1), "dataset must have legal actions >= 0, got -1 in transition 0"),
    (
        changed(legal=np.ones((64, 2), bool) & [True, False], next_legal=np.ones((64, 2), bool), action=1 * ~ENDS),
        "dataset must have legal actions >= 0, got 1 in transition 0",
    ),
    (
        changed(legal=np.ones((64, 2), bool)),
        "dataset must have in next_legal what is in legal, bool[64, 2], got None",
    ),
]


@pytest.mark.parametrize(("make", "message"), BAD_DATASETS)
def test_bad_datasets(make, message: str) -> None:
    with pytest.raises(ArgumentError) as error:
        offline(cloning(), make(), OfflineConfig(8))
    assert str(error.value).startswith(message)


def test_bad_agents_and_sizes() -> None:
    data = one_hot()
    network = actor_critic(data.observation[0], Discrete(ACTIONS), (4,))
    with pytest.raises(ArgumentError, match=r"^batch_size must be at most 64, the transitions of the dataset, got 65$"):
        offline(cloning(), data, OfflineConfig(65))
    with pytest.raises(ArgumentError, match=r"^batch_size must be > 0, got 0$"):
        offline(cloning(), data, OfflineConfig(0))
    with pytest.raises(ArgumentError, match=r"^agent must not need whole episodes, .*, got one that does$"):
        offline(reinforce(network), data, OfflineConfig(8))
    with pytest.raises(ArgumentError, match=r"^batch must be of the kind Transition, a rollout, .*, got Sample"):
        Program(offline(ppo(network), data, OfflineConfig(8)), jax.random.key(0), PPOHparams())
    with pytest.raises(ArgumentError, match=r"^constants must be of the kind OfflineConstants, as Trainer.constants"):
        offline(cloning(), data, OfflineConfig(8)).init(jax.random.key(0), HPARAMS)

    def init(**fields):
        jax.eval_shape(partial(train, offline(cloning(), data._replace(**fields), OfflineConfig(8)), HPARAMS))

    with pytest.raises(ArgumentError, match=r"^agent must give 5 values or more, .* in the dataset, got 2"):
        init(action=np.arange(64) % 5)
    with pytest.raises(ArgumentError, match=r"^agent must give 3 values, one for each action in the dataset, got 2"):
        init(legal=np.ones((64, 3), bool), next_legal=np.ones((64, 3), bool))
    one = np.ones((64, 1), bool)
    with pytest.raises(ArgumentError, match=r"^agent must give 1 values, one for each action in the dataset, got 2"):
        init(action=np.zeros(64, int), legal=one, next_legal=one)
    with pytest.raises(ArgumentError, match=r"^agent must act with float32\[2, 1\], as in the dataset, got int32\[2\]"):
        init(action=np.zeros((64, 1), np.float32))


def drawn(key, batch_size):
    """Two-step sequences of one-hot observations of the right action."""
    action = jax.random.randint(key, (2, batch_size), 0, ACTIONS)
    observation, ends = jax.nn.one_hot(action, STATES), jnp.zeros(action.shape, bool)
    return Transition(observation, action, jnp.ones(action.shape), ends, ends, observation)


def test_batches_are_drawn_afresh_from_the_runs_key() -> None:
    """A run learns what a function draws, another batch each step, and resumes to the same bits."""
    trainer = offline(cloning(), drawn, OfflineConfig(16))
    start = quick_jit(trainer.init)(jax.random.key(0), HPARAMS, trainer.constants)
    step = quick_jit(trainer.step)
    state, rows = start, []
    for _ in range(30):
        state, metrics = step(state, trainer.constants)
        rows.append(float(metrics["loss"].value()))
    assert len(set(rows)) == 30
    assert rows[-1] < 0.8 * rows[0]
    assert float(metrics["accuracy"].value()) == 1
    again, _ = step(start, trainer.constants)
    other, _ = step(start._replace(key=jax.random.key(7)), trainer.constants)
    first, _ = step(start, trainer.constants)
    jax.tree.map(np.testing.assert_array_equal, again.agent, first.agent)
    assert any(
        (a != b).any() for a, b in zip(*map(jax.tree.leaves, (first.agent.params, other.agent.params)), strict=True)
    )


def test_what_is_drawn_must_be_a_batch_of_sequences() -> None:
    def refused(dataset, message, agent=None):
        with pytest.raises(ArgumentError, match=message):
            jax.eval_shape(offline(agent or cloning(), dataset, OfflineConfig(16)).init, jax.random.key(0), HPARAMS)

    refused(
        lambda key, n: drawn(key, n).observation,
        r"dataset must be of the kind Transition \[n, batch_size\], which it draws",
    )
    refused(
        lambda key, n: drawn(key, 3), r"must draw transitions \[n, 16, ...\] in every field, got float32\[2, 3, 3\]"
    )
    fewer = behaviour_cloning(policy_network(np.zeros(STATES, np.float32), Discrete(ACTIONS - 1), ()))
    refused(drawn, rf"agent must give {ACTIONS} values or more, .*, got {ACTIONS - 1}", fewer)
