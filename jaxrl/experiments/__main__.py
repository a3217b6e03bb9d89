"""Lists the experiments."""

import ast
from pathlib import Path


def main() -> None:
    """Prints a line for each module beside this one."""
    summaries = {
        path.stem: (ast.get_docstring(ast.parse(path.read_text())) or "").split("\n")[0]
        for path in sorted(Path(__file__).parent.glob("[!_]*.py"))
    }
    width = max(map(len, summaries))
    for name, summary in summaries.items():
        print(f"python -m jaxrl.experiments.{name:{width}}  {summary}")
    print("\n--help after any of them explains its options.")


if __name__ == "__main__":
    main()
