"""The off-policy trainer, and populations of it."""

import dataclasses
import math
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl import DQNHparams, OffPolicyConfig, RainbowHparams, dqn, make, off_policy, population
from jaxrl.envs import num_discrete_actions
from jaxrl.networks import NoisyDense, QNetwork
from jaxrl.training import as_arrays, repeat
from jaxrl.training.program import init_run_state
from jaxrl.types import Agent, Decision, Mean
from tests.compiling import AS_USERS_DO, quick_jit
from tests.conftest import SMALL

STEPS = 12


@pytest.fixture(scope="module")
def compiled(small_trainer):
    """The programs of one agent and of a population."""
    many = population(small_trainer)
    steps = {
        "solo": jax.jit(lambda s: jax.lax.scan(lambda s, _: small_trainer.step(s), s, length=STEPS)),
        "many": jax.jit(lambda s: jax.lax.scan(lambda s, _: many.step(s), s, length=STEPS)),
    }
    inits = {"solo": jax.jit(small_trainer.init), "many": jax.jit(many.init)}
    return inits, steps


def three(hparams: DQNHparams) -> DQNHparams:
    return dataclasses.replace(repeat(hparams, 3), learning_rate=np.array([1e-4, 1e-3, 1e-2]))


def test_the_use_of_keys_is_part_of_every_recorded_result() -> None:
    """Every part that draws random numbers does: the replay, the noisy network, and ε, which chooses all actions."""
    network = QNetwork(num_actions=2, hidden_sizes=(8,), dense=NoisyDense)
    config = dataclasses.replace(SMALL, replay="prioritised", n_step=2)
    trainer = off_policy(dqn(network, double=True), *make("CartPole-v1"), config)
    hparams = RainbowHparams(learning_rate=1e-2, epsilon_end=1.0)
    state = quick_jit(trainer.init)(jax.random.key(0), hparams)
    state, metrics = quick_jit(lambda s: jax.lax.scan(lambda s, _: trainer.step(s), s, length=2))(state)
    np.testing.assert_allclose(metrics["loss"].sum, [1.2024, 1.5661], rtol=1e-3)
    np.testing.assert_allclose(metrics["q_mean"].sum, [-0.0826, 0.03533], rtol=1e-2)


def data(x):
    return jax.random.key_data(x) if jnp.issubdtype(x.dtype, jax.dtypes.prng_key) else x


def test_each_of_three_agents_equals_its_solo_run(compiled, hparams) -> None:
    inits, steps = compiled
    keys = jax.random.split(jax.random.key(5), 3)
    many, many_metrics = steps["many"](inits["many"](keys, three(hparams)))
    assert many.iteration.shape == ()
    for i, rate in enumerate((1e-4, 1e-3, 1e-2)):
        solo, solo_metrics = steps["solo"](inits["solo"](keys[i], dataclasses.replace(hparams, learning_rate=rate)))
        trial = jax.tree.map(lambda x, i=i: x[i], many._replace(iteration=many.iteration[None].repeat(3)))
        # The environments and the replay to the bit, parameters up to the order of sums in a matrix product.
        for a, b in zip(jax.tree.leaves(solo), jax.tree.leaves(trial), strict=True):
            np.testing.assert_allclose(np.asarray(data(a)), np.asarray(data(b)), rtol=1e-4, atol=1e-6)
        np.testing.assert_array_equal(solo.replay.rings, trial.replay.rings)
        np.testing.assert_allclose(solo_metrics["loss"].sum, many_metrics["loss"].sum[:, i], rtol=1e-3, atol=1e-6)


def test_other_hyperparameters_and_seeds_compile_nothing(compiled, hparams) -> None:
    inits, steps = compiled
    for seed, rate in ((0, 1e-3), (1, 1)):
        changed = dataclasses.replace(hparams, learning_rate=rate, discount=0.9 + seed * 0.01, target_update_period=3)
        steps["solo"](inits["solo"](jax.random.key(seed), as_arrays(changed)))
    # One entry for records of Python numbers (the test above), one for records of arrays.
    assert inits["solo"]._cache_size() <= 2
    assert steps["solo"]._cache_size() == 1


