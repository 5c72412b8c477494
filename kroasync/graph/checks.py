"""Rules without expressions: names, combinations of fields, the form of a template, and its namespace.

Each function reports all violations. Texts and rules are those of kro, for compatibility.
"""

import re
from collections.abc import Collection
from typing import Any, Final

from kroasync.graph.budget import Budget
from kroasync.graph.nodes import NodeType
from kroasync.graph.problem_report import Report, names
from kroasync.model.definition import Definition, ResourceSpec
from kroasync.model.name_forms import DNS_LABEL_1035, MAX_LABEL
from kroasync.model.names import ANNOTATION_DELETION_POLICY, POLICY_DELETE, POLICY_ORPHANED, RESERVED_PREFIXES
from kroasync.model.objects import GVK, Obj, Resource
from kroasync.model.paths import Path
from kroasync.model.problems import Severity
from kroasync.model.steps import Steps
from kroasync.model.suggest import did_you_mean

_KRO_WORDS: Final = """
    apiVersion context dependency dependencies each externalRef externalReference externalRefs externalReferences
    graph graphengine instance item items kind kro metadata namespace object resource resourcegraphdefinition
    resourceGraphDefinition resources root runtime schema self serviceAccountName spec status this variables vars
    version
"""
_CEL_WORDS: Final = """
    true false null in as break const continue else for function if import let loop package namespace return var
    void while
"""
RESERVED: Final = frozenset((_KRO_WORDS + _CEL_WORDS).split())
"""Words that are no id and no iterator: kro's own, and those CEL reserves."""

_POLICY_GATE: Final = "DeletionPolicy"

_NAME: Final = re.compile(r"[a-z][a-zA-Z0-9]*")


def resource_path(spec: ResourceSpec, *below: str | int) -> Path:
    """The path of a resource in the definition."""
    return (*spec.path, *below)


def checking_names(definition: Definition, report: Report, budget: Budget, *, max_dimensions: int) -> Steps[None]:
    """Check ids and iterators; the kind was checked when the definition was parsed."""
    with report.step("failed to validate resourcegraphdefinition: "):
        seen: set[str] = set()
        for spec in definition.resources:
            with report.step(kept="naming convention violation: ", path=resource_path(spec, "id")):
                _check_id(spec.id, seen, report)
            seen.add(spec.id)
            if budget.pause_after(1):
                yield
        for spec in definition.resources:
            with report.step(f'resource "{spec.id}": ', resource_path(spec, "forEach")):
                _check_iterators(spec, seen, report, max_dimensions)
            if budget.pause_after(1):
                yield


def _check_id(name: str, seen: set[str], report: Report) -> None:
    if name in RESERVED:
        report.add("reserved-id", f"id {name} is a reserved keyword in KRO")
    elif not _NAME.fullmatch(name):
        report.add("invalid-id", f"id {name} is not a valid KRO resource id: must be lower camelCase")
    if name in seen:
        report.add("duplicate-id", f"found duplicate resource IDs {name}")


def _check_iterators(spec: ResourceSpec, ids: set[str], report: Report, max_dimensions: int) -> None:
    if len(spec.for_each) > max_dimensions:
        text = f"forEach cannot have more than {max_dimensions} dimensions, got {len(spec.for_each)}"
        report.add("too-many-dimensions", text)
    seen: set[str] = set()
    for place, (name, _) in enumerate(spec.for_each):
        fault = None
        if not _NAME.fullmatch(name):
            fault = "is not valid: must be lowerCamelCase"
        elif name in RESERVED:
            fault = "is a reserved keyword"
        elif name in ids:
            fault = "conflicts with resource ID"
        if fault:
            report.add("iterator-name", f'forEach iterator name "{name}" {fault}', (place, name))
        if name in seen:
            report.add("duplicate-iterator", f'duplicate forEach iterator name "{name}"', (place, name))
        seen.add(name)


def node_type(spec: ResourceSpec) -> NodeType:
    """The type of an entry of `spec.resources`."""
    if spec.template is not None or spec.external_ref is None:
        return NodeType.COLLECTION if spec.for_each else NodeType.RESOURCE
    metadata = spec.external_ref.get("metadata")
    selects = isinstance(metadata, dict) and metadata.get("selector") is not None
    return NodeType.EXTERNAL_COLLECTION if selects else NodeType.EXTERNAL


