"""A league (Vinyals et al. 2019, https://doi.org/10.1038/s41586-019-1724-z) in games with few information sets.

Main agents learn against themselves and against all earlier players. Main exploiters learn against a main agent alone,
and league exploiters against all earlier players; what they find becomes one of these players, which the main agents
have to stand. Now and then every learner leaves a copy of its policy, and exploiters may start anew.

Whom to play is prioritised: an earlier player that one scores x against, in [0, 1], has a weight of (1 − x)^p, so that
games are against those who are hard to beat. p = 0 draws uniformly. One main agent without exploiters is self-play
where it plays itself alone, fictitious self-play where it never does, and OpenAI Five where it does in 80 % of its
games (Berner et al. 2019, https://arxiv.org/abs/1912.06680).

What the league has learned is the average policy of its first main agent, by reach, as in `self_play_ppo`, or the
equilibrium of the matrix game between all copies (Nash averaging, Balduzzi et al. 2018,
https://arxiv.org/abs/1806.02643). The equilibrium is better where a few players span the game, as in a disc game. In
poker no copies stand for all that could be played: one exploiter that none of them beats is the whole equilibrium.

Learners are those of `self_play_ppo`, from all games that there could be, so that a share of games is a weight. An
exploiter that starts anew has the learning rate of the start, but the magnet of the main agents.
"""

import dataclasses
from typing import Annotated, Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from annotated_types import Ge, Interval

from jaxrl import game_theory
from jaxrl.agents.game_tables import measure, table_agent
from jaxrl.agents.self_play_ppo import (
    SelfPlayConfig,
    SelfPlayHparams,
    climb,
    experience_against,
    magnet_at,
    optimizer_at,
    tables,
)
from jaxrl.arguments import ArgumentError, check, check_kind
from jaxrl.game_theory import Game, matrix_equilibrium
from jaxrl.game_theory.psro import expected_payoffs
from jaxrl.networks.network import Network, check_network, initial_params
from jaxrl.types import Agent, Array, Mean, Metrics, PyTree, select_rows


@dataclasses.dataclass(frozen=True)
class LeagueSizes:
    """Sizes of any league, static."""

    main_agents: Annotated[int, Interval(ge=0, lt=2**10)] = 1
    """Learners against themselves and all earlier players; at least one."""
    main_exploiters: Annotated[int, Interval(ge=0, lt=2**10)] = 1
    """Learners against the first main agent alone, who start anew after each copy."""
    league_exploiters: Annotated[int, Interval(ge=0, lt=2**10)] = 1
    """Learners against all earlier players, who start anew after some copies."""
    copy_every: Annotated[int, Interval(gt=0, lt=2**31)] = 100
    """Iterations after which every learner leaves a copy of its policy."""
    capacity: Annotated[int, Interval(gt=1, lt=2**16)] = 256
    """The most copies. Then new ones replace those that matter least."""

    @property
    def learners(self) -> int:
        """How many learn side by side."""
        return self.main_agents + self.main_exploiters + self.league_exploiters


@dataclasses.dataclass(frozen=True)
class LeagueConfig(LeagueSizes, SelfPlayConfig):
    """Configuration of a league in a small game, static. Copies that the equilibrium plays least make room."""

    answer: Literal["average", "equilibrium"] = "average"
    """What is evaluated: the average policy of the first main agent, or the equilibrium mixture of all copies."""


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Matchmaking:
    """Hyperparameters of any league: who plays whom."""

    self_play: Annotated[float, Interval(ge=0, le=1)] = 0.8
    """Share of a main agent's games against itself; the others are against copies."""
    pfsp_exponent: Annotated[float, Ge(0)] = 2.0
    """p of the weights (1 − x)^p of copies; 0 for uniform weights."""
    restart_probability: Annotated[float, Interval(ge=0, le=1)] = 0.25
    """Probability that a league exploiter starts anew after a copy."""


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class LeagueHparams(Matchmaking, SelfPlayHparams):
    """Hyperparameters of a league in a small game. `past` and `spread` play no part."""


