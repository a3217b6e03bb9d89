"""Shared by all tests: a compilation cache of their own, eight devices, a trainer that compiles in a few seconds."""

import os
import tempfile

_CACHE = tempfile.TemporaryDirectory(prefix="jaxrl-tests-")
os.environ["JAX_COMPILATION_CACHE_DIR"] = _CACHE.name  # before jax is imported; the processes tests start inherit it

import pytest  # noqa: E402

from jaxrl import DQNHparams, OffPolicyConfig, dqn, make, off_policy  # noqa: E402
from jaxrl.cli.train import prepare_jax  # noqa: E402
from jaxrl.networks import QNetwork  # noqa: E402

prepare_jax(num_cpu_devices=8)

SMALL = OffPolicyConfig(num_envs=4, batch_size=8, replay_capacity=64, warmup_steps=16, rollout_length=2)


@pytest.fixture(scope="session")
def small_agent():
    return dqn(QNetwork(num_actions=6, hidden_sizes=(8,), conv_features=2))


@pytest.fixture(scope="session")
def small_trainer(small_agent):
    return off_policy(small_agent, *make("Breakout-MinAtar"), SMALL)


@pytest.fixture(scope="session")
def hparams():
    return DQNHparams(learning_rate=1e-3, epsilon_decay_steps=200.0)
