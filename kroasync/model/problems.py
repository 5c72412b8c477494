"""Problems of an author's input. All of them are collected, each with its position and a code.

A Problem is a value, not an exception: code that finds one records it and continues. `code` is stable and documented
in docs/problems.md. `path` is the field path in the object. `line` and `column` (1-based) exist for input from a file.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

MAX_PROBLEMS: Final = 1_000
"""Maximum number of problems that are kept of one object."""
MAX_SUGGESTED: Final = 100
"""Further problems get no suggestion, because similar words are expensive to find."""


class Severity(StrEnum):
    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One fault with its position. `message` says what was expected and found, in lower case, without a full stop."""

    code: str
    message: str
    path: tuple[str | int, ...] = ()
    severity: Severity = Severity.ERROR
    suggestion: str | None = None
    source: str | None = None
    line: int | None = None
    column: int | None = None

    def at(self, *, source: str | None, line: int | None, column: int | None) -> "Problem":
        """The same problem with its position in a file."""
        return replace(self, source=source, line=line, column=column)

    @property
    def where(self) -> str:
        """The field path as text: `spec.resources[2].template`; empty for the whole object."""
        text = ""
        for part in self.path:
            if isinstance(part, int):
                text += f"[{part}]"
            elif part == "" or "." in part:
                text += f'["{part}"]'
            else:
                text += f".{part}" if text else part
        return text

    def __str__(self) -> str:
        """`file:line:column: severity: path: message (did you mean "x"?) [code]`, without unknown parts."""
        place = ""
        if self.source is not None:
            place = self.source + (f":{self.line}:{self.column}" if self.line is not None else "") + ": "
        where = f"{self.where}: " if self.path else ""
        hint = f' (did you mean "{self.suggestion}"?)' if self.suggestion else ""
        return f"{place}{self.severity.value}: {where}{self.message}{hint} [{self.code}]"


def collect(problems: list[Problem], problem: Problem) -> None:
    """Adds a problem. After MAX_PROBLEMS it adds one that says so, and then no more."""
    if len(problems) < MAX_PROBLEMS:
        problems.append(problem)
    elif len(problems) == MAX_PROBLEMS:
        message = f"more than {MAX_PROBLEMS} problems: the others are not shown"
        problems.append(Problem(code="definition-size", message=message))


def as_errors(problems: Iterable[Problem]) -> list[Problem]:
    """The problems with every warning as an error."""
    return [replace(problem, severity=Severity.ERROR) for problem in problems]


def has_errors(problems: Iterable[Problem]) -> bool:
    """Whether a problem is an error; an input with only warnings is not refused."""
    return any(p.severity is Severity.ERROR for p in problems)
