"""What a finished sweep shows: its pictures, its best configurations, and a page that says how they were made."""

import shutil
from pathlib import Path
from typing import Any

import polars as pl
from rich.console import Console

from jaxrl.arguments import ArgumentError
from jaxrl.envs import observation_of
from jaxrl.formatting import describe_spread, format_count, markdown_table, screen_table
from jaxrl.plots.picture_errors import errors_as_notes
from jaxrl.plots.sweep_results import draw_curves, draw_hparams
from jaxrl.runs import provenance, run_directory
from jaxrl.runs.options import flatten
from jaxrl.runs.run_record import with_epsilon
from jaxrl.runs.task import make_env
from jaxrl.sweeps import results
from jaxrl.sweeps.results import SweepResult
from jaxrl.sweeps.spec import SweepSpec
from jaxrl.sweeps.trials import swept_columns
from jaxrl.training.measure import measures_returns
from jaxrl.types import unit_of

SPEC = "sweep.toml"
PICTURES = {"learning_curves.png": "learning curves", "hyperparameters.png": "each swept field against the return"}


def read_record(directory: Path) -> dict[str, Any]:
    """What `sweep.json` says.

    Raises:
        ArgumentError: it is missing, or is something else.
    """
    path = directory / run_directory.SWEEP
    try:
        record = run_directory.read_json(path)
    except (OSError, ValueError) as error:
        raise ArgumentError("directory", f"must hold a sweep: {path} cannot be read ({error})", got="") from error
    if not {"spec", "plan", "processes"} <= record.keys():
        raise ArgumentError("directory", f"must hold a sweep: {path} is not the record of one", got="")
    return record


def title(spec: SweepSpec) -> str:
    """The algorithm and the environments of a sweep."""
    envs = spec.fields["env"]
    return f"{spec.experiment.algorithm} on {envs if isinstance(envs, str) else ', '.join(envs['values'])}"


def size(spec: SweepSpec) -> str:
    """How many agents a sweep has, in words."""
    return format_count(len(spec.draws), "configuration") + (
        f" × {spec.seeds} seeds" if spec.seeds > 1 else ", one seed each"
    )


def report(result: SweepResult, console: Console) -> None:
    """Draws the pictures of a sweep, and prints its best configurations and where everything is."""
    record, directory = read_record(result.directory), result.directory
    spec = SweepSpec(**record["spec"])
    swept, head = swept_columns(spec), (title(spec), f"{record['rules']}; {size(spec)}")
    curves, hparams = (directory / name for name in PICTURES)
    if spec.has_one_task:
        with errors_as_notes(curves):
            draw_curves(result.trials, shown_curves(spec, result.curves), result.configurations, *head, curves)
    if spec.has_one_task and swept:
        logs = [path for path, table in spec.swept.items() if table["distribution"] == "log_uniform"]
        with errors_as_notes(hparams):
            draw_hparams(result.trials, swept, logs, *head, hparams)
    console.print(screen_table(table(spec, result), narrow=True))
    if spec.seeds > 1:
        console.print(f"evaluation return: mean and {describe_spread(spec.seeds)}")
    console.print(f"agents: {results.count_status(result.trials)}")
    for name in (results.RESULTS, results.CURVES, *PICTURES):
        if (directory / name).exists():
            console.print(f"{name.split('.')[0].replace('_', ' ')}: {directory / name}", soft_wrap=True)
    if result.configurations["finished"].sum() and spec.has_one_task:
        console.print("train the best configuration again with")
        console.print(f"  {retrain_best(spec, result)}", soft_wrap=True)


def shown_curves(spec: SweepSpec, curves: pl.DataFrame) -> pl.DataFrame:
    """The curves, without the training returns where one agent moves for both players: they say nothing."""
    env, _ = make_env(spec.options.task)
    return curves if measures_returns(env) else curves.drop("episode_return", strict=False)


def table(spec: SweepSpec, result: SweepResult) -> pl.DataFrame:
    """As text, the best configurations; with several environments, the settings of a grid, or all configurations."""
    swept = swept_columns(spec)
    if spec.has_one_task:
        return results.results_table(result.configurations, swept)
    if (settings := results.environments_table(result.configurations, swept)) is not None:
        return settings
    every = result.configurations.sort("configuration")
    return results.results_table(every, swept, len(every)).drop("rank")


def retrain_best(spec: SweepSpec, result: SweepResult) -> str:
    """The command that trains the best configuration again, with the same seeds."""
    options = spec.configuration(result.configurations["configuration"][0], num_seeds=spec.seeds)
    env, env_params = make_env(options.task)
    observation = observation_of(env, env_params)
    ignored = spec.experiment.ignored(options, observation)  # the command would refuse these
    return results.retrain_command(
        spec.experiment, {path: x for path, x in flatten(options).items() if path not in ignored}
    )


def record_sweep(result: SweepResult, destination: Path) -> None:
    """Copies the results of a finished sweep (no agents) into `destination`, and writes its `README.md`."""
    for name in (SPEC, results.RESULTS, results.CURVES, *PICTURES):
        if (result.directory / name).exists():
            shutil.copyfile(result.directory / name, destination / name)
    (destination / "README.md").write_text(page(result))


def page(result: SweepResult) -> str:
    """The page of a sweep, in Markdown."""
    record, trials = read_record(result.directory), result.trials
    spec = SweepSpec(**record["spec"])
    seconds = sum(trials.unique(("group", "chunk"))["seconds"].to_list())
    unit = unit_of(trials.columns)
    speed = sum(trials[unit.column].to_list()) / seconds if seconds else 0.0  # all groups may have failed
    interval = f" (mean and {describe_spread(spec.seeds)})" if spec.seeds > 1 else ""
    drawn = [name for name in PICTURES if (result.directory / name).exists()]
    after = [f"![{PICTURES[name]}]({name})" for name in drawn]
    if not result.configurations["finished"].sum():
        after.insert(0, "No agent finished.")
    elif spec.has_one_task:
        after.insert(0, f"The best configuration again:\n\n```\n{retrain_best(spec, result)}\n```")
    text = "".join(f"{part}\n\n" for part in after)
    return f"""# {title(spec)}: a sweep

```
{record["command"]}
```

```toml
{(result.directory / SPEC).read_text().strip()}
```

Rules: {record["rules"]}.
{size(spec)}, {max(trials[unit.column].to_list(), default=0):,} {unit.words} each.
Agents: {results.count_status(trials)}.
The evaluation return is the mean of {spec.options.budget.eval_episodes} episodes at the end of each
seed{epsilons(trials)}{interval}.

{markdown_table(table(spec, result))}

{text}{seconds / 60:.1f} minutes of training, {speed:,.0f} {unit.words}/s of all agents together, on
{made_on(record)}
"""


def epsilons(trials: pl.DataFrame) -> str:
    """The ε of evaluated policies, for a page."""
    column = "hparams.epsilon_eval"
    return with_epsilon(*trials[column].unique()) if column in trials.columns else ""


def made_on(record: dict[str, Any]) -> str:
    """The device, the date, the commit and the versions of a sweep, for its page."""
    return f"{record['machine']['device']}.\nRun {provenance.made(record)}."
