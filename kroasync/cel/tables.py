"""`python -m kroasync.cel.tables`: the parse tables of the installed grammar (grammar.json) on standard output."""

import json
import sys

from kroasync.cel.parser import build_tables


def render() -> str:
    """The content of grammar.json."""
    return json.dumps(build_tables(), separators=(",", ":")) + "\n"


if __name__ == "__main__":
    sys.stdout.write(render())
