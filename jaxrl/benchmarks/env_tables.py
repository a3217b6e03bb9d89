"""The tables, the picture and the page of `benchmark envs`."""

from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from jaxrl.benchmarks.pages import Rows
from jaxrl.formatting import format_si, markdown_table
from jaxrl.plots.figures import new_panels

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PICTURE = "steps_per_second.png"
LOOKS = {
    ("jaxrl", "none"): ("tab:cyan", "jaxrl, none: no observation"),
    ("jaxrl", "packed"): ("tab:blue", "jaxrl, packed: bits, stored as in a replay buffer"),
    ("jaxrl", "full"): ("navy", "jaxrl, full: all observations, written"),
    ("gymnax", "full"): ("tab:orange", "gymnax"),
    ("pgx", "full"): ("tab:red", "pgx"),
}
"""Colours and names of the libraries and their observations."""

TEXT = """# Steps per second of the environments

![steps per second]({picture})

Steps per second of N environments under a random policy: the median of {repeats} runs of a compiled loop. The loops of
one environment and one N take turns. Environments reset themselves. jaxrl's observations are

- `full`: written to memory each step;
- `packed`: stored as bits in a ring of the newest steps, as in a replay buffer;
- `none`: not computed.

gymnax and pgx write full observations to memory each step. In each row, jaxrl plays by the rules of that row's
baseline; the number in brackets is jaxrl's speed divided by the baseline's, and `*` marks the faster baseline of an N.
Compile times are in seconds, without any cache: the slowest of jaxrl's loops, and the baseline's.

{tables}"""


def tabulate(rows: Rows) -> pl.DataFrame:
    """One line for each N and rules, from the rows of one environment."""
    lines = []
    for num_envs, rules in dict.fromkeys((row["num_envs"], row["rules"]) for row in rows):
        here = [row for row in rows if row["num_envs"] == num_envs]
        baselines = [row for row in here if row["library"] != "jaxrl"]
        ours = [row for row in here if row["rules"] == rules and row["library"] == "jaxrl"]
        baseline = next((row for row in baselines if row["rules"] == rules), None)
        compiling = f"{max(row['compile_seconds'] for row in ours):.1f}"
        speeds = [format_si(row["steps_per_second"]) for row in ours]
        theirs = "–"
        if baseline is not None:
            ratios = [row["steps_per_second"] / baseline["steps_per_second"] for row in ours]
            speeds = [f"{speed} ({ratio:.1f}×)" for speed, ratio in zip(speeds, ratios, strict=True)]
            fastest = baseline is max(baselines, key=lambda row: row["steps_per_second"])
            theirs = f"{baseline['library']} {format_si(baseline['steps_per_second'])}" + " *" * fastest
            compiling += f", {baseline['compile_seconds']:.1f}"
        lines.append([f"{num_envs:,}", *speeds, theirs, compiling])
    kinds = dict.fromkeys(row["observation"] for row in rows if row["library"] == "jaxrl")
    return pl.DataFrame(lines, ["N", *kinds, "baseline", "compile s"], orient="row")


def rules_of(rows: Rows) -> str:
    """The rules of one environment's rows, and the baseline that plays by them."""
    baselines = {row["rules"]: f"beside {row['library']}: " for row in rows if row["library"] != "jaxrl"}
    return "; ".join(dict.fromkeys(baselines.get(row["rules"], "") + row["description"] for row in rows))


def split_envs(rows: Rows) -> dict[str, Rows]:
    """The rows of each environment."""
    return {env: [row for row in rows if row["env"] == env] for env in dict.fromkeys(row["env"] for row in rows)}


def describe(rows: Rows) -> str:
    """What was measured, and the tables, in Markdown."""
    parts = []
    for env, here in split_envs(rows).items():
        table = tabulate(here)
        parts.append(f"## {env}\n\n{rules_of(here)}\n\n{markdown_table(table, right=table.columns)}")
    return TEXT.format(picture=PICTURE, repeats=len(rows[0]["seconds"]), tables="\n\n".join(parts))


def draw(rows: Rows, device: str, picture: Path) -> None:
    """Draws steps/s against N, one panel for each environment. Lines under the rules of pgx are dashed."""
    from matplotlib.lines import Line2D

    envs = split_envs(rows)
    size, title = (4.3, 3.0), "Steps per second under a random policy"
    figure, panels = new_panels(len(envs), size, title, device, "steps/s", columns=2)
    for (env, here), axes in zip(envs.items(), panels, strict=True):
        _draw_env(axes, env, here)
    lines = dict.fromkeys((row["library"], row["observation"]) for row in rows)
    handles = [Line2D([], [], color=LOOKS[line][0], marker=_marker(line[0]), markersize=4) for line in lines]
    names = [LOOKS[line][1] for line in lines]
    if any(row["rules"] == "pgx" for row in rows):
        handles.append(Line2D([], [], color="gray", linestyle="--"))
        names.append("dashed: by the rules of pgx")
    figure.legend(handles, names, loc="outside lower left", frameon=False, fontsize=9, ncols=2)
    figure.savefig(picture)


def _marker(library: str) -> str:
    return "o" if library == "jaxrl" else "s"


def _draw_env(axes: "Axes", env: str, rows: Rows) -> None:
    lines: dict[tuple[str, str, str], Rows] = {}
    for row in rows:
        lines.setdefault((row["library"], row["observation"], row["rules"]), []).append(row)
    for (library, observation, rules), line in lines.items():
        axes.plot(
            [row["num_envs"] for row in line],
            [row["steps_per_second"] for row in line],
            color=LOOKS[library, observation][0],
            linestyle="--" if rules == "pgx" else "-",
            marker=_marker(library),
            markersize=4,
        )
    axes.set(xscale="log", yscale="log")
    axes.yaxis.set_major_formatter(lambda y, _: format_si(y))
    subtitle = rules_of(rows).replace("; ", "\n")
    axes.set_title(env + "\n" * (subtitle.count("\n") + 1), loc="left", fontweight="bold", fontsize=10)
    axes.text(0, 1.02, subtitle, transform=axes.transAxes, color="gray", fontsize=8)
    ticks: list[int] = []
    for num_envs in sorted({row["num_envs"] for row in rows}):
        if not ticks or num_envs >= 3 * ticks[-1]:  # labels closer than that would overlap
            ticks.append(num_envs)
    axes.set_xticks(ticks, labels=[f"{num_envs:,}" for num_envs in ticks])
    axes.set_xticks([], minor=True)
    axes.set_xlabel("number of environments, N", fontsize=9)
