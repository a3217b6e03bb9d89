"""Derivatives through training itself, as of what is learned with respect to a hyperparameter."""

import dataclasses
from typing import Any

import jax
import numpy as np
import pytest

import jaxrl
from jaxrl.networks.network import example_of
from tests.compiling import quick_jit

ENV = jaxrl.make("CartPole-v1", max_steps_in_episode=5)
EXAMPLE, ACTIONS = example_of(*ENV), jaxrl.action_space_of(*ENV)
SIZES: dict[str, Any] = {"num_envs": 4, "rollout_length": 4}


def trainer_of(name: str) -> tuple[jaxrl.Trainer, Any]:
    if name == "dqn":
        config = jaxrl.OffPolicyConfig(**SIZES, batch_size=8, replay_capacity=64, warmup_steps=8)
        return jaxrl.off_policy(jaxrl.dqn(jaxrl.q_network(EXAMPLE, 2, (8,))), *ENV, config), jaxrl.DQNHparams()
    network = jaxrl.actor_critic(EXAMPLE, ACTIONS, (8,))
    minibatches = jaxrl.MinibatchConfig(num_epochs=1, num_minibatches=2)
    agent, hparams = {
        "a2c": (jaxrl.a2c(network), jaxrl.A2CHparams()),
        "ppo": (jaxrl.ppo(network, minibatches), jaxrl.PPOHparams()),
    }[name]
    return jaxrl.on_policy(agent, *ENV, jaxrl.OnPolicyConfig(**SIZES)), hparams


@pytest.mark.parametrize(
    ("name", "metric"),
    [("a2c", "value_loss"), pytest.param("ppo", "value_loss", marks=pytest.mark.slow), ("dqn", "q_mean")],
)
def test_the_gradient_through_two_iterations_is_the_slope(name: str, metric: str) -> None:
    """Of what the second one reports, as the learning rate changes."""
    trainer, hparams = trainer_of(name)

    def learned(learning_rate):
        state = trainer.init(jax.random.key(0), dataclasses.replace(hparams, learning_rate=learning_rate))
        state, _ = trainer.step(state)
        return trainer.step(state)[1][metric].sum

    rates = np.array([5e-4, 1e-3, 1.5e-3], np.float32)
    values, slopes = quick_jit(jax.vmap(jax.value_and_grad(learned)))(rates)
    assert values[2] != values[0]
    np.testing.assert_allclose(slopes[1], (values[2] - values[0]) / (rates[2] - rates[0]), rtol=0.02)
