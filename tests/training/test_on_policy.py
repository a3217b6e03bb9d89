"""The on-policy trainer: what the agent receives, populations, resuming, and policies that do not fit."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl import make
from jaxrl.agents import DQNHparams, MinibatchConfig, PPOHparams, dqn, ppo, reinforce
from jaxrl.arguments import ArgumentError
from jaxrl.networks import ActorCritic, actor_critic, q_network
from jaxrl.training import (
    Checkpoints,
    OffPolicyConfig,
    OnPolicyConfig,
    off_policy,
    on_policy,
    population,
    repeat,
    run,
)
from jaxrl.training.checkpoint import fingerprint
from jaxrl.types import Agent, Box, Decision, Discrete, Mean
from tests.compiling import quick_jit

T, N = 12, 4
ITERATION = T * N
GRID, GRID_PARAMS = make("GridWorld", map="...\n.#.\n..G", slip_probability=0.1)
GRID_PARAMS = GRID_PARAMS.replace(max_steps_in_episode=5)
HPARAMS = PPOHparams(learning_rate=1e-2)


@pytest.fixture(scope="module")
def trainer():
    observation, _ = jax.eval_shape(GRID.reset, jax.random.key(0), GRID_PARAMS)
    agent = ppo(actor_critic(observation, Discrete(4), (8,)), MinibatchConfig(num_epochs=2, num_minibatches=2))
    return on_policy(agent, GRID, GRID_PARAMS, OnPolicyConfig(num_envs=N, rollout_length=T))


@pytest.fixture(scope="module")
def compiled(trainer):
    """`init` and three iterations, of one agent and of a population."""
    many = population(trainer)
    return {
        name: (
            quick_jit(t.init),
            quick_jit(lambda s, t=t: jax.lax.scan(lambda s, _: t.step(s), s, length=3)),
        )
        for name, t in {"solo": trainer, "many": many}.items()
    }


def test_the_use_of_keys_is_part_of_every_recorded_result() -> None:
    env, params = make("CartPole-v1")
    agent = ppo(actor_critic(env.reset(jax.random.key(0), params)[0], Discrete(2), (8,)), MinibatchConfig(2, 2))
    trainer = on_policy(agent, env, params, OnPolicyConfig(N, T, reset_each_rollout=True))
    state = quick_jit(trainer.init)(jax.random.key(0), HPARAMS)
    state, metrics = quick_jit(lambda s: jax.lax.scan(lambda s, _: trainer.step(s), s, length=2))(state)
    assert metrics["episode_length"].sum.tolist() == [24, 12]
    np.testing.assert_allclose(metrics["value_loss"].sum, [67.142, 65.517], rtol=1e-3)
    np.testing.assert_allclose(metrics["policy_loss"].sum, [-0.003177, -0.003119], rtol=1e-2)


def data(x):
    return jax.random.key_data(x) if jnp.issubdtype(x.dtype, jax.dtypes.prng_key) else x


def test_each_of_three_agents_equals_its_solo_run(compiled) -> None:
    rates, keys = np.array([1e-3, 1e-2, 3e-2], np.float32), jax.random.split(jax.random.key(5), 3)
    init, train = compiled["many"]
    many, _ = train(init(keys, dataclasses.replace(repeat(HPARAMS, 3), learning_rate=rates)))
    assert many.iteration.shape == ()
    init, train = compiled["solo"]
    for i, rate in enumerate(rates):
        solo, _ = train(init(keys[i], dataclasses.replace(HPARAMS, learning_rate=rate)))
        trial = jax.tree.map(lambda x, i=i: x[i], many._replace(iteration=many.iteration[None].repeat(3)))
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(np.asarray(data(a)), np.asarray(data(b)), rtol=1e-4, atol=1e-5),
            solo,
            trial,
        )
        np.testing.assert_array_equal(solo.source.envs.env_states.cell, trial.source.envs.env_states.cell)
    kernel = many.agent.params["params"]["actor"]["Dense_0"]["kernel"]
    assert not np.allclose(kernel[0], kernel[1])


def test_other_hyperparameters_and_seeds_compile_nothing(compiled) -> None:
    init, train = compiled["solo"]
    states = []
    for seed in range(3):
        hparams = dataclasses.replace(HPARAMS, clip=0.1 * (seed + 1), gae_lambda=1.0 - 0.1 * seed, discount=0.9)
        states.append(train(init(jax.random.key(seed), hparams))[0])
    assert train._cache_size() == 1
    assert init._cache_size() <= 2  # one entry for records of Python numbers, one for records of arrays
    kernels = [state.agent.params["params"]["actor"]["Dense_0"]["kernel"] for state in states]
    assert not np.array_equal(kernels[0], kernels[1])
    assert not np.array_equal(states[0].key, states[1].key)


def test_its_clock_is_environment_steps(trainer) -> None:
    assert (trainer.steps_per_iteration, trainer.warmup_steps) == (ITERATION, 0)


def spy() -> Agent:
    """Acts at random and learns nothing."""

    def init(key, hparams, observation):
        return None

    def act(state, given, key, env_steps=0):
        return Decision(jax.random.randint(key, (len(given.observation),), 0, 4))

    def update(state, batch, key, env_steps, constants):
        return state, {"clock": Mean(env_steps, jnp.int32(1))}, ()

    return Agent(init, act, act, update)


def rollouts_of(reset_each_rollout: bool, iterations: int):
    """Transitions of each iteration, leaves `[iterations, T, N, ...]`, and the clock that updates saw."""
    batches = []

    def update(state, batch, key, env_steps, constants):
        return batch, {"clock": Mean(env_steps, jnp.int32(1))}, ()

    config = OnPolicyConfig(num_envs=N, rollout_length=T, reset_each_rollout=reset_each_rollout)
    trainer = on_policy(spy()._replace(update=update), GRID, GRID_PARAMS, config)
    state = quick_jit(trainer.init)(jax.random.key(0), HPARAMS)
    step, clock = quick_jit(trainer.step), []
    for _ in range(iterations):
        state, metrics = step(state._replace(agent=None))
        batches.append(state.agent)
        clock.append(float(metrics["clock"].sum))
    return jax.tree.map(lambda *x: np.stack(x), *batches), clock


def test_an_agent_that_learns_from_whole_episodes_is_refused_without_them() -> None:
    agent = reinforce(ActorCritic(Discrete(4)))
    with pytest.raises(ArgumentError, match=r"^reset_each_rollout must be True, .* whole episodes, got False$"):
        on_policy(agent, GRID, GRID_PARAMS, OnPolicyConfig())
    with pytest.raises(ArgumentError, match=r"^agent must not need whole episodes"):
        off_policy(agent, GRID, GRID_PARAMS, OffPolicyConfig())
    on_policy(agent, GRID, GRID_PARAMS, OnPolicyConfig(reset_each_rollout=True))
    on_policy(spy(), GRID, GRID_PARAMS, OnPolicyConfig())


@pytest.mark.parametrize("reset_each_rollout", [False, True])
def test_a_rollout_is_what_happened(reset_each_rollout: bool) -> None:
    batches, clock = rollouts_of(reset_each_rollout, 3)
    assert clock == [0, ITERATION, 2 * ITERATION]
    assert batches.observation.shape == (3, T, N, 3, 3, 3)
    done = batches.terminated | batches.truncated
    assert batches.terminated.sum() > 5
    assert batches.truncated.sum() > 5
    assert not (batches.terminated & batches.truncated).any()
    # Within an episode the next observation is the next transition's; after an end it is the true last one.
    goes_on = (batches.next_observation[:, :-1] == batches.observation[:, 1:]).all((-1, -2, -3))
    assert goes_on[~done[:, :-1]].all()
    at_goal = batches.next_observation[..., 2, 2, 0]
    np.testing.assert_array_equal(at_goal, batches.terminated)
    assert not batches.observation[..., 2, 2, 0].any()
    # From one rollout to the next, environments continue or restart.
    last, first = batches.next_observation[:-1, -1], batches.observation[1:, 0]
    continued = (last == first).all((-1, -2, -3))
    ongoing = ~done[:-1, -1]
    assert ongoing.any()
    assert continued[ongoing].all() != reset_each_rollout
    # An episode has at most 5 steps, counted from the start of a rollout.
    steps = np.zeros((3, N), int)
    for t in range(T):
        steps += 1
        if reset_each_rollout:
            np.testing.assert_array_equal(batches.truncated[:, t], (steps == 5) & ~batches.terminated[:, t])
        steps[done[:, t]] = 0


def test_a_stopped_run_resumes_to_the_same_bits(trainer, tmp_path) -> None:
    def train(name: str, iterations: int, resume: bool = False):
        checkpoints = Checkpoints(tmp_path / name)
        return run(
            trainer, jax.random.key(0), HPARAMS, ITERATION * iterations, checkpoints=checkpoints, resume=resume,
            log_every=ITERATION, notify=lambda line: None,
        )  # fmt: skip

    whole = train("whole", 5)
    train("parts", 2)
    resumed = train("parts", 5, resume=True)
    assert fingerprint(whole.state) == fingerprint(resumed.state)
    for name in ("policy_loss", "approx_kl", "clip_fraction", "entropy"):
        assert whole.row[name] == resumed.row[name]


@pytest.mark.parametrize(
    ("name", "space", "message"),
    [
        ("Pendulum-v1", Discrete(3), r"agent must act with float\[4, 1\].*Box.*, got int32\[4\]"),
        ("CartPole-v1", Box(-np.ones(1), np.ones(1)), r"agent must act with int\[4\].*Discrete.*, got float32\[4, 1\]"),
        ("Pendulum-v1", Box(-np.ones(2), np.ones(2)), r"agent must act with float\[4, 1\].*Box.*, got float32\[4, 2\]"),
    ],
)  # fmt: skip
def test_a_policy_that_does_not_fit_the_environment(name: str, space, message: str) -> None:
    """The error appears while tracing."""
    env, params = make(name)
    observation, _ = jax.eval_shape(env.reset, jax.random.key(0), params)
    agent = ppo(actor_critic(observation, space, (8,)))
    trainer = on_policy(agent, env, params, OnPolicyConfig(num_envs=N, rollout_length=T))
    with pytest.raises(ArgumentError, match=message):
        jax.eval_shape(trainer.init, jax.random.key(0), HPARAMS)


@pytest.mark.parametrize("size", ["num_envs", "rollout_length"])
def test_sizes_are_checked(size: str) -> None:
    with pytest.raises(ArgumentError, match=f"{size} must be > 0, got 0"):
        on_policy(spy(), GRID, GRID_PARAMS, OnPolicyConfig(**{size: 0}))
    sizes = {"num_envs": 2**16, "rollout_length": 2**15}
    with pytest.raises(ArgumentError, match=r"num_envs must keep the transitions of a rollout < 2147483648, got 2147"):
        on_policy(spy(), GRID, GRID_PARAMS, OnPolicyConfig(**sizes))
    on_policy(spy(), GRID, GRID_PARAMS, OnPolicyConfig(**sizes | {size: sizes[size] - 1}))


@pytest.mark.parametrize("kind", ["on", "off"])
def test_training_begins_at_random_times_of_the_episodes(kind: str) -> None:
    """So that environments do not all reach their time limit at once."""
    env, params = make("CartPole-v1")
    hparams: Any
    if kind == "on":
        actor = ppo(actor_critic(jnp.zeros(4), Discrete(2), (4,)), MinibatchConfig(1, 1))
        trainer, hparams = on_policy(actor, env, params, OnPolicyConfig(1000, rollout_length=2)), PPOHparams()
    else:
        learner = dqn(q_network(jnp.zeros(4), 2, (4,)))
        trainer = off_policy(learner, env, params, OffPolicyConfig(1000, warmup_steps=1000))
        hparams = DQNHparams()
    clocks = np.asarray(quick_jit(trainer.init)(jax.random.key(0), hparams).source.envs.env_states.time)
    assert clocks.mean() == pytest.approx(250, rel=0.1)
    assert len(np.unique(clocks)) > 300
