"""A run is the same with and without x64: the same dtypes and random bits, and results equal up to rounding."""

import dataclasses
from collections.abc import Callable
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrl
from jaxrl import planning
from jaxrl.agents.action_values import categorical, quantiles
from jaxrl.agents.captioning import CaptioningConfig, CaptioningHparams, captioning
from jaxrl.agents.dynamics import DynamicsConfig, DynamicsHparams, dynamics
from jaxrl.agents.recurrent_attention import (
    RecurrentAttentionConfig,
    RecurrentAttentionHparams,
    recurrent_attention,
)
from jaxrl.envs import GAMES
from jaxrl.envs.digits import DigitCaptions, Digits
from jaxrl.games import noisy_player, random_player
from jaxrl.networks import NoisyDense, QNetwork
from jaxrl.networks.caption_network import CaptionNetwork
from jaxrl.networks.glimpses import GlimpseNetwork
from jaxrl.types import Box

ENVIRONMENTS = {
    "CartPole-v1": {},
    "GridWorld": {"map": "S....\n..C.G\n.....\n", "slip_probability": 0.5},
    **{game: {"sticky_action_prob": 0.5} for game in GAMES},
}


def dtypes(tree: Any) -> list[str]:
    return [f"{jax.tree_util.keystr(path)} {x.dtype}" for path, x in jax.tree_util.tree_leaves_with_path(tree)]


def both(compute: Callable[[Any], Any]) -> tuple[Any, Any]:
    """The results of a function of a key without x64 and with it, compiled quickly because it runs only once."""
    results = []
    for x64 in (False, True):
        with jax.enable_x64(x64):
            lowered = jax.jit(lambda key: jax.tree.map(numbers, compute(key))).lower(jax.random.key(1))
            compiled = lowered.compile(compiler_options={"xla_backend_optimization_level": "0"})
            results.append(jax.device_get(compiled(jax.random.key(1))))
    return results[0], results[1]


def same(one: Any, other: Any) -> None:
    assert dtypes(one) == dtypes(other)
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-4), one, other)


def numbers(x: Any) -> Any:
    return jax.random.key_data(x) if jnp.issubdtype(x.dtype, jax.dtypes.prng_key) else x


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_environments_draw_the_same_bits(name: str) -> None:
    env, params = jaxrl.make(name, **ENVIRONMENTS[name])

    def policy(given: Any, key: Any) -> Any:
        return jax.random.bits(key, (4,), jnp.uint32) % 4

    def play(key: Any) -> Any:
        return jaxrl.rollout(env, policy, key, 40, 4, params)._replace(next_observation=())

    same(*both(play))


@pytest.mark.parametrize("env", [Digits(clutter=1, domains=2), Digits("sklearn"), DigitCaptions()])
def test_images_are_the_same(env: Any) -> None:
    same(*both(env.draw))


def test_a_robot_hops_the_same() -> None:
    env, params = jaxrl.make("PlanarHopper")
    same(*both(lambda key: env.step(key, env.reset(key, params)[1], jnp.ones(3), params)))


def test_players_draw_the_same_moves() -> None:
    given = jaxrl.Input((), legal=jnp.ones((8, 7), bool))
    same(*both(lambda key: noisy_player(random_player, 0.5)(given, key)))


BOX = Box(np.float32([-1]), np.float32([1]))


@pytest.mark.parametrize(
    ("planner", "config"),
    [(planning.cem, planning.CEMConfig(3, 8, 2, 2)), (planning.mppi, planning.MPPIConfig(3, 8, 2))],
)
def test_plans_are_the_same(planner: Any, config: Any) -> None:
    def model(state: Any, action: Any, key: Any) -> tuple[Any, Any]:
        return state + action[0] + jax.random.normal(key, (), jnp.float32), -(state**2)

    same(*both(lambda key: planner(model, jnp.float32(1), key, planning.middle(BOX, 3), BOX, config)))


def test_learned_models_are_the_same() -> None:
    model = dynamics(jax.ShapeDtypeStruct((2,), jnp.float32), BOX, DynamicsConfig(2, (4,)))
    hparams = jaxrl.training.as_arrays(DynamicsHparams())

    def compute(key: Any) -> Any:
        x, ends = jax.random.normal(key, (4, 2), jnp.float32), jnp.arange(4) == 0
        batch = jaxrl.Transition(x, x[:, :1], x[:, 0], ends, ends, 2 * x)
        state = model.init(key, hparams, x[0])
        state, metrics = model.update(state, hparams, batch, model.weigh(key, 4))
        return state, metrics, model.sample(state, x.reshape(2, 2, 2), x.reshape(2, 2, 2)[..., :1], key)

    same(*both(compute))


