"""AlphaZero (Silver et al. 2018, https://doi.org/10.1126/science.aar6404): search that improves its own network.

An agent plays both sides of a game. Before each move it searches, with the rules as a model and its network as prior
and value. The network then learns what the search found,

    min_θ −Σ_a π′(a | s) log π_θ(a | s) + c (v_θ(s) − z)²,

with π′ the policy of the search and z the outcome of the game for who moves. By default the search is that of Gumbel
AlphaZero (Danihelka et al. 2022), and z a λ-return of the searches' values: outcomes alone (λ = 1) vary more. As in
AlphaGo Zero, positions are learned with all symmetries of the game.
"""

import dataclasses
import itertools
from functools import partial
from typing import Annotated, Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from annotated_types import Ge, Gt, Interval
from jax.typing import ArrayLike

from jaxrl import ops
from jaxrl.agents.minibatches import merge_time
from jaxrl.agents.optimizers import Optimizer, check_optimizer, default_optimizer
from jaxrl.agents.policy_gradient import NetworkState, update_from_samples
from jaxrl.arguments import check_config, check_kind
from jaxrl.distributions import Distribution, masked
from jaxrl.games import BoardGame
from jaxrl.networks.network import Network, check_network, initial_params
from jaxrl.search import Expansion, Model, Root, Searched, gumbel_search, puct_search
from jaxrl.types import Agent, Array, Decision, Input, PyTree, Sample, Transition


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class AlphaZeroHparams:
    """Hyperparameters of AlphaZero."""

    learning_rate: Annotated[float, Interval(gt=0, lt=1e30)] = 1e-3
    """Initial learning rate of Adam, > 0."""
    learning_rate_decay_steps: Annotated[float, Ge(0)] = 0.0
    """Moves over which the learning rate decays linearly to zero; 0 keeps it constant."""
    value_coef: Annotated[float, Ge(0)] = 1.0
    """Coefficient of the value loss."""
    value_lambda: Annotated[float, Interval(ge=0, le=1)] = 0.5
    """λ of the returns that the value learns: 1 for outcomes of games, less to trust the searches' values."""
    max_grad_norm: Annotated[float, Gt(0)] = 10.0
    """Maximum global norm of the gradients, > 0; larger gradients are scaled down to it."""


@dataclasses.dataclass(frozen=True)
class SearchConfig:
    """The search before each move, static."""

    search: Literal["gumbel", "puct"] = "gumbel"
    """Gumbel search improves the policy with few simulations; PUCT is that of the original AlphaZero."""
    num_simulations: Annotated[int, Interval(ge=2, lt=2**16)] = 32
    """Simulations of each search while it learns."""
    play_simulations: Annotated[int, Interval(ge=2, lt=2**16)] = 64
    """Simulations of each search when it plays as well as it can: in evaluations, in videos, and against you."""


def alphazero(
    network: Network, game: BoardGame, config: SearchConfig | None = None, optimizer: Optimizer = default_optimizer
) -> Agent[NetworkState]:
    """AlphaZero with any network, for `jaxrl.envs.game.GameEnvironment`.

    Args:
        network: maps observations `[N, ...]` to a `jaxrl.distributions.Categorical` over actions and values `[N]`,
            which pass through tanh.
        game: the rules.
        config: the search.
        optimizer: of the parameters; by default, Adam after a clip of the gradient's norm.

    Returns:
        An agent for a `Sample` `[n, B]` of the positions of its own games, with hyperparameters `AlphaZeroHparams`. Its
        `policy` searches without noise; its `outputs` are the policy without a search. Its metrics are `policy_loss`
        and `value_loss`.

    Raises:
        ArgumentError: an argument is of the wrong kind.
    """
    check_network(network)
    check_optimizer(optimizer)
    check_kind("game", game, BoardGame)
    config = check_config(config or SearchConfig(), SearchConfig)

    def init(key: Array, hparams: AlphaZeroHparams, observation: PyTree) -> NetworkState:
        check_kind("hparams", hparams, AlphaZeroHparams)
        params = initial_params(network, key, observation)
        return NetworkState(params, optimizer(hparams, jnp.float32(0)).init(params), hparams)

    searched = partial(_search, network, game, config)

    def act(state: NetworkState, given: Input, key: Array, env_steps: Array) -> Decision:
        del env_steps
        found = searched(state.params, given, key, 1.0)
        return Decision(found.action, extras=(found.policy, found.value))

    def policy(state: NetworkState, given: Input, key: Array) -> Decision:
        return Decision(searched(state.params, given, key, 0.0).action)

    def outputs(state: NetworkState, observations: PyTree) -> Distribution:
        return network.apply(state.params, observations)[0]

    update = update_from_samples(partial(_loss, network, game), optimizer)
    return Agent(init, act, policy, update, prepare=_prepare, outputs=outputs, needs_env_states=True, searches=True)


