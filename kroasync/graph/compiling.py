"""Compiles a resource to a Node of the graph: its expressions become programs of the right types."""

from collections.abc import Mapping
from typing import Final

from kroasync.cel.types import DYN, ERROR, Type
from kroasync.graph import checks, fieldtypes
from kroasync.graph.budget import MAX_RESULT_TYPES, MAX_TYPES
from kroasync.graph.declarations import Declarations
from kroasync.graph.expressions import CheckedProgram, Parsed
from kroasync.graph.external_fields import reading_external_fields
from kroasync.graph.field_results import compare
from kroasync.graph.linking import Linked
from kroasync.graph.node_policies import WrittenPolicies, check_annotations, check_policies, compiling_policies
from kroasync.graph.nodes import Dimension, Expression, FieldExpression, Node, NodeType
from kroasync.graph.references import EACH
from kroasync.graph.resources import Entry
from kroasync.graph.templates import FieldSource
from kroasync.model import paths
from kroasync.model.paths import Path
from kroasync.model.problems import Severity
from kroasync.model.steps import Steps
from kroasync.model.suggest import did_you_mean

# The cost of a suggestion, in types.
_WORK_PER_NAME: Final = 500


def compiling(
    linked: Linked, declared: Declarations, defaults: WrittenPolicies, *, apply_order: int
) -> Steps[Node | None]:
    """The node, checked in kro's order; None if its kind is unknown. Other problems are reported even then.

    `defaults` are the policies of the definition, for nodes that do not set their own.
    """
    entry = linked.entry
    types: dict[str, Type] = {}
    dimensions = []
    for path, name, parsed in linked.for_each:
        dimension, types[name] = yield from _dimension(entry, name, parsed, path, declared)
        dimensions += [dimension] if dimension else []
    # An iterator whose forEach expression is rejected has no type, so its uses are not type-checked.
    iterators = {name: types.get(name, ERROR) for name in entry.iterators}
    fields = []
    for field, parsed in linked.fields:
        fields.append((yield from _field(entry, field, parsed, iterators, declared)))
    include_when = []
    for path, parsed in linked.include_when:
        include_when.append((yield from _condition(entry, "includeWhen", parsed, path, {}, declared)))
    ready_when, ready_each = yield from _readiness(linked, declared)
    policies = WrittenPolicies() if entry.is_external else (yield from _policies(entry, defaults, declared))
    check_annotations(entry, linked.fields, declared.report)
    external_fields = yield from reading_external_fields(entry, declared.report, declared.budget)
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
        policy=policies.values,
        max_prune=policies.max_prune if entry.type is NodeType.COLLECTION else None,
        external_fields=external_fields,
    )


def _policies(entry: Entry, defaults: WrittenPolicies, declared: Declarations) -> Steps[WrittenPolicies]:
    """The policies of an entry; those of the definition where it sets none."""
    path = checks.resource_path(entry.spec, "policy")
    own = yield from compiling_policies(entry.spec.policy, path, declared, label=f'resource "{entry.id}"')
    check_policies(entry, own, defaults, declared.report)
    return own.over(defaults)


def _dimension(
    entry: Entry, name: str, parsed: Parsed, path: Path, declared: Declarations
) -> Steps[tuple[Dimension | None, Type]]:
    """One dimension and the type of its iterator."""
    label = f'node "{entry.id}": forEach iterator "{name}"'
    what = f'{label}: failed to type-check forEach expression "{parsed.source.text}"'
    compiled = yield from declared.compile(parsed, path, what=what, own=entry)
    if compiled is None:
        return None, ERROR
    result = compiled.result_type
    item = fieldtypes.item_type(result)
    if item is None:
        item = ERROR
        text = f'{label} must return a list, got "{result}": type "{result}" is not a list type'
        declared.report.add("for-each-type", text, path)
    return Dimension(name=name, expression=declared.expression(parsed, compiled)), item


def _field(
    entry: Entry, field: FieldSource, parsed: Parsed, iterators: Mapping[str, Type], declared: Declarations
) -> Steps[FieldExpression | None]:
    path = entry.path(*field.path)
    text, where = parsed.source.text, paths.build(field.path)
    what = f'failed to compile template expression "{text}" at path "{where}"'
    compiled = yield from declared.compile(parsed, path, what=what, variables=iterators, own=entry)
    if compiled is None:
        return None
    expected = DYN
    if declared.owns(entry) and not field.is_refused:
        expected = fieldtypes.expected_type(declared.types, entry.id, field.path, in_collection=entry.is_collection)
    yield from _checking_result(entry, field, compiled, expected, path, declared)
    expression = declared.expression(
        parsed, compiled, iterators=entry.iterators, to_bytes_field=fieldtypes.takes_base64(expected)
    )
    return FieldExpression(path=field.path, expression=expression)


def _checking_result(
    entry: Entry, field: FieldSource, compiled: CheckedProgram, expected: Type, path: Path, declared: Declarations
) -> Steps[None]:
    """Compare a result with its field: what kro refuses is an error, what only the API server will refuse a warning."""
    comparison = compare(compiled.checked, expected, declared.types, max_work=MAX_RESULT_TYPES)
    declared.budget.spend("steps of type-checking", comparison.work, MAX_TYPES, path)
    if declared.budget.pause_after(comparison.work):
        yield
    for mismatch in comparison.mismatches:
        place = f'resource "{entry.id}" at path "{paths.build(field.path)}": expression "{field.source.text}"'
        if comparison.refusal is not None:
            cause = mismatch.cause if mismatch.is_part else comparison.refusal
            code = "type-mismatch"
            message = (
                f'type mismatch in {place} returns type "{compiled.result_type}" but expected "{expected}": {cause}'
            )
        else:
            code = "result-type" if mismatch.key is None else "result-key"
            message = f"the API server will refuse the result in {place}: {mismatch.cause}"
        near = None
        if mismatch.key and declared.report.suggests:
            near = did_you_mean(mismatch.key, mismatch.known)
            if declared.budget.pause_after(_WORK_PER_NAME):
                yield
        declared.report.add(
            code,
            message,
            path,
            suggestion=near,
            offset=field.source.author_offset(mismatch.offset),
            severity=Severity.WARNING if comparison.refusal is None else Severity.ERROR,
        )


def _readiness(linked: Linked, declared: Declarations) -> Steps[tuple[tuple[Expression, ...], bool]]:
    """The conditions, and whether they read `each` object of the node."""
    entry = linked.entry
    each = {EACH: declared.object_type(entry)} if entry.is_collection else {}
    compiled = []
    for path, parsed in linked.ready_when:
        compiled.append((yield from _condition(entry, "readyWhen", parsed, path, each, declared)))
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
    declared: Declarations,
) -> Steps[Expression | None]:
    text = parsed.source.text
    what = f'failed to type-check {key} expression "{text}" in resource "{entry.id}"'
    compiled = yield from declared.compile(parsed, path, what=what, variables=variables, own=entry)
    if compiled is None:
        return None
    result = compiled.result_type
    if not fieldtypes.is_bool(result):
        message = (
            f'{key} expression "{text}" in resource "{entry.id}" must return bool or optional_type(bool), '
            f'but returns "{result}"'
        )
        declared.report.add("condition-type", message, path)
    return declared.expression(parsed, compiled)
