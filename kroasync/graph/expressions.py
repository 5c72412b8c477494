"""Expressions of one build: parsed once per text, compiled once per text and scope.

What goes wrong becomes a problem at the author's place; the text keeps cel-go's form, with the line of
source and caret.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from kroasync.cel import Ast, CheckError, Env, Inspection, ParseError, Program, inspect
from kroasync.cel.syntax import NEW_CONDITION, Call, Ident, qualified_name, walk
from kroasync.graph.report import Report
from kroasync.graph.templates import Source
from kroasync.model.paths import Path

RUNTIME: Final = "runtime"
_RUNTIME_FUNCTIONS: Final = (NEW_CONDITION, "runtime.condition", "runtime.newCondition")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Parsed:
    """A string's expression: its tree and the names it uses."""

    source: Source
    ast: Ast
    inspection: Inspection
    # Known names it uses, in order of discovery; `runtime` for kro's functions of that name too.
    names: tuple[str, ...]


class Expressions:
    """The parsed and compiled expressions of one definition."""

    def __init__(self, env: Env, known: Collection[str]) -> None:
        self._env = env
        self._known = set(known)
        self._parsed: dict[str, tuple[Ast, Inspection, tuple[str, ...]] | ParseError] = {}
        # The environment is kept too, so that its id stays its own.
        self._programs: dict[tuple[str, int], tuple[Env, Program | CheckError]] = {}

    def parse(self, source: Source, report: Report, path: Path, *, what: str) -> Parsed | None:
        """The tree of an expression; None if it has none, which is reported with `what` before the error."""
        found = self._parsed.get(source.cel)
        if found is None:
            try:
                ast = self._env.parse(source.cel)
                inspection = inspect(ast, self._known, self._env)
                found = ast, inspection, _names(ast, inspection)
            except ParseError as error:
                found = error
            self._parsed[source.cel] = found
        if isinstance(found, ParseError):
            prefix = f"{what}: failed to inspect expression: parse error: "
            report_issues(found, source, report, "expression-syntax", prefix, path)
            return None
        return Parsed(source=source, ast=found[0], inspection=found[1], names=found[2])

    def compile(self, parsed: Parsed, env: Env, report: Report, path: Path, *, what: str) -> Program | None:
        """The program of an expression in an environment; None if it does not type-check, which is reported
        likewise.
        """
        key = parsed.source.cel, id(env)
        if key not in self._programs:
            compiled: Program | CheckError
            try:
                compiled = env.program(parsed.ast)
            except CheckError as error:
                compiled = error
            self._programs[key] = env, compiled
        found = self._programs[key][1]
        if isinstance(found, CheckError):
            report_issues(found, parsed.source, report, "expression-type", f"{what}: ", path)
            return None
        return found


def _names(ast: Ast, inspection: Inspection) -> tuple[str, ...]:
    first: dict[str, int] = {}
    for node in walk(ast.root):
        if isinstance(node, Ident) and node.name in inspection.references:
            first[node.name] = min(node.span[0], first.get(node.name, node.span[0]))
        elif isinstance(node, Call) and qualified_name(node) in _RUNTIME_FUNCTIONS:
            first[RUNTIME] = min(node.span[0], first.get(RUNTIME, node.span[0]))
    return tuple(sorted(first, key=first.__getitem__))


def report_issues(
    error: ParseError | CheckError, source: Source, report: Report, code: str, prefix: str, path: Path
) -> None:
    """One problem for each issue of an expression."""
    for issue in error.issues:
        report.add(
            code,
            prefix + issue.render(error.source),
            path,
            suggestion=issue.suggestion,
            offset=source.author_offset(issue.span[0]),
        )
