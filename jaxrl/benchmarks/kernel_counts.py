"""What a compiled program runs in one pass of its outermost loop, read from XLA's text of it."""

import collections
import math
import re
from collections.abc import Iterator
from typing import NamedTuple

FREE = {"parameter", "constant", "tuple", "get-tuple-element", "bitcast", "after-all", "fusion-done", "copy-done"}
"""Operations that take no time."""
LAYERED = {"while", "conditional", "call"}
"""Operations that run other computations, each of which has kernels of its own."""
BYTES = {"pred": 1, "bf16": 2, "f16": 2, "s64": 8, "u64": 8, "f64": 8, "c64": 8, "s8": 1, "u8": 1, "s16": 2, "u16": 2}
"""Bytes of a number, if they are not 4."""


class Shape(NamedTuple):
    """A dtype, in XLA's words, and dimensions."""

    dtype: str
    dims: tuple[int, ...]

    @property
    def bytes(self) -> int:
        return math.prod(self.dims) * BYTES.get(self.dtype, 4)


class Product(NamedTuple):
    """A matrix product: the operands, and the axes that `jax.lax.dot_general` takes."""

    left: Shape
    right: Shape
    contracting: tuple[tuple[int, ...], tuple[int, ...]]
    batch: tuple[tuple[int, ...], tuple[int, ...]]

    @property
    def flops(self) -> int:
        shared = {*self.contracting[1], *self.batch[1]}
        return 2 * math.prod(self.left.dims) * math.prod(n for i, n in enumerate(self.right.dims) if i not in shared)


class Kernel(NamedTuple):
    """One operation of a computation.

    Attributes:
        products: the matrix products in it.
        written: the bytes of its results; 0 if it updates a part of an array in place.
    """

    products: tuple[Product, ...]
    written: int


class _Line(NamedTuple):
    name: str
    kind: str
    shapes: tuple[Shape, ...]
    rest: str


def count_kernels(text: str) -> collections.Counter[Kernel]:
    """The kernels of one pass of the outermost loop, and how often each runs.

    Args:
        text: of a compiled program, from `compiled.as_text()`. A loop of unknown length counts as one pass. Branches do
            not count, since only one of them runs, and that rarely in jaxrl's programs.
    """
    computations = {name: list(lines) for name, lines in _computations(text)}
    entry = re.search(r"^ENTRY %?([\w.\-]+)", text, re.MULTILINE)
    found: collections.Counter[Kernel] = collections.Counter()

    def visit(name: str, runs: int) -> None:
        for line in computations[name]:
            if line.kind == "while":
                trips = re.search(r'"known_trip_count":\{"n":"(\d+)"\}', line.rest)
                for called in re.findall(r"(?:body|condition)=%?([\w.\-]+)", line.rest):
                    visit(called, runs * (int(trips[1]) if trips else 1))
            elif line.kind == "call":
                visit(_called(line), runs)
            elif line.kind not in FREE | LAYERED:
                found[_kernel(line, computations, name)] += runs

    if entry:
        visit(entry[1], 1)
    return found


def _computations(text: str) -> Iterator[tuple[str, Iterator[_Line]]]:
    for match in re.finditer(r"^(?:ENTRY )?%?([\w.\-]+) \([^\n]*\{\n(.*?)^\}", text, re.MULTILINE | re.DOTALL):
        yield match[1], filter(None, map(_line, match[2].splitlines()))


def _line(text: str) -> _Line | None:
    match = re.match(r"\s*(?:ROOT )?%?([\w.\-]+) = (\(.*?\)|\S+) ([\w\-]+)\((.*)$", text)
    if match is None:
        return None
    name, result, kind, rest = match.groups()
    return _Line(name, kind, tuple(_shapes(result)), rest)


def _shapes(text: str) -> Iterator[Shape]:
    for dtype, dims in re.findall(r"\b([a-z]+\d*)\[([\d,]*)\]", text):
        yield Shape(dtype, tuple(int(n) for n in dims.split(",") if n))


def _called(line: _Line) -> str:
    match = re.search(r"(?:calls|to_apply)=%?([\w.\-]+)", line.rest)
    return match[1] if match else ""


def _kernel(line: _Line, computations: dict[str, list[_Line]], computation: str) -> Kernel:
    inside = computations.get(_called(line), []) if line.kind.startswith("fusion") else []
    where = (inside, *[computations[_called(x)] for x in inside if x.kind in ("fusion", "call")])
    products = [_product(x, lines) for lines in where for x in lines if x.kind == "dot"]
    if line.kind == "dot":
        products.append(_product(line, computations[computation]))
    updates = line.kind == "dynamic-update-slice" or any(x.kind == "dynamic-update-slice" for x in inside)
    return Kernel(tuple(products), 0 if updates else sum(shape.bytes for shape in line.shapes))


def _product(line: _Line, computation: list[_Line]) -> Product:
    shapes = {x.name: x.shapes[0] for x in computation if x.shapes}
    left, right = (shapes[name] for name in re.findall(r"%?([\w.\-]+)", line.rest.split(")")[0])[:2])

    def axes(name: str) -> tuple[int, ...]:
        match = re.search(rf"{name}=\{{([\d,]*)\}}", line.rest)
        return tuple(int(i) for i in match[1].split(",") if i) if match else ()

    contracting = axes("lhs_contracting_dims"), axes("rhs_contracting_dims")
    return Product(left, right, contracting, (axes("lhs_batch_dims"), axes("rhs_batch_dims")))
