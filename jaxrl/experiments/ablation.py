"""What each part of Rainbow adds to DQN, and what DQN is without its replay and without its target network.

Trains every variant with several seeds in one program, one variant after another, and draws them in one picture. Each
variant's directory is a run of dqn_minatar, which evaluate and play can use and --resume continues.
"""

import dataclasses
from pathlib import Path
from typing import Any, Literal, NamedTuple

import tyro
from rich.console import Console

from jaxrl.cli import Options, ablation, checks, run_directory
from jaxrl.cli.q_networks import DQN, Hparams
from jaxrl.cli.train import errors_in_one_line, prepare_jax, train
from jaxrl.experiments import dqn_minatar

Name = Literal[
    "dqn", "double", "dueling", "n-step", "prioritised", "noisy", "categorical", "quantiles", "rainbow", "no-replay",
    "no-target-network",
]  # fmt: skip


class Variant(NamedTuple):
    """What a variant is called in the picture, and where it differs from DQN."""

    label: str
    config: dict[str, Any] = {}  # noqa: RUF012  # nobody changes it
    hparams: dict[str, Any] = {}  # noqa: RUF012


NO_EPSILON = {"epsilon_start": 0.0, "epsilon_end": 0.0}
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
    "no-replay": Variant("DQN without replay"),  # see `variant_options`
    "no-target-network": Variant("DQN without target network", {}, {"target_update_rate": 1.0}),
}


@dataclasses.dataclass(frozen=True)
class AblationOptions(Options[Hparams, DQN]):
    """Those of dqn_minatar, for every variant where it does not differ, and which variants."""

    variants: tuple[Name, ...] = tuple(VARIANTS)
    """What to train."""


def main() -> None:
    options = tyro.cli(
        AblationOptions,
        default=AblationOptions(**{**vars(dqn_minatar.experiment.defaults), "total_steps": 1_000_000, "num_seeds": 3}),
        description=__doc__,
        prog="python -m jaxrl.experiments.ablation",
        config=(tyro.conf.FlagCreatePairsOff,),
    )
    prepare_jax(options.deterministic)
    console = Console(highlight=False)
    with errors_in_one_line():
        run_all(options, console)


def run_all(options: AblationOptions, console: Console) -> None:
    """Trains what is not trained yet, then draws.

    Raises:
        UsageError: the options cannot be run.
    """
    directory = options.out or run_directory.default_directory("ablation")
    variants = {name: variant_options(options, name, directory / name) for name in options.variants}
    check(options, variants)
    for name, its_options in variants.items():
        if options.resume and (directory / name / run_directory.SUMMARY).exists():
            continue
        experiment = dqn_minatar.experiment._replace(algorithm=VARIANTS[name].label)
        console.rule(VARIANTS[name].label, align="left")
        if train(experiment, its_options, console)[1] is None:
            console.print("continue with")
            console.print(f"  {run_directory.resume_command('ablation', directory)}", soft_wrap=True)
            return
    found = ablation.results(directory, {str(name): VARIANTS[name].label for name in options.variants})
    title = f"DQN and its parts on {options.env}"
    ablation.draw(directory, found, title)
    if options.record is not None:
        ablation.record(directory, options.record, found, title)
    console.rule(align="left")
    console.print(ablation.table(found))
    console.print(f"picture: {directory / ablation.PICTURE}", soft_wrap=True)


def variant_options(options: AblationOptions, name: Name, out: Path) -> Options:
    """The options of one variant: a run of dqn_minatar in a directory of its own."""
    variant = VARIANTS[name]
    fields = {field.name: getattr(options, field.name) for field in dataclasses.fields(Options)}
    fields["config"] = dataclasses.replace(options.config, **variant.config)
    fields["hparams"] = dataclasses.replace(options.hparams, **variant.hparams)
    if name == "no-replay":  # it holds what the worlds have just done, and nothing else
        n = options.config.num_envs
        fields["config"] = dataclasses.replace(options.config, batch_size=n, replay_capacity=n)
    resume = options.resume and run_directory.holds_a_run(out)
    return Options(**fields | {"out": out, "resume": resume, "record": None})


def check(options: AblationOptions, variants: dict[Name, Options]) -> None:
    """Finds what cannot be run before anything is trained.

    Raises:
        UsageError: there is such a thing.
    """
    if len(options.variants) != len(set(options.variants)):
        raise checks.UsageError(f"--variants must be different ones, got {' '.join(options.variants)}")
    if not options.variants:
        raise checks.UsageError("--variants must name at least one")
    if options.resume and options.out is None:
        raise checks.UsageError("--resume needs --out DIR, the ablation to continue")
    env, env_params = checks.make_env(options.env, options.protocol, options.env_options)
    for its_options in variants.values():
        checks.check_options(its_options)
        checks.construct(dqn_minatar.experiment, env, env_params, its_options)


if __name__ == "__main__":
    main()
