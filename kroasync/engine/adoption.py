"""Decide whether an instance may adopt an object that existed before, and what it writes to adopt it.

An instance changes its objects and deletes them when it is deleted. So unless the author says otherwise (policy
`adoption`), it must not adopt an object that somebody else claims: a controller by its owner reference, or a tool by
the label or annotation with which it tracks its objects. An object of another ApplySet or of another instance is never
adopted, whatever the policy.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from kroasync.engine.actions import Refusal
from kroasync.engine.contests import contests
from kroasync.engine.drift import fingerprint, stored
from kroasync.engine.labels import is_value_of
from kroasync.engine.orphans import is_annotation_of_member, is_label_of_member
from kroasync.engine.yielding import ExternalFields, agree, foreign_fields, foreign_text
from kroasync.model import names
from kroasync.model.objects import Obj, annotations_of, labels_of, metadata, uid_of, version_of
from kroasync.model.paths import Path
from kroasync.model.policies import Adoption, Conflicts, Policies
from kroasync.model.seal import seal_of

_TOOLS_BY_LABEL: Final = {
    "argocd.argoproj.io/instance": "Argo CD application",
    "kustomize.toolkit.fluxcd.io/name": "Flux Kustomization",
    "helm.toolkit.fluxcd.io/name": "Flux HelmRelease",
    "kapp.k14s.io/app": "kapp application",
    "objectset.rio.cattle.io/hash": "Rancher object set",
}
_TOOLS_BY_ANNOTATION: Final = {
    "meta.helm.sh/release-name": "Helm release",
    "argocd.argoproj.io/tracking-id": "Argo CD application",
    "config.k8s.io/owning-inventory": "inventory",
    "objectset.rio.cattle.io/id": "Rancher object set",
}
_HELM: Final = "Helm"
_BOOKKEEPING: Final = ("managedFields", "resourceVersion", "generation")
# Pairs of names and values: controllers, labels, annotations.
Marks: TypeAlias = tuple[tuple[tuple[str, str], ...], tuple[tuple[str, str], ...], tuple[tuple[str, str], ...]]
# Labels by which an instance is the same one, and the annotations that have what is too long for a label.
_SAME_INSTANCE: Final = {
    names.LABEL_INSTANCE_NAME: names.ANNOTATION_INSTANCE_NAME,
    names.LABEL_INSTANCE_NAMESPACE: "",
    names.LABEL_INSTANCE_GROUP: names.ANNOTATION_INSTANCE_GROUP,
    names.LABEL_INSTANCE_KIND: "",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Objection:
    """Why an object is not adopted. `text` continues "<object> existed before and"; for FOREIGN it is the id of the
    other ApplySet.
    """

    refusal: Refusal
    text: str


def objection(policy: Adoption, live: Obj, declared: Obj, secrets: Sequence[Path] = ()) -> Objection | None:
    """Why an instance that declares an object may not adopt the live one; None if it may, or if it is its child.
    `secrets` are the places of the declaration with values of Secrets.
    """
    owner = labels_of(live).get(names.LABEL_APPLYSET_PART_OF, "")
    if owner and owner != labels_of(declared).get(names.LABEL_APPLYSET_PART_OF, ""):
        return Objection(refusal=Refusal.FOREIGN, text=owner)
    if is_child(live, declared):
        return None
    claim = instance_of(live, declared) if policy is Adoption.ALWAYS else claimed_by(live, declared)
    if claim:
        return Objection(refusal=Refusal.CLAIMED, text=f"belongs to {claim}")
    if policy is Adoption.NEVER:
        return Objection(refusal=Refusal.CLAIMED, text=f"{_had_by(live)}, and its policy is adoption: {policy}")
    if policy is Adoption.IF_UNOWNED:
        others = contests(live, stored(declared), names.MANAGER_CHILDREN)
        hidden = (*secrets, ("data",)) if live.get("kind") == "Secret" else secrets
        held = foreign_fields((contest for contest in others if contest.differs), hidden)
        return Objection(refusal=Refusal.MANAGED, text=managed_text(foreign_text(held))) if held else None
    return None


def managed_text(fields: str) -> str:
    """Why `IfUnowned` adopts nothing whose fields other managers have with other values."""
    return f"has fields of other managers, and its policy is adoption: {Adoption.IF_UNOWNED}: {fields}"


def unshared(live: Obj, declared: Obj, external: ExternalFields) -> Obj:
    """What is declared of a live object without the external fields that other managers have."""
    return agree(live, declared, Policies(conflicts=Conflicts.FORCE), external).obj


def is_child(live: Obj, declared: Obj) -> bool:
    """Whether the live object is the instance's already: its create got no answer, or its event is late."""
    owner = labels_of(live).get(names.LABEL_APPLYSET_PART_OF, "")
    is_member = bool(owner) and owner == labels_of(declared).get(names.LABEL_APPLYSET_PART_OF, "")
    return is_member and names.MANAGER_CHILDREN in managers_of(live)


