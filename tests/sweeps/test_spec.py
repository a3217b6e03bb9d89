"""The specification of a sweep: what is drawn from it, and one line for everything that it cannot be."""

import dataclasses
import json
import math
import re

import numpy as np
import pytest
from scipy.stats import qmc

from jaxrl.arguments import ArgumentError
from jaxrl.experiments import dqn_cartpole
from jaxrl.runs.options import Task, flatten, with_values
from jaxrl.sweeps.spec import EXAMPLE, FORMAT, SweepSpec, flatten_record, read_spec, to_toml

RANDOM = 'experiment = "dqn_cartpole"\nsearch = "random"\nconfigurations = 64\n'
SOBOL = RANDOM.replace("random", "sobol")
GRID = 'experiment = "dqn_cartpole"\nsearch = "grid"\n'
RATE = 'hparams.learning_rate = {distribution = "log_uniform", low = 1e-4, high = 1e-2}\n'
DISCOUNT = 'hparams.discount = {distribution = "uniform", low = 0.9, high = 1.0}\n'
PERIOD = 'hparams.target_update_period = {distribution = "integer", low = 1, high = 4}\n'
BATCH = "config.batch_size.values = [64, 128]\n"


@pytest.fixture
def read(tmp_path):
    def read(text: str):
        path = tmp_path / "spec.toml"
        path.write_text(text)
        return read_spec(path)

    return read


@pytest.fixture
def column(read):
    """What a spec draws for one field."""

    def column(text: str, path: str) -> list:
        return [values[path] for values in read(text).draws]

    return column


def many(text: str, number: int) -> str:
    return text.replace("configurations = 64", f"configurations = {number}")


def test_the_example_of_the_help(read) -> None:
    spec = read(EXAMPLE)
    assert EXAMPLE.splitlines()[0] in FORMAT
    assert (spec.search, spec.configurations, spec.seeds, spec.options.budget.total_steps) == ("random", 64, 3, 200_000)
    assert list(spec.swept) == ["hparams.learning_rate", "config.batch_size"]


@pytest.mark.parametrize(
    ("text", "path", "expected"),
    [
        ("log_every = 1e4", "log_every", 10_000),
        ("eval_episodes = 2.0", "eval_episodes", 2),
        ("config.hidden_sizes = [1e2, 64]", "config.hidden_sizes", [100, 64]),
        ("hparams.target_update_period.values = [1e0, 1e3]", "hparams.target_update_period.values", [1, 1000]),
        ("hparams.target_update_period = {distribution = 'integer', low = 1, high = 1e4}",
         "hparams.target_update_period.high", 10_000),
    ],
)  # fmt: skip
def test_whole_numbers_may_have_an_exponent(read, text: str, path: str, expected) -> None:
    found = flatten_record(read((RANDOM if "period" in text else many(RANDOM, 1)) + text).record())[path]
    assert (found, type(found)) == (expected, type(expected))


def test_the_example(read) -> None:
    spec = read(
        """
        experiment = "dqn_cartpole"    # any training experiment
        search = "random"
        configurations = 64
        seeds = 3
        seed = 7
        total_steps = 2e5
        env = "GridWorld"
        env_options = ["map=cliff"]
        log_every = 1_000
        eval_every = 5e4
        eval_episodes = 16
        eval_max_steps = 100
        [hparams]
        discount = 1                   # an int where a float is needed
        [hparams.learning_rate]
        distribution = "log_uniform"
        low = 1e-4
        high = 1e-2
        [config]
        hidden_sizes = [64, 64]
        replay = "prioritised"
        double = true
        [config.batch_size]
        values = [64, 128]
        """
    )
    defaults = dqn_cartpole.experiment.defaults
    assert spec.experiment is dqn_cartpole.experiment
    assert (spec.search, spec.configurations, spec.seeds) == ("random", 64, 3)
    assert spec.options == with_values(
        defaults,
        {
            "env": "GridWorld",
            "env_options": ("map=cliff",),
            "total_steps": 200_000,
            "seed": 7,
            "num_seeds": 1,
            "log_every": 1_000,
            "eval_every": 50_000,
            "eval_episodes": 16,
            "eval_max_steps": 100,
            "hparams.discount": 1.0,
            "config.hidden_sizes": (64, 64),
            "config.replay": "prioritised",
            "config.double": True,
        },
    )
    assert type(spec.options.hparams.discount) is float
    assert spec.swept == {
        "hparams.learning_rate": {"distribution": "log_uniform", "low": 1e-4, "high": 1e-2},
        "config.batch_size": {"distribution": "choice", "values": (64, 128)},
    }
    record = flatten_record(spec.record())
    given = {
        "experiment": "dqn_cartpole",
        "search": "random",
        "configurations": 64,
        "seeds": 3,
        "variants": {},
        "seed": 7,
        "env": "GridWorld",
        "rules": None,
        "env_options": ["map=cliff"],
        "total_steps": 200_000,
        "log_every": 1_000,
        "eval_every": 50_000,
        "eval_episodes": 16,
        "eval_max_steps": 100,
        "keep_best": False,
        "hparams.discount": 1.0,
        "hparams.learning_rate.distribution": "log_uniform",
        "hparams.learning_rate.low": 1e-4,
        "hparams.learning_rate.high": 1e-2,
        "config.hidden_sizes": [64, 64],
        "config.replay": "prioritised",
        "config.double": True,
        "config.batch_size.distribution": "choice",
        "config.batch_size.values": [64, 128],
    }
    others = {path: value for path, value in flatten(defaults).items() if path.startswith(("hparams.", "config."))}
    swept = {"hparams.learning_rate", "config.batch_size"}
    assert record == {path: value for path, value in others.items() if path not in swept} | given
    assert SweepSpec(**json.loads(json.dumps(spec.record()))) == spec


