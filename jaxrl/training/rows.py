"""Where rows of metrics end and evaluations happen: after fixed iterations, however long a call of the program is."""

from jaxrl.types import Trainer


def whole_steps(trainer: Trainer, total_steps: int) -> int:
    """The steps of a run of `total_steps`, rounded down to whole iterations."""
    return total_steps - (total_steps - trainer.warmup_steps) % trainer.steps_per_iteration


def row_length(trainer: Trainer, log_every: int) -> int:
    """Iterations between two rows of metrics."""
    return max(1, round(log_every / trainer.steps_per_iteration))


def eval_length(trainer: Trainer, log_every: int, eval_every: int) -> int:
    """Iterations between two evaluations: whole rows."""
    rows = row_length(trainer, log_every)
    return rows * max(1, round(eval_every / (rows * trainer.steps_per_iteration)))


def row_ends(trainer: Trainer, log_every: int, iteration: int) -> range:
    """Steps of one agent at the ends of the rows that are complete after so many iterations."""
    length = row_length(trainer, log_every)
    return range(trainer.steps_at(length), trainer.steps_at(iteration) + 1, length * trainer.steps_per_iteration)
