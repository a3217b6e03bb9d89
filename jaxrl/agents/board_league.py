"""A league (Vinyals et al. 2019, https://doi.org/10.1038/s41586-019-1724-z) in board games, from games that it plays.

Who learns against whom is as in `league`, and so is how much: main agents against themselves and earlier players, main
exploiters against the first main agent, league exploiters against earlier players, preferably those that they lose to.
Here the positions are too many for a table. So learners are networks of their own, which learn by PPO from the moves
that they make themselves, with the outcome of the game as their return, and what each scores against each earlier
player is estimated from its latest games.

All networks are stacked, `[L, ...]` of L learners and `[K, ...]` of K copies. A learner's games are in G groups, each
against one opponent, whose parameters are gathered before the games. It moves first in every other game.
"""

import dataclasses
from functools import partial
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
from annotated_types import Interval
from jax.typing import ArrayLike

from jaxrl.agents.alphazero import value_targets
from jaxrl.agents.league import (
    LeagueSizes,
    Matchmaking,
    against_learners,
    check_league,
    pfsp_weights,
    start_anew,
)
from jaxrl.agents.minibatches import apply_in_chunks, check_rollout, merge_time
from jaxrl.agents.policy_gradient import NetworkState, default_optimizer, gradient_step
from jaxrl.agents.ppo import PPOHparams, ppo_loss
from jaxrl.agents.reinforce import first_episode
from jaxrl.arguments import ArgumentError, check_kind
from jaxrl.distributions import Categorical, Distribution, masked, restricted
from jaxrl.networks.network import Network, check_network, initial_params
from jaxrl.replay.sampling import draw_below
from jaxrl.types import Agent, Array, Decision, Input, Mean, Metrics, PyTree, Transition, select_rows, total
from jaxrl.xla.threefry import inline

KEPT = 0.99
"""How much of what is known of a pair an iteration keeps: learners change, and old games say little."""


@dataclasses.dataclass(frozen=True)
class BoardLeagueConfig(LeagueSizes):
    """Sizes of a league in a board game, static. Copies that nobody would play make room, the oldest ones first."""

    opponents: Annotated[int, Interval(gt=0, lt=2**16)] = 8
    """G, the opponents of a learner in one iteration, each in an equal share of its games."""
    num_steps: Annotated[int, Interval(gt=0, lt=2**31)] = 16
    """Gradient steps of a learner in one iteration."""
    batch_size: Annotated[int, Interval(gt=1, lt=2**31)] = 512
    """Moves in each of them, drawn from those that the learner made."""


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class BoardLeagueHparams(Matchmaking, PPOHparams):
    """Hyperparameters of a league in a board game. `discount` and `reward_scale` play no part."""


class BoardLeagueState(NamedTuple):
    """The state of a league of L learners, G opponents of each, and K places for copies.

    Attributes:
        params, opt_state: of the learners, `[L, ...]`.
        copies: parameters of earlier players, `[K, ...]`.
        opponents: parameters of those whom the learners meet next, `[L, G, ...]`.
        met: which copies these are, int32 `[L, G]`; −1 for a learner.
        points: what each learner scored against each copy in its latest games, `[L, K]`.
        games: how many these were, `[L, K]`.
        numbers: of the copies, in the order in which they came, int32 `[K]`; −1 where there is none.
        size: copies so far, int32.
        updates: of each learner since it began, float32 `[L]`; of all, that of the first one.
        hparams: the hyperparameters.
    """

    params: PyTree
    opt_state: PyTree
    copies: PyTree
    opponents: PyTree
    met: Array
    points: Array
    games: Array
    numbers: Array
    size: Array
    updates: Array
    hparams: Any


class Played(NamedTuple):
    """What is stored with a move: whether its learner learns from it, and log π(a | s), `[N]`."""

    learns: Array
    log_prob: Array