def test_what_is_left_out_is_the_experiments(read) -> None:
    spec = read(RANDOM + RATE)
    assert spec.options == dqn_cartpole.experiment.defaults
    assert spec.seeds == 1
    assert spec.fields["total_steps"] == 600_000
    assert spec.fields["log_every"] == 10_000


def test_every_kind_of_field(read) -> None:
    """Bounds are respected, types are the fields', and everything that may come does come."""
    spec = read(
        many(RANDOM, 500)
        + RATE
        + DISCOUNT
        + PERIOD
        + BATCH
        + """
        hparams.epsilon_decay_steps = {distribution = "integer", low = 10, high = 12}  # a float field
        hparams.max_grad_norm.values = [1, 0.5, inf]
        config.replay.values = ["uniform", "prioritised"]
        config.double = {distribution = "choice", values = [true, false]}
        config.hidden_sizes.values = [[64], [128, 128], []]
        config.n_step = {distribution = "integer", low = 3, high = 3}
        config.v_min = {distribution = "uniform", low = -1e308, high = 1e308}
        """
    )
    drawn = spec.draws
    assert len(drawn) == spec.configurations == 500
    columns = {path: [values[path] for values in drawn] for path in drawn[0]}
    assert list(columns) == list(spec.swept)
    assert all(type(x) is float and 1e-4 <= x <= 1e-2 for x in columns["hparams.learning_rate"])
    assert all(type(x) is float and 0.9 <= x <= 1.0 for x in columns["hparams.discount"])
    assert all(type(x) is float and math.isfinite(x) for x in columns["config.v_min"])
    for path, values in {
        "hparams.target_update_period": {1, 2, 3, 4},
        "hparams.epsilon_decay_steps": {10.0, 11.0, 12.0},
        "hparams.max_grad_norm": {1.0, 0.5, math.inf},
        "config.batch_size": {64, 128},
        "config.replay": {"uniform", "prioritised"},
        "config.double": {True, False},
        "config.hidden_sizes": {(64,), (128, 128), ()},
        "config.n_step": {3},
    }.items():
        assert set(columns[path]) == values
        assert {type(x) for x in columns[path]} == {type(x) for x in values}


@pytest.mark.parametrize("search", [RANDOM, SOBOL])
def test_draws_fill_their_range_evenly(column, search: str) -> None:
    """The Kolmogorov-Smirnov distance of 2000 random draws is below 0.0304 with 95 %."""
    even = (np.arange(2000) + 0.5) / 2000
    rate = np.sort(column(many(search, 2000) + RATE, "hparams.learning_rate"))
    discount = np.sort(column(many(search, 2000) + DISCOUNT, "hparams.discount"))
    assert np.abs((np.log10(rate) + 4) / 2 - even).max() < 0.03
    assert np.abs((discount - 0.9) / 0.1 - even).max() < 0.03
    assert np.quantile(rate, [0.25, 0.5, 0.75]) == pytest.approx([10**-3.5, 1e-3, 10**-2.5], rel=0.15)
    periods = column(many(search, 2000) + PERIOD, "hparams.target_update_period")
    assert np.bincount(periods, minlength=5)[1:] == pytest.approx([500] * 4, abs=60)  # 3 standard deviations
    sizes = column(many(search, 2000) + BATCH, "config.batch_size")
    assert sizes.count(64) == pytest.approx(1000, abs=70)


