"""Writes the files that modules of kroasync print: `make generate`; with --check it only says which are not current.

Each is printed whole before the file is touched, so that a module that fails leaves the old text.
"""

import argparse
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).parents[1]
PRINTED_BY: Mapping[str, str] = {
    "docs/cel.md": "kroasync.cel.function_pages",
    "docs/metrics.md": "kroasync.metrics",
    "docs/settings.md": "kroasync.settings",
    "kroasync/cel/parse/grammar.json": "kroasync.cel.parse.tables",
}


def printed(module: str) -> str:
    """What a module says when it is run."""
    command = [sys.executable, "-m", module]
    return subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, encoding="utf-8").stdout


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing, fail if a file is not current")
    arguments = parser.parse_args()
    old = [file for file, module in PRINTED_BY.items() if (ROOT / file).read_text(encoding="utf-8") != printed(module)]
    for file in old:
        if arguments.check:
            print(f"error: {file} is not what {PRINTED_BY[file]} prints: run `make generate`", file=sys.stderr)
        else:
            (ROOT / file).write_text(printed(PRINTED_BY[file]), encoding="utf-8")
            print(f"written: {file}")
    return 1 if old and arguments.check else 0


if __name__ == "__main__":
    sys.exit(main())
