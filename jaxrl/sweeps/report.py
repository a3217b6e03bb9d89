"""Keeping what a sweep found: its results, its pictures, and a page that says how they were made."""

import shutil
from pathlib import Path

import polars as pl

from jaxrl.envs import describe_rules
from jaxrl.formatting import describe_spread
from jaxrl.runs.page import with_epsilon
from jaxrl.sweeps import results
from jaxrl.sweeps.chunks import CURVES, RESULTS
from jaxrl.sweeps.execute import HPARAMS, LEARNING_CURVES, SPEC, Sweep, read_record, retrain


def record(sweep: Sweep, best: pl.DataFrame, destination: Path) -> None:
    """Copies the results of a finished sweep (no agents) into `destination`, and writes its `README.md`."""
    drawn = [name for name in (LEARNING_CURVES, HPARAMS) if (sweep.directory / name).exists()]
    for name in (SPEC, RESULTS, CURVES, *drawn):
        shutil.copyfile(sweep.directory / name, destination / name)
    (destination / "README.md").write_text(page(sweep, best))


def page(sweep: Sweep, best: pl.DataFrame) -> str:
    """The page, in Markdown."""
    made, found = read_record(sweep.directory), pl.read_parquet(sweep.directory / RESULTS)
    spec, first = sweep.spec, sweep.groups[0]
    versions = ", ".join(f"{name} {version}" for name, version in made["versions"].items())
    counts = ", ".join(f"{count:,} {status}" for status, count in sorted(found["status"].value_counts().iter_rows()))
    seconds = found.group_by("group", "chunk").agg(pl.col("seconds").max())["seconds"].to_list()
    speed = sum(found["env_steps"].to_list()) / sum(seconds)
    interval = f" (mean and {describe_spread(spec.seeds)})" if spec.seeds > 1 else ""
    words = {LEARNING_CURVES: "learning curves", HPARAMS: "each hyperparameter against the return"}
    shown = "\n".join(f"![{text}]({name})\n" for name, text in words.items() if (sweep.directory / name).exists())
    agents = [trial for each in sweep.groups for trial in each.trials]
    epsilon = with_epsilon(*(getattr(trial.options.hparams, "epsilon_eval", None) for trial in agents))
    again = f"The best again:\n\n```\n{retrain(sweep, best)}\n```" if best["finished"].sum() else "No agent finished."
    return f"""# {spec.experiment.algorithm} on {spec.options.task.env}: a sweep

```
{made["command"]}
```

```toml
{(sweep.directory / SPEC).read_text(encoding="utf-8-sig").strip()}
```

Rules: {describe_rules(first.env, first.env_params)}.
{sweep.size}, {spec.options.budget.total_steps:,} environment steps each.
Agents: {counts}.
The evaluation return is the mean of {spec.options.budget.eval_episodes} episodes at the end of each
seed{epsilon}{interval}.

{results.markdown_table(best, sweep.swept)}

{again}

{shown}
{sum(seconds) / 60:.1f} minutes of training, {speed:,.0f} environment steps/s of all agents together, on
{made["machine"]["device"]}.
Run on {made["started"][:10]} at commit {made["commit"] or "none (an installed package)"}, with
{versions}.
"""
