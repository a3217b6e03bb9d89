"""Optimizers equal optax's bit for bit, and their derivatives are finite and right."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxrl import ArgumentError
from jaxrl.agents import (
    AlphaZeroHparams,
    BehaviourCloningHparams,
    a2c,
    alphazero,
    behaviour_cloning,
    dqn,
    iqn,
    optimizers,
    ppo,
    pqn,
    recurrent_dqn,
    recurrent_ppo,
    reinforce,
)
from jaxrl.agents.alphazero import default_optimizer as alphazero_optimizer
from jaxrl.agents.behaviour_cloning import default_optimizer as cloning_optimizer
from jaxrl.agents.dqn import DQNHparams
from jaxrl.agents.dqn import default_optimizer as dqn_optimizer
from jaxrl.agents.gail import DiscriminatorHparams
from jaxrl.agents.gail import default_optimizer as gail_optimizer
from jaxrl.games import TicTacToe
from jaxrl.networks import q_network
from jaxrl.networks.recurrent import RecurrentQNetwork

THEIRS = {
    "adam": lambda rate, clip: optax.chain(optax.clip_by_global_norm(clip), optax.adam(rate)),
    "radam": lambda rate, clip: optax.chain(optax.clip_by_global_norm(clip), optax.radam(rate)),
}
AGENTS: dict[str, Callable] = {
    **{agent.__name__: agent for agent in (a2c, behaviour_cloning, dqn, ppo, pqn, reinforce)},
    **{agent.__name__: agent for agent in (recurrent_dqn, recurrent_ppo)},
    "iqn": lambda network, optimizer: iqn(network, 2, optimizer=optimizer),
    "alphazero": lambda network, optimizer: alphazero(network, TicTacToe(), optimizer=optimizer),
}
STEPS = 8
"""In the first five, RAdam uses the mean of the gradients."""


def walk(optimizer, gradient_of, steps=STEPS):
    """Parameters after each step, and the optimizer's last state."""

    def step(carry, i):
        params, state = carry
        updates, state = optimizer.update(gradient_of(params, i), state, params)
        return (optax.apply_updates(params, updates), state), params

    params = jnp.ones(30)
    (params, state), path = jax.lax.scan(step, (params, optimizer.init(params)), jnp.arange(steps))
    return path, params, state


@pytest.mark.parametrize("name", THEIRS)
def test_training_is_as_with_optax(name: str) -> None:
    """For gradients of any size, some or all of them zero."""

    def gradient_of(params, i):
        sizes = 10.0 ** jnp.linspace(-20, 5, 30) * (jnp.arange(30) % 3 > 0) * (i != 2)
        return sizes * jax.random.normal(jax.random.fold_in(jax.random.key(0), i), (30,))

    for clip in (0.5, 1e9):
        ours, theirs = (jax.jit(lambda o=o: walk(o, gradient_of))() for o in (
            getattr(optimizers, name)(1e-2, clip), THEIRS[name](1e-2, clip)))  # fmt: skip
        jax.tree.map(np.testing.assert_array_equal, ours, theirs)


@pytest.mark.parametrize("name", THEIRS)
def test_the_derivative_of_the_end_by_the_step_size(name: str) -> None:
    """Against a finite difference in float64. Some gradients are always zero, all are at first, and clipped later."""
    target = jnp.arange(30.0)

    def end(rate):
        def gradient_of(params, i):
            return jnp.where((jnp.arange(30) % 3 > 0) & (i > 0), params - target, 0.0)

        return jnp.square(walk(getattr(optimizers, name)(rate, 20.0), gradient_of)[1] - target).sum()

    with jax.enable_x64(True):
        found = float(jax.jit(jax.grad(end))(0.1))
        more, less = (float(jax.jit(end)(rate)) for rate in (0.1 + 1e-6, 0.1 - 1e-6))
        expected = (more - less) / 2e-6
    assert expected < -1
    np.testing.assert_allclose(found, expected, rtol=1e-6)


DECAYING = {"learning_rate": 0.4, "learning_rate_decay_steps": 100.0, "max_grad_norm": 0.5}


@pytest.mark.parametrize(
    ("default", "hparams", "rate", "clip"),
    [
        (dqn_optimizer, DQNHparams(**DECAYING), 0.1, 0.5),
        (alphazero_optimizer, AlphaZeroHparams(**DECAYING), 0.1, 0.5),
        (cloning_optimizer, BehaviourCloningHparams(**DECAYING), 0.1, 0.5),
        (gail_optimizer, DiscriminatorHparams(discriminator_learning_rate=0.3), 0.3, 10.0),
    ],
)
def test_default_optimizers_follow_their_hyperparameters(default, hparams, rate: float, clip: float) -> None:
    """The clip, and the learning rate after three quarters of its decay; the first gradients are clipped."""

    def gradient_of(params, i):
        return jnp.where(i < 3, 100.0, 0.01) * jnp.arange(30.0)

    ours, theirs = (walk(o, gradient_of)[0] for o in (default(hparams, jnp.float32(75)), THEIRS["adam"](rate, clip)))
    np.testing.assert_allclose(ours, theirs, rtol=1e-6)


@pytest.mark.parametrize("agent", AGENTS)
def test_what_is_no_optimizer(agent: str) -> None:
    """Agents need a function of the hyperparameters, which optax's optimizers are not."""
    rule = r"^optimizer must be a function \(hparams, env_steps\) -> optax\.GradientTransformation, got Gradient"
    network: Any = RecurrentQNetwork(2, 4, 4, 0) if "recurrent" in agent else q_network(jnp.zeros(4), 2)
    with pytest.raises(ArgumentError, match=rule):
        AGENTS[agent](network, optimizer=optax.sgd(0.1))
