"""Who manages the declared fields of an instance's objects, and what the policies do about it."""

from collections.abc import Callable
from typing import Any

import orjson
import pytest

from kroasync.engine.offline import overlaid
from kroasync.engine.owners import OwnersView, owners, owners_of
from kroasync.engine.plan import Plan
from kroasync.engine.views import LiveWorld, nodes_of, unchanged
from kroasync.engine.walk import Walk
from kroasync.graph.nodes import Graph
from kroasync.model import names
from kroasync.model.objects import GVK, Key, Obj
from kroasync.model.policies import Adoption, Conflicts, Policies, Update
from kroasync.schema.catalog import Catalog
from tests.samples import config_map

SPEC = {"replicas": 2, "paused": False, "selector": {"matchLabels": {"app": "a"}}}
CONTAINERS = [{"name": "web", "image": "nginx:1"}]


def deployment(**spec: Any) -> Obj:
    template = {"metadata": {"labels": {"app": "a"}}, "spec": {"containers": CONTAINERS}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web"},
        "spec": {**SPEC, "template": template, **spec},
    }


def entry(manager: str, fields: Obj, *, operation: str = "Update", subresource: str = "") -> Obj:
    found = {"manager": manager, "operation": operation, "fieldsType": "FieldsV1", "fieldsV1": fields}
    return found | ({"subresource": subresource} if subresource else {})


def live(declared: Obj, changes: Obj, *entries: Obj) -> Obj:
    found: Obj = overlaid(declared, changes)
    return {**found, "metadata": {**found["metadata"], "managedFields": list(entries)}}


def shown(graph: Graph, found: Obj, *, id_: str = "web", declared: Obj | None = None, **policies: Any) -> OwnersView:
    plan = next(node for node in Plan.of(graph).nodes if node.id == id_)
    return owners(plan, Policies(**policies), declared or plan.fill(()), found)


def rows(view: OwnersView) -> list[tuple[str, ...]]:
    return [(one.field, one.declared, one.live, one.manager, one.treatment) for one in view.fields]


REPLICAS = {"f:spec": {"f:replicas": {}}}
OURS = entry(names.MANAGER_CHILDREN, REPLICAS, operation="Apply")


@pytest.fixture
def graph(graph_of: Callable[..., Graph]) -> Graph:
    return graph_of({"id": "web", "template": deployment()})


@pytest.mark.parametrize(
    ("policies", "value", "treatment"),
    [
        ({}, 5, "taken back"),
        ({}, 2, "shared"),
        ({"conflicts": Conflicts.YIELD}, 5, "yielded"),
        # Whatever its value is: an autoscaler may come by ours.
        ({"conflicts": Conflicts.YIELD}, 2, "yielded"),
        ({"conflicts": Conflicts.FAIL}, 5, "contested"),
        ({"conflicts": Conflicts.FAIL}, 2, "shared"),
        ({"update": Update.ONCE, "conflicts": Conflicts.FAIL}, 5, "kept"),
    ],
)
def test_the_policies_say_what_happens_to_a_field(graph: Graph, policies: Obj, value: int, treatment: str) -> None:
    found = live(deployment(), {"spec": {"replicas": value}}, entry("hpa", REPLICAS, subresource="scale"))
    view = shown(graph, found, **policies)
    assert rows(view) == [(".spec.replicas", "2", str(value), "hpa (Update of scale)", treatment)]


def test_a_field_with_two_managers_is_shared_unless_its_value_differs(graph: Graph) -> None:
    found = live(deployment(), {}, OURS, entry("kubectl", REPLICAS, operation="Apply"))
    for conflicts in Conflicts:
        assert rows(shown(graph, found, conflicts=conflicts)) == [
            (".spec.replicas", "2", "2", "kubectl (Apply)", "shared")
        ]


