"""Release: an object that its author wants to keep leaves the instance instead of being deleted.

The policy is an annotation of the live object, so it holds without the definition, and a new policy counts once it is
applied. If the same edit changes the policy to Orphan and drops the object, the policy of the node counts, too, where
there is one (`engine.prune`). A released object loses all metadata by which it belongs to an instance, and nothing
else: not its spec or its data, not the author's labels and annotations, not its owner references. It is nobody's then:
no deletion waits for it, and any instance may adopt it.
"""

from typing import Final

from kroasync.engine.actions import Delete, Observed, Release
from kroasync.model import names
from kroasync.model.objects import Obj, annotations_of, finalizers_of, labels_of, uid_of, version_of

_PREFIXES: Final = (*names.RESERVED_PREFIXES, names.OWN_PREFIX)
# A child may be an instance or a definition itself. Its own controller needs these keys, and the user who suspended it.
_OF_PARENTS: Final = frozenset(
    {
        names.LABEL_OWNED,
        names.LABEL_KRO_VERSION,
        names.LABEL_DEFINITION_ID,
        names.LABEL_DEFINITION_NAME,
        names.ANNOTATION_INVENTORY_HASH,
        names.ANNOTATION_PATCH_CONTRIBUTIONS,
        names.ANNOTATION_RECONCILE,
        names.ANNOTATION_ALLOW_BREAKING,
        names.ANNOTATION_ALLOW_PRUNE,
        names.ANNOTATION_RECREATED,
    }
)


def is_orphaned(live: Obj) -> bool:
    """Whether the object stays when its instance no longer wants it. Any other text than `Orphaned` means Delete."""
    return annotations_of(live).get(names.ANNOTATION_DELETION_POLICY) == names.POLICY_ORPHANED


def removal(member: Observed, *, keeps: bool = False) -> Delete | Release | None:
    """How a member leaves its instance; None if it is being deleted already, and the instance waits for that.

    `keeps` if its node's policy is to keep it, although the member does not say so yet.
    """
    if member.orphaned or keeps:
        return Release(node=member.node, key=member.key, uid=member.uid, part_of=member.part_of, by_node=keeps)
    return None if member.deleting else Delete(node=member.node, key=member.key, uid=member.uid)


def still_goes(decided: Observed, live: Obj) -> bool:
    """Whether the decision to delete a member holds for its present state, too."""
    part_of = labels_of(live).get(names.LABEL_APPLYSET_PART_OF, "")
    return (uid_of(live), part_of) == (decided.uid, decided.part_of) and not is_orphaned(live)


def released(live: Obj, release: Release) -> Obj | None:
    """The merge patch that releases the object in this version; None if it is no longer the object to release."""
    labels, annotations = labels_of(live), annotations_of(live)
    is_member = labels.get(names.LABEL_APPLYSET_PART_OF) == release.part_of
    if uid_of(live) != release.uid or not is_member or not (release.by_node or is_orphaned(live)):
        return None
    keeps = _OF_PARENTS if names.FINALIZER in finalizers_of(live) else frozenset[str]()
    gone_labels = {key: None for key, value in labels.items() if key not in keeps and is_label_of_member(key, value)}
    gone_annotations = {key: None for key in annotations if key not in keeps and is_annotation_of_member(key)}
    meta = {"uid": uid_of(live), "resourceVersion": version_of(live)}
    return {"metadata": {**meta, "labels": gone_labels, "annotations": gone_annotations}}


def is_label_of_member(label: str, value: str) -> bool:
    """Whether a label says that the object belongs to an instance."""
    if label == names.LABEL_MANAGED_BY:
        return value == names.MANAGED_BY
    return label == names.LABEL_APPLYSET_PART_OF or label.startswith(_PREFIXES)


def is_annotation_of_member(key: str) -> bool:
    """Whether an annotation belongs to the instance of an object, and not to its author."""
    return key.startswith(_PREFIXES)
