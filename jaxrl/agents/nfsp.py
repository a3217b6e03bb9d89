"""Neural fictitious self-play (Heinrich & Silver 2016, https://arxiv.org/abs/1603.01121, algorithm 1).

In fictitious play, each player answers the average of all that the other one ever answered, and the averages approach
an equilibrium. Here both are networks:

- the best response is DQN, which learns from a ring of the latest transitions of each player;
- the average policy clones the moves of all best responses so far, of which a reservoir is a uniform sample. A ring
  would be of the latest ones, and the policy would not be an average.

A player that answers only the average would never show its own average. So before each game, each player draws what it
is: its best response with probability η, the anticipatory parameter, else its average policy. Of its moves, only those
of a best response are cloned, and the best response learns from all.

What it has learned is the average policy. Both players share the networks, since no information set is of both.
"""

import dataclasses
from functools import partial
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
from annotated_types import Interval

from jaxrl.agents.action_values import expected_value
from jaxrl.agents.behaviour_cloning import BehaviourCloningHparams, behaviour_cloning
from jaxrl.agents.dqn import DQNHparams, DQNState, dqn
from jaxrl.agents.game_tables import measure
from jaxrl.agents.minibatches import check_rollout, merge_time
from jaxrl.agents.policy_gradient import NetworkState
from jaxrl.agents.reinforce import first_episode
from jaxrl.arguments import ArgumentError, check_config, check_kind
from jaxrl.distributions import Categorical, masked
from jaxrl.game_theory import Game
from jaxrl.networks.network import Network
from jaxrl.replay import BufferState, num_slots, packing, ring_buffer, uniform
from jaxrl.replay.reservoir import Reservoir, draw, empty_reservoir, offer
from jaxrl.types import Agent, Array, Decision, Input, Mean, Metrics, PyTree, Sample, Transition, total
from jaxrl.xla.threefry import inline

UNDECIDED, AVERAGE, RESPONSE = 0, 1, 2
"""What a player is in a game."""


@dataclasses.dataclass(frozen=True)
class NFSPConfig:
    """The sizes of NFSP, static."""

    num_games: Annotated[int, Interval(gt=0, lt=2**31)] = 128
    """Games of one iteration."""
    num_steps: Annotated[int, Interval(gt=0, lt=2**31)] = 16
    """Gradient steps of both networks in one iteration."""
    batch_size: Annotated[int, Interval(gt=0, lt=2**31)] = 128
    """Moves in each of them."""
    replay_capacity: Annotated[int, Interval(gt=0, lt=2**31)] = 50_000
    """The latest moves, from which the best response learns, rounded up to a multiple of num-games."""
    reservoir_capacity: Annotated[int, Interval(gt=0, lt=2**31)] = 1_000_000
    """Moves of best responses, of all that there were, which the average policy clones."""


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class NFSPHparams(DQNHparams):
    """Hyperparameters of NFSP. Those of DQN are of the best response."""

    discount: Annotated[float, Interval(ge=0, le=1)] = 1.0
    epsilon_start: Annotated[float, Interval(ge=0, le=1)] = 0.06
    epsilon_end: Annotated[float, Interval(ge=0, le=1)] = 0.0
    anticipatory: Annotated[float, Interval(ge=0, le=1)] = 0.1
    """η, the probability that a player is its best response in a game."""
    average_learning_rate: Annotated[float, Interval(gt=0, lt=1e30)] = 1e-3
    """Learning rate of Adam for the average policy, > 0."""


class Step(NamedTuple):
    """A move as it is stored, and what came of it for who made it.

    Attributes:
        set, action: where and what.
        reward: what the player wins, if it is its last move.
        last: whether it is.
        next_set: the next one of this player; the same if there is none.
        counts: whether it is of the first game in its row of a rollout.
    """

    set: Array
    action: Array
    reward: Array
    last: Array
    next_set: Array
    counts: Array


class NFSPState(NamedTuple):
    """The state of NFSP.

    Attributes:
        response: of the best response, with the hyperparameters.
        average: of the average policy.
        replay: the latest moves; `rows` of them were ever written, int32.
        reservoir: moves of best responses, the `set` and the `action` of each.
    """

    response: DQNState
    average: NetworkState
    replay: BufferState
    rows: Array
    reservoir: Reservoir


class _Parts(NamedTuple):
    """The game, the sizes, and the two agents that NFSP consists of, with the ring of the first one."""

    game: Game
    config: NFSPConfig
    response: Agent
    average: Agent
    ring: Any


