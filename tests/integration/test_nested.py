"""Nested definitions: an instance of one definition is a child of another, or a definition is a child, to any depth."""

from __future__ import annotations

import pytest

from tests.integration.cluster import Lab, Obj, condition, config, for_a_while, node

pytestmark = pytest.mark.integration


def instance_of(lab: Lab, id_: str, kind: str, spec: Obj, **extra: object) -> Obj:
    template = {
        "apiVersion": f"{lab.group}/v1alpha1",
        "kind": kind,
        "metadata": {"name": f"${{schema.metadata.name}}-{id_}"},
        "spec": spec,
    }
    return node(id_, template, **extra)


def inner(lab: Lab) -> Obj:
    gate = config("cm", data={"x": "${schema.spec.x}"}, readyWhen=['${cm.data.?open.orValue("") == "yes"}'])
    return lab.definition("Inner", [gate], spec={"x": "string"}, status={"x": "${cm.data.x}"})


def outer(lab: Lab) -> Obj:
    active = {"readyWhen": ['${inner.status.?state.orValue("") == "ACTIVE"}']}
    after = config("after", data={"x": "${inner.status.x}"})
    return lab.definition(
        "Outer",
        [instance_of(lab, "inner", "Inner", {"x": "${schema.spec.x}"}, **active), after],
        spec={"x": "string"},
        status={"x": "${inner.status.x}"},
    )


def test_the_outer_instance_follows_the_inner_one(lab: Lab) -> None:
    """The outer definition is created first and waits for the kind; dependents wait for the state of the child."""
    lab.submit(outer(lab))
    lab.await_definition(lab.definition_name("Outer"), "Inactive", message="schema not found")
    lab.define_object(inner(lab))
    lab.await_definition(lab.definition_name("Outer"))
    lab.instance("Outer", spec={"x": "1"}, labels={"team": "red"})
    obj = lab.await_state("Outer", state="IN_PROGRESS", message='node "inner" not ready')
    lab.await_child("ConfigMap", "one-inner-cm")
    assert "one-after" not in lab.configs()
    lab.cluster.merge(lab.child_path("ConfigMap", "one-inner-cm"), {"data": {"open": "yes"}})
    obj = lab.await_state("Outer")
    assert obj["status"]["x"] == "1"
    assert lab.child("ConfigMap", "one-after")["data"] == {"x": "1"}

    lab.edit("Outer", spec={"x": "2"})
    lab.await_child("ConfigMap", "one-after", lambda obj: obj["data"] == {"x": "2"})
    lab.await_status("Outer", check=lambda status: status["x"] == "2")
    assert lab.child("ConfigMap", "one-inner-cm")["metadata"]["labels"]["team"] == "red"


def test_parent_and_child_do_not_fight_over_labels(lab: Lab) -> None:
    """The inner instance is a member of one ApplySet and the parent of another; at rest, nothing changes."""
    lab.define_object(inner(lab))
    lab.define_object(outer(lab))
    lab.instance("Outer", spec={"x": "1"})
    lab.await_child("ConfigMap", "one-inner-cm")
    lab.cluster.merge(lab.child_path("ConfigMap", "one-inner-cm"), {"data": {"open": "yes"}})
    lab.await_state("Outer")
    found = lab.read("Inner", "one-inner")
    labels = found["metadata"]["labels"]
    assert labels["kro.run/node-id"] == "inner"
    assert labels["kro.run/instance-kind"] == "Outer"
    assert labels["kro.run/resource-graph-definition-name"] == lab.definition_name("Inner")
    assert labels["applyset.kubernetes.io/part-of"] != labels["applyset.kubernetes.io/id"]
    child = lab.child("ConfigMap", "one-inner-cm")["metadata"]["labels"]
    assert (child["kro.run/node-id"], child["kro.run/instance-kind"]) == ("cm", "Inner")

    def versions() -> list[str]:
        objs = [lab.read("Outer"), lab.read("Inner", "one-inner"), lab.child("ConfigMap", "one-inner-cm")]
        return [obj["metadata"]["resourceVersion"] for obj in objs]

    for _ in for_a_while(lambda: None, seconds=0.3):
        pass
    before = versions()
    assert all(seen == before for seen in for_a_while(versions, seconds=1.0))


def test_deletion_goes_from_the_outside_in(lab: Lab) -> None:
    lab.define_object(inner(lab))
    lab.define_object(outer(lab))
    lab.instance("Outer", spec={"x": "1"})
    lab.await_child("ConfigMap", "one-inner-cm")
    block = {"metadata": {"finalizers": ["example.com/block"]}, "data": {"open": "yes"}}
    lab.cluster.merge(lab.child_path("ConfigMap", "one-inner-cm"), block)
    lab.await_state("Outer")
    lab.cluster.delete(lab.path("Outer"))
    lab.await_state("Inner", "one-inner", "DELETING", message="example.com/block")
    obj = lab.await_state("Outer", state="DELETING", message="one-inner")
    assert "kro.run/finalizer" in condition(obj, "ResourcesReady")["message"]
    assert set(lab.configs()) == {"one-inner-cm"}
    lab.cluster.merge(lab.child_path("ConfigMap", "one-inner-cm"), {"metadata": {"finalizers": None}})
    lab.await_gone(lab.path("Outer"))
    assert lab.read("Inner", "one-inner") == {}


def test_a_definition_inside_a_definition(lab: Lab) -> None:
    """An instance creates a whole API, whose instances work, and deletes the API again."""
    made = {
        "apiVersion": "kro.run/v1alpha1",
        "kind": "ResourceGraphDefinition",
        "metadata": {"name": "${schema.spec.kind.lowerAscii()}." + lab.group},
        "spec": {
            "schema": {
                "apiVersion": "v1alpha1",
                "kind": "${schema.spec.kind}",
                "group": lab.group,
                "spec": {"x": "string"},
            },
            "resources": [
                {
                    "id": "cm",
                    "template": {
                        "apiVersion": "v1",
                        "kind": "ConfigMap",
                        "metadata": {"name": '${"${schema.metadata.name}-made"}'},
                        "data": {"x": '${"${schema.spec.x}"}'},
                    },
                }
            ],
        },
    }
    ready = {"readyWhen": ['${made.status.?state.orValue("") == "Active"}']}
    lab.define("Maker", [node("made", made, **ready)], spec={"kind": "string"})
    lab.instance("Maker", spec={"kind": "Product"})
    lab.await_state("Maker")
    lab.instance("Product", spec={"x": "1"})
    lab.await_state("Product")
    assert lab.child("ConfigMap", "one-made")["data"] == {"x": "1"}
    lab.cluster.delete(lab.path("Product"))
    lab.await_gone(lab.path("Product"))
    lab.cluster.delete(lab.path("Maker"))
    lab.await_gone(lab.path("Maker"))
    assert lab.read_definition(f"product.{lab.group}") == {}
