"""The CRD generated for a definition, and what has to be done to bring an existing one to it.

`build_crd` is a function of the definition and two schemas; `ensure_crd_patch` decides from the live object:
create, leave, patch, or refuse with a typed outcome. Unlike kro, any difference of the desired part leads to
a patch, not only those the compatibility report knows.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from kroasync.model import names
from kroasync.model.definition import Definition
from kroasync.model.objects import Obj, Resource, annotations_of, labels_of, name_of
from kroasync.model.steps import Steps, drained
from kroasync.schema import compat, name_rules, plural

# Values compared in one step.
_STEP: Final = 5_000

CRD_API_VERSION: Final = "apiextensions.k8s.io/v1"
CRD_KIND: Final = "CustomResourceDefinition"

_READY_PATH: Final = '.status.conditions[?(@.type=="Ready")].status'
_AGE_PATH: Final = ".metadata.creationTimestamp"
# What differs between the two kinds of definition, seen by `kubectl get` on their instances.
_COLUMNS: Final[dict[str, tuple[tuple[str, str, str, str], ...]]] = {
    names.RESOURCE_GROUP: (
        ("Status", "string", ".status.state", "The state of a ResourceGroup instance"),
        (
            "Synced",
            "boolean",
            ".status.synced",
            "Whether everything declared is applied and nothing has drifted",
        ),
        ("Age", "date", _AGE_PATH, "Age of the resource"),
    ),
    names.RESOURCE_GRAPH_DEFINITION: (
        ("State", "string", ".status.state", "The state of a ResourceGraphDefinition instance"),
        ("Ready", "string", _READY_PATH, "Whether a ResourceGraphDefinition instance is ready"),
        ("Age", "date", _AGE_PATH, "Age of the resource"),
    ),
}

_CONDITIONS: Final[Obj] = {
    "type": "array",
    "items": {
        "type": "object",
        "properties": {
            "type": {"type": "string"},
            "status": {"type": "string"},
            "reason": {"type": "string"},
            "message": {"type": "string"},
            "lastTransitionTime": {"type": "string"},
            "observedGeneration": {"type": "integer"},
        },
    },
}
# An author's status field of the same name replaces these…
_DEFAULT_STATUS: Final[Obj] = {
    "phase": {"type": "string"},
    "synced": {"type": "boolean"},
    "observedGeneration": {"type": "integer"},
}
# …and never these.
_FIXED_STATUS: Final[Obj] = {"state": {"type": "string"}, "conditions": _CONDITIONS}


def instance_resource(definition: Definition) -> Resource:
    """How the API server will serve the instances of a definition."""
    return Resource(
        group=definition.group,
        version=definition.api_version,
        kind=definition.kind,
        plural=definition.plural or plural.resource_name(definition.kind),
        namespaced=definition.namespaced,
    )


def crd_name(definition: Definition) -> str:
    """`<plural>.<group>`."""
    return f"{definition.plural or plural.resource_name(definition.kind)}.{definition.group}"


def instance_schema(crd: Obj) -> Obj:
    """The schema of the instances, of a generated CRD, which has one version."""
    schema: Obj = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return schema


def status_schema(author: Obj) -> Obj:
    """The schema of `status`: the author's fields and the built-in ones."""
    properties = {**_DEFAULT_STATUS, **(author.get("properties") or {}), **_FIXED_STATUS}
    return {**author, "type": "object", "properties": properties}


def build_crd(definition: Definition, spec_schema: Obj, author_status: Obj, *, owner_labels: Mapping[str, str]) -> Obj:
    """The CRD object; `author_status` is the schema of the author's status fields (`{}` for none)."""
    kind, resource = definition.kind, instance_resource(definition)
    crd_names: Obj = {
        "kind": kind,
        "listKind": f"{kind}List",
        "plural": resource.plural,
        "singular": kind.lower(),
    }
    if definition.short_names:
        crd_names["shortNames"] = list(definition.short_names)
    if definition.categories:
        crd_names["categories"] = list(definition.categories)
    metadata: Obj = {
        "name": crd_name(definition),
        "labels": {**definition.metadata_labels, **owner_labels},
    }
    if definition.metadata_annotations:
        metadata["annotations"] = dict(definition.metadata_annotations)
    return {
        "apiVersion": CRD_API_VERSION,
        "kind": CRD_KIND,
        "metadata": metadata,
        "spec": {
            "group": definition.group,
            "names": crd_names,
            "scope": definition.scope,
            "versions": [_version(definition, spec_schema, author_status)],
        },
    }


def _version(definition: Definition, spec_schema: Obj, author_status: Obj) -> Obj:
    return {
        "name": definition.api_version,
        "served": True,
        "storage": True,
        "schema": {
            "openAPIV3Schema": {
                "type": "object",
                "properties": {
                    "apiVersion": {"type": "string"},
                    "kind": {"type": "string"},
                    "metadata": name_rules.metadata_schema(definition.name_validation),
                    "spec": spec_schema,
                    "status": status_schema(author_status),
                },
            }
        },
        "subresources": {"status": {}},
        "additionalPrinterColumns": _columns(definition),
    }


