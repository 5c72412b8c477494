"""Objects that are no longer declared are deleted, in order, and no others; the inventory follows."""

import pytest

from kroasync.engine.actions import Apply, Delete, PatchParent, Refusal
from kroasync.engine.instance_status import compose
from kroasync.engine.offline import OfflineWorld
from kroasync.engine.outcome import ChangeKind, Retry
from kroasync.engine.resolve import identity
from kroasync.engine.views import nodes_of
from kroasync.model import names

UID = "11111111-2222-3333-4444-555555555555"


def inventory(cluster):
    found = cluster.world.instance["metadata"]["annotations"]
    return (
        found[names.ANNOTATION_APPLYSET_GROUP_KINDS],
        found[names.ANNOTATION_APPLYSET_NAMESPACES],
    )


def respec(cluster, **spec):
    instance = cluster.world.instance
    cluster.world.instance = {**instance, "spec": {**instance["spec"], **spec}}


@pytest.fixture
def chain(graph_of, config):
    """a <- b <- c, all or none of them, next to d."""
    return graph_of(
        config("a", includeWhen=["${schema.spec.on}"]),
        config("b", {"x": "${a.metadata.name}"}),
        config("c", {"x": "${b.metadata.name}"}),
        config("d"),
        spec={"on": "boolean"},
    )


def test_excluded_nodes_are_pruned_in_reverse_order(chain, cluster_of, instance_of, walked):
    cluster = cluster_of(instance_of({"on": True}))
    walked(chain, cluster)
    respec(cluster, on=False)
    passed = walked(chain, cluster)
    assert passed.deleted == [["shop-c"], ["shop-b"], ["shop-a"]]
    assert [c.kind.value for c in passed.outcome.changes] == ["deleted"] * 3
    assert all(d.uid for d in passed.actions if isinstance(d, Delete))
    assert walked(chain, cluster).actions == []


@pytest.mark.parametrize(
    ("order", "waves"),
    [
        pytest.param(None, [["older"], ["shop-c"], ["shop-b"], ["shop-a"]], id="without an order: first"),
        pytest.param("2", [["shop-c"], ["older", "shop-b"], ["shop-a"]], id="of the second layer: with it"),
    ],
)
def test_members_of_unknown_nodes_go_by_the_order_that_they_say(
    chain, cluster_of, instance_of, walked, key_of, order, waves
):
    cluster = cluster_of(instance_of({"on": True}))
    walked(chain, cluster)
    meta = cluster.world.get(key_of("ConfigMap", "shop-d"))["metadata"]
    annotations = {k: v for k, v in meta["annotations"].items() if k != names.ANNOTATION_APPLY_ORDER}
    annotations |= {names.ANNOTATION_APPLY_ORDER: order} if order else {}
    meta = {**meta, "name": "older", "labels": {**meta["labels"], "kro.run/node-id": "removed"}}
    older = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {**meta, "annotations": annotations}}
    cluster.world.put(key_of("ConfigMap", "older"), older)
    respec(cluster, on=False)
    assert [sorted(wave) for wave in walked(chain, cluster).deleted] == waves


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"ours": False}, id="labels copied by another tool"),
        pytest.param({"part_of": "applyset-theirs-v1"}, id="of another ApplySet"),
        pytest.param({"part_of": ""}, id="of no ApplySet"),
    ],
)
def test_only_what_is_ours_is_deleted(chain, cluster_of, instance_of, walked, change):
    from dataclasses import replace

    cluster = cluster_of(instance_of({"on": True}))
    walked(chain, cluster)
    respec(cluster, on=False)
    plain = OfflineWorld.members
    cluster.world.members = lambda: [
        replace(m, **change) if m.key.name == "shop-b" else m for m in plain(cluster.world)
    ]
    assert walked(chain, cluster).deleted == [["shop-c"], ["shop-a"]]


def hanging(cluster, key):
    """A finalizer of somebody else holds the object."""
    live = cluster.world.get(key)
    meta = {**live["metadata"], "finalizers": ["example.com/hold"], "deletionTimestamp": "2026-01-02T03:04:05Z"}
    cluster.world.put(key, {**live, "metadata": meta})


