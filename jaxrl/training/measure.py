"""What evaluations measure: the return of episodes, or how well one plays who plays against itself."""

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxrl import game_theory
from jaxrl.distributions import masked
from jaxrl.envs import vectorize
from jaxrl.envs.game import GameEnvironment
from jaxrl.envs.tensor_game import TensorGame
from jaxrl.game_theory import Game
from jaxrl.games import ILLEGAL, BoardGame, Solution, UnsolvedError, judge
from jaxrl.random import as_keys
from jaxrl.training.evaluation import EvaluateAgents, Evaluation, evaluate_agents, for_each_agent
from jaxrl.types import Agent, Array, Decision, Input, PyTree

RETURN = "evaluation return"
NO_MISTAKES = "moves without a mistake"
AGAINST_RANDOM = "return against a random player"
NASH_CONV = "negative NashConv"


class Measure(NamedTuple):
    """What evaluations measure, the more the better.

    Attributes:
        words: what it is: `RETURN`, `NO_MISTAKES`, `AGAINST_RANDOM` or `NASH_CONV`.
        evaluate: evaluates agents. The measure is their mean `Evaluation.episode_return`.
    """

    words: str
    evaluate: EvaluateAgents


def measures_returns(env: Any) -> bool:
    """Whether evaluations measure the return of episodes, as training does; see `measure_of`."""
    return not (isinstance(env, TensorGame) or (isinstance(env, GameEnvironment) and env.is_self_play))


def measure_of(agent: Agent, env: Any, env_params: Any, episodes: int, max_steps: int) -> Measure:
    """What evaluations of an agent measure.

    It is the return of episodes, but not in a game in which the agent moves for both players: that return falls as both
    learn to defend. There it is the share of moves that are no mistakes, in positions of the game's `judge`; without a
    judge, the return of games against a uniformly random player. The agent moves without its search, if it has one:
    what its network has learned shows early, and a search hides it. In a small game of imperfect information, it is
    NashConv, how much both players could gain by a best response to the agent's policy, as a negative number.

    Args:
        agent: whose states are evaluated.
        env, env_params: what it learns in.
        episodes: how many; or positions, of a judge.
        max_steps: after so many, an unfinished episode counts with its return so far.
    """
    if isinstance(env, TensorGame):
        return Measure(NASH_CONV, for_each_agent(partial(nash_conv_of, agent, env.game)))
    if measures_returns(env):
        return Measure(RETURN, evaluate_agents(agent, vectorize(env, env_params, episodes), max_steps))
    alone = without_search(agent)
    try:
        solution = judge(env.game).sample(episodes)
    except UnsolvedError:
        envs = vectorize(env.against_random(), env_params, episodes)
        return Measure(AGAINST_RANDOM, evaluate_agents(alone, envs, max_steps))
    return Measure(NO_MISTAKES, for_each_agent(partial(judged, alone, env.game, solution)))


def nash_conv_of(agent: Agent, game: Game, agent_state: PyTree, key: Array) -> Evaluation:
    """NashConv of an agent's policy, as a negative return: of its `outputs`, or else of what `policy` always does."""
    sets, legal = jnp.arange(len(game.labels), dtype=jnp.int32), jnp.asarray(game.legal)
    if agent.outputs is None:
        given = Input(sets, legal, agent.memory(agent_state, len(sets)))
        actions = agent.policy(agent_state, given, as_keys(key)).action
        policy = jax.nn.one_hot(actions, legal.shape[1], dtype=jnp.float32)
    else:
        outputs = agent.outputs(agent_state, sets)
        logits = getattr(outputs, "logits", None)
        # Action values are no policy: such an agent is greedy.
        best = masked(outputs if logits is None else logits, legal).argmax(-1)
        greedy = jax.nn.one_hot(best, legal.shape[1], dtype=jnp.float32)
        policy = greedy if logits is None else jax.nn.softmax(masked(logits, legal))
    found = -game_theory.nash_conv(game, policy)[None]
    return Evaluation(found, jnp.ones(1, jnp.int32), jnp.ones(1, bool))


def without_search(agent: Agent) -> Agent:
    """The same agent, but its policy does not search."""
    outputs = agent.outputs
    if not agent.searches or outputs is None:
        return agent

    def policy(state: PyTree, given: Input, key: Array) -> Decision:
        del key
        return Decision(masked(outputs(state, given.observation).logits, given.legal).argmax(-1))

    return agent._replace(policy=policy, needs_env_states=False, searches=False)


def judged(agent: Agent, game: BoardGame, solution: Solution, agent_state: PyTree, key: Array) -> Evaluation:
    """Moves in each position of a solution: return 1 if there is no better one, else 0."""
    values = jnp.asarray(solution.action_values)
    actions = moves(agent, game, agent_state, solution.states, values != ILLEGAL, as_keys(key))
    right = jnp.take_along_axis(values, actions[:, None], 1)[:, 0] == values.max(1)
    return Evaluation(right.astype(jnp.float32), jnp.ones(len(right), jnp.int32), jnp.ones(len(right), bool))


def moves(agent: Agent, game: BoardGame, agent_state: PyTree, states: PyTree, legal: Array, key: Array) -> Array:
    """An agent's moves in positions `[P, ...]`: int32 `[P]`."""
    last = jax.tree.map(lambda x: jnp.moveaxis(x, 0, -1), states)  # as environments have their states
    memory = agent.memory(agent_state, len(legal))
    given = Input(jax.vmap(game.observe)(states), legal, memory, last)
    return agent.policy(agent_state, given, key).action.astype(jnp.int32)


CHUNK = 4_000
"""Positions that an agent moves in at once."""


def mistakes(agent: Agent, agent_state: PyTree, game: BoardGame, solution: Solution) -> np.ndarray:
    """Whether an agent's move is a mistake, in each position of a solution: bool `[P]`."""
    count, actions, play = len(solution.action_values), [], _compiled_moves(agent, game)
    size = min(CHUNK, count)
    for start in range(0, count, size):
        rows = np.minimum(np.arange(start, start + size), count - 1)
        states = jax.tree.map(lambda x, rows=rows: x[rows], solution.states)
        legal = solution.action_values[rows] != ILLEGAL
        actions.append(np.asarray(play(agent_state, states, legal, as_keys(0))))
    return solution.mistakes(np.concatenate(actions)[:count])


@lru_cache(maxsize=2)  # a player with its search and without; jax would keep all agents as static arguments
def _compiled_moves(agent: Agent, game: BoardGame) -> Callable[[PyTree, PyTree, Array, Array], Array]:
    """`moves` of one agent, compiled once for all of its states."""
    return jax.jit(partial(moves, agent, game))
