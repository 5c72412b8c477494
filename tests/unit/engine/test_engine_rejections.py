"""Updates that the API server refuses: what is said of them, and what the others see meanwhile."""

import pytest

from kroasync.engine.actions import Apply, Refusal
from kroasync.engine.instance_status import compose
from kroasync.engine.outcome import Retry

NOW = "2026-01-02T03:04:05Z"
AWAY = 'Internal error occurred: failed calling webhook "check.example.com"'


def status_of(passed):
    status = compose(passed.plan, passed.outcome, now=NOW)
    return status, {c["type"]: c for c in status["conditions"]}


@pytest.fixture
def collection(graph_of, cluster_of, instance_of, walked, config):
    """Two items that are there, a node that reads them, and a change of both."""
    graph = graph_of(
        config("parts", {"v": "${schema.spec.v}"}, name="p-${n}", forEach=[{"n": "${schema.spec.names}"}]),
        config("summary", {"v": "${parts.map(p, p.data.v).join(',')}"}),
        spec={"v": "string", "names": "[]string"},
        status={"count": "${string(size(parts))}", "summary": "${summary.data.v}"},
    )
    cluster = cluster_of(instance_of({"v": "1", "names": ["x", "y"]}))
    walked(graph, cluster)

    def change(**spec):
        cluster.world.instance = {**cluster.world.instance, "spec": {**cluster.world.instance["spec"], **spec}}
        return graph, cluster

    return change


@pytest.mark.parametrize("refusal", [Refusal.INVALID, Refusal.FORBIDDEN])
def test_the_live_value_of_a_refused_item_is_what_others_see(collection, walked, refusal):
    graph, cluster = collection(v="2")
    cluster.refusals["p-x"] = (refusal, "field is immutable")
    passed = walked(graph, cluster)
    status, found = status_of(passed)
    # The other item is updated, and the node that depends on both goes on with what is there.
    assert passed.applied == [["parts", "parts"], ["summary"]]
    assert passed.desired("summary")["data"] == {"v": "1,2"}
    assert (status["state"], status["count"], status["summary"]) == ("ERROR", "2", "1,2")
    assert found["ResourcesReady"]["status"] == "False"
    assert "item team/p-x: update rejected: field is immutable" in found["ResourcesReady"]["message"]
    assert "p-y" not in found["ResourcesReady"]["message"]
    assert passed.deleted == []


def test_the_refused_item_recovers_when_the_change_is_withdrawn(collection, walked):
    graph, cluster = collection(v="2")
    cluster.refusals["p-x"] = (Refusal.INVALID, "field is immutable")
    walked(graph, cluster)
    graph, cluster = collection(v="1")
    passed = walked(graph, cluster)
    assert {a.key.name for a in passed.actions if isinstance(a, Apply)} == {"p-y", "shop-summary"}
    assert status_of(passed)[0]["state"] == "ACTIVE"


def test_a_webhook_that_is_away_is_waited_for(collection, walked):
    graph, cluster = collection(v="2")
    cluster.refusals["p-x"] = (Refusal.UNAVAILABLE, AWAY)
    passed = walked(graph, cluster)
    status, found = status_of(passed)
    assert (status["state"], status["count"]) == ("IN_PROGRESS", "2")
    assert (found["ResourcesReady"]["status"], found["ResourcesReady"]["reason"]) == ("False", "NotReady")
    assert f"item team/p-x: {AWAY}" in found["ResourcesReady"]["message"]
    assert "Error" not in found
    assert passed.outcome.retry is Retry.BACKOFF


def test_what_lasts_is_an_error_whatever_else_is_waited_for(collection, walked):
    graph, cluster = collection(v="2")
    cluster.refusals |= {"p-x": (Refusal.UNAVAILABLE, AWAY), "p-y": (Refusal.INVALID, "field is immutable")}
    status, found = status_of(walked(graph, cluster))
    assert status["state"] == "ERROR"
    message = found["ResourcesReady"]["message"]
    assert "item team/p-y: update rejected: field is immutable" in message
    assert f"item team/p-x: {AWAY}" in message


