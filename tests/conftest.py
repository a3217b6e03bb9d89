"""Shared by all tests: a compilation cache of their own, eight devices, a trainer that compiles in a few seconds."""

import gc
import importlib
import os
import tempfile

if "PYTEST_XDIST_WORKER" not in os.environ:  # the workers of one run of the tests share its cache, and so do all
    _CACHE = tempfile.TemporaryDirectory(prefix="jaxrl-tests-")  # processes that tests start
    os.environ["JAX_COMPILATION_CACHE_DIR"] = os.environ.get("JAXRL_TESTS_CACHE", _CACHE.name)  # before jax is imported
    os.environ["JAX_COMPILATION_CACHE_MAX_SIZE"] = str(2**33)  # with a limit jax locks it: nobody reads half an entry

# Most of what tests compile takes longer to compile than to run: a quarter of the time, with XLA's older code generator
# and without LLVM's optimizations, and a sixth less of that in one part. With `XLA_FLAGS= pytest` all is compiled as
# users do.
os.environ.setdefault(
    "XLA_FLAGS",
    "--xla_cpu_use_fusion_emitters=false --xla_backend_optimization_level=0 --xla_cpu_parallel_codegen_split_count=1",
)

import jax
import pytest
from jax._src.interpreters import mlir
from jax._src.lru_cache import LRUCache
from jaxlib.mlir import ir

from jaxrl import DQNHparams, OffPolicyConfig, dqn, make, off_policy
from jaxrl.cli.command import prepare_jax
from jaxrl.networks import QNetwork

jax.config.update("jax_num_cpu_devices", 8)
prepare_jax()
# Before each entry that jax writes it adds up the sizes of all others: a tenth of the time, for a limit never reached.
LRUCache._evict_if_needed = lambda *_, **__: None  # type: ignore[method-assign]
# For each program jax loads all dialects of MLIR anew and keeps them: a seventh of the time of the many tiny ones, and
# two thirds of the memory. They share one context, but not with a program that is lowered while another one is.
_make_context = mlir.make_ir_context
_CONTEXT = _make_context()
mlir.make_ir_context = lambda: _CONTEXT if ir.Context.current is None else _make_context()
# A video of 400 steps takes seconds. Commands in processes of their own still make one.
importlib.import_module("jaxrl.runs.train").VIDEO_STEPS = 10  # type: ignore[attr-defined]
# Most of what tracing makes stays: looking through all of it for garbage takes a twentieth of the time.
gc.set_threshold(20_000, 10, 10)


def pytest_collection_finish() -> None:
    """Modules and tests stay until the end."""
    gc.freeze()


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
