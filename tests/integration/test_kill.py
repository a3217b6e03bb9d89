"""A run killed at any instant resumes and ends in the same bits."""

import random
import shutil
from pathlib import Path

import jax
import numpy as np

from jaxrl import load
from tests.integration import commands
from tests.integration.commands import TINY, final_state, rows, steps_on_disk, unfinished_writes

TOTAL = 200_000
ARGUMENTS = [*TINY, "--total-steps", str(TOTAL)]


def test_sigkill_at_any_moment(tmp_path: Path) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    code, _, err = commands.command("dqn_cartpole", *ARGUMENTS, "--out", str(whole))
    assert code == 0, err

    moments = random.Random(0)
    arguments = [*ARGUMENTS, "--checkpoint-every", "0.01", "--out", str(killed)]
    while_writing = between = 0
    for attempt in range(4):
        progress = steps_on_disk(killed)
        resume = ["--resume"] if progress else []
        if not progress:
            shutil.rmtree(killed, ignore_errors=True)
        process = commands.start("dqn_cartpole", *arguments, *resume)
        # Let it get further than last time, so that the run ends; then kill it in the middle of a write, or anywhere.
        seen = progress[-1] if progress else -1
        writing = attempt % 2 == 0
        wait = moments.randrange(5)

        def moment(seen=seen, writing=writing, wait=wait) -> bool:
            steps = steps_on_disk(killed)
            further = len([step for step in steps if step > seen + wait * 500]) > 0
            return further and (bool(unfinished_writes(killed)) if writing else True)

        if not commands.kill_when(process, moment):
            break  # it was done first
        while_writing += bool(unfinished_writes(killed))
        between += not unfinished_writes(killed)
    assert while_writing >= 1
    assert while_writing + between >= 3

    code, out, err = commands.command("dqn_cartpole", *ARGUMENTS, "--out", str(killed), "--resume")
    assert code == 0, err
    assert "resuming at" in out
    assert not unfinished_writes(killed)
    assert final_state(killed) == final_state(whole)
    assert rows(killed) == rows(whole)
    # The same once more without trusting our own checksum: what is on disk restores to the same arrays.
    a, b = load(whole).agent_state, load(killed).agent_state
    jax.tree.map(np.testing.assert_array_equal, a, b)
