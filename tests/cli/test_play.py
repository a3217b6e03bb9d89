"""`play`: videos, and the keyboard in a pseudo-terminal."""

import os
import pty
import re
import select
import signal
import subprocess
import sys
import termios
import time
from functools import partial
from pathlib import Path

import pytest
from PIL.GifImagePlugin import GifImageFile

from jaxrl.cli.keyboard import key_bindings, key_help
from jaxrl.envs import make
from jaxrl.envs.digits import Digits
from jaxrl.experiments import play


@pytest.fixture
def call(run_main):
    return partial(run_main, play.main)


def test_a_random_policy_makes_a_video_and_prints_returns(call, tmp_path: Path) -> None:
    code, out, _ = call("--env", "CartPole-v1", "--steps", "50", "--play-seed", "1")
    assert code == 0
    assert out[0] == "CartPole-v1 (default rules, 500-step cap)"
    # Every reward of cart-pole is 1, so that a return is a length: what is left of the 50 steps is one open episode.
    returns = [int(x) for x in out[1].removeprefix("returns of the episodes that ended: ").split(", ")]
    assert 0 <= 50 - sum(returns) < 50
    assert min(returns) >= 8
    assert out[2] == "written to play.gif"
    with GifImageFile(tmp_path / "play.gif") as video:
        assert video.n_frames == 50 + len(returns)