def managers_of(live: Obj) -> tuple[str, ...]:
    """The field managers of an object, without those that only write a subresource, sorted."""
    entries = _entries(live, "managedFields")
    return tuple(sorted({str(e.get("manager") or "unknown") for e in entries if not e.get("subresource")}))


def _entries(live: Obj, field: str) -> list[Obj]:
    """The objects in a list of the metadata, which a file may have in any form."""
    found = metadata(live).get(field)
    return [entry for entry in found if isinstance(entry, dict)] if isinstance(found, list) else []


def joining(live: Obj, declared: Obj) -> Obj | None:
    """The merge patch by which the live object, in this version, becomes a child and keeps everything else: only the
    labels and annotations of members. None if it is a child with a seal already.

    This is no server-side apply: that would take away the fields that our manager has and that are not applied again.
    """
    is_sealed = seal_of(live) == seal_of(declared)
    if is_child(live, declared) and is_sealed:
        return None
    labels = {key: value for key, value in labels_of(declared).items() if is_label_of_member(key, value)}
    annotations = {key: value for key, value in annotations_of(declared).items() if is_annotation_of_member(key)}
    meta = {"uid": uid_of(live), "resourceVersion": version_of(live)}
    return {"metadata": {**meta, "labels": labels, "annotations": annotations}}


def claimed_by(live: Obj, declared: Obj) -> str | None:
    """The owner of an object, as a text; None if nobody claims it, or only the instance that declares it."""
    return (
        _controller_of(live, labels_of(declared).get(names.LABEL_INSTANCE_ID, ""))
        or _tool_of(labels_of(live), annotations_of(live))
        or instance_of(live, declared)
    )


def instance_of(live: Obj, declared: Obj) -> str | None:
    """The other instance that the labels of an object name."""
    return _instance_of(labels_of(live), labels_of(declared), annotations_of(declared))


def marks_of(live: Obj) -> Marks:
    """Everything by which somebody can claim an object: if it stays the same, so does the answer of `claimed_by`."""
    labels, annotations = labels_of(live), annotations_of(live)
    owners = tuple(
        (str(owner.get("kind")), str(owner.get("uid")))
        for owner in _entries(live, "ownerReferences")
        if owner.get("controller")
    )
    claiming = (names.LABEL_APPLYSET_PART_OF, names.LABEL_MANAGED_BY, names.LABEL_INSTANCE_ID, *_TOOLS_BY_LABEL)
    by_label = tuple((key, labels[key]) for key in claiming if key in labels)
    return owners, by_label, tuple((key, annotations[key]) for key in _TOOLS_BY_ANNOTATION if key in annotations)


def _had_by(live: Obj) -> str:
    managers = managers_of(live)
    return f"is managed by {', '.join(managers)}" if managers else "is not a resource of this instance"


def fields_of(live: Obj) -> str:
    """A digest of everything by which fields of an object can conflict with a declaration: the values, and who has
    them; not when they were written.
    """
    meta = {key: value for key, value in metadata(live).items() if key not in _BOOKKEEPING}
    body = {key: value for key, value in live.items() if key not in ("metadata", "status")}
    entries = [
        [entry.get("manager"), entry.get("fieldsV1")]
        for entry in _entries(live, "managedFields")
        if entry.get("subresource") != "status"
    ]
    try:
        return fingerprint([body, meta, entries])
    except (TypeError, RecursionError):
        return version_of(live)  # nested more deeply than JSON is written


def _controller_of(live: Obj, instance_uid: str) -> str | None:
    for owner in _entries(live, "ownerReferences"):
        if owner.get("controller") and owner.get("uid") != instance_uid:
            return f'{owner.get("kind", "")} "{owner.get("name", "")}", its controller'
    return None


def _instance_of(labels: Mapping[str, str], ours: Mapping[str, str], whole: Mapping[str, str]) -> str | None:
    """The other instance that the labels of an object name. An instance of the same name is no other instance: it was
    deleted and recreated. `whole` has what is too long for a label.
    """
    uid = labels.get(names.LABEL_INSTANCE_ID)
    if not uid or uid == ours.get(names.LABEL_INSTANCE_ID):
        return None
    if names.LABEL_INSTANCE_NAME in labels and all(
        is_value_of(labels.get(key, ""), whole.get(full) or ours.get(key, "")) for key, full in _SAME_INSTANCE.items()
    ):
        return None
    return f'instance "{labels.get(names.LABEL_INSTANCE_NAME, "")}" ({uid})'


def _tool_of(labels: Mapping[str, str], annotations: Mapping[str, str]) -> str | None:
    for marks, tools in ((annotations, _TOOLS_BY_ANNOTATION), (labels, _TOOLS_BY_LABEL)):
        for key, tool in tools.items():
            if marks.get(key):
                return f'{tool} "{marks[key]}"'
    return _HELM if labels.get(names.LABEL_MANAGED_BY) == _HELM else None