def nfsp(game: Game, q_network: Network, policy_network: Network, config: NFSPConfig | None = None) -> Agent[NFSPState]:
    """Neural fictitious self-play, for `jaxrl.envs.tensor_game.TensorGame`.

    Args:
        game: which.
        q_network: maps information sets, int32 `[N]`, to Q(s, ·) `[N, A]`.
        policy_network: maps them to a `jaxrl.distributions.Categorical`.
        config: the sizes.

    Returns:
        An agent for rollouts `[T, N]`, each the start of a new game and at least as long as one, of which later games
        are left out, with hyperparameters `NFSPHparams`. It is evaluated with its average policy. Its metrics are
        `nash_conv` of this policy, `nash_conv_response` of the greedy best responses, `cloned_moves`, how many moves
        the reservoir was offered, and those of DQN and of cloning, the latter as `average_loss` and `average_accuracy`.

    Raises:
        ArgumentError: an argument is of the wrong kind; from `update`, not a rollout of `config.num_games`.
    """
    check_kind("game", game, Game, ", as from jaxrl.game_theory.make_game")
    config = check_config(config or NFSPConfig(), NFSPConfig)
    number, flag = jnp.int32(0), jnp.bool_(False)
    example = Step(number, number, jnp.float32(0), flag, number, flag)
    slots = num_slots(config.replay_capacity, config.num_games)
    sampler = uniform(slots, config.num_games, 1)
    ring = ring_buffer(packing(example), sampler, slots, config.num_games, 1)
    response = dqn(q_network, expected_value("l2"))  # the Huber loss has no mean, and a best response needs it
    parts = _Parts(game, config, response, behaviour_cloning(policy_network), ring)

    def outputs(state: NFSPState, observations: Array) -> Categorical:
        logits = parts.average.outputs(state.average, observations).logits  # type: ignore[misc]
        return Categorical(masked(logits, jnp.asarray(game.legal)[observations]))

    def policy(state: NFSPState, given: Input, key: Array) -> Decision:
        return Decision(outputs(state, given.observation).sample(inline(key)), given.memory)

    return Agent(
        init=partial(_init, parts),
        act=partial(_act, parts),
        policy=policy,
        update=partial(_update, parts),
        memory=lambda state, num_envs: jnp.full((num_envs, 2), UNDECIDED, jnp.int8),
        outputs=outputs,
        whole_episodes=True,
    )


def _init(parts: _Parts, key: Array, hparams: NFSPHparams, observation: PyTree) -> NFSPState:
    check_kind("hparams", hparams, NFSPHparams)
    keys = jax.random.split(key)
    cloning = BehaviourCloningHparams(hparams.average_learning_rate, 0.0, hparams.max_grad_norm)
    cloning = jax.tree.map(jnp.float32, cloning)
    response = parts.response.init(keys[0], hparams, observation)
    average = parts.average.init(keys[1], cloning, observation)
    number = jax.ShapeDtypeStruct((), jnp.int32)
    reservoir = empty_reservoir(parts.config.reservoir_capacity, (number, number))
    return NFSPState(response, average, parts.ring.init(hparams), jnp.int32(0), reservoir)


def _act(parts: _Parts, state: NFSPState, given: Input, key: Array, env_steps: Array) -> Decision:
    """Moves, with whether each is of a best response."""
    draw_key, response_key, average_key = jax.random.split(inline(key), 3)
    responds = jax.random.uniform(draw_key, given.memory.shape) < state.response.hparams.anticipatory
    drawn = jnp.where(responds, RESPONSE, AVERAGE).astype(jnp.int8)
    memory = jnp.where(given.memory == UNDECIDED, drawn, given.memory)
    player = (given.observation >= parts.game.num_sets[0]).astype(jnp.int32)
    is_response = jnp.take_along_axis(memory, player[:, None], 1)[:, 0] == RESPONSE
    response = parts.response.act(state.response, given, response_key, env_steps).action
    average = parts.average.act(state.average, given, average_key, env_steps).action
    return Decision(jnp.where(is_response, response, average).astype(jnp.int32), memory, is_response)


