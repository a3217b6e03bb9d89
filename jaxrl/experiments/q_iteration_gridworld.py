"""Solves a Grid World by Q iteration, and shows how Q_i becomes Q*."""

import dataclasses
import time
from pathlib import Path
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np
from annotated_types import Gt, Interval
from rich.console import Console

from jaxrl import planning
from jaxrl.arguments import ArgumentError, check
from jaxrl.cli.command import prepare_jax, screen
from jaxrl.cli.errors import errors_in_one_line
from jaxrl.cli.parse import parse
from jaxrl.envs import make
from jaxrl.envs.grid_world import GridWorld
from jaxrl.envs.maps import MAPS, map_text
from jaxrl.plots.errors import errors_as_notes
from jaxrl.plots.q_iteration import (
    CONVERGENCE,
    ITERATES,
    POLICIES,
    VIDEO,
    Solution,
    draw_convergence,
    draw_iterates,
    draw_policies,
)
from jaxrl.random import key_stream
from jaxrl.runs import provenance, run_directory
from jaxrl.runs.options import default_hint
from jaxrl.runs.run_directory import lock, make_out
from jaxrl.runs.train import show_rows
from jaxrl.types import MDP, Array

NAME = "q_iteration_gridworld"


@dataclasses.dataclass(frozen=True)
class Options:
    map: str = "lecture"
    """lecture, cliff, four_rooms, frozen_lake_4x4, frozen_lake_8x8, or your own map: a file, or its text."""
    discount: Annotated[float, Interval(ge=0, le=1)] = 0.9
    """γ. With 1, no bound on the error is known."""
    slip_probability: Annotated[float, Interval(ge=0, le=1)] = 0.0
    """Probability that a move goes across the chosen direction, half of it to either side."""
    tolerance: Annotated[float, Gt(0)] = 1e-5
    """Stop once no entry of Q_i can be further than this from Q*."""
    seed: Annotated[int | None, Interval(ge=0, lt=2**31), default_hint("from zero")] = None
    """Start from a random Q_0, drawn with this seed."""
    out: Annotated[Path | None, default_hint(f"runs/{NAME}/DATE-TIME", "DIR")] = None
    """Where to write."""


@errors_in_one_line()
def main() -> None:
    options = parse(Options, __doc__, prog=f"python -m jaxrl.experiments.{NAME}")
    prepare_jax()
    with jax.enable_x64(True):
        run(options, screen())


def run(options: Options, console: Console) -> None:
    """Solves, draws, and says where it lies.

    Raises:
        ArgumentError: an option cannot be used.
    """
    check(options)
    env = make_env(options)
    if options.out is not None:
        check_free(options.out)
    mdp = env.mdp(env.default_params.replace(discount=options.discount))
    random_values = values_at_random(mdp)
    directory = make_out(options.out, NAME)
    with lock(directory, "out"):
        check_free(directory)
        solution = solve(mdp, random_values, first_q(env, mdp, options.seed), options)
        heading = describe(env, options)
        summary = summarize(options, solution)
        run_directory.write_json(directory / run_directory.SUMMARY, summary)
        draw_iterates(env, solution, heading, directory)
        with errors_as_notes(directory / POLICIES):
            draw_policies(env, solution, heading, directory / POLICIES)
        with errors_as_notes(directory / CONVERGENCE):
            draw_convergence(solution, options.discount, options.tolerance, heading, directory / CONVERGENCE)
        show(summary, directory, console)


def check_free(directory: Path) -> None:
    """Checks that nothing of another command is there.

    Raises:
        ArgumentError: something is.
    """
    others = (run_directory.SUMMARY, run_directory.SWEEP)
    if run_directory.holds_a_run(directory) or any((directory / name).exists() for name in others):
        raise ArgumentError("out", "must be a directory without a run", directory)


def make_env(options: Options) -> GridWorld:
    """The environment of a named map, a file or a text.

    Raises:
        ArgumentError: there is no such map, or it cannot be used.
    """
    no_cap = 2**31 - 1  # planning knows none
    slip = options.slip_probability
    return make("GridWorld", map=options.map, slip_probability=slip, max_steps_in_episode=no_cap)[0]


