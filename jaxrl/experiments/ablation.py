"""What each part of Rainbow adds to DQN, and what DQN is without its replay and without its target network.

Trains every variant with several seeds in one program, one variant after another, and draws them in one picture. Each
variant's directory is a run of dqn_minatar, which evaluate and play can use and --resume continues.
"""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from jaxrl.agents import RainbowHparams
from jaxrl.arguments import UsageError
from jaxrl.cli import study
from jaxrl.cli.command import errors_in_one_line, prepare_jax
from jaxrl.cli.parse import parse
from jaxrl.experiments import dqn_minatar
from jaxrl.plots.learning_curve import FEW_SEEDS, draw_mean, over_steps, plain_numbers, show_range, spread
from jaxrl.recipes.deep_q import DQN
from jaxrl.runs import checks, run_directory
from jaxrl.runs.options import Options

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Name = Literal[
    "dqn", "double", "dueling", "n-step", "prioritised", "noisy", "categorical", "quantiles", "rainbow", "no-replay",
    "no-target-network",
]  # fmt: skip


class Variant(NamedTuple):
    """What a variant is called in the picture, and where it differs from DQN."""

    label: str
    config: dict[str, Any] = {}  # noqa: RUF012  # nobody changes it
    hparams: dict[str, Any] = {}  # noqa: RUF012


NO_TARGET_NETWORK = {"tau": 1.0, "target_update_period": 1}
NO_EPSILON = {"epsilon_start": 0.0, "epsilon_end": 0.0, "epsilon_eval": 0.0}
PARTS: dict[Name, Variant] = {
    "double": Variant("Double DQN", {"double": True}),
    "dueling": Variant("dueling", {"dueling": True}),
    "n-step": Variant("3-step", {"n_step": 3}),
    "prioritised": Variant("prioritised replay", {"replay": "prioritised"}),
    "noisy": Variant("noisy layers", {"noisy": True}, NO_EPSILON),
    "categorical": Variant("C51", {"values": "categorical"}),
    "quantiles": Variant("QR-DQN", {"values": "quantiles"}),
}
ALL = {name: value for part in PARTS.values() for name, value in part.config.items()} | {"values": "categorical"}
VARIANTS: dict[Name, Variant] = {
    "dqn": Variant("DQN"),
    **PARTS,
    "rainbow": Variant("Rainbow", ALL, NO_EPSILON),
    "no-replay": Variant("DQN without replay"),  # see `variant_run`
    "no-target-network": Variant("DQN without target network", {}, NO_TARGET_NETWORK),
}


COLUMNS = 4
"""Panels side by side."""


@dataclasses.dataclass(frozen=True)
class AblationOptions(Options[RainbowHparams, DQN]):
    """Those of dqn_minatar, for every variant where it does not differ, and which variants."""

    variants: tuple[Name, ...] = tuple(VARIANTS)
    """What to train."""


def main() -> None:
    defaults = dqn_minatar.experiment.defaults
    # Four times the gradient steps of dqn_minatar for each environment step, and exploration that ends in time.
    hparams = dataclasses.replace(defaults.hparams, learning_rate=5e-4, epsilon_decay_steps=1e5)
    config = dataclasses.replace(defaults.config, num_envs=64, batch_size=64)
    start = AblationOptions(env=defaults.env, total_steps=300_000, hparams=hparams, config=config, num_seeds=3)
    with errors_in_one_line():
        options = parse(
            AblationOptions,
            __doc__,
            default=start,
            prog="python -m jaxrl.experiments.ablation",
        )
        prepare_jax(options.deterministic)
        directory = options.out or run_directory.default_directory("ablation")
        if len(options.variants) != len(set(options.variants)) or not options.variants:
            raise UsageError(f"--variants must be different ones, got {' '.join(options.variants) or 'none'}")
        checks.check_options(options)
        options = dataclasses.replace(options, env_options=checks.with_texts(options.env, options.env_options))
        runs = {str(name): variant_run(options, name, directory / name) for name in options.variants}
        if not options.resume:
            env, env_params = checks.make_env(options.env, options.rules, options.env_options)
            experiment = dqn_minatar.experiment._replace(defaults=start)
            checks.check_idle(experiment, env, env_params, options, [run.options for run in runs.values()])
        ablation = study.Study("ablation", f"DQN and its parts on {options.env}", runs, draw)
        study.carry_out(ablation, directory, options.out, options.resume, options.record)


