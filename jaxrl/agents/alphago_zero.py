"""AlphaGo Zero (Silver et al. 2017, https://doi.org/10.1038/nature24270): self-play without experts, behind a gate.

Search, network and loss are those of `jaxrl.alphazero`, with PUCT and the outcomes of games as what the value learns
(λ = 1). But the games are always those of the best player so far. A network that learned from them takes its place only
after winning at least 55 % of a match against it. AlphaZero does without this gate.
"""

import dataclasses
from functools import partial
from typing import Annotated, Generic, NamedTuple

import jax
import jax.numpy as jnp
from annotated_types import Gt, Interval

from jaxrl.agents.wrapping import around
from jaxrl.arguments import check_config, check_kind
from jaxrl.games import BoardGame, play_match, random_openings
from jaxrl.types import Agent, Array, Hparams, Mean, Metrics, PyTree, Sample, StateT, Trainer, TrainState

GATE = 2**32 - 1
"""The stream of the gate's keys. Those of iterations have smaller numbers."""


@dataclasses.dataclass(frozen=True)
class GateConfig:
    """The matches between the network that learns and the best player, static."""

    gate_every: Annotated[int, Gt(0)] = 10
    """Iterations between two matches."""
    gate_games: Annotated[int, Interval(ge=2, lt=2**31)] = 128
    """Games of a match, rounded up to an even number: each opening is played with both colours."""
    gate_opening_moves: Annotated[int, Interval(ge=0, le=1000)] = 2
    """Random moves before each game of a match."""
    gate_threshold: Annotated[float, Interval(gt=0, le=1)] = 0.55
    """The share of a match's wins that the network needs to replace the best player. Draws do not count."""


class GatedState(NamedTuple, Generic[StateT]):
    """Two states of one agent.

    Attributes:
        best: of the best player so far, who plays.
        learner: of the one that learns.
    """

    best: StateT
    learner: StateT


def gated(agent: Agent[StateT]) -> Agent[GatedState[StateT]]:
    """The same agent, which acts with the best parameters so far. Only `gate` changes who that is."""

    def init(key: Array, hparams: Hparams, observation: PyTree) -> GatedState:
        state = agent.init(key, hparams, observation)
        return GatedState(state, state)

    def update(state: GatedState, batch: Sample, *rest: PyTree) -> tuple[GatedState, Metrics, PyTree]:
        learned, metrics, errors = agent.update(state.learner, batch, *rest)
        return state._replace(learner=learned), metrics, errors

    return around(agent, lambda state: state.best, init=init, update=update)


def gate(
    trainer: Trainer[GatedState[StateT]], agent: Agent[StateT], game: BoardGame, config: GateConfig | None = None
) -> Trainer[GatedState[StateT]]:
    """A trainer of `gated(agent)` with a match after every `gate_every` iterations.

        trainer = gate(jaxrl.off_policy(gated(agent), env, env_params, sizes), agent, env.game)

    Its metrics are also `gate_win_rate`, the share of wins among the match's games with a winner, and `promoted`, the
    share of matches after which the best player was replaced. The games of matches do not count as steps.

    Args:
        trainer: of `gated(agent)`.
        agent: an agent without memory, whose `policy` plays the matches.
        game: the rules.
        config: the matches.

    Raises:
        ArgumentError: an argument is of the wrong kind or out of bounds.
    """
    check_kind("game", game, BoardGame)
    config = check_config(config or GateConfig(), GateConfig)
    pairs = -(-config.gate_games // 2)

    def play(state: GatedState, key: Array) -> Array:
        openings_key, match_key = jax.random.split(key)
        openings = random_openings(game, openings_key, pairs, config.gate_opening_moves)
        learner, best = partial(agent.policy, state.learner), partial(agent.policy, state.best)
        return play_match(game, learner, best, match_key, openings).counts.sum(0)

    def step(state: TrainState, constants: PyTree = ()) -> tuple[TrainState, Metrics]:
        state, metrics = trainer.step(state, constants)
        due = state.iteration % config.gate_every == 0
        key = jax.random.fold_in(jax.random.fold_in(state.key, jnp.uint32(GATE)), state.iteration)
        counts = jax.lax.cond(due, play, lambda *_: jnp.zeros(3, jnp.int32), state.agent, key)
        passed = passes(counts, config.gate_threshold)
        best = jax.tree.map(lambda new, old: jnp.where(passed, new, old), state.agent.learner, state.agent.best)
        won, decided = counts[0].astype(jnp.float32), counts[0] + counts[2]
        metrics |= {
            "gate_win_rate": Mean(won, decided),
            "promoted": Mean(passed.astype(jnp.float32), due.astype(jnp.int32)),
        }
        return state._replace(agent=state.agent._replace(best=best)), metrics

    return trainer._replace(step=step)


def passes(counts: Array, threshold: float) -> Array:
    """Whether at least a share `threshold` of the games with a winner are wins, of wins, draws and losses `[3]`."""
    wins, _, losses = counts
    return (wins > 0) & (wins >= threshold * (wins + losses))
