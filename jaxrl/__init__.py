"""jaxrl: reinforcement learning as pure functions of arrays."""

__version__ = "0.1.0"

from jaxrl import interrupt  # noqa: F401

# isort: split

from importlib import import_module
from typing import TYPE_CHECKING, Any

from jaxrl import distributions, game_theory, games, inverse, networks, ops, planning, search
from jaxrl.agents import (
    A2CHparams,
    AlphaGoConfig,
    AlphaGoHparams,
    AlphaZeroHparams,
    BehaviourCloningHparams,
    BoardLeagueConfig,
    BoardLeagueHparams,
    BurnInConfig,
    CaptioningConfig,
    CaptioningHparams,
    DAggerHparams,
    DiscriminatorHparams,
    DQNHparams,
    DynaConfig,
    DynaHparams,
    DynaQHparams,
    GAILConfig,
    GAILHparams,
    GateConfig,
    IQNConfig,
    IQNHparams,
    LeagueConfig,
    LeagueHparams,
    MinibatchConfig,
    MuZeroConfig,
    MuZeroHparams,
    NFSPConfig,
    NFSPHparams,
    PETSConfig,
    PETSHparams,
    PPOHparams,
    PQNHparams,
    PrioritisedSweepingHparams,
    QLearningHparams,
    RainbowHparams,
    RecurrentAttentionConfig,
    RecurrentAttentionHparams,
    RecurrentDQNHparams,
    ReinforceConfig,
    ReinforceHparams,
    RoutingConfig,
    RoutingHparams,
    SACHparams,
    SearchConfig,
    SelfPlayConfig,
    SelfPlayHparams,
    SequenceConfig,
    TD3Hparams,
    a2c,
    alphago,
    alphazero,
    averaged,
    behaviour_cloning,
    board_league,
    captioning,
    clone,
    dagger,
    dqn,
    dyna,
    dyna_q,
    gail,
    game_solver,
    gate,
    gated,
    iqn,
    league,
    muzero,
    nfsp,
    normalised,
    pets,
    ppo,
    pqn,
    prioritised_sweeping,
    q_learning,
    recurrent_attention,
    recurrent_dqn,
    recurrent_ppo,
    reinforce,
    routing,
    sac,
    self_play_ppo,
    td3,
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
    from_rules,
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
    "BehaviourCloningHparams", "BoardLeagueConfig", "BoardLeagueHparams", "Budget", "BurnInConfig", "CaptioningConfig",
    "CaptioningHparams", "CheckpointError", "Checkpoints", "DAggerHparams", "DQNHparams", "Dataset", "Decision",
    "DiscriminatorHparams", "DivergedError", "DynaConfig", "DynaHparams", "DynaQHparams", "Environment", "Execution",
    "Experiment", "GAILConfig", "GAILHparams", "GateConfig", "IQNConfig", "IQNHparams", "Input", "LeagueConfig",
    "LeagueHparams", "Logger", "Mean", "MinibatchConfig", "MuZeroConfig", "MuZeroHparams", "NFSPConfig", "NFSPHparams",
    "Network", "OffPolicyConfig", "OfflineConfig", "OnPolicyConfig", "Options", "PETSConfig", "PETSHparams",
    "PPOHparams", "PQNHparams", "PrioritisedSweepingHparams", "Program", "QLearningHparams", "RainbowHparams",
    "RecurrentAttentionConfig", "RecurrentAttentionHparams", "RecurrentDQNHparams", "ReinforceConfig",
    "ReinforceHparams", "RoutingConfig", "RoutingHparams", "RunInfo", "SACHparams", "Sample", "SearchConfig",
    "SelfPlayConfig", "SelfPlayHparams", "SequenceConfig", "SweepResult", "SweepSpec", "TD3Hparams", "Task",
    "TrainState", "TrainedPolicy", "Trainer", "Transition", "a2c", "action_space_of", "actor_critic", "alphago",
    "alphazero", "averaged", "behaviour_cloning", "board_league", "captioning", "clone", "dagger", "distributions",
    "dqn", "dyna", "dyna_q", "evaluate", "from_rules", "gail", "game_solver", "game_theory", "games", "gate", "gated",
    "inverse", "iqn", "league", "learned_model", "load", "load_dataset", "make", "muzero", "networks", "nfsp",
    "normalised", "off_policy", "offline", "on_policy", "ops", "pets", "planning", "policy_network", "population",
    "ppo", "pqn", "prioritised_sweeping", "q_learning", "q_network", "read_spec", "record_dataset",
    "recurrent_attention", "recurrent_dqn", "recurrent_ppo", "reinforce", "render", "render_state", "render_values",
    "repeat", "rollout", "routing", "run", "sac", "save_dataset", "save_video", "search", "self_play_ppo", "sweep",
    "td3", "vectorize",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"jaxrl.{_LAZY[name]}"), name)


def __dir__() -> list[str]:
    return __all__