class LeagueState(NamedTuple):
    """The state of a league of L learners and K places for copies.

    Attributes:
        params, opt_state: of the learners, `[L, ...]`.
        policies: of the learners, `[L, I, A]`.
        sums: the weighted sums of both plans of the first main agent, `[S]`; iteration t has the weight t.
        plans: of the copies, in both seats, `[K, S]`.
        payoffs: what each copy wins from each other, the mean of both seats, `[K, K]`.
        weights: the equilibrium mixture of the copies, `[K]`.
        numbers: of the copies, in the order in which they came, int32 `[K]`; −1 where there is none.
        size: copies so far, int32.
        iteration: of each learner since it began, float32 `[L]`.
        hparams: the hyperparameters.
    """

    params: PyTree
    opt_state: PyTree
    policies: Array
    sums: tuple[Array, Array]
    plans: tuple[Array, Array]
    payoffs: Array
    weights: Array
    numbers: Array
    size: Array
    iteration: Array
    hparams: Any


def league(game: Game, network: Network, config: LeagueConfig | None = None) -> Agent:
    """A league of learners in a game, for `jaxrl.from_rules`.

    Args:
        game: which.
        network: as of `self_play_ppo`; each learner has its own parameters.
        config: who learns, and how often it leaves a copy.

    Returns:
        An agent with hyperparameters `LeagueHparams`. One update is of `copy_every` iterations of all learners. It acts
        with the first main agent, and is evaluated with its average policy, or with the equilibrium of the copies. Its
        metrics are `nash_conv` of what is evaluated, `nash_conv_average` and `nash_conv_equilibrium` of both,
        `nash_conv_last` of the first main agent, `nash_conv_uniform` of the uniform mixture of the copies, `mixed`, how
        many copies the equilibrium plays effectively, and `loss`.

    Raises:
        ArgumentError: an argument is of the wrong kind, there is no main agent, or not enough room for copies.
    """
    check_kind("game", game, Game, ", as from jaxrl.game_theory.make_game")
    check_network(network)
    config = config or LeagueConfig()
    check_kind("config", config, LeagueConfig)
    check_league(config)
    seen, learners = game_theory.features(game), config.learners

    def init(key: Array, hparams: LeagueHparams, observation: PyTree) -> LeagueState:
        del observation
        check_kind("hparams", hparams, LeagueHparams)
        params, opt_state = begin(network, seen, hparams, jax.random.split(key, learners))
        policies = jax.vmap(lambda x: tables(game, network, x, seen)[0])(params)
        own = [game_theory.plan(game, policies[0], i) for i in (0, 1)]
        first, second = (jnp.zeros((config.capacity, len(x)), x.dtype) for x in own)
        sums = jnp.zeros_like(own[0]), jnp.zeros_like(own[1])
        nothing = jnp.zeros((config.capacity, config.capacity), policies.dtype)
        numbers, began = jnp.full(config.capacity, -1, jnp.int32), jnp.zeros(learners)
        start = LeagueState(
            params, opt_state, policies, sums, (first, second), nothing, nothing[0], numbers, jnp.int32(0), began,
            hparams,
        )  # fmt: skip
        return copied(game, config, start)

    def update(state: LeagueState, batch: Any, key: Array, env_steps: Array, constants: PyTree = ()) -> Any:
        del batch, env_steps, constants
        weights = opponents(config, state)

        def iterate(state: LeagueState, _: None) -> tuple[LeagueState, Array]:
            return step_all(game, network, seen, config, weights, state)

        state, losses = jax.lax.scan(iterate, state, length=config.copy_every)
        state = restarted(game, network, seen, config, copied(game, config, state), key)
        return state, measured(game, config, state) | {"loss": Mean.of(losses.mean())}, ()

    return table_agent(init, update, lambda state: answer(game, config, state), lambda state: state.policies[0])