def _prepare(state: NetworkState, transitions: Transition) -> PyTree:
    """The policies of the searches, and in place of their values what the network's values learn."""
    policies, values = transitions.extras
    return policies, value_targets(transitions, values, state.hparams.value_lambda)


def value_targets(transitions: Transition, values: Array, value_lambda: ArrayLike) -> Array:
    """λ-returns `[T, N]` of games in which the players take turns, each for who moves.

    Args:
        transitions: moves `[T, N]`, with rewards for who moves.
        values: of the positions before them, `[T, N]`. Games that go on after the last row take the last one.
        value_lambda: λ, scalar or `[T, N]`.
    """
    discount = jnp.where(transitions.terminated, 0.0, -1.0)
    following = jnp.concatenate([values[1:], -values[-1:]])
    value_lambda = jnp.broadcast_to(value_lambda, values.shape)
    return jax.vmap(ops.lambda_returns, in_axes=1, out_axes=1)(transitions.reward, discount, following, value_lambda)


def _search(
    network: Network, game: BoardGame, config: SearchConfig, params: PyTree, given: Input, key: Array, noise: float
) -> Searched:
    """Searches from the positions of N environments."""

    def evaluate(observations: Array, legal: Array) -> tuple[Array, Array]:
        distribution, values = network.apply(params, observations)
        return masked(distribution.logits, legal), jnp.tanh(values)

    def model(states: PyTree, actions: Array) -> tuple[Expansion, PyTree]:
        states, rewards = jax.vmap(game.step)(states, actions)
        logits, values = evaluate(jax.vmap(game.observe)(states), jax.vmap(game.legal_actions)(states))
        discounts = jnp.where(states.terminated, 0.0, -1.0)
        return Expansion(rewards, discounts, logits, values), states

    states = jax.tree.map(lambda x: jnp.moveaxis(x, -1, 0), given.env_states)
    legal = jax.vmap(game.legal_actions)(states)
    root = Root(*evaluate(given.observation, legal), states)
    return run_search(config, key, root, model, legal, noise)


def run_search(config: SearchConfig, key: Array, root: Root, model: Model, legal: Array, noise: float) -> Searched:
    """The search of a configuration, with the noise of self-play (1), or without (0) to play well."""
    simulations = config.num_simulations if noise else config.play_simulations
    if config.search == "gumbel":
        return gumbel_search(key, root, model, legal, simulations, gumbel_scale=noise)
    return puct_search(key, root, model, legal, simulations, 0.25 * noise, temperature=noise)


def symmetric(game: BoardGame, observations: Array, *of_actions: Array) -> tuple[Array, ...]:
    """A batch in which each symmetry of the game changed an equal share.

    Args:
        game: the rules.
        observations: `[B, H, W, C]`.
        of_actions: arrays with one entry for each action, `[B, A]`.
    """
    symmetries = game.symmetries()
    bounds = np.ceil(np.linspace(0, len(observations), len(symmetries) + 1)).astype(int)

    def parts(x: Array) -> zip:
        return zip(symmetries, (x[i:j] for i, j in itertools.pairwise(bounds)), strict=True)

    boards = jnp.concatenate([symmetry.turn(part) for symmetry, part in parts(observations)])
    return boards, *(jnp.concatenate([part[:, x.actions] for x, part in parts(each)]) for each in of_actions)


def _loss(
    network: Network, game: BoardGame, state: NetworkState, batch: Sample, key: Array, params: PyTree
) -> tuple[Array, dict[str, Array]]:
    del key
    steps: Any = merge_time(batch.transitions)
    policies, targets = steps.extras
    observations, policies, legal = symmetric(game, steps.observation, policies, steps.legal)
    distribution, values = network.apply(params, observations)
    log_probs = jax.nn.log_softmax(masked(distribution.logits, legal))
    policy_loss = -jnp.where(policies > 0, policies * log_probs, 0.0).sum(-1).mean()
    value_loss = jnp.square(jnp.tanh(values) - targets).mean()
    metrics = {"policy_loss": policy_loss, "value_loss": value_loss}
    return policy_loss + state.hparams.value_coef * value_loss, metrics