def test_a_wave_waits_until_those_before_it_are_gone(chain, cluster_of, instance_of, walked, key_of):
    cluster = cluster_of(instance_of({"on": True}))
    walked(chain, cluster)
    respec(cluster, on=False)
    held = key_of("ConfigMap", "shop-c")
    hanging(cluster, held)
    passed = walked(chain, cluster)
    assert passed.deleted == []
    status = compose(passed.plan, passed.outcome, now="2026-01-02T03:04:05Z")
    ready = next(c for c in status["conditions"] if c["type"] == "Ready")
    assert (status["state"], ready["status"], ready["reason"]) == ("IN_PROGRESS", "False", "ResourceDeleting")
    assert "ConfigMap team/shop-c (finalizers: example.com/hold)" in ready["message"]
    assert passed.outcome.retry is Retry.EVENT
    del cluster.world.objects[identity(held)]
    assert walked(chain, cluster).deleted == [["shop-b"], ["shop-a"]]
    assert compose_state(walked(chain, cluster)) == "ACTIVE"


def test_what_hangs_is_shown_among_the_nodes(chain, cluster_of, instance_of, walked, key_of):
    cluster = cluster_of(instance_of({"on": True}))
    walked(chain, cluster)
    respec(cluster, on=False)
    hanging(cluster, key_of("ConfigMap", "shop-c"))
    passed = walked(chain, cluster)
    nodes = {node.id: node for node in nodes_of(chain, passed.outcome, cluster.world, cluster.world.instance)}
    assert [*nodes] == ["a", "b", "c", "d"]
    held = nodes["c"]
    assert (held.state, [o.name for o in held.objects]) == ("DELETING", ["shop-c"])
    assert "example.com/hold" in held.waits_for
    assert (nodes["b"].state, nodes["d"].state) == ("SKIPPED", "SYNCED")


def test_what_hangs_is_named_beside_what_is_not_ready(graph_of, cluster_of, instance_of, walked, config, key_of):
    graph = graph_of(
        config("a", includeWhen=["${schema.spec.on}"]),
        config("slow", readyWhen=["${slow.data.?ready.hasValue()}"]),
        spec={"on": "boolean"},
    )
    cluster = cluster_of(instance_of({"on": True}))
    walked(graph, cluster)
    respec(cluster, on=False)
    hanging(cluster, key_of("ConfigMap", "shop-a"))
    passed = walked(graph, cluster)
    ready = next(
        c
        for c in compose(passed.plan, passed.outcome, now="2026-01-02T03:04:05Z")["conditions"]
        if c["type"] == "Ready"
    )
    assert 'node "slow" not ready' in ready["message"]
    assert "waiting for the deletion of ConfigMap team/shop-a (finalizers: example.com/hold)" in ready["message"]


def compose_state(passed):
    return compose(passed.plan, passed.outcome, now="2026-01-02T03:04:05Z")["state"]


def test_an_object_that_became_an_external_reference_is_not_deleted(graph_of, cluster_of, instance_of, walked, config):
    cluster = cluster_of(instance_of())
    walked(graph_of(config("a"), config("b")), cluster)
    external = {
        "id": "a",
        "externalRef": {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "shop-a"}},
    }
    passed = walked(graph_of(external, config("b", {"x": "${a.metadata.name}"})), cluster)
    assert passed.deleted == []
    assert passed.state("a") == "SYNCED"


@pytest.mark.parametrize(
    ("entry", "refusals"),
    [
        pytest.param({"data": {"x": "${d.data['missing']}"}}, {}, id="unresolved"),
        pytest.param({}, {"shop-x": (Refusal.INVALID, "no")}, id="refused"),
        pytest.param({"data": {"x": "${string(1 / schema.spec.zero)}"}}, {}, id="fatal"),
    ],
)
def test_nothing_is_pruned_while_anything_is_unresolved_or_failed(
    graph_of, cluster_of, instance_of, walked, config, entry, refusals
):
    graph = graph_of(
        config("a", includeWhen=["${schema.spec.on}"]),
        config("d"),
        config("x", **entry),
        spec={"on": "boolean", "zero": "integer"},
    )
    cluster = cluster_of(instance_of({"on": True, "zero": 0}), refusals=refusals)
    walked(graph, cluster)
    respec(cluster, on=False)
    assert walked(graph, cluster).deleted == []


