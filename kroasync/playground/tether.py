"""Stops a playground when the process that started it is gone: waits for the end of standard input, then stops the
playground in the directory of the only argument. Run it as `python -m kroasync.playground.tether DIRECTORY`.
"""

from __future__ import annotations

import sys
from pathlib import Path

from kroasync.playground.plane import Playground
from kroasync.playground.plane_errors import NotUpError


def main(directory: Path) -> None:
    """Return when the playground is gone. Usually, its owner has already stopped it."""
    sys.stdin.buffer.read()
    try:
        playground = Playground.load(directory=directory)
    except NotUpError:
        return
    playground.down()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
