"""The recipes of AlphaGo Zero and of AlphaGo."""

import dataclasses
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import jax
import numpy as np
from annotated_types import Gt, Interval

from jaxrl.agents import AlphaGoConfig, GateConfig, alphago, clone, gate, gated
from jaxrl.agents.alphago import with_cloned_policy
from jaxrl.envs import action_space_of
from jaxrl.envs.game import GameEnvironment
from jaxrl.games import play_match, policy_player, random_openings
from jaxrl.networks import actor_critic, example_of, policy_network
from jaxrl.networks.layers import has_board
from jaxrl.random import key_stream
from jaxrl.recipes.demonstrations import Demonstrations, dataset_shapes, read_demonstrations
from jaxrl.recipes.self_play import AlphaZero, alphazero_agent, check_is_game, report, self_play
from jaxrl.runs.experiment import ignored_settings
from jaxrl.runs.options import Options
from jaxrl.training import OnPolicyConfig, on_policy
from jaxrl.types import Agent, PyTree, Trainer, Transition

MATCH_GAMES = 1_000
"""Games of the improved policy against the cloned one, for the summary."""


@dataclasses.dataclass(frozen=True)
class AlphaGoZero(GateConfig, AlphaZero):
    """Static configuration of AlphaGo Zero."""


def build_alphago_zero(env: Any, env_params: Any, config: AlphaGoZero) -> tuple[Agent, Trainer]:
    """AlphaGo Zero for a game.

    Raises:
        ArgumentError: the environment is no game.
    """
    agent = alphazero_agent(env, env_params, config)
    player = gated(agent)
    return player, gate(self_play(player, env, env_params, config), agent, env.game, config)


@dataclasses.dataclass(frozen=True)
class AlphaGo(Demonstrations, AlphaGoConfig):
    """Static configuration of AlphaGo."""

    num_envs: Annotated[int, Interval(gt=0, lt=2**31)] = 64
    """Games side by side, a multiple of twice the pool; as many in each update."""
    hidden_sizes: tuple[Annotated[int, Gt(0)], ...] = (256,)
    """Units of each dense layer, of the policy and of the value."""
    conv_features: Annotated[int, Interval(ge=0, lt=2**16)] = 64
    """Channels of the 3 × 3 convolution before them, 0 for none."""


def build_alphago(env: Any, env_params: Any, config: AlphaGo) -> tuple[Agent, Trainer]:
    """AlphaGo for a game, which begins with the moves of experts in a file. Rollouts are linear in the stones.

    Raises:
        ArgumentError: the environment is no game, or the file cannot be read, or holds moves of another game.
    """
    check_is_game(env)
    return _build_alphago(env, env_params, config, read_demonstrations(config, env, env_params))


def build_alphago_to_load(env: Any, env_params: Any, config: AlphaGo) -> tuple[Agent, Trainer]:
    """The same without the file."""
    return _build_alphago(env, env_params, config, dataset_shapes(env, env_params, config.cloning_batch_size))


def _build_alphago(env: Any, env_params: Any, config: AlphaGo, dataset: Transition) -> tuple[Agent, Trainer]:
    example, space = example_of(env, env_params), action_space_of(env, env_params)
    conv_features = config.conv_features if has_board(example) else 0
    network = actor_critic(example, space, config.hidden_sizes, "relu", conv_features)
    fast = policy_network(example, space, hidden_sizes=())
    agent = alphago(network, fast, env.game, config)
    sizes = OnPolicyConfig(config.num_envs, env.game.max_moves, reset_each_rollout=True)
    return agent, clone(on_policy(agent, env, env_params, sizes), network, fast, dataset, config)


def ignored_by_alphago(options: Options, observation: Any) -> dict[str, str]:
    """The settings that AlphaGo ignores, and why."""
    return ignored_settings(
        (not has_board(observation), f"env {options.task.env} of fewer than 3 × 3 cells", ("config.conv_features",)),
    )


def report_alphago(
    agent: Agent, env: GameEnvironment, env_params: Any, agent_states: PyTree, directory: Path
) -> dict[str, Any]:
    """The mistakes of p_ρ and of the search, and what p_ρ scores against p_σ, which it was at first.

    Both draw their moves, from the first position on.
    """
    openings = random_openings(env.game, jax.random.key(0), MATCH_GAMES // 2, moves=0)

    def meet(state: PyTree) -> jax.Array:
        outputs: Any = agent.outputs
        both = (state, with_cloned_policy(state))
        improved, first = (policy_player(partial(outputs, x), sample=True) for x in both)
        return play_match(env.game, improved, first, key_stream(0, "match"), openings).counts.sum(0)

    counts = np.asarray(jax.lax.map(meet, agent_states))
    wins, draws, losses = counts.mean(0).tolist()
    return report(agent, env, env_params, agent_states, directory) | {
        "wins_against_cloned_policy": wins,
        "draws_against_cloned_policy": draws,
        "losses_against_cloned_policy": losses,
        "counts_against_cloned_policy_per_seed": counts.tolist(),
    }
