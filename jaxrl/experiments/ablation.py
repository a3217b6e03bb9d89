"""What each part of Rainbow adds to DQN, and what DQN is without its replay and without its target network.

Trains every variant with several seeds in one program, one variant after another, and draws them in one picture. Each
variant's directory is a run of dqn_minatar, which evaluate and play can use and --resume continues.
"""

import dataclasses
from pathlib import Path
from typing import Any, Literal, NamedTuple

import tyro

from jaxrl.agents import RainbowHparams
from jaxrl.cli import Options, checks, run_directory, study
from jaxrl.cli.q_networks import DQN
from jaxrl.cli.train import errors_in_one_line, prepare_jax
from jaxrl.experiments import dqn_minatar
from jaxrl.training.report import figure_over_steps

Name = Literal[
    "dqn", "double", "dueling", "n-step", "prioritised", "noisy", "categorical", "quantiles", "rainbow", "no-replay",
    "no-target-network",
]  # fmt: skip


class Variant(NamedTuple):
    """What a variant is called in the picture, and where it differs from DQN."""

    label: str
    config: dict[str, Any] = {}  # noqa: RUF012  # nobody changes it
    hparams: dict[str, Any] = {}  # noqa: RUF012


NO_TARGET_NETWORK = {"target_update_rate": 1.0, "target_update_period": 1}
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
    options = tyro.cli(
        AblationOptions,
        default=AblationOptions(env=defaults.env, total_steps=300_000, hparams=hparams, config=config, num_seeds=3),
        description=__doc__,
        prog="python -m jaxrl.experiments.ablation",
        config=(tyro.conf.FlagCreatePairsOff,),
    )
    prepare_jax(options.deterministic)
    with errors_in_one_line():
        directory = options.out or run_directory.default_directory("ablation")
        if len(options.variants) != len(set(options.variants)) or not options.variants:
            raise checks.UsageError(f"--variants must be different ones, got {' '.join(options.variants) or 'none'}")
        runs = {str(name): variant_run(options, name, directory / name) for name in options.variants}
        ablation = study.Study("ablation", f"DQN and its parts on {options.env}", runs, draw)
        study.carry_out(ablation, directory, options.out, options.resume, options.record)


def variant_run(options: AblationOptions, name: Name, out: Path) -> study.Run:
    """A run of dqn_minatar, in a directory of its own."""
    variant = VARIANTS[name]
    fields = {field.name: getattr(options, field.name) for field in dataclasses.fields(Options)}
    fields["config"] = dataclasses.replace(options.config, **variant.config)
    fields["hparams"] = dataclasses.replace(options.hparams, **variant.hparams)
    if name == "no-replay":
        # It holds what the worlds have just done and nothing else: a batch as large as that, drawn with replacement.
        n = options.config.num_envs
        fields["config"] = dataclasses.replace(options.config, batch_size=n, replay_capacity=n, n_step=1)
    its_options = study.options_in(Options(**fields), out, options.resume)
    return study.Run(variant.label, dqn_minatar.experiment._replace(algorithm=variant.label), its_options)


def draw(directory: Path, found: list[dict[str, Any]], picture: Path) -> None:
    """Draws all training returns, means over seeds, and the evaluations at the end with their 95 % intervals."""
    from matplotlib import colormaps

    found = sorted(found, key=lambda result: -result["eval_return_mean"])
    title = f"DQN and its parts on {found[0]['env']}"
    figure, axes = figure_over_steps(title, f"{found[0]['protocol']}; {found[0]['num_seeds']} seeds", "episode return")
    figure.set_layout_engine("none")
    figure.set_size_inches(13, 5.5)
    axes.set_position((0.05, 0.12, 0.5, 0.74))
    bars = figure.add_axes((0.72, 0.12, 0.26, 0.74))
    for place, result in enumerate(found):
        color = "black" if result["name"] == "dqn" else colormaps["tab20"](place % 20)
        line = "--" if result["name"].startswith("no-") else "-"
        axes.plot(*study.smooth_returns(directory, result), line, color=color, label=result["label"])
        mean, half_width = result["eval_return_mean"], result["eval_return_interval_95"]
        bars.errorbar(mean, -place, xerr=half_width, fmt="o", color=color, capsize=3)
        bars.plot(result["eval_return_per_seed"], [-place] * result["num_seeds"], "|", color=color, markersize=9)
    bars.set_yticks([-place for place in range(len(found))], [result["label"] for result in found])
    returns = [value for result in found for value in result["eval_return_per_seed"]]
    bars.set_xlim(min(0, *returns), 1.15 * max(*returns, 1e-3))
    bars.set_xlabel("greedy evaluation: seeds, mean, 95 % interval", fontsize=9)
    bars.spines[["top", "right"]].set_visible(False)
    bars.grid(alpha=0.2)
    axes.legend(loc="upper left", frameon=False, fontsize=8)
    figure.savefig(picture)


if __name__ == "__main__":
    main()
