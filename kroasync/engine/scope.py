"""Evaluation within one pass: variables, results remembered per expression, failures as typed engine errors.

A variable is set once in a pass, so a remembered result never goes stale; failures are not remembered. Errors
about an expression that reads a Secret never show the value they stumbled over.
"""

import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from kroasync.cel import OMIT, CelError, EvalError, PendingError, to_json
from kroasync.cel.values import Optional
from kroasync.graph.nodes import Expression

_WITHHELD: Final = "evaluation failed (details withheld: the expression reads a Secret)"


class PendingData(Exception):
    """What is needed is not there yet. `expression` is the text that waits, if one does."""

    def __init__(self, message: str, *, expression: str | None = None) -> None:
        super().__init__(message)
        self.expression = expression


class NodeFailure(Exception):
    """A node cannot be computed from what is known; the same input fails again."""

    def __init__(self, message: str, *, expression: str | None = None) -> None:
        super().__init__(message)
        self.expression = expression


@dataclass(frozen=True, slots=True, eq=False)
class Compiled:
    """An expression prepared for many evaluations."""

    text: str
    # What results are remembered by: equal for equal CEL, unlike for a template and an expression of the same
    # text.
    key: str
    evaluate: Callable[[Mapping[str, Any]], Any]
    references: tuple[str, ...]
    is_iteration: bool
    to_bytes_field: bool
    may_omit: bool
    # Reads a Secret, directly or through an iterator: values must not be shown.
    secret: bool
    source: Expression

    @staticmethod
    def of(expression: Expression, *, secret: bool, budget: int | None = None) -> "Compiled":
        program = expression.program
        evaluate: Callable[[Mapping[str, Any]], Any] = program.evaluate
        if budget is not None:
            evaluate = lambda variables: program.evaluate(variables, budget=budget)  # noqa: E731
        return Compiled(
            text=expression.text,
            key=program.source,
            evaluate=evaluate,
            references=expression.references,
            is_iteration=bool(expression.iterators),
            to_bytes_field=expression.to_bytes_field,
            may_omit="omit" in expression.text,
            secret=secret,
            source=expression,
        )

    @property
    def shown(self) -> str:
        """The expression as it stands in the manifest."""
        return self.text if "${" in self.text else f"${{{self.text}}}"

    def failure_text(self, error: CelError) -> str:
        """`${expression}: what went wrong`, fit to be published."""
        message = error.message if isinstance(error, EvalError) else str(error)
        if self.secret and not (isinstance(error, PendingError) and message.rpartition(": ")[2] in self.text):
            # A key that is missing may itself be a value, unless the author wrote it.
            message = _WITHHELD
        return f"{self.shown}: {message}"


class Scope:
    """Variables of a pass and the results so far."""

    __slots__ = ("_json", "_values", "variables")

    def __init__(self, variables: dict[str, Any]) -> None:
        self.variables = variables
        self._values: dict[str, Any] = {}
        self._json: dict[str, Any] = {}

    def value(self, expression: Compiled) -> Any:
        """The CEL value; raises CelError."""
        found = self._values.get(expression.key, _ABSENT)
        if found is _ABSENT:
            found = self._values[expression.key] = expression.evaluate(self.variables)
        return found

    def json(self, expression: Compiled) -> Any:
        """The value as JSON (`OMIT` may stand in it); raises CelError."""
        if expression.to_bytes_field:
            return _written(self.value(expression), expression)
        found = self._json.get(expression.key, _ABSENT)
        if found is _ABSENT:
            found = self._json[expression.key] = to_json(self.value(expression))
        return found


def json_of(expression: Compiled, variables: Mapping[str, Any]) -> Any:
    """The value under other variables, remembered nowhere; raises CelError."""
    return _written(expression.evaluate(variables), expression)


def truth(value: Any) -> bool | None:
    """bool or optional bool, null and none being false; None for anything else."""
    if isinstance(value, Optional):
        value = value.value if value.present else None
    if value is None:
        return False
    return value if isinstance(value, bool) else None


def without_omitted(value: Any) -> Any:
    """The tree without the map entries and list elements that hold `omit()`; containers stay, even empty."""
    if isinstance(value, dict):
        return {k: without_omitted(v) for k, v in value.items() if v is not OMIT}
    if isinstance(value, list):
        return [without_omitted(v) for v in value if v is not OMIT]
    return value


def _written(value: Any, expression: Compiled) -> Any:
    if not expression.to_bytes_field:
        return to_json(value)
    inner = value.value if isinstance(value, Optional) else value
    return encoded(inner) if isinstance(inner, bytes) else to_json(value)


def encoded(value: bytes) -> str:
    """The form of bytes in a field of format byte."""
    return base64.b64encode(value).decode("ascii")


_ABSENT: Final = object()