def test_seeds_differ_from_the_first_weight_on(compiled, hparams) -> None:
    inits, _ = compiled
    state = inits["many"](jax.random.split(jax.random.key(0), 3), repeat(hparams, 3))
    kernel = state.agent.params["params"]["Dense_0"]["kernel"]
    ring = state.replay.rings[:, 0]
    for i in range(3):
        assert not np.array_equal(kernel[i], kernel[i - 1])
        assert not np.array_equal(ring[i], ring[i - 1])


def test_every_stored_transition_is_one_that_happened(small_agent, hparams) -> None:
    """Nothing is stored or sampled across an episode's end or from a reset observation."""
    config = OffPolicyConfig(num_envs=4, batch_size=8, replay_capacity=4 * 200, warmup_steps=16)
    env, params = make("Breakout-MinAtar")
    trainer = off_policy(small_agent, env, params, config)
    state = jax.jit(trainer.init)(jax.random.key(0), hparams)
    state, _ = jax.jit(lambda s: jax.lax.scan(lambda s, _: trainer.step(s), s, length=150))(state)
    written = 16 // 4 + 150
    ring = np.asarray(state.replay.rings[0, :written])  # [T, N, words]
    observation, action, reward, terminated, truncated, after = np.split(ring, [13, 14, 15, 16, 17], axis=-1)
    done = terminated[..., 0].astype(bool)
    assert done.sum() > 20
    assert not truncated.any()
    # Within an episode the next observation is the next transition's; after an end it is not.
    same = (after[:-1] == observation[1:]).all(axis=-1)
    np.testing.assert_array_equal(same, ~done[:-1])
    boards = np.asarray(env.decode(jnp.asarray(observation)))
    paddle = boards[..., 9, :, 0].argmax(-1)
    moved = np.abs(np.asarray(env.decode(jnp.asarray(after)))[..., 9, :, 0].argmax(-1) - paddle)
    assert moved.max() == 1
    assert set(np.unique(action)) <= set(range(6))
    assert set(reward.view(np.float32).ravel()) <= {0.0, 1.0}


@pytest.mark.parametrize(
    ("env", "agents", "kind", "n_step"),
    [
        ("CartPole-v1", 1, "uniform", 1),
        pytest.param("CartPole-v1", 3, "uniform", 1, marks=pytest.mark.slow),
        ("Breakout-MinAtar", 3, "prioritised", 3),
        ("tests.envs.frame_envs:RandomFrames", 1, "uniform", 2),
    ],
)
def test_the_replay_is_written_in_place(env: str, agents: int, kind: str, n_step: int) -> None:
    """No copy and no select as large as the replay in the compiled program."""
    config = OffPolicyConfig(
        num_envs=4, batch_size=8, replay_capacity=4096, warmup_steps=16, n_step=n_step, replay=kind
    )
    hparams = RainbowHparams()
    environment, params = make(env)
    agent = dqn(QNetwork(num_discrete_actions(environment, params), hidden_sizes=(8,), conv_features=2))
    trainer, key = off_policy(agent, environment, params, config), jax.random.key(0)
    if agents > 1:
        trainer, key, hparams = population(trainer), jax.random.split(key, agents), repeat(hparams, agents)
    shapes = jax.eval_shape(trainer.init, key, hparams)

    def advance(state, n):
        return jax.lax.fori_loop(0, n, lambda _, s: trainer.step(s)[0], state)

    program = jax.jit(advance, donate_argnums=0).lower(shapes, jnp.int32(0)).compile(AS_USERS_DO)
    text = str(program.as_text())
    made = re.findall(r"= \w+\[([\d,]+)\]\S* ([\w-]+)\(", text)
    large = {op for shape, op in made if math.prod(map(int, shape.split(","))) >= shapes.replay.rings.size}
    # Fusions list what they contain, too. All other operations pass the array on.
    assert "dynamic-update-slice" in large
    assert large <= {"dynamic-update-slice", "fusion", "parameter", "get-tuple-element", "bitcast"}
    assert (analysis := program.memory_analysis()) is not None
    assert analysis.temp_size_in_bytes < shapes.replay.rings.size * 4
    if kind == "prioritised":
        leaves = ",".join(map(str, shapes.replay.sampler.tree[0].shape))
        assert f"f32[{leaves}]" in text
        assert not re.findall(rf"= f32\[{leaves}\]\S* copy\(", text)


