"""Release: which objects stay, what they lose, and when a decision to release no longer holds."""

import hashlib
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
    assert removal(MEMBER, keeps=True) == replace(RELEASE, by_node=True)


def test_a_release_by_the_policy_of_the_node_needs_no_mark_on_the_object():
    unmarked = live(annotations={"note": "author's"})
    assert released(unmarked, RELEASE) is None
    assert released(unmarked, replace(RELEASE, by_node=True)) is not None
    assert released(live(uid="u2"), replace(RELEASE, by_node=True)) is None


def test_a_released_instance_keeps_the_release_of_its_own_held_prune():
    given = {**ANNOTATIONS, names.ANNOTATION_ALLOW_PRUNE: "3"}
    patch = released(live(annotations=given, finalizers=[names.FINALIZER]), RELEASE)
    assert patch is not None
    assert names.ANNOTATION_ALLOW_PRUNE not in patch["metadata"]["annotations"]


# The policy of a resource (`policy.deletion`)

POLICY = names.ANNOTATION_DELETION_POLICY


def annotations_of(passed, node, index=None):
    return passed.desired(node, index)["metadata"]["annotations"]


def test_the_policy_of_a_resource_is_stored_on_its_objects(graph_of, cluster_of, instance_of, walked, config):
    orphan = {"policy": {"deletion": "Orphan"}}
    graph = graph_of(
        config("kept", **orphan),
        config("many", name="shop-${n}", forEach=[{"n": "${['x']}"}], **orphan),
        config("plain"),
        config("asked", policy={"deletion": "${schema.spec.keep ? 'Orphan' : 'Delete'}"}),
        spec={"keep": "boolean"},
    )
    passed = walked(graph, cluster_of(instance_of({"keep": True})))
    assert annotations_of(passed, "kept")[POLICY] == "Orphaned"
    assert annotations_of(passed, "many", 0)[POLICY] == "Orphaned"
    assert annotations_of(passed, "asked")[POLICY] == "Orphaned"
    assert POLICY not in annotations_of(passed, "plain")
    passed = walked(graph, cluster_of(instance_of({"keep": False})))
    assert POLICY not in annotations_of(passed, "asked")


@pytest.mark.parametrize("written", ["Delete", "Orphaned"])
@pytest.mark.parametrize("policy", ["Delete", "Orphan"])
def test_either_spelling_keeps_the_object(graph_of, cluster_of, instance_of, walked, config, written, policy):
    # Two literals that contradict each other are a problem of the definition.
    entry = config("a", metadata={"annotations": {POLICY: written}}, policy={"deletion": "${schema.spec.policy}"})
    graph = graph_of(entry, spec={"policy": "string"}, features=["DeletionPolicy"])
    stored = annotations_of(walked(graph, cluster_of(instance_of({"policy": policy}))), "a")[POLICY]
    assert stored == ("Orphaned" if "Orphan" in policy or written == "Orphaned" else "Delete")


def test_without_a_known_policy_a_new_and_an_old_object_are_marked(
    graph_of, cluster_of, instance_of, walked, config, key_of
):
    graph = graph_of(config("a", policy={"deletion": "${schema.spec.words[0]}"}), spec={"words": "[]string"})
    cluster = cluster_of(instance_of({"words": ["Delete"]}))
    walked(graph, cluster)
    assert POLICY not in cluster.world.get(key_of("ConfigMap", "shop-a"))["metadata"]["annotations"]
    for words in ([], ["orphan"]):
        for others in ((), [obj for _, obj in cluster.world.objects.values()]):
            again = cluster_of(instance_of({"words": words}), others)
            passed = walked(graph, again)
            assert annotations_of(passed, "a")[POLICY] == "Orphaned"
            assert passed.state("a") == "ERROR"
            assert "policy.deletion" in passed.message("a")


@pytest.mark.parametrize("policy", ["Orphan", "${schema.spec.on ? 'Delete' : 'Orphan'}", "${schema.spec.words[0]}"])
def test_a_policy_that_changes_with_the_exclusion_releases(graph_of, cluster_of, instance_of, walked, config, policy):
    """The objects do not say it yet: nothing is applied for a resource that is left out."""

    def graph_with(deletion):
        on = {"includeWhen": ["${schema.spec.on}"], "policy": {"deletion": deletion}}
        spec = {"on": "boolean", "words": "[]string", "items": "[]string"}
        many = config("many", name="shop-${n}", forEach=[{"n": "${schema.spec.items}"}], policy={"deletion": deletion})
        return graph_of(config("a", **on), many, config("b"), spec=spec)

    cluster = cluster_of(instance_of({"on": True, "words": ["Delete"], "items": ["x"]}))
    walked(graph_with("Delete"), cluster)
    instance = cluster.world.instance
    cluster.world.instance = {**instance, "spec": {"on": False, "words": ["Orphan"], "items": []}}
    passed = walked(graph_with(policy), cluster)
    assert passed.deleted == []
    left = {key[3]: obj["metadata"] for key, (_, obj) in cluster.world.objects.items()}
    assert names.LABEL_INSTANCE_ID in left["shop-b"]["labels"]
    assert not left["shop-a"]["labels"]
    assert not left["shop-x"]["labels"]
    assert {(c.node, c.kind.value) for c in passed.outcome.changes} == {("a", "released"), ("many", "released")}


def test_a_policy_that_changes_to_delete_with_the_exclusion_does_not_delete(
    graph_of, cluster_of, instance_of, walked, config
):
    """What the object says counts, too."""

    def graph_with(deletion):
        on = {"includeWhen": ["${schema.spec.on}"], "policy": {"deletion": deletion}}
        return graph_of(config("a", **on), spec={"on": "boolean"})

    cluster = cluster_of(instance_of({"on": True}))
    walked(graph_with("Orphan"), cluster)
    cluster.world.instance = {**cluster.world.instance, "spec": {"on": False}}
    assert walked(graph_with("Delete"), cluster).deleted == []
    assert len(cluster.world.objects) == 1


@pytest.mark.parametrize("name", ["a", "a" * 70, "a" * 300])
@pytest.mark.parametrize("label", [None, "now", "before"])
def test_an_object_is_of_its_resource_by_each_name_of_that(
    graph_of, cluster_of, instance_of, walked, config, name, label
):
    """An object of an earlier version has only the label."""

    def graph_with(deletion):
        on = {"includeWhen": ["${schema.spec.on}"], "policy": {"deletion": deletion}}
        return graph_of(config(name, name="shop-a", **on), spec={"on": "boolean"})

    cluster = cluster_of(instance_of({"on": True}))
    walked(graph_with("Delete"), cluster)
    if label:
        (place, (key, obj)) = next(iter(cluster.world.objects.items()))
        meta = obj["metadata"]
        annotations = {k: v for k, v in meta["annotations"].items() if k != names.ANNOTATION_NODE_PATH}
        labels = meta["labels"]
        if label == "before" and len(name) > 63:
            former = f"{name[:52]}-{hashlib.sha256(name.encode()).hexdigest()[:10]}"
            labels = {**labels, names.LABEL_NODE_ID: former}
        cluster.world.objects[place] = (
            key,
            {**obj, "metadata": {**meta, "annotations": annotations, "labels": labels}},
        )
    cluster.world.instance = {**cluster.world.instance, "spec": {"on": False}}
    assert walked(graph_with("Orphan"), cluster).deleted == []
