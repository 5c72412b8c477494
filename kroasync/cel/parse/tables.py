"""`python -m kroasync.cel.parse.tables` prints the parse tables of the installed grammar (grammar.json)."""

import json
import sys

from kroasync.cel.parse.parser import build_tables


def render() -> str:
    """The content of grammar.json."""
    return json.dumps(build_tables(), separators=(",", ":")) + "\n"


if __name__ == "__main__":
    sys.stdout.write(render())
