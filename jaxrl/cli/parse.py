"""Parsing the command line."""

import shutil
import sys
import textwrap
from collections.abc import Iterator
from typing import Any

import tyro
from tyro.constructors import ConstructorRegistry, PrimitiveConstructorSpec, PrimitiveTypeInfo

from jaxrl.arguments import nearest, suggest, whole_number
from jaxrl.cli.errors import fail
from jaxrl.runs.options import walk

REGISTRY = ConstructorRegistry()


def parse(options_type: Any, description: str | None, **arguments: Any) -> Any:
    """Parses the command line. Ends the process with status 2 if a flag is unknown or a value cannot be read.

    Args:
        options_type: the dataclass to return, or a union of them for subcommands.
        description: the first text of the help.
        arguments: other arguments of `tyro.cli`.
    """
    config = (tyro.conf.DisallowNone,)
    options, unknown = tyro.cli(
        options_type,
        args=sys.argv[1:],
        description=_wrap(description or ""),
        return_unknown_args=True,
        registry=REGISTRY,
        config=config,
        **arguments,
    )
    if unknown:
        flags = [word for word in unknown if word.startswith("--")]
        if not flags:
            fail(f"{unknown[0]!r} belongs to no option; --help lists them", 2)
        flag = flags[0].partition("=")[0].replace("_", "-")
        fail(f"{flag} is not known ({_near_flags(flag, arguments.get('default') or options)})", 2)
    return options


def _wrap(text: str) -> str:
    """Wraps text at the width of the screen, because tyro joins all lines that are not indented."""
    width = shutil.get_terminal_size().columns
    return "\n\n".join(
        paragraph if "\n  " in paragraph else textwrap.fill(paragraph, width, subsequent_indent="  ")
        for paragraph in text.split("\n\n")
    )


@REGISTRY.primitive_rule
def _whole_numbers(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec | None:
    """Reads ints such as 1e6 and 1_000_000."""
    if info.type is not int:
        return None
    return PrimitiveConstructorSpec(
        nargs=1,
        metavar="INT",
        instance_from_str=lambda words: whole_number(words[0]),
        is_instance=lambda value: isinstance(value, int) and not isinstance(value, bool),
        str_from_instance=lambda value: [str(value)],
    )


def _near_flags(flag: str, options: Any) -> str:
    """Suggests the nearest known flag, or else those of the same group."""
    known, name = list(_flags(options)), flag.removeprefix("--")
    group, _, last = name.rpartition(".")
    if nearest(last, known) is None and not any(path.startswith(f"{group}.") for path in known):
        return "--help lists all options"
    return suggest(name, known, "--")


def _flags(record: Any) -> Iterator[str]:
    """The flags of the options in a record, without their dashes."""
    for path, value, hint in walk(record):
        if tyro.conf.Positional not in getattr(hint, "__metadata__", ()):
            group, _, name = path.replace("_", "-").rpartition(".")
            group += "." * bool(group)
            yield f"{group}{name}"
            if isinstance(value, bool):
                yield f"{group}no-{name}"
