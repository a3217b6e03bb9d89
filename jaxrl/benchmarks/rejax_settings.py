"""The settings of rejax that make it train as one of jaxrl's experiments does."""

from typing import Any

import jax

from jaxrl.benchmarks.baseline_process import BaselineError
from jaxrl.recipes.actor_critics import A2C, PPO
from jaxrl.recipes.deep_q import DQN, PQN
from jaxrl.runs.options import Options

REQUIREMENTS = ("rejax==0.1.3", "gymnax==0.0.9", f"jax=={jax.__version__}")
"""rejax needs the interface of this gymnax."""
ALGORITHMS: dict[type, str] = {DQN: "dqn", PQN: "pqn", PPO: "ppo", A2C: "ppo"}
"""rejax's algorithm for each of jaxrl's configurations. A2C is PPO with one epoch of one minibatch."""
ABSENT = {
    "rollout_length": (DQN, 1),
    "n_step": (DQN, 1),
    "replay": (DQN, "uniform"),
    "dueling": (DQN, False),
    "noisy": (DQN, False),
    "values": (DQN, "expected"),
    "loss": (DQN, "l2"),
    "layer_norm": (PQN, True),
    "conv_features": (DQN | PQN | A2C, 0),
    "shared": (A2C, False),
}
"""What these algorithms of rejax cannot change, and its value."""


def rejax_settings(options: Options, agents: int | None) -> dict[str, Any]:
    """What `rejax_worker` reads, for a population or, if `agents` is None, for a single agent.

    Raises:
        BaselineError: rejax cannot train in this way.
    """
    config, hparams = options.config, options.hparams
    if type(config) not in ALGORITHMS:
        raise BaselineError(f"rejax has no algorithm for {type(config).__name__}")
    others = {
        name: getattr(config, name)
        for name, (kinds, value) in ABSENT.items()
        if isinstance(config, kinds) and getattr(config, name) != value
    }
    if others:
        raise BaselineError(f"rejax cannot have {', '.join(f'{name} {value}' for name, value in others.items())}")
    common = {
        "env": options.task.env,
        "num_envs": config.num_envs,
        "learning_rate": hparams.learning_rate,
        "gamma": hparams.discount,
        "max_grad_norm": hparams.max_grad_norm,
    }
    own = _off_policy(options) if isinstance(config, DQN) else _on_policy(options)
    q_network = config.hidden_sizes if isinstance(config, DQN | PQN) else None
    return {"algorithm": ALGORITHMS[type(config)], "config": common | own, "q_network": q_network, "agents": agents}


def _off_policy(options: Options) -> dict[str, Any]:
    config = options.config
    return {
        "num_epochs": config.updates_per_iteration,
        "batch_size": config.batch_size,
        "buffer_size": config.replay_capacity,
        "fill_buffer": config.warmup_steps,
        "ddqn": config.double,
        "polyak": 1 - options.hparams.tau,
        "agent_kwargs": {"activation": "relu"},
    }


def _on_policy(options: Options) -> dict[str, Any]:
    config = options.config
    sizes = {
        "num_steps": config.rollout_length,
        "num_epochs": getattr(config, "num_epochs", 1),
        "num_minibatches": getattr(config, "num_minibatches", 1),
    }
    if isinstance(config, PQN):
        return sizes
    return sizes | {"agent_kwargs": {"hidden_layer_sizes": config.hidden_sizes, "activation": config.activation}}
