"""Many agents as one program."""

import jax

from jaxrl.types import Trainer, TrainState

STATE_AXES = TrainState(iteration=None, key=0, agent=0, envs=0, replay=0)  # type: ignore[arg-type]
"""Where a population's `TrainState` is batched: everywhere but on its clock, so that ring positions and schedules stay
scalars and no `cond` on them turns into a `select`."""


def population(trainer: Trainer) -> Trainer:
    """The same trainer for `A` agents at once: `init(keys[A], hparams[A])`, and every result with a leading axis `A`.

    Each agent equals its solo run up to the last bits of floating-point arithmetic.
    """
    return trainer._replace(
        init=jax.vmap(trainer.init, in_axes=(0, 0), out_axes=STATE_AXES),
        step=jax.vmap(trainer.step, in_axes=(STATE_AXES,), out_axes=(STATE_AXES, 0)),
    )
