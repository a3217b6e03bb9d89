"""`import jaxrl`: what it offers, and what it does not load."""

import ast
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import jaxrl

NEEDS_NONE_OF = ("tyro", "matplotlib", "polars", "PIL", "blessed", "gymnax", "scipy.stats", "orbax", "tensorboardX")
COMMANDS = ("jaxrl.cli", "jaxrl.experiments", "jaxrl.plots", "jaxrl.recipes", "jaxrl.runs", "jaxrl.sweeps")


def imported_by(statement: str) -> list[str]:
    before = "import sys, jax, flax.linen, optax; before = set(sys.modules)"
    code = f"{before}; {statement}; print(*(set(sys.modules) - before))"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return ended.stdout.split()


def of(packages: tuple[str, ...], modules: list[str]) -> list[str]:
    return [module for module in modules if any(f"{module}.".startswith(f"{package}.") for package in packages)]


def test_importing_it_loads_no_command_line_and_no_plots() -> None:
    modules = imported_by("import jaxrl")
    assert "jaxrl.training.host_loop" in modules
    assert of((*NEEDS_NONE_OF, *COMMANDS), modules) == []
    package = Path(jaxrl.__file__).parents[1]
    for module in of(("jaxrl",), modules):  # flax loads rich itself, so its presence shows nothing
        path = package / module.replace(".", "/")
        path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
        for node in ast.parse(path.read_text()).body:
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert of(("rich",), names) == [], path


def test_every_public_name_is_there() -> None:
    assert dir(jaxrl) == sorted(jaxrl.__all__)
    for name in jaxrl.__all__:
        assert getattr(jaxrl, name) is not None
    with pytest.raises(AttributeError, match="module 'jaxrl' has no attribute 'nosuch'"):
        jaxrl.nosuch  # noqa: B018


def test_lazy_names_are_those_that_type_checkers_see() -> None:
    for node in ast.parse(Path(jaxrl.__file__).read_text()).body:
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            imports = [line for line in node.body if isinstance(line, ast.ImportFrom)]
    seen = {alias.name: line.module for line in imports for alias in line.names}
    assert seen == {name: f"jaxrl.{module}" for name, module in jaxrl._LAZY.items()}
    for name, module in seen.items():
        assert getattr(jaxrl, name) is getattr(import_module(str(module)), name)
