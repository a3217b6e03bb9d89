"""PPO with entropy as a magnet, against itself and its past, in games whose information sets fit a table.

In imperfect information the policy gradient of both players circles around an equilibrium. Entropy, with a weight α
that falls slowly, draws it in (Sokota et al. 2023, https://arxiv.org/abs/2206.05825; Rudolph et al. 2025,
https://arxiv.org/abs/2502.08938, find that this beats methods made for such games). The average of the policies, by
reach, is nearer still: it is what the agent has learned.

One network of the policy is evaluated in all information sets at once, once a gradient step, so that games are played
from a table. What an iteration learns from is a table too, either exact or sampled:

    L(π) = −Σ_{I,a} [min(r, 1 + ε) G(I, a) − max(r, 1 − ε) B(I, a)] − α Σ_I w(I) H(π(· | I)),     r = π / π_old,

with w(I) how often a game passes through I, and G and B the sums of positive and of negative advantages of π_old there:
the clipped loss of Schulman et al. 2017 (eq. 7), summed over samples, or over all there could be.

With `past`, a part of the games is against the average policy. 1 is fictitious self-play (Heinrich et al. 2015), 0.2
what OpenAI Five did (Berner et al. 2019, https://arxiv.org/abs/1912.06680).
"""

import dataclasses
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from annotated_types import Ge, Gt, Interval
from jax.typing import ArrayLike

from jaxrl import game_theory
from jaxrl.agents.game_tables import log_of, measure, table_agent
from jaxrl.agents.minibatches import check_rollout
from jaxrl.agents.optimizers import adam, nan_if_too_large
from jaxrl.agents.reinforce import first_episode
from jaxrl.arguments import check_config, check_kind
from jaxrl.distributions import masked
from jaxrl.game_theory import Game
from jaxrl.game_theory.mirror_descent import annealed
from jaxrl.game_theory.sequence_form import met, sequence_values
from jaxrl.networks.network import Network, check_network, initial_params
from jaxrl.types import Agent, Array, Decision, Input, Mean, Metrics, PyTree, Transition
from jaxrl.xla.threefry import inline


@dataclasses.dataclass(frozen=True)
class SelfPlayConfig:
    """Gradient steps, static."""

    num_steps: Annotated[int, Interval(gt=0, lt=2**31)] = 4
    """Gradient steps in one iteration, each with all that it learns from."""


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class SelfPlayHparams:
    """Hyperparameters of PPO in self-play. Times are in iterations."""

    learning_rate: Annotated[float, Interval(gt=0, lt=1e30)] = 1e-3
    """Initial learning rate of Adam, > 0."""
    learning_rate_half_life: Annotated[float, Ge(0)] = 500.0
    """Iterations h after which it is half as large, as h / (h + t); 0 keeps it constant."""
    magnet: Annotated[float, Ge(0)] = 1.0
    """Weight α of the entropy at first, in units of utility; 0 for none."""
    magnet_half_life: Annotated[float, Ge(0)] = 200.0
    """Iterations h after which it is half as large; 0 keeps it constant."""
    magnet_floor: Annotated[float, Ge(0)] = 0.0
    """The least weight that it falls to."""
    past: Annotated[float, Interval(ge=0, le=1)] = 0.0
    """Share of the games in which the opponent is the average policy; 0 for self-play, 1 for fictitious self-play."""
    spread: Annotated[float, Ge(0)] = 0.0
    """In exact experience, how much outcomes vary around their mean, in units of utility; see `exact_experience`."""
    clip: Annotated[float, Gt(0)] = 0.2
    """Clipping range ε of the probability ratio, > 0."""
    max_grad_norm: Annotated[float, Gt(0)] = 0.5
    """Maximum global norm of the gradients, > 0; larger gradients are scaled down to it."""


