"""Kinds that nobody has defined: one problem for each kind with its uses, and which kind the author may have meant.

A suggestion is a kind of the same API group. Kinds of other groups are suggested only for groups without a domain,
such as `extensions`, which Kubernetes alone uses, and for a misspelt group: a `Service` of Knative is not the one of
the core group.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from kroasync.graph.checks import object_kind
from kroasync.model.definition import KINDS, Definition, is_definition
from kroasync.model.names import KRO_GROUP, RESOURCE_GRAPH_DEFINITION, RESOURCE_GROUP
from kroasync.model.objects import GVK, Obj
from kroasync.model.problems import Problem, Severity
from kroasync.model.suggest import did_you_mean
from kroasync.schema.catalog import Catalog

CODE: Final = "kind-not-found"


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """A resource of a kind that is unknown, with its problem."""

    kind: GVK
    definition: str
    problem: Problem


def use_of(problem: Problem, located: Problem, definition: Definition) -> Use | None:
    """The use that a problem of a definition is about; None for every other problem."""
    if problem.code != CODE:
        return None
    kind = next((object_kind(spec) for spec in definition.resources if spec.path == problem.path[:3]), None)
    return None if kind is None else Use(kind=kind, definition=definition.name, problem=located)


def order_of(problem: Problem) -> tuple[str, int, int]:
    """The order of problems in the input."""
    return problem.source or "", problem.line or 0, problem.column or 0


def grouped(uses: Iterable[Use], catalog: Catalog, severity: Severity) -> list[Problem]:
    """One problem for each kind, at its first use."""
    by_kind: dict[GVK, list[Use]] = {}
    for use in sorted(uses, key=lambda use: order_of(use.problem)):
        by_kind.setdefault(use.kind, []).append(use)
    return [
        replace(
            found[0].problem,
            message=_message(kind, found, catalog),
            severity=severity,
            suggestion=_suggestion(kind, catalog),
        )
        for kind, found in by_kind.items()
    ]


def _message(kind: GVK, uses: Sequence[Use], catalog: Catalog) -> str:
    definitions = len({use.definition for use in uses})
    counted = f" ({len(uses)} resources of {definitions} definitions)" if definitions > 1 else ""
    counted = counted or (f" ({len(uses)} resources)" if len(uses) > 1 else "")
    group = f"of group {kind.group}" if kind.group else "of the core group"
    versions = [gvk.version for gvk in catalog if (gvk.group, gvk.kind) == (kind.group, kind.kind)]
    what = f"version {kind.version} of kind {kind.kind} {group}" if versions else f"kind {kind.kind} {group}"
    return f"schema not found for {what}{counted}: {_remedy(kind, catalog)}"


def _remedy(kind: GVK, catalog: Catalog) -> str:
    if _is_of_kubernetes(kind.group):
        return f"Kubernetes {catalog.version} does not serve it"
    if kind.group == KRO_GROUP:
        return "name the folder of the definition that generates it with --crds"
    return "name the folder of its CRD with --crds, or accept unknown kinds with --missing-kinds"


def _is_of_kubernetes(group: str) -> bool:
    """Whether CRDs never have the group: it has no domain."""
    return "." not in group


def _suggestion(kind: GVK, catalog: Catalog) -> str | None:
    same_group = [gvk for gvk in catalog if gvk.group == kind.group]
    found = _nearest(kind.kind, same_group) or _elsewhere(kind, catalog)
    return None if found is None else f"{found.api_version}, Kind={found.kind}"


def _nearest(name: str, kinds: Iterable[GVK]) -> GVK | None:
    """The kind of that name, or else the one with the most similar name."""
    by_name: dict[str, GVK] = {}
    for gvk in kinds:
        by_name.setdefault(gvk.kind, gvk)
    return by_name.get(name) or by_name.get(did_you_mean(name, by_name) or "")


def _elsewhere(kind: GVK, catalog: Catalog) -> GVK | None:
    if _is_of_kubernetes(kind.group):
        return _nearest(kind.kind, (gvk for gvk in catalog if _is_of_kubernetes(gvk.group) or _is_bundled(gvk.group)))
    namesakes = {gvk.group: gvk for gvk in catalog if gvk.kind == kind.kind}
    near = did_you_mean(kind.group, namesakes)
    return None if near is None else namesakes[near]


def _is_bundled(group: str) -> bool:
    return group.endswith(".k8s.io")


def is_meant_as_definition(obj: Obj, catalog: Catalog) -> bool:
    """Whether an object is probably meant as a definition, but has another apiVersion or kind."""
    api_version, kind = obj.get("apiVersion"), obj.get("kind")
    if is_definition(obj) or not isinstance(kind, str):
        return False
    group = GVK.parse(api_version, kind).group if isinstance(api_version, str) else ""
    if kind == RESOURCE_GRAPH_DEFINITION:
        return True
    if kind == RESOURCE_GROUP:  # other groups have this kind, too
        return group in ("", KRO_GROUP)
    is_known = isinstance(api_version, str) and catalog.resource(GVK.parse(api_version, kind)) is not None
    return group == KRO_GROUP and not is_known and did_you_mean(kind, KINDS) is not None


def misplaced(obj: Obj, definitions: Sequence[Definition], catalog: Catalog) -> Problem | None:
    """What is wrong with the apiVersion or kind of an object that is probably meant as an instance of a definition."""
    api_version, name = obj.get("apiVersion", ""), obj.get("kind")
    if not isinstance(api_version, str) or not isinstance(name, str) or not name:
        return None
    kind = GVK.parse(api_version, name)
    if catalog.resource(kind) is not None:
        return None
    namesakes = [one for one in definitions if one.kind == name]
    if not namesakes:
        return _misspelt(kind, definitions)
    meant = next((one for one in namesakes if one.group == kind.group), namesakes[0])
    right = f"{meant.group}/{meant.api_version}"
    return Problem(
        code="instance-kind",
        message=f"kind {name} is generated as {right}, found {api_version or 'no apiVersion'}",
        path=("apiVersion",),
        severity=Severity.ERROR if _is_certain(kind.group, definitions) else Severity.WARNING,
        suggestion=right,
    )


def _is_certain(group: str, definitions: Iterable[Definition]) -> bool:
    """Whether a group that has no such kind can be nobody else's: ours, none, or one like ours."""
    groups = {one.group for one in definitions} | {KRO_GROUP}
    domains = {_domain(one) for one in groups}
    return group in groups or _is_of_kubernetes(group) or _domain(group) in domains or bool(did_you_mean(group, groups))


def _domain(group: str) -> str:
    return ".".join(group.split(".")[-2:])


def _misspelt(kind: GVK, definitions: Iterable[Definition]) -> Problem | None:
    """A warning: the definition may be in another file."""
    near = did_you_mean(kind.kind, {one.kind for one in definitions if one.group == kind.group})
    if near is None:
        return None
    message = f"no definition generates kind {kind.kind} of group {kind.group}"
    return Problem(code="instance-kind", message=message, path=("kind",), severity=Severity.WARNING, suggestion=near)
