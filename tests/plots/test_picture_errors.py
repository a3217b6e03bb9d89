"""Pictures that cannot be drawn."""

from pathlib import Path

import pytest

from jaxrl.plots.picture_errors import errors_as_notes


def test_half_a_picture_is_removed_and_an_error_is_a_note(tmp_path: Path, capsys) -> None:
    picture = tmp_path / "a.gif"
    with errors_as_notes(picture):
        picture.write_text("half")
        raise OSError("no space left")
    assert not picture.exists()
    assert "OSError: no space left" in (tmp_path / "picture_errors.txt").read_text()
    with errors_as_notes(tmp_path / "missing" / "a.gif"):  # where nothing can be written
        raise ValueError
    out = capsys.readouterr().out.splitlines()
    log = tmp_path / "picture_errors.txt"
    assert out[0] == f"note: a.gif could not be drawn: OSError: no space left (see {log})"
    assert out[1].startswith("note: a.gif could not be drawn: ValueError (its traceback could not be saved: ")
    with pytest.raises(KeyboardInterrupt), errors_as_notes(picture):
        raise KeyboardInterrupt
