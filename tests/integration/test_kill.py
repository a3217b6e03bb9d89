"""A run killed at any instant resumes and ends in the same bits."""

from pathlib import Path

import jax
import numpy as np
import pytest

from jaxrl import load
from tests.integration import commands
from tests.integration.commands import (
    ROW,
    SAVING,
    TINY,
    Moment,
    final_state,
    rows,
    steps_on_disk,
    unfinished_writes,
)

ARGUMENTS = [*TINY, "--total-steps", "20000"]
AMID, BEFORE_A_ROW, AT_THE_END = Moment(5, SAVING), Moment(2, ROW), Moment(6, SAVING)
"""In the middle of the second checkpoint of a process, before its second row, and at the end of a checkpoint."""


@pytest.mark.parametrize(
    "moments", [[AMID], pytest.param([AT_THE_END, AMID, BEFORE_A_ROW], marks=pytest.mark.slow)], ids=len
)
def test_sigkill_at_any_moment(moments: list[Moment], tmp_path: Path) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    code, _, err = commands.command("dqn_cartpole", *ARGUMENTS, "--out", str(whole))
    assert code == 0, err

    # A checkpoint after every call, so that no process comes far before it is killed.
    arguments = [*ARGUMENTS, "--checkpoint-every", "1e-9", "--out", str(killed)]
    done = 0
    for moment in moments:
        commands.kill(moment, "dqn_cartpole", *arguments, *(["--resume"] if done else []))
        assert bool(unfinished_writes(killed)) == (moment.pattern == SAVING)
        before, done = done, steps_on_disk(killed)[-1]
        assert done > before

    code, out, err = commands.command("dqn_cartpole", *ARGUMENTS, "--out", str(killed), "--resume")
    assert code == 0, err
    assert "resuming at" in out
    assert not unfinished_writes(killed)
    assert final_state(killed) == final_state(whole)
    assert rows(killed) == rows(whole)
    # The same once more without trusting our own checksum: what is on disk restores to the same arrays.
    a, b = load(whole).agent_state, load(killed).agent_state
    jax.tree.map(np.testing.assert_array_equal, a, b)
