"""Compiles a resource to a Node of the graph: its expressions become programs of the right types."""

from collections.abc import Mapping

from kroasync.cel.types import DYN, Type
from kroasync.graph import checks, fieldtypes
from kroasync.graph.declarations import Declarations
from kroasync.graph.expressions import Parsed
from kroasync.graph.linking import Linked
from kroasync.graph.nodes import Dimension, Expression, FieldExpression, Node, NodeType
from kroasync.graph.references import EACH
from kroasync.graph.resources import Entry
from kroasync.graph.templates import FieldSource
from kroasync.model import paths
from kroasync.model.paths import Path
from kroasync.model.steps import Steps


def compiling(linked: Linked, declared: Declarations, *, apply_order: int) -> Steps[Node | None]:
    """The node, checked in kro's order; None if its kind is unknown. Other problems are reported even then."""
    entry = linked.entry
    types: dict[str, Type] = {}
    dimensions = []
    for path, name, parsed in linked.for_each:
        dimension, types[name] = yield from _dimension(entry, name, parsed, path, declared)
        dimensions += [dimension] if dimension else []
    # An iterator whose forEach expression is rejected has no type, so its uses are not type-checked.
    iterators = {name: types.get(name, DYN) for name in entry.iterators}
    untyped = declared.untyped | {name for name, found in iterators.items() if found == DYN}
    fields = []
    for field, parsed in linked.fields:
        fields.append((yield from _field(entry, field, parsed, iterators, declared)))
    include_when = []
    for path, parsed in linked.include_when:
        include_when.append((yield from _condition(entry, "includeWhen", parsed, path, {}, untyped, declared)))
    ready_when, ready_each = yield from _readiness(linked, untyped, declared)
    if entry.resource is None:
        return None
    return Node(
        id=entry.id,
        index=entry.spec.index,
        type=entry.type,
        resource=entry.resource,
        template=entry.obj,
        fields=tuple(one for one in fields if one),
        include_when=tuple(one for one in include_when if one),
        ready_when=ready_when,
        ready_each=ready_each,
        for_each=tuple(dimensions),
        dependencies=linked.dependencies,
        apply_order=apply_order,
    )


def _dimension(
    entry: Entry, name: str, parsed: Parsed, path: Path, declared: Declarations
) -> Steps[tuple[Dimension | None, Type]]:
    """One dimension and the type of its iterator."""
    label = f'node "{entry.id}": forEach iterator "{name}"'
    what = f'{label}: failed to type-check forEach expression "{parsed.source.text}"'
    program = yield from declared.compile(parsed, path, what=what, own=entry)
    if program is None:
        return None, DYN
    result = program.result_type
    item = fieldtypes.item_type(result)
    if item is None:
        item = DYN
        if result != DYN or declared.untyped.isdisjoint(parsed.names):
            text = f'{label} must return a list, got "{result}": type "{result}" is not a list type'
            declared.report.add("for-each-type", text, path)
    return Dimension(name=name, expression=declared.expression(parsed, program)), item


def _field(
    entry: Entry, field: FieldSource, parsed: Parsed, iterators: Mapping[str, Type], declared: Declarations
) -> Steps[FieldExpression | None]:
    path = entry.path(*field.path)
    text, where = parsed.source.text, paths.build(field.path)
    what = f'failed to compile template expression "{text}" at path "{where}"'
    program = yield from declared.compile(parsed, path, what=what, variables=iterators, own=entry)
    if program is None:
        return None
    expected = DYN
    if declared.owns(entry) and not field.is_refused:
        expected = fieldtypes.expected_type(declared.types, entry.id, field.path, in_collection=entry.is_collection)
    cause = fieldtypes.mismatch(program.result_type, expected, declared.types)
    if cause:
        message = (
            f'type mismatch in resource "{entry.id}" at path "{where}": expression "{text}" returns type '
            f'"{program.result_type}" but expected "{expected}": {cause}'
        )
        declared.report.add("type-mismatch", message, path)
    expression = declared.expression(
        parsed, program, iterators=entry.iterators, to_bytes_field=fieldtypes.takes_base64(expected)
    )
    return FieldExpression(path=field.path, expression=expression)


def _readiness(
    linked: Linked, untyped: frozenset[str], declared: Declarations
) -> Steps[tuple[tuple[Expression, ...], bool]]:
    """The conditions, and whether they read `each` object of the node."""
    entry = linked.entry
    each = {EACH: declared.object_type(entry)} if entry.is_collection else {}
    if entry.id in declared.untyped:
        untyped = untyped | {EACH}
    compiled = []
    for path, parsed in linked.ready_when:
        compiled.append((yield from _condition(entry, "readyWhen", parsed, path, each, untyped, declared)))
    of_each = any(EACH in parsed.names for _, parsed in linked.ready_when)
    if of_each and any(entry.id in parsed.names for _, parsed in linked.ready_when):
        text = f'resource "{entry.id}" readyWhen: use either each or {entry.id} in all of them, not both'
        declared.report.add("ready-when-mixed", text, checks.resource_path(entry.spec, "readyWhen"))
    return tuple(one for one in compiled if one), of_each or entry.type is NodeType.COLLECTION


def _condition(
    entry: Entry,
    key: str,
    parsed: Parsed,
    path: Path,
    variables: Mapping[str, Type],
    untyped: frozenset[str],
    declared: Declarations,
) -> Steps[Expression | None]:
    text = parsed.source.text
    what = f'failed to type-check {key} expression "{text}" in resource "{entry.id}"'
    program = yield from declared.compile(parsed, path, what=what, variables=variables, own=entry)
    if program is None:
        return None
    result = program.result_type
    # A value that is dyn only because its kind is unknown may be a bool.
    if not fieldtypes.is_bool(result) and (result != DYN or untyped.isdisjoint(parsed.names)):
        message = (
            f'{key} expression "{text}" in resource "{entry.id}" must return bool or optional_type(bool), '
            f'but returns "{result}"'
        )
        declared.report.add("condition-type", message, path)
    return declared.expression(parsed, program)
