"""The commands that learn from images of digits: what they write, resuming to the same bits, and bad input."""

import json
from functools import partial

import jax
import numpy as np
import pytest

from jaxrl.cli.command import main
from jaxrl.experiments import attention_digits, captions_digits, routing_digits

SMALL = ("--config.batch-size", "8", "--eval-episodes", "4", "--log-every", "2")
COMMANDS = {
    "routing": (
        routing_digits,
        ("--config.router-sizes", "4", "--config.expert-sizes", "4", "--num-seeds", "2"),
        {"routing_accuracy", "test_error"},
    ),
    "attention": (
        attention_digits,
        ("--config.hidden-size", "8", "--config.glimpses", "2", "--num-seeds", "2"),
        {"test_error"},
    ),
    "captions": (
        captions_digits,
        ("--config.hidden-size", "8", "--config.conv-features", "4", "--num-seeds", "2"),
        {"caption_accuracy", "attention_accuracy"},
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
def test_what_a_command_writes(name, run_main, tmp_path, monkeypatch) -> None:
    """Its entries per seed and its pictures; a run that stops halfway ends with the same numbers."""
    monkeypatch.setattr("jaxrl.runs.train.record_video", lambda *_: None)
    module, arguments, entries = COMMANDS[name]
    command = partial(main, module.experiment)
    code, out, _ = run_main(command, *SMALL, *arguments, "--total-steps", "6", "--out", "whole")
    assert code == 0, out
    summary = json.loads((tmp_path / "whole" / "summary.json").read_text())
    for entry in entries:
        assert len(summary[f"{entry}_per_seed"]) == 2
        np.testing.assert_allclose(summary[entry], np.mean(summary[f"{entry}_per_seed"]))
        assert 0 <= summary[entry] <= 1
    for picture in module.experiment.pictures:
        assert (tmp_path / "whole" / picture).stat().st_size > 5000
    run_main(command, *SMALL, *arguments, "--total-steps", "4", "--out", "halves")
    run_main(command, *SMALL, *arguments, "--total-steps", "6", "--out", "halves", "--resume")
    again = json.loads((tmp_path / "halves" / "summary.json").read_text())
    for entry in entries:
        assert again[f"{entry}_per_seed"] == summary[f"{entry}_per_seed"]
    rows = [(tmp_path / run / "metrics.csv").read_text().splitlines() for run in ("whole", "halves")]
    header = rows[0][0].split(",")
    column = header.index("loss")
    assert [row.split(",")[column] for row in rows[0]] == [row.split(",")[column] for row in rows[1]]
    jax.clear_caches()


@pytest.mark.parametrize(
    ("module", "arguments", "message"),
    [
        (routing_digits, ("--config.num-experts", "1"), "--config.num-experts must be"),
        (routing_digits, ("--config.batch-size", "1"), "--config.batch-size must be"),
        (routing_digits, ("--env", "CartPole-v1", "--env-options"), "--env must be Digits"),
        (
            attention_digits,
            ("--config.glimpse-size", "40"),
            "--config.glimpse-size must be at most the image's 28 × 28",
        ),
        (attention_digits, ("--config.glimpses", "1"), "--config.glimpses must be"),
        (attention_digits, ("--env-options", "size=20"), "--env-options size must be"),
        (attention_digits, ("--config.places", "random", "--hparams.value-coef", "2"), "has no effect with"),
        (captions_digits, ("--env", "Digits"), "--env must be DigitCaptions"),
        (captions_digits, ("--config.samples", "1"), "--config.samples must be"),
        (captions_digits, ("--config.attention", "soft", "--config.samples", "8"), "has no effect with"),
        (captions_digits, ("--env-options", "size=50"), "--env-options size must be a multiple of 8"),
    ],
)
def test_bad_input(module, arguments, message, refused) -> None:
    code, lines = refused(*arguments, experiment=module.experiment)
    assert code not in (0, None) or lines
    assert len(lines) == 1
    assert message in lines[0]
