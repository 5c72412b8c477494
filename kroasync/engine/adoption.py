"""Whether an object that was there before may be taken over.

Not if somebody else says that it is theirs: its controller, or a tool by the mark it tracks its objects with. What is
an instance's would be changed by it and deleted with it. Membership of another ApplySet is told apart by the caller.
"""

from collections.abc import Mapping
from typing import Final

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
# Labels by which an instance is the same one, and the annotations that have what is too long for a label.
_SAME_INSTANCE: Final = {
    names.LABEL_INSTANCE_NAME: names.ANNOTATION_INSTANCE_NAME,
    names.LABEL_INSTANCE_NAMESPACE: "",
    names.LABEL_INSTANCE_GROUP: names.ANNOTATION_INSTANCE_GROUP,
    names.LABEL_INSTANCE_KIND: "",
}


def claimed_by(live: Obj, declared: Obj) -> str | None:
    """Who an object belongs to, for people; None if nobody but perhaps the instance that declares it says so."""
    labels, ours = labels_of(live), labels_of(declared)
    return (
        _controller_of(live, ours.get(names.LABEL_INSTANCE_ID, ""))
        or _tool_of(labels, annotations_of(live))
        or _instance_of(labels, ours, annotations_of(declared))
    )


def _controller_of(live: Obj, instance_uid: str) -> str | None:
    for owner in metadata(live).get("ownerReferences") or ():
        if owner.get("controller") and owner.get("uid") != instance_uid:
            return f'{owner.get("kind", "")} "{owner.get("name", "")}", its controller'
    return None


def _instance_of(labels: Mapping[str, str], ours: Mapping[str, str], whole: Mapping[str, str]) -> str | None:
    """The other instance an object is labelled as a resource of; one of the same name is this one, before it was
    deleted and created again.
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
