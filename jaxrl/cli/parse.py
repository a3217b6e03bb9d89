"""Reading the command line: all commands take numbers in the same forms, and say in one line what they do not know."""

import dataclasses
import difflib
import shutil
import sys
import textwrap
from collections.abc import Iterable, Iterator
from decimal import Decimal, InvalidOperation
from typing import Any, get_type_hints

import tyro
from tyro.constructors import ConstructorRegistry, PrimitiveConstructorSpec, PrimitiveTypeInfo


class UsageError(Exception):
    """Something the user can put right, in one line that names the flag and the value."""


REGISTRY = ConstructorRegistry()
DIGITS = 100
"""Longer numbers than this are refused unread: 1e999999999 would take all memory."""


def parse(options_type: Any, description: str | None, **arguments: Any) -> Any:
    """The options of a command. A value that cannot be read ends the process with tyro's message.

    Args:
        options_type: a dataclass, or a union of them for subcommands.
        description: what the help begins with.
        arguments: others of `tyro.cli`.

    Raises:
        UsageError: a flag is not known; the message says which is the nearest.
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
            raise UsageError(f"{unknown[0]!r} belongs to no option; --help lists them")
        flag = flags[0].partition("=")[0]
        raise UsageError(f"{flag} is not known ({_near_flags(flag, arguments.get('default') or options)})")
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


def shown(default: str, metavar: str | None = None) -> Any:
    """What the help says of an option's default where that is None or empty, and of its value."""
    return tyro.conf.arg(help_behavior_hint=f"(default: {default})", metavar=metavar)


def whole_number(text: str) -> int:
    """The whole number that a text writes, such as 1000000, 1_000_000, 1e6 or 2.5e5.

    Raises:
        ValueError: it writes none, or one of more than `DIGITS` digits.
    """
    try:
        value = Decimal(text)
    except InvalidOperation:
        value = Decimal("nan")
    if not value.is_finite() or value.adjusted() >= DIGITS or value != value.to_integral_value():
        raise ValueError(f"must be a whole number, such as 1000000 or 1e6, got {text!r}")
    return int(value)


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


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known path whose last name is nearest to the name, or has it as its initials; None if none is near."""
    paths = {path.rpartition(".")[2]: path for path in known}
    initials = [last for last in paths if "".join(word[:1] for word in last.replace("-", "_").split("_")) == name]
    near = difflib.get_close_matches(name, paths, n=1) or initials
    return paths[near[0]] if near else None


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
            yield from _flags(value, f"{prefix}{name}.")
        elif tyro.conf.Positional not in getattr(hints[field.name], "__metadata__", ()):
            yield prefix + (f"no-{name}" if value is True else name)