@pytest.mark.parametrize("search", [RANDOM, SOBOL])
@pytest.mark.parametrize("number", [1, 2, 32, 33, 63])
def test_more_configurations_begin_with_the_same_ones(read, search: str, number: int) -> None:
    fields = RATE + DISCOUNT + PERIOD + BATCH
    drawn = read(many(search, number) + fields).draws
    assert len(drawn) == number
    assert drawn == read(search + fields).draws[:number]


@pytest.mark.parametrize("search", [RANDOM, SOBOL, GRID])
def test_the_same_spec_draws_the_same(read, search: str) -> None:
    fields = BATCH if search == GRID else RATE + BATCH
    assert read(search + fields).draws == read(search + fields).draws


@pytest.mark.parametrize("search", [RANDOM, SOBOL])
def test_another_seed_draws_others(column, search: str) -> None:
    rates = [column(f"{search}seed = {seed}\n{RATE}", "hparams.learning_rate") for seed in range(3)]
    assert len({rate for draws in rates for rate in draws}) == 3 * 64


def test_a_field_moves_no_other(column) -> None:
    alone = column(RANDOM + RATE, "hparams.learning_rate")
    assert column(RANDOM + DISCOUNT + RATE + BATCH, "hparams.learning_rate") == alone
    assert column(RANDOM + BATCH + RATE + PERIOD + DISCOUNT, "hparams.learning_rate") == alone
    assert column(RANDOM + RATE + "hparams.discount = 0.5\nseeds = 3\n", "hparams.learning_rate") == alone


def test_the_order_of_the_fields_moves_none(column) -> None:
    fields = [RATE, DISCOUNT, PERIOD]
    one, other = (column(SOBOL + "".join(order), "hparams.learning_rate") for order in (fields, fields[::-1]))
    assert one == other


def test_fields_are_not_correlated(read) -> None:
    """Of 1000 independent pairs, the correlation is 0 ± 0.03."""
    decay = RATE.replace("learning_rate", "importance_exponent_steps")
    drawn = read(many(RANDOM, 1000) + RATE + decay).draws
    logs = np.log([list(values.values()) for values in drawn])
    assert abs(np.corrcoef(logs.T)[0, 1]) < 0.1


def test_sobols_points_are_more_even(read) -> None:
    def discrepancy(search: str) -> float:
        drawn = read(search + RATE + DISCOUNT).draws
        points = np.array(
            [(np.log10(x["hparams.learning_rate"]) / 2 + 2, 10 * x["hparams.discount"] - 9) for x in drawn]
        )
        return qmc.discrepancy(np.clip(points, 0, 1))

    for seed in range(5):
        assert discrepancy(f"{SOBOL}seed = {seed}\n") < discrepancy(f"{RANDOM}seed = {seed}\n") / 3


def test_a_grid_is_the_product_in_the_order_of_the_file(read) -> None:
    fields = 'config.replay.values = ["uniform", "prioritised"]\nhparams.learning_rate.values = [1e-2, 1e-4, 1e-3]\n'
    spec = read(GRID + fields)
    assert spec.draws == [
        {"config.replay": replay, "hparams.learning_rate": rate}
        for replay in ("uniform", "prioritised")
        for rate in (1e-2, 1e-4, 1e-3)
    ]


@pytest.mark.parametrize("search", [GRID, many(RANDOM, 1), many(SOBOL, 1)])
def test_seeds_alone(read, search: str) -> None:
    spec = read(search + "seeds = 5\nhparams.discount = 0.9\n")
    assert (spec.seeds, spec.swept) == (5, {})
    assert spec.draws == [{}]


def test_with_values_replaces_these_fields_only() -> None:
    options = dqn_cartpole.experiment.defaults
    values = {"hparams.learning_rate": 1e-3, "config.hidden_sizes": (8, 8), "config.replay": "prioritised", "seed": 4}
    assert with_values(options, values) == dataclasses.replace(
        options,
        budget=dataclasses.replace(options.budget, seed=4),
        hparams=dataclasses.replace(options.hparams, learning_rate=1e-3),
        config=dataclasses.replace(options.config, hidden_sizes=(8, 8), replay="prioritised"),
    )
    assert with_values(options, {}) == options