class SelfPlayState(NamedTuple):
    """The state of self-play.

    Attributes:
        params, opt_state: of the policy, and the values in sampled games.
        policy: the policy of these parameters, `[I, A]`.
        plans: the weighted sums of both players' plans so far, `[S]`; iteration t has the weight t.
        average_params, average_opt_state: of a network that represents the average policy.
        iteration: so far, float32.
        hparams: the hyperparameters.
    """

    params: PyTree
    opt_state: optax.OptState
    policy: Array
    plans: tuple[Array, Array]
    average_params: PyTree
    average_opt_state: optax.OptState
    iteration: Array
    hparams: Any


class Experience(NamedTuple):
    """What an iteration learns from, a game on average.

    Attributes:
        visits: how often it passes through each information set, `[I]`.
        gains, losses: the sums of positive and of negative advantages, both ≥ 0, `[I, A]`.
        returns: the sum of returns, `[I]`; None if there are no values to learn.
    """

    visits: Array
    gains: Array
    losses: Array
    returns: Array | None


def self_play_ppo(game: Game, network: Network, config: SelfPlayConfig | None = None, sampled: bool = True) -> Agent:
    """PPO against itself and its past in a game, from games it plays or from all that there could be.

    Args:
        game: which.
        network: maps `game_theory.features` `[I, F]` to a `Categorical` over actions and values `[I]`.
        config: gradient steps.
        sampled: whether it learns from rollouts `[T, N]`, each the start of a new game and at least as long as one, of
            which later games are left out; else it needs no data, for `jaxrl.from_rules`.

    Returns:
        An agent with hyperparameters `SelfPlayHparams`. It acts with its last policy, and is evaluated with the
        average. Its metrics are `nash_conv` of the average policy, weighted by reach, `nash_conv_last` of the last one,
        `nash_conv_network` of a network that represents the average, `loss`, `entropy` a decision, and `magnet`.

    Raises:
        ArgumentError: an argument is of the wrong kind; from `update`, not a rollout.
    """
    check_kind("game", game, Game, ", as from jaxrl.game_theory.make_game")
    check_network(network)
    config = check_config(config or SelfPlayConfig(), SelfPlayConfig)
    seen = game_theory.features(game)

    def init(key: Array, hparams: SelfPlayHparams, observation: PyTree) -> SelfPlayState:
        del observation
        check_kind("hparams", hparams, SelfPlayHparams)
        keys = jax.random.split(key)
        params, average = (initial_params(network, k, seen[0]) for k in keys)
        opt_state, average_opt = (optimizer_at(hparams, jnp.float32(0)).init(x) for x in (params, average))
        policy, _ = tables(game, network, params, seen)
        plans = jnp.zeros_like(game_theory.plan(game, policy, 0)), jnp.zeros_like(game_theory.plan(game, policy, 1))
        return SelfPlayState(params, opt_state, policy, plans, average, average_opt, jnp.float32(0), hparams)

    def act(state: SelfPlayState, given: Input, key: Array, env_steps: Array) -> Decision:
        del env_steps
        row, number = jnp.arange(len(given.observation)), len(given.observation)
        learns = learns_in(game, state.hparams.past, row, number, given.observation)
        past = game_theory.behaviour(game, state.plans)
        logits = log_of(jnp.where(learns[:, None], state.policy[given.observation], past[given.observation]))
        return Decision(jax.random.categorical(inline(key), logits).astype(jnp.int32))

    def update(
        state: SelfPlayState, batch: Any, key: Array, env_steps: Array, constants: PyTree = ()
    ) -> tuple[SelfPlayState, Metrics, PyTree]:
        del key, env_steps, constants
        weight = state.iteration + 1
        first, second = (x + weight * game_theory.plan(game, state.policy, i) for i, x in enumerate(state.plans))
        if sampled:
            check_rollout(batch)
            values = network.apply(state.params, seen)[1]
            found = sample_experience(game, batch, values, state.hparams.past)
        else:
            average, hparams = game_theory.behaviour(game, state.plans), state.hparams
            found = exact_experience(game, state.policy, average, hparams.past, hparams.spread)
        state = state._replace(plans=(first, second))
        return learn(game, network, seen, config.num_steps, state, found)

    return table_agent(
        init, update, lambda state: game_theory.behaviour(game, state.plans), lambda state: state.policy,
        **({"act": act, "whole_episodes": True} if sampled else {}),
    )  # fmt: skip