def test_a_video_is_as_long_as_its_environment_says(call, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(Digits, "video_steps", 3)
    code, out, _ = call("--env", "Digits")
    assert code == 0
    assert len(out[1].split(", ")) == 3
    with GifImageFile(tmp_path / "play.gif") as video:
        assert video.n_frames == 6  # of each image, and of its end


def test_many_returns_are_summarised(capsys) -> None:
    play.print_returns("environment", [float(x) for x in range(200)])
    play.print_returns("environment", [])
    lines = [
        "environment",
        "200 episodes ended, with returns from 0 to 199 and a mean of 99.50",
        "environment",
        "no episode ended",
    ]
    assert capsys.readouterr().out.splitlines() == lines


def test_options_of_an_environment_reach_it(call) -> None:
    options = ["map=cliff", "slip_probability=0.25"]
    code, out, _ = call("--env", "GridWorld", "--steps", "3", "--env-options", *options)
    assert code == 0
    assert out[0] == "GridWorld (cliff map, 4 × 12, slip probability 0.25, 200-step cap)"


def test_mujoco_draws_only_robots_of_brax_and_playground(call) -> None:
    code, _, error = call("--env", "PlanarHopper", "--steps", "3", "--renderer", "mujoco")
    assert code == 2
    assert "--renderer can only be mujoco for a robot of brax or MuJoCo Playground" in error[-1]


def test_continuous_actions_can_be_played(call) -> None:
    code, out, _ = call("--env", "Pendulum-v1", "--steps", "3")
    assert code == 0
    assert out[-1] == "written to play.gif"


BAD = [
    ("nobody", "POLICY must be random, keyboard, or the directory of a run or a sweep, got 'nobody'"),
    ("keyboard", "POLICY can only be keyboard in a terminal"),
    ("keyboard --out x.gif", "--out is for videos, .*, got x.gif"),
    ("--env Breakout", "--env must be a known name"),
    ("--env CartPole-v1 --rules gymnax", "--rules .*, got rules='gymnax' for 'CartPole-v1'"),
    ("--env CartPole-v1 --env-options tau=0", "--env-options tau must be > 0, got 0"),
    ("--steps 0", "--steps must be > 0, got 0"),
    ("--play-seed -1", "--play-seed must be >= 0, got -1"),
    ("--seed 1", "--seed is for the directory of a run or a sweep; --play-seed changes the random numbers"),
    ("--agent 1", "--agent is for the directory of a run or a sweep"),
    ("--fps 0", "--fps must be > 0, got 0"),
    ("--out video.mp4", r"--out must be a file that ends in \.gif, got video\.mp4"),
    ("--out A_FILE/video.gif", r"--out must be a directory that can be made \(.*\), got A_FILE"),
]


@pytest.mark.parametrize(("arguments", "message"), BAD, ids=[arguments for arguments, _ in BAD])
def test_bad_input_is_one_line(call, tmp_path: Path, arguments: str, message: str) -> None:
    (tmp_path / "A_FILE").write_text("")
    code, out, err = call(*arguments.split())
    assert (code, out, len(err)) == (2, [], 1)
    assert re.match(f"error: {message}", err[0])
    assert [path.name for path in tmp_path.iterdir()] == ["A_FILE"]


def test_keys() -> None:
    actions, idle = key_bindings(*make("Breakout-MinAtar", "gymnax"))
    assert (actions["KEY_LEFT"], actions["d"], actions["0"], idle) == (1, 2, 0, 0)
    assert key_help(actions) == ["←→ or AD  move", "q  quit"]
    actions, idle = key_bindings(*make("Breakout-MinAtar"))
    assert [actions[key] for key in ("KEY_LEFT", "KEY_UP", "d", "s", " ", "5")] == [1, 2, 3, 4, 5, 5]
    actions, idle = key_bindings(*make("CartPole-v1"))
    assert (actions, idle) == ({"0": 0, "1": 1, "KEY_LEFT": 0, "a": 0, "KEY_RIGHT": 1, "d": 1}, None)
    assert key_help(key_bindings(*make("DiscountingChain-bsuite"))[0])[0] == "0 to 4  act"


class Session:
    """The command in a pseudo-terminal of 24 lines of 80 characters."""

    def __init__(self, *arguments: str) -> None:
        self.terminal, inside = pty.openpty()
        self.before = termios.tcgetattr(self.terminal)
        termios.tcsetwinsize(self.terminal, (24, 80))
        command = [sys.executable, "-m", "jaxrl.experiments.play", "keyboard", *arguments]
        env = os.environ | {"TERM": "xterm-256color"}
        self.process = subprocess.Popen(command, stdin=inside, stdout=inside, stderr=inside, env=env)
        self.inside, self.shown = inside, ""

    def wait_for(self, pattern: str) -> None:
        """Reads until the output since the last match, without colours, matches."""
        deadline = time.monotonic() + 300
        while not (match := re.search(pattern, self.shown)):
            assert time.monotonic() < deadline, f"{pattern!r} never came, but {self.shown[-2000:]!r}"
            if select.select([self.terminal], [], [], 0.1)[0]:
                self.shown += re.sub(r"\x1b\[[0-9;]*m", "", os.read(self.terminal, 65536).decode(errors="replace"))
        self.shown = self.shown[match.end() :]

    def type(self, keys: str) -> None:
        os.write(self.terminal, keys.encode())

    def assert_restored(self, code: int) -> None:
        self.wait_for(re.escape("\x1b[?25h"))  # the cursor is shown again
        self.wait_for(re.escape("\x1b[?1049l"))  # and the screen that was there before
        assert self.process.wait(300) == code
        assert termios.tcgetattr(self.terminal) == self.before
        os.close(self.inside)
        os.close(self.terminal)


def test_the_keyboard_plays_cart_pole_key_by_key() -> None:
    session = Session("--env", "CartPole-v1")
    session.wait_for("loading CartPole-v1")
    session.type("\x1b[D")  # before there is a picture
    session.wait_for(r"(?s)CartPole-v1.*episode 1.*step 0.*return 0.*←→ or AD  move.*q  quit")
    session.wait_for(r"(?s)step 1.*return 1")
    session.type("xd")  # one key that means nothing, one that does
    session.wait_for(r"(?s)step 2.*return 2")
    session.type("a" * 20)
    session.wait_for(r"(?s)episode 2.*last episode (8|9|10|11|12)\b")
    session.type("q")
    session.assert_restored(0)


def test_breakout_steps_without_keys_and_a_signal_restores_the_terminal() -> None:
    ends = {signal.SIGINT: 130, signal.SIGTERM: 143}
    sessions = [Session("--fps", "30") for _ in ends]  # both at once, for they take long to start
    for session, (end, code) in zip(sessions, ends.items(), strict=True):
        session.wait_for(r"(?s)step 0.*paddle.*ball.*trail.*brick")
        session.wait_for("step 5")
        session.process.send_signal(end)
        session.assert_restored(code)