@pytest.mark.parametrize("conflicts", list(Conflicts))
def test_an_external_field_is_left_to_its_manager_under_any_policy(
    graph_of: Callable[..., Graph], conflicts: Conflicts
) -> None:
    graph = graph_of({"id": "web", "template": deployment(), "externalFields": ["spec.replicas"]})
    fields = {"f:spec": {"f:replicas": {}, "f:paused": {}}}
    found = live(deployment(), {"spec": {"replicas": 3, "paused": True}}, OURS, entry("hpa", fields))
    external, other = rows(shown(graph, found, conflicts=conflicts))
    assert external == (".spec.replicas", "2", "3", "hpa (Update)", "external")
    assert (other[0], other[4] == "external") == (".spec.paused", False)


def test_our_own_marks_are_taken_back_under_any_policy(graph: Graph) -> None:
    label = "app.kubernetes.io/managed-by"
    declared = deployment()
    declared["metadata"]["labels"] = {label: "kro"}
    found = live(
        declared,
        {"metadata": {"labels": {label: "Helm"}}},
        entry("helm", {"f:metadata": {"f:labels": {f"f:{label}": {}}}}),
    )
    for conflicts in Conflicts:
        [one] = shown(graph, found, declared=declared, conflicts=conflicts).fields
        assert one.treatment == "taken back"


def test_nothing_is_said_of_our_own_fields_and_of_the_status(graph: Graph) -> None:
    status = entry("kube-controller-manager", {"f:status": {"f:replicas": {}}}, subresource="status")
    assert shown(graph, live(deployment(), {}, OURS, status)) == OwnersView()


def test_of_undeclared_fields_the_number_is_shown(graph: Graph) -> None:
    containers = {
        'k:{"name":"web"}': {".": {}, "f:image": {}, "f:env": {".": {}, 'k:{"name":"A"}': {"f:value": {}}}},
        'k:{"name":"sidecar"}': {".": {}, "f:name": {}, "f:image": {}},
    }
    fields = {
        "f:metadata": {"f:finalizers": {'v:"a/b"': {}}, "f:annotations": {"f:x": {}}},
        "f:spec": {"f:replicas": {}, "f:template": {"f:spec": {"f:containers": containers}}},
        "i:0": {},
    }
    view = shown(graph, live(deployment(), {}, entry("istio", fields), entry("b", {"f:spec": {"f:paused": {}}})))
    # finalizer, annotation, env value, two fields of the sidecar, and what nobody can read
    assert view.undeclared == {"istio": 6}
    assert [one.field for one in view.fields] == [
        ".spec.replicas",
        ".spec.paused",
        '.spec.template.spec.containers[name="web"].image',
    ]


def test_long_values_are_cut(graph_of: Callable[..., Graph]) -> None:
    declared = config_map("web", data={"a": "x" * 1000})
    graph = graph_of({"id": "web", "template": declared})
    [found] = shown(graph, live(declared, {}, entry("m", {"f:data": {"f:a": {}}}))).fields
    assert 0 < len(found.declared) < 100
    assert len(found.live) < 100


# Values of Secrets


def secret(data: Obj) -> Obj:
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "keys"}, "stringData": data}


def test_values_of_a_secret_are_withheld_also_those_that_others_set(graph_of: Callable[..., Graph]) -> None:
    declared = secret({"a": "hunter2", "b": "swordfish"})
    graph = graph_of({"id": "keys", "template": {**declared, "type": "Opaque"}})
    stored = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "keys"}, "data": {"a": "Zm9v", "b": "YmFy"}}
    found = live(stored, {"type": "Opaque"}, entry("m", {"f:data": {"f:a": {}, "f:b": {}}, "f:type": {}}))
    view = shown(graph, found, id_="keys")
    withheld = "a value that is withheld"
    assert [(one.field, one.declared, one.live) for one in view.fields] == [
        (".type", '"Opaque"', '"Opaque"'),
        (".data", withheld, withheld),
    ]
    for leaked in ("hunter2", "aHVudGVyMg", "Zm9v", "YmFy"):
        assert leaked not in repr(view)


