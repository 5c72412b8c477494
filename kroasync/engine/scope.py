"""Evaluate expressions within one pass: hold the variables, cache the results, and turn failures into engine errors.

A variable is set once in a pass, so a cached result never becomes stale; failures are not cached. An error about an
expression that reads a Secret never shows the value that caused it.
"""

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from kroasync.cel import OMIT, BudgetError, CelError, EvalError, Optional, PendingError, Program
from kroasync.cel import syntax as ast
from kroasync.engine.allowance import Allowance
from kroasync.graph.nodes import Expression

# Results are cached until their evaluation took this many steps in total: one step may create some hundred bytes.
REMEMBERED_STEPS: Final = 1_000_000
# Results that need almost no memory.
_SMALL: Final = frozenset((bool, int, float, type(None)))
# The parts of an expression that read what only somebody who edits the instance can supply.
_INSTANCE: Final = ("schema.spec.", "schema.spec[", "schema.metadata.")
_WITHHELD: Final = "evaluation failed{} (details withheld: values of a Secret are involved)"


class PendingData(Exception):
    """Required data is not available yet. `expression` is the text of the expression that waits, if there is one."""

    def __init__(self, message: str, *, expression: str | None = None) -> None:
        super().__init__(message)
        self.expression = expression


class NodeFailure(Exception):
    """A node cannot be computed; the same input will fail again."""

    def __init__(self, message: str, *, expression: str | None = None) -> None:
        super().__init__(message)
        self.expression = expression


@dataclass(frozen=True, slots=True, eq=False)
class Compiled:
    """An expression prepared for many evaluations."""

    text: str
    # The key of the cache: the same for equal CEL, but different for a template and an expression with the same text.
    key: str
    program: Program
    references: tuple[str, ...]
    is_iteration: bool
    to_bytes_field: bool
    may_omit: bool
    # The expression reads values of a Secret, or fills a Secret: its values must not be shown.
    secret: bool
    source: Expression
    # The place of the expression in the manifest, for people.
    place: str = ""

    @staticmethod
    def of(expression: Expression, *, secret: bool, place: str = "") -> "Compiled":
        program = expression.program
        return Compiled(
            text=expression.text,
            key=program.source,
            program=program,
            references=expression.references,
            is_iteration=bool(expression.iterators),
            to_bytes_field=expression.to_bytes_field,
            may_omit="omit" in expression.text,
            secret=secret,
            source=expression,
            place=place,
        )

    @property
    def shown(self) -> str:
        """The expression as it stands in the manifest."""
        return self.text if "${" in self.text else f"${{{self.text}}}"

    def failure_text(self, error: CelError) -> str:
        """`${expression}: error`, without confidential values."""
        message = error.message if isinstance(error, EvalError) else str(error)
        if isinstance(error, BudgetError):
            where = f" at {self.place}" if self.place else ""
            return f"{self.shown}{where}: {message}"
        if self.secret and not self._is_quotable(error):
            message = _WITHHELD.format(self._failing(error))
        return f"{self.shown}: {message}"

    def pending_text(self, error: PendingError) -> str:
        """What the data waits for. If only the instance can supply it, the text says so: no event will."""
        start, end = error.span or (0, 0)
        part = self.key[start:end]
        if not part.startswith(_INSTANCE) and (self.references or self.is_iteration):
            return "data pending"
        return f"{part or self.key} has no value: the instance does not set it, and it has no default"

    def _is_quotable(self, error: CelError) -> bool:
        """Whether the error may be quoted. A missing key may itself be a value, unless the author wrote it."""
        if not isinstance(error, PendingError) or not isinstance(error.value, str):
            return False
        written = (_written_name(node) for node in ast.walk(self.source.program.ast.root))
        return any(error.value == name for name in written)

    def _failing(self, error: CelError) -> str:
        """The part of the expression that failed, in the author's words."""
        if not isinstance(error, EvalError) or error.span is None:
            return ""
        start, end = error.span
        part = self.key[start:end]
        return f" at {part}" if part and part != self.key else ""


class Scope:
    """The variables of a pass and the results so far."""

    __slots__ = ("_exhausted", "_held", "_json", "_values", "allowance", "variables")

    def __init__(self, variables: dict[str, Any], allowance: Allowance | None = None) -> None:
        self.variables = variables
        self.allowance = allowance or Allowance()
        # The only failures that are cached: they cost most, and they would repeat.
        self._exhausted: dict[str, BudgetError] = {}
        # How many steps the cached results took.
        self._held = 0
        self._values: dict[str, Any] = {}
        self._json: dict[str, Any] = {}

    def value(self, expression: Compiled) -> Any:
        """The CEL value; raises CelError."""
        found = self._values.get(expression.key, _ABSENT)
        if found is _ABSENT:
            if expression.key in self._exhausted:
                raise self._exhausted[expression.key]
            try:
                found = self.allowance.run(expression.program, self.variables)
            except BudgetError as error:
                self._exhausted[expression.key] = error
                raise
            self._remember(self._values, expression.key, found)
        return found

    def _remember(self, results: dict[str, Any], key: str, found: Any) -> None:
        """Cache a result for the rest of the pass, unless the cached results took too many steps already."""
        self._held += self.allowance.taken
        if self._held <= REMEMBERED_STEPS or found.__class__ in _SMALL:
            results[key] = found

    def value_with(self, expression: Compiled, variables: Mapping[str, Any]) -> Any:
        """The CEL value under other variables, not cached; raises CelError."""
        return self.allowance.run(expression.program, variables)

    def json(self, expression: Compiled) -> Any:
        """The value as JSON, which may contain `OMIT`; raises CelError."""
        if expression.to_bytes_field:
            return self._written(self.value(expression), expression)
        found = self._json.get(expression.key, _ABSENT)
        if found is _ABSENT:
            found = self.allowance.json(self.value(expression))
            self._remember(self._json, expression.key, found)
        return found

    def json_with(self, expression: Compiled, variables: Mapping[str, Any]) -> Any:
        """The value as JSON under other variables, not cached; raises CelError."""
        return self._written(self.value_with(expression, variables), expression)

    def _written(self, value: Any, expression: Compiled) -> Any:
        inner = value.value if isinstance(value, Optional) else value
        if expression.to_bytes_field and isinstance(inner, bytes):
            return encoded(inner)
        return self.allowance.json(value)


def truth(value: Any) -> bool | None:
    """The value of a bool or an optional bool; null and an empty optional are false. None for any other type."""
    if isinstance(value, Optional):
        value = value.value if value.present else None
    if value is None:
        return False
    return value if isinstance(value, bool) else None


def without_omitted(value: Any) -> Any:
    """The tree without the map entries and list elements that hold `omit()`. Containers stay, even if empty."""
    if isinstance(value, dict):
        return {k: without_omitted(v) for k, v in value.items() if v is not OMIT}
    if isinstance(value, list):
        return [without_omitted(v) for v in value if v is not OMIT]
    return value


def encoded(value: bytes) -> str:
    """Bytes in the form of a field with format byte."""
    return base64.b64encode(value).decode("ascii")


def _written_name(node: ast.Expr) -> str | None:
    """The name, field or key that a node of the syntax tree looks up, as it is written."""
    match node:
        case ast.Select():
            return node.field
        case ast.Ident():
            return node.name
        case ast.Index(index=ast.Literal(value=str() as key)):
            return key
    return None


_ABSENT: Final = object()