@pytest.mark.parametrize("kind", ["attention", "captions"])
def test_networks_that_look_learn_the_same(kind: str) -> None:
    agent, hparams = {
        "attention": (
            recurrent_attention(GlimpseNetwork(3, 3, 4, hidden_size=6), RecurrentAttentionConfig()),
            RecurrentAttentionHparams(),
        ),
        "captions": (captioning(CaptionNetwork(3, 5, 4), CaptioningConfig(samples=2)), CaptioningHparams()),
    }[kind]
    images = np.random.default_rng(0).integers(256, size=(1, 2, 24, 24, 1)).astype(np.uint8)

    def compute(key: Any) -> Any:
        ends, action, reward = jnp.zeros((1, 2), bool), jnp.array([[2, 0]], jnp.int32), jnp.ones((1, 2), jnp.float32)
        sample = jaxrl.Sample(jaxrl.Transition(images, action, reward, ends, ends, images), jnp.ones(2, jnp.float32))
        state = agent.init(key, jaxrl.training.as_arrays(hparams), images[0, 0])
        return agent.update(state, sample, key, jnp.float32(0))

    same(*both(compute))


DQN = jaxrl.OffPolicyConfig(num_envs=2, batch_size=4, replay_capacity=16, warmup_steps=8, rollout_length=2)
PRIORITISED = dataclasses.replace(DQN, replay="prioritised", n_step=2)
ON_POLICY = jaxrl.OnPolicyConfig(num_envs=2, rollout_length=4)
MINIBATCHES = jaxrl.MinibatchConfig(num_epochs=2, num_minibatches=2)


def rainbow(values: Any) -> jaxrl.Agent:
    network = QNetwork(num_actions=2, hidden_sizes=(4,), outputs=values.shape, dueling=True, dense=NoisyDense)
    return jaxrl.dqn(network, values, double=True)


def actor_critic(env_id: str, agent: Callable[..., jaxrl.Agent], *config: Any) -> jaxrl.Trainer:
    env, params = jaxrl.make(env_id)
    observation, _ = env.reset(jax.random.key(0), params)
    network = jaxrl.actor_critic(observation, jaxrl.action_space_of(env, params), hidden_sizes=(4,))
    return jaxrl.on_policy(
        agent(network, *config), env, params, dataclasses.replace(ON_POLICY, reset_each_rollout=True)
    )


@cache
def trainers() -> dict[str, tuple[jaxrl.Trainer, Any]]:
    """One of each kind, as small as possible."""
    cart_pole, network = jaxrl.make("CartPole-v1"), QNetwork(num_actions=2, hidden_sizes=(4,))
    grid, params = jaxrl.make("GridWorld", slip_probability=0.3)
    table = jaxrl.q_learning(16, 4, grid.state_of)
    return {
        "dqn": (jaxrl.off_policy(jaxrl.dqn(network), *cart_pole, DQN), jaxrl.DQNHparams()),
        "c51": (jaxrl.off_policy(rainbow(categorical(0, 9, 3)), *cart_pole, PRIORITISED), jaxrl.RainbowHparams()),
        "qr-dqn": (jaxrl.off_policy(rainbow(quantiles(3)), *cart_pole, PRIORITISED), jaxrl.RainbowHparams()),
        "pqn": (jaxrl.on_policy(jaxrl.pqn(network, MINIBATCHES), *cart_pole, ON_POLICY), jaxrl.PQNHparams()),
        "q-learning": (jaxrl.on_policy(table, grid, params, ON_POLICY), jaxrl.QLearningHparams()),
        "reinforce": (actor_critic("CartPole-v1", jaxrl.reinforce), jaxrl.ReinforceHparams()),
        "a2c": (actor_critic("CartPole-v1", jaxrl.a2c), jaxrl.A2CHparams()),
        "ppo": (actor_critic("CartPole-v1", jaxrl.ppo, MINIBATCHES), jaxrl.PPOHparams()),
    }


AGENTS = ["dqn", "c51", "qr-dqn", "pqn", "q-learning", "reinforce", "a2c", "ppo"]


@pytest.mark.parametrize("name", AGENTS)
def test_every_agent_has_the_same_dtypes(name: str) -> None:
    trainer, hparams = trainers()[name]
    given = []
    for x64 in (False, True):
        with jax.enable_x64(x64):
            state = jax.eval_shape(lambda key: trainer.init(key, hparams), jax.random.key(0))
            given.append(dtypes((state, jax.eval_shape(trainer.step, state))))
    assert given[0] == given[1]


@pytest.mark.parametrize(
    "name", [name if name == "ppo" else pytest.param(name, marks=pytest.mark.slow) for name in AGENTS]
)
def test_every_agent_learns_the_same(name: str) -> None:
    """Prioritised sampling, noise, and minibatches. All other agents draw like one of these."""
    trainer, hparams = trainers()[name]

    def train(key: Any) -> Any:
        state, metrics = trainer.step(trainer.init(key, hparams))
        return state, metrics

    same(*both(train))


def test_the_environments_of_others_follow_the_mode_and_what_is_learned_in_them_does_not() -> None:
    trainer = actor_critic("Pendulum-v1", jaxrl.ppo, MINIBATCHES)

    def learned(key: Any) -> Any:
        state, metrics = trainer.step(trainer.init(key, jaxrl.PPOHparams()))
        return state.agent, state.source.envs.observation, metrics

    given = []
    for x64 in (False, True):
        with jax.enable_x64(x64):
            given.append(dtypes(jax.eval_shape(learned, jax.random.key(0))))
    assert given[0] == given[1]


def test_continuous_actions_are_the_same() -> None:
    policy = jaxrl.distributions.Normal(jnp.zeros((3, 2), jnp.float32), jnp.ones((3, 2), jnp.float32))
    same(*both(policy.sample))