@pytest.mark.parametrize(
    ("before", "after", "changed"),
    [
        ("low = 1e-4", "low = 1e-5", {"hparams.learning_rate.low"}),
        ("configurations = 64", "configurations = 65", {"configurations"}),
        ("[64, 128]", "[64, 128, 256]", {"config.batch_size.values"}),
        ("[64, 128]", "[128, 64]", {"config.batch_size.values"}),  # which draws others
        ('"random"', '"sobol"', {"search"}),
        ("seeds = 2", "seeds = 3", {"seeds"}),
        ("seeds = 2", "seeds = 2\nseed = 1", {"seed"}),
        ("seeds = 2", "seeds = 2\nseed = 0", set()),
        ("seeds = 2", "seeds = 2\nhparams.discount = 0.9", {"hparams.discount"}),
    ],
)
def test_fields_differ_where_the_files_do(read, before: str, after: str, changed: set[str]) -> None:
    text = RANDOM + "seeds = 2\n" + RATE + BATCH
    one, other = (flatten_record(read(x).record()) for x in (text, text.replace(before, after)))
    assert {path for path in one | other if one.get(path) != other.get(path)} == changed


def test_a_grids_number_is_no_field_of_its_own(read) -> None:
    texts = (GRID + f"config.batch_size.values = {values}\n" for values in ([8], [8, 16]))
    one, other = (flatten_record(read(text).record()) for text in texts)
    assert {path for path in one | other if one.get(path) != other.get(path)} == {"config.batch_size.values"}


BAD_TOP_LEVEL = [
    ("experiment = \n", r"SPEC must be a TOML file \(.*line 1.*\), got \S+spec.toml"),
    (RANDOM + "seeds = 3\nseeds = 4\n", r"SPEC must be a TOML file \(.*line 5.*\), got \S+spec.toml"),
    (RANDOM + "hparams.discount = 0.9\n" + DISCOUNT, r"SPEC must be a TOML file \(.*line 5.*\), got \S+spec"),  # both
    ("", 'experiment must be set, as in experiment = "dqn_cartpole"$'),
    ('experiment = "dqn_cartpole"', 'search must be set, as in search = "random"$'),
    ('experiment = "dqn_cartpole"\nsearch = "random"', 'configurations must be set for search = "random"$'),
    ('experiment = "dqn_cartpole"\nsearch = "sobol"', 'configurations must be set for search = "sobol"$'),
    ("experiment = 3\nsearch = 'grid'", "experiment must be text, got 3"),
    (
        GRID.replace("dqn_cartpole", "dqn_cartpol"),
        r"experiment must be one that trains \(the nearest is dqn_cartpole\).*, got 'dqn_cartpol'",
    ),
    (GRID.replace("dqn_cartpole", "ablation"), r"experiment must be one that trains .*, got 'ablation'"),
    (GRID.replace("dqn_cartpole", "__main__"), r"experiment must be one that trains .*, got '__main__'"),
    (GRID.replace("dqn_cartpole", ""), r"experiment must be one .* \(one of a2c_cartpole, alphago_.*\).*, got ''"),
    (RANDOM.replace("random", "bayes"), "search must be one of grid, random, sobol, list, got 'bayes'"),
    (RANDOM.replace('"random"', "[]"), r"search must be one of grid, random, sobol, list, got \[\]"),
    (RANDOM.replace("search", "serch"), r"serch is not known \(the nearest is search\), got 'random'"),
    (
        RANDOM + "wibble = 3",
        r"wibble is not known \(one of experiment, search, configurations, .*, hparams, config\), got 3",
    ),
    (RANDOM + '"a\\nb" = """c\nd"""', r"a\\nb is not known .*, got 'c\\nd'"),
    (RANDOM, "configurations must be 1 where no field is swept, got 64"),
    (many(RANDOM, 0) + RATE, "configurations must be > 0, got 0"),
    (many(RANDOM, 2**31) + RATE, "configurations must be <= 1000000, got 2147483648"),
    (many(RANDOM, 1.5) + RATE, "configurations must be a whole number, got 1.5"),
    (many(RANDOM, "true") + RATE, "configurations must be a whole number, got True"),
    (many(RANDOM, "'many'") + RATE, "configurations must be a whole number, got 'many'"),
    (GRID + "configurations = 64", "configurations must not be set: a grid takes all, got 64"),
    (RANDOM + "seeds = 0", "seeds must be > 0, got 0"),
    (RANDOM + "seeds = '3'", "seeds must be a whole number, got '3'"),
    (RANDOM + "seeds = [0, 1]", r"seeds must be a whole number; seeds is how many .* the first of them, got \[0, 1\]"),
    (RANDOM + "seeds.values = [0, 1]", "seeds must be a whole number; seeds is how many .*, got {'values': .*}"),
    (RANDOM + "env = ['A']", r"env must be text; to try several, say {values = \[\.\.\.\]}, got \['A'\]$"),
    (RANDOM + f"seed = {'[' * 5000}", r"SPEC must be a TOML file \(maximum recursion depth exceeded.*\), got \S+"),
    (RANDOM + "seed = -1", "seed must be >= 0, got -1"),
    (RANDOM + "seed = 1e-3", "seed must be a whole number, got 0.001"),
    (RANDOM + "total_steps = 0", "total_steps must be > 0, got 0"),
    (RANDOM + f"total_steps = 1{'0' * 400}", "total_steps must fit into 64 bits, got 10000"),
    (RANDOM + "total_steps.values = [1, 2]", "total_steps must be a whole number; only env, .* can have several"),
    (RANDOM + "log_every = 0", "log_every must be > 0, got 0"),
    (RANDOM + "env = 3", "env must be text, got 3"),
    (RANDOM + "rules = 'atari'", "rules must be one of original, gymnax, got 'atari'"),
    (RANDOM + "env_options = 'map=cliff'", r'env_options must be an array, as in \["map=cliff"\], got .map=cliff.'),
    (RANDOM + "env_options = [3]", "env_options must be text, got 3"),
    (RANDOM + "hparams = 3", "hparams must be a table, got 3"),
    (RANDOM + "[[config]]", r"config must be a table, got \[{}\]"),
    (RANDOM + "num_seeds = 3", r"num_seeds is not known \(the nearest is seeds\), got 3"),
    *(
        (RANDOM + f"{name} = true", f"{name} is an option of the command, not of the file, got True")
        for name in (
            "out", "resume", "record", "checkpoint_every", "loggers", "profile", "debug_nans", "sequential",
            "deterministic",
        )
    ),
]  # fmt: skip

