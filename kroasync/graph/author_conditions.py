"""The author's conditions, `schema.status.conditions`: each entry is one `runtime.newCondition(...)` expression.

The build checks literal types, statuses and look-ups in the syntax tree; evaluation checks computed ones.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from kroasync.cel.syntax import NEW_CONDITION, Call, Expr, Ident, Literal, walk
from kroasync.cel.types import DYN, Type
from kroasync.graph.declarations import Declarations
from kroasync.graph.expressions import RUNTIME, Parsed
from kroasync.graph.nodes import Expression
from kroasync.graph.references import SCHEMA, NameScope, Place
from kroasync.graph.templates import CHARS_PER_VALUE, ExtractionError, Source, UnterminatedError, read_standalone
from kroasync.model.definition import type_name
from kroasync.model.paths import Path
from kroasync.model.steps import Steps
from kroasync.model.suggest import did_you_mean

BUILT_IN: Final = ("InstanceManaged", "GraphResolved", "ResourcesReady", "Ready")
PATH: Final[Path] = ("spec", "schema", "status", "conditions")
_STATUSES: Final = ("True", "False", "Unknown")
# The name of the type in kro's messages.
_CONDITION: Final = "kro.run.Condition"


def compiling_conditions(block: Any, declared: Declarations) -> Steps[tuple[Expression, ...]]:
    """The compiled entries, without rejected entries, which are reported."""
    report = declared.report
    scope = NameScope(place=Place.CONDITION, allowed=declared.names | {RUNTIME}, allow_omit=declared.allow_omit)
    compiled = []
    with report.step("failed to build instance conditions: "):
        entries = []
        for place, source in (yield from _reading_entries(block, declared)):
            parsed = yield from declared.parse(source, (*PATH, place), what=f'condition "{source.text}"')
            if parsed is not None:
                entries.append((place, parsed))
        yield from _checking_literals(entries, declared)
        for place, parsed in entries:
            expression = yield from _compile_entry(parsed, (*PATH, place), scope, declared)
            compiled += [expression] if expression else []
    return tuple(compiled)


def _compile_entry(parsed: Parsed, path: Path, scope: NameScope, declared: Declarations) -> Steps[Expression | None]:
    text = parsed.source.text
    with declared.report.step(f'condition "{text}": '):
        if not scope.check(parsed, declared.report, path):
            return None
    program = yield from declared.compile(parsed, path, what=f'failed to type-check condition "{text}"')
    if program is None:
        return None
    if not is_condition(program.result_type):
        message = (
            f'condition "{text}": condition expressions must return runtime.newCondition(...) or a list of them, '
            f'got "{program.result_type}"'
        )
        declared.report.add("condition-result", message, path)
    return declared.expression(parsed, program)


def _reading_entries(block: Any, declared: Declarations) -> Steps[list[tuple[int, Source]]]:
    """The entries of the block with their positions, without entries that are not expressions, which are reported."""
    report = declared.report
    if block is None:
        return []
    if not isinstance(block, list):
        text = f"status.conditions must be a list, got {type_name(block)}"
        report.add("conditions-block", f"failed to extract conditions block: {text}", PATH)
        return []
    found = []
    for place, text in enumerate(block):
        if not isinstance(text, str):
            message = f"status.conditions[{place}] must be a CEL expression string, got {type_name(text)}"
            report.add("conditions-block", f"failed to extract conditions block: {message}", (*PATH, place))
            continue
        if declared.budget.pause_after(1 + len(text) // CHARS_PER_VALUE):
            yield
        try:
            found.append((place, read_standalone(text)))
        except UnterminatedError as error:
            report.add(error.code, f"invalid conditions block: {error}", (*PATH, place), offset=error.offset)
        except ExtractionError as error:
            report.add("not-standalone", f"invalid conditions block: {error}", (*PATH, place))
    return found


def _checking_literals(entries: Sequence[tuple[int, Parsed]], reported: Declarations) -> Steps[None]:
    """Report types that are declared twice, look-ups of the author's conditions, and invalid statuses and types."""
    report = reported.report
    declared: dict[str, int] = {}
    for place, parsed in entries:
        if reported.budget.pause_after(parsed.ast.size):
            yield
        for name in dict.fromkeys(_types(parsed.ast.root)):
            if declared.setdefault(name, place) != place:
                text = f'condition type "{name}" is declared by more than one conditions entry'
                report.add("duplicate-condition", text, (*PATH, place))
    for place, parsed in entries:
        if reported.budget.pause_after(2 * parsed.ast.size):
            yield
        where = f' in expression "{parsed.source.text}"'
        for name in _look_ups(parsed.ast.root):
            if name in BUILT_IN:
                continue
            text = f'runtime.condition(schema, "{name}"): '
            if name in declared:
                text += "custom conditions cannot reference each other"
            else:
                built_in = ", ".join(BUILT_IN)
                text += f"unknown condition type; only kro's built-in types ({built_in}) can be read from schema"
            report.add("condition-look-up", text + where, (*PATH, place), suggestion=did_you_mean(name, BUILT_IN))
        for fault in _literal_faults(parsed.ast.root):
            report.add("condition-literal", f"runtime.newCondition: {fault}{where}", (*PATH, place))


def _new_conditions(root: Expr) -> Iterator[Call]:
    for node in walk(root):
        if isinstance(node, Call) and node.function == NEW_CONDITION:
            yield node


def _text(node: Expr) -> str | None:
    return node.value if isinstance(node, Literal) and isinstance(node.value, str) else None


def _types(root: Expr) -> Iterable[str]:
    for call in _new_conditions(root):
        name = _text(call.args[0])
        if name:
            yield name


def _literal_faults(root: Expr) -> Iterator[str]:
    for call in _new_conditions(root):
        status = _text(call.args[1])
        if status is not None and status not in _STATUSES:
            yield f'status must be one of True, False, Unknown (got "{status}")'
        if _text(call.args[0]) == "":
            yield "type must not be empty"


def _look_ups(root: Expr) -> Iterator[str]:
    """The literal type of every `runtime.condition(schema, "type")`."""
    for node in walk(root):
        if not isinstance(node, Call) or node.function != "condition" or len(node.args) != 2:
            continue
        subject = node.args[0]
        is_runtime = isinstance(node.target, Ident) and node.target.name == RUNTIME
        if is_runtime and isinstance(subject, Ident) and subject.name == SCHEMA:
            name = _text(node.args[1])
            if name is not None:
                yield name


def is_condition(result: Type) -> bool:
    """Whether an entry may return this type: a condition, a list of conditions, or a type known only at run time."""
    one = result.element if result.kind == "list" else result
    return one == DYN or (one.kind in ("opaque", "object") and one.name == _CONDITION)
