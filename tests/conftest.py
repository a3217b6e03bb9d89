"""Shared by all tests: a compilation cache of their own, eight devices, a trainer that compiles in a few seconds."""

import os
import tempfile

if "PYTEST_XDIST_WORKER" not in os.environ:  # the workers of one run of the tests share its cache, and so do all
    _CACHE = tempfile.TemporaryDirectory(prefix="jaxrl-tests-")  # processes that tests start
    os.environ["JAX_COMPILATION_CACHE_DIR"] = os.environ.get("JAXRL_TESTS_CACHE", _CACHE.name)  # before jax is imported
    os.environ["JAX_COMPILATION_CACHE_MAX_SIZE"] = str(2**33)  # with a limit jax locks it: nobody reads half an entry

# Most of what tests compile takes longer to compile than to run: a quarter of the time, with XLA's older code generator
# and without LLVM's optimizations. With `XLA_FLAGS= pytest` all is compiled as users do.
os.environ.setdefault("XLA_FLAGS", "--xla_cpu_use_fusion_emitters=false --xla_backend_optimization_level=0")

import jax
import pytest
from jax._src.lru_cache import LRUCache

from jaxrl import DQNHparams, OffPolicyConfig, dqn, make, off_policy
from jaxrl.cli.command import prepare_jax
from jaxrl.networks import QNetwork

jax.config.update("jax_num_cpu_devices", 8)
prepare_jax()
# Before each entry that jax writes it adds up the sizes of all others: a tenth of the time, for a limit never reached.
LRUCache._evict_if_needed = lambda *_, **__: None  # type: ignore[method-assign]

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