BAD_FIELDS = [
    ("hparams.learning_rte = 1", r"hparams.learning_rte is not known \(the nearest is hparams.learning_rate\), got 1"),
    ("hparams.batch_size = 64", r"hparams.batch_size is not known \(the nearest is config.batch_size\), got 64"),
    ("config.discount.low = 1", r"config.discount is not known \(the nearest is hparams.discount\), got {'low': 1}"),
    ("hparams.wibble = 1", r"hparams.wibble is not known \(one of hparams.learning_rate, (?!.*batch_size).*\), got 1"),
    ("config.wibble = 1", r"config.wibble is not known \(one of config.num_envs, (?!.*discount).*\), got 1"),
    ("hparams.discount = 1.5", "hparams.discount must be <= 1, got 1.5"),
    ("hparams.discount = nan", "hparams.discount must be a number, got nan"),
    ("hparams.discount = '0.9'", "hparams.discount must be a number, got '0.9'"),
    ("hparams.discount = true", "hparams.discount must be a number, got True"),
    ("hparams.discount = 2026-10-05", r"hparams.discount must be a number, got 2026-10-05"),
    (f"hparams.max_grad_norm = 1{'0' * 400}", "hparams.max_grad_norm must fit into 64 bits, got 10000"),
    ("hparams.target_update_period = 1.5", "hparams.target_update_period must be a whole number, got 1.5"),
    ("config.batch_size = true", "config.batch_size must be a whole number, got True"),
    (
        "config.batch_size = [64, 128]",
        r"config.batch_size must be a whole number; to try several, say {values = \[\.\.\.\]}, got \[64, 128\]",
    ),
    ("config.double = 1", "config.double must be true or false, got 1"),
    ("config.double = 'true'", "config.double must be true or false, got 'true'"),
    ("config.replay = 'ring'", "config.replay must be one of uniform, prioritised, got 'ring'"),
    ("config.replay = '''a\nb'''", r"config.replay must be one of uniform, prioritised, got 'a\\nb'"),
    ("config.hidden_sizes = 64", r"config.hidden_sizes must be an array, as in \[64\], got 64$"),
    ("config.hidden_sizes = [64, 0]", "config.hidden_sizes must be > 0, got 0"),
    ("config.hidden_sizes = [64, 1.5]", "config.hidden_sizes must be a whole number, got 1.5"),
]

