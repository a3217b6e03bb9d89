"""Lists the experiments."""

import ast
from pathlib import Path

import rich
from rich.table import Table


def main() -> None:
    """Prints a line for each module beside this one."""
    table = Table(show_header=False, box=None, padding=(0, 2))
    for path in sorted(Path(__file__).parent.glob("[!_]*.py")):
        summary = (ast.get_docstring(ast.parse(path.read_text())) or "").split("\n")[0]
        table.add_row(f"python -m jaxrl.experiments.{path.stem}", summary)
    rich.print(table)
    rich.print("\n--help after any of them explains its options.")


if __name__ == "__main__":
    main()
