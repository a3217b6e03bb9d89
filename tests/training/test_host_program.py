"""Environments that step on the host: they learn what the same environments learn as pure functions."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl import (
    MinibatchConfig,
    OffPolicyConfig,
    OnPolicyConfig,
    PPOHparams,
    RainbowHparams,
    ReinforceHparams,
    SequenceConfig,
    actor_critic,
    dqn,
    off_policy,
    on_policy,
    ppo,
    recurrent_ppo,
    reinforce,
)
from jaxrl.networks import QNetwork
from jaxrl.networks.recurrent import RecurrentActorCritic
from jaxrl.training.host_program import HostProgram
from jaxrl.training.population import RunState
from jaxrl.training.program import init_run_state, iterate
from jaxrl.types import Discrete
from tests.compiling import quick_jit
from tests.envs.counters import Corridor, host_corridor

N, T, ITERATIONS = 5, 4, 3
KEY = jax.random.key(3)
NETWORK = actor_critic(jnp.zeros(2), Discrete(2), (8,), "tanh")
ON = OnPolicyConfig(num_envs=N, rollout_length=T)
MEMORY = RecurrentActorCritic(Discrete(2), 8, 8, 0)
SEQUENCES = SequenceConfig(num_epochs=2, num_minibatches=1, sequence_length=2)
TRAINERS: dict[str, Any] = {
    "ppo": (on_policy, ppo(NETWORK, MinibatchConfig(num_epochs=2, num_minibatches=2)), ON, PPOHparams(0.05)),
    "recurrent": (on_policy, recurrent_ppo(MEMORY, SEQUENCES), ON, PPOHparams(0.05)),
    "reinforce": (on_policy, reinforce(NETWORK), OnPolicyConfig(N, 6, True), ReinforceHparams(learning_rate=0.05)),
    "dqn": (
        off_policy,
        dqn(QNetwork(2, (8,))),
        OffPolicyConfig(
            num_envs=N, rollout_length=T, updates_per_iteration=2, batch_size=8, replay_capacity=100, warmup_steps=12,
            replay="prioritised", n_step=2,
        ),
        RainbowHparams(learning_rate=0.05, epsilon_decay_steps=80.0, target_update_period=2),
    ),
}  # fmt: skip


def trainer_of(kind: str, env: Any):
    make, agent, config, hparams = TRAINERS[kind]
    return make(agent, env, getattr(env, "default_params", None), config), hparams


def snapshot(run_state: RunState) -> RunState:
    """NumPy arrays, which a program cannot take over."""
    keys = jax.dtypes.prng_key
    return jax.tree.map(lambda x: np.array(jax.random.key_data(x) if jnp.issubdtype(x.dtype, keys) else x), run_state)


def scanned(kind: str, masked: bool) -> list[RunState]:
    """The state after each iteration, from the compiled program of pure functions."""
    trainer, hparams = trainer_of(kind, Corridor(masked))
    run_state = quick_jit(partial(init_run_state, trainer))(KEY, hparams, ())
    step, states = quick_jit(partial(iterate, trainer)), [snapshot(run_state)]
    for _ in range(ITERATIONS):
        run_state = step(run_state, ())
        states.append(snapshot(run_state))
    return states


def hosted(kind: str, masked: bool = False, halves: bool = True, calls: Sequence[int] = (1,) * ITERATIONS):
    """The same on the host."""
    trainer, hparams = trainer_of(kind, host_corridor(masked))
    program = HostProgram(trainer, KEY, hparams, halves=halves)
    run_state = program.init(KEY, hparams)
    advance, states = program.compiled(), [snapshot(run_state)]
    for iterations in calls:
        run_state = advance(run_state, iterations)
        states.append(snapshot(run_state))
    return states


def check_close(ours: RunState, theirs: RunState) -> None:
    """Two states are equal up to rounding, and to the bit in their episodes. Observations are stored in other forms."""
    for name in ("episode_return", "episode_length", "legal"):
        chex.assert_trees_all_equal(*(getattr(x.state.source.envs, name) for x in (ours, theirs)))
    for name in ("episode_return", "episode_length"):
        chex.assert_trees_all_equal(ours.metrics[name], theirs.metrics[name])
    parts = [(x.state.agent, x.state.source.memory, x.metrics, x.state.iteration, x.state.key) for x in (ours, theirs)]
    chex.assert_trees_all_close(*parts, rtol=2e-4, atol=1e-5)
    if ours.state.replay:
        chex.assert_trees_all_close(ours.state.replay.sampler, theirs.state.replay.sampler, rtol=2e-4, atol=1e-5)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("kind", TRAINERS)
def test_they_learn_what_pure_functions_learn(kind: str, masked: bool) -> None:
    for ours, theirs in zip(hosted(kind, masked), scanned(kind, masked), strict=True):
        check_close(ours, theirs)
    assert ours.metrics["episode_return"].count > 4


@pytest.mark.parametrize("kind", TRAINERS)
def test_halves_and_calls_change_no_bit(kind: str) -> None:
    *_, expected = hosted(kind)
    for halves, calls in ((False, (1, 2)), (True, (3,))):
        *_, got = hosted(kind, halves=halves, calls=calls)
        chex.assert_trees_all_equal(got, expected)
