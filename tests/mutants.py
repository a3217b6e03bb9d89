"""Planting errors, to see whether a test sees them."""

import inspect
import pkgutil
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager

import pytest


@contextmanager
def planted(function: str, old: str, new: str) -> Iterator[None]:
    """Meanwhile a function has an error, for everybody who holds it: it is its code that changes.

    Only what runs or is traced meanwhile has it; a program that was compiled before does not.

    Args:
        function: `package.module:function` or `package.module:Class.method`.
        old: what is in its source, once.
        new: what stands there instead.

    Raises:
        AssertionError: its source does not have `old`, or more than once.
    """
    target = inspect.unwrap(pkgutil.resolve_name(function))
    source = textwrap.dedent(inspect.getsource(target))
    assert source.count(old) == 1, f"{function} has {old!r} {source.count(old)} times"
    namespace = dict(target.__globals__)
    exec(source.replace(old, new), namespace)
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(target, "__code__", namespace[target.__name__].__code__)
        yield