def check_combination(spec: ResourceSpec, report: Report) -> None:
    """Check that an entry has exactly one of template and externalRef, and the fields that go with it."""
    path = resource_path(spec)
    with report.step(f'resource "{spec.id}": ', kept="invalid combination of resource fields: "):
        if spec.template is None and spec.external_ref is None:
            report.add("field-combination", "exactly one of template or externalRef must be provided", path)
        if spec.template is not None and spec.external_ref is not None:
            report.add("field-combination", "cannot use externalRef with template", (*path, "externalRef"))
        if spec.external_ref is not None and spec.for_each:
            report.add("field-combination", "cannot use externalRef with forEach", (*path, "forEach"))
        if spec.external_ref is not None and spec.policy:
            text = "cannot use externalRef with policy: the object is only read"
            report.add("field-combination", text, (*path, "policy"))
        if spec.external_ref is not None and spec.external_fields:
            text = "cannot use externalRef with externalFields: the object is only read"
            report.add("field-combination", text, (*path, "externalFields"))


def declared_object(spec: ResourceSpec) -> Obj | None:
    """The template, or an external reference as the object that it names; None if the entry has neither."""
    if spec.template is not None:
        return spec.template
    if spec.external_ref is None:
        return None
    found: Obj = {key: spec.external_ref[key] for key in ("apiVersion", "kind") if key in spec.external_ref}
    metadata = spec.external_ref.get("metadata")
    if isinstance(metadata, dict):
        kept = {key: metadata[key] for key in ("name", "namespace", "selector") if metadata.get(key) is not None}
        return {**found, "metadata": kept}
    return found


def object_place(spec: ResourceSpec) -> str:
    """The key of the entry's field that contains the object."""
    return "externalRef" if spec.template is None and spec.external_ref is not None else "template"


def object_kind(spec: ResourceSpec) -> GVK | None:
    """The kind of a resource's object, None if it is unusable (see `check_object`)."""
    obj = declared_object(spec)
    if obj is None or _structure_fault(obj) or _version_fault(obj["apiVersion"]) or _kind_fault(obj["kind"]):
        return None
    return GVK.of(obj)


def check_object(spec: ResourceSpec, obj: Obj, report: Report) -> None:
    """Check `apiVersion`, `kind` and `metadata`, which every Kubernetes object has."""
    with report.step(path=resource_path(spec, object_place(spec))):
        fault = _structure_fault(obj)
        if fault:
            key, text = fault
            at = (key,) if key in obj else ()
            report.add(
                "not-an-object",
                f"resource {spec.id} is not a valid Kubernetes object: {key} field {text}",
                at,
            )
            return
        for key, wrong in (
            ("apiVersion", _version_fault(obj["apiVersion"])),
            ("kind", _kind_fault(obj["kind"])),
        ):
            if wrong:
                report.add("invalid-kind", f"failed to extract GVK from resource {spec.id}: {wrong}", (key,))


def _structure_fault(obj: Obj) -> tuple[str, str] | None:
    for key in ("apiVersion", "kind"):
        if obj.get(key) is None:
            return key, "not found"
        if not isinstance(obj[key], str):
            return key, "is not a string"
    if obj.get("metadata") is None:
        return "metadata", "not found"
    if not isinstance(obj["metadata"], dict):
        return "metadata", "is not a map"
    return None


def _version_fault(api_version: str) -> str | None:
    if "${" in api_version:
        return f'invalid apiVersion format "{api_version}": expressions are not allowed here'
    if api_version.count("/") > 1 or not api_version or api_version.startswith("/") or api_version.endswith("/"):
        return f'invalid apiVersion format "{api_version}": unexpected GroupVersion string: {api_version}'
    return None