def test_a_leaf_that_is_merely_not_ready_does_not_block_pruning(graph_of, cluster_of, instance_of, walked, config):
    graph = graph_of(
        config("a", includeWhen=["${schema.spec.on}"]),
        config("slow", readyWhen=["${slow.data.?ready.hasValue()}"]),
        spec={"on": "boolean"},
    )
    cluster = cluster_of(instance_of({"on": True}))
    walked(graph, cluster)
    respec(cluster, on=False)
    passed = walked(graph, cluster)
    assert passed.state("slow") == "WAITING_FOR_READINESS"
    assert passed.deleted == [["shop-a"]]


def replacing(cluster, key, uid):
    """Somebody replaces the object just before its deletion, or deletes it (no UID)."""

    def meanwhile(action):
        if isinstance(action, Delete) and action.key == key:
            _, obj = cluster.world.objects.pop(identity(key))
            if uid:
                cluster.world.put(key, {**obj, "metadata": {**obj["metadata"], "uid": uid}})

    return meanwhile


def test_a_uid_conflict_lets_the_waves_go_on_and_is_retried(chain, cluster_of, instance_of, walked, key_of):
    cluster = cluster_of(instance_of({"on": True}))
    walked(chain, cluster)
    respec(cluster, on=False)
    cluster.meanwhile = replacing(cluster, key_of("ConfigMap", "shop-c"), "another")
    passed = walked(chain, cluster)
    assert passed.deleted == [["shop-c"], ["shop-b"], ["shop-a"]]
    assert passed.outcome.failures[0].message.startswith("prune encountered UID conflicts; retrying")
    assert passed.outcome.retry is Retry.BACKOFF


def test_a_refused_delete_stops_the_waves_below(chain, cluster_of, instance_of, walked):
    cluster = cluster_of(instance_of({"on": True}))
    walked(chain, cluster)
    respec(cluster, on=False)
    cluster.refusals["shop-c"] = (Refusal.FORBIDDEN, "not for you")
    passed = walked(chain, cluster)
    assert passed.deleted == [["shop-c"]]
    assert passed.outcome.failures[0].message == "prune ConfigMap team/shop-c: not for you"


def test_a_conflict_about_an_object_that_is_still_there_stops_the_waves_below(chain, cluster_of, instance_of, walked):
    """Its policy was changed meanwhile, for example: it is decided again."""
    cluster = cluster_of(instance_of({"on": True}))
    walked(chain, cluster)
    respec(cluster, on=False)
    cluster.refusals["shop-c"] = (Refusal.CONFLICT, "the object has been modified")
    passed = walked(chain, cluster)
    assert passed.deleted == [["shop-c"]]
    assert passed.outcome.retry is Retry.BACKOFF


def test_what_vanished_meanwhile_counts_as_deleted(chain, cluster_of, instance_of, walked, key_of):
    cluster = cluster_of(instance_of({"on": True}))
    walked(chain, cluster)
    respec(cluster, on=False)
    cluster.meanwhile = replacing(cluster, key_of("ConfigMap", "shop-c"), "")
    passed = walked(chain, cluster)
    assert passed.deleted == [["shop-c"], ["shop-b"], ["shop-a"]]
    assert passed.outcome.failures == ()


# The inventory


def two_kinds(config, condition="${schema.spec.on}"):
    service = {
        "id": "service",
        "includeWhen": [condition],
        "template": {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "web", "namespace": "elsewhere"},
            "spec": {"ports": [{"port": 80}]},
        },
    }
    return config("a", {"on": "${string(schema.spec.on)}"}), service


