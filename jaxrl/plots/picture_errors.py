"""Pictures that cannot make a run fail."""

import contextlib
import traceback
from collections.abc import Iterator
from pathlib import Path

from jaxrl.arguments import first_line

ERRORS = "picture_errors.txt"


@contextlib.contextmanager
def errors_as_notes(picture: Path) -> Iterator[None]:
    """Turns an error while drawing a picture into a printed note, because the results matter more than the picture.

    The traceback goes into `ERRORS` beside the picture. A half-written or outdated picture is removed.
    """
    try:
        yield
    except Exception as error:
        note = f"note: {picture.name} could not be drawn: {first_line(error)}"
        try:
            with (picture.parent / ERRORS).open("a") as file:
                file.write(f"{picture.name}\n{traceback.format_exc()}\n")
            picture.unlink(missing_ok=True)
            note += f" (see {picture.parent / ERRORS})"
        except OSError as failure:  # such as a full disk, which may be the cause of both
            note += f" (its traceback could not be saved: {failure})"
        print(note)
