"""What is applied only once: created when absent, adopted by its marks, and left alone from then on."""

from dataclasses import replace

from kroasync.engine.actions import Apply, Read
from kroasync.engine.outcome import ChangeKind
from kroasync.engine.plan import Options

ONCE = {"policy": {"update": "Once"}}
SEALED = Options(seal_key=b"k" * 32)


def edited(cluster, key, **fields):
    cluster.world.put(key, {**cluster.world.get(key), **fields})


def test_a_child_is_neither_changed_by_an_edit_nor_healed(graph_of, cluster_of, instance_of, walked, config, key_of):
    key, reader = key_of("ConfigMap", "shop-a"), config("b", {"x": "${a.data.v}"})
    cluster = cluster_of(instance_of())
    walked(graph_of(config("a", {"v": "1"}, **ONCE), reader), cluster, SEALED)
    edited(cluster, key, data={"v": "drifted"})
    passed = walked(graph_of(config("a", {"v": "2"}, **ONCE), reader), cluster, SEALED)
    # What is there counts for what reads it.
    assert passed.applied == [["b"]]
    assert passed.desired("b")["data"] == {"x": "drifted"}
    assert passed.outcome.settled
    assert cluster.world.get(key)["data"] == {"v": "drifted"}


def test_a_child_that_somebody_deleted_is_created_again(graph_of, cluster_of, instance_of, walked, config, key_of):
    graph, cluster = graph_of(config("a", {"v": "1"}, **ONCE)), cluster_of(instance_of())
    walked(graph, cluster)
    assert walked(graph, cluster).actions == []
    cluster.world.objects.clear()
    assert walked(graph, cluster).applied == [["a"]]
    assert cluster.world.get(key_of("ConfigMap", "shop-a"))["data"] == {"v": "1"}


def test_the_readiness_of_a_child_counts(graph_of, cluster_of, instance_of, walked, config, key_of):
    entry = config("a", {"v": "1"}, readyWhen=['${a.data.v == "2"}'], **ONCE)
    cluster = cluster_of(instance_of())
    graph = graph_of(entry)
    assert walked(graph, cluster).state("a") == "WAITING_FOR_READINESS"
    edited(cluster, key_of("ConfigMap", "shop-a"), data={"v": "2"})
    assert walked(graph, cluster).state("a") == "SYNCED"


def test_an_object_that_existed_keeps_what_it_is(graph_of, cluster_of, instance_of, walked, config, key_of):
    free = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "shop-a", "namespace": "team", "uid": "x"}}
    cluster = cluster_of(instance_of(), [{**free, "data": {"mine": "kept"}}])
    graph = graph_of(config("a", {"v": "1"}, **ONCE))
    (change,) = walked(graph, cluster, SEALED).outcome.changes
    assert change.kind is ChangeKind.ADOPTED
    found = cluster.world.get(key_of("ConfigMap", "shop-a"))
    assert found["data"] == {"mine": "kept"}
    assert found["metadata"]["labels"]["kro.run/node-id"] == "a"
    assert walked(graph, cluster, SEALED).actions == []


def test_a_child_without_a_seal_is_adopted_again(graph_of, cluster_of, instance_of, walked, config, key_of):
    """A former controller created it, or the key is a new one: without a seal it would not be deleted."""
    cluster, key = cluster_of(instance_of()), key_of("ConfigMap", "shop-a")
    walked(graph_of(config("a", {"v": "1"}, **ONCE)), cluster)
    passed = walked(graph_of(config("a", {"v": "2"}, **ONCE)), cluster, SEALED)
    (apply,) = [action for action in passed.actions if isinstance(action, Apply)]
    assert not apply.force
    assert cluster.world.get(key)["data"] == {"v": "1"}
    assert "kroasync.io/seal" in cluster.world.get(key)["metadata"]["annotations"]


def test_what_the_world_does_not_keep_is_read(graph_of, cluster_of, instance_of, walked, config):
    cluster = cluster_of(instance_of())
    graph = graph_of(config("a", {"v": "1"}, **ONCE), config("b", {"x": "${a.data.v}"}))
    walked(graph, cluster)
    find = cluster.world.find
    cluster.world.leave = lambda key: False
    cluster.world.find = lambda key: replace(find(key), obj={"metadata": find(key).obj["metadata"]})
    passed = walked(graph, cluster)
    assert [type(action) for action in passed.actions] == [Read]
    assert passed.outcome.settled
