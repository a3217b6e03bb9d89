"""Lists the experiments."""

import ast
import sys
from pathlib import Path

from jaxrl.arguments import nearest
from jaxrl.cli.errors import errors_in_one_line, fail


@errors_in_one_line()
def main() -> None:
    """Prints a line for each module of this package, or an error if the command line names one."""
    summaries = {
        path.stem: (ast.get_docstring(ast.parse(path.read_text())) or "").split("\n")[0]
        for path in sorted(Path(__file__).parent.glob("[!_]*.py"))
    }
    if named := [word for word in sys.argv[1:] if not word.startswith("-")]:
        name = nearest(named[0], summaries) or "NAME"
        fail(f"run an experiment as python -m jaxrl.experiments.{name}, got {named[0]!r}", 2)
    width = max(map(len, summaries))
    for name, summary in summaries.items():
        print(f"python -m jaxrl.experiments.{name:{width}}  {summary}")
    print("\nAdd --help to see the options of an experiment.")


if __name__ == "__main__":
    main()
