"""MuZero (Schrittwieser et al. 2020, https://arxiv.org/abs/1911.08265): search in a model that it learns itself.

The model has states of its own, s, which need not show the observation again. From an observation o and the actions
that followed it,

    s⁰ = h(o),    s^k, r^k = g(s^(k−1), a_k),    p^k, v^k = f(s^k),

it learns to predict the policies of the searches, n-step returns of their values, and the rewards, for K steps
(equation 1). Values and rewards are categories on the scale of `ops.signed_hyperbolic`.

As in the paper (appendix A), the model knows neither the legal actions nor the end of an episode. Only the root of a
search is masked; further on, actions that no search has chosen have a small prior. Behind an end, states are absorbing:
the model learns rewards and values of 0 there, so that a search that goes on finds nothing. A discount that is learned
would be one network more to be wrong. By default the search is that of Gumbel MuZero (Danihelka et al. 2022). As in
AlphaGo Zero, the sequences of a game are learned with all its symmetries, of which the model knows nothing else.

Differences from the paper: no reanalysed positions, no weight decay, and no network that lags behind.
"""

import dataclasses
from functools import partial
from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp
from annotated_types import Ge, Gt, Interval

from jaxrl import ops
from jaxrl.agents.alphazero import SearchConfig, run_search, symmetric
from jaxrl.agents.optimizers import Optimizer, check_optimizer, default_optimizer
from jaxrl.agents.policy_gradient import NetworkState, Updated, gradient_step, next_values
from jaxrl.agents.recurrent_dqn import n_step_targets
from jaxrl.arguments import ArgumentError, check_config, check_kind
from jaxrl.distributions import Distribution, epsilon_greedy
from jaxrl.games.board_game import BoardGame
from jaxrl.networks.learned_model import LearnedModel
from jaxrl.replay.sampling import PrioritisedHparams
from jaxrl.search import Expansion, Root, Searched
from jaxrl.types import Agent, Array, Decision, Input, PyTree, Sample, Transition


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class MuZeroHparams(PrioritisedHparams):
    """Hyperparameters of MuZero; a uniform replay ignores those of priorities."""

    learning_rate: Annotated[float, Interval(gt=0, lt=1e30)] = 1e-3
    """Initial learning rate of Adam, > 0."""
    learning_rate_decay_steps: Annotated[float, Ge(0)] = 0.0
    """Environment steps over which the learning rate decays linearly to zero; 0 keeps it constant."""
    discount: Annotated[float, Interval(ge=0, le=1)] = 0.997
    """Discount factor γ per step, in [0, 1]."""
    value_coef: Annotated[float, Ge(0)] = 1.0
    """Coefficient of the value loss."""
    value_lambda: Annotated[float, Interval(ge=0, le=1)] = 1.0
    """λ of the n-step returns that the value learns: less than 1 to trust the searches' values."""
    epsilon: Annotated[float, Interval(ge=0, le=1)] = 0.0
    """Probability of a random legal action in training, from which the model learns what no search would try."""
    max_grad_norm: Annotated[float, Gt(0)] = 10.0
    """Maximum global norm of the gradients, > 0; larger gradients are scaled down to it."""


@dataclasses.dataclass(frozen=True)
class MuZeroConfig(SearchConfig):
    """The search, the unroll and the categories, static."""

    unroll_steps: Annotated[int, Interval(gt=0, lt=2**16)] = 5
    """K, steps that the model is unrolled for in each sequence."""
    target_steps: Annotated[int, Interval(gt=0, lt=2**16)] = 5
    """n of the n-step returns that the value learns."""
    num_atoms: Annotated[int, Interval(ge=3, lt=2**16)] = 51
    """Categories of values and rewards."""
    max_value: Annotated[float, Interval(gt=0, lt=1e9)] = 1.0
    """The largest return and reward. The categories lie between it and its negative."""

    @property
    def sequence_length(self) -> int:
        """Steps of a sequence from the replay: the last value to learn ends with a search n steps later."""
        return self.unroll_steps + self.target_steps + 1


