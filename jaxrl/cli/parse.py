"""Reading the command line: all commands take numbers in the same forms, and say in one line what they do not know."""

import dataclasses
import shutil
import sys
import textwrap
from collections.abc import Iterator
from typing import Any, get_type_hints

import tyro
from tyro.constructors import ConstructorRegistry, PrimitiveConstructorSpec, PrimitiveTypeInfo

from jaxrl.arguments import nearest, whole_number
from jaxrl.cli.errors import fail
from jaxrl.runs.options import WITHOUT_PREFIX

REGISTRY = ConstructorRegistry()


def parse(options_type: Any, description: str | None, **arguments: Any) -> Any:
    """The options of a command. The process ends with status 2 if a flag is unknown or a value cannot be read.

    Args:
        options_type: a dataclass, or a union of them for subcommands.
        description: what the help begins with.
        arguments: others of `tyro.cli`.
    """
    config = (tyro.conf.FlagCreatePairsOff, tyro.conf.DisallowNone)
    words = [_with_dashes(word) for word in sys.argv[1:]]
    options, unknown = tyro.cli(
        options_type,
        args=words,
        description=_broken_into_lines(description or ""),
        return_unknown_args=True,
        registry=REGISTRY,
        config=config,
        **arguments,
    )
    if unknown:
        flags = [word for word in unknown if word.startswith("--")]
        if not flags:
            fail(f"{unknown[0]!r} belongs to no option; --help lists them", 2)
        flag = flags[0].partition("=")[0]
        fail(f"{flag} is not known ({_near_flags(flag, arguments.get('default') or options)})", 2)
    return options


def _broken_into_lines(text: str) -> str:
    """Text for the width of the screen; only lines that are indented stay as they are: tyro joins the others."""
    width = shutil.get_terminal_size().columns
    return "\n\n".join(
        paragraph if "\n  " in paragraph else textwrap.fill(paragraph, width, subsequent_indent="  ")
        for paragraph in text.split("\n\n")
    )


def _with_dashes(word: str) -> str:
    """A flag in its one spelling: --total_steps is --total-steps."""
    flag, equals, value = word.partition("=")
    return flag.replace("_", "-") + equals + value if word.startswith("--") else word


@REGISTRY.primitive_rule
def _whole_numbers(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec | None:
    """How every int is read from the command line."""
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
    """What to try in place of a flag: the nearest, or else one of its group."""
    group, _, name = flag.removeprefix("--").rpartition(".")
    known = list(_flags(options))
    near = nearest(name, known)
    if near is not None:
        return f"the nearest is --{near}"
    same = [f"--{path}" for path in known if group and path.startswith(f"{group}.")]
    return f"there are {', '.join(same)}" if same else "--help lists all options"


def _flags(record: Any, prefix: str = "") -> Iterator[str]:
    """The flags of a dataclass and of those in it, without their dashes."""
    hints = get_type_hints(type(record), include_extras=True)
    for field in dataclasses.fields(record):
        value, name = getattr(record, field.name), field.name.replace("_", "-")
        if dataclasses.is_dataclass(value):
            yield from _flags(value, prefix if field.name in WITHOUT_PREFIX else f"{prefix}{name}.")
        elif tyro.conf.Positional not in getattr(hints[field.name], "__metadata__", ()):
            yield prefix + (f"no-{name}" if value is True else name)