def board_league(network: Network, config: BoardLeagueConfig | None = None) -> Agent[BoardLeagueState]:
    """A league of learners in a board game, for `jaxrl.envs.game.GameEnvironment`.

        agent = board_league(board_network(example, env.num_actions))
        sizes = OnPolicyConfig(384, env.game.max_moves, reset_each_rollout=True)
        trainer = on_policy(agent, env, env_params, sizes)

    Args:
        network: maps observations `[N, ...]` to a `jaxrl.distributions.Categorical` over actions and values `[N]`,
            which pass through tanh.
        config: who learns, and how often it leaves a copy.

    Returns:
        An agent for rollouts `[T, N]`, at least as long as the longest game, with hyperparameters `BoardLeagueHparams`.
        Environments are shared out among the learners. Its `policy` and `outputs` are those of the first main agent.
        Its metrics are `policy_loss`, `value_loss` and `entropy` of the first main agent, `score_copies`, what it
        scores against copies, and `score_exploiters`, what main exploiters score against it; 1 for a win, ½ for a draw.

    Raises:
        ArgumentError: an argument is of the wrong kind, there is no main agent, or not enough room for copies; from
            `act`, the environments cannot be shared out.
    """
    check_network(network)
    config = config or BoardLeagueConfig()
    check_kind("config", config, BoardLeagueConfig)
    check_league(config)

    def outputs(state: BoardLeagueState, observations: PyTree) -> Distribution:
        return network.apply(jax.tree.map(lambda x: x[0], state.params), observations)[0]

    def policy(state: BoardLeagueState, given: Input, key: Array) -> Decision:
        del key
        return Decision(restricted(outputs(state, given.observation), given.legal).mode())

    return Agent(
        init=partial(_init, network, config),
        act=partial(_act, network, config),
        policy=policy,
        update=partial(_update, network, config),
        outputs=outputs,
        whole_episodes=True,
        needs_env_states=True,
    )


def _begin(network: Network, hparams: BoardLeagueHparams, observation: PyTree, keys: Array) -> tuple[PyTree, PyTree]:
    """Parameters and states of the optimizer of new learners, one for each key `[L]`."""
    params = jax.vmap(lambda key: initial_params(network, key, observation))(keys)
    return params, jax.vmap(default_optimizer(hparams, jnp.float32(0)).init)(params)


def _init(
    network: Network, config: BoardLeagueConfig, key: Array, hparams: BoardLeagueHparams, observation: PyTree
) -> BoardLeagueState:
    check_kind("hparams", hparams, BoardLeagueHparams)
    begin_key, draw_key = jax.random.split(key)
    learners, capacity = config.learners, config.capacity
    params, opt_state = _begin(network, hparams, observation, jax.random.split(begin_key, learners))
    copies = jax.tree.map(lambda x: jnp.zeros((capacity, *x.shape[1:]), x.dtype), params)
    opponents = jax.tree.map(lambda x: jnp.repeat(x[:, None], config.opponents, 1), params)
    met, nothing = jnp.zeros((learners, config.opponents), jnp.int32), jnp.zeros((learners, capacity))
    numbers, updates = jnp.full(capacity, -1, jnp.int32), jnp.zeros(learners)
    start = BoardLeagueState(
        params, opt_state, copies, opponents, met, nothing, nothing, numbers, jnp.int32(0), updates, hparams
    )
    return matched(config, copied(config, start, jnp.bool_(True)), draw_key)


def shares(config: BoardLeagueConfig, number: int) -> int:
    """The games of a group, of so many environments.

    Raises:
        ArgumentError: they cannot be shared out, with as many games of each group for both colours.
    """
    groups = 2 * config.learners * config.opponents
    if number % groups:
        rule = f"must be a multiple of {groups}, twice the {config.learners} learners with {config.opponents} opponents"
        raise ArgumentError("num_envs", rule, number)
    return 2 * number // groups


def _act(
    network: Network, config: BoardLeagueConfig, state: BoardLeagueState, given: Input, key: Array, env_steps: Array
) -> Decision:
    """Moves in all games: in environment n, the learner is player n mod 2."""
    del env_steps
    number = len(given.env_states.player)
    size = shares(config, number)

    def logits(axes: tuple[int, ...], params: PyTree) -> Array:
        apply = lambda params, x: network.apply(params, x)[0].logits  # noqa: E731
        for _ in axes:
            apply = jax.vmap(apply)
        parts = jax.tree.map(lambda x: x.reshape(*axes, -1, *x.shape[1:]), given.observation)
        return masked(apply(params, parts).reshape(number, -1), given.legal)

    own = logits((config.learners,), state.params)
    theirs = logits((config.learners, config.opponents), state.opponents)
    turn = given.env_states.player == jnp.arange(number) % 2
    policy = Categorical(jnp.where(turn[:, None], own, theirs))
    actions = policy.sample(inline(key))
    return Decision(actions, extras=Played(turn | with_itself(config, state, size), policy.log_prob(actions)))


