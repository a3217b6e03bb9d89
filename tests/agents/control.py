"""Agents of continuous actions on a linear-quadratic regulator, with networks in which its optimum is exact."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrl import OffPolicyConfig, off_policy
from jaxrl.distributions import Normal
from jaxrl.envs import Environment
from jaxrl.envs.lqr import LQR, LQRParams, LQRState
from jaxrl.types import Box
from tests.compiling import quick_jit

ENV = LQR()
PARAMS = ENV.default_params.replace(max_steps_in_episode=10)
DISCOUNT = 0.9


class Quadratic:
    """A quadratic function of the numbers in a tree. It begins concave: else the best action would be infinite."""

    def init(self, key: Any, tree: Any) -> Any:
        size = sum(x.shape[1] for x in jax.tree.leaves(tree))
        return {"matrix": -jnp.eye(size) + 0.1 * jax.random.normal(key, (size, size)), "constant": jnp.zeros(())}

    def apply(self, params: Any, tree: Any) -> jax.Array:
        z = jnp.concatenate(jax.tree.leaves(tree), axis=1)
        return ((z @ params["matrix"]) * z).sum(1) + params["constant"]


class Linear:
    """Actions −K s. It begins stable."""

    def init(self, key: Any, observations: Any) -> Any:
        return {"gain": jnp.ones((1, jax.tree.leaves(observations)[0].shape[1]))}

    def apply(self, params: Any, observations: Any) -> jax.Array:
        return -jax.tree.leaves(observations)[0] @ params["gain"].T


class LinearNormal(Linear):
    """Normal actions around them."""

    def init(self, key: Any, observations: jax.Array) -> Any:
        return {**super().init(key, observations), "log_std": jnp.zeros(1)}

    def apply(self, params: Any, observations: jax.Array) -> Any:
        mean = super().apply(params, observations)
        return Normal(mean, jnp.broadcast_to(params["log_std"], mean.shape))


class LinearActorCritic:
    """A linear normal policy, and quadratic values."""

    def init(self, key: Any, observations: jax.Array) -> Any:
        return {"actor": LinearNormal().init(key, observations), "critic": Quadratic().init(key, observations)}

    def apply(self, params: Any, observations: jax.Array) -> Any:
        return LinearNormal().apply(params["actor"], observations), Quadratic().apply(params["critic"], observations)


def cost_ratio(act: Any, discount: float = DISCOUNT) -> float:
    """The mean discounted cost of a policy `(states [N, S]) -> actions [N, D]`, as a multiple of the optimal cost."""
    a, b, q, r = (np.asarray(x) for x in (ENV.dynamics, ENV.control, ENV.state_cost, ENV.action_cost))
    x = np.stack(np.meshgrid(*[np.linspace(-1, 1, 9)] * 2), -1).reshape(-1, 2)
    optimum = np.einsum("ni,ij,nj->n", x, ENV.optimum(discount).cost, x).mean()
    total = 0.0
    for t in range(200):
        u = np.asarray(act(jnp.asarray(x, jnp.float32)), np.float64)
        total += discount**t * (np.einsum("ni,ij,nj->n", x, q, x) + np.einsum("ni,ij,nj->n", u, r, u)).mean()
        x = x @ a.T + u @ b.T
    return total / optimum


class OneState(Environment):
    """One state, one action in [-1, 1], a reward of 1 for each step, and a time limit."""

    random_words, name, box = 1, "OneState", Box(-np.ones(1, np.float32), np.ones(1, np.float32))
    default_params: Any = LQRParams()

    def initial(self, bits, params):
        return LQRState(jnp.zeros((1, *bits.shape[1:])), jnp.zeros(bits.shape[1:], jnp.int32))

    def transition(self, state, action, bits, params):
        return LQRState(state.x, state.time + 1), jnp.ones(state.time.shape), jnp.zeros(state.time.shape, bool)

    def encode(self, state):
        return jax.lax.bitcast_convert_type(state.x, jnp.uint32)

    def decode(self, words):
        return jax.lax.bitcast_convert_type(words, jnp.float32)


class Constant:
    """The same value everywhere."""

    def init(self, key: Any, tree: Any) -> Any:
        return {"constant": jnp.zeros(())}

    def apply(self, params: Any, tree: Any) -> jax.Array:
        return jnp.full(len(jax.tree.leaves(tree)[0]), params["constant"])


class NormalAndConstant:
    """A linear normal policy, and the same value everywhere."""

    def init(self, key: Any, observations: jax.Array) -> Any:
        return {"actor": LinearNormal().init(key, observations), "value": Constant().init(key, observations)}

    def apply(self, params: Any, observations: jax.Array) -> Any:
        return LinearNormal().apply(params["actor"], observations), Constant().apply(params["value"], observations)


TIME_LIMITS = np.array([1, 2, 3, 10, 1000])


REPLAY = OffPolicyConfig(num_envs=4, batch_size=16, replay_capacity=64, warmup_steps=16, n_step=2)


def trained_with_time_limits(
    agent: Any, hparams: Any, iterations: int = 600, make_trainer: Any = off_policy, config: Any = REPLAY
) -> Any:
    """The state of the agent after learning in a `OneState` of each time limit, leaves `[limits, ...]`."""

    @quick_jit
    @jax.vmap
    def train(limit):
        trainer = make_trainer(agent, OneState(), LQRParams(max_steps_in_episode=limit), config)
        state = trainer.init(jax.random.key(0), hparams)
        return jax.lax.fori_loop(0, iterations, lambda _, state: trainer.step(state)[0], state).agent

    return train(jnp.asarray(TIME_LIMITS))


def trained_on_lqr(agent: Any, hparams: Any, iterations: int) -> Any:
    """The state of the agent after training on the regulator with each of the stacked hyperparameters."""
    config = OffPolicyConfig(
        num_envs=16, batch_size=128, replay_capacity=20_000, warmup_steps=1000, updates_per_iteration=4
    )
    trainer = off_policy(agent, ENV, PARAMS, config)

    @quick_jit
    @jax.vmap
    def train(hparams):
        state = trainer.init(jax.random.key(0), hparams)
        return jax.lax.fori_loop(0, iterations, lambda _, state: trainer.step(state)[0], state).agent

    return train(hparams)
