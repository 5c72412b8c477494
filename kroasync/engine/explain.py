"""Explain why a boolean expression is not true: show the values of its operands.

`a == b` becomes `1 == 3 is false`. For a conjunction, the explanation covers the first operand that is false. It shows
only type and length of values from Secrets. Explaining never fails: a part that cannot be shown is left out.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

from kroasync.cel import CelError, Env, Optional, Program, to_json
from kroasync.cel import syntax as ast
from kroasync.engine.allowance import Allowance
from kroasync.engine.scope import Compiled, truth

_COMPARISONS: Final = {
    ast.EQUAL: "==",
    ast.NOT_EQUAL: "!=",
    ast.LESS: "<",
    ast.LESS_EQUAL: "<=",
    ast.GREATER: ">",
    ast.GREATER_EQUAL: ">=",
    ast.IN: "in",
}
_SHOWN: Final = 80
# Evaluates an operand.
_Run: TypeAlias = Callable[[Program], Any]


class Explainer:
    """Explanations for the expressions of one graph; operands are compiled once."""

    def __init__(self) -> None:
        self._env: Env | None = None
        self._operands: dict[str, Program | None] = {}

    def why_false(self, expression: Compiled, variables: Mapping[str, Any], allowance: Allowance | None = None) -> str:
        """`1 == 3 is false`, or `is false` where the expression is no comparison."""
        program = expression.program
        run = (allowance or Allowance()).run
        return self._explain(program.ast.root, program.source, expression.secret, lambda part: run(part, variables))

    def lacks(self, expression: Compiled, variables: Mapping[str, Any], allowance: Allowance) -> bool:
        """Whether something that the expression reads of nodes, if it is there, is not there."""
        program = expression.program
        for node in ast.walk(program.ast.root):
            if not _is_optional(node) or not _reads(node, expression.references):
                continue
            part = self._program(_slice(node, program.source))
            try:
                found = allowance.run(part, variables) if part is not None else True
            except CelError:
                continue  # it reads a variable of a macro, or more than is there
            if found is False or (isinstance(found, Optional) and not found.present):
                return True
        return False

    def _explain(self, node: ast.Expr, source: str, secret: bool, run: _Run) -> str:
        while isinstance(node, ast.Call) and node.function == ast.AND:
            failing = next((a for a in node.args if not self._holds(a, source, run)), None)
            if failing is None:
                return "is false"
            node = failing
        if not isinstance(node, ast.Call) or node.function not in _COMPARISONS or len(node.args) != 2:
            return "is false"
        texts = [self._operand(a, source, secret, run) for a in node.args]
        if None in texts:
            return "is false"
        return f"{texts[0]} {_COMPARISONS[node.function]} {texts[1]} is false"

    def _holds(self, node: ast.Expr, source: str, run: _Run) -> bool:
        program = self._program(_slice(node, source))
        try:
            return program is not None and truth(run(program)) is True
        except CelError:
            return False

    def _operand(self, node: ast.Expr, source: str, secret: bool, run: _Run) -> str | None:
        if isinstance(node, ast.Literal):
            return shown(node.value)
        program = self._program(_slice(node, source))
        if program is None:
            return None
        try:
            value = run(program)
        except CelError:
            return None
        return described(value) if secret else shown(value)

    def _program(self, text: str) -> Program | None:
        if text not in self._operands:
            # Operands run without type checks: their values are only shown, and no schema is available here.
            self._env = self._env or Env()
            try:
                self._operands[text] = self._env.program(text, check=False)
            except CelError:
                self._operands[text] = None
        return self._operands[text]


def _is_optional(node: ast.Expr) -> bool:
    """`a.?b`, `a[?b]` or `has(a.b)`."""
    return isinstance(node, ast.Select | ast.Index) and (node.optional or (isinstance(node, ast.Select) and node.test))


def _reads(node: ast.Expr, names: tuple[str, ...]) -> bool:
    return any(isinstance(part, ast.Ident) and part.name in names for part in ast.walk(node))


def _slice(node: ast.Expr, source: str) -> str:
    start, end = node.span
    return source[start:end]


def shown(value: Any) -> str:
    """A value in short JSON, at most 80 characters."""
    try:
        text = json.dumps(to_json(value), ensure_ascii=False, separators=(",", ":"))
    except (CelError, TypeError):
        return described(value)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"


def described(value: Any) -> str:
    """Type and length only: `<string, 12 characters>`."""
    if isinstance(value, str):
        return f"<string, {len(value)} characters>"
    if isinstance(value, bytes):
        return f"<bytes, {len(value)}>"
    if isinstance(value, list):
        return f"<list, {len(value)} items>"
    if isinstance(value, dict):
        return f"<map, {len(value)} entries>"
    return f"<{type(value).__name__}>"
