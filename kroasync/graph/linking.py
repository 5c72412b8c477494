"""Parses the expressions of a resource to trees that use only the names of their places, and derives the edges."""

from collections.abc import Iterable
from dataclasses import dataclass

from kroasync.graph import checks
from kroasync.graph.budget import MAX_REFERENCES
from kroasync.graph.declarations import Declarations
from kroasync.graph.expressions import Parsed
from kroasync.graph.nodes import NodeType
from kroasync.graph.references import EACH, SCHEMA, NameScope, Place, edges
from kroasync.graph.resources import Entry
from kroasync.graph.templates import FieldSource, Source
from kroasync.model import paths
from kroasync.model.paths import Path
from kroasync.model.steps import Steps

_PREFIX = "failed to build dependency graph: "


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Linked:
    """An entry with its parsed expressions, without rejected ones."""

    entry: Entry
    fields: tuple[tuple[FieldSource, Parsed], ...]
    for_each: tuple[tuple[Path, str, Parsed], ...]
    include_when: tuple[tuple[Path, Parsed], ...]
    ready_when: tuple[tuple[Path, Parsed], ...]
    dependencies: tuple[str, ...]


def linking(entry: Entry, declared: Declarations) -> Steps[Linked]:
    """Parses the expressions of an entry and checks the names they use."""
    label = f'{_PREFIX}resource "{entry.id}"'

    def scope(
        place: Place, allowed: frozenset[str], iterator: str = "", local: frozenset[str] = frozenset()
    ) -> NameScope:
        return NameScope(
            place=place,
            allowed=allowed,
            local=local,
            excluded="" if place is Place.READY_WHEN or entry.id == SCHEMA else entry.id,
            own_id=entry.id,
            iterators=tuple(name for name in entry.iterators if name != iterator),
            iterator=iterator,
            allow_omit=declared.allow_omit,
        )

    def listed(
        key: str, sources: Iterable[tuple[int, Source]], scope: NameScope
    ) -> Steps[tuple[tuple[Path, Parsed], ...]]:
        found = []
        for place, source in sources:
            path = checks.resource_path(entry.spec, key, place)
            parsed = yield from declared.parse_in(scope, source, path, label=f"{label} {key}")
            if parsed is not None:
                found.append((path, parsed))
        return tuple(found)

    in_template = scope(Place.TEMPLATE, declared.names, local=frozenset(entry.iterators))
    fields = []
    for field in entry.fields:
        parsed = yield from declared.parse_in(in_template, field.source, entry.path(*field.path), label=label)
        if parsed is not None:
            fields.append((field, parsed))
    for_each = []
    for place, name, source in entry.for_each:
        path = checks.resource_path(entry.spec, "forEach", place, name)
        parsed = yield from declared.parse_in(scope(Place.FOR_EACH, declared.names, name), source, path, label=label)
        if parsed is not None:
            for_each.append((path, name, parsed))
    include_when = yield from listed("includeWhen", entry.include_when, scope(Place.INCLUDE_WHEN, declared.names))
    ready_when = yield from listed("readyWhen", entry.ready_when, scope(Place.READY_WHEN, _ready_names(entry)))
    _check_identity(entry, fields, declared)
    with_edges = [parsed for _, parsed in fields]
    with_edges += [parsed for _, _, parsed in for_each] + [parsed for _, parsed in include_when]
    dependencies = edges(with_edges, declared.ids)
    declared.budget.spend("references between resources", len(dependencies), MAX_REFERENCES, entry.spec.path)
    return Linked(
        entry=entry,
        fields=tuple(fields),
        for_each=tuple(for_each),
        include_when=include_when,
        ready_when=ready_when,
        dependencies=dependencies,
    )


def _ready_names(entry: Entry) -> frozenset[str]:
    """The names that readyWhen may read: the node's id, `each` for a collection, or both for a selector."""
    if entry.type is NodeType.COLLECTION:
        return frozenset((EACH,))
    if entry.type is NodeType.EXTERNAL_COLLECTION:
        return frozenset((EACH, entry.id))
    return frozenset((entry.id,))


def _check_identity(entry: Entry, fields: Iterable[tuple[FieldSource, Parsed]], declared: Declarations) -> None:
    """Check that the objects of a collection have different names, and that no identity field can be omitted."""
    used: dict[str, set[str]] = {}
    for field, parsed in fields:
        name = field.path[1] if len(field.path) == 2 and field.path[0] == "metadata" else None
        if not isinstance(name, str):
            continue
        used.setdefault(name, set()).update(parsed.names)
        if parsed.mentions.uses_omit and declared.allow_omit and _is_required(name, entry, declared):
            where = paths.build(field.path)
            text = f'resource "{entry.id}": omit() cannot be used at path "{where}"'
            declared.report.add(
                "omit-identity",
                f"{text} — the field is required and must resolve to a concrete value",
                entry.path(*field.path),
            )
    if entry.type is NodeType.COLLECTION and entry.resource is not None:
        with declared.report.step(_PREFIX):
            checks.check_identity(entry.spec, entry.resource, used, declared.report)


def _is_required(name: str, entry: Entry, declared: Declarations) -> bool:
    if name == "namespace":
        return declared.cluster_instance and entry.resource is not None and entry.resource.namespaced
    # Without its selector, a reference would cover everything.
    return name == "name" or (name == "selector" and entry.is_external)
