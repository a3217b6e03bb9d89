"""Parsing the command line."""

import contextlib
import shutil
import sys
import textwrap
from collections.abc import Callable, Iterator
from typing import Any, Literal, get_args, get_origin

import tyro
from tyro.constructors import ConstructorRegistry, PrimitiveConstructorSpec, PrimitiveTypeInfo

from jaxrl.arguments import check, nearest, suggest, whole_number
from jaxrl.cli.errors import fail
from jaxrl.runs.options import WITHOUT_PREFIX, walk

REGISTRY = ConstructorRegistry()


def parse(options_type: Any, description: str | None, **arguments: Any) -> Any:
    """Parses the command line, and checks the options. Ends the process with status 2 if a flag is unknown.

    Args:
        options_type: the dataclass to return, or a union of them for subcommands.
        description: the first text of the help.
        arguments: other arguments of `tyro.cli`.

    Raises:
        ArgumentError: a value is not what the annotation of its option allows.
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
            of_env = "=" in unknown[0] and "env-options" in _flags(arguments.get("default") or options)
            hint = "those of the environment follow --env-options" if of_env else "--help lists them"
            fail(f"{unknown[0]!r} belongs to no option; {hint}", 2)
        flag = flags[0].partition("=")[0].replace("_", "-")
        fail(f"{flag} is not known ({_near_flags(flag, arguments.get('default') or options)})", 2)
    check(options, without_prefix=WITHOUT_PREFIX)
    return options


def _wrap(text: str) -> str:
    """Wraps text at the width of the screen, because tyro joins all lines that are not indented."""
    width = shutil.get_terminal_size().columns
    return "\n\n".join(
        paragraph if "\n  " in paragraph else textwrap.fill(paragraph, width, subsequent_indent="  ")
        for paragraph in text.split("\n\n")
    )


@REGISTRY.primitive_rule
def _numbers_and_choices(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec | None:
    """Reads ints such as 1e6 and 1_000_000, floats and choices. What is none stays a text, which `check` reports."""
    is_choice = get_origin(info.type) is Literal and all(isinstance(x, str) for x in get_args(info.type))
    if info.type not in (int, float) and not is_choice:
        return None
    read: Callable[[str], Any] = whole_number if info.type is int else float if info.type is float else str

    def instance_from_str(words: list[str]) -> Any:
        for kind in (read, float) if info.type is int else (read,):  # 0.5 may be of an int | float
            with contextlib.suppress(ValueError):
                return kind(words[0])
        return words[0]

    return PrimitiveConstructorSpec(
        nargs=1,
        metavar=f"{{{','.join(get_args(info.type))}}}" if is_choice else info.type.__name__.upper(),
        instance_from_str=instance_from_str,
        is_instance=lambda value: value in get_args(info.type) if is_choice else isinstance(value, info.type | int),
        str_from_instance=lambda value: [str(value)],
    )


def _near_flags(flag: str, options: Any) -> str:
    """Suggests the nearest known flag, or else those of the same group."""
    known, name = list(_flags(options)), flag.removeprefix("--")
    group, _, last = name.rpartition(".")
    if group in known:
        return suggest(group, known, "--")
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