def check_league(config: LeagueSizes) -> None:
    """Raises `ArgumentError` if a size is out of bounds, no main agent learns, or two rounds of copies find no room."""
    check(config)
    if not config.main_agents:
        raise ArgumentError("main_agents", "must be at least 1: a league needs a main agent", 0)
    if config.capacity < 2 * config.learners:
        rule = f"must be at least {2 * config.learners}, two copies of each learner"
        raise ArgumentError("capacity", rule, config.capacity)


def begin(network: Network, seen: Array, hparams: LeagueHparams, keys: Array) -> tuple[PyTree, PyTree]:
    """Parameters and states of the optimizer of new learners, one for each key `[L]`."""
    params = jax.vmap(lambda key: initial_params(network, key, seen[0]))(keys)
    return params, jax.vmap(optimizer_at(hparams, jnp.float32(0)).init)(params)


def pfsp_weights(scores: Array, exponent: Array, present: Array) -> Array:
    """Prioritised weights of opponents, `[..., K]`: (1 − x)^p of scores x in [0, 1], which add up to 1.

    They are uniform if every opponent is always beaten. Only opponents that are `present` have weights.
    """
    weights = jnp.where(present, jnp.maximum(1 - scores, 0) ** exponent, 0)
    total = weights.sum(-1, keepdims=True)
    return jnp.where(total > 0, weights / jnp.where(total > 0, total, 1), present / present.sum())


def places(config: LeagueConfig, state: LeagueState) -> Array:
    """The places of the last copies of all learners, int32 `[L]`."""
    return jnp.argsort(state.numbers)[-config.learners :]


def opponents(config: LeagueConfig, state: LeagueState) -> Array:
    """How often each learner plays each copy, `[L, K]`, by how its own last copy does against them.

    A score of 1 is the most that it wins from any copy, 0 as great a loss.
    """
    payoffs, present = state.payoffs[places(config, state)], state.numbers >= 0
    most = jnp.where(present, jnp.abs(payoffs), 0).max(-1, keepdims=True)
    scores = (1 + payoffs / jnp.where(most > 0, most, 1)) / 2
    return pfsp_weights(scores, state.hparams.pfsp_exponent, present)


def against_learners(config: LeagueSizes, self_play: Array) -> tuple[Array, Array]:
    """The share of each learner's games against a learner, `[L]`, and which one that is, int32 `[L]`.

    A main agent meets itself, a main exploiter the first main agent, and a league exploiter none.
    """
    role = jnp.arange(config.learners)
    is_main, is_league = role < config.main_agents, role >= config.main_agents + config.main_exploiters
    return jnp.where(is_main, self_play, jnp.where(is_league, 0.0, 1.0)), jnp.where(is_main, role, 0)


def start_anew(config: LeagueSizes, probability: Array, key: Array) -> Array:
    """Which learners start anew after a copy, bool `[L]`: main exploiters, and some league exploiters."""
    role = jnp.arange(config.learners)
    drawn = jax.random.uniform(key, (config.learners,)) < probability
    is_league = role >= config.main_agents + config.main_exploiters
    return (role >= config.main_agents) & (~is_league | drawn)


