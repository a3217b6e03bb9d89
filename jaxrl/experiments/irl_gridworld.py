"""Recovers the reward of a Grid World from what an expert does, and learns from the recovered reward.

The expert knows the true reward, the method only the expert. Planning and Q-learning on the recovered reward give
policies, which are rated by the true reward.
"""

import dataclasses
import shutil
import time
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from annotated_types import Interval
from rich.console import Console

from jaxrl import inverse, planning
from jaxrl.arguments import ArgumentError
from jaxrl.cli.command import prepare_jax, screen
from jaxrl.cli.errors import errors_in_one_line
from jaxrl.cli.parse import parse
from jaxrl.envs import make
from jaxrl.envs.grid_world import GridWorld, GridWorldParams
from jaxrl.envs.maps import MAPS
from jaxrl.formatting import format_number, format_rows
from jaxrl.inverse import Trajectories
from jaxrl.plots.picture_errors import errors_as_notes
from jaxrl.plots.recovered_reward import draw_recovered
from jaxrl.random import key_stream
from jaxrl.recipes import reward_recovery
from jaxrl.recipes.reward_recovery import Method
from jaxrl.runs import provenance, run_directory
from jaxrl.runs.options import default_hint
from jaxrl.runs.run_directory import check_record, lock, make_directory, make_out
from jaxrl.types import MDP, Array

NAME = "irl_gridworld"
MODULE = f"jaxrl.experiments.{NAME}"
PICTURE, PAGE, REWARD = "rewards.png", "README.md", "rewards.npz"
EPISODES = 1000
"""Episodes of each evaluation."""


@dataclasses.dataclass(frozen=True)
class Options:
    method: Method = "maxent"
    """maxent (maximum causal entropy), deep (the same for a network), or lp (Ng & Russell's linear program)."""
    map: str = "four_rooms"
    """lecture, cliff, four_rooms, frozen_lake_4x4, frozen_lake_8x8, or your own map, as a file or as text."""
    slip_probability: Annotated[float, Interval(ge=0, le=1)] = 0.1
    """Probability of moving at a right angle to the chosen direction, half of it to each side."""
    discount: Annotated[float, Interval(gt=0, lt=1)] = 0.9
    """The discount γ of the expert and of all that learns."""
    num_demonstrations: Annotated[int, Interval(ge=1, le=1_000_000)] = 100
    """Episodes of the best policy to learn from. lp needs none: it is given the policy itself."""
    dataset: Annotated[Path | None, default_hint("none: the best policy demonstrates", "FILE")] = None
    """Recorded transitions to learn from instead, as `python -m jaxrl.experiments.record` writes them."""
    horizon: Annotated[int, Interval(ge=1, le=10_000)] = 50
    """Steps of an episode."""
    learning_rate: Annotated[float | None, Interval(gt=0, le=100), default_hint("0.1, and 0.003 for deep")] = None
    """Learning rate of Adam."""
    num_steps: Annotated[int, Interval(ge=1, lt=2**31)] = 300
    """Steps of gradient descent."""
    l1_penalty: Annotated[float | None, Interval(ge=0, le=1e9), default_hint("0.75 of what makes the reward zero")] = (
        None
    )
    """λ of lp: the price of each unit of reward in a cell. The reward lies between -1 and 1."""
    rl_steps: Annotated[int, Interval(ge=0, lt=2**31)] = 200_000
    """Steps of Q-learning on the recovered reward; 0 leaves it out."""
    seed: Annotated[int, Interval(ge=0, lt=2**31)] = 0
    """Random seed."""
    out: Annotated[Path | None, default_hint(f"runs/{NAME}/DATE-TIME", "DIR")] = None
    """The directory to write to."""
    record: Annotated[Path | None, default_hint("nowhere", "DIR")] = None
    """Copy the results to this directory, with a page that describes them."""


class Problem(NamedTuple):
    """A Grid World, its tables, and the best policy `[S, A]` for its true reward."""

    env: GridWorld
    params: GridWorldParams
    mdp: MDP
    expert: Array


@errors_in_one_line()
def main() -> None:
    options = parse(Options, __doc__, prog=f"python -m {MODULE}")
    prepare_jax()
    with jax.enable_x64(True):
        run(options, screen())