class Targets(NamedTuple):
    """What the model learns from B sequences.

    Attributes:
        policies: of the searches, `[K + 1, B, A]`; all 0, and so without a loss, behind the end of an episode.
        values: n-step returns, `[K + 1, B]`.
        rewards: of the K steps, `[K, B]`.
        known: whether there is a value and a following reward to learn, bool `[K + 1, B]`: not behind a truncation.
    """

    policies: Array
    values: Array
    rewards: Array
    known: Array


def muzero(
    network: LearnedModel,
    config: MuZeroConfig | None = None,
    two_players: bool = False,
    optimizer: Optimizer = default_optimizer,
    game: BoardGame | None = None,
) -> Agent[NetworkState]:
    """MuZero with any model, for environments with discrete actions.

    Args:
        network: such as from `jaxrl.learned_model`, with `num_atoms` as in the configuration.
        config: the search, the unroll and the categories.
        two_players: whether the agent moves for both players of a game in turn, as in
            `jaxrl.envs.game.GameEnvironment`, unless it has an opponent. Observations, rewards and values are those of
            who moves, and values change their sign with each move.
        optimizer: of the parameters; by default, Adam after a clip of the gradient's norm.
        game: the game that is played, with whose symmetries its sequences are learned; None if there is none.

    Returns:
        An agent for a `Sample` of sequences `[config.sequence_length, B]`, with hyperparameters `MuZeroHparams`. Its
        `policy` searches without noise; its `outputs` are the policy without a search. Its metrics are `policy_loss`,
        `value_loss` and `reward_loss`. For a prioritised replay, errors are |ν − z| of the first step: the search's
        value and the n-step return (appendix G).

    Raises:
        ArgumentError: an argument is of the wrong kind; from `init`, the network has another number of categories;
            from `update`, no sample, or sequences of another length.
    """
    check_kind("network", network, LearnedModel)
    config = check_config(config or MuZeroConfig(), MuZeroConfig)
    check_optimizer(optimizer)
    sign = -1.0 if two_players else 1.0

    def init(key: Array, hparams: MuZeroHparams, observation: PyTree) -> NetworkState:
        check_kind("hparams", hparams, MuZeroHparams)
        params = network.init(key, observation)
        _check_atoms(network, config, params, observation)
        return NetworkState(params, optimizer(hparams, jnp.float32(0)).init(params), hparams)

    searched = partial(_search, network, config, sign)

    def act(state: NetworkState, given: Input, key: Array, env_steps: Array) -> Decision:
        del env_steps
        search_key, random_key, action_key = jax.random.split(key, 3)
        found = searched(state, given, search_key, 1.0)
        is_random = jax.random.bernoulli(random_key, state.hparams.epsilon, found.action.shape)
        anything = epsilon_greedy(found.policy, 1.0, given.legal).sample(action_key)
        action = jnp.where(is_random, anything, found.action)
        return Decision(action, extras=(found.policy, found.value, is_random))

    def policy(state: NetworkState, given: Input, key: Array) -> Decision:
        return Decision(searched(state, given, key, 0.0).action)

    def outputs(state: NetworkState, observations: PyTree) -> Distribution:
        return network.prediction(state.params, network.representation(state.params, observations))[0]

    update, prepare = partial(_update, network, config, sign, optimizer, game), partial(_prepare, network, config)
    return Agent(init, act, policy, update, prepare=prepare, outputs=outputs, searches=True)


def _check_atoms(network: LearnedModel, config: MuZeroConfig, params: PyTree, observation: PyTree) -> None:
    """Checks the network's categories for two observations."""

    def logits(observations: PyTree) -> tuple[Array, Array]:
        states = network.representation(params, observations)
        return network.prediction(params, states)[1], network.dynamics(params, states, jnp.zeros(2, jnp.int32))[1]

    shapes = [x.shape for x in jax.eval_shape(logits, jax.tree.map(lambda x: jnp.stack([x, x]), observation))]
    if shapes != [(2, config.num_atoms)] * 2:
        rule = f"must be what the network has, which gives logits {shapes} of the value and reward of two states"
        raise ArgumentError("num_atoms", rule, config.num_atoms)


