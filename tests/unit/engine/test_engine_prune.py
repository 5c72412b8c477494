"""Objects that are no longer declared are deleted, in order, and no others; the inventory follows."""

import pytest

from kroasync.engine.actions import Apply, Delete, PatchParent, Refusal
from kroasync.engine.offline import OfflineWorld
from kroasync.engine.outcome import Retry
from kroasync.engine.resolve import identity
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


def test_members_of_unknown_nodes_go_first(chain, cluster_of, instance_of, walked, key_of):
    cluster = cluster_of(instance_of({"on": True}))
    walked(chain, cluster)
    old = cluster.world.get(key_of("ConfigMap", "shop-d"))
    labels = {**old["metadata"]["labels"], "kro.run/node-id": "removed"}
    cluster.world.put(
        key_of("ConfigMap", "older"), {**old, "metadata": {**old["metadata"], "name": "older", "labels": labels}}
    )
    respec(cluster, on=False)
    assert walked(chain, cluster).deleted == [["older"], ["shop-c"], ["shop-b"], ["shop-a"]]


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"ours": False}, id="labels copied by another tool"),
        pytest.param({"part_of": "applyset-theirs-v1"}, id="of another ApplySet"),
        pytest.param({"part_of": ""}, id="of no ApplySet"),
        pytest.param({"deleting": True}, id="already going"),
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


def test_a_uid_conflict_lets_the_waves_go_on_and_is_retried(chain, cluster_of, instance_of, walked):
    cluster = cluster_of(instance_of({"on": True}))
    walked(chain, cluster)
    respec(cluster, on=False)
    cluster.refusals["shop-c"] = (Refusal.CONFLICT, "the UID is another one")
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


def test_what_vanished_meanwhile_counts_as_deleted(chain, cluster_of, instance_of, walked):
    cluster = cluster_of(instance_of({"on": True}))
    walked(chain, cluster)
    respec(cluster, on=False)
    cluster.refusals["shop-c"] = (Refusal.MISSING, "not found")
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