def run(options: Options, console: Console) -> None:
    """Recovers a reward, learns from it, draws both, and prints a summary.

    Raises:
        ArgumentError: an option cannot be used.
    """
    if options.method == "lp" and options.dataset is not None:
        raise ArgumentError("dataset", "cannot be used with --method lp, which needs the policy", options.dataset)
    check_effective(options)
    check_record(options.record, options.out)
    problem = make_problem(options)
    seen = demonstrate(problem, options)
    directory = make_out(options.out, NAME)
    with lock(directory, "out"):
        others = (run_directory.SUMMARY, run_directory.SWEEP)
        if run_directory.holds_a_run(directory) or any((directory / name).exists() for name in others):
            raise ArgumentError("out", "must be a directory without a run", directory)
        started = time.perf_counter()
        cells = recover(problem, seen, options)
        seconds = time.perf_counter() - started
        policies = learn(problem, cells, options)
        summary = summarize(problem, seen, policies, options, seconds)
        agent, true = policies["planning"], np.ravel(problem.params.reward)
        np.savez(directory / REWARD, true=true, recovered=cells, expert=problem.expert, agent=agent)
        run_directory.write_json(directory / run_directory.SUMMARY, summary)
        with errors_as_notes(directory / PICTURE):
            heading = f"{summary['rules']}, $\\gamma$ = {options.discount:g}; {describe(options, len(seen.states))}"
            pair = (np.asarray(problem.expert), np.asarray(agent))
            values = tuple(np.asarray(planning.policy_evaluation(problem.mdp, jnp.asarray(x))) for x in pair)
            draw_recovered(problem.env, (true, cells), pair, values, heading, directory / PICTURE)
        show(summary, directory, console)
        if options.record is not None:
            record(summary, directory, options.record)


def check_effective(options: Options) -> None:
    """Checks that every option that is given has an effect.

    Raises:
        ArgumentError: one has none.
    """
    of_others = ("learning_rate", "num_steps") if options.method == "lp" else ("l1_penalty",)
    rules = dict.fromkeys(of_others, f"has no effect with --method {options.method}")
    if options.dataset is not None:
        rules["num_demonstrations"] = "has no effect with --dataset"
    for name, rule in rules.items():
        if (value := getattr(options, name)) != getattr(Options, name):
            raise ArgumentError(name, rule, value)


def make_problem(options: Options) -> Problem:
    """The Grid World, and the best policy in it. Ties share the probability."""
    no_cap = 2**31 - 1  # the tables have none
    env: GridWorld = make(
        "GridWorld", map=options.map, slip_probability=options.slip_probability, max_steps_in_episode=no_cap
    )[0]
    params = env.default_params.replace(discount=options.discount)
    mdp = env.mdp(params)
    plan = planning.policy_iteration(mdp)
    # Rounding errors hide some ties.
    best = plan.q_values > plan.values[:, None] - 1e-9 * abs(mdp.reward).max()
    return Problem(env, params, mdp, best / best.sum(1, keepdims=True))


def demonstrate(problem: Problem, options: Options) -> Trajectories:
    """Episodes of the expert, or of a file."""
    if options.dataset is not None:
        return reward_recovery.trajectories_from(str(options.dataset), problem.env, problem.params, options.horizon)
    key = key_stream(options.seed, "recording")
    return inverse.sample_trajectories(problem.mdp, problem.expert, key, options.num_demonstrations, options.horizon)


def recover(problem: Problem, seen: Trajectories, options: Options) -> np.ndarray:
    """The recovered reward for entering each cell, `[S]`."""
    entered = reward_recovery.entered_cells(problem.env, problem.params)
    unknown = problem.mdp._replace(reward=jnp.zeros_like(problem.mdp.reward))
    if options.method == "lp":
        return reward_recovery.simplest_reward(unknown, problem.expert, entered, options.l1_penalty)
    if options.method == "maxent":
        rate = options.learning_rate or 0.1
        return np.asarray(reward_recovery.maxent_reward(unknown, seen, entered, rate, options.num_steps))
    features, key = reward_recovery.cell_features(problem.env), key_stream(options.seed, "initial values")
    rate = options.learning_rate or 0.003
    return np.asarray(
        reward_recovery.deep_reward(unknown, seen, entered, features, key, rate, options.num_steps), np.float64
    )


def learn(problem: Problem, cells: np.ndarray, options: Options) -> dict[str, Array]:
    """The policies `[S, A]` of planning and of Q-learning on the recovered reward `[S]`."""
    env, params = problem.env, problem.params
    rewarded = env.mdp(params.replace(reward=jnp.asarray(cells).reshape(env.grid.wall.shape)))
    policies = {"planning": planning.policy_iteration(rewarded).policy}
    if options.rl_steps:
        key = key_stream(options.seed, "training")
        policies["q_learning"] = reward_recovery.learn_policy(
            env, params, cells, options.discount, key, options.rl_steps
        )
    return policies


def mean_return(mdp: MDP, seen: Trajectories) -> float:
    """The mean of the demonstrations' true rewards, summed and not discounted.

    Each is the expected reward of an action, R(s, a), so that the luck of a step plays no part.
    """
    return float(mdp.reward[seen.states, seen.actions].sum(1).mean())


