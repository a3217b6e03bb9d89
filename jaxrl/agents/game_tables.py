"""What all agents for games with exact answers share: policies as tables, and how they are measured."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxrl import game_theory
from jaxrl.arguments import check_kind
from jaxrl.distributions import Categorical
from jaxrl.game_theory import Game, Solver
from jaxrl.game_theory.solver import iterate
from jaxrl.types import Agent, Array, Decision, Input, Mean, Metrics, PyTree
from jaxrl.xla.threefry import inline

Table = Callable[[Any], Array]
"""`(state) -> policy [I, A]`."""


def log_of(policy: Array) -> Array:
    """The logits of probabilities, which are finite: an illegal action is improbable beyond float32."""
    return jnp.log(jnp.maximum(policy, 1e-30))


def table_agent(init: Callable, update: Callable, average: Table, last: Table, **parts: Any) -> Agent:
    """An agent whose policies are tables of all information sets.

    In training it acts with its last policy, in evaluation with the average one. Both draw their actions, since a
    player that always does the most probable can be read.

    Args:
        init, update: as in `Agent`.
        average: what it has learned.
        last: the policy of its last iteration.
        parts: other fields of `Agent`.
    """

    def draw(policy: Array, given: Input, key: Array) -> Decision:
        return Decision(jax.random.categorical(inline(key), log_of(policy)[given.observation]).astype(jnp.int32))

    def act(state: PyTree, given: Input, key: Array, env_steps: Array) -> Decision:
        del env_steps
        return draw(last(state), given, key)

    def policy(state: PyTree, given: Input, key: Array) -> Decision:
        return draw(average(state), given, key)

    def outputs(state: PyTree, observations: Array) -> Categorical:
        return Categorical(log_of(average(state))[observations])

    return Agent(**{"init": init, "act": act, "policy": policy, "update": update, "outputs": outputs} | parts)


def measure(game: Game, **policies: Array) -> Metrics:
    """NashConv of policies `[I, A]` by the names of their metrics."""
    return {name: Mean.of(game_theory.nash_conv(game, policy)) for name, policy in policies.items()}


class SolverState(NamedTuple):
    """The state of a solver, its iterations so far, float32, and its hyperparameters."""

    solver: PyTree
    iterations: Array
    hparams: Any


def game_solver(solver: Solver, game: Game, iterations: int = 1) -> Agent:
    """A solver as an agent that needs no data.

    Args:
        solver: from `jaxrl.game_theory`, such as `cfr_plus()`.
        game: which.
        iterations: of the solver in one update. `from_rules` should count as many.

    Returns:
        An agent for `jaxrl.from_rules`, with the solver's hyperparameters. Its metrics are `nash_conv` of the average
        policy and `nash_conv_last` of the last one, after the update.

    Raises:
        ArgumentError: an argument is of the wrong kind.
    """
    check_kind("solver", solver, Solver)
    check_kind("game", game, Game, ", as from jaxrl.game_theory.make_game")

    def init(key: Array, hparams: Any, observation: PyTree) -> SolverState:
        del key, observation
        return SolverState(solver.init(game), jnp.float32(0), hparams)

    def update(state: SolverState, batch: PyTree, key: Array, env_steps: Array, constants: PyTree = ()) -> Any:
        del batch, key, env_steps, constants  # its own count decides, whatever the trainer counts
        found = iterate(solver, game, state.solver, state.iterations, iterations, state.hparams)
        state = SolverState(found, state.iterations + iterations, state.hparams)
        return state, measure(game, nash_conv=average(state), nash_conv_last=last(state)), ()

    def average(state: SolverState) -> Array:
        return solver.average(game, state.solver)

    def last(state: SolverState) -> Array:
        return solver.last(game, state.solver)

    return table_agent(init, update, average, last)