def describe(env: GridWorld, options: Options) -> str:
    height, width = env.grid.wall.shape
    own = map_text(options.map) == options.map and options.map not in MAPS
    name = "own map" if own else Path(options.map).stem.replace("_", " ")
    name = name.replace("$", r"\$")  # formulas stand between such
    slips = f", slip probability {options.slip_probability:g}" if options.slip_probability else ""
    return f"{name}, {height} × {width}{slips}, $\\gamma$ = {options.discount:g}"


def first_q(env: GridWorld, mdp: MDP, seed: int | None) -> Array:
    """`Q_0`, `[S, A]`: zero, or normal numbers as large as the rewards; zero where an episode is over, and in walls."""
    if seed is None:
        return jnp.zeros(mdp.reward.shape)
    q = jax.random.normal(key_stream(seed, "initial values"), mdp.reward.shape) * abs(mdp.reward).max()
    return jnp.where(np.ravel(env.grid.terminal | env.grid.wall)[:, None], 0.0, q)


def values_at_random(mdp: MDP) -> Array:
    """`V^π(s)` of the policy that takes all actions with the same probability, `[S]`.

    Raises:
        ArgumentError: without discount, values are infinite.
    """
    policy = jnp.full(mdp.reward.shape, 1 / mdp.reward.shape[1])
    values = planning.policy_evaluation(mdp, policy)
    if not np.isfinite(values).all():
        raise ArgumentError(
            "discount", "must be < 1 if some floor leads to no terminal cell", mdp.discount, got=f"{mdp.discount:g}"
        )
    return values


def solve(mdp: MDP, random_values: Array, start: Array, options: Options) -> Solution:
    """Q iteration and what to compare it with."""
    planning.q_value_iteration(mdp, options.tolerance, 1, start)  # compiles
    before = time.perf_counter()
    plan = jax.block_until_ready(planning.q_value_iteration(mdp, options.tolerance, initial_q=start))
    seconds = time.perf_counter() - before

    def step(q: Array, _: None) -> tuple[Array, Array]:
        q = planning.bellman_backup(mdp, q.max(1))
        return q, q

    iterates = jax.jit(lambda q: jax.lax.scan(step, q, length=int(plan.iterations))[1])(start)
    best = planning.q_value_iteration(mdp, 1e-15, 100_000, plan.q_values).q_values
    returns = [(mdp.initial * values).sum() for values in (random_values, best.max(1))]
    return Solution(
        iterates=np.concatenate([start[None], iterates]),
        best=np.asarray(best),
        error_bound=float(plan.error_bound),
        random_values=np.asarray(random_values),
        returns=(float(returns[0]), float(returns[1])),
        seconds=seconds,
    )


def summarize(options: Options, solution: Solution) -> dict[str, Any]:
    """What `summary.json` says; a bound or a return that is not finite is null."""
    return {
        "map": options.map,
        "discount": options.discount,
        "slip_probability": options.slip_probability,
        "tolerance": options.tolerance,
        "seed": options.seed,
        "iterations": len(solution.iterates) - 1,
        "error_bound": solution.error_bound if np.isfinite(solution.error_bound) else None,
        "random_return": solution.returns[0],
        "optimal_return": solution.returns[1],
        "seconds": round(solution.seconds, 6),
        "device": provenance.device_name(),
    }


def show(summary: dict[str, Any], directory: Path, console: Console) -> None:
    """What came out, and where it lies."""
    bound = summary["error_bound"]
    reached = "nothing is known of with γ = 1" if bound is None else f"at most {bound:.2g}"
    returns = f"{summary['optimal_return']:.5g}, and {summary['random_return']:.5g} at random"
    rows = [
        ("iterations", f"{summary['iterations']} in {1000 * summary['seconds']:.3g} ms"),
        ("distance to Q*", reached),
        ("expected discounted return", returns),
    ]
    files = (ITERATES, VIDEO, POLICIES, CONVERGENCE, run_directory.SUMMARY)
    show_rows([*rows, *((name, str(directory / name)) for name in files if (directory / name).exists())], console)


if __name__ == "__main__":
    main()