def steps_of(game: Game, batch: Transition) -> Step:
    """The moves of a rollout `[T, N]`, each with the next information set of the same player, or what it wins."""
    first = batch.observation < game.num_sets[0]
    columns = jnp.arange(first.shape[1])

    def back(after: tuple[Array, Array, Array], row: Transition) -> tuple[tuple[Array, Array, Array], tuple]:
        found, goes_on, outcome = after  # the next set of each player, whether there is one, and what player 0 wins
        player = jnp.where(row.observation < game.num_sets[0], 0, 1)
        sign = jnp.where(player == 0, 1, -1)
        goes_on &= ~row.terminated
        outcome = jnp.where(row.terminated, sign * row.reward, outcome)
        last = ~goes_on[player, columns]
        step = jnp.where(last, sign * outcome, 0), last, jnp.where(last, row.observation, found[player, columns])
        found, goes_on = found.at[player, columns].set(row.observation), goes_on.at[player, columns].set(True)
        return (found, goes_on, outcome), step

    nothing = jnp.zeros((2, first.shape[1]), jnp.int32)
    start = nothing, nothing > 0, jnp.zeros(first.shape[1])
    rows = batch._replace(extras=(), legal=None, next_legal=None)
    _, (reward, last, next_set) = jax.lax.scan(back, start, rows, reverse=True)
    return Step(batch.observation, batch.action, reward, last, next_set, first_episode(batch))


def as_sample(game: Game, steps: Step, weights: Array) -> Sample:
    """Moves `[1, B]` as transitions, with weights `[B]`."""
    legal = jnp.asarray(game.legal)
    cut = jnp.zeros_like(steps.last)
    return Sample(
        Transition(
            steps.set, steps.action, steps.reward, steps.last, cut, steps.next_set,
            legal=legal[steps.set], next_legal=legal[steps.next_set],
        ),
        weights,
    )  # fmt: skip


def _update(
    parts: _Parts, state: NFSPState, batch: Transition, key: Array, env_steps: Array, constants: PyTree = ()
) -> tuple[NFSPState, Metrics, PyTree]:
    del constants
    check_rollout(batch)
    game, config = parts.game, parts.config
    if (number := batch.reward.shape[1]) != config.num_games:
        raise ArgumentError("num_games", f"must be the {number} environments of a rollout", config.num_games)
    offer_key, *keys = jax.random.split(inline(key), 1 + config.num_steps)
    steps = steps_of(game, batch)
    replay = parts.ring.add(state.replay, steps, state.rows)
    rows = state.rows + len(batch.reward)
    moves = merge_time((steps.set, steps.action))
    reservoir = offer(state.reservoir, moves, merge_time(steps.counts & batch.extras), offer_key)

    def learn(learners: tuple[DQNState, NetworkState], key: Array) -> tuple[Any, tuple[Metrics, Metrics]]:
        response, average = learners
        sample_key, response_key, draw_key, average_key = jax.random.split(key, 4)
        _, sample = parts.ring.sample(replay, sample_key, rows, config.batch_size)
        given = as_sample(game, sample.transitions, sample.transitions.counts[0].astype(jnp.float32))
        response, metrics, _ = parts.response.update(response, given, response_key, env_steps, ())
        sets, actions = (x[None] for x in draw(reservoir, draw_key, config.batch_size))
        cloned = Step(sets, actions, jnp.zeros(sets.shape), sets >= 0, sets, sets >= 0)
        weights = jnp.broadcast_to(reservoir.offered > 0, config.batch_size).astype(jnp.float32)
        given = as_sample(game, cloned, weights)
        average, cloning, _ = parts.average.update(average, given, average_key, env_steps, ())
        return (response, average), (metrics, cloning)

    (response, average), (metrics, cloning) = jax.lax.scan(learn, (state.response, state.average), jnp.stack(keys))
    state = NFSPState(response, average, replay, rows, reservoir)
    found = total(metrics) | {f"average_{name}": x for name, x in total(cloning).items()}
    return state, found | _measured(parts, state), ()


def _measured(parts: _Parts, state: NFSPState) -> Metrics:
    """NashConv of the average policy and of the greedy best responses."""
    game = parts.game
    legal, every = jnp.asarray(game.legal), jnp.arange(len(game.labels))
    logits = parts.average.outputs(state.average, every).logits  # type: ignore[misc]
    q = parts.response.outputs(state.response, every)  # type: ignore[misc]
    greedy = jax.nn.one_hot(masked(q, legal).argmax(-1), legal.shape[1], dtype=jnp.float32)
    average = jnp.where(legal, jax.nn.softmax(masked(logits, legal)), 0)
    found = measure(game, nash_conv=average, nash_conv_response=greedy)
    return found | {"cloned_moves": Mean.of(state.reservoir.offered.astype(jnp.float32))}
