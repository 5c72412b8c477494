"""The errors of the playground, as types. Every text is for the person at the terminal.

PlaygroundError
|- GoError             Go is missing or too old
|- BuildError          a program did not build; the text ends with the tail of the compiler's output
|- ComponentError      a component crashed or did not become ready; the text ends with the tail of its log
|- CommandError        kubectl or helm failed; the text is its standard error
|- AlreadyUpError      the name or directory is taken
`- NotUpError          there is no such playground
"""

from __future__ import annotations


class PlaygroundError(Exception):
    """Root of this package's errors."""


class GoError(PlaygroundError):
    """Go is missing or too old."""


class BuildError(PlaygroundError):
    """A program did not build."""


class ComponentError(PlaygroundError):
    """A component crashed or did not become ready."""

    def __init__(self, message: str, *, component: str, log_tail: str) -> None:
        super().__init__(f"{message}\n{log_tail}" if log_tail else message)
        self.component = component
        self.log_tail = log_tail


class CommandError(PlaygroundError):
    """kubectl or helm failed."""

    def __init__(self, message: str, *, returncode: int, stderr: str) -> None:
        super().__init__(message)
        self.returncode = returncode
        self.stderr = stderr


class AlreadyUpError(PlaygroundError):
    """The playground already exists."""


class NotUpError(PlaygroundError):
    """There is no such playground."""