def variant_run(options: AblationOptions, name: Name, out: Path) -> study.Run:
    """A run of dqn_minatar, in a directory of its own."""
    variant = VARIANTS[name]
    fields = {field.name: getattr(options, field.name) for field in dataclasses.fields(Options)}
    fields["config"] = dataclasses.replace(options.config, **variant.config)
    fields["hparams"] = dataclasses.replace(options.hparams, **variant.hparams)
    if name == "no-replay":
        # It holds only the newest transition of each environment: a batch as large as that, with replacement.
        n = options.config.num_envs
        fields["config"] = dataclasses.replace(options.config, batch_size=n, replay_capacity=n, n_step=1)
    its_options = study.options_in(Options(**fields), out, options.resume)
    experiment = dqn_minatar.experiment._replace(algorithm=variant.label, idle=None)  # `main` looks at all variants
    return study.Run(variant.label, experiment, its_options)


def draw(directory: Path, found: list[dict[str, Any]], picture: Path) -> None:
    """Draws the training returns of every variant beside those of DQN, and below them the evaluations at the end."""
    from matplotlib.figure import Figure

    found = sorted(found, key=lambda result: -result["eval_return_mean"])
    panels = [result for result in found if result["name"] != "dqn"] or found
    rows = -(-len(panels) // COLUMNS)
    columns = -(-len(panels) // rows)
    heights = [0.3 + 1.7 * rows, 0.6 + 0.27 * len(found)]
    height = 0.7 + sum(heights)
    figure = Figure(figsize=(8, height), dpi=120)
    figure.set_layout_engine("constrained", rect=(0, 0, 1, 1 - 0.7 / height))  # the titles' room is above
    first = found[0]
    seeds = f"{first['num_seeds']} seeds and their mean" if first["num_seeds"] > 1 else "one seed"
    black = "; black: DQN" if len(panels) < len(found) else ""
    figure.text(0.01, 1 - 0.1 / height, f"DQN and its parts on {first['env']}", va="top", fontsize=12, weight="bold")
    subtitle = f"{first['rules']}; {seeds}{black}"
    figure.text(0.01, 1 - 0.38 / height, subtitle, va="top", color="gray", fontsize=9)
    above, below = figure.subfigures(2, 1, height_ratios=heights, squeeze=False)[:, 0]
    for place, result in enumerate(panels):
        axes = above.add_subplot(rows, columns, place + 1)
        draw_variant(axes, directory, result, found)
        axes.tick_params(labelsize=8, labelbottom=place + columns >= len(panels), labelleft=place % columns == 0)
    above.supxlabel("environment steps", fontsize=9)
    above.supylabel("episode return", fontsize=9)
    draw_evaluations(below.subplots(), found)
    figure.savefig(picture)


def draw_variant(axes: "Axes", directory: Path, result: dict[str, Any], found: list[dict[str, Any]]) -> None:
    """Draws the returns of one variant over those of DQN, on axes that have room for all that were found."""
    curves = {other["name"]: study.smooth_returns(directory, other) for other in found}
    for name, colour in (("dqn", "black"), (result["name"], "black" if result["name"] == "dqn" else "tab:blue")):
        if name in curves and len(curves[name][0]):
            draw_mean(axes, *curves[name], colour, None)
    seen = [0.0, *(x for _, returns in curves.values() for x in returns.ravel())]
    over_steps(axes)
    axes.locator_params("x", nbins=3)
    show_range(axes, max(other["env_steps"] for other in found), min(seen), max(seen))
    axes.set_title(result["label"].replace("DQN without", "no"), loc="left", fontsize=9, fontweight="bold")


def draw_evaluations(axes: "Axes", found: list[dict[str, Any]]) -> None:
    """Draws the evaluations at the end, a row a variant: seeds, their mean, and how far they are apart."""
    values = {result["label"]: np.array(result["eval_return_per_seed"]) for result in found}
    everything = np.concatenate(list(values.values()))
    for place, (result, returns) in enumerate(zip(found, values.values(), strict=True)):
        colour = "black" if result["name"] == "dqn" else "tab:blue"
        low, high = spread(returns, (everything.min(), everything.max()))
        axes.plot([low, high], [-place] * 2, color=colour, linewidth=1.5)
        axes.plot(returns, [-place] * len(returns), "|", color=colour, markersize=9)
        axes.plot(returns.mean(), -place, "o", color=colour)
    axes.set_yticks([-place for place in range(len(found))], list(values))
    least, most = min(0.0, float(everything.min())), float(everything.max())
    axes.set_xlim(least, most + 0.04 * (most - least or 1.0))
    interval = "" if len(found[0]["seeds"]) < FEW_SEEDS else ", 95 % interval"
    axes.set_xlabel(f"evaluation at the end: seeds and their mean{interval}", fontsize=9)
    plain_numbers(axes.xaxis)
    axes.tick_params(labelsize=9)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.2)


if __name__ == "__main__":
    main()
