"""TensorBoard's event files."""

from pathlib import Path

from tensorboardX.proto.event_pb2 import Event


def read_events(directory: Path) -> list[tuple[str, int, float]]:
    """The scalars in all event files of a directory."""
    found = []
    for path in sorted(directory.iterdir()):
        data = path.read_bytes()
        while data:  # length, its checksum, event, its checksum
            size = int.from_bytes(data[:8], "little")
            event = Event.FromString(data[12 : 12 + size])
            found += [(value.tag, event.step, value.simple_value) for value in event.summary.value]
            data = data[16 + size :]
    return found