def to_categories(config: MuZeroConfig, x: Array) -> Array:
    """Values or rewards `[...]` as probabilities `[..., num_atoms]` of the transformed scale."""
    limit = _limit(config)
    return ops.transform_to_2hot(ops.signed_hyperbolic(x), -limit, limit, config.num_atoms)


def from_categories(config: MuZeroConfig, logits: Array) -> Array:
    """Values or rewards `[...]` from logits `[..., num_atoms]`."""
    limit = _limit(config)
    return ops.signed_parabolic(ops.transform_from_2hot(jax.nn.softmax(logits), -limit, limit, config.num_atoms))


def _limit(config: MuZeroConfig) -> float:
    """The last atom, h(max_value)."""
    return (config.max_value + 1) ** 0.5 - 1 + 1e-3 * config.max_value


def _search(
    network: LearnedModel,
    config: MuZeroConfig,
    sign: float,
    state: NetworkState,
    given: Input,
    key: Array,
    noise: float,
) -> Searched:
    """Searches from N observations, in the learned model."""
    params, discount = state.params, sign * state.hparams.discount

    def evaluate(states: PyTree) -> tuple[Array, Array]:
        distribution, value_logits = network.prediction(params, states)
        return distribution.logits, from_categories(config, value_logits)

    def model(states: PyTree, actions: Array) -> tuple[Expansion, PyTree]:
        states, reward_logits = network.dynamics(params, states, actions)
        logits, values = evaluate(states)
        rewards = from_categories(config, reward_logits)
        return Expansion(rewards, jnp.full_like(values, discount), logits, values), states

    states = network.representation(params, given.observation)
    logits, values = evaluate(states)
    legal = jnp.ones_like(logits, bool) if given.legal is None else given.legal
    return run_search(config, key, Root(logits, values, states), model, legal, noise)


def _prepare(network: LearnedModel, config: MuZeroConfig, state: NetworkState, transitions: Transition) -> PyTree:
    """The policies and values of the searches, and the model's value of what followed, where nobody searched."""
    policies, values, is_random = transitions.extras

    def value(params: PyTree, observations: PyTree) -> Array:
        return from_categories(config, network.prediction(params, network.representation(params, observations))[1])

    return policies, values, is_random, next_values(value, state.params, transitions, values)


def targets_of(config: MuZeroConfig, steps: Transition, discount: Array, value_lambda: Array) -> Targets:
    """What the model learns from sequences `[K + n + 1, B]`.

    An episode that terminates goes on in an absorbing state, with rewards and values 0, whatever the actions are: they
    are those of the next episode. Nothing is known of what follows a truncation. Its last observation, which no search
    has seen, has the model's value.

    Args:
        config: K, n.
        steps: with the extras of `_prepare`.
        discount: γ, or −γ if the player changes with each step, scalar.
        value_lambda: λ, scalar.
    """
    policies, values, is_random, next_values = steps.extras
    done = steps.terminated | steps.truncated
    v_t = jnp.where(steps.truncated, next_values, jnp.roll(values, -1, 0))  # the last row has none, and needs none
    # A return ends before a random action: the search's value of the state stands for it.
    played = steps._replace(
        reward=jnp.where(is_random, values, steps.reward), terminated=steps.terminated | is_random, extras=()
    )
    played, v_t = jax.tree.map(lambda x: x[:-1], (played, v_t))
    returns = n_step_targets(played, v_t, discount, config.target_steps, value_lambda)

    count = config.unroll_steps + 1
    ended = jnp.concatenate([jnp.zeros_like(done[:1]), jnp.cumsum(done, 0)[: count - 1] > 0])
    last = done[: count - 1] & ~ended[:-1]  # the first end in the sequence
    cut = jnp.cumsum(last & ~steps.terminated[: count - 1], 0) > 0
    return Targets(
        policies=jnp.where(ended[..., None], 0.0, policies[:count]),
        values=jnp.where(ended, 0.0, returns[:count]),
        rewards=jnp.where(ended[:-1], 0.0, steps.reward[: count - 1]),
        known=jnp.concatenate([jnp.ones_like(done[:1]), ~cut]),
    )