def tables(game: Game, network: Network, params: PyTree, seen: Array) -> tuple[Array, Array]:
    """The policy of a network `[I, A]`, and the logarithms of its probabilities, which are 0 for illegal actions."""
    logits = network.apply(params, seen)[0].logits
    log_policy = jax.nn.log_softmax(masked(logits, jnp.asarray(game.legal)))
    return jnp.where(game.legal, jnp.exp(log_policy), 0), jnp.where(game.legal, log_policy, 0)


def learns_in(game: Game, past: Array, row: Array, number: int, observations: Array) -> Array:
    """Whether the player who moves is one that learns, bool `[...]`.

    In a share `past` of the rows, one player is the average policy: the second one in even rows, else the first.
    """
    player = observations >= game.num_sets[0]
    return (row >= past * number) | (player == (row % 2 == 1))


def sample_experience(game: Game, batch: Transition, values: Array, past: Array) -> Experience:
    """What the first game of each row of a rollout `[T, N]` teaches those who learn in it.

    An advantage is the outcome of the game minus the value V(I) of the set, `values` `[I]`.
    """
    number = batch.reward.shape[1]
    first = first_episode(batch)
    sign = jnp.where(batch.observation >= game.num_sets[0], -1.0, 1.0)
    outcome = (first * batch.terminated * sign * batch.reward).sum(0)  # what the first player wins, [N]
    learns = learns_in(game, past, jnp.arange(number), number, batch.observation)
    weight = (first & learns) / number
    advantage = outcome * sign - values[batch.observation]
    where = batch.observation, batch.action
    nothing = jnp.zeros(game.legal.shape, jnp.float32)
    return Experience(
        visits=nothing[:, 0].at[batch.observation].add(weight),
        gains=nothing.at[where].add(weight * jnp.maximum(advantage, 0)),
        losses=nothing.at[where].add(weight * jnp.maximum(-advantage, 0)),
        returns=nothing[:, 0].at[batch.observation].add(weight * outcome * sign),
    )


def exact_experience(game: Game, policy: Array, average: Array, past: ArrayLike, spread: ArrayLike = 0.0) -> Experience:
    """What all games teach that there could be, with `past` of them against the average policy.

    Sampled advantages vary far more than their means, so that gains and losses are both large, and a ratio beyond the
    clipping range is drawn back. `spread` adds as much to both of what is exact, which leaves the gradient at the old
    policy as it is, and keeps the new one near.
    """

    def others(player: int) -> Array:
        plans = [game_theory.plan(game, x, player) for x in (policy, average)]
        return plans[0] * (1 - past) + plans[1] * (past / 2)  # against the past, it has this seat in half of the games

    found = experience_against(game, policy, (others(0), others(1)))
    both = spread * found.visits[:, None] * policy
    return found._replace(gains=found.gains + both, losses=found.losses + both)


def experience_against(game: Game, policy: Array, plans: tuple[Array, Array]) -> Experience:
    """What all games teach that there could be of a policy against the plans of others in both seats, `[S]`."""
    visits, advantages = [], []
    for player in (0, 1):
        side, rows, others = game.sides[player], game.rows(player), plans[1 - player]
        q, _ = sequence_values(game, others, player, policy)
        own = game_theory.reach(game, policy, player)
        better = q - (policy[rows] * q).sum(-1, keepdims=True)
        visits.append(own * met(side, others))
        advantages.append(own[:, None] * policy[rows] * better)
    every = jnp.concatenate(advantages)
    return Experience(jnp.concatenate(visits), jnp.maximum(every, 0), jnp.maximum(-every, 0), None)


