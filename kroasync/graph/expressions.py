"""The expressions of one build: parsed once for each text, compiled once for each text and types of its iterators.

Every error becomes a problem at its position in the author's text. The message keeps cel-go's form, with the source
line and a caret.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

from kroasync.cel import Ast, CheckedAst, CheckError, Env, Mentions, ParseError, Program, TooLargeError, find_mentions
from kroasync.cel.syntax import NEW_CONDITION, Call, Ident, qualified_name, walk
from kroasync.cel.types import Type
from kroasync.graph.budget import (
    MAX_EXPRESSION_NODES,
    MAX_EXPRESSION_TYPES,
    MAX_EXPRESSIONS,
    MAX_NODES,
    MAX_TYPES,
    Budget,
)
from kroasync.graph.problem_report import Report
from kroasync.graph.templates import Source
from kroasync.model.paths import Path
from kroasync.model.steps import Steps

RUNTIME: Final = "runtime"
# The cost in nodes of each place with an expression, even if its text is known.
_WORK_PER_EXPRESSION: Final = 10
_RUNTIME_FUNCTIONS: Final = (NEW_CONDITION, "runtime.condition", "runtime.newCondition")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Parsed:
    """A string's expression: its tree and the names it uses."""

    source: Source
    ast: Ast
    mentions: Mentions
    # The known names that it uses, in order of discovery, with `runtime` for kro's functions of that name.
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CheckedProgram:
    """A type-checked expression: the program, which the graph keeps, and the types of all nodes, for the build."""

    program: Program
    checked: CheckedAst

    @property
    def result_type(self) -> Type:
        return self.checked.result_type


class Expressions:
    """The parsed and compiled expressions of one definition."""

    def __init__(self, env: Env, known: Collection[str], budget: Budget) -> None:
        self._env = env
        self._known = set(known)
        self._budget = budget
        self._parsed: dict[str, tuple[Ast, Mentions, tuple[str, ...]] | ParseError] = {}
        # The key contains everything that an expression uses besides the environment of the definition.
        self._programs: dict[tuple[str, tuple[tuple[str, Type], ...]], CheckedProgram | CheckError] = {}

    def parse(self, source: Source, report: Report, path: Path, *, what: str) -> Steps[Parsed | None]:
        """The tree of an expression; reports a syntax error with `what` before the message, and returns None."""
        self._budget.spend("expressions", 1, MAX_EXPRESSIONS, path)
        found = self._parsed.get(source.cel)
        if found is None:
            try:
                ast = self._env.parse(source.cel, max_nodes=MAX_EXPRESSION_NODES)
            except ParseError as error:
                found = error
                size = min(len(source.cel), MAX_EXPRESSION_NODES)
            else:
                size = ast.size
                yield from self._spent(size)
                mentions = find_mentions(ast, self._known, self._env)
                found = ast, mentions, _names(ast, mentions)
            self._parsed[source.cel] = found
            self._budget.spend("nodes in expressions", size, MAX_NODES, path)
            yield from self._spent(size)
        if self._budget.pause_after(_WORK_PER_EXPRESSION):
            yield
        if isinstance(found, ParseError):
            prefix = f"{what}: failed to inspect expression: parse error: "
            report_issues(found, source, report, "expression-syntax", prefix, path)
            return None
        return Parsed(source=source, ast=found[0], mentions=found[1], names=found[2])

    def compile(
        self, parsed: Parsed, variables: Mapping[str, Type], report: Report, path: Path, *, what: str
    ) -> Steps[CheckedProgram | None]:
        """The program of an expression that may use more variables; reports a type error in the same way."""
        used = tuple((name, variables[name]) for name in parsed.names if name in variables)
        key = parsed.source.cel, used
        found = self._programs.get(key)
        if found is None:
            env = self._env.extend(variables=dict(used)) if used else self._env
            try:
                checked = env.check(parsed.ast, max_work=MAX_EXPRESSION_TYPES)
                yield from self._spent(parsed.ast.size)
                found = CheckedProgram(program=env.program(checked), checked=checked)
                work = checked.work
            except CheckError as error:
                found = error
                work = MAX_EXPRESSION_TYPES if isinstance(error, TooLargeError) else 0
            self._programs[key] = found
            self._budget.spend("steps of type-checking", work, MAX_TYPES, path)
            yield from self._spent(parsed.ast.size)
        if self._budget.pause_after(_WORK_PER_EXPRESSION):
            yield
        if isinstance(found, CheckError):
            report_issues(found, parsed.source, report, "expression-type", f"{what}: ", path)
            return None
        return found

    def _spent(self, work: int) -> Steps[None]:
        if self._budget.pause_after(work):
            yield


def _names(ast: Ast, mentions: Mentions) -> tuple[str, ...]:
    first: dict[str, int] = {}
    for node in walk(ast.root):
        if isinstance(node, Ident) and node.name in mentions.references:
            first[node.name] = min(node.span[0], first.get(node.name, node.span[0]))
        elif isinstance(node, Call) and qualified_name(node) in _RUNTIME_FUNCTIONS:
            first[RUNTIME] = min(node.span[0], first.get(RUNTIME, node.span[0]))
    return tuple(sorted(first, key=first.__getitem__))


def report_issues(
    error: ParseError | CheckError, source: Source, report: Report, code: str, prefix: str, path: Path
) -> None:
    """One problem for each issue of an expression."""
    with report.step(prefix):
        for issue in error.issues:
            report.add(
                code,
                issue.render(error.source),
                path,
                suggestion=issue.suggestion,
                offset=source.author_offset(issue.span[0]),
            )
