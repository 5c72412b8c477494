"""Release: which objects stay, what they lose, and when a decision to release no longer holds."""

from dataclasses import replace

import pytest

from kroasync.engine.actions import Delete, Observed, Release
from kroasync.engine.orphans import is_orphaned, released, removal
from kroasync.model import names
from kroasync.model.objects import Key
from tests.samples import CONFIG_MAPS

KEY = Key(CONFIG_MAPS, "team", "data")
MEMBER = Observed(key=KEY, uid="u1", obj={}, node="data", part_of="set-1")
RELEASE = Release(node="data", key=KEY, uid="u1", part_of="set-1")
LABELS = {
    "app": "shop",
    "example.com/kro.run": "author's",
    "app.kubernetes.io/name": "shop",
    names.LABEL_MANAGED_BY: "kro",
    names.LABEL_OWNED: "true",
    names.LABEL_NODE_ID: "data",
    names.LABEL_INSTANCE_ID: "i1",
    names.LABEL_APPLYSET_PART_OF: "set-1",
    "internal.kro.run/anything": "x",
}
ANNOTATIONS = {
    "note": "author's",
    names.ANNOTATION_DELETION_POLICY: "Orphaned",
    names.ANNOTATION_APPLY_ORDER: "1",
    names.ANNOTATION_NODE_PATH: "data",
    names.ANNOTATION_SEAL: "v1-x",
    "kroasync.io/anything": "x",
}


def live(labels=None, annotations=None, **meta):
    given = {"uid": "u1", "resourceVersion": "7", **meta}
    return {"metadata": {**given, "labels": {**LABELS, **(labels or {})}, "annotations": annotations or ANNOTATIONS}}


def test_a_release_takes_what_makes_the_object_a_member_and_nothing_else():
    patch = released(live(), RELEASE)
    assert patch == {
        "metadata": {
            "uid": "u1",
            "resourceVersion": "7",
            "labels": dict.fromkeys(
                key for key in LABELS if key not in ("app", "example.com/kro.run", "app.kubernetes.io/name")
            ),
            "annotations": dict.fromkeys(key for key in ANNOTATIONS if key != "note"),
        }
    }


def test_managed_by_somebody_else_stays():
    patch = released(live({names.LABEL_MANAGED_BY: "Helm"}), RELEASE)
    assert patch is not None
    assert names.LABEL_MANAGED_BY not in patch["metadata"]["labels"]


def test_a_child_that_is_an_instance_itself_stays_one():
    own = {names.LABEL_DEFINITION_ID: "d1", names.LABEL_DEFINITION_NAME: "web", names.LABEL_APPLYSET_ID: "set-2"}
    kept = {
        names.ANNOTATION_INVENTORY_HASH: "sha256:x",
        names.ANNOTATION_RECONCILE: "suspended",
        names.ANNOTATION_RECREATED: "1-abc a=b",
        names.ANNOTATION_APPLYSET_GROUP_KINDS: "ConfigMap",
        names.ANNOTATION_PATCH_CONTRIBUTIONS: "{}",
    }
    patch = released(live(own, {**ANNOTATIONS, **kept}, finalizers=[names.FINALIZER]), RELEASE)
    assert patch is not None
    meta = patch["metadata"]
    assert not meta["labels"].keys() & {*own, names.LABEL_OWNED}
    assert {names.LABEL_NODE_ID, names.LABEL_INSTANCE_ID, names.LABEL_APPLYSET_PART_OF} <= meta["labels"].keys()
    assert meta["annotations"].keys() == ANNOTATIONS.keys() - {"note"}


@pytest.mark.parametrize(
    "found",
    [
        pytest.param(live(uid="u2"), id="another object"),
        pytest.param(live({names.LABEL_APPLYSET_PART_OF: "set-2"}), id="adopted by another instance"),
        pytest.param(live(annotations={names.ANNOTATION_DELETION_POLICY: "Delete"}), id="another policy"),
        pytest.param(live(annotations={"note": "x"}), id="no policy"),
    ],
)
def test_a_decision_holds_only_for_the_object_it_was_made_on(found):
    assert released(found, RELEASE) is None


@pytest.mark.parametrize(
    ("policy", "stays"),
    [("Orphaned", True), ("Delete", False), ("orphaned", False), ("Orphan", False), (" Orphaned", False), ("", False)],
)
def test_any_other_text_means_delete(policy, stays):
    assert is_orphaned({"metadata": {"annotations": {names.ANNOTATION_DELETION_POLICY: policy}}}) is stays


def test_no_policy_means_delete():
    assert not is_orphaned({"metadata": {}})
    assert not is_orphaned({"metadata": {"labels": {names.ANNOTATION_DELETION_POLICY: "Orphaned"}}})


def test_how_a_member_leaves():
    assert removal(MEMBER) == Delete(node="data", key=KEY, uid="u1")
    assert removal(replace(MEMBER, deleting=True)) is None
    assert removal(replace(MEMBER, orphaned=True)) == RELEASE
    # Somebody else deletes it: the instance need not wait for that.
    assert removal(replace(MEMBER, orphaned=True, deleting=True)) == RELEASE
