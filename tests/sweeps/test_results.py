"""What is made of a sweep's results: their order, the tables, the pictures, and the command that trains one again."""

import shlex
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import tyro
from PIL import Image
from rich.console import Console

from jaxrl.experiments import dqn_minatar, pqn_minatar, reinforce_cartpole
from jaxrl.plots.sweep_results import _log_ticks, draw_curves, draw_hparams
from jaxrl.runs.experiment import Experiment
from jaxrl.runs.options import Options, flatten
from jaxrl.sweeps.results import (
    best_configurations,
    markdown_table,
    retrain_command,
    short_labels,
    table,
    write_parquet,
)

RATE, DOUBLE = "hparams.learning_rate", "config.double"
TYPES = {"error": pl.String, "eval_return": pl.Float64, "train_return": pl.Float64}


def frame(agents: list[dict[str, Any]]) -> pl.DataFrame:
    """Results with the columns that every sweep has; an agent without an evaluation return has diverged."""
    always = {"group": 0, "chunk": 0, "error": None, "train_return": None, "env_steps": 1000, "seconds": 1.0}
    rows = [
        {"agent": agent, **always, "status": "finished" if row["eval_return"] is not None else "diverged", **row}
        for agent, row in enumerate(agents)
    ]
    return pl.DataFrame(rows, schema_overrides=TYPES)


def by_configuration(returns: list[list[float | None]], train_returns: list[float | None] | None = None):
    """Results of configurations with these evaluation returns of their seeds; the training return is all seeds'."""
    return frame(
        [
            {"configuration": c, "seed": s, RATE: 10.0**-c, DOUBLE: c % 2 == 1, "eval_return": value}
            | ({"train_return": train_returns[c]} if train_returns else {})
            for c, seeds in enumerate(returns)
            for s, value in enumerate(seeds)
        ]
    )


def test_means_and_intervals_are_of_the_seeds_that_finished() -> None:
    results = by_configuration([[1.0, 2.0, 3.0], [7.0, None, 9.0], [None, 4.0, None]])
    results = results.with_columns(train_return=pl.Series([1.0, 3.0, 8.0, 5.0, 7.0, None, None, None, None]))
    best = best_configurations(results, [RATE, DOUBLE])
    assert best.columns == [
        "configuration", RATE, DOUBLE, "seeds", "finished", "eval_return", "eval_returns", "train_return",
    ]  # fmt: skip
    assert best.rows() == [
        (0, 1.0, False, 3, 3, 2.0, [1.0, 2.0, 3.0], 4.0),
        (1, 0.1, True, 3, 2, 8.0, [7.0, 9.0], 6.0),
        (2, 0.01, False, 3, 1, 4.0, [4.0], None),
    ]


def test_the_best_come_first() -> None:
    returns: list[list[float | None]] = [[3.0, None], [1.0, 1.0], [5.0, 5.0], [None, None], [4.0, 6.0], [9.0, None]]
    best = best_configurations(by_configuration(returns), [RATE])
    assert best["configuration"].to_list() == [2, 4, 1, 5, 0, 3]


def test_ties_go_by_training_return_and_then_by_number() -> None:
    results = by_configuration([[5.0]] * 5, [2.0, 3.0, None, 3.0, float("nan")])
    assert best_configurations(results, [])["configuration"].to_list() == [1, 3, 0, 2, 4]
    shuffled = results.sample(fraction=1.0, shuffle=True, seed=0)
    assert best_configurations(shuffled, []).equals(best_configurations(results, []))


def test_a_seed_that_failed_counts_like_one_that_diverged() -> None:
    results = by_configuration([[9.0, None], [1.0, 1.0]])
    results = results.with_columns(status=pl.col("status").replace("diverged", "failed"))
    assert best_configurations(results, []).select("configuration", "finished").rows() == [(1, 2), (0, 1)]


def test_the_tables(capsys) -> None:
    results = by_configuration([[200.0, 224.6], [0.5, 0.7], [None, None]], [187.26, 0.123, None])
    best = best_configurations(results.with_columns(pl.lit(0.00123456).alias(RATE)), [RATE, DOUBLE])
    assert markdown_table(best, [RATE, DOUBLE], rows=2).splitlines() == [
        "| rank | configuration | learning rate | double | evaluation return | seeds finished | training return |",
        "|---|---|---|---|---|---|---|",
        "| 1 | 0 | 0.00123 | False | 212.3 (200.0 to 224.6) | 2 of 2 | 187.3 |",
        "| 2 | 1 | 0.00123 | True | 0.60 (0.50 to 0.70) | 2 of 2 | 0.12 |",
    ]
    Console(width=100).print(table(best, [RATE, DOUBLE]))
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[-3:] == [
        ["1", "0", "0.00123", "False", "212.3", "(200.0", "to", "224.6)", "2", "of", "2", "187.3"],
        ["2", "1", "0.00123", "True", "0.60", "(0.50", "to", "0.70)", "2", "of", "2", "0.12"],
        ["3", "2", "0.00123", "False", "–", "0", "of", "2", "–"],
    ]


