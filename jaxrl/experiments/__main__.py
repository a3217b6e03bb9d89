"""Lists the experiments."""

import ast
import difflib
import sys
from pathlib import Path

from jaxrl.cli.errors import errors_in_one_line


@errors_in_one_line()
def main() -> None:
    """Prints a line for each module beside this one; ends with 2 if one is asked for that does not exist."""
    summaries = {
        path.stem: (ast.get_docstring(ast.parse(path.read_text())) or "").split("\n")[0]
        for path in sorted(Path(__file__).parent.glob("[!_]*.py"))
    }
    if named := [word for word in sys.argv[1:] if not word.startswith("-")]:
        near = difflib.get_close_matches(named[0], summaries, n=1, cutoff=0.0)[0]
        print(f"error: an experiment is run as in python -m jaxrl.experiments.{near}, got {named[0]}", file=sys.stderr)
        sys.exit(2)
    width = max(map(len, summaries))
    for name, summary in summaries.items():
        print(f"python -m jaxrl.experiments.{name:{width}}  {summary}")
    print("\n--help after any of them explains its options.")


if __name__ == "__main__":
    main()
