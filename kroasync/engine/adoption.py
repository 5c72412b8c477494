"""Decide whether an instance may adopt an object that existed before.

An instance changes its objects and deletes them when it is deleted. So it must not adopt an object that somebody else
claims: a controller by its owner reference, or a tool by the label or annotation with which it tracks its objects. The
caller checks the membership of another ApplySet.
"""

from collections.abc import Mapping
from typing import Final, TypeAlias

from kroasync.engine.labels import is_value_of
from kroasync.model import names
from kroasync.model.objects import Obj, annotations_of, labels_of, metadata

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
# Pairs of names and values: controllers, labels, annotations.
Marks: TypeAlias = tuple[tuple[tuple[str, str], ...], tuple[tuple[str, str], ...], tuple[tuple[str, str], ...]]
# Labels by which an instance is the same one, and the annotations that have what is too long for a label.
_SAME_INSTANCE: Final = {
    names.LABEL_INSTANCE_NAME: names.ANNOTATION_INSTANCE_NAME,
    names.LABEL_INSTANCE_NAMESPACE: "",
    names.LABEL_INSTANCE_GROUP: names.ANNOTATION_INSTANCE_GROUP,
    names.LABEL_INSTANCE_KIND: "",
}


def claimed_by(live: Obj, declared: Obj) -> str | None:
    """The owner of an object, as a text; None if nobody claims it, or only the instance that declares it."""
    labels, ours = labels_of(live), labels_of(declared)
    return (
        _controller_of(live, ours.get(names.LABEL_INSTANCE_ID, ""))
        or _tool_of(labels, annotations_of(live))
        or _instance_of(labels, ours, annotations_of(declared))
    )


def marks_of(live: Obj) -> Marks:
    """Everything by which somebody can claim an object: if it stays the same, so does the answer of `claimed_by`."""
    labels, annotations = labels_of(live), annotations_of(live)
    owners = tuple(
        (str(owner.get("kind")), str(owner.get("uid")))
        for owner in metadata(live).get("ownerReferences") or ()
        if owner.get("controller")
    )
    claiming = (names.LABEL_APPLYSET_PART_OF, names.LABEL_MANAGED_BY, names.LABEL_INSTANCE_ID, *_TOOLS_BY_LABEL)
    by_label = tuple((key, labels[key]) for key in claiming if key in labels)
    return owners, by_label, tuple((key, annotations[key]) for key in _TOOLS_BY_ANNOTATION if key in annotations)


def _controller_of(live: Obj, instance_uid: str) -> str | None:
    for owner in metadata(live).get("ownerReferences") or ():
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
