"""Every agent learns the exact values of tiny environments, and distinguishes truncation from termination."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl import DQNHparams, OffPolicyConfig, PQNHparams, dqn, off_policy, pqn
from jaxrl.networks import QNetwork, actor_critic
from jaxrl.training import OnPolicyConfig, on_policy
from jaxrl.types import Box, Discrete
from tests.agents.probes import (
    DISCOUNT,
    ON_POLICY_AGENTS,
    PLACES,
    PROBES,
    STACKED,
    TARGETS,
    Aim,
    Probe,
    exact_q,
    is_visited,
    trained,
)

ROLLOUTS = OnPolicyConfig(num_envs=8, rollout_length=8)
FRESH = dataclasses.replace(ROLLOUTS, reset_each_rollout=True)
LEARN = {"learning_rate": 1e-2, "discount": DISCOUNT, "entropy_coef": 0.0}


def test_exact_values_of_the_probes() -> None:
    """By hand, in case the oracle is wrong."""
    best = {name: exact_q(params).max(-1)[:, 0] for name, params in PROBES.items()}
    assert best["constant"][0] == 1
    np.testing.assert_array_equal(best["delayed"], [DISCOUNT, 1])
    np.testing.assert_array_equal(best["action, then cue and action"], [1 + DISCOUNT, 1])
    assert best["truncated"][0] == 1 / (1 - DISCOUNT)
    np.testing.assert_array_equal(exact_q(PROBES["cue and action"])[0], [[1, -1], [-1, 1]])


@pytest.mark.parametrize("algorithm", ["dqn", "pqn"])
def test_action_values_become_exact(algorithm: str) -> None:
    network = QNetwork(num_actions=2, hidden_sizes=(32,), layer_norm=algorithm == "pqn")
    replay = OffPolicyConfig(num_envs=8, batch_size=32, replay_capacity=512, warmup_steps=256)
    explore = {"learning_rate": 5e-3, "discount": DISCOUNT, "epsilon_end": 1.0, "max_grad_norm": 100.0}

    def make_trainer(params):
        if algorithm == "dqn":
            return off_policy(dqn(network), Probe(), params, replay), DQNHparams(tau=0.1, **explore)
        # Actions are random, so that only λ = 0 leads to Q*.
        hparams = PQNHparams(q_lambda=0.0, learning_rate_decay_steps=1500 * 64, **explore)
        return on_policy(pqn(network), Probe(), params, ROLLOUTS), hparams

    agents = trained(make_trainer, STACKED, 1500)
    apply: Callable[..., Any] = jax.vmap(jax.vmap(jax.vmap(network.apply, (None, 0)), (None, 0)), (0, None))
    q_values = apply(agents.params, PLACES[:, :, None])[:, :, :, 0]
    for (name, params), q in zip(PROBES.items(), q_values, strict=True):
        seen = is_visited(params)
        np.testing.assert_allclose(q[seen], exact_q(params)[seen], atol=0.03, err_msg=name)


@pytest.mark.parametrize("algorithm", ON_POLICY_AGENTS)
def test_a_policy_becomes_optimal_and_its_values_exact(algorithm: str) -> None:
    make_agent, make_hparams = ON_POLICY_AGENTS[algorithm]
    hparams, config = make_hparams(**LEARN), ROLLOUTS if algorithm in ("a2c", "ppo") else FRESH
    network = actor_critic(jax.ShapeDtypeStruct((2,), jnp.float32), Discrete(2), hidden_sizes=(16,))
    agents = trained(lambda params: (on_policy(make_agent(network), Probe(), params, config), hparams), STACKED, 600)
    policies, values = jax.jit(jax.vmap(network.apply, (0, None)))(agents.params, PLACES.reshape(4, 2))
    probabilities = np.asarray(jax.nn.softmax(policies.logits)).reshape(-1, 2, 2, 2)
    for i, (name, params) in enumerate(PROBES.items()):
        q, seen = exact_q(params), is_visited(params)
        matters = seen[:, None] & (q.max(-1) > q.min(-1) + 0.1)
        best = np.take_along_axis(probabilities[i], q.argmax(-1)[..., None], -1)[..., 0]
        assert (best[matters] > 0.95).all(), name
        # REINFORCE knows of no values beyond what it has seen of an episode.
        expected = q.max(-1) if name != "truncated" or algorithm in ("a2c", "ppo") else np.ones((2, 2))
        if algorithm in ("a2c", "ppo", "baseline"):
            np.testing.assert_allclose(values[i].reshape(2, 2)[seen], expected[seen], atol=0.05, err_msg=name)


@pytest.mark.parametrize("algorithm", ["a2c", "ppo", "baseline"])
def test_a_continuous_policy_finds_its_target(algorithm: str) -> None:
    make_agent, make_hparams = ON_POLICY_AGENTS[algorithm]
    hparams, config = make_hparams(**LEARN), ROLLOUTS if algorithm in ("a2c", "ppo") else FRESH
    space = Box(np.array([-1], np.float32), np.array([1], np.float32))
    network = actor_critic(jax.ShapeDtypeStruct((1,), jnp.float32), space, hidden_sizes=(16,))
    agents = trained(lambda key: (on_policy(make_agent(network), Aim(), None, config), hparams), jnp.arange(1), 600)
    policy, value = network.apply(jax.tree.map(lambda x: x[0], agents.params), TARGETS[:, None])
    np.testing.assert_allclose(policy.mode()[:, 0], TARGETS, atol=0.05)
    std = np.exp(policy.log_std[:, 0])
    assert (std < 0.3).all()
    np.testing.assert_allclose(value, -np.square(std), atol=0.03)
