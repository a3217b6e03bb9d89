"""What `benchmark envs` leaves to look at: tables, a plot, and a page that says how they were made."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from rich.table import Table

from jaxrl.formatting import format_si

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Rows = list[dict[str, Any]]
"""Rows of `jaxrl.benchmarks.envs.row`."""

RESULTS, PLOT = "results.json", "steps_per_second.png"
LOOKS = {
    ("jaxrl", "none"): ("tab:cyan", "jaxrl, no observation"),
    ("jaxrl", "packed"): ("tab:blue", "jaxrl, packed: bits, stored as in a replay"),
    ("jaxrl", "boolean"): ("navy", "jaxrl, boolean: the whole board, written"),
    ("jaxrl", "whole"): ("tab:green", "jaxrl, whole: all numbers, written"),
    ("gymnax", "whole"): ("tab:orange", "gymnax"),
    ("pgx", "whole"): ("tab:red", "pgx"),
}
"""Colours and names of implementations and their forms."""
COLUMNS = 2
"""Panels side by side."""

PAGE = """# Steps per second of the environments

```
{command}
```

![steps per second]({plot})

Steps per second of N environments under a random policy, the median of {repeats} runs of one compiled loop. All
programs of a environment and an N were compiled first and then run in turns. Actions come from one batched draw a step,
episodes restart by themselves, and all that the loop carries is given back. What happens to jaxrl's observations:

- `boolean`: the whole observation, bool `[N, 10, 10, C]`, is written to memory every step, laid out as XLA chooses;
- `packed`: the observation as bits; every step is stored in a ring of the newest steps, as in a replay;
- `none`: no observation is computed;
- `whole`: CartPole-v1's four numbers, float32 `[N, 4]`, written likewise; or a gymnax environment through
  `jaxrl.envs.vectorize`.

gymnax and pgx return whole observations (float32 and bool), which are written to memory every step too. Rules are those
of the peer in the same row; `*` marks the faster peer of an N, and in parentheses is jaxrl's speed over that peer's.
Compile times are seconds of tracing, lowering and compiling one loop with nothing cached, for jaxrl's slowest form and
for the peer; a loop compiles once for any number of steps.