def summarize(
    problem: Problem, seen: Trajectories, policies: dict[str, Array], options: Options, seconds: float
) -> dict[str, Any]:
    """The contents of `summary.json`. All returns are of the true reward; those called means are undiscounted."""
    mdp, key = problem.mdp, key_stream(options.seed, "evaluation")
    random = jnp.full(mdp.reward.shape, 1 / mdp.reward.shape[1])
    played = inverse.sample_trajectories(mdp, policies["planning"], key, EPISODES, options.horizon)
    optimal = float(planning.expected_return(mdp, problem.expert))
    # Rounding errors are no difference.
    losses = {name: round(optimal - float(planning.expected_return(mdp, x)), 12) for name, x in policies.items()}
    given = {name: value for name, value in dataclasses.asdict(options).items() if name not in ("out", "record")}
    return {
        **given,
        "dataset": None if options.dataset is None else str(options.dataset),
        "num_demonstrations": len(seen.states),
        "env": "GridWorld",
        "rules": describe_map(problem.env, options),
        "expected_value_difference": losses["planning"],
        "expected_value_difference_q_learning": losses.get("q_learning"),
        "optimal_return": optimal,
        "random_return": float(planning.expected_return(mdp, random)),
        "expert_return_mean": mean_return(mdp, seen),
        "eval_return_mean": mean_return(mdp, played),
        "eval_episodes": EPISODES,
        "seconds": round(seconds, 3),
        "device": provenance.device_name(),
    }


def describe_map(env: GridWorld, options: Options) -> str:
    """The map and the slips, in words."""
    height, width = env.grid.wall.shape
    name = env.map.replace("_", " ") if env.map in MAPS else "own map"
    return f"{name}, {height} × {width}, slip probability {options.slip_probability:g}"


def describe(options: Options, number: int) -> str:
    """The method and what it is given."""
    if options.method == "lp":
        return "linear program"
    name = "maximum entropy" if options.method == "maxent" else "deep maximum entropy"
    return f"{name}, {number:,} demonstrations"


def show(summary: dict[str, Any], directory: Path, console: Console) -> None:
    """Prints the results and the files."""
    numbers = {name: format_number(x, 4) for name, x in summary.items() if isinstance(x, float)}
    learned = numbers.get("expected_value_difference_q_learning")
    rows = [
        ("reward recovered in", f"{numbers['seconds']} s"),
        ("expected value difference", f"{numbers['expected_value_difference']} (planning on the recovered reward)"),
        *([("", f"{learned} (Q-learning on it)")] if learned else []),
        (
            "expected discounted return",
            f"{numbers['optimal_return']} (optimal policy), {numbers['random_return']} (random policy)",
        ),
        (
            "rewards of an episode",
            f"{numbers['expert_return_mean']} (expert), {numbers['eval_return_mean']} (planning), as expected from "
            "the actions",
        ),
    ]
    files = (PICTURE, REWARD, run_directory.SUMMARY)
    rows += [(name, str(directory / name)) for name in files if (directory / name).exists()]
    console.print(format_rows(rows), soft_wrap=True, markup=False)


def record(summary: dict[str, Any], run: Path, directory: Path) -> None:
    """Copies the results of a run, and writes their page."""
    make_directory(directory, "record")
    for name in (PICTURE, run_directory.SUMMARY):
        if (run / name).exists():
            shutil.copyfile(run / name, directory / name)
    made = provenance.describe(MODULE)
    versions = ", ".join(f"{name} {version}" for name, version in made["versions"].items())
    learned = summary["expected_value_difference_q_learning"]
    by_learning = (
        "" if learned is None else f"| the same, by {summary['rl_steps']:,} steps of Q-learning | {learned:.4g} |\n"
    )
    (directory / PAGE).write_text(f"""# Inverse reinforcement learning in a Grid World: {summary["method"]}

```
{made["command"]}
```

{summary["rules"]}; γ = {summary["discount"]:g}; {summary["num_demonstrations"]:,} demonstrations of at most
{summary["horizon"]} steps. All returns are of the true reward.

| | |
|---|---|
| expected value difference of planning on the recovered reward | {summary["expected_value_difference"]:.4g} |
{by_learning}| expected discounted return of the optimal policy | {summary["optimal_return"]:.4g} |
| of the random policy | {summary["random_return"]:.4g} |
| mean rewards of the expert's episodes, as expected from its actions | {summary["expert_return_mean"]:.4g} |
| of {summary["eval_episodes"]:,} episodes of planning on it, likewise | {summary["eval_return_mean"]:.4g} |

![true reward, recovered reward and the policies]({PICTURE})

The reward was recovered in {summary["seconds"]:.1f} s, compilation included, on {summary["device"]}.
Run on {made["started"][:10]} at commit {made["commit"] or "none (an installed package)"}, with {versions}.
""")


if __name__ == "__main__":
    main()