def with_itself(config: BoardLeagueConfig, state: BoardLeagueState, size: int) -> Array:
    """Whether a learner plays both sides of a game, from which it learns all moves: bool `[N]`."""
    is_main = jnp.arange(config.learners) < config.main_agents
    return jnp.repeat((is_main[:, None] & (state.met < 0)).reshape(-1), size)


def game_returns(batch: Transition, values: Array, learns: Array, lambda_: ArrayLike) -> Array:
    """`value_targets` of which only values where one learns count, since those of other moves are another player's.

    Args:
        batch: moves `[T, N]`, with rewards for who moves.
        values: of the positions before them, for who moves, `[T, N]`.
        learns: bool `[T, N]`.
        lambda_: scalar.
    """
    counts = jnp.concatenate([learns[1:], jnp.ones_like(learns[:1])])
    return value_targets(batch, values, jnp.where(counts, lambda_, 1.0))


def _learn(
    network: Network, config: BoardLeagueConfig, hparams: BoardLeagueHparams, learner: NetworkState,
    batch: Transition, key: Array, env_steps: Array,
) -> tuple[NetworkState, Metrics]:  # fmt: skip
    """Gradient steps of one learner from its own moves among `[T, N / L]`, drawn with replacement."""
    played: Played = batch.extras
    values = apply_in_chunks(lambda x: jnp.tanh(network.apply(learner.params, x)[1]), batch.observation)
    returns = game_returns(batch, values, played.learns, hparams.gae_lambda)
    data = merge_time((batch.observation, batch.legal, batch.action, played.log_prob, returns - values, returns))
    own = played.learns.reshape(-1)
    order, count = jnp.argsort(~own, stable=True), own.sum(dtype=jnp.uint32)
    optimizer = default_optimizer(hparams, env_steps)

    def step(learner: NetworkState, key: Array) -> tuple[NetworkState, Metrics]:
        rows = order[draw_below(key, config.batch_size, count, own.size)]
        observations, legal, *targets = jax.tree.map(lambda x: x[rows], data)

        def loss(params: PyTree) -> tuple[Array, dict[str, Array]]:
            distribution, values = network.apply(params, observations)
            return ppo_loss(hparams, restricted(distribution, legal), jnp.tanh(values), *targets)

        return gradient_step(learner, loss, optimizer)

    learner, metrics = jax.lax.scan(step, learner, jax.random.split(inline(key), config.num_steps))
    return learner, total(metrics)


def _update(
    network: Network, config: BoardLeagueConfig, state: BoardLeagueState, batch: Transition, key: Array,
    env_steps: Array, constants: PyTree = (),
) -> tuple[BoardLeagueState, Metrics, PyTree]:  # fmt: skip
    del env_steps, constants
    check_rollout(batch)
    learn_key, begin_key, draw_key, match_key = jax.random.split(key, 4)
    hparams, learners = state.hparams, config.learners
    state, scores = noted(config, state, batch)
    own = jax.tree.map(lambda x: jnp.moveaxis(x.reshape(len(x), learners, -1, *x.shape[2:]), 1, 0), batch)

    def learn(params: PyTree, opt_state: PyTree, own: Transition, key: Array, clock: Array) -> tuple:
        learner = NetworkState(params, opt_state, hparams)
        learner, metrics = _learn(network, config, hparams, learner, own, key, clock)
        return learner.params, learner.opt_state, metrics

    keys, clocks = jax.random.split(learn_key, learners), state.updates * batch.reward.size
    params, opt_state, metrics = jax.vmap(learn)(state.params, state.opt_state, own, keys, clocks)
    updates = state.updates + 1
    due = updates[0] % config.copy_every == 0
    state = copied(config, state._replace(params=params, opt_state=opt_state, updates=updates), due)
    anew = due & start_anew(config, hparams.restart_probability, draw_key)
    observation = jax.tree.map(lambda x: x[0, 0], batch.observation)
    fresh = _begin(network, hparams, observation, jax.random.split(begin_key, learners))
    params, opt_state = select_rows(anew, fresh, (state.params, state.opt_state))
    updates = jnp.where(anew, 0, state.updates)
    points, games = (jnp.where(anew[:, None], 0, x) for x in (state.points, state.games))
    state = state._replace(params=params, opt_state=opt_state, updates=updates, points=points, games=games)
    names = ("policy_loss", "value_loss", "entropy")
    losses = {name: jax.tree.map(lambda x: x[0], metrics[name]) for name in names}
    return matched(config, state, match_key), losses | scores, ()