def step_all(
    game: Game, network: Network, seen: Array, config: LeagueConfig, weights: Array, state: LeagueState
) -> tuple[LeagueState, Array]:
    """One iteration of all learners, against who they were before, and their losses `[L]`."""
    hparams = state.hparams
    share, target = against_learners(config, hparams.self_play)
    current = [jax.vmap(lambda x, i=i: game_theory.plan(game, x, i))(state.policies) for i in (0, 1)]
    first, second = (
        share[:, None] * own[target] + (1 - share)[:, None] * (weights @ copies)
        for own, copies in zip(current, state.plans, strict=True)
    )
    magnet = magnet_at(hparams, state.iteration[0])  # of the main agents, who never start anew

    def learn(start: PyTree, policy: Array, first: Array, second: Array, iteration: Array) -> Any:
        optimizer = optimizer_at(hparams, iteration)
        found = experience_against(game, policy, (first, second))
        (params, opt_state), loss, _ = climb(
            game, network, seen, optimizer, config.num_steps, start, policy, found, hparams.clip, magnet
        )
        return params, opt_state, tables(game, network, params, seen)[0], loss

    params, opt_state, policies, losses = jax.vmap(learn)(
        (state.params, state.opt_state), state.policies, first, second, state.iteration
    )
    iteration = state.iteration + 1
    first, second = (x + iteration[0] * own[0] for x, own in zip(state.sums, current, strict=True))
    learned = state._replace(params=params, opt_state=opt_state, policies=policies)
    return learned._replace(sums=(first, second), iteration=iteration), losses


def copied(game: Game, config: LeagueConfig, state: LeagueState) -> LeagueState:
    """The league with a copy of each learner, its payoffs, and the new equilibrium.

    The copies take free places, or those of copies that the equilibrium plays least, so that it hardly changes. Without
    those whom they beat, others would come back.
    """
    at = jnp.argsort(jnp.where(state.numbers >= 0, state.weights, -1))[: config.learners]
    numbers = state.numbers.at[at].set(state.size + jnp.arange(config.learners))
    state = state._replace(numbers=numbers, size=state.size + config.learners)
    own = [jax.vmap(lambda x, i=i: game_theory.plan(game, x, i))(state.policies) for i in (0, 1)]
    first, second = (copies.at[at].set(x) for copies, x in zip(state.plans, own, strict=True))
    won = (expected_payoffs(game, own[0], second) - expected_payoffs(game, first, own[1]).T) / 2
    payoffs = state.payoffs.at[at].set(won).at[:, at].set(-won.T)
    weights = matrix_equilibrium(payoffs, state.numbers >= 0)[0]
    return state._replace(plans=(first, second), payoffs=payoffs, weights=weights)


def restarted(
    game: Game, network: Network, seen: Array, config: LeagueConfig, state: LeagueState, key: Array
) -> LeagueState:
    """The league after main exploiters, and some league exploiters, have started anew."""
    init_key, draw_key = jax.random.split(key)
    anew = start_anew(config, state.hparams.restart_probability, draw_key)
    fresh = begin(network, seen, state.hparams, jax.random.split(init_key, config.learners))
    params, opt_state = select_rows(anew, fresh, (state.params, state.opt_state))
    policies = jax.vmap(lambda x: tables(game, network, x, seen)[0])(params)
    iteration = jnp.where(anew, 0, state.iteration)
    return state._replace(params=params, opt_state=opt_state, policies=policies, iteration=iteration)


def mixture(game: Game, state: LeagueState, weights: Array) -> Array:
    """The policy `[I, A]` of a mixture of the copies, `[K]`."""
    first, second = (weights @ x for x in state.plans)
    return game_theory.behaviour(game, (first, second))


def answer(game: Game, config: LeagueConfig, state: LeagueState) -> Array:
    """The policy `[I, A]` that is evaluated."""
    if config.answer == "average":
        return game_theory.behaviour(game, state.sums)
    return mixture(game, state, state.weights)


def measured(game: Game, config: LeagueConfig, state: LeagueState) -> Metrics:
    """How far the league is from an equilibrium."""
    present = state.numbers >= 0
    entropy = -(state.weights * jnp.log(jnp.maximum(state.weights, 1e-30))).sum()
    found = measure(
        game,
        nash_conv_average=game_theory.behaviour(game, state.sums),
        nash_conv_equilibrium=mixture(game, state, state.weights),
        nash_conv_last=state.policies[0],
        nash_conv_uniform=mixture(game, state, present / present.sum()),
    )
    return found | {"nash_conv": found[f"nash_conv_{config.answer}"], "mixed": Mean.of(jnp.exp(entropy))}