def _columns(definition: Definition) -> list[Obj]:
    if definition.printer_columns:
        return [dict(column) for column in definition.printer_columns]
    return [
        {"name": name, "type": type_, "jsonPath": path, "description": description}
        for name, type_, path, description in _COLUMNS[definition.api_kind]
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Create:
    """There is no such CRD."""

    crd: Obj


@dataclass(frozen=True, slots=True, kw_only=True)
class Unchanged:
    """Everything desired is there already."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Patch:
    """A JSON merge patch is needed; `adopted` when the CRD belonged to an earlier definition of this name."""

    patch: Obj
    report: compat.Comparison
    adopted: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class NotOwned:
    """The CRD belongs to someone else."""

    name: str

    @property
    def message(self) -> str:
        return f"failed to update CRD {self.name}: CRD already exists and is not owned by KRO"


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnedByOther:
    """The CRD belongs to another definition."""

    name: str
    owner: str

    @property
    def message(self) -> str:
        return f"failed to update CRD {self.name}: CRD is owned by another ResourceGraphDefinition {self.owner}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Breaking:
    """The update could break instances, and the author has not allowed that."""

    name: str
    report: compat.Comparison

    @property
    def message(self) -> str:
        return f"cannot update CRD {self.name}: breaking changes detected: {self.report.summary()}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Incomparable:
    """The live CRD has no single version with a schema."""

    name: str
    message: str


Refusal: TypeAlias = NotOwned | OwnedByOther | Breaking | Incomparable
Outcome: TypeAlias = Create | Unchanged | Patch | Refusal


def is_owned(crd: Obj) -> bool:
    """The CRD was made by kro or kroasync; objects from before the label existed are known by managed-by."""
    labels = labels_of(crd)
    if names.LABEL_OWNED in labels:
        return labels[names.LABEL_OWNED] == "true"
    return labels.get(names.LABEL_MANAGED_BY) == names.MANAGED_BY


def ensure_crd_patch(
    existing: Obj | None, desired: Obj, *, allow_breaking: bool = False, conservative: bool = False
) -> Outcome:
    """`ensuring_crd_patch` at once."""
    return drained(ensuring_crd_patch(existing, desired, allow_breaking=allow_breaking, conservative=conservative))


def ensuring_crd_patch(
    existing: Obj | None, desired: Obj, *, allow_breaking: bool = False, conservative: bool = False
) -> Steps[Outcome]:
    """What to do so that the live CRD (None: there is none) becomes the desired one."""
    if existing is None:
        return Create(crd=desired)
    name = name_of(desired)
    current, wanted = labels_of(existing), labels_of(desired)
    if not is_owned(existing):
        return NotOwned(name=name)
    owner = current.get(names.LABEL_DEFINITION_NAME, "")
    if owner and owner != wanted.get(names.LABEL_DEFINITION_NAME):
        return OwnedByOther(name=name, owner=owner)
    try:
        report = yield from compat.comparing_crds(existing, desired, conservative=conservative)
    except compat.CompatibilityError as err:
        return Incomparable(name=name, message=str(err))
    if report.has_breaking_changes and not allow_breaking:
        return Breaking(name=name, report=report)
    if (yield from _is_current(existing, desired)):
        return Unchanged()
    adopted = current.get(names.LABEL_DEFINITION_ID) != wanted.get(names.LABEL_DEFINITION_ID)
    return Patch(patch=_merge_patch(desired), report=report, adopted=adopted)


def _is_current(existing: Obj, desired: Obj) -> Steps[bool]:
    for wanted, current in (
        (labels_of(desired), labels_of(existing)),
        (annotations_of(desired), annotations_of(existing)),
    ):
        if any(current.get(key) != value for key, value in wanted.items()):
            return False
    old, new = existing["spec"], desired["spec"]
    for count, same in enumerate(_comparisons({key: old.get(key) for key in new}, new), 1):
        if not same:
            return False
        if count % _STEP == 0:
            yield
    return True


def _comparisons(old: Any, new: Any) -> Iterator[bool]:
    """Whether values are the same, part by part, but for what the API server leaves out or adds: nulls, empty lists, a
    priority of 0.
    """
    stack = [(old, new)]
    while stack:
        one, other = stack.pop()
        if isinstance(one, Mapping) and isinstance(other, Mapping):
            one, other = _normal(one), _normal(other)
            yield one.keys() == other.keys()
            stack.extend((value, other[key]) for key, value in one.items() if key in other)
        elif isinstance(one, list) and isinstance(other, list):
            yield len(one) == len(other)
            stack.extend(zip(one, other, strict=False))
        else:
            # 1 and True are equal in Python, not in a schema's default or enum.
            yield bool(one == other) and isinstance(one, bool) == isinstance(other, bool)


def _normal(fields: Mapping[str, Any]) -> dict[str, Any]:
    kept = {k: v for k, v in fields.items() if v is not None and v != []}
    if kept.get("priority") == 0 and "jsonPath" in kept:
        del kept["priority"]
    return kept


def _merge_patch(desired: Obj) -> Obj:
    spec = desired["spec"]
    # Explicit nulls: a merge patch removes nothing that it does not mention.
    patched_names = {"shortNames": None, "categories": None, **spec["names"]}
    metadata = {key: desired["metadata"][key] for key in ("labels", "annotations") if desired["metadata"].get(key)}
    patch: Obj = {
        "spec": {
            "group": spec["group"],
            "names": patched_names,
            "scope": spec["scope"],
            "versions": spec["versions"],
        }
    }
    return {"metadata": metadata, **patch} if metadata else patch
