"""TensorBoard's event files."""

from collections.abc import Iterator
from pathlib import Path

from tensorboardX.proto.event_pb2 import Event, SessionLog


def events(directory: Path) -> Iterator[Event]:
    for path in sorted(directory.iterdir()):
        data = path.read_bytes()
        while data:  # length, its checksum, event, its checksum
            size = int.from_bytes(data[:8], "little")
            yield Event.FromString(data[12 : 12 + size])
            data = data[16 + size :]


def read_events(directory: Path) -> list[tuple[str, int, float]]:
    """The scalars in all event files of a directory."""
    return [(value.tag, event.step, value.simple_value) for event in events(directory) for value in event.summary.value]


def read_purges(directory: Path) -> list[int]:
    """The steps from which on TensorBoard drops what earlier files hold."""
    return [event.step for event in events(directory) if event.session_log.status == SessionLog.START]
