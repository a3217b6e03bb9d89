"""How large jaxrl and its functions may become."""

import ast
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "jaxrl"
FUNCTION_LINES = 60
NESTED_FUNCTIONS = 4

Function = ast.FunctionDef | ast.AsyncFunctionDef


def functions() -> Iterator[tuple[str, Function, list[str]]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        text = path.read_text()
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, Function):
                yield f"{path.relative_to(PACKAGE)}: {node.name}", node, text.splitlines()


def length(function: Function, lines: list[str]) -> int:
    """The lines of a function without its docstring and without blank lines."""
    docstring = function.body[0] if ast.get_docstring(function) is not None else None
    skipped = range(docstring.lineno, (docstring.end_lineno or 0) + 1) if docstring else ()
    numbers = range(function.lineno, (function.end_lineno or 0) + 1)
    return sum(bool(lines[number - 1].strip()) for number in numbers if number not in skipped)


def test_functions_are_short() -> None:
    long = {name: length(function, lines) for name, function, lines in functions()}
    assert {name: count for name, count in long.items() if count > FUNCTION_LINES} == {}


def test_functions_hold_few_functions() -> None:
    nested = {
        name: sum(isinstance(node, Function) for node in ast.walk(function)) - 1 for name, function, _ in functions()
    }
    assert {name: count for name, count in nested.items() if count > NESTED_FUNCTIONS} == {}