def test_five_seeds_have_an_interval() -> None:
    best = best_configurations(by_configuration([[1.0, 2.0, 3.0, 4.0, 5.0]]), [])
    assert "| 3.00 ± 1.96 | 5 of 5 |" in markdown_table(best, [])


def test_a_label_names_its_record_only_where_it_must() -> None:
    fields = ["hparams.learning_rate", "hparams.discount", "config.discount"]
    assert short_labels(fields) == ["learning rate", "hparams.discount", "config.discount"]


def test_parquet_keeps_every_bit(tmp_path: Path) -> None:
    results = by_configuration([[0.1 + 0.2, None], [1 / 3, -0.0]])
    write_parquet(results, tmp_path / "results.parquet")
    assert pl.read_parquet(tmp_path / "results.parquet").equals(results)
    assert [path.name for path in tmp_path.iterdir()] == ["results.parquet"]


def test_a_file_survives_a_write_that_fails(tmp_path: Path, monkeypatch) -> None:
    path = tmp_path / "results.parquet"
    write_parquet(by_configuration([[1.0]]), path)
    before = path.read_bytes()

    def write_half(self: pl.DataFrame, file: Path) -> None:
        file.write_bytes(before[: len(before) // 2])
        raise OSError("the disk is full")

    monkeypatch.setattr(pl.DataFrame, "write_parquet", write_half)
    with pytest.raises(OSError, match="full"):
        write_parquet(by_configuration([[2.0]]), path)
    assert path.read_bytes() == before


def parse(experiment: Experiment, command: str) -> Options:
    """What `jaxrl.runs.train.main` would read from a command."""
    python, dash_m, module, *arguments = shlex.split(command)
    assert (python, dash_m, module) == ("python", "-m", f"jaxrl.experiments.{experiment.name}")
    defaults = experiment.defaults
    options_type: Any = Options[type(defaults.hparams), type(defaults.config)]
    return tyro.cli(options_type, default=defaults, args=arguments, config=(tyro.conf.FlagCreatePairsOff,))


@pytest.mark.parametrize(
    ("experiment", "changed"),
    [
        (dqn_minatar.experiment, {}),
        (
            dqn_minatar.experiment,
            {
                "hparams.learning_rate": 0.1 + 0.2,
                "hparams.discount": float(np.float32(0.99)),
                "hparams.epsilon_decay_steps": 1e22,
                "hparams.target_update_period": 1000,
                "config.double": True,
                "config.noisy": False,
                "config.hidden_sizes": [64, 32],
                "config.values": "categorical",
                "config.v_min": -1.5e-7,
                "env_options": ["map=S. G", "note='a; b'"],
                "rules": "gymnax",
                "seed": 7,
            },
        ),
        (dqn_minatar.experiment, {"config.hidden_sizes": [], "env": "my module:an environment $HOME"}),
        (reinforce_cartpole.experiment, {"config.reset_each_rollout": False, "sequential": False}),
        (
            reinforce_cartpole.experiment,
            {"config.reset_each_rollout": True, "sequential": True, "config.activation": "relu"},
        ),
        (pqn_minatar.experiment, {"config.layer_norm": False}),
    ],
)
def test_tyro_reads_the_command_back(experiment: Experiment, changed: dict[str, Any]) -> None:
    """To the same options, and the same bits."""
    options = parse(experiment, retrain_command(experiment, changed))
    assert flatten(options) == flatten(experiment.defaults) | changed


def test_the_command_as_it_is_typed() -> None:
    changed = {"hparams.learning_rate": 0.00123, "config.double": True, "config.hidden_sizes": (64, 64)}
    assert retrain_command(dqn_minatar.experiment, changed) == (
        "python -m jaxrl.experiments.dqn_minatar --hparams.learning-rate 0.00123 --config.double "
        "--config.hidden-sizes 64 64"
    )
    as_text = changed | {"config.hidden_sizes": "64 64"}  # as a table has it
    assert retrain_command(dqn_minatar.experiment, as_text) == retrain_command(dqn_minatar.experiment, changed)
    with pytest.raises(KeyError, match="learning_speed"):
        retrain_command(dqn_minatar.experiment, {"hparams.learning_speed": 1.0})


FIELDS = {
    "hparams.learning_rate": lambda random: float(10 ** random.uniform(-5, -2)),
    "config.values": lambda random: str(random.choice(["expected", "categorical", "quantiles"])),
    "config.double": lambda random: bool(random.integers(2)),
    "config.batch_size": lambda random: int(random.choice([32, 64, 128])),
    "hparams.discount": lambda random: float(random.uniform(0.9, 1)),
    "config.hidden_sizes": lambda random: str(random.choice(["64", "64 64", "128 128"])),
    "hparams.epsilon_decay_steps": lambda random: float(10 ** random.uniform(5, 5.8)),
    "config.n_step": lambda random: int(random.integers(1, 6)),
}
LOG_SCALED = {"hparams.learning_rate", "hparams.epsilon_decay_steps"}


def a_sweep(configurations: int, seeds: int, swept: list[str], diverged: float) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Results and curves; an agent that diverged has half a curve, and in no agent's first row has an episode ended."""
    random = np.random.default_rng(0)
    agents, rows = [], []
    for c in range(configurations):
        values = {name: FIELDS[name](random) for name in swept}
        for s in range(seeds):
            skill = None if random.uniform() < diverged else 100 * random.uniform()
            agents.append({"configuration": c, "seed": s, **values, "eval_return": skill})
            for row in range(10 if skill is None else 20):
                value = (skill or 50.0) * (1 - 0.8**row) if row else None
                rows.append((c * seeds + s, 5000 * (row + 1), value))
    schema = {"agent": pl.Int64, "env_steps": pl.Int64, "episode_return": pl.Float64}
    return frame(agents), pl.DataFrame(rows, schema, orient="row")


ALL = list(FIELDS)


@pytest.mark.parametrize(
    ("configurations", "seeds", "swept", "diverged", "size"),
    [
        pytest.param(64, 3, ALL, 0.05, (1152, 1032), id="64 x 3, 8 fields"),
        pytest.param(12, 3, ALL[:1], 0.1, (960, 432), id="1 field"),
        pytest.param(12, 1, ALL[:5], 0.1, (1152, 732), id="1 seed"),
        pytest.param(12, 2, ALL[1:3], 0.0, (960, 432), id="choices"),
        pytest.param(1, 3, ALL, 0.0, (1152, 1032), id="1 configuration"),
        pytest.param(1, 1, ALL[:1], 0.0, (960, 432), id="1 agent"),
        pytest.param(6, 3, ALL[:4], 1.0, (960, 732), id="all diverged"),
    ],
)
def test_pictures(tmp_path: Path, configurations: int, seeds: int, swept: list[str], diverged: float, size) -> None:
    results, curves = a_sweep(configurations, seeds, swept, diverged)
    best = best_configurations(results, swept)
    draw_curves(results, curves, best, "DQN on Breakout", "original rules", tmp_path / "curves.png")
    draw_hparams(results, swept, LOG_SCALED, "DQN on Breakout", "original rules", tmp_path / "hparams.png")
    with Image.open(tmp_path / "curves.png") as picture:
        assert picture.size == (960, 540)
    with Image.open(tmp_path / "hparams.png") as picture:
        assert picture.size == size


def test_a_picture_of_no_episode(tmp_path: Path) -> None:
    results, curves = a_sweep(2, 2, ALL[:1], 0.0)
    curves = curves.with_columns(episode_return=pl.lit(None, pl.Float64))
    for some in (curves, curves.clear()):
        best = best_configurations(results, ALL[:1])
        draw_curves(results, some, best, "DQN on Breakout", "original rules", tmp_path / "curves.png")


def test_the_best_and_the_median_are_marked(tmp_path: Path, monkeypatch) -> None:
    """Of five, one of which has no evaluation return: the first and the third of four, means over their seeds."""
    results = by_configuration([[1.0, 1.0], [4.0, 4.0], [None, None], [2.0, 2.0], [3.0, None]])
    rows = [
        (agent, steps, 10.0 * agent + steps / 1000) for agent in range(10) for steps in (1000, 2000, 3000, 3100)
    ]  # a last row of 100 steps is too short to be drawn
    curves = pl.DataFrame(rows, ["agent", "env_steps", "episode_return"], orient="row")
    drawn = {}

    def plot(axes, x, y, **options):
        drawn[options.get("label")] = (list(x), list(y))
        return plotted(axes, x, y, **options)

    from matplotlib.axes import Axes

    plotted = Axes.plot
    monkeypatch.setattr(Axes, "plot", plot)
    draw_curves(results, curves, best_configurations(results, []), "title", "subtitle", tmp_path / "curves.png")
    del drawn["every agent"], drawn[None]
    assert drawn == {
        "median: configuration 0, evaluation return 1.00 (1.00 to 1.00)": ([1000, 2000, 3000], [6.0, 7.0, 8.0]),
        "best: configuration 1, evaluation return 4.00 (4.00 to 4.00)": ([1000, 2000, 3000], [26.0, 27.0, 28.0]),
    }


@pytest.fixture
def figures(monkeypatch) -> list:
    """The figures that are drawn, which need not be written."""
    from matplotlib.figure import Figure

    drawn: list[Figure] = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, _: drawn.append(figure))
    return drawn


def panel_of(figures: list, values: list[Any], returns: list[float], log: bool = False):
    """The axes of a field with these values, one configuration each."""
    agents = [
        {"configuration": c, "seed": 0, RATE: value, "eval_return": x}
        for c, (value, x) in enumerate(zip(values, returns, strict=True))
    ]
    draw_hparams(frame(agents), [RATE], [RATE] if log else [], "title", "subtitle", Path("unused.png"))
    figures[-1].draw_without_rendering()
    return figures[-1].axes[0]


@pytest.mark.parametrize(
    ("values", "scale", "ticks"),
    [
        ([1e-5, 1e-4, 1e-3, 1e-2], "log", ["1e-5", "0.0001", "0.001", "0.01"]),
        ([0.9, 0.95, 0.99, 1.0], "linear", None),
        ([0.0, 1e-3, 1e-1, 1.0], "linear", None),
        ([1e20, 2e20, 5e20], "linear", None),
        ([1, 2, 4, 7], "linear", None),
    ],
)
def test_the_axis_of_a_field_fits_its_values(figures, values: list[Any], scale: str, ticks: list[str] | None) -> None:
    axes = panel_of(figures, values, [float(x) for x in range(len(values))])
    assert axes.get_xscale() == scale
    shown = [text.get_text() for text in axes.get_xticklabels()]
    if ticks:
        assert shown == ticks
    else:  # every label says what it stands at, and no factor stands elsewhere
        np.testing.assert_allclose([float(text) for text in shown], axes.get_xticks(), atol=1e-9 * max(values))
        assert len(shown) == len(set(shown)) > 2
    assert axes.xaxis.get_offset_text().get_text() == ""
    left, right = axes.get_xlim()
    assert left <= min(values) <= max(values) <= right
    assert axes.get_ylabel() == "evaluation return"


def test_configurations_of_a_choice_stand_in_the_order_of_their_returns(figures) -> None:
    """Each nearer to its own choice than to any other, as far apart as the next."""
    values, returns = [32, 128, 32, 32, 128], [3.0, 5.0, 1.0, 2.0, 4.0]
    axes = panel_of(figures, values, returns)
    places, heights = np.transpose(axes.collections[0].get_offsets())
    assert heights.tolist() == returns
    np.testing.assert_allclose(places, [1 / 6, 1.125, -1 / 6, 0, 0.875], atol=1e-12)
    assert "side by side, from the worst to the best" in figures[-1].legends[0].get_title().get_text()
    panel_of(figures, [1, 2, 3], [1.0, 2.0, 3.0])
    assert "side by side" not in figures[-1].legends[0].get_title().get_text()


@pytest.mark.parametrize(("seeds", "agents"), [(3, "every agent"), (8, "every agent"), (25, "90 % of the 50 agents")])
def test_curves_keep_to_what_was_seen(figures, seeds: int, agents: str) -> None:
    """Returns of 0 or 500, whose intervals would be beyond both."""
    results = by_configuration([[float(500 * (s % 2)) for s in range(seeds)]] * 2)
    rows = [(agent, x, 500.0 * (agent % 2)) for agent in range(2 * seeds) for x in (1000, 2000, 3000)]
    curves = pl.DataFrame(rows, ["agent", "env_steps", "episode_return"], orient="row")
    draw_curves(results, curves, best_configurations(results, []), "title", "subtitle", Path("unused.png"))
    axes, (legend,) = figures[-1].axes[0], figures[-1].legends
    assert axes.get_legend() is None  # it stands outside
    figures[-1].draw_without_rendering()
    assert legend.get_window_extent().x1 < figures[-1].bbox.x1
    assert agents in [text.get_text() for text in legend.get_texts()]
    assert axes.get_ylim() == pytest.approx((-20, 520))
    assert axes.get_xlim() == pytest.approx((0, 3060))
    paths = [path.vertices[:, 1] for collection in axes.collections for path in collection.get_paths()]
    assert bool(paths) == (seeds >= 5)
    assert all(0 <= path.min() <= path.max() <= 500 for path in paths)


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (1e-5, 1e-2, [1e-5, 1e-4, 1e-3, 1e-2]),
        (1.2e5, 5.8e5, [2e5, 3e5, 5e5]),
        (2.1, 2.9, [2.1, 2.9]),
        (0.5, 0.5, [0.5]),
        (1e-12, 1.0, [1e-12, 1e-9, 1e-6, 1e-3, 1.0]),
    ],
)
def test_log_ticks_are_round_and_apart(low: float, high: float, ticks: list[float]) -> None:
    assert sorted(_log_ticks(low, high)) == pytest.approx(ticks)