{tables}
{machine}, {backend}. Run on {date} at commit {commit}, with {versions}.
"""


class Comparison(NamedTuple):
    """jaxrl's forms and a peer under the same rules, at one N.

    Attributes:
        num_envs: N.
        rules: the rules.
        ours: steps/s of each form.
        peer: its name, or None.
        theirs: the peer's steps/s.
        fastest: whether no other peer is faster at this N.
        compile_seconds: of jaxrl's slowest form.
        peer_compile_seconds: the peer's.
    """

    num_envs: int
    description: str
    ours: dict[str, float]
    peer: str | None
    theirs: float | None
    fastest: bool
    compile_seconds: float
    peer_compile_seconds: float | None


def compare(rows: Rows) -> list[Comparison]:
    """The comparisons in the rows of one environment, by N and rules."""
    comparisons = []
    for num_envs, rules in dict.fromkeys((row["num_envs"], row["rules"]) for row in rows):
        here = [row for row in rows if row["num_envs"] == num_envs]
        peers = [row for row in here if row["implementation"] != "jaxrl"]
        ours = [row for row in here if row["rules"] == rules and row["implementation"] == "jaxrl"]
        peer = next((row for row in peers if row["rules"] == rules), None)
        comparisons.append(
            Comparison(
                num_envs=num_envs,
                description=ours[0]["description"],
                ours={row["form"]: row["steps_per_second"] for row in ours},
                peer=peer["implementation"] if peer else None,
                theirs=peer["steps_per_second"] if peer else None,
                fastest=peer is not None and peer is max(peers, key=lambda row: row["steps_per_second"]),
                compile_seconds=max(row["compile_seconds"] for row in ours),
                peer_compile_seconds=peer["compile_seconds"] if peer else None,
            )
        )
    return comparisons


def ratio(x: float) -> str:
    """A ratio such as 1.5 or 15; its third digit says nothing."""
    return f"{x:.1f}" if x < 10 else f"{x:.0f}"


def cells(comparison: Comparison) -> list[str]:
    """One line of a table; see `header`."""
    theirs, compiling = comparison.theirs, f"{comparison.compile_seconds:.1f}"
    ours = [format_si(x) + (f" ({ratio(x / theirs)}×)" if theirs else "") for x in comparison.ours.values()]
    if theirs is None:
        return [f"{comparison.num_envs:,}", *ours, "-", compiling]
    peer = f"{comparison.peer} {format_si(theirs)}" + (" *" if comparison.fastest else "")
    return [f"{comparison.num_envs:,}", *ours, peer, f"{compiling}, {comparison.peer_compile_seconds:.1f}"]


def header(comparison: Comparison) -> list[str]:
    return ["N", *comparison.ours, "peer", "compile s"]


def descriptions(comparisons: list[Comparison]) -> str:
    """Under which rules the lines of a table were measured."""
    rules = dict.fromkeys((f"beside {c.peer}: " if c.peer else "") + c.description for c in comparisons)
    return "; ".join(rules)


def screen_table(rows: Rows) -> Table:
    """The comparisons of one environment."""
    comparisons = compare(rows)
    table = Table(box=None, padding=(0, 2, 0, 0))
    for name in header(comparisons[0]):
        table.add_column(name, justify="right")
    for comparison in comparisons:
        table.add_row(*cells(comparison))
    return table


def markdown_table(env: str, rows: Rows) -> str:
    """The same for the page."""
    comparisons = compare(rows)
    names = header(comparisons[0])
    lines = [names, ["---:"] * len(names), *map(cells, comparisons)]
    table = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    return f"## {env}\n\n{descriptions(comparisons)}\n\n{table}\n"


def draw(rows: Rows, device: str, picture: Path) -> None:
    """Draws steps/s against N, one panel an environment: jaxrl under a peer's rules is dashed as that peer is."""
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    envs = list(dict.fromkeys(row["environment"] for row in rows))
    columns = min(COLUMNS, len(envs))
    height = 3.1 * -(-len(envs) // columns) + 1.5
    figure = Figure(figsize=(max(4.3 * columns, 7), height), dpi=120)
    figure.set_layout_engine("constrained", rect=(0, 0, 1, 1 - 0.7 / height))  # the titles' room is above
    figure.text(0.01, 1 - 0.1 / height, "Steps per second under a random policy", va="top", fontsize=12, weight="bold")
    figure.text(0.01, 1 - 0.38 / height, device, va="top", color="gray", fontsize=9)
    panels = figure.subplots(-(-len(envs) // columns), columns, squeeze=False, sharey=True).ravel().tolist()
    for place, (env, axes) in enumerate(zip(envs, panels, strict=False)):
        draw_env(axes, env, [row for row in rows if row["environment"] == env])
        if place % columns == 0:
            axes.set_ylabel("steps/s", fontsize=9)
    for axes in panels[len(envs) :]:
        axes.remove()
    lines = dict.fromkeys((row["implementation"], row["form"]) for row in rows)
    handles = [Line2D([], [], color=LOOKS[line][0], marker=marker(line[0]), markersize=4) for line in lines]
    names = [LOOKS[line][1] for line in lines]
    if any(row["rules"] == "pgx" for row in rows):
        handles.append(Line2D([], [], color="gray", linestyle="--"))
        names.append("dashed: under the rules of pgx")
    figure.legend(handles, names, loc="outside lower left", frameon=False, fontsize=9, ncols=2)
    figure.savefig(picture)


def marker(implementation: str) -> str:
    return "o" if implementation == "jaxrl" else "s"


def draw_env(axes: "Axes", env: str, rows: Rows) -> None:
    """Draws the rows of one environment."""
    for line in dict.fromkeys((row["implementation"], row["form"], row["rules"]) for row in rows):
        points = [row for row in rows if (row["implementation"], row["form"], row["rules"]) == line]
        name, form, rules = line
        axes.loglog(
            [row["num_envs"] for row in points],
            [row["steps_per_second"] for row in points],
            color=LOOKS[name, form][0],
            linestyle="--" if rules == "pgx" else "-",
            marker=marker(name),
            markersize=4,
        )
    subtitle = descriptions(compare(rows)).replace("; ", "\n")
    axes.set_title(env + "\n" * (subtitle.count("\n") + 1), loc="left", fontweight="bold", fontsize=10)
    axes.text(0, 1.02, subtitle, transform=axes.transAxes, color="gray", fontsize=8)
    ticks: list[int] = []
    for num_envs in sorted({row["num_envs"] for row in rows}):
        if not ticks or num_envs >= 3 * ticks[-1]:  # others would run into each other
            ticks.append(num_envs)
    axes.set_xticks(ticks, labels=[f"{num_envs:,}" for num_envs in ticks])
    axes.set_xticks([], minor=True)
    axes.tick_params(labelsize=8)
    axes.set_xlabel("environments stepped side by side, N", fontsize=9)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.2)


def page(results: dict[str, Any]) -> str:
    """The page, in Markdown, of what `results.json` holds."""
    rows, machine = results["rows"], results["machine"]
    envs = dict.fromkeys(row["environment"] for row in rows)
    return PAGE.format(
        command=results["command"],
        plot=PLOT,
        repeats=len(rows[0]["seconds"]),
        tables="\n".join(markdown_table(env, [row for row in rows if row["environment"] == env]) for env in envs),
        machine=machine["device"],
        backend=f"{machine['cores']} cores" if machine["backend"] != "cpu" else machine["system"],
        date=results["started"][:10],
        commit=results["commit"] or "none (an installed package)",
        versions=", ".join(f"{name} {version}" for name, version in results["versions"].items()),
    )
