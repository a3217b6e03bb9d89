"""Draws how both players of rock-paper-scissors circle as they learn, and what ends the circle."""

import dataclasses
import shutil
from pathlib import Path
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np
from annotated_types import Gt, Interval

from jaxrl import game_theory
from jaxrl.cli.command import prepare_jax, screen
from jaxrl.cli.errors import errors_in_one_line
from jaxrl.cli.parse import parse
from jaxrl.game_theory import MirrorDescentHparams, Solver
from jaxrl.plots.nash_conv import draw_simplex
from jaxrl.runs import provenance
from jaxrl.runs.options import default_hint
from jaxrl.runs.run_directory import check_record, lock, make_directory, make_out

NAME = "rps_cycle"
PICTURE = "simplex.png"
START = jnp.array([[0.5, 0.3, 0.2], [0.5, 0.3, 0.2]])
"""The policies of both players at the start, off the equilibrium."""


@dataclasses.dataclass(frozen=True)
class Options:
    iterations: Annotated[int, Interval(gt=0, le=100_000)] = 300
    """Iterations of each path."""
    step_size: Annotated[float, Gt(0)] = 0.1
    """Step size of mirror descent."""
    magnet: Annotated[float, Gt(0)] = 0.2
    """Weight of the magnet, the uniform policy."""
    out: Annotated[Path | None, default_hint(f"runs/{NAME}/DATE-TIME", "DIR")] = None
    """The directory to write to."""
    record: Annotated[Path | None, default_hint("nowhere", "DIR")] = None
    """Also copy the picture, with a README.md, to this directory."""


@errors_in_one_line()
def main() -> None:
    options = parse(Options, __doc__, prog=f"python -m jaxrl.experiments.{NAME}")
    prepare_jax()
    check_record(options.record, options.out)
    if options.record is not None:
        make_directory(options.record, "record")
    directory = make_out(options.out, NAME)
    with lock(directory, "out"):
        draw_simplex(
            follow(options), np.full(3, 1 / 3), ("rock", "paper", "scissors"),
            "Rock-paper-scissors: the first player's policy", "circle: start; square: end; cross: equilibrium",
            directory / PICTURE,
        )  # fmt: skip
    screen().print(f"picture: {directory / PICTURE}", soft_wrap=True)
    if options.record is not None:
        text = page()  # names the commit, without what is written below
        shutil.copyfile(directory / PICTURE, options.record / PICTURE)
        (options.record / "README.md").write_text(text)


def page() -> str:
    """The page of the record, in Markdown."""
    about = provenance.describe(f"jaxrl.experiments.{NAME}")
    return f"""# How learning circles in rock-paper-scissors

```
{about["command"]}
```

Both players learn at once, from the same policy. Mirror descent circles away from the equilibrium; a magnet, the
uniform policy, draws it in. The average of fictitious play approaches it, while its last policies circle too.

![the first player's policy]({PICTURE})

At commit {about["commit"] or "none"}.
"""


def follow(options: Options) -> dict[str, np.ndarray]:
    """The first player's policies `[T, 3]` by what they are of."""
    descent, play = game_theory.magnetic_mirror_descent(), game_theory.fictitious_play()
    rates = {"magnet_half_life": 0.0, "step_size": options.step_size}
    alone, drawn = (MirrorDescentHparams(magnet=x, **rates) for x in (0.0, options.magnet))
    log_start = descent.init(GAME)._replace(log_policy=jnp.log(START))
    mean_start = play.init(GAME)._replace(plans=(jnp.append(START[0], 1), jnp.append(START[1], 1)))
    last = path(descent, log_start, alone, options.iterations)
    return {
        "mirror descent": last,
        "with a magnet": path(descent, log_start, drawn, options.iterations),
        "fictitious play: the average": path(play, mean_start, (), options.iterations, average=True),
    }


def path(solver: Solver, start: Any, hparams: Any, iterations: int, average: bool = False) -> np.ndarray:
    """The first player's policy at the start and after each iteration, `[iterations + 1, 3]`."""
    policy = solver.average if average else solver.last

    def step(state: Any, t: jax.Array) -> tuple[Any, jax.Array]:
        return solver.step(GAME, state, t, hparams), policy(GAME, state)[0]

    times = jnp.arange(iterations + 1, dtype=jnp.float32)
    return np.asarray(jax.jit(lambda: jax.lax.scan(step, start, times)[1])())


GAME = game_theory.make_game("rock_paper_scissors")

if __name__ == "__main__":
    main()
