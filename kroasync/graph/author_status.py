"""The author's status: every leaf is an expression, and the types of the leaves determine the schema."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from kroasync.cel.types import Type
from kroasync.graph.budget import OverBudgetError
from kroasync.graph.declarations import Declarations
from kroasync.graph.expressions import Parsed
from kroasync.graph.nodes import FieldExpression
from kroasync.graph.problem_report import Report
from kroasync.graph.references import NameScope, Place
from kroasync.graph.templates import FieldSource, reading
from kroasync.model import paths
from kroasync.model.objects import Obj
from kroasync.model.paths import Path
from kroasync.model.problems import Problem, Severity
from kroasync.model.steps import Steps
from kroasync.schema.celtypes import SchemaTooLargeError, schema_of
from kroasync.schema.simple import MAX_FIELDS
from kroasync.schema.structural import PRESERVE

PATH: Final[Path] = ("spec", "schema", "status")
_ANYTHING: Final[dict[str, Any]] = {PRESERVE: True}
# The status fields of an instance that the controller writes itself.
_OURS: Final = "state"


def status_template(status: Mapping[str, Any]) -> Obj:
    """The author's status without the conditions."""
    return {name: value for name, value in status.items() if name != "conditions"}


def compiling_status(
    template: Obj, declared: Declarations
) -> Steps[tuple[tuple[tuple[FieldExpression, Parsed], ...], dict[str, Any]]]:
    """The compiled leaves and the schema of the status; the schema of a rejected leaf is open."""
    scope = NameScope(place=Place.STATUS, allowed=declared.names, allow_omit=declared.allow_omit)
    leaves = []
    schemas: dict[Path, dict[str, Any]] = {}
    with declared.report.step("failed to build instance status schema: "):
        nodes = 0
        for found in (yield from _reading_leaves(template, declared)):
            where, text, path = paths.build(found.path), found.source.text, (*PATH, *found.path)
            label = f'status field "{where}" expression "{text}"'
            parsed = yield from declared.parse_in(scope, found.source, path, label=label)
            if parsed is None:
                continue
            what = f'failed to type-check status expression "{text}" at path "{where}"'
            program = yield from declared.compile(parsed, path, what=what)
            if program is None:
                continue
            schemas[found.path] = schema = _schema_of(program.result_type, MAX_FIELDS - nodes, path, declared)
            size = _size(schema)
            nodes += size
            if declared.budget.pause_after(size):
                yield
            expression = declared.expression(parsed, program)
            leaves.append((FieldExpression(path=found.path, expression=expression), parsed))
    yield
    return tuple(leaves), infer_schema(template, lambda path: schemas.get(path, _ANYTHING))


def _schema_of(type_: Type, left: int, path: Path, declared: Declarations) -> dict[str, Any]:
    try:
        return schema_of(type_, declared.types, max_nodes=left)
    except SchemaTooLargeError:
        text = (
            f"expected at most {MAX_FIELDS} fields in the status, those of whole objects counted, found more up to here"
        )
        problem = Problem(code="definition-size", message=f"the definition is too large: {text}", path=path)
        raise OverBudgetError(problem) from None


def _size(schema: dict[str, Any]) -> int:
    """The number of schemas in a schema, including itself."""
    size, stack = 0, [schema]
    while stack:
        one = stack.pop()
        size += 1
        stack.extend(one.get("properties", {}).values())
        stack.extend(one[key] for key in ("items", "additionalProperties") if isinstance(one.get(key), dict))
    return size


def check_references(leaves: Iterable[tuple[FieldExpression, Parsed]], report: Report) -> None:
    """Check that every leaf reads a resource or the instance."""
    for leaf, parsed in leaves:
        if not parsed.names:
            text = f"instance status field must refer to a resource or schema: status.{paths.build(leaf.path)}"
            path = (*PATH, *leaf.path)
            report.add("status-without-reference", f"failed to create instance node: {text}", path)


def _reading_leaves(template: Obj, declared: Declarations) -> Steps[tuple[FieldSource, ...]]:
    """The leaves of the status; a leaf without an expression is reported."""
    report = declared.report
    found = yield from reading(template, None, declared.budget)
    for fault in found.faults:
        text = f"failed to extract CEL expressions from status: {fault.message}"
        report.add(fault.code, text, (*PATH, *fault.path), offset=fault.offset)
    for path in found.plain_leaves:
        text = f"status fields without expressions are not supported: [{paths.build(path)}]"
        report.add("status-literal", text, (*PATH, *path))
    if _OURS in template:
        text = f"status.{_OURS} is always written by the controller: this field has no effect"
        report.add("status-overwritten", text, (*PATH, _OURS), severity=Severity.WARNING)
    return tuple(found.fields)


def infer_schema(template: Obj, schema_at: Callable[[Path], dict[str, Any]]) -> dict[str, Any]:
    """The OpenAPI schema of a status, given the schema of each leaf."""
    return _infer(template, (), schema_at) or {"type": "object", "properties": {}}


def _infer(value: Any, path: Path, schema_at: Callable[[Path], dict[str, Any]]) -> dict[str, Any] | None:
    """The schema of a value; None for empty maps and lists, which have no leaf."""
    if isinstance(value, dict):
        properties = {name: _infer(item, (*path, name), schema_at) for name, item in value.items()}
        kept = {name: schema for name, schema in properties.items() if schema is not None}
        return {"type": "object", "properties": kept} if kept else None
    if isinstance(value, list):
        items: dict[str, Any] = {}
        for index, item in enumerate(value):
            schema = _infer(item, (*path, index), schema_at)
            if schema is not None:
                items = _merged(items, schema)
        return {"type": "array", "items": items} if items else None
    return schema_at(path)


def _merged(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """The common schema of list items: objects get each other's properties; of other schemas, the later one wins."""
    if "properties" not in old or "properties" not in new:
        return new
    # Modify the schema in place: all schemas belong to the tree that is built here, and a list may be long.
    properties = old["properties"]
    for name, schema in new["properties"].items():
        properties[name] = _merged(properties[name], schema) if name in properties else schema
    return {**new, "properties": properties}
