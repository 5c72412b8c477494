"""Views of a live instance: from a pass that changes nothing, or from the data that its children store."""

from collections.abc import Callable

from kroasync.engine.views import LiveWorld, NodeView, ObjectView, nodes_of, stored_nodes, unchanged, view_of
from kroasync.engine.walk import Walk
from kroasync.graph.nodes import Graph
from kroasync.model import names
from kroasync.model.objects import GVK, Key, Obj, Resource
from tests.samples import CONFIG_MAPS

APPS = Resource("kro.run", "v1alpha1", "WebApp", "webapps")
SINCE = "2026-01-01T00:00:00Z"


def instance() -> Obj:
    ready = {"type": "Ready", "status": "False", "message": "why", "lastTransitionTime": SINCE}
    meta = {"name": "one", "namespace": "default", "uid": "i1", "labels": {names.LABEL_DEFINITION_NAME: "webapps"}}
    status = {"state": "IN_PROGRESS", "conditions": [ready]}
    return {"apiVersion": "kro.run/v1alpha1", "kind": "WebApp", "metadata": meta, "spec": {}, "status": status}


def config(name: str, *, node: str = "", order: str = "0", **meta: str) -> Obj:
    labels = {names.LABEL_NODE_ID: node, names.LABEL_INSTANCE_ID: "i1"}
    found = {"name": name, "namespace": "default", "uid": name, "creationTimestamp": SINCE, "labels": labels}
    annotations = {names.ANNOTATION_APPLY_ORDER: order}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": found | {"annotations": annotations} | meta}


def shown(graph: Graph, *objects: Obj) -> dict[str, NodeView]:
    world = LiveWorld(instance(), objects, {GVK("", "v1", "ConfigMap"): CONFIG_MAPS}.get)
    walk = Walk(graph, instance(), world)
    while actions := walk.next_actions():
        walk.feed([unchanged(action, instance(), world) for action in actions])
    return {node.id: node for node in nodes_of(graph, walk.outcome, world, instance())}


def chain(graph_of: Callable[..., Graph]) -> Graph:
    def template(name: str, data: dict[str, str]) -> Obj:
        return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}

    return graph_of(
        {"id": "first", "template": template("first", {})},
        {"id": "second", "template": template("second", {"of": "${first.metadata.name}"})},
    )


def test_what_is_there_is_synced_whatever_it_holds(graph_of: Callable[..., Graph]) -> None:
    found = shown(chain(graph_of), config("first"), config("second"))
    assert {id_: node.state for id_, node in found.items()} == {"first": "SYNCED", "second": "SYNCED"}
    assert found["second"].needs == ("first",)
    assert found["first"].objects == (ObjectView(kind="ConfigMap", namespace="default", name="first", since=SINCE),)
    assert found["first"].since == ""


def test_what_is_not_there_holds_up_the_others(graph_of: Callable[..., Graph]) -> None:
    found = shown(chain(graph_of))
    assert "does not exist yet" in found["first"].waits_for
    assert (found["second"].blocked_by, found["second"].since) == (("first",), SINCE)


def test_without_a_graph_nodes_are_in_the_order_of_their_deletion() -> None:
    members = [config("b", node="last", order="2"), config("a", node="early", order="1"), config("c", node="last")]
    found = stored_nodes([(Key(CONFIG_MAPS, "default", obj["metadata"]["name"]), obj) for obj in members])
    assert [(node.id, [one.name for one in node.objects]) for node in found] == [("early", ["a"]), ("last", ["b", "c"])]


def test_an_object_that_is_going_says_since_when() -> None:
    going = config("a", node="n", deletionTimestamp="2026-01-02T00:00:00Z")
    [node] = stored_nodes([(Key(CONFIG_MAPS, "default", "a"), going)])
    [shown_object] = node.objects
    assert (shown_object.deleting, shown_object.since) == (True, "2026-01-02T00:00:00Z")


def test_an_instance_is_shown_as_its_status_says() -> None:
    view = view_of(Key(APPS, "default", "one"), instance(), (), "note")
    assert (view.state, view.ready, view.message, view.definition) == ("IN_PROGRESS", "False", "why", "webapps")