def _kind_fault(kind: str) -> str | None:
    if not kind:
        reason = "it is empty"
    elif "${" in kind:
        reason = "expressions are not allowed here"
    elif len(kind) > MAX_LABEL:
        reason = f"must be no more than {MAX_LABEL} characters"
    elif not DNS_LABEL_1035.fullmatch(kind.lower()):
        reason = "only letters, digits and '-' are allowed, the first one a letter"
    else:
        return None
    return f'invalid kind "{kind}": {reason} (must be a valid DNS-1035 label when lowercased)'


def check_namespace(spec: ResourceSpec, obj: Obj, resource: Resource, cluster_instance: bool, report: Report) -> None:
    """Check `metadata.namespace` against the scope of the kind and of the instance."""
    metadata = obj["metadata"]
    path = resource_path(spec, object_place(spec), "metadata")
    if not resource.namespaced:
        if "namespace" in metadata:
            text = f'resource "{spec.id}" is cluster-scoped and must not set metadata.namespace'
            report.add("namespace-scope", text, (*path, "namespace"))
        return
    if not cluster_instance or node_type(spec) is NodeType.EXTERNAL_COLLECTION:
        return
    namespace = metadata.get("namespace")
    if not isinstance(namespace, str) or not namespace.strip():
        text = "is namespaced and must set metadata.namespace when the instance CRD is cluster-scoped"
        report.add("namespace-scope", f'resource "{spec.id}" {text}', path)


def exempt_annotations(features: Collection[str]) -> frozenset[str]:
    """The annotations that templates may set in spite of their prefix."""
    return frozenset({ANNOTATION_DELETION_POLICY} if _POLICY_GATE in features else ())


def check_reserved_keys(spec: ResourceSpec, obj: Obj, exempt: Collection[str], report: Report) -> None:
    """Check that no literal label or annotation has a prefix of the controller, except the exempt annotations."""
    for field, one in (("labels", "label"), ("annotations", "annotation")):
        found: Any = obj["metadata"].get(field)
        for key in found if isinstance(found, dict) else ():
            if field == "annotations" and key in exempt:
                _check_policy(spec, found[key], report)
                continue
            for prefix in RESERVED_PREFIXES:
                if key.startswith(prefix):
                    text = (
                        f'invalid {one} for resource "{spec.id}". {field} with prefix "{prefix}" '
                        "are reserved for internal use"
                    )
                    if key == ANNOTATION_DELETION_POLICY:
                        text += f": use policy.deletion, or the feature gate {_POLICY_GATE}"
                    path = resource_path(spec, object_place(spec), "metadata", field, key)
                    report.add("reserved-prefix", text, path)


def _check_policy(spec: ResourceSpec, policy: Any, report: Report) -> None:
    if isinstance(policy, str) and "${" not in policy:
        path = resource_path(spec, object_place(spec), "metadata", "annotations", ANNOTATION_DELETION_POLICY)
        check_annotated_policy(spec, policy, path, report)


def check_annotated_policy(
    spec: ResourceSpec, policy: str, path: Path, report: Report, *, offset: int | None = None
) -> None:
    """Warn of a literal value of kro's annotation that is misspelt: it means Delete."""
    if policy not in (POLICY_DELETE, POLICY_ORPHANED):
        report.add(
            "deletion-policy",
            f'invalid {ANNOTATION_DELETION_POLICY} for resource "{spec.id}": expected {POLICY_DELETE} or '
            f'{POLICY_ORPHANED}, got "{policy}", which means {POLICY_DELETE}',
            path,
            suggestion=did_you_mean(policy, (POLICY_DELETE, POLICY_ORPHANED)) if report.suggests else None,
            offset=offset,
            severity=Severity.WARNING,
        )


def check_identity(spec: ResourceSpec, resource: Resource, used: dict[str, set[str]], report: Report) -> None:
    """Check that every dimension distinguishes names; `used` has the iterators in each identity field."""
    fields = ("name", "namespace") if resource.namespaced else ("name",)
    seen = set[str]().union(*(used.get(field, set()) for field in fields))
    missing = [name for name, _ in spec.for_each if name not in seen]
    if missing:
        text = "all forEach dimensions must be used to produce a unique resource identity, missing"
        report.add(
            "collection-identity",
            f'node "{spec.id}": {text}: {names(missing)}',
            resource_path(spec, object_place(spec), "metadata"),
        )