def test_kinds_that_are_certainly_left_out_are_not_recorded(graph_of, cluster_of, instance_of, walked, config):
    cluster = cluster_of(instance_of({"on": False}))
    passed = walked(graph_of(*two_kinds(config), spec={"on": "boolean"}), cluster)
    assert [type(a) for a in passed.actions] == [PatchParent, Apply]
    assert inventory(cluster) == ("ConfigMap", "")


def test_what_depends_on_a_node_left_out_is_not_recorded(graph_of, cluster_of, instance_of, walked, config):
    service = {
        "id": "service",
        "template": {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "${a.metadata.name}"},
            "spec": {"ports": [{"port": 80}]},
        },
    }
    graph = graph_of(config("a", includeWhen=["${schema.spec.on}"]), service, config("b"), spec={"on": "boolean"})
    passed = walked(graph, cluster_of(instance_of({"on": False})))
    assert passed.actions[0].annotations[names.ANNOTATION_APPLYSET_GROUP_KINDS] == "ConfigMap"


def test_a_collection_that_is_certainly_empty_is_not_recorded(graph_of, cluster_of, instance_of, walked, config):
    services = {
        "id": "services",
        "forEach": [{"n": "${schema.spec.names}"}],
        "template": {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "${n}"},
            "spec": {"ports": [{"port": 80}]},
        },
    }
    graph = graph_of(config("a"), services, spec={"names": "[]string"})
    passed = walked(graph, cluster_of(instance_of({"names": []})))
    assert [type(a) for a in passed.actions] == [PatchParent, Apply]
    assert passed.actions[0].annotations[names.ANNOTATION_APPLYSET_GROUP_KINDS] == "ConfigMap"


def test_a_finalizer_that_was_taken_away_comes_back(graph_of, cluster_of, instance_of, walked, config):
    graph = graph_of(config("a"))
    cluster = cluster_of(instance_of())
    walked(graph, cluster)
    cluster.world.instance = with_meta(cluster.world.instance, finalizers=[])
    (patch,) = walked(graph, cluster).actions
    assert patch.add_finalizer


def test_a_superset_is_recorded_first_and_shrinks_when_all_is_settled(
    graph_of, cluster_of, instance_of, walked, config
):
    graph = graph_of(*two_kinds(config, "${a.data.on == 'true'}"), spec={"on": "boolean"})
    cluster = cluster_of(instance_of({"on": False}))
    passed = walked(graph, cluster)
    first, last = passed.actions[0], passed.actions[-1]
    assert first.annotations[names.ANNOTATION_APPLYSET_GROUP_KINDS] == "ConfigMap,Service"
    assert first.annotations[names.ANNOTATION_APPLYSET_NAMESPACES] == "elsewhere"
    assert isinstance(last, PatchParent)
    assert not last.add_finalizer
    assert inventory(cluster) == ("ConfigMap", "")
    # The inventory does not flap.
    assert walked(graph, cluster).actions == []


def test_the_inventory_grows_before_the_first_object_of_a_kind_or_namespace(
    graph_of, cluster_of, instance_of, walked, config
):
    graph = graph_of(*two_kinds(config), spec={"on": "boolean"})
    cluster = cluster_of(instance_of({"on": False}))
    walked(graph, cluster)
    respec(cluster, on=True)
    passed = walked(graph, cluster)
    assert [[type(a) for a in b] for b in passed.batches] == [[Apply, PatchParent], [Apply]]
    assert inventory(cluster) == ("ConfigMap,Service", "elsewhere")


def test_a_namespace_known_only_later_is_recorded_before_its_object(graph_of, cluster_of, instance_of, walked, config):
    graph = graph_of(config("a", {"ns": "late"}), config("b", metadata={"namespace": "${a.data.ns}"}), config("c"))
    passed = walked(graph, cluster_of(instance_of()))
    shape = [sorted(type(x).__name__ for x in batch) for batch in passed.batches]
    assert shape == [["PatchParent"], ["Apply", "Apply"], ["PatchParent"], ["Apply"]]
    assert passed.actions[3].annotations[names.ANNOTATION_APPLYSET_NAMESPACES] == "late"