def noted(config: BoardLeagueConfig, state: BoardLeagueState, batch: Transition) -> tuple[BoardLeagueState, Metrics]:
    """The state with the outcomes of the first game in each environment, and what the first main agent scored."""
    reward = jnp.where(batch.extras.learns, batch.reward, -batch.reward)  # the learner's, if it plays one side
    won = jnp.where(first_episode(batch), reward, 0).sum(0)
    points = ((1 + won) / 2).reshape(config.learners, config.opponents, -1)
    size, row = points.shape[-1], jnp.arange(config.learners)[:, None]
    of_copies = state.met >= 0
    at = row, jnp.where(of_copies, state.met, config.capacity)  # beyond the last place: dropped
    state = state._replace(
        points=(KEPT * state.points).at[at].add(points.sum(-1), mode="drop"),
        games=(KEPT * state.games).at[at].add(size, mode="drop"),
    )
    exploits = (row >= config.main_agents) & (row < config.main_agents + config.main_exploiters)
    scores = {}
    for name, counted in (("score_copies", of_copies & (row == 0)), ("score_exploiters", exploits & ~of_copies)):
        scores[name] = Mean(jnp.where(counted[..., None], points, 0).sum(), size * counted.sum(dtype=jnp.int32))
    return state, scores


def opponents(config: BoardLeagueConfig, state: BoardLeagueState) -> Array:
    """How often each learner plays each copy, `[L, K]`; one without games counts as if it had drawn."""
    scores = (state.points + 0.5) / (state.games + 1)
    return pfsp_weights(scores, state.hparams.pfsp_exponent, state.numbers >= 0)


def matched(config: BoardLeagueConfig, state: BoardLeagueState, key: Array) -> BoardLeagueState:
    """The state with the opponents of the next games."""
    share_key, draw_key = jax.random.split(inline(key))
    share, target = against_learners(config, state.hparams.self_play)
    shape = (config.learners, config.opponents)
    first = (jnp.arange(config.opponents) + jax.random.uniform(share_key, (config.learners, 1))) / config.opponents
    is_learner = first < share[:, None]  # the share itself in the mean, and always within one group
    weights = jnp.maximum(opponents(config, state), 1e-30)
    drawn = jax.random.categorical(draw_key, jnp.log(weights)[:, None], shape=shape).astype(jnp.int32)

    def gather(own: Array, copies: Array) -> Array:
        return select_rows(is_learner, own[target][:, None], copies[drawn])

    met = jnp.where(is_learner, -1, drawn)
    return state._replace(opponents=jax.tree.map(gather, state.params, state.copies), met=met)


def copied(config: BoardLeagueConfig, state: BoardLeagueState, due: Array) -> BoardLeagueState:
    """The state with a copy of each learner, if it is due, in free places or those that matter least."""
    meets = against_learners(config, state.hparams.self_play)[0] < 1  # a copy matters to those alone
    most = jnp.where(state.numbers >= 0, (opponents(config, state) * meets[:, None]).max(0), -1.0)
    at = jnp.lexsort((state.numbers, most))[: config.learners]
    number = state.size + jnp.arange(config.learners)
    copies = jax.tree.map(lambda x, new: x.at[at].set(jnp.where(due, new, x[at])), state.copies, state.params)
    return state._replace(
        copies=copies,
        points=state.points.at[:, at].multiply(~due),
        games=state.games.at[:, at].multiply(~due),
        numbers=state.numbers.at[at].set(jnp.where(due, number, state.numbers[at])),
        size=state.size + due * config.learners,
    )
