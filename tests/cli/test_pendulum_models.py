"""PETS and MBPO beside SAC: what each trains, and the page and the picture of their curves."""

import polars as pl
import pytest
from PIL import Image

from jaxrl.experiments import mbpo_pendulum, pendulum_models, pets_pendulum
from jaxrl.experiments.pendulum_models import ModelsOptions, make_spec


def test_each_learns_by_its_own_command() -> None:
    """All differ from their commands in evaluations and seeds alone, but SAC, which trains for longer."""
    options = ModelsOptions(seed=3, num_seeds=2, sac_steps=9_000)
    for name, experiment in (("mbpo", mbpo_pendulum.experiment), ("pets", pets_pendulum.experiment)):
        spec = make_spec(options, name)
        assert (spec.experiment, spec.seeds, spec.options.budget.seed) == (experiment, 2, 3)
        assert spec.options.budget.total_steps == 2_000
        assert (spec.options.hparams, spec.options.config) == (experiment.defaults.hparams, experiment.defaults.config)
    assert make_spec(options, "sac").options.budget.total_steps == 9_000


@pytest.mark.slow
def test_it_trains_draws_and_records(run_main, tmp_path) -> None:
    arguments = ["--algorithms", "sac", "--sac-steps", "2000", "--num-seeds", "1", "--record", "b"]
    code, lines, errors = run_main(pendulum_models.main, *arguments)
    assert (code, errors) == (0, [])
    assert any(line.startswith("picture: ") and line.endswith("pendulum_models.png") for line in lines)
    with Image.open("b/pendulum_models.png") as picture:
        assert picture.height > 200
    assert pl.read_parquet("b/curves.parquet")["eval_return"].is_finite().sum() == 2
    page = (tmp_path / "b" / "README.md").read_text()
    assert "mean of 64 episodes" in page


def test_bad_input(run_main) -> None:
    code, _, errors = run_main(pendulum_models.main, "--algorithms")
    assert code != 0
    assert "algorithms" in errors[0]