def self_play_loss(
    game: Game, outputs: tuple[Array, Array], values: Array, old: Array, found: Experience, clip: Array, magnet: Array
) -> tuple[Array, Array]:
    """The loss of a policy, and its mean entropy a decision.

    Args:
        game: which.
        outputs: the policy and the logarithms of its probabilities, `[I, A]`.
        values: V, `[I]`.
        old: the policy that collected the experience, `[I, A]`.
        found: the experience.
        clip, magnet: ε and α.
    """
    policy, log_policy = outputs
    ratio = jnp.exp(log_policy - jnp.where(game.legal, log_of(old), 0))
    gained = jnp.minimum(ratio, 1 + clip) * found.gains - jnp.maximum(ratio, 1 - clip) * found.losses
    entropy = (found.visits * -(policy * log_policy).sum(-1)).sum()
    loss = -gained.sum() - magnet * entropy
    if found.returns is not None:
        loss += (found.visits * values**2 / 2 - found.returns * values).sum()
    return loss, entropy / found.visits.sum()


def climb(
    game: Game, network: Network, seen: Array, optimizer: optax.GradientTransformation, num_steps: int,
    start: PyTree, old: Array, found: Experience, clip: Array, magnet: Array,
) -> tuple[PyTree, Array, Array]:  # fmt: skip
    """Gradient steps from `start`, parameters and the state of the optimizer: these, and the mean loss and entropy."""

    def loss(params: PyTree) -> tuple[Array, Array]:
        values = network.apply(params, seen)[1]
        return self_play_loss(game, tables(game, network, params, seen), values, old, found, clip, magnet)

    def step(carry: tuple[PyTree, Any], _: None) -> tuple[tuple[PyTree, Any], tuple[Array, Array]]:
        params, opt_state = carry
        (value, entropy), grads = jax.value_and_grad(loss, has_aux=True)(params)
        updates, opt_state = optimizer.update(grads, opt_state, params)
        return (optax.apply_updates(params, updates), opt_state), (nan_if_too_large(value, grads), entropy)

    end, (losses, entropies) = jax.lax.scan(step, start, length=num_steps)
    return end, losses.mean(), entropies.mean()


def magnet_at(hparams: SelfPlayHparams, iteration: Array) -> Array:
    """The weight α of the entropy."""
    magnet = annealed(hparams.magnet, hparams.magnet_half_life, iteration)
    return jnp.maximum(magnet, jnp.minimum(hparams.magnet, hparams.magnet_floor))


def optimizer_at(hparams: SelfPlayHparams, iteration: Array) -> optax.GradientTransformation:
    """Adam, with the learning rate of an iteration."""
    return adam(annealed(hparams.learning_rate, hparams.learning_rate_half_life, iteration), hparams.max_grad_norm)


def learn(
    game: Game, network: Network, seen: Array, num_steps: int, state: SelfPlayState, found: Experience
) -> tuple[SelfPlayState, Metrics, tuple[()]]:
    """The gradient steps of an iteration, and one of the network that represents the average."""
    hparams, optimizer = state.hparams, optimizer_at(state.hparams, state.iteration)
    magnet, average = magnet_at(hparams, state.iteration), game_theory.behaviour(game, state.plans)

    def imitation(params: PyTree) -> Array:
        log_policy = tables(game, network, params, seen)[1]
        return -(game_theory.visits(game, average) * (average * log_policy).sum(-1)).sum()

    (params, opt_state), loss, entropy = climb(
        game, network, seen, optimizer, num_steps, (state.params, state.opt_state), state.policy, found, hparams.clip,
        magnet,
    )  # fmt: skip
    updates, average_opt_state = optimizer.update(jax.grad(imitation)(state.average_params), state.average_opt_state)
    average_params = optax.apply_updates(state.average_params, updates)
    policy, _ = tables(game, network, params, seen)
    state = SelfPlayState(
        params, opt_state, policy, state.plans, average_params, average_opt_state, state.iteration + 1, hparams
    )
    represented, _ = tables(game, network, average_params, seen)
    metrics = measure(game, nash_conv=average, nash_conv_last=policy, nash_conv_network=represented)
    return state, metrics | {"loss": Mean.of(loss), "entropy": Mean.of(entropy), "magnet": Mean.of(magnet)}, ()
