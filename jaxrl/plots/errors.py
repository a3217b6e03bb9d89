"""Pictures that cannot make a run fail."""

import contextlib
import traceback
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console

from jaxrl.training.checkpoint import first_line

ERRORS = "picture_errors.txt"


@contextlib.contextmanager
def errors_as_notes(picture: Path) -> Iterator[None]:
    """Draws a picture of what is finished, which is worth more: an error becomes a note of one line.

    The traceback goes into `ERRORS` beside the picture, and what was there of the picture, which would be an older one
    or half of it, is removed.
    """
    try:
        yield
    except Exception as error:  # whatever is wrong with the picture, what it shows is trained and evaluated
        note = f"note: {picture.name} could not be drawn: {first_line(error)}"
        try:
            with (picture.parent / ERRORS).open("a") as file:
                file.write(f"{picture.name}\n{traceback.format_exc()}\n")
            picture.unlink(missing_ok=True)
            note += f" (more in {picture.parent / ERRORS})"
        except OSError as failure:  # such as a full disk, which may be why
            note += f" (nor could this be written down: {failure})"
        Console(highlight=False).print(note, soft_wrap=True, markup=False)
