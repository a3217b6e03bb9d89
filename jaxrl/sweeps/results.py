"""What a sweep finds: frames of its trials and configurations, tables, and the command that trains one again.

The frame of trials has one row for each agent, with the columns of `make_trials` and `chunk`, `status` ("finished",
"diverged" or "failed"), `error`, `eval_return`, `train_return`, `env_steps` (offline `gradient_steps`) and `seconds`,
the time of its chunk. With `keep_best`, also `best_return`, of the agents as they were at their best evaluations while
training, in the same episodes as `eval_return`, and `best_env_steps`, after how many steps that was.
"""

import os
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from jaxrl.formatting import format_mean
from jaxrl.plots.sweep_results import format_value, short_labels
from jaxrl.runs.experiment import Experiment
from jaxrl.runs.options import flatten
from jaxrl.types import Unit

RESULTS, CURVES = "results.parquet", "curves.parquet"


class SweepResult(NamedTuple):
    """What a sweep found.

    Attributes:
        directory: the sweep's; `jaxrl.load(directory, agent)` gives its agents.
        trials: one row for each agent.
        curves: one row for each agent and logged step, with `agent`, `env_steps`, `episode_return` and other metrics;
            offline with `gradient_steps`, and without returns.
        configurations: one row for each configuration, the best first, see `rank_configurations`.
    """

    directory: Path
    trials: pl.DataFrame
    curves: pl.DataFrame
    configurations: pl.DataFrame

    @property
    def problems(self) -> list[str]:
        """The errors of groups that failed, and whether no agent finished."""
        failed = self.trials.filter(status="failed").select("group", "error").unique(maintain_order=True)
        groups = [f"{group}: {error}; see {error_file(self.directory, group)}" for group, error in failed.iter_rows()]
        nothing = [] if self.configurations["finished"].sum() else ["no agent finished"]
        return ([f"groups failed: {'; '.join(groups)}"] if groups else []) + nothing


def error_file(directory: Path, group: int) -> Path:
    """Where the traceback of a group that failed is."""
    return directory / f"group_{group}_error.txt"


def with_outcome(
    trials: pl.DataFrame, unit: Unit, steps: pl.Series | pl.Expr | None = None, **columns: pl.Series | pl.Expr
) -> pl.DataFrame:
    """Trials with what came of them: by default, of agents that never trained. `steps` are counted in a unit."""
    nothing = {
        "status": pl.lit("failed"),
        "error": pl.lit(None, pl.String),
        "eval_return": pl.lit(None, pl.Float64),
        "train_return": pl.lit(None, pl.Float64),
        unit.column: pl.lit(0, pl.Int64) if steps is None else steps,
        "seconds": pl.lit(0.0),
    }
    return trials.with_columns(**(nothing | columns))


def rank_configurations(trials: pl.DataFrame, swept: Sequence[str]) -> pl.DataFrame:
    """One row for each configuration, the best first.

    Configurations are ranked by their mean evaluation return, then by their mean training return, then by their number.
    Those with a seed that diverged or failed come last.

    Args:
        trials: one row for each agent.
        swept: the columns in which configurations differ.

    Returns:
        `configuration`, the swept columns, the number of `seeds` and of those that `finished`, the mean `eval_return`
        of the latter and each of their `eval_returns`, and the mean `train_return` of all seeds that have one.
    """
    finished = pl.col("eval_return").filter(pl.col("status") == "finished")
    return (
        trials.sort("agent")
        .group_by("configuration", maintain_order=True)
        .agg(
            *(pl.col(name).first() for name in swept),
            seeds=pl.len(),
            finished=(pl.col("status") == "finished").sum(),
            eval_return=finished.mean(),
            eval_returns=finished,
            train_return=pl.col("train_return").fill_nan(None).mean(),
        )
        .sort(
            pl.col("finished") < pl.col("seeds"), "eval_return", "train_return", "configuration",
            descending=[False, True, True, False], nulls_last=True,
        )
    )  # fmt: skip


def results_table(configurations: pl.DataFrame, swept: Sequence[str], rows: int = 10) -> pl.DataFrame:
    """The best configurations as text."""
    best = configurations.head(rows)
    labels = dict(zip(swept, short_labels(swept), strict=True))
    return pl.DataFrame(
        {
            "rank": [str(rank + 1) for rank in range(len(best))],
            "configuration": map(str, best["configuration"]),
            **{label: map(format_value, best[name]) for name, label in labels.items()},
            "evaluation return": map(format_mean, best["eval_returns"].to_list()),
            "seeds finished": [f"{row['finished']} of {row['seeds']}" for row in best.iter_rows(named=True)],
            "training return": [format_mean([] if x is None else [x]) for x in best["train_return"]],
        }
    )


def environments_table(configurations: pl.DataFrame, swept: Sequence[str]) -> pl.DataFrame | None:
    """The settings of a grid in every environment as text, those with the best mean rank first.

    Args:
        configurations: as of `rank_configurations`.
        swept: the columns in which they differ.

    Returns:
        One row for each setting of the columns but `env`; None if these are not tried in the same environments.
    """
    settings = [name for name in swept if name != "env"]
    if "env" not in swept or not settings:
        return None
    ranked = configurations.with_columns(rank=pl.int_range(1, pl.len() + 1).over("env"))  # they are in order
    rows = ranked.sort("configuration").group_by(settings, maintain_order=True).agg("env", "eval_returns", "rank")
    envs = sorted(configurations["env"].unique())
    if any(sorted(row) != envs for row in rows["env"].to_list()):
        return None
    rows = rows.with_columns(pl.col("rank").list.mean()).sort("rank", maintain_order=True)
    labels = dict(zip(settings, short_labels(settings), strict=True))
    returns = [dict(zip(*row, strict=True)) for row in rows.select("env", "eval_returns").iter_rows()]
    return pl.DataFrame(
        {
            **{label: map(format_value, rows[name]) for name, label in labels.items()},
            **{env: [format_mean(row[env]) for row in returns] for env in envs},
            "mean rank": [f"{rank:.1f}" for rank in rows["rank"]],
        }
    )


def count_status(trials: pl.DataFrame) -> str:
    """How many agents finished, diverged and failed."""
    return ", ".join(f"{count:,} {status}" for status, count in sorted(trials["status"].value_counts().iter_rows()))


def write_parquet(frame: pl.DataFrame, path: Path) -> None:
    """Writes a Parquet file in one replacement, so that it is never incomplete.

    Raises:
        OSError: it cannot be written; the former file stays.
    """
    draft = path.with_suffix(".tmp")
    frame.write_parquet(draft)
    os.replace(draft, path)


def retrain_command(experiment: Experiment, values: dict[str, Any]) -> str:
    """The shell command that trains an experiment with other values of some options.

    Args:
        experiment: what to train.
        values: by path, in JSON's types as from `flatten`. Those that equal the defaults are left out.

    Raises:
        KeyError: the experiment has no such option.
    """
    defaults = flatten(experiment.defaults)
    words = ["python", "-m", experiment.module]
    for path, value in values.items():
        *records, field = path.replace("_", "-").split(".")
        default = defaults[path]
        if isinstance(default, bool):  # one flag inverts the default
            words += ["--" + ".".join([*records, f"no-{field}" if default else field])] * (value != default)
        elif value != default:
            words += [
                "--" + ".".join([*records, field]),
                *map(str, value if isinstance(value, list | tuple) else [value]),
            ]
    return shlex.join(words)