def test_of_a_collection_with_a_refused_creation_what_is_there_is_counted(collection, walked):
    graph, cluster = collection(names=["x", "y", "z"])
    cluster.refusals["p-z"] = (Refusal.FORBIDDEN, "exceeded quota")
    passed = walked(graph, cluster)
    status, found = status_of(passed)
    assert (status["state"], status["count"]) == ("ERROR", "2")
    assert "item team/p-z: exceeded quota" in found["ResourcesReady"]["message"]
    # It is not complete: nothing is built on it.
    assert passed.state("summary") == "IN_PROGRESS"


def test_readiness_of_what_is_there_holds_up_who_depends_on_it(graph_of, cluster_of, instance_of, walked, config):
    graph = graph_of(
        config(
            "parts",
            {"v": "${schema.spec.v}"},
            name="p-${n}",
            forEach=[{"n": "${['x', 'y']}"}],
            readyWhen=["${each.data.v == '2'}"],
        ),
        config("summary", {"v": "${string(size(parts))}"}),
        spec={"v": "string"},
    )
    cluster = cluster_of(instance_of({"v": "1"}))
    walked(graph, cluster)
    cluster.world.instance = {**cluster.world.instance, "spec": {"v": "2"}}
    cluster.refusals["p-x"] = (Refusal.INVALID, "no")
    passed = walked(graph, cluster)
    assert (passed.state("parts"), passed.state("summary")) == ("ERROR", "IN_PROGRESS")


@pytest.mark.parametrize("refusal", [Refusal.INVALID, Refusal.UNAVAILABLE])
def test_fields_that_read_a_refused_resource_stay(graph_of, cluster_of, instance_of, walked, config, refusal):
    graph = graph_of(config("a", {"v": "${schema.spec.v}"}), spec={"v": "string"}, status={"v": "${a.data.v}"})
    cluster = cluster_of(instance_of({"v": "1"}))
    walked(graph, cluster)
    cluster.world.instance = {**cluster.world.instance, "spec": {"v": "2"}}
    cluster.refusals["shop-a"] = (refusal, "no")
    status, found = status_of(walked(graph, cluster))
    assert status["v"] == "1"
    assert "apply ConfigMap team/shop-a: no" in found["ResourcesReady"]["message"]


def test_fields_that_read_a_resource_that_somebody_deletes_stay(
    graph_of, cluster_of, instance_of, walked, config, key_of
):
    graph = graph_of(config("a", {"v": "1"}), status={"v": "${a.data.v}"})
    cluster = cluster_of(instance_of())
    walked(graph, cluster)
    key = key_of("ConfigMap", "shop-a")
    live = cluster.world.get(key)
    cluster.world.put(key, {**live, "metadata": {**live["metadata"], "deletionTimestamp": NOW}})
    status, found = status_of(walked(graph, cluster))
    assert (status["state"], status["v"]) == ("IN_PROGRESS", "1")
    assert found["ResourcesReady"]["reason"] == "ResourceDeleting"


def test_of_an_object_of_somebody_else_nothing_is_read(graph_of, cluster_of, instance_of, walked, config):
    graph = graph_of(config("a", {"v": "1"}), status={"v": "${a.data.v}"})
    labels = {"applyset.kubernetes.io/part-of": "applyset-theirs-v1"}
    theirs = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "shop-a", "namespace": "team", "uid": "x", "labels": labels},
        "data": {"v": "private"},
    }
    status, _ = status_of(walked(graph, cluster_of(instance_of(), [theirs])))
    assert (status["state"], "v" in status) == ("ERROR", False)


def test_an_instance_whose_metadata_a_webhook_holds_up_waits(graph_of, cluster_of, instance_of, walked, config):
    cluster = cluster_of(instance_of(), refusals={"PatchParent": (Refusal.UNAVAILABLE, AWAY)})
    status, found = status_of(walked(graph_of(config("a")), cluster))
    assert status["state"] == "IN_PROGRESS"
    assert AWAY in found["InstanceManaged"]["message"]
