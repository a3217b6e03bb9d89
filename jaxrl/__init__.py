"""jaxrl: reinforcement learning as pure functions of arrays."""

__version__ = "0.1.0"

from jaxrl import interrupt  # noqa: F401

# isort: split

from importlib import import_module
from typing import TYPE_CHECKING, Any

from jaxrl import distributions, games, inverse, networks, ops, planning, search
from jaxrl.agents import (
    A2CHparams,
    AlphaGoConfig,
    AlphaGoHparams,
    AlphaZeroHparams,
    BehaviourCloningHparams,
    BurnInConfig,
    CaptioningConfig,
    CaptioningHparams,
    DAggerHparams,
    DiscriminatorHparams,
    DQNHparams,
    GAILConfig,
    GAILHparams,
    GateConfig,
    IQNConfig,
    IQNHparams,
    MinibatchConfig,
    MuZeroConfig,
    MuZeroHparams,
    PPOHparams,
    PQNHparams,
    QLearningHparams,
    RainbowHparams,
    RecurrentAttentionConfig,
    RecurrentAttentionHparams,
    RecurrentDQNHparams,
    ReinforceConfig,
    ReinforceHparams,
    RoutingConfig,
    RoutingHparams,
    SearchConfig,
    SequenceConfig,
    a2c,
    alphago,
    alphazero,
    averaged,
    behaviour_cloning,
    captioning,
    clone,
    dagger,
    dqn,
    gail,
    gate,
    gated,
    iqn,
    muzero,
    normalised,
    ppo,
    pqn,
    q_learning,
    recurrent_attention,
    recurrent_dqn,
    recurrent_ppo,
    reinforce,
    routing,
)
from jaxrl.arguments import ArgumentError
from jaxrl.envs import Environment, action_space_of, make, rollout, vectorize
from jaxrl.networks import Network, actor_critic, learned_model, policy_network, q_network
from jaxrl.replay import Dataset, load_dataset, save_dataset
from jaxrl.training import (
    CheckpointError,
    Checkpoints,
    DivergedError,
    Logger,
    OfflineConfig,
    OffPolicyConfig,
    OnPolicyConfig,
    Program,
    RunInfo,
    evaluate,
    off_policy,
    offline,
    on_policy,
    population,
    repeat,
    run,
)
from jaxrl.types import MDP, Agent, Decision, Input, Mean, Sample, Trainer, TrainState, Transition

if TYPE_CHECKING:
    from jaxrl.loading import load
    from jaxrl.plots.grid_values import render_values
    from jaxrl.plots.render import render, render_state
    from jaxrl.plots.video import save_video
    from jaxrl.runs import Budget, Execution, Experiment, Options, Task
    from jaxrl.runs.load import TrainedPolicy
    from jaxrl.runs.recording import record_dataset
    from jaxrl.sweeps import SweepResult, SweepSpec, sweep
    from jaxrl.sweeps.spec import read_spec

_LAZY = {
    "Budget": "runs",
    "Execution": "runs",
    "Experiment": "runs",
    "Options": "runs",
    "SweepResult": "sweeps",
    "SweepSpec": "sweeps",
    "Task": "runs",
    "TrainedPolicy": "runs.load",
    "load": "loading",
    "read_spec": "sweeps.spec",
    "record_dataset": "runs.recording",
    "render": "plots.render",
    "render_state": "plots.render",
    "render_values": "plots.grid_values",
    "save_video": "plots.video",
    "sweep": "sweeps",
}
"""The module of each name that is imported when it is first used, because it needs plots or a command line."""

__all__ = [
    "MDP", "A2CHparams", "Agent", "AlphaGoConfig", "AlphaGoHparams", "AlphaZeroHparams", "ArgumentError",
    "BehaviourCloningHparams", "Budget", "BurnInConfig",
    "CaptioningConfig", "CaptioningHparams",
    "CheckpointError", "Checkpoints", "DAggerHparams",
    "DQNHparams", "Dataset", "Decision", "DiscriminatorHparams", "DivergedError", "Environment", "Execution",
    "Experiment", "GAILConfig", "GAILHparams", "GateConfig", "IQNConfig", "IQNHparams", "Input", "Logger", "Mean",
    "MinibatchConfig", "MuZeroConfig", "MuZeroHparams", "Network", "OffPolicyConfig", "OfflineConfig",
    "OnPolicyConfig", "Options", "PPOHparams", "PQNHparams", "Program", "QLearningHparams", "RainbowHparams",
    "RecurrentAttentionConfig", "RecurrentAttentionHparams",
    "RecurrentDQNHparams", "ReinforceConfig", "ReinforceHparams",
    "RoutingConfig", "RoutingHparams",
    "RunInfo", "Sample", "SearchConfig",
    "SequenceConfig", "SweepResult", "SweepSpec", "Task", "TrainState", "TrainedPolicy", "Trainer", "Transition",
    "a2c", "action_space_of", "actor_critic", "alphago", "alphazero", "averaged", "behaviour_cloning",
    "captioning",
    "clone",
    "dagger", "distributions", "dqn", "evaluate", "gail", "games", "gate", "gated", "inverse", "iqn", "learned_model",
    "load", "load_dataset", "make", "muzero", "networks", "normalised", "off_policy", "offline", "on_policy", "ops",
    "planning", "policy_network", "population", "ppo", "pqn", "q_learning", "q_network", "read_spec",
    "record_dataset",
    "recurrent_attention",
    "recurrent_dqn", "recurrent_ppo", "reinforce", "render", "render_state", "render_values",
    "repeat", "rollout",
    "routing",
    "run", "save_dataset", "save_video", "search", "sweep", "vectorize",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"jaxrl.{_LAZY[name]}"), name)


def __dir__() -> list[str]:
    return __all__
