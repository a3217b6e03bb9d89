"""Recipes that imitate: behaviour cloning of recorded transitions, and DAgger with an expert that can be asked."""

import dataclasses
from pathlib import Path
from typing import Annotated, Any, Literal

import jax
import numpy as np
from annotated_types import Gt, Interval

from jaxrl.agents import BehaviourCloningHparams, behaviour_cloning, dagger
from jaxrl.arguments import ArgumentError, renaming
from jaxrl.envs import action_space_of, describe_env, observation_of, vectorize
from jaxrl.networks import Network, example_of, policy_network
from jaxrl.networks.layers import has_board
from jaxrl.random import key_stream
from jaxrl.recipes.demonstrations import Demonstrations, check_same_env, dataset_shapes, read_demonstrations
from jaxrl.runs import run_directory
from jaxrl.runs.experiment import ignored_settings
from jaxrl.runs.load import TrainedPolicy, load_run
from jaxrl.runs.options import Options, default_hint
from jaxrl.training import CheckpointError, OfflineConfig, OffPolicyConfig, off_policy, offline
from jaxrl.training.devices import mesh_of
from jaxrl.training.evaluation import evaluate_agents
from jaxrl.types import Agent, PyTree, Trainer, Transition


@dataclasses.dataclass(frozen=True)
class PolicyConfig:
    hidden_sizes: tuple[Annotated[int, Gt(0)], ...] = (64, 64)
    """Units of each dense layer of the policy network."""
    activation: Literal["tanh", "relu"] = "tanh"
    """Activation function of these layers."""
    conv_features: Annotated[int, Interval(ge=0, lt=2**16)] = 0
    """Channels of a 3 × 3 convolution before them, 0 for none (image observations only)."""


@dataclasses.dataclass(frozen=True)
class BehaviourCloning(Demonstrations, PolicyConfig, OfflineConfig):
    """Static configuration of behaviour cloning."""


@dataclasses.dataclass(frozen=True)
class DAgger(PolicyConfig, OffPolicyConfig):
    """Static configuration of DAgger."""

    expert: Annotated[str, default_hint("none: it is needed", "RUN")] = ""
    """Directory of the run whose policy is the expert, with several seeds the first."""
    replay_capacity: Annotated[int, Interval(gt=0, lt=2**31)] = 100_000
    """Labelled states that are kept, rounded up to a multiple of num-envs."""


def build_cloning(env: Any, env_params: Any, config: BehaviourCloning) -> tuple[Agent, Trainer]:
    """Behaviour cloning of the transitions in a file.

    Raises:
        ArgumentError: the file cannot be read, or holds transitions of another environment.
    """
    return _build_cloning(env, env_params, config, read_demonstrations(config, env, env_params))


def build_cloning_to_load(env: Any, env_params: Any, config: BehaviourCloning) -> tuple[Agent, Trainer]:
    """The same without the file."""
    return _build_cloning(env, env_params, config, dataset_shapes(env, env_params, config.batch_size))


def _build_cloning(env: Any, env_params: Any, config: BehaviourCloning, dataset: Transition) -> tuple[Agent, Trainer]:
    agent = behaviour_cloning(_network(env, env_params, config))
    return agent, offline(agent, dataset, config)


def build_dagger(env: Any, env_params: Any, config: DAgger) -> tuple[Agent, Trainer]:
    """DAgger with the policy of a run as the expert.

    Raises:
        ArgumentError: the run cannot be loaded, or its environment is another one.
    """
    expert = _load_expert(config.expert)
    with renaming(dataset="expert"):
        check_same_env(describe_env(expert.env, expert.env_params), env, env_params)
    return _build_dagger(env, env_params, config, expert.agent, expert.agent_state)


def build_dagger_to_load(env: Any, env_params: Any, config: DAgger) -> tuple[Agent, Trainer]:
    """The same without the run of the expert, in whose place is a policy like the learner's."""
    expert, observation = behaviour_cloning(_network(env, env_params, config)), observation_of(env, env_params)
    state = jax.eval_shape(expert.init, jax.random.key(0), BehaviourCloningHparams(), observation)
    return _build_dagger(env, env_params, config, expert, state)


def _build_dagger(
    env: Any, env_params: Any, config: DAgger, expert: Agent, expert_state: PyTree
) -> tuple[Agent, Trainer]:
    agent = dagger(_network(env, env_params, config), expert, expert_state)
    return agent, off_policy(agent, env, env_params, dataclasses.replace(config, n_step=1, replay="uniform"))


def _load_expert(directory: str) -> TrainedPolicy:
    if not directory:
        raise ArgumentError("expert", "must be the directory of a run, whose policy is the expert", got="none")
    if (Path(directory) / run_directory.SWEEP).exists():
        raise ArgumentError("expert", "must be the directory of a run", got=f"{directory}, that of a sweep")
    try:
        with renaming(directory="expert"):
            return load_run(Path(directory))
    except CheckpointError as error:
        raise ArgumentError("expert", f"must be a run that can be loaded ({error})", directory) from error


def _network(env: Any, env_params: Any, config: PolicyConfig) -> Network:
    space, example = action_space_of(env, env_params), example_of(env, env_params)
    conv_features = config.conv_features if has_board(example) else 0
    return policy_network(example, space, config.hidden_sizes, config.activation, conv_features)


def report_expert(agent: Agent, env: Any, env_params: Any, agent_states: PyTree, directory: Path) -> dict[str, Any]:
    """The mean return of the expert, in as many episodes as the learner's."""
    del agent, agent_states
    options = run_directory.read_config(directory)["options"]
    expert = _load_expert(options["config.expert"])
    play = evaluate_agents(
        expert.agent, vectorize(env, env_params, options["eval_episodes"]), options["eval_max_steps"]
    )
    keys = key_stream(options["seed"], "later evaluation")[None]
    returns = play(jax.tree.map(lambda x: x[None], expert.agent_state), keys, mesh_of(None, keys.shape)).episode_return
    return {"expert_return_mean": float(np.mean(returns))}


def ignored_by_cloning(options: Options, observation: Any) -> dict[str, str]:
    """The settings that behaviour cloning ignores, and why."""
    board = has_board(observation)
    return ignored_settings(
        (not options.config.hidden_sizes, "config.hidden_sizes of no layers", ("config.activation",)),
        (not board, f"env {options.task.env}, which shows no board", ("config.conv_features",)),
    )


def ignored_by_dagger(options: Options, observation: Any) -> dict[str, str]:
    """The settings that DAgger ignores, and why."""
    constant = options.hparams.beta_start == options.hparams.beta_end
    return ignored_by_cloning(options, observation) | ignored_settings(
        (constant, "hparams.beta_start equal to its end", ("hparams.beta_decay_steps",)),
        (True, "imitation, which needs labels alone", ("config.n_step", "config.replay")),
    )
