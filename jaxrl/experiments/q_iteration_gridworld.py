"""Solves a Grid World by Q iteration, and draws how Q_i converges to Q*."""

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
from jaxrl.arguments import ArgumentError
from jaxrl.cli.command import prepare_jax, screen
from jaxrl.cli.errors import errors_in_one_line
from jaxrl.cli.parse import parse
from jaxrl.envs import make
from jaxrl.envs.grid_world import GridWorld
from jaxrl.envs.maps import MAPS, map_text
from jaxrl.formatting import format_number, format_rows
from jaxrl.plots.q_iteration import CONVERGENCE, ITERATES, POLICIES, VIDEO, Solution, draw_solution
from jaxrl.random import key_stream
from jaxrl.runs import provenance, run_directory
from jaxrl.runs.options import default_hint
from jaxrl.types import MDP, Array

NAME = "q_iteration_gridworld"


@dataclasses.dataclass(frozen=True)
class Options:
    map: str = "lecture"
    """lecture, cliff, four_rooms, frozen_lake_4x4, frozen_lake_8x8, dyna_maze, or your own map, as file or text."""
    discount: Annotated[float, Interval(ge=0, le=1)] = 0.9
    """The discount γ. With γ = 1, the error has no known bound."""
    slip_probability: Annotated[float, Interval(ge=0, le=1)] = 0.0
    """Probability of moving at a right angle to the chosen direction, half of it to each side."""
    tolerance: Annotated[float, Gt(0)] = 1e-5
    """Stop when every entry of Q_i is certain to be this close to Q*."""
    seed: Annotated[int | None, Interval(ge=0, lt=2**31), default_hint("Q_0 is zero")] = None
    """Start from a random Q_0, drawn with this seed."""
    out: Annotated[Path | None, default_hint(f"runs/{NAME}/DATE-TIME", "DIR")] = None
    """The directory to write to."""


@errors_in_one_line()
def main() -> None:
    options = parse(Options, __doc__, prog=f"python -m jaxrl.experiments.{NAME}")
    prepare_jax()
    with jax.enable_x64(True):
        run(options, screen())


def run(options: Options, console: Console) -> None:
    """Solves the Grid World, draws the solution, and prints a summary.

    Raises:
        ArgumentError: an option cannot be used.
    """
    no_cap = 2**31 - 1  # planning ignores it
    env: GridWorld = make(
        "GridWorld", map=options.map, slip_probability=options.slip_probability, max_steps_in_episode=no_cap
    )[0]
    mdp = env.mdp(env.default_params.replace(discount=options.discount))
    random_values = evaluate_random_policy(mdp)
    with run_directory.new_directory(options.out, NAME) as directory:
        solution = solve(mdp, random_values, first_q(env, mdp, options.seed), options.tolerance)
        summary = summarize(options, solution)
        run_directory.write_json(directory / run_directory.SUMMARY, summary)
        draw_solution(env, solution, options.discount, options.tolerance, describe(env, options), directory)
        show(summary, directory, console)


def describe(env: GridWorld, options: Options) -> str:
    """The heading of the pictures."""
    height, width = env.grid.wall.shape
    own = map_text(options.map) == options.map and options.map not in MAPS
    name = "own map" if own else Path(options.map).stem.replace("_", " ")
    name = name.replace("$", r"\$")  # a dollar sign would begin a formula
    slips = f", slip probability {options.slip_probability:g}" if options.slip_probability else ""
    return f"{name}, {height} × {width}{slips}, $\\gamma$ = {options.discount:g}"


def first_q(env: GridWorld, mdp: MDP, seed: int | None) -> Array:
    """`Q_0`, `[S, A]`: zero, or normal numbers at the scale of the rewards, but zero in terminal cells and in walls."""
    if seed is None:
        return jnp.zeros(mdp.reward.shape)
    q = jax.random.normal(key_stream(seed, "initial values"), mdp.reward.shape) * abs(mdp.reward).max()
    return jnp.where(np.ravel(env.grid.terminal | env.grid.wall)[:, None], 0.0, q)


def evaluate_random_policy(mdp: MDP) -> Array:
    """`V^π(s)` of the uniformly random policy, `[S]`.

    Raises:
        ArgumentError: the values are infinite, as they may be without discount.
    """
    values = planning.policy_evaluation(mdp, jnp.full(mdp.reward.shape, 1 / mdp.reward.shape[1]))
    if not np.isfinite(values).all():
        raise ArgumentError(
            "discount", "must be < 1 if some floor leads to no terminal cell", None, f"{mdp.discount:g}"
        )
    return values


def solve(mdp: MDP, random_values: Array, start: Array, tolerance: float) -> Solution:
    """Runs Q iteration from `start`, and computes what to compare it with."""
    planning.q_value_iteration(mdp, tolerance, 1, start)  # compiles
    before = time.perf_counter()
    plan = jax.block_until_ready(planning.q_value_iteration(mdp, tolerance, initial_q=start))
    seconds = time.perf_counter() - before

    def step(q: Array, _: None) -> tuple[Array, Array]:
        q = planning.bellman_backup(mdp, q.max(1))
        return q, q

    iterates = jax.jit(lambda q: jax.lax.scan(step, q, length=int(plan.iterations))[1])(start)
    best = planning.q_value_iteration(mdp, 1e-15, 100_000, plan.q_values).q_values
    return Solution(
        iterates=np.concatenate([start[None], iterates]),
        best=np.asarray(best),
        error_bound=float(plan.error_bound),
        random_values=np.asarray(random_values),
        returns=(float(mdp.initial @ random_values), float(mdp.initial @ best.max(1))),
        seconds=seconds,
    )


def summarize(options: Options, solution: Solution) -> dict[str, Any]:
    """The contents of `summary.json`. An infinite bound is null."""
    return {
        **{name: value for name, value in dataclasses.asdict(options).items() if name != "out"},
        "iterations": len(solution.iterates) - 1,
        "error_bound": solution.error_bound if np.isfinite(solution.error_bound) else None,
        "random_return": solution.returns[0],
        "optimal_return": solution.returns[1],
        "seconds": round(solution.seconds, 6),
        "device": provenance.device_name(),
    }


def show(summary: dict[str, Any], directory: Path, console: Console) -> None:
    """Prints the results and the files."""
    bound = summary["error_bound"]
    optimal, random = (format_number(summary[name], 5) for name in ("optimal_return", "random_return"))
    rows = [
        ("iterations", f"{summary['iterations']} in {format_number(1000 * summary['seconds'])} ms"),
        ("distance to Q*", "has no known bound with γ = 1" if bound is None else f"at most {format_number(bound, 2)}"),
        ("expected discounted return", f"{optimal} (optimal policy), {random} (random policy)"),
    ]
    files = (ITERATES, VIDEO, POLICIES, CONVERGENCE, run_directory.SUMMARY)
    rows += [(name, str(directory / name)) for name in files if (directory / name).exists()]
    console.print(format_rows(rows), soft_wrap=True, markup=False)


if __name__ == "__main__":
    main()
