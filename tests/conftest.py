"""Shared by all tests: a compilation cache of their own, and a trainer small enough to compile in a second or two."""

import pytest

from jaxrl import DQNConfig, DQNHparams, OffPolicyConfig, dqn, make, off_policy
from jaxrl.networks import QNetwork

SMALL = OffPolicyConfig(num_envs=4, batch_size=8, replay_capacity=64, warmup_steps=16, rollout_length=2)


@pytest.fixture(scope="session")
def small_agent():
    return dqn(QNetwork(num_actions=6, hidden_sizes=(8,), conv_features=2), DQNConfig())


@pytest.fixture(scope="session")
def small_trainer(small_agent):
    return off_policy(small_agent, *make("Breakout-MinAtar"), SMALL)


@pytest.fixture
def hparams():
    return DQNHparams(learning_rate=1e-3, epsilon_decay_steps=200.0)
