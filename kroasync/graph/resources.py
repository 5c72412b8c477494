"""One entry of `spec.resources` as far as it can be read alone: its object, its kind, its expressions as
text.

An invalid object, or one of a kind that the cluster does not have, still has expressions: they are read without a
schema.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any, Final

from kroasync.graph import checks
from kroasync.graph.budget import Budget
from kroasync.graph.nodes import Kinds, NodeType
from kroasync.graph.problem_report import Report
from kroasync.graph.templates import (
    CHARS_PER_VALUE,
    NOT_STANDALONE,
    ExtractionError,
    FieldSource,
    Source,
    UnterminatedError,
    read_standalone,
    reading,
)
from kroasync.model import paths
from kroasync.model.definition import ResourceSpec
from kroasync.model.objects import GVK, Obj, Resource
from kroasync.model.paths import Path
from kroasync.model.steps import Steps

# Below the selector of an external reference.
_OBJECTS_AND_LISTS: Final = (
    (),
    ("matchLabels",),
    ("matchExpressions",),
    ("matchExpressions", "*"),
    ("matchExpressions", "*", "values"),
)
CRD: Final = GVK("apiextensions.k8s.io", "v1", "CustomResourceDefinition")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Entry:
    """A resource entry, read. `resource` and `schema` are None if the kind is unknown or not stated."""

    spec: ResourceSpec
    type: NodeType
    obj: Obj
    gvk: GVK | None
    resource: Resource | None
    schema: dict[str, Any] | None
    fields: tuple[FieldSource, ...]
    # Conditions and dimensions with their positions in the list. Entries that are not expressions are reported and
    # left out.
    include_when: tuple[tuple[int, Source], ...]
    ready_when: tuple[tuple[int, Source], ...]
    for_each: tuple[tuple[int, str, Source], ...]

    @property
    def id(self) -> str:
        return self.spec.id

    @property
    def is_external(self) -> bool:
        return self.type in (NodeType.EXTERNAL, NodeType.EXTERNAL_COLLECTION)

    @property
    def is_collection(self) -> bool:
        return self.type in (NodeType.COLLECTION, NodeType.EXTERNAL_COLLECTION)

    @property
    def iterators(self) -> tuple[str, ...]:
        return tuple(name for name, _ in self.spec.for_each)

    def path(self, *below: str | int) -> Path:
        """A path in the definition from a path in the object."""
        return checks.resource_path(self.spec, checks.object_place(self.spec), *below)


def reading_entry(
    spec: ResourceSpec, kinds: Kinds, *, cluster_instance: bool, exempt: Collection[str], report: Report, budget: Budget
) -> Steps[Entry]:
    """Read everything of one entry that does not depend on other entries.

    The annotations in `exempt` may be set in spite of their prefix.
    """
    with report.step(f'failed to build resource "{spec.id}": '):
        checks.check_combination(spec, report)
        obj = checks.declared_object(spec) or {}
        gvk = checks.object_kind(spec)
        resource, schema = None, None
        if obj or spec.template is not None:
            checks.check_object(spec, obj, report)
        if gvk is not None:
            resource, schema = _look_up(spec, gvk, kinds, report)
            checks.check_reserved_keys(spec, obj, exempt, report)
        if resource is not None:
            checks.check_namespace(spec, obj, resource, cluster_instance, report)
        fields = yield from _reading_fields(spec, obj, gvk, schema, report, budget)
        ready_when = yield from _conditions(spec, "readyWhen", spec.ready_when, report, budget)
        include_when = yield from _conditions(spec, "includeWhen", spec.include_when, report, budget)
        for_each = []
        for place, (name, text) in enumerate(spec.for_each):
            what = f'failed to parse forEach dimensions: invalid forEach expression for dimension "{name}": '
            path = checks.resource_path(spec, "forEach", place, name)
            source = yield from _standalone(text, what, path, report, budget)
            if source is not None:
                for_each.append((place, name, source))
    return Entry(
        spec=spec,
        type=checks.node_type(spec),
        obj=obj,
        gvk=gvk,
        resource=resource,
        schema=schema,
        fields=fields,
        include_when=include_when,
        ready_when=ready_when,
        for_each=tuple(for_each),
    )


def _look_up(
    spec: ResourceSpec, gvk: GVK, kinds: Kinds, report: Report
) -> tuple[Resource | None, dict[str, Any] | None]:
    resource, schema = kinds.resource(gvk), kinds.schema(gvk)
    at = checks.resource_path(spec, checks.object_place(spec), "kind")
    if schema is None:
        text = f'cannot resolve group version kind "{gvk}": schema not found'
        report.add("kind-not-found", f"failed to get schema for resource {spec.id}: {text}", at)
        return None, None
    if resource is None:
        text = f'no matches for kind "{gvk.kind}" in version "{gvk.api_version}"'
        report.add("kind-not-found", f"failed to get REST mapping for resource {spec.id}: {text}", at)
        return None, None
    return resource, schema


def _reading_fields(
    spec: ResourceSpec, obj: Obj, gvk: GVK | None, schema: dict[str, Any] | None, report: Report, budget: Budget
) -> Steps[tuple[FieldSource, ...]]:
    is_template = checks.object_place(spec) == "template"
    found = yield from reading(obj, schema if is_template and gvk != CRD else None, budget)
    for fault in found.faults:
        at = checks.resource_path(spec, checks.object_place(spec), *fault.path)
        report.add(fault.code, fault.message, at, suggestion=fault.suggestion, offset=fault.offset)
    for field in found.fields if not is_template else ():
        if _stands_for_more(field.path) and not field.source.is_standalone:
            text = f'selector of resource "{spec.id}": {NOT_STANDALONE} for {paths.build(field.path)}'
            report.add("not-standalone", text, checks.resource_path(spec, "externalRef", *field.path))
    if is_template and gvk == CRD:
        for field in found.fields:
            if field.path[0] != "metadata":
                where = paths.build(field.path)
                text = "CEL expressions in CRDs are only supported for metadata fields"
                report.add(
                    "crd-expression",
                    f'{text}, found in path "{where}", resource {spec.id}',
                    checks.resource_path(spec, "template", *field.path),
                )
    return tuple(found.fields)


def _stands_for_more(path: Path) -> bool:
    """Whether the place in an external reference takes an object or a list, which no text becomes."""
    if path[:2] != ("metadata", "selector"):
        return False
    below = tuple("*" if isinstance(step, int) else step for step in path[2:])
    return below in _OBJECTS_AND_LISTS


def _conditions(
    spec: ResourceSpec, key: str, texts: Iterable[str], report: Report, budget: Budget
) -> Steps[tuple[tuple[int, Source], ...]]:
    found = []
    for place, text in enumerate(texts):
        what = f"failed to parse {key} expressions: "
        source = yield from _standalone(text, what, checks.resource_path(spec, key, place), report, budget)
        if source is not None:
            found.append((place, source))
    return tuple(found)


def _standalone(text: str, what: str, path: Path, report: Report, budget: Budget) -> Steps[Source | None]:
    if budget.pause_after(1 + len(text) // CHARS_PER_VALUE):
        yield
    try:
        return read_standalone(text)
    except UnterminatedError as error:
        report.add(error.code, f"{what}{error}", path, offset=error.offset)
    except ExtractionError as error:
        with report.step(what):
            report.add("not-standalone", str(error), path)
    return None