BAD_DIMENSIONS = [
    ("discount", "", "hparams.discount must have values, or a distribution with low and high, got {}"),
    ("discount", "low = 0, high = 1", "hparams.discount must have values, or a distribution .*, got {'low': 0, .*}"),
    (
        "discount",
        "distributon = 'uniform'",
        r"hparams.discount.distributon is not known \(.* hparams.discount.distribu",
    ),
    (
        "discount",
        "step = 1",
        r"hparams.discount.step is not known \(one of hparams.discount.distribution, .*\.values\), got 1",
    ),
    (
        "discount",
        "distribution = 'normal'",
        "hparams.discount.distribution must be one of uniform, log_uniform, integer, choice, got 'normal'",
    ),
    ("discount", "distribution = 3", "hparams.discount.distribution must be one of uniform, .*, got 3"),
    ("discount", "distribution = 'choice'", "hparams.discount.values must be set for choice$"),
    ("discount", "values = []", r"hparams.discount.values must be an array of one value or more, got \[\]"),
    ("discount", "values = 0.9", "hparams.discount.values must be an array of one value or more, got 0.9"),
    ("discount", "values = [0.9, 0.9]", r"hparams.discount.values must be different, got \[0.9, 0.9\]"),
    ("discount", "values = [1, 1.0]", r"hparams.discount.values must be different, got \[1, 1.0\]"),
    ("discount", "values = [0.9, 1.5]", "hparams.discount.values must be <= 1, got 1.5"),
    ("discount", "values = [0.9, 'x']", "hparams.discount.values must be a number, got 'x'"),
    ("discount", "values = [0.9, true]", "hparams.discount.values must be a number, got True"),
    ("discount", "values = [0.9], low = 0", "hparams.discount.low does not go with choice, got 0"),
    (
        "discount",
        "distribution = 'uniform', low = 0, high = 1, values = [1]",
        r"hparams.discount.values does not go with uniform, got \[1\]",
    ),
    ("discount", "distribution = 'uniform', high = 1", "hparams.discount.low must be set for uniform$"),
    ("discount", "distribution = 'uniform', low = 0", "hparams.discount.high must be set for uniform$"),
    ("discount", "distribution = 'uniform', low = 0.5, high = 1.5", "hparams.discount.high must be <= 1, got 1.5"),
    ("discount", "distribution = 'uniform', low = -1, high = 1", "hparams.discount.low must be >= 0, got -1.0"),
    ("discount", "distribution = 'uniform', low = '0', high = 1", "hparams.discount.low must be a number, got '0'"),
    ("discount", "distribution = 'uniform', low = 0, high = true", "hparams.discount.high must be a number, got True"),
    ("discount", "distribution = 'uniform', low = nan, high = 1", "hparams.discount.low must be a number, got nan"),
    (
        "discount",
        "distribution = 'uniform', low = 0.9, high = 0.5",
        "hparams.discount.low must be < high = 0.5, got 0.9",
    ),
    (
        "discount",
        "distribution = 'uniform', low = 0.9, high = 0.9",
        "hparams.discount.low must be < high = 0.9, got 0.9",
    ),
    (
        "max_grad_norm",
        "distribution = 'uniform', low = 1, high = inf",
        "hparams.max_grad_norm.high must be finite, got inf",
    ),
    (
        "learning_rate",
        "distribution = 'log_uniform', low = 0, high = 1",
        "hparams.learning_rate.low must be > 0, got 0.0",
    ),
    (
        "epsilon_end",
        "distribution = 'log_uniform', low = 0, high = 1",
        "hparams.epsilon_end.low must be > 0 for log_uniform, got 0.0",
    ),
    (
        "epsilon_decay_steps",
        "distribution = 'integer', low = 0.5, high = 3",
        "hparams.epsilon_decay_steps.low must be a whole number for integer, got 0.5",
    ),
    (
        "target_update_period",
        "distribution = 'integer', low = 1, high = 3.5",
        "hparams.target_update_period.high must be a whole number, got 3.5",
    ),
    (
        "target_update_period",
        "distribution = 'integer', low = 3, high = 2",
        "hparams.target_update_period.low must be <= high = 2, got 3",
    ),
    (
        "target_update_period",
        "distribution = 'integer', low = 0, high = 2",
        "hparams.target_update_period.low must be > 0, got 0",
    ),
    *(
        (
            "target_update_period",
            f"distribution = '{name}', low = 1, high = 2",
            f"""hparams.target_update_period.distribution must be "integer" or "choice" for .*, got '{name}'""",
        )
        for name in ("uniform", "log_uniform")
    ),
]

