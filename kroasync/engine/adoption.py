"""Whether an object that was there before may be taken over.

Not if somebody else says that it is theirs: its controller, or a tool by the mark it tracks its objects with. What is
an instance's would be changed by it and deleted with it. Membership of another ApplySet is told apart by the caller.
"""

from collections.abc import Mapping
from typing import Final

from kroasync.model import names
from kroasync.model.objects import Obj, annotations_of, labels_of, metadata

_TOOLS_BY_LABEL: Final = {
    "argocd.argoproj.io/instance": "Argo CD application",
    "kustomize.toolkit.fluxcd.io/name": "Flux Kustomization",
    "helm.toolkit.fluxcd.io/name": "Flux HelmRelease",
}
_TOOLS_BY_ANNOTATION: Final = {
    "meta.helm.sh/release-name": "Helm release",
    "argocd.argoproj.io/tracking-id": "Argo CD application",
}
_HELM: Final = "Helm"


def claimed_by(live: Obj, instance_uid: str) -> str | None:
    """Who an object belongs to, for people; None if nobody but perhaps the instance says so."""
    return _controller_of(live, instance_uid) or _tool_of(labels_of(live), annotations_of(live))


def _controller_of(live: Obj, instance_uid: str) -> str | None:
    for owner in metadata(live).get("ownerReferences") or ():
        if owner.get("controller") and owner.get("uid") != instance_uid:
            return f'{owner.get("kind", "")} "{owner.get("name", "")}", its controller'
    return None


def _tool_of(labels: Mapping[str, str], annotations: Mapping[str, str]) -> str | None:
    for marks, tools in ((annotations, _TOOLS_BY_ANNOTATION), (labels, _TOOLS_BY_LABEL)):
        for key, tool in tools.items():
            if marks.get(key):
                return f'{tool} "{marks[key]}"'
    return _HELM if labels.get(names.LABEL_MANAGED_BY) == _HELM else None