def test_nothing_is_applied_that_the_inventory_would_not_find(graph_of, cluster_of, instance_of, walked, config):
    graph = graph_of(*two_kinds(config), spec={"on": "boolean"})
    cluster = cluster_of(instance_of({"on": False}))
    walked(graph, cluster)
    respec(cluster, on=True)
    cluster.refusals["PatchParent"] = (Refusal.UNAVAILABLE, "timeout")
    passed = walked(graph, cluster)
    assert passed.applied == [["a"]]
    assert passed.message("service") == "failed to patch instance with applyset labels: timeout"


def test_the_inventory_shrinks_after_prune_only_when_the_objects_are_gone(
    graph_of, cluster_of, instance_of, walked, config
):
    graph = graph_of(*two_kinds(config), spec={"on": "boolean"})
    cluster = cluster_of(instance_of({"on": True}))
    walked(graph, cluster)
    respec(cluster, on=False)
    passed = walked(graph, cluster)
    assert passed.deleted == [["web"]]
    assert passed.outcome.leftovers
    assert passed.outcome.retry is Retry.EVENT
    assert inventory(cluster) == ("ConfigMap,Service", "elsewhere")
    passed = walked(graph, cluster)
    assert [type(a) for a in passed.actions] == [PatchParent]
    assert inventory(cluster) == ("ConfigMap", "")
    assert passed.outcome.settled


def test_what_cannot_be_listed_stays_recorded(graph_of, cluster_of, instance_of, walked, config):
    """The inventory keeps the kind and all namespaces: children are deleted when they are visible again."""
    graph = graph_of(*two_kinds(config), spec={"on": "boolean"})
    cluster = cluster_of(instance_of({"on": True}))
    walked(graph, cluster)
    cluster.world.out_of_sight = frozenset({"Service", "Secret"})
    service = next(key for key, _ in cluster.world.objects.values() if key.resource.kind == "Service")
    del cluster.world.objects[identity(service)]
    respec(cluster, on=False)
    passed = walked(graph, cluster)
    assert passed.applied == [["a"]]
    assert inventory(cluster) == ("ConfigMap,Service", "elsewhere")
    cluster.world.out_of_sight = frozenset()
    walked(graph, cluster)
    assert inventory(cluster) == ("ConfigMap", "")


def with_meta(instance, labels=None, annotations=None, finalizers=None):
    meta = dict(instance["metadata"])
    if labels is not None:
        meta["labels"] = labels
    if annotations is not None:
        meta["annotations"] = annotations
    if finalizers is not None:
        meta["finalizers"] = finalizers
    return {**instance, "metadata": meta}


def test_what_is_recorded_stays_recorded_until_nothing_can_be_left(graph_of, cluster_of, instance_of, walked, config):
    graph = graph_of(config("a", {"x": "${schema.spec.?missing.value()}"}), spec={"missing": "string"})
    cluster = cluster_of(instance_of())
    walked(graph, cluster)
    meta = cluster.world.instance["metadata"]
    annotations = {**meta["annotations"], names.ANNOTATION_APPLYSET_GROUP_KINDS: "Job.batch,ConfigMap"}
    cluster.world.instance = with_meta(cluster.world.instance, annotations=annotations)
    passed = walked(graph, cluster)
    assert inventory(cluster)[0] == "ConfigMap,Job.batch"
    assert passed.actions[0].add_finalizer is False


@pytest.mark.parametrize(
    ("labels", "annotations", "text"),
    [
        ({"applyset.kubernetes.io/id": "applyset-x-v1"}, {}, 'label: got "applyset-x-v1", want "applyset-'),
        ({}, {"applyset.kubernetes.io/tooling": "kubectl/1"}, "label: got"),
    ],
)
def test_a_finalizer_is_not_installed_over_foreign_metadata(
    graph_of, cluster_of, instance_of, walked, config, labels, annotations, text
):
    instance = with_meta(instance_of(), labels=labels, annotations=annotations)
    passed = walked(graph_of(config("a")), cluster_of(instance))
    assert passed.actions == []
    assert passed.outcome.management_error.startswith(
        "cannot install finalizer with invalid ApplySet inventory; repair the metadata, or remove it only after "
        "confirming no managed members remain: invalid applyset.kubernetes.io/id"
    )
    assert text in passed.outcome.management_error