BAD_CONFIG = [
    *(
        (
            f"config.{field} = {{distribution = '{name}', low = 1, high = 2}}",
            f"""config.{field}.distribution must be "choice" for a field that is not a number, got '{name}'""",
        )
        for field in ("double", "replay", "hidden_sizes")
        for name in ("uniform", "log_uniform", "integer")
    ),
    (
        "config.hidden_sizes.values = [64, [8, 8]]",
        r"config.hidden_sizes.values must be an array of arrays, as in \[\[64\], \[8, 8\]\], got \[64, \[8, 8\]\]",
    ),
    ("config.hidden_sizes.values = [[64], [0]]", "config.hidden_sizes.values must be > 0, got 0"),
    ("config.hidden_sizes.values = [[64], [64]]", r"config.hidden_sizes.values must be different, got \[\[64\], \[64"),
    ("config.replay.values = ['uniform', 'ring']", "config.replay.values must be one of uniform, .*, got 'ring'"),
    ("config.double.values = [true, 0]", "config.double.values must be true or false, got 0"),
    ("config.batch_size.values = [64, 128.5]", "config.batch_size.values must be a whole number, got 128.5"),
]

BAD_LISTS = [
    ("", "variants must name a configuration or more, got none"),
    ("variants = 3", "variants must be a table of tables, got 3"),
    ("[[variants]]\nname = 'a'", "variants must be a table of tables, got"),
    ("[variants]\na = 3", "variants.a must be a table, got 3"),
    ("[variants.a]\nconfig = 3", "variants.a.config must be a table, got 3"),
    ("[variants.a]\nhparams.discount = 2", "variants.a.hparams.discount must be <= 1, got 2.0"),
    ("[variants.a]\nconfig.dubble = true", r"variants.a.config.dubble is not known \(the nearest is config.double\)"),
    ("[variants.a]\nout = 'x'", "variants.a.out is an option of the command"),
    *(
        (
            f"[variants.a]\n{name} = 7",
            f"variants.a.{name} must be set for all variants at once; a variant changes only env,",
        )
        for name in ("total_steps", "seed", "log_every", "eval_episodes", "eval_max_steps")
    ),
    ("[variants.a]\nhparams.discount.values = [0.9]", "variants.a.hparams.discount must be a number, got {'values'"),
    ("config.batch_size.values = [8]\n[variants.a]", "config.batch_size must have one value: the variants of a list"),
    ("configurations = 2\n[variants.a]", "configurations must not be set: a list takes all, got 2"),
]

BAD = [
    *BAD_TOP_LEVEL,
    *((GRID.replace("grid", "list") + text, message) for text, message in BAD_LISTS),
    (GRID + "[variants.a]", "variants need search = .list., got a"),
    *((RANDOM + field, message) for field, message in BAD_FIELDS + BAD_CONFIG),
    *((f"{RANDOM}hparams.{name} = {{{keys}}}", message) for name, keys, message in BAD_DIMENSIONS),
    (GRID + DISCOUNT, "hparams.discount.distribution must be choice in a grid, got 'uniform'"),
    (GRID + PERIOD, "hparams.target_update_period.distribution must be choice in a grid, got 'integer'"),
]


@pytest.mark.parametrize(("text", "message"), BAD, ids=[message for _, message in BAD])
def test_one_line_names_the_field(read, monkeypatch, tmp_path, text: str, message: str) -> None:
    experiment = dqn_cartpole.experiment._replace(build=lambda *args: pytest.fail("it built what could be compiled"))
    monkeypatch.setattr(dqn_cartpole, "experiment", experiment)
    with pytest.raises(ArgumentError) as error:
        read(text)
    line = error.value.line(error.value.name)
    assert re.match(message, line), line
    assert len(line.splitlines()) == 1
    assert error.value.source == (None if error.value.name == "SPEC" else tmp_path / "spec.toml")


def test_a_file_that_cannot_be_read(tmp_path) -> None:
    path = tmp_path / "nothing.toml"
    with pytest.raises(
        ArgumentError, match=r"^SPEC must be a file that can be read \(No such file .*\), got \S+\.toml$"
    ):
        read_spec(path)
    with pytest.raises(ArgumentError, match=r"^SPEC must be a file that can be read \(Is a directory\), got \S+$"):
        read_spec(tmp_path)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(ArgumentError, match=r"^SPEC must be a TOML file \('utf-8' codec .*\), got \S+nothing\.toml$"):
        read_spec(path)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_a_file_of_any_editor(tmp_path, read, end: str) -> None:
    (tmp_path / "saved.toml").write_bytes(("\ufeff" + RANDOM + RATE).replace("\n", end).encode())
    assert read_spec(tmp_path / "saved.toml") == read(RANDOM + RATE)


