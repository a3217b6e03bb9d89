"""The suite: a sweep over games for each algorithm, drawn and recorded side by side."""

import polars as pl
import pytest
from PIL import Image

import jaxrl
from jaxrl.experiments import minatar_suite
from jaxrl.runs.options import flatten
from jaxrl.sweeps import execute


@pytest.mark.slow
def test_it_trains_draws_and_records(run_main, tmp_path) -> None:
    arguments = ["--games", "Breakout", "--algorithms", "pqn", "--total-steps", "8192", "--num-seeds", "2"]
    arguments += ["--eval-every", "4096", "--out", "a", "--record", "b"]
    code, lines, errors = run_main(minatar_suite.main, *arguments)
    assert (code, errors) == (0, [])
    assert "picture: a/minatar_suite.png" in lines
    assert jaxrl.load("a/pqn", agent=1).options.task.env == "Breakout-MinAtar"
    for name in ("minatar_suite", "profiles"):
        with Image.open(f"b/{name}.png") as picture:
            assert picture.height > 300
    assert pl.read_parquet("b/curves.parquet")["eval_return"].is_finite().sum() == 4
    found = pl.read_parquet("b/results.parquet")
    assert found.select("algorithm", "env", "seed").rows() == [
        ("PQN", "Breakout-MinAtar", 0),
        ("PQN", "Breakout-MinAtar", 1),
    ]
    page = (tmp_path / "b" / "README.md").read_text()
    assert "| PQN on Breakout |" in page
    assert "| over all games | environment steps | runs | IQM score | median score | mean score | minutes |" in page
    assert "| DQN (Young & Tian 2019) | 10 | original; 5M frames" in page
    assert "DQN (Young & Tian 2019) on Breakout (10; at best, PQN " in page
    (line,) = [line for line in page.splitlines() if "jaxrl.experiments.pqn_minatar" in line]
    assert line.endswith(" --total-steps 8192 --num-seeds 2 --log-every 4096 --eval-every 4096")
    for path in minatar_suite.own_settings("pqn", 8192):
        assert f" --{path.replace('_', '-')} " in line
    assert " --hparams.learning-rate-decay-steps 8192.0 " in line


@pytest.mark.slow
def test_what_is_finished_survives_an_interruption(run_main, monkeypatch, tmp_path) -> None:
    """A signal stops the second algorithm; --resume trains it, and neither trains nor changes the first."""
    arguments = ["--games", "Breakout", "--algorithms", "pqn", "ppo", "--total-steps", "8192", "--num-seeds", "1"]
    arguments += ["--eval-every", "0", "--out", "a", "--record", "b"]
    train_chunk, trained = execute.train_chunk, []

    def stopped(group, *others) -> bool:
        trained.append(group.spec.experiment.algorithm)
        return group.spec.experiment.algorithm == "PQN" and train_chunk(group, *others)

    with monkeypatch.context() as patch:
        patch.setattr(execute, "train_chunk", stopped)
        code, lines, errors = run_main(minatar_suite.main, *arguments)
    assert (code, errors, trained) == (0, [], ["PQN", "PPO"])
    assert any("--resume" in line for line in lines)
    first = {path: path.read_bytes() for path in (tmp_path / "a" / "pqn").rglob("*.parquet")}
    assert len(first) == 4  # of the sweep and of its chunk
    assert not list((tmp_path / "b").iterdir())
    code, _, errors = run_main(minatar_suite.main, *arguments, "--resume")
    assert (code, errors) == (0, [])
    assert {path: path.read_bytes() for path in first} == first
    assert pl.read_parquet("b/results.parquet")["algorithm"].to_list() == ["PQN", "PPO"]


def test_its_sweeps_vary_the_games() -> None:
    options = minatar_suite.SuiteOptions(games=("Freeway", "Asterix"), total_steps=9_000, seed=3, num_seeds=2)
    spec = minatar_suite.make_spec(options, "pqn")
    assert [values["env"] for values in spec.draws] == ["Freeway-MinAtar", "Asterix-MinAtar"]
    assert (spec.experiment.algorithm, spec.seeds, spec.options.budget.seed) == ("PQN", 2, 3)
    assert (spec.options.budget.total_steps, spec.options.budget.eval_every) == (9_000, 500_000)


@pytest.mark.parametrize("algorithm", minatar_suite.EXPERIMENTS)
def test_the_learning_rate_falls_until_the_end(algorithm: str) -> None:
    """With any number of steps; that of Rainbow is constant. Nothing else changes but the algorithm's own."""
    spec = minatar_suite.make_spec(minatar_suite.SuiteOptions(total_steps=9_000, rainbow_steps=4_000), algorithm)
    steps = 4_000 if algorithm == "rainbow" else 9_000
    assert spec.options.budget.total_steps == steps
    before, now = (flatten(options) for options in (spec.experiment.defaults, spec.options))
    own = minatar_suite.own_settings(algorithm, steps)
    assert {path for path in now if "." in path and now[path] != before[path]} <= own.keys()
    assert {path: now[path] for path in own} == own
    assert now.get("hparams.learning_rate_decay_steps") == (0 if algorithm == "rainbow" else steps)


TRIALS = pl.DataFrame(
    {
        "algorithm": ["PQN"] * 3 + ["DQN"] * 2,
        "env": ["Freeway-MinAtar", "Asterix-MinAtar", "Asterix-MinAtar", "Freeway-MinAtar", "Asterix-MinAtar"],
        "seed": [0, 0, 1, 0, 0],
        "eval_return": [100.0, 17.0, 34.0, 50.0, 0.0],
        "env_steps": [9_000] * 3 + [2_000] * 2,
        "group": [0, 1, 1, 0, 1],
        "chunk": 0,
        "seconds": [60.0, 120.0, 120.0, 6.0, 6.0],
    }
)


def test_scores_are_returns_divided_by_those_of_the_published_dqn() -> None:
    scores = minatar_suite.normalised_scores(TRIALS)
    assert {name: [x.tolist() for x in games] for name, games in scores.items()} == {
        "PQN": [[2.0], [1.0, 2.0]],
        "DQN": [[1.0], [0.0]],
    }
    assert minatar_suite.aggregate_table(TRIALS).rows() == [
        ("PQN", "9,000", "3 in 2 games", "1.67", "1.75", "1.75", "3.0"),
        ("DQN", "2,000", "2 in 2 games", "0.50", "0.50", "0.50", "0.2"),
    ]


def test_intervals_need_five_seeds() -> None:
    rows = [("PQN", "Asterix-MinAtar", seed, 17.0 * (1 + seed), 1_000, 0, 0, 60.0) for seed in range(5)]
    trials = pl.DataFrame(rows, TRIALS.schema, orient="row")
    assert minatar_suite.aggregate_table(trials)["mean score"].to_list() == ["3.00 (1.80 to 4.20)"]
    assert minatar_suite.aggregate_table(trials.head(4))["mean score"].to_list() == ["2.50"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--num-seeds 0", "error: --num-seeds must be > 0, got 0"),
        ("--out a --record a/dqn", "error: --record must be another directory than that of the run, got a/dqn"),
        ("--resume", "error: --out must name the directory of the sweep to resume"),
        ("--rainbow-steps 0", "error: --rainbow-steps must be > 0, got 0"),
        ("--games", "error: --games must name at least one, got none"),
    ],
)
def test_bad_input(run_main, tmp_path, arguments: str, message: str) -> None:
    code, _, errors = run_main(minatar_suite.main, *arguments.split())
    assert (code, errors) == (2, [message])
    assert not list(tmp_path.iterdir())