def unroll(network: LearnedModel, params: PyTree, observations: PyTree, actions: Array) -> tuple[Array, Array, Array]:
    """The model's predictions from observations `[B, ...]` and the actions `[K, B]` that followed.

    The gradient is halved at the start of each dynamics step (appendix G), so that it does not grow with K.

    Returns:
        Logits of policies `[K + 1, B, A]`, of values `[K + 1, B, num_atoms]`, and of rewards `[K, B, num_atoms]`.
    """

    def step(states: PyTree, actions: Array) -> tuple[PyTree, tuple[PyTree, Array]]:
        halved = jax.tree.map(lambda x: 0.5 * x + jax.lax.stop_gradient(0.5 * x), states)
        states, reward_logits = network.dynamics(params, halved, actions)
        return states, (states, reward_logits)

    first = network.representation(params, observations)
    _, (others, reward_logits) = jax.lax.scan(step, first, actions)
    states = jax.tree.map(lambda x, xs: jnp.concatenate([x[None], xs]), first, others)
    distribution, value_logits = jax.vmap(partial(network.prediction, params))(states)
    return distribution.logits, value_logits, reward_logits


def _update(
    network: LearnedModel,
    config: MuZeroConfig,
    sign: float,
    optimizer: Optimizer,
    game: BoardGame | None,
    state: NetworkState,
    batch: Sample,
    key: Array,
    env_steps: Array,
    constants: PyTree = (),
) -> Updated:
    del key, constants
    check_kind("batch", batch, Sample, ", from a replay, as in jaxrl.off_policy")
    steps, hparams = batch.transitions, state.hparams
    if (length := len(steps.reward)) != config.sequence_length:
        rule = f"must be unroll_steps + target_steps + 1 = {config.sequence_length}, the length of a sequence"
        raise ArgumentError("n_step", rule, length)
    targets = targets_of(config, steps, sign * hparams.discount, hparams.value_lambda)

    first = jax.tree.map(lambda x: x[0], steps.observation)
    policies, actions = targets.policies, steps.action[: config.unroll_steps]
    if game is not None:
        first, policies, actions = _symmetric(game, first, policies, actions)
    values, rewards = (to_categories(config, x) for x in (targets.values, targets.rewards))
    scale = jnp.array([1.0] + [1 / config.unroll_steps] * config.unroll_steps)[:, None]

    def loss(params: PyTree) -> tuple[Array, dict[str, Array]]:
        policy_logits, value_logits, reward_logits = unroll(network, params, first, actions)
        parts = {
            "policy_loss": scale * _cross_entropy(policy_logits, policies),
            "value_loss": scale * targets.known * _cross_entropy(value_logits, values),
            "reward_loss": scale[1:] * targets.known[:-1] * _cross_entropy(reward_logits, rewards),
        }
        parts = {name: (batch.weights * x.sum(0)).mean() for name, x in parts.items()}
        return parts["policy_loss"] + hparams.value_coef * parts["value_loss"] + parts["reward_loss"], parts

    errors = jnp.abs(steps.extras[1][0] - targets.values[0])
    return *gradient_step(state, loss, optimizer(hparams, env_steps)), errors


def _symmetric(game: BoardGame, boards: Array, policies: Array, actions: Array) -> tuple[Array, Array, Array]:
    """Sequences of which each symmetry of the game changed an equal share.

    Args:
        game: the rules.
        boards: of the first step, `[B, H, W, C]`.
        policies, actions: `[K + 1, B, A]` and `[K, B]`.
    """
    one_hot = jax.nn.one_hot(actions, policies.shape[-1], dtype=jnp.float32)
    boards, *of_actions = symmetric(game, boards, *policies, *one_hot)
    return boards, jnp.stack(of_actions[: len(policies)]), jnp.stack(of_actions[len(policies) :]).argmax(-1)


def _cross_entropy(logits: Array, probs: Array) -> Array:
    """−Σ p log softmax(logits) over the last axis."""
    return -jnp.where(probs > 0, probs * jax.nn.log_softmax(logits), 0.0).sum(-1)
