"""`kroasync`, `kubectl kroasync` and `python -m kroasync`.

In a container the controller has process id 1, and the kernel ignores a SIGTERM for which that process has no handler.
So there is one before anything heavy is imported. Nothing is written yet, so it ends the process at once; the event
loop replaces it.
"""

import os
import signal
import sys


def main() -> None:
    """Entry point of the command."""
    if sys.argv[1:2] == ["run"]:
        signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    from kroasync.cli.main import main as command

    command()


if __name__ == "__main__":
    main()