def test_values_and_keys_that_come_from_a_secret_are_withheld(graph_of: Callable[..., Graph]) -> None:
    source = {"id": "source", "externalRef": {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "source"}}}
    env = [{"name": "${string(source.data.word)}", "value": "open"}]
    spec = {"containers": [{"name": "web", "image": "nginx:1", "env": env}]}
    template = {"metadata": {"labels": {"app": "a"}}, "spec": spec}
    graph = graph_of(source, {"id": "web", "template": deployment(template=template)})
    declared: Obj = orjson.loads(
        orjson.dumps(deployment(template=template)).replace(b"${string(source.data.word)}", b"pw")
    )
    keyed = {'k:{"name":"pw"}': {"f:value": {}}}
    fields = {"f:spec": {"f:template": {"f:spec": {"f:containers": {'k:{"name":"web"}': {"f:env": keyed}}}}}}
    view = shown(graph, live(declared, {}, entry("m", fields)), declared=declared)
    assert [one.field for one in view.fields] == [".spec.template.spec.containers[0].env[0].value"]
    assert '"pw"' not in repr(view)


# A whole instance


def walked(graph: Graph, instance: Obj, catalog: Catalog, children: list[Obj], foreign: Obj | None = None) -> Any:
    world = LiveWorld(instance, children, catalog.resource)
    if foreign is not None:
        resource = catalog.resource(GVK.of(foreign))
        assert resource is not None
        world.foreign[Key(resource, "team", foreign["metadata"]["name"])] = foreign
    walk = Walk(graph, instance, world)
    while actions := walk.next_actions():
        walk.feed([unchanged(action, instance, world) for action in actions])
    found = owners_of(walk.runs, world.get, world.foreign)
    nodes = nodes_of(graph, walk.outcome, world, instance, foreign=world.foreign, owners=found)
    return {node.id: node for node in nodes}


def child(instance: Obj, obj: Obj) -> Obj:
    labels = {names.LABEL_INSTANCE_ID: instance["metadata"]["uid"]}
    meta = {**obj["metadata"], "namespace": "team", "uid": obj["metadata"]["name"], "labels": labels}
    return {**obj, "metadata": meta}


def test_each_object_of_an_instance_says_who_has_its_fields(
    graph_of: Callable[..., Graph], instance_of: Callable[..., Obj], catalog: Catalog
) -> None:
    policy = {"conflicts": '${schema.spec.auto ? "Yield" : "Force"}'}
    graph = graph_of({"id": "web", "template": deployment(), "policy": policy}, spec={"auto": "boolean"})
    instance = instance_of({"auto": True})
    found = child(instance, live(deployment(), {"spec": {"replicas": 3}}, entry("hpa", REPLICAS)))
    [obj] = walked(graph, instance, catalog, [found])["web"].objects
    assert [one.treatment for one in obj.owners.fields] == ["yielded"]


def test_an_object_that_is_no_child_is_shown_with_its_managers(
    graph_of: Callable[..., Graph], instance_of: Callable[..., Obj], catalog: Catalog
) -> None:
    graph = graph_of({"id": "web", "template": deployment(), "policy": {"adoption": Adoption.NEVER.value}})
    instance = instance_of()
    found = live(deployment(), {"spec": {"replicas": 3}}, entry("helm", REPLICAS))
    node = walked(graph, instance, catalog, [], found)["web"]
    [obj] = node.objects
    assert (obj.exists, obj.standing) == (True, "not a child")
    assert rows(obj.owners) == [(".spec.replicas", "2", "3", "helm (Update)", "not adopted")]
    assert "does not exist" not in node.waits_for


def test_an_object_that_does_not_exist_has_no_owners(
    graph: Graph, instance_of: Callable[..., Obj], catalog: Catalog
) -> None:
    [obj] = walked(graph, instance_of(), catalog, [])["web"].objects
    assert (obj.exists, obj.owners) == (False, None)
