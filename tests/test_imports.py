"""How the modules of jaxrl import each other: downward only, and in no circle."""

import ast
from collections import Counter
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "jaxrl"
LAYERS = (
    "types arguments interrupt precision memory formatting",
    "random",
    "xla",
    "ops planning inverse search game_theory",
    "distributions envs games networks replay",
    "agents",
    "training",
    "plots",
    "runs",
    "recipes",
    "sweeps",
    "loading",
    "benchmarks",
    "cli",
    "experiments",
)
"""The rooms, from the bottom up. A room may import from its own layer and from those below."""


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")


MODULES = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def imports(path: Path) -> set[str]:
    """The modules of jaxrl that a file imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            submodules = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= submodules & MODULES.keys() or {str(node.module)}
    return {name for name in found if name.split(".")[0] == "jaxrl"}


IMPORTS = {module: imports(path) for module, path in MODULES.items() if module != "jaxrl"}


def room(module: str) -> str:
    return module.split(".")[1]


def layer(module: str) -> int:
    return next(i for i, rooms in enumerate(LAYERS) if room(module) in rooms.split())


def test_every_room_has_its_layer() -> None:
    rooms = {room(module) for module in IMPORTS}
    assert rooms == set(" ".join(LAYERS).split())


def test_imports_run_downward() -> None:
    assert not [module for module, imported in IMPORTS.items() if "jaxrl" in imported]
    upward = [
        f"{module} imports {other}"
        for module, imported in IMPORTS.items()
        for other in sorted(imported)
        if layer(other) > layer(module)
    ]
    assert upward == []


def test_no_two_modules_and_no_two_rooms_import_each_other() -> None:
    rooms: dict[str, set[str]] = {}
    for module, imported in IMPORTS.items():
        rooms.setdefault(room(module), set()).update(map(room, imported))
    for graph in (IMPORTS, {name: others - {name} for name, others in rooms.items()}):
        try:
            TopologicalSorter(graph).prepare()
        except CycleError as error:
            raise AssertionError(f"a circle of imports: {' <- '.join(error.args[1])}") from None


def test_only_experiments_import_experiments() -> None:
    others = {module: imported for module, imported in IMPORTS.items() if room(module) != "experiments"}
    assert not [m for m, imported in others.items() if any(name.startswith("jaxrl.experiments") for name in imported)]


def test_no_two_modules_have_one_name() -> None:
    counts = Counter(path.stem for path in MODULES.values())
    assert {name for name, count in counts.items() if count > 1} - {"__init__"} == set()


def test_only_the_upper_rooms_load_what_only_commands_need() -> None:
    """Below the runs no module imports a library for the screen or the command line when it is itself imported."""
    heavy = {"tyro", "rich", "matplotlib"}
    for module, path in MODULES.items():
        if module == "jaxrl" or layer(module) >= layer("jaxrl.runs"):
            continue
        for node in ast.parse(path.read_text()).body:
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [str(node.module)] if isinstance(node, ast.ImportFrom) else []
            assert not heavy & {name.split(".")[0] for name in names}, module
