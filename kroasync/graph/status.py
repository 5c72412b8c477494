"""The author's status: every leaf an expression, and the schema that follows from their types."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from kroasync.graph.declarations import Declarations
from kroasync.graph.expressions import Parsed
from kroasync.graph.nodes import FieldExpression
from kroasync.graph.references import SCHEMA, Place, Scope
from kroasync.graph.report import Report
from kroasync.graph.templates import FieldSource, read_schemaless
from kroasync.model import paths
from kroasync.model.objects import Obj
from kroasync.model.paths import Path
from kroasync.model.problems import Severity
from kroasync.schema.celtypes import schema_of

PATH: Final[Path] = ("spec", "schema", "status")
_OPEN: Final[dict[str, Any]] = {"x-kubernetes-preserve-unknown-fields": True}
# The controller writes these itself; see the instance status.
_OURS: Final = "state"


def status_template(status: Mapping[str, Any]) -> Obj:
    """The author's status without the conditions."""
    return {name: value for name, value in status.items() if name != "conditions"}


def compile_status(
    template: Obj, declared: Declarations
) -> tuple[tuple[tuple[FieldExpression, Parsed], ...], dict[str, Any]]:
    """The leaves, compiled, and the schema of the status; a leaf that is refused has an open schema."""
    scope = Scope(place=Place.STATUS, allowed=declared.ids | {SCHEMA}, allow_omit=declared.allow_omit)
    leaves = []
    schemas: dict[Path, dict[str, Any]] = {}
    with declared.report.step("failed to build instance status schema: "):
        for found in _read_leaves(template, declared.report):
            where, text, path = paths.build(found.path), found.source.text, (*PATH, *found.path)
            label = f'status field "{where}" expression "{text}"'
            parsed = declared.parse_in(scope, found.source, path, label=label)
            if parsed is None:
                continue
            what = f'failed to type-check status expression "{text}" at path "{where}"'
            program = declared.compile(parsed, path, what=what)
            if program is None:
                continue
            schemas[found.path] = schema_of(program.result_type, declared.types)
            expression = declared.expression(parsed, program)
            leaves.append((FieldExpression(path=found.path, expression=expression), parsed))
    return tuple(leaves), infer_schema(template, lambda path: schemas.get(path, _OPEN))


def check_references(leaves: Iterable[tuple[FieldExpression, Parsed]], report: Report) -> None:
    """Every leaf speaks of a resource or of the instance."""
    for leaf, parsed in leaves:
        if not parsed.names:
            text = f"instance status field must refer to a resource or schema: status.{paths.build(leaf.path)}"
            path = (*PATH, *leaf.path)
            report.add("status-without-reference", f"failed to create instance node: {text}", path)


def _read_leaves(template: Obj, report: Report) -> tuple[FieldSource, ...]:
    """The leaves of the status; one without an expression is reported."""
    found = read_schemaless(template)
    for fault in found.faults:
        text = f"failed to extract CEL expressions from status: {fault.message}"
        report.add(fault.code, text, (*PATH, *fault.path))
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
    """None for empty maps and lists: they have no leaf, so they have no schema."""
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
    """The items of a list share one schema: objects get each other's properties, anything else the later
    one wins.
    """
    if "properties" not in old or "properties" not in new:
        return new
    properties = dict(old["properties"])
    for name, schema in new["properties"].items():
        properties[name] = _merged(properties[name], schema) if name in properties else schema
    return {**new, "properties": properties}
