"""Counterfactual regret minimisation (Zinkevich et al. 2007, https://papers.nips.cc/paper/3306) and CFR+.

Each information set plays in proportion to the regrets that are positive: how much more an action would have won so far
than what was played, weighted by the probability that the others reach the set. The average policy approaches an
equilibrium, NashConv as O(1/√t). CFR+ (Tammelin 2014, https://arxiv.org/abs/1407.5042) keeps no negative regrets and
weights iteration t by t.
"""

from functools import cache, partial
from typing import Any, NamedTuple

import jax.numpy as jnp

from jaxrl.game_theory.sequence_form import Game, behaviour, normalised, plan, sequence_values, uniform_policy
from jaxrl.game_theory.solver import Solver
from jaxrl.types import Array


class CFRState(NamedTuple):
    """Regrets `[I, A]`, the policy that they give `[I, A]`, and the weighted sums of both players' plans `[S]`."""

    regrets: Array
    policy: Array
    plans: tuple[Array, Array]


def _init(game: Game) -> CFRState:
    policy = uniform_policy(game)
    plans = jnp.zeros_like(plan(game, policy, 0)), jnp.zeros_like(plan(game, policy, 1))
    return CFRState(jnp.zeros_like(policy), policy, plans)


def _step(plus: bool, game: Game, state: CFRState, t: Array, hparams: Any) -> CFRState:
    """The players take turns: the second one sees what the first one has learned."""
    del hparams
    regrets, policy, plans = state.regrets, state.policy, list(state.plans)
    weight = t + 1 if plus else jnp.ones_like(t)
    for player in (0, 1):
        rows, legal = game.rows(player), jnp.asarray(game.legal)
        q, _ = sequence_values(game, plan(game, policy, 1 - player), player, policy)
        plans[player] = plans[player] + weight * plan(game, policy, player)
        regret = q - (policy[rows] * q).sum(-1, keepdims=True)
        new = regrets[rows] + jnp.where(legal[rows], regret, 0)
        regrets = regrets.at[rows].set(jnp.maximum(new, 0) if plus else new)
        policy = normalised(game, jnp.maximum(regrets, 0))
    return CFRState(regrets, policy, (plans[0], plans[1]))


def _average(game: Game, state: CFRState) -> Array:
    return behaviour(game, state.plans)


def _last(game: Game, state: CFRState) -> Array:
    del game
    return state.policy


@cache
def cfr() -> Solver:
    """Counterfactual regret minimisation, with alternating updates."""
    return Solver(_init, partial(_step, False), _average, _last)


@cache
def cfr_plus() -> Solver:
    """CFR+, with alternating updates."""
    return Solver(_init, partial(_step, True), _average, _last)
