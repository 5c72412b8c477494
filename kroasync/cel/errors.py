"""The errors of an expression, typed so that callers never parse messages.

    CelError
      + ParseError          the text is not an expression; carries every Issue
      + CheckError          the expression does not type-check; carries every Issue
      + TooLargeError       both: compiling the expression is more work than allowed
      + EvalError           evaluation failed; carries the span of the failing node if known
          + PendingError    data is missing (yet)
              - NoSuchKeyError, NoSuchFieldError, IndexError_, UnboundError
          - OverloadError   no function for these run-time types (cel-go: no such overload)
          - RangeError      int64, uint64, timestamp or duration overflow; division by zero
          - ValueError_     a function rejects a value: a conversion, a pattern, an argument
          - BudgetError     evaluation needs more steps or bigger values than the budget allows
          - ConversionError JSON cannot represent the result

Spans are (start, end) offsets into the expression's text, in characters.
"""

from dataclasses import dataclass
from typing import Any, Final, TypeAlias

Span: TypeAlias = tuple[int, int]

# How many characters of a source line are shown, and how many of them before the error.
_LONG_LINE: Final = 1_000
_AROUND: Final = 500


@dataclass(frozen=True, slots=True)
class Issue:
    """One error at one place of an expression; `suggestion` is the most similar known name, if there is one."""

    message: str
    span: Span
    suggestion: str | None = None

    def render(self, source: str) -> str:
        """The message in cel-go's form, with the source line and a caret; a long line is cut around the error."""
        line, column, text = locate(source, self.span[0])
        start = max(0, column - _AROUND) if len(text) > _LONG_LINE else 0
        shown = text[start : start + _LONG_LINE]
        return f"ERROR: <input>:{line}:{column + 1}: {self.message}\n | {shown}\n | {'.' * (column - start)}^"


def locate(source: str, offset: int) -> tuple[int, int, str]:
    """Line (1-based), column (0-based) and text of the line at an offset."""
    offset = max(0, min(offset, len(source)))
    start = source.rfind("\n", 0, offset) + 1
    end = source.find("\n", start)
    return source.count("\n", 0, start) + 1, offset - start, source[start : end if end >= 0 else len(source)]


class CelError(Exception):
    """Base of all errors that this package raises on purpose."""


class _IssuesError(CelError):
    def __init__(self, source: str, issues: tuple[Issue, ...]) -> None:
        super().__init__("\n".join(issue.render(source) for issue in issues))
        self.source = source
        self.issues = issues


class ParseError(_IssuesError):
    """The text is not an expression."""


class CheckError(_IssuesError):
    """The expression does not type-check."""


class TooLargeError(ParseError, CheckError):
    """The expression has too many nodes, or checking its types is too much work."""


class EvalError(CelError):
    """Evaluation failed. `message` does not include the place; `span` is None until a compiled node adds it."""

    def __init__(self, message: str, *, span: Span | None = None, value: Any = None) -> None:
        super().__init__(message)
        self.message = message
        self.span = span
        self.value = value


class PendingError(EvalError):
    """The expression reads data that is missing; an observed object may get it later."""


class NoSuchKeyError(PendingError):
    """A map has no such key."""


class NoSuchFieldError(PendingError):
    """An object has no such field."""


class IndexError_(PendingError):
    """A list index is out of bounds."""


class UnboundError(PendingError):
    """A declared variable has no value in this evaluation."""


class OverloadError(EvalError):
    """No function takes values of these types."""


class RangeError(EvalError):
    """A number, timestamp or duration is out of range, or a division by zero."""


class ValueError_(EvalError):
    """A function rejects a value: a conversion, a pattern, an argument, or a library's own rule."""


class BudgetError(EvalError):
    """The evaluation needs more steps or bigger values than its budget allows."""


class ConversionError(EvalError):
    """JSON cannot represent the result."""
