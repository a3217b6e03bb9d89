"""Ablation: adds each part of Rainbow to DQN, and removes DQN's replay buffer or target network.

Trains all variants as one sweep. For evaluate and play, choose an agent with --agent.
"""

import dataclasses
from functools import partial
from typing import Annotated, Any, Literal

import polars as pl
import tyro

from jaxrl.agents import RainbowHparams
from jaxrl.arguments import ArgumentError
from jaxrl.cli.command import prepare_jax, screen
from jaxrl.cli.errors import errors_in_one_line, fail
from jaxrl.cli.parse import parse
from jaxrl.experiments import dqn_minatar
from jaxrl.plots.comparisons import draw_variants
from jaxrl.recipes.deep_q import DQN
from jaxrl.runs import Budget, Options, Task
from jaxrl.runs.options import flatten
from jaxrl.sweeps import SweepSpec
from jaxrl.sweeps.comparison import Comparison, ComparisonOptions, Picture, compare

Name = Literal[
    "dqn", "double", "dueling", "n-step", "prioritised", "noisy", "categorical", "quantiles", "rainbow", "no-replay",
    "no-target-network",
]  # fmt: skip
NO_EPSILON = {"hparams.epsilon_start": 0.0, "hparams.epsilon_end": 0.0, "hparams.epsilon_eval": 0.0}
PARTS: dict[Name, tuple[str, dict[str, Any]]] = {
    "double": ("Double DQN", {"config.double": True}),
    "dueling": ("dueling", {"config.dueling": True}),
    "n-step": ("3-step", {"config.n_step": 3}),
    "prioritised": ("prioritised replay", {"config.replay": "prioritised"}),
    "noisy": ("noisy layers", {"config.noisy": True, **NO_EPSILON}),
    "categorical": ("C51", {"config.values": "categorical"}),
    "quantiles": ("QR-DQN", {"config.values": "quantiles"}),
}
ALL_PARTS = {path: value for _, part in PARTS.values() for path, value in part.items()}
VARIANTS: dict[Name, tuple[str, dict[str, Any]]] = {
    "dqn": ("DQN", {}),
    **PARTS,
    "rainbow": ("Rainbow", ALL_PARTS | {"config.values": "categorical"}),
    "no-replay": ("DQN without replay", {"config.n_step": 1}),  # and the sizes of `make_spec`
    "no-target-network": ("DQN without target network", {"hparams.tau": 1.0, "hparams.target_update_period": 1}),
}
"""What each variant is called, and where it differs from DQN."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class AblationOptions(ComparisonOptions):
    task: Annotated[Task, tyro.conf.arg(name="")]
    hparams: RainbowHparams
    config: DQN
    budget: Annotated[Budget, tyro.conf.arg(name="")]
    variants: tuple[Name, ...] = tuple(VARIANTS)
    """The variants to train."""


DEFAULTS = dqn_minatar.experiment.defaults
# Four times the gradient steps of dqn_minatar for each environment step, and exploration that ends in time.
START = AblationOptions(
    task=DEFAULTS.task,
    hparams=dataclasses.replace(DEFAULTS.hparams, learning_rate=5e-4, epsilon_decay_steps=1e5),
    config=dataclasses.replace(DEFAULTS.config, num_envs=64, batch_size=64),
    budget=Budget(300_000, num_seeds=3),
)


def make_spec(options: AblationOptions) -> SweepSpec:
    """The sweep over the variants.

    Raises:
        ArgumentError: variants are missing or repeated, or an option cannot be used.
    """
    names = options.variants
    if len(names) != len(set(names)) or not names:
        raise ArgumentError("variants", "must be one or more different ones", got=" ".join(names) or "none")
    every = flatten(Options(options.task, options.hparams, options.config, options.budget))
    own = {field.name for part in (Task, Budget) for field in dataclasses.fields(part)}
    fields = {path: value for path, value in every.items() if "." in path or path in own}
    # A replay that holds only the newest transition of each environment, and batches as large as that.
    newest = dict.fromkeys(("config.batch_size", "config.replay_capacity"), options.config.num_envs)
    variants = {VARIANTS[name][0]: VARIANTS[name][1] | (newest if name == "no-replay" else {}) for name in names}
    seeds = fields.pop("num_seeds")
    return SweepSpec(dqn_minatar.experiment, "list", seeds=seeds, fields=fields, variants=variants)


@errors_in_one_line()
def main() -> None:
    options = parse(AblationOptions, __doc__, default=START, prog="python -m jaxrl.experiments.ablation")
    title = f"DQN and its parts on {options.task.env}"
    picture = Picture("ablation", "learning curves", partial(draw_variants, baseline="DQN"))
    ablation = Comparison("ablation", title, {"DQN": (make_spec(options), "")}, pl.col("variant"), [picture])
    prepare_jax()
    if problems := compare(ablation, options, screen()):
        fail("; ".join(problems), 1)


if __name__ == "__main__":
    main()
