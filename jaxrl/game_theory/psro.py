"""Policy-space response oracles (Lanctot et al. 2017, https://arxiv.org/abs/1711.00832), with exact best responses.

Each player has a growing set of policies. An iteration solves the matrix game between them, and adds the best response
to the other's equilibrium mixture, as in the double oracle algorithm (McMahan et al. 2003).
"""

from functools import cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxrl.game_theory.sequence_form import Game, behaviour, best_response, plan, uniform_policy
from jaxrl.game_theory.solver import Solver
from jaxrl.types import Array


class PSROState(NamedTuple):
    """The players' policies.

    Attributes:
        plans: of both players, `[K, S]`; those that are not there yet are zeros.
        payoffs: what the first player wins with each of its policies against each of the second's, `[K, K]`.
        weights: the equilibrium mixture of the policies that are there, `[2, K]`.
        response: the last best responses `[I, A]`.
        size: the policies of each player, int32.
    """

    plans: tuple[Array, Array]
    payoffs: Array
    weights: Array
    response: Array
    size: Array


def matrix_equilibrium(payoffs: Array, present: Array, iterations: int = 1000) -> Array:
    """An equilibrium of a matrix game by regret matching+, its error falling as about 1 / iterations.

    Args:
        payoffs: of the first player, `[R, C]` with R = C.
        present: which rows, and columns, exist, bool `[R]`.
        iterations: of regret matching.

    Returns:
        The mixtures of both players, `[2, R]`, which are 0 where nothing exists.
    """
    uniform = present / present.sum()
    payoffs = jnp.where(present[:, None] & present, payoffs, 0)

    def mixture(regrets: Array) -> Array:
        total = regrets.sum()
        return jnp.where(total > 0, regrets / jnp.where(total > 0, total, 1), uniform)

    def body(carry: tuple[Array, Array], t: Array) -> tuple[tuple[Array, Array], None]:
        regrets, sums = carry
        mixtures = [mixture(regrets[0]), mixture(regrets[1])]
        for player in (0, 1):  # the second one answers the first one's new mixture
            sums = sums.at[player].add((t + 1) * mixtures[player])
            values = payoffs @ mixtures[1] if player == 0 else -mixtures[0] @ payoffs
            gained = jnp.where(present, values - values @ mixtures[player], 0)
            regrets = regrets.at[player].set(jnp.maximum(regrets[player] + gained, 0))
            mixtures[player] = mixture(regrets[player])
        return (regrets, sums), None

    nothing = jnp.zeros((2, len(present)), payoffs.dtype)
    (_, sums), _ = jax.lax.scan(body, (nothing, nothing), jnp.arange(iterations, dtype=payoffs.dtype))
    return sums / sums.sum(-1, keepdims=True)


def expected_payoffs(game: Game, first: Array, second: Array) -> Array:
    """What the first player wins with plans `[M, S]` against plans `[N, S]`, `[M, N]`."""
    side = game.sides[0]
    leaves = jax.vmap(lambda x: (jnp.asarray(side.payoff, x.dtype) * x[side.opponent]).sum(-1))(second)
    return first @ leaves.T


def _init(capacity: int, game: Game) -> PSROState:
    policy = uniform_policy(game)
    own = [plan(game, policy, i) for i in (0, 1)]
    first, second = (jnp.zeros((capacity, len(x)), x.dtype).at[0].set(x) for x in own)
    payoffs = jnp.zeros((capacity, capacity), policy.dtype)
    payoffs = payoffs.at[0, 0].set(expected_payoffs(game, first[:1], second[:1])[0, 0])
    weights = jnp.zeros((2, capacity), policy.dtype).at[:, 0].set(1)
    return PSROState((first, second), payoffs, weights, policy, jnp.int32(1))


def _step(iterations: int, game: Game, state: PSROState, t: Array, hparams: Any) -> PSROState:
    """Where all places are taken, no policy is added: JAX leaves out what it cannot write."""
    del t, hparams
    new, capacity = state.size, len(state.payoffs)
    response, _ = best_response(game, _average(game, state))
    own = [plan(game, response, i) for i in (0, 1)]
    first, second = (x.at[new].set(y) for x, y in zip(state.plans, own, strict=True))
    payoffs = state.payoffs.at[new].set(expected_payoffs(game, own[0][None], second)[0])
    payoffs = payoffs.at[:, new].set(expected_payoffs(game, first, own[1][None])[:, 0])
    size = jnp.minimum(new + 1, capacity)
    weights = matrix_equilibrium(payoffs, jnp.arange(capacity) < size, iterations)
    return PSROState((first, second), payoffs, weights, response, size)


def _average(game: Game, state: PSROState) -> Array:
    """The equilibrium mixture of the policies, as one policy."""
    first, second = (weights @ x for weights, x in zip(state.weights, state.plans, strict=True))
    return behaviour(game, (first, second))


def _last(game: Game, state: PSROState) -> Array:
    del game
    return state.response


@cache
def psro(capacity: int = 256, iterations: int = 1000) -> Solver:
    """PSRO from the uniform policy.

    Args:
        capacity: the most policies of a player, including the uniform one. Then nothing changes any more.
        iterations: of regret matching+ in the matrix game between them.
    """
    return Solver(partial(_init, capacity), partial(_step, iterations), _average, _last)