def test_environments_and_rules_are_swept_as_other_fields(read) -> None:
    spec = read('experiment = "pqn_minatar"\nsearch = "grid"\nrules.values = ["original", "gymnax"]\n'
                'env.values = ["Asterix-MinAtar", "Breakout-MinAtar"]\n')  # fmt: skip
    assert [tuple(values.values()) for values in spec.draws] == [
        ("original", "Asterix-MinAtar"), ("original", "Breakout-MinAtar"),
        ("gymnax", "Asterix-MinAtar"), ("gymnax", "Breakout-MinAtar"),
    ]  # fmt: skip
    assert spec.configuration(3, seed=5).task == Task("Breakout-MinAtar", "gymnax")


LIST = """
experiment = "dqn_cartpole"
search = "list"
hparams.discount = 0.9
[variants.DQN]
[variants."Double DQN"]
env = "Acrobot-v1"
hparams.epsilon_eval = 0
config.double = true
"""


def test_a_list_of_variants(read) -> None:
    spec = read(LIST)
    assert spec.draws == [{}, {"env": "Acrobot-v1", "hparams.epsilon_eval": 0.0, "config.double": True}]
    assert list(spec.variants) == ["DQN", "Double DQN"]
    plain, double = (spec.configuration(number) for number in range(2))
    assert plain == with_values(dqn_cartpole.experiment.defaults, {"hparams.discount": 0.9})
    assert double == with_values(plain, spec.draws[1])
    fewer = flatten_record(read(LIST.replace("[variants.DQN]", "")).record())
    assert flatten_record(spec.record()).keys() - fewer.keys() == {"variants.DQN"}  # it has no value that differs


def test_a_specification_in_python_is_the_same_as_a_file(read) -> None:
    rate = {"distribution": "log_uniform", "low": 1e-4, "high": 1e-2}
    fields = {"seed": 3, "hparams.learning_rate": rate, "config.batch_size": {"values": [64, 128]}}
    spec = SweepSpec("dqn_cartpole", "random", 64, fields=fields)
    assert spec == read(RANDOM + "seed = 3\n" + RATE + BATCH)
    assert spec == SweepSpec(dqn_cartpole.experiment, "random", 64, fields=fields)
    assert read(to_toml(spec)) == spec
    variants = {"a": {}, "b c": {"config.double": True}}
    assert read(to_toml(SweepSpec("dqn_cartpole", "list", variants=variants))).variants == variants


def test_a_changed_specification_is_no_longer_its_file(read) -> None:
    text = 'env = "GridWorld"\n' + RANDOM + RATE
    spec = read(text)
    assert to_toml(spec) == to_toml(spec.with_maps()) == text
    assert spec.with_maps().source == spec.source
    changed = dataclasses.replace(spec, seeds=7)
    assert read(to_toml(changed)) == changed
    assert changed.source == ""


def test_the_maps_of_all_swept_options_are_kept(tmp_path) -> None:
    for name, text in (("a", "SG"), ("b", "S.G")):
        (tmp_path / name).write_text(text)
    values = [[f"map={tmp_path / name}"] for name in "ab"]
    spec = SweepSpec("dqn_cartpole", "grid", fields={"env": "GridWorld", "env_options": {"values": values}})
    texts = [" ".join(draw["env_options"]) for draw in spec.with_maps().draws]
    assert ["S.G" in text for text in texts] == [False, True]
    assert not any(str(tmp_path) in text for text in texts)


def test_every_field_of_every_experiment_can_be_fixed(read) -> None:
    """By its own default: every type that there is can be read."""
    for name in ("a2c_cartpole", "ppo_cartpole", "pqn_cartpole", "q_learning_gridworld", "rainbow_minatar"):
        defaults = read(f'experiment = "{name}"\nsearch = "grid"\n').options
        lines = [
            f"{part}.{field} = {json.dumps(value)}\n"
            for part in ("hparams", "config")
            for field, value in dataclasses.asdict(getattr(defaults, part)).items()
        ]
        assert read(f'experiment = "{name}"\nsearch = "grid"\n{"".join(lines)}').options == defaults