@pytest.mark.parametrize(
    "annotations",
    [
        {"applyset.kubernetes.io/tooling": "kubectl/1.30"},
        {"applyset.kubernetes.io/contains-group-kinds": "not a kind!"},
        {"applyset.kubernetes.io/additional-namespaces": "UPPER"},
    ],
)
def test_a_malformed_inventory_stops_the_pass(graph_of, cluster_of, instance_of, walked, config, annotations):
    instance = with_meta(instance_of(), annotations=annotations, finalizers=[names.FINALIZER])
    passed = walked(graph_of(config("a")), cluster_of(instance))
    assert passed.actions == []
    assert passed.outcome.failures[0].message.startswith("project failed: invalid applyset.kubernetes.io/")
    assert not passed.outcome.synced


POLICY = {"annotations": {names.ANNOTATION_DELETION_POLICY: '${schema.spec.keep ? "Orphaned" : "Delete"}'}}


@pytest.fixture
def keeping(graph_of, config):
    """Two excludable nodes and a collection; `keep` is their deletion policy."""
    return graph_of(
        config("a", includeWhen=["${schema.spec.on}"], metadata=POLICY),
        config("plain", includeWhen=["${schema.spec.on}"]),
        config(
            "many", {"x": "y"}, "${schema.metadata.name}-${n}", forEach=[{"n": "${schema.spec.items}"}], metadata=POLICY
        ),
        spec={"on": "boolean", "keep": "boolean", "items": "[]string"},
        features=("DeletionPolicy",),
    )


def test_orphans_are_released_where_others_are_deleted(keeping, cluster_of, instance_of, walked, key_of):
    cluster = cluster_of(instance_of({"on": True, "keep": True, "items": ["x", "y"]}))
    walked(keeping, cluster)
    respec(cluster, on=False, items=["x"])
    passed = walked(keeping, cluster)
    assert passed.deleted == [["shop-plain"]]
    released = {c.key.name for c in passed.outcome.changes if c.kind is ChangeKind.RELEASED}
    assert released == {"shop-a", "shop-y"}
    kept = cluster.world.get(key_of("ConfigMap", "shop-y"))
    assert kept["data"] == {"x": "y"}
    assert kept["metadata"]["labels"] == {}
    assert walked(keeping, cluster).actions == []


def test_the_policy_of_the_live_object_counts(keeping, cluster_of, instance_of, walked):
    cluster = cluster_of(instance_of({"on": True, "keep": True, "items": []}))
    walked(keeping, cluster)
    # The new policy is not applied any more to what is excluded in the same edit.
    respec(cluster, on=False, keep=False)
    assert sorted(c.kind.value for c in walked(keeping, cluster).outcome.changes) == ["deleted", "released"]
    cluster = cluster_of(instance_of({"on": True, "keep": True, "items": []}))
    walked(keeping, cluster)
    respec(cluster, keep=False)
    walked(keeping, cluster)
    respec(cluster, on=False)
    assert sorted(c.kind.value for c in walked(keeping, cluster).outcome.changes) == ["deleted", "deleted"]


def test_a_release_that_meets_another_state_is_decided_again(keeping, cluster_of, instance_of, walked):
    cluster = cluster_of(instance_of({"on": True, "keep": True, "items": []}))
    walked(keeping, cluster)
    cluster.refusals = {"shop-a": (Refusal.CONFLICT, "changed")}
    respec(cluster, on=False)
    passed = walked(keeping, cluster)
    assert passed.outcome.retry is Retry.BACKOFF
    assert [c.kind.value for c in passed.outcome.changes] == ["deleted"]
    cluster.refusals = {}
    assert [c.kind.value for c in walked(keeping, cluster).outcome.changes] == ["released"]
