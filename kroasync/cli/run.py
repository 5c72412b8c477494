"""`kroasync run`: the controller. Flags have Go's syntax, as kro's start commands use them."""

import os
import sys
from collections.abc import Sequence

USAGE_ERROR = 2


def run(arguments: Sequence[str]) -> int:
    """Start the controller with command line arguments; returns the exit code."""
    from kroasync import settings

    if any(argument in ("-h", "-help", "--help") for argument in arguments):
        sys.stdout.write(
            "Usage: kroasync run [flags]\n\nRuns the controller until it receives SIGTERM or SIGINT.\n\nFlags:\n"
        )
        sys.stdout.write(settings.usage())
        return 0
    try:
        chosen, warnings = settings.parse(arguments, os.environ)
    except settings.SettingsError as error:
        sys.stderr.write("".join(f"error: {problem}\n" for problem in error.problems))
        return USAGE_ERROR
    from kroasync import app  # the only command that controls a cluster

    return app.main(chosen, warnings)


def run_command() -> None:
    """Run the controller; see its flags with `kroasync run --help`."""
    raise SystemExit(run(()))