def test_each_update_samples_by_the_priorities_that_the_one_before_has_set() -> None:
    """At first all alike, each once; then those of action 1 alone."""

    def act(state, given, key, env_steps=0):
        return Decision((jnp.arange(4) == 1).astype(jnp.int32))

    def update(state, batch, key, env_steps, constants):
        chosen = batch.transitions.action[0]
        return state, {"chosen": Mean(chosen.sum(), jnp.int32(1))}, 1e6 * chosen

    agent = Agent(lambda key, hparams, observation: (), act, act, update)
    config = OffPolicyConfig(num_envs=4, batch_size=8, replay_capacity=8, warmup_steps=8, updates_per_iteration=2,
                             replay="prioritised")  # fmt: skip
    trainer = off_policy(agent, *make("CartPole-v1"), config)
    hparams = RainbowHparams(priority_exponent=1.0)
    _, metrics = quick_jit(lambda key: trainer.step(trainer.init(key, hparams)))(jax.random.key(0))
    assert metrics["chosen"] == (2 + 8, 2)


def test_no_counter_overflows(small_agent) -> None:
    """Rows, of which the warm-up has four, and gradient steps."""
    for rows, updates, most in ((5, 2, (2**31 - 1 - 4) // 5), (2, 3, (2**31 - 1) // 3)):
        sizes = dataclasses.replace(SMALL, rollout_length=rows, updates_per_iteration=updates)
        assert off_policy(small_agent, *make("Breakout-MinAtar"), sizes).max_iterations == most


def test_a_batch_larger_than_the_replay_is_refused(small_agent) -> None:
    with pytest.raises(ValueError, match="batch_size must be at most 32, the capacity of the replay buffer, got 64"):
        off_policy(small_agent, *make("Breakout-MinAtar"), OffPolicyConfig(batch_size=64, replay_capacity=32))


def test_the_derivative_of_training_is_finite(hparams) -> None:
    """With respect to the step size of the updates before a loss; some units of the network are never active."""
    config = OffPolicyConfig(num_envs=2, batch_size=4, replay_capacity=16, warmup_steps=4)
    trainer = off_policy(dqn(QNetwork(4, (8,))), *make("GridWorld", map="..\n.G"), config)

    def last_loss(rate):
        state = trainer.init(jax.random.key(0), dataclasses.replace(hparams, learning_rate=rate))
        _, metrics = jax.lax.scan(lambda state, _: trainer.step(state), state, length=3)
        return metrics["loss"].sum[-1]

    slope = quick_jit(jax.grad(last_loss))(1e-3)
    assert np.isfinite(slope)
    assert slope != 0


def test_progress_starts_at_nothing(small_trainer, hparams) -> None:
    run_state = jax.jit(lambda key: init_run_state(small_trainer, key, hparams, ()))(jax.random.key(0))
    assert run_state.nan_iteration == -1
    assert all(mean.sum == 0 and mean.count == 0 for mean in run_state.metrics.values())


def test_a_replay_holds_actions_of_a_box(hparams) -> None:
    """Sampled actions are the original ones, bit for bit, even outside the box."""
    env, params = make("Pendulum-v1")

    def act(state, given, key, env_steps):
        return Decision(4 * given.observation[:, :1])

    def update(state, batch, key, env_steps, constants):
        steps, _ = batch
        error = jnp.abs(steps.action - 4 * steps.observation[..., :1])
        return state, {"error": Mean(error.sum(), jnp.int32(error.size))}, ()

    agent = Agent(
        lambda key, hparams, observation: (), act, lambda state, given, key: act(state, given, key, 0), update
    )
    config = OffPolicyConfig(num_envs=4, batch_size=8, replay_capacity=64, warmup_steps=16)
    trainer = off_policy(agent, env, params, config)
    state, metrics = jax.jit(trainer.step)(jax.jit(trainer.init)(jax.random.key(0), hparams))
    assert metrics["error"] == (0, 8)
    assert state.replay.rings.shape == (1, 16, 4, 3 + 1 + 1 + 1 + 1 + 3)
