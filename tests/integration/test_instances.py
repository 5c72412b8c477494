"""Instances on the real control plane: the loop of runtime.md section 2, from creation to steady state."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.integration.cluster import (
    Cluster,
    Lab,
    Obj,
    RefusedError,
    applyset_id,
    audited,
    condition,
    config,
    config_map,
    eventually,
    for_a_while,
    inventory_hash,
    is_true,
    node,
)

pytestmark = pytest.mark.integration

WEB_APPLICATION = Path(__file__).parents[2] / "examples" / "webapplication"
CONTROLLER = "system:serviceaccount:kroasync-system:kroasync"
# kro's labels and annotations; many tests check which of them an object has.
OWN = ("kro.run/", "internal.kro.run/", "applyset.kubernetes.io/", "app.kubernetes.io/managed-by")


def own(found: dict[str, str]) -> dict[str, str]:
    return {key: value for key, value in found.items() if key.startswith(OWN)}


def seed(kind: str, lab: Lab) -> tuple[Obj, Obj]:
    """The WebApplication and its instance, as this kind of definition, with a separate kind for the test."""
    definition = yaml.safe_load((WEB_APPLICATION / "resourcegroup.yaml").read_text())
    instance = yaml.safe_load((WEB_APPLICATION / "instance.yaml").read_text())
    definition["kind"] = kind
    generated = f"{'Group' if kind == 'ResourceGroup' else 'Graph'}Application"
    definition["spec"]["schema"]["kind"] = instance["kind"] = generated
    definition["metadata"]["name"] = generated.lower()
    instance["metadata"]["namespace"] = lab.namespace
    if kind == "ResourceGroup":
        definition["metadata"]["namespace"] = lab.namespace
    return definition, instance


@pytest.mark.parametrize(
    ("kind", "columns", "row", "reason", "text"),
    [
        (
            *("ResourceGroup", ["NAME", "STATUS", "SYNCED", "AGE"], ["my-app", "ACTIVE", "true"]),
            *("ResourcesAvailable", "All resources are available and configured correctly"),
        ),
        ("ResourceGraphDefinition", ["NAME", "STATE", "READY", "AGE"], ["my-app", "ACTIVE", "True"], "Ready", ""),
    ],
)
def test_the_web_application_works_with_both_kinds_of_definition(
    lab: Lab, kind: str, columns: list[str], row: list[str], reason: str, text: str
) -> None:
    definition, instance = seed(kind, lab)
    cluster = lab.cluster
    applied = cluster.apply(definition)
    path = cluster.path_of(applied)
    eventually(lambda: cluster.read(path) or {}, lambda obj: obj.get("status", {}).get("state") == "Active")
    cluster.apply(instance)
    mine = cluster.path(instance["kind"], lab.namespace, "my-app", api_version=instance["apiVersion"])
    ready = eventually(lambda: cluster.read(mine) or {}, lambda obj: is_true(obj, "Ready"), timeout_s=40)

    status = ready["status"]
    assert {k: v for k, v in status.items() if k != "conditions"} == {
        "state": "ACTIVE",
        "phase": "Running",
        "synced": True,
        "observedGeneration": 1,
        "availableReplicas": 3,
    }
    assert (condition(ready, "Ready")["reason"], condition(ready, "Ready")["message"]) == (reason, text)
    for type_ in ("InstanceManaged", "GraphResolved", "ResourcesReady"):
        assert is_true(ready, type_)
        assert condition(ready, type_)["observedGeneration"] == 1
    orders = {
        child: lab.child(child, "web-app")["metadata"]["annotations"]["internal.kro.run/apply-order"]
        for child in ("Deployment", "Service", "Ingress")
    }
    assert orders == {"Deployment": "1", "Service": "2", "Ingress": "3"}
    assert lab.child("Service", "web-app")["spec"]["selector"] == {"app": "web-app"}

    printed = cluster.playground.kubectl("get", instance["kind"].lower(), "-n", lab.namespace).splitlines()
    assert printed[0].split() == columns
    assert printed[1].split()[:3] == row
    cluster.delete(mine)
    lab.await_gone(mine)
    assert lab.child("Service", "web-app") == lab.child("Ingress", "web-app") == {}
    cluster.delete(path)


def test_2_2_instance_metadata(lab: Lab) -> None:
    """Finalizer, labels and an ApplySet inventory; the author's labels and annotations stay."""
    definition = lab.define("Plain", [config("a"), config("b", metadata={"namespace": "default"})])
    lab.instance("Plain", labels={"team": "red"}, annotations={"note": "x"})
    obj = lab.await_state("Plain")
    id_ = applyset_id(obj)
    assert obj["metadata"]["finalizers"] == ["kro.run/finalizer"]
    assert obj["metadata"]["labels"] == {
        "team": "red",
        "kro.run/owned": "true",
        "kro.run/kro-version": "devel",
        "kro.run/resource-graph-definition-id": definition["metadata"]["uid"],
        "kro.run/resource-graph-definition-name": definition["metadata"]["name"],
        "applyset.kubernetes.io/id": id_,
    }
    assert obj["metadata"]["annotations"] == {
        "note": "x",
        "applyset.kubernetes.io/tooling": "kro/devel",
        "applyset.kubernetes.io/contains-group-kinds": "ConfigMap",
        "applyset.kubernetes.io/additional-namespaces": "default",
        "internal.kro.run/applyset-inventory-hash": inventory_hash(id_, "ConfigMap", "default"),
    }


def test_2_5_child_metadata(lab: Lab) -> None:
    """Exactly the labels, the wave and the node, next to what the template has, and no owner reference."""
    second = config("b", data={"a": "${a.metadata.name}"}, metadata={"labels": {"own": "1"}, "annotations": {"n": "2"}})
    lab.define("Family", [config("a"), second])
    obj = lab.instance("Family")
    lab.await_state("Family")
    common = {
        "kro.run/owned": "true",
        "kro.run/kro-version": "devel",
        "app.kubernetes.io/managed-by": "kro",
        "kro.run/instance-id": obj["metadata"]["uid"],
        "kro.run/instance-name": "one",
        "kro.run/instance-namespace": lab.namespace,
        "kro.run/instance-group": lab.group,
        "kro.run/instance-version": "v1alpha1",
        "kro.run/instance-kind": "Family",
        "applyset.kubernetes.io/part-of": applyset_id(obj),
    }
    first, other = lab.child("ConfigMap", "one-a")["metadata"], lab.child("ConfigMap", "one-b")["metadata"]
    assert first["labels"] == {**common, "kro.run/node-id": "a"}
    # Our own fields, which kro does not write.
    assert first["annotations"].pop("kroasync.io/seal") != other["annotations"].pop("kroasync.io/seal")
    node, wave = "internal.kro.run/node-path", "internal.kro.run/apply-order"
    assert first["annotations"] == {wave: "1", node: "a"}
    assert other["labels"] == {**common, "kro.run/node-id": "b", "own": "1"}
    assert other["annotations"] == {wave: "2", node: "b", "n": "2"}
    assert "ownerReferences" not in first
    assert [m["manager"] for m in first["managedFields"]] == ["kro.run/applyset"]


def test_the_instances_labels_reach_its_children_unless_another_tool_claims_objects_by_them(lab: Lab) -> None:
    lab.define("Inheriting", [config("a", metadata={"labels": {"tier": "template"}})])
    claimed = {
        "argocd.argoproj.io/instance": "x",
        "app.kubernetes.io/instance": "x",
        "kustomize.toolkit.fluxcd.io/name": "x",
        "helm.toolkit.fluxcd.io/name": "x",
        "helm.sh/chart": "x",
        "app.kubernetes.io/managed-by": "Helm",
    }
    lab.instance("Inheriting", labels={"team": "red", "tier": "instance", **claimed})
    lab.await_state("Inheriting")
    labels = lab.child("ConfigMap", "one-a")["metadata"]["labels"]
    assert {k: v for k, v in labels.items() if not k.startswith(("kro.run/", "applyset."))} == {
        "team": "red",
        "tier": "template",
        "app.kubernetes.io/managed-by": "kro",
    }
    lab.edit("Inheriting", metadata={"labels": {"team": "blue"}})
    lab.await_child("ConfigMap", "one-a", lambda obj: obj["metadata"]["labels"].get("team") == "blue")
    lab.edit("Inheriting", metadata={"labels": {"team": None}})
    lab.await_child("ConfigMap", "one-a", lambda obj: "team" not in obj["metadata"]["labels"])


def test_a_changed_or_deleted_child_is_healed_and_what_others_added_stays(lab: Lab) -> None:
    lab.define("Healing", [config("a", data={"x": "1"})])
    lab.instance("Healing")
    lab.await_state("Healing")
    path = lab.child_path("ConfigMap", "one-a")
    lab.cluster.merge(path, {"data": {"x": "2", "theirs": "kept"}, "metadata": {"labels": {"theirs": "kept"}}})
    healed = lab.await_child("ConfigMap", "one-a", lambda obj: obj["data"] == {"x": "1", "theirs": "kept"})
    assert healed["metadata"]["labels"]["theirs"] == "kept"
    lab.cluster.merge(path, {"metadata": {"labels": {"kro.run/node-id": "stolen"}}})
    lab.await_child("ConfigMap", "one-a", lambda obj: obj["metadata"]["labels"]["kro.run/node-id"] == "a")

    lab.cluster.delete(path)
    new = lab.await_child("ConfigMap", "one-a")
    assert new["metadata"]["uid"] != healed["metadata"]["uid"]
    assert new["data"] == {"x": "1"}
    lab.await_state("Healing")
    eventually(lambda: {e["reason"] for e in lab.events()}, lambda reasons: {"Created", "Healed"} & reasons)


def test_a_child_that_lost_the_label_by_which_it_is_watched_gets_it_back(lab: Lab) -> None:
    lab.define("Unlabelled", [config("a")])
    lab.instance("Unlabelled")
    lab.await_state("Unlabelled")
    before = lab.child("ConfigMap", "one-a")
    lost = {"kro.run/owned": None, "kro.run/instance-id": None, "kro.run/node-id": None}
    lab.cluster.merge(lab.child_path("ConfigMap", "one-a"), {"metadata": {"labels": lost}})
    after = lab.await_child("ConfigMap", "one-a", lambda obj: obj["metadata"]["labels"] == before["metadata"]["labels"])
    assert after["metadata"]["uid"] == before["metadata"]["uid"]


def test_an_edited_instance_changes_its_children_and_the_observed_generation(lab: Lab) -> None:
    lab.define(
        "Edited", [config("a", data={"x": "${schema.spec.x}"})], spec={"x": "string"}, status={"x": "${a.data.x}"}
    )
    lab.instance("Edited", spec={"x": "1"})
    lab.await_state("Edited")
    lab.edit("Edited", spec={"x": "2"})
    obj = lab.await_state("Edited")
    assert obj["status"]["x"] == "2"
    assert obj["status"]["observedGeneration"] == obj["metadata"]["generation"] == 2
    assert lab.child("ConfigMap", "one-a")["data"] == {"x": "2"}


def test_an_edited_definition_reaches_every_instance(lab: Lab) -> None:
    """A changed value is applied, a removed field and a removed node are deleted, and a new node is created."""
    lab.define("Carried", [config("a", data={"x": "1", "old": "1"}), config("gone")])
    for name in ("one", "two"):
        lab.instance("Carried", name)
    for name in ("one", "two"):
        lab.await_state("Carried", name)
    lab.define("Carried", [config("a", data={"x": "2"}), config("new")])
    found = lab.await_configs({"one-a", "one-new", "two-a", "two-new"})
    for name in ("one", "two"):
        lab.await_child("ConfigMap", f"{name}-a", lambda obj: obj["data"] == {"x": "2"})
        obj = lab.await_state("Carried", name)
        assert found[f"{name}-new"]["metadata"]["labels"]["kro.run/instance-id"] == obj["metadata"]["uid"]


def test_6_1_exclusion_prunes_the_node_and_what_depends_on_it_and_nothing_else(lab: Lab) -> None:
    optional = config("b", includeWhen=["${schema.spec.on}"])
    dependent = config("c", data={"b": "${b.metadata.name}"})
    status = {"b": "${b.metadata.name}", "a": "${a.metadata.name}"}
    lab.define("Optional", [config("a"), optional, dependent], spec={"on": "boolean | default=true"}, status=status)
    lab.instance("Optional")
    obj = lab.await_state("Optional")
    kept = lab.child("ConfigMap", "one-a")["metadata"]["resourceVersion"]
    assert obj["status"]["b"] == "one-b"

    lab.edit("Optional", spec={"on": False})
    lab.await_configs({"one-a"})
    obj = lab.await_state("Optional")
    assert "b" not in obj["status"]
    assert obj["status"]["a"] == "one-a"
    assert is_true(obj, "Ready")
    lab.edit("Optional", spec={"on": True})
    lab.await_configs({"one-a", "one-b", "one-c"})
    lab.await_state("Optional")
    assert lab.child("ConfigMap", "one-a")["metadata"]["resourceVersion"] == kept


def test_6_1_inclusion_by_the_state_of_another_node(lab: Lab) -> None:
    optional = config("b", includeWhen=['${a.data.?on.orValue("") == "yes"}'])
    lab.define("Watching", [config("a", data={"x": "1"}), optional])
    lab.instance("Watching")
    lab.await_state("Watching")
    path = lab.child_path("ConfigMap", "one-a")
    lab.cluster.merge(path, {"data": {"on": "yes"}})
    lab.await_configs({"one-a", "one-b"})
    lab.cluster.merge(path, {"data": {"on": None}})
    lab.await_configs({"one-a"})


def test_6_3_readiness_gates_dependents_and_the_condition_names_node_expression_and_value(lab: Lab) -> None:
    gate = config("a", data={"n": "1"}, readyWhen=['${a.data.?open.orValue("no") == "yes"}'])
    lab.define("Gated", [gate, config("b", data={"a": "${a.metadata.name}"}), config("free")])
    lab.instance("Gated")
    obj = lab.await_state("Gated", state="IN_PROGRESS", message='node "a" not ready')
    message = condition(obj, "Ready")["message"]
    assert 'a.data.?open.orValue("no") == "yes"' in message
    assert '"no" == "yes" is false' in message
    assert condition(obj, "ResourcesReady")["reason"] == "NotReady"
    assert obj["status"]["phase"] == "Progressing"
    assert is_true(obj, "Progressing")
    assert is_true(obj, "Reconciling")
    assert set(lab.configs()) == {"one-a", "one-free"}

    lab.cluster.merge(lab.child_path("ConfigMap", "one-a"), {"data": {"open": "yes"}})
    obj = lab.await_state("Gated")
    assert set(lab.configs()) == {"one-a", "one-b", "one-free"}
    assert condition(obj, "Reconciling") == {}
    assert condition(obj, "Progressing") == {}

    lab.cluster.merge(lab.child_path("ConfigMap", "one-a"), {"data": {"open": "no"}})
    obj = lab.await_state("Gated", state="IN_PROGRESS")
    assert is_true(obj, "Degraded")
    assert set(lab.configs()) == {"one-a", "one-b", "one-free"}


def test_2_10_status_fields_come_and_go_with_their_data(lab: Lab) -> None:
    """A field exists while all its expressions have a value; other fields do not wait for it."""
    status = {
        "name": "${a.metadata.name}",
        "nested": {"late": "${a.data.?late.orValue('')}", "sum": "${string(size(a.data))}"},
        "text": "${a.data.first}-${a.data.second}",
    }
    lab.define("Reporting", [config("a", data={"first": "1"})], status=status)
    lab.instance("Reporting")
    obj = lab.await_state("Reporting")
    assert obj["status"]["name"] == "one-a"
    assert obj["status"]["nested"] == {"late": "", "sum": "1"}
    assert "text" not in obj["status"]
    path = lab.child_path("ConfigMap", "one-a")
    lab.cluster.merge(path, {"data": {"second": "2", "late": "x"}})
    lab.await_status("Reporting", check=lambda s: s.get("text") == "1-2" and s["nested"] == {"late": "x", "sum": "3"})
    lab.cluster.merge(path, {"data": {"second": None}})
    lab.await_status("Reporting", check=lambda s: "text" not in s and s["name"] == "one-a")


def test_author_conditions_replace_ours(lab: Lab) -> None:
    status = {
        "conditions": [
            '${runtime.newCondition({type: "Stored", status: size(a.data) > 1 ? "True" : "False", '
            'reason: "Keys", message: "keys: " + string(size(a.data))})}',
            '${runtime.newCondition({type: "Ready", status: runtime.condition(schema, "Ready").status, '
            'reason: "Mine", message: ""})}',
        ]
    }
    lab.define("Conditioned", [config("a", data={"x": "1"})], status=status)
    lab.instance("Conditioned")
    obj = lab.await_status("Conditioned", check=lambda s: s.get("state") == "ACTIVE")
    assert sorted(c["type"] for c in obj["status"]["conditions"]) == ["Ready", "Stored"]
    assert condition(obj, "Stored")["status"] == "False"
    assert condition(obj, "Stored")["message"] == "keys: 1"
    assert condition(obj, "Ready")["status"] == "True"
    lab.cluster.merge(lab.child_path("ConfigMap", "one-a"), {"data": {"y": "2"}})
    eventually(lambda: lab.read("Conditioned"), lambda obj: is_true(obj, "Stored"))
    lab.cluster.delete(lab.path("Conditioned"))
    lab.await_gone(lab.path("Conditioned"))


@pytest.mark.parametrize("value", ["suspended", "Disabled"])
def test_a_suspended_instance_leaves_its_children_alone_and_still_deletes(lab: Lab, value: str) -> None:
    spec = {"x": "string"}
    lab.define("Suspended", [config("a", data={"x": "${schema.spec.x}"})], spec=spec, status={"x": "${a.data.x}"})
    lab.instance("Suspended", spec={"x": "1"})
    lab.await_state("Suspended")
    lab.edit("Suspended", metadata={"annotations": {"kro.run/reconcile": value}}, spec={"x": "2"})
    text = "reconciliation suspended via kro.run/reconcile annotation"
    obj = lab.await_status("Suspended", check=lambda s: text in str(s))
    assert condition(obj, "Ready")["reason"] == "ReconciliationSuspended"
    assert obj["status"]["x"] == "1"
    lab.cluster.delete(lab.child_path("ConfigMap", "one-a"))
    assert all(obj == {} for obj in for_a_while(lambda: lab.child("ConfigMap", "one-a")))
    lab.edit("Suspended", metadata={"annotations": {"kro.run/reconcile": None}})
    lab.await_child("ConfigMap", "one-a", lambda obj: obj.get("data") == {"x": "2"})
    lab.await_status("Suspended", check=lambda status: status["x"] == "2")
    lab.edit("Suspended", metadata={"annotations": {"kro.run/reconcile": value}})
    lab.cluster.delete(lab.path("Suspended"))
    lab.await_gone(lab.path("Suspended"))
    assert lab.configs() == {}


def test_two_nodes_that_name_one_object_are_an_error_and_nothing_is_pruned(lab: Lab) -> None:
    resources = [config("a", "${schema.spec.a}"), config("b", "${schema.spec.b}")]
    lab.define("Colliding", resources, spec={"a": "string", "b": "string"})
    lab.instance("Colliding", spec={"a": "x", "b": "y"})
    lab.await_state("Colliding")
    lab.edit("Colliding", spec={"b": "x"})
    text = f'duplicate resource in graph: node "b" conflicts with node "a" for v1/ConfigMap/{lab.namespace}/x'
    obj = lab.await_state("Colliding", state="ERROR", message=text)
    assert condition(obj, "ResourcesReady")["reason"] == "NotReady"
    assert set(lab.configs()) == {"x", "y"}
    foreign = lab.cluster.create(config_map("foreign", lab.namespace, data={"v": "1"}))
    lab.edit("Colliding", spec={"a": "foreign", "b": "foreign"})
    lab.await_state("Colliding", state="ERROR", message=f"ConfigMap/{lab.namespace}/foreign")
    assert lab.child("ConfigMap", "foreign")["metadata"]["resourceVersion"] == foreign["metadata"]["resourceVersion"]
    lab.edit("Colliding", spec={"a": "x", "b": "z"})
    lab.await_configs({"x", "z"})
    lab.await_state("Colliding")


def test_a_child_of_another_instance_is_never_taken(lab: Lab) -> None:
    """For single resources and collection items; after the other instance is deleted, the object is free."""
    many = config("many", "${name}", forEach=[{"name": "${schema.spec.names}"}])
    spec = {"name": "string", "names": "[]string | default=[]"}
    lab.define("Owning", [config("a", "${schema.spec.name}", {"by": "${schema.metadata.name}"}), many], spec=spec)
    first = lab.instance("Owning", "first", {"name": "shared", "names": ["item"]})
    lab.await_state("Owning", "first")
    second = lab.instance("Owning", "second", {"name": "shared"})
    obj = lab.await_state("Owning", "second", "ERROR", message="resource belongs to a different ApplySet")
    assert (
        f'{lab.namespace}/shared (/v1, Kind=ConfigMap) belongs to ApplySet "{applyset_id(first)}", '
        f'cannot reassign to "{applyset_id(second)}"'
    ) in condition(obj, "Ready")["message"]
    lab.instance("Owning", "third", {"name": "third", "names": ["item"]})
    lab.await_state("Owning", "third", "ERROR", message="collection item 0: resource belongs to a different ApplySet")
    assert lab.child("ConfigMap", "shared")["data"] == {"by": "first"}

    lab.cluster.delete(lab.path("Owning", "second"))
    lab.await_gone(lab.path("Owning", "second"))
    assert lab.child("ConfigMap", "shared")["data"] == {"by": "first"}
    lab.cluster.delete(lab.path("Owning", "first"))
    lab.await_gone(lab.path("Owning", "first"))
    lab.await_state("Owning", "third", timeout_s=30)


def test_a_member_of_an_applyset_of_another_tool_is_left_alone(lab: Lab) -> None:
    part = {"applyset.kubernetes.io/part-of": "applyset-of-kubectl-v1"}
    lab.cluster.apply(config_map("one-a", lab.namespace, {"x": "theirs"}, labels=part), manager="kubectl")
    before = lab.child("ConfigMap", "one-a")["metadata"]["resourceVersion"]
    lab.define("Foreigner", [config("a", data={"y": "ours"})])
    lab.instance("Foreigner")
    lab.await_state("Foreigner", state="ERROR", message='belongs to ApplySet "applyset-of-kubectl-v1"')
    assert lab.child("ConfigMap", "one-a")["metadata"]["resourceVersion"] == before
    lab.cluster.delete(lab.path("Foreigner"))
    lab.await_gone(lab.path("Foreigner"))
    assert lab.child("ConfigMap", "one-a")["data"] == {"x": "theirs"}


def test_an_object_that_only_carries_copied_labels_is_neither_pruned_nor_deleted(lab: Lab) -> None:
    """Other operators copy the labels of the objects that they read to the objects that they create."""
    lab.define(
        "Copied", [config("a"), config("b", includeWhen=["${schema.spec.b}"])], spec={"b": "boolean | default=true"}
    )
    lab.instance("Copied")
    lab.await_state("Copied")
    labels = lab.child("ConfigMap", "one-b")["metadata"]["labels"]
    lab.cluster.create(config_map("copy", lab.namespace, labels=labels))
    lab.edit("Copied", spec={"b": False})
    lab.await_configs({"one-a", "copy"})
    lab.await_state("Copied")
    lab.cluster.delete(lab.path("Copied"))
    lab.await_gone(lab.path("Copied"))
    assert set(lab.configs()) == {"copy"}


def test_an_object_that_was_there_before_is_adopted_and_an_event_says_so(lab: Lab) -> None:
    lab.cluster.apply(config_map("one-a", lab.namespace, {"x": "theirs", "y": "kept"}), manager="somebody")
    before = lab.child("ConfigMap", "one-a")["metadata"]["uid"]
    lab.define("Adopting", [config("a", data={"x": "ours"})])
    lab.instance("Adopting")
    lab.await_state("Adopting")
    obj = lab.child("ConfigMap", "one-a")
    assert obj["metadata"]["uid"] == before
    assert obj["data"] == {"x": "ours", "y": "kept"}
    (event,) = eventually(lambda: lab.events(reason="Adopted"))
    assert "somebody" in event["note"]
    lab.cluster.delete(lab.path("Adopting"))
    lab.await_gone(lab.path("Adopting"))
    assert lab.child("ConfigMap", "one-a") == {}


def test_an_object_that_was_there_before_is_adopted_even_if_nothing_of_it_is_taken(lab: Lab) -> None:
    lab.cluster.apply(config_map("one-a", lab.namespace, {"y": "kept"}), manager="somebody")
    lab.define("Joining", [config("a", data={"x": "ours"}), config("b")])
    lab.instance("Joining")
    lab.await_state("Joining")
    assert lab.child("ConfigMap", "one-a")["data"] == {"x": "ours", "y": "kept"}
    (event,) = eventually(lambda: lab.events(reason="Adopted"))
    assert event["note"].startswith(f"adopted ConfigMap {lab.namespace}/one-a, ")
    assert "somebody" in event["note"]
    (ready,) = eventually(lambda: lab.events(reason="Ready"))
    assert f"created ConfigMap {lab.namespace}/one-b;" in ready["note"]


def test_2_6_the_inventory_is_a_superset_first_and_shrinks_after_a_complete_pass(lab: Lab) -> None:
    """A kind is recorded before its first child exists, and removed when no member of it can remain."""
    gate = config("a", data={"n": "1"}, readyWhen=['${a.data.?open.orValue("no") == "yes"}'])
    secret = node(
        "s",
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "${schema.metadata.name}-s-${a.data.n}", "namespace": "default"},
        },
        includeWhen=["${schema.spec.on}"],
    )
    lab.define("Recorded", [gate, secret], spec={"on": "boolean | default=true"})
    lab.instance("Recorded", lab.namespace)
    key = "applyset.kubernetes.io/contains-group-kinds"
    places = "applyset.kubernetes.io/additional-namespaces"
    obj = lab.await_state("Recorded", lab.namespace, "IN_PROGRESS", message='node "a" not ready')
    assert obj["metadata"]["annotations"][key] == "ConfigMap,Secret"
    assert obj["metadata"]["annotations"][places] == "default"
    lab.cluster.merge(lab.child_path("ConfigMap", f"{lab.namespace}-a"), {"data": {"open": "yes"}})
    lab.await_state("Recorded", lab.namespace)
    assert lab.child("Secret", f"{lab.namespace}-s-1", "default") != {}
    lab.edit("Recorded", lab.namespace, spec={"on": False})
    obj = eventually(
        lambda: lab.read("Recorded", lab.namespace), lambda obj: obj["metadata"]["annotations"][key] == "ConfigMap"
    )
    assert obj["metadata"]["annotations"][places] == ""
    id_ = applyset_id(obj)
    recorded = obj["metadata"]["annotations"]["internal.kro.run/applyset-inventory-hash"]
    assert recorded == inventory_hash(id_, "ConfigMap", "")
    assert lab.child("Secret", f"{lab.namespace}-s-1", "default") == {}


def test_values_arrive_as_their_schemas_say(lab: Lab) -> None:
    """Secret data are bytes, ports are ints or strings, and the normalisation of quantities causes no fight."""
    secret = node(
        "secret",
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "${schema.metadata.name}"},
            "data": {"password": "${base64.encode(bytes(schema.spec.password))}"},
        },
    )
    copy = config("copy", data={"password": "${string(secret.data.password)}"})
    service = node(
        "service",
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "${schema.metadata.name}"},
            "spec": {
                "selector": {"a": "b"},
                "ports": [
                    {"name": "number", "port": 80, "targetPort": "${schema.spec.port}"},
                    {"name": "text", "port": 81, "targetPort": "${schema.spec.name}"},
                ],
            },
        },
    )
    job = node(
        "job",
        {
            "apiVersion": "batch/v1",
            "kind": "CronJob",
            "metadata": {"name": "${schema.metadata.name}"},
            "spec": {
                "schedule": "0 0 1 1 *",
                "suspend": True,
                "jobTemplate": {
                    "spec": {
                        "template": {
                            "spec": {
                                "restartPolicy": "Never",
                                "containers": [
                                    {
                                        "name": "c",
                                        "image": "i",
                                        "resources": {"limits": {"memory": "${schema.spec.memory}", "cpu": 1}},
                                    }
                                ],
                            }
                        }
                    }
                },
            },
        },
    )
    spec = {"password": "string", "port": "integer", "name": "string", "memory": "string"}
    lab.define("Typed", [secret, copy, service, job], spec=spec)
    lab.instance("Typed", spec={"password": "sesame", "port": 8080, "name": "http", "memory": "1024Mi"})
    lab.await_state("Typed")
    assert base64.b64decode(lab.child("Secret", "one")["data"]["password"]) == b"sesame"
    assert lab.child("ConfigMap", "one-copy")["data"] == {"password": "sesame"}
    assert [p["targetPort"] for p in lab.child("Service", "one")["spec"]["ports"]] == [8080, "http"]
    assert_settled(lab, "Typed", [("Secret", "one"), ("Service", "one"), ("CronJob", "one")])


def assert_settled(lab: Lab, kind: str, children: list[tuple[str, str]]) -> None:
    """Nothing changes any more, and the controller sends no request."""
    log = Path(lab.cluster.playground.audit_log)
    # The last Event and the server's own writes may still be in progress.
    eventually(lambda: lab.read(kind)["status"]["synced"])
    for _ in for_a_while(lambda: None, seconds=0.4):
        pass
    offset = log.stat().st_size

    def versions() -> list[str]:
        objs = [lab.read(kind), *(lab.child(*child) for child in children)]
        return [obj["metadata"]["resourceVersion"] for obj in objs]

    before = versions()
    assert all(found == before for found in for_a_while(versions, seconds=1.2))
    calls = [
        f"{event['verb']} {event['requestURI']}"
        for event in audited(lab.cluster.playground, user=CONTROLLER, since=offset)
        if lab.group in event["requestURI"] or f"/{lab.namespace}/" in event["requestURI"]
    ]
    assert calls == []


def test_nothing_moves_at_rest(lab: Lab) -> None:
    """No request except watches, and no new resourceVersion, although the API server adds defaults and normalises."""
    definition = yaml.safe_load((WEB_APPLICATION / "resourcegroup.yaml").read_text())
    resources = definition["spec"]["resources"]
    spec = definition["spec"]["schema"]["spec"]
    lab.define("Resting", resources, spec=spec, status={"replicas": "${deployment.status.availableReplicas}"})
    lab.instance("Resting", spec={"name": "rest", "ingress": {"enabled": True}})
    lab.await_state("Resting", timeout_s=40)
    assert_settled(lab, "Resting", [("Deployment", "rest"), ("Service", "rest"), ("Ingress", "rest")])


def test_a_cluster_scoped_instance_has_children_of_both_scopes(lab: Lab) -> None:
    priority = node(
        "priority",
        {
            "apiVersion": "scheduling.k8s.io/v1",
            "kind": "PriorityClass",
            "metadata": {"name": "${schema.metadata.name}"},
            "value": "${schema.spec.value}",
        },
    )
    space = node("space", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "${schema.metadata.name}"}})
    inside = config("inside", "inside", metadata={"namespace": "${space.metadata.name}"})
    lab.define("Wide", [priority, space, inside], spec={"value": "integer"}, scope="Cluster")
    name = f"{lab.namespace}-wide"
    lab.instance("Wide", name, {"value": 7}, namespace=None)
    obj = lab.await_state("Wide", name)
    found = lab.child("PriorityClass", name)
    assert found["value"] == 7
    assert "kro.run/instance-namespace" not in found["metadata"]["labels"]
    assert lab.child("ConfigMap", "inside", name)["metadata"]["labels"][
        "applyset.kubernetes.io/part-of"
    ] == applyset_id(obj)
    annotations = obj["metadata"]["annotations"]
    assert annotations["applyset.kubernetes.io/additional-namespaces"] == name
    assert (
        annotations["applyset.kubernetes.io/contains-group-kinds"]
        == "ConfigMap,Namespace,PriorityClass.scheduling.k8s.io"
    )
    lab.cluster.delete(lab.path("Wide", name))
    lab.await_gone(lab.path("Wide", name), timeout_s=30)
    assert lab.child("PriorityClass", name) == {}
    assert lab.child("Namespace", name) == {}


def test_a_cluster_scoped_instance_must_say_where_its_children_live(lab: Lab) -> None:
    placed = config("a", "a-${schema.metadata.name}", metadata={"namespace": "${schema.spec.?place.orValue('')}"})
    lab.define("Homeless", [placed], spec={"place": "string"}, scope="Cluster")
    lab.instance("Homeless", "h", namespace=None)
    lab.await_state(
        "Homeless", "h", "ERROR", message="must resolve metadata.namespace when the instance is cluster-scoped"
    )
    lab.edit("Homeless", "h", spec={"place": lab.namespace})
    lab.await_state("Homeless", "h")
    lab.cluster.delete(lab.path("Homeless", "h"))
    lab.await_gone(lab.path("Homeless", "h"))


def test_what_the_api_server_refuses_is_told_and_blocks_only_what_depends_on_it(lab: Lab) -> None:
    bad = config("bad", "${schema.spec.name}")
    lab.define(
        "Refused", [bad, config("after", data={"x": "${bad.metadata.name}"}), config("free")], spec={"name": "string"}
    )
    lab.instance("Refused", spec={"name": "Not A Name"})
    obj = lab.await_state("Refused", state="ERROR", message="RFC 1123")
    assert 'node "bad"' in condition(obj, "Ready")["message"]
    assert '"after"' in condition(obj, "Ready")["message"]
    assert is_true(obj, "Stalled")
    assert set(lab.configs()) == {"one-free"}
    eventually(lambda: lab.events(reason="Failed"))
    lab.edit("Refused", spec={"name": "good"})
    lab.await_configs({"good", "one-after", "one-free"})
    lab.await_state("Refused")


def test_an_expression_that_fails_for_one_instance_fails_only_that_one(lab: Lab) -> None:
    lab.define("Dividing", [config("a", data={"x": "${string(10 / schema.spec.by)}"})], spec={"by": "integer"})
    lab.instance("Dividing", "bad", {"by": 0})
    lab.instance("Dividing", "good", {"by": 2})
    lab.await_state("Dividing", "good")
    lab.await_state("Dividing", "bad", "ERROR", message='node "a": failed to evaluate expression')
    assert lab.child("ConfigMap", "good-a")["data"] == {"x": "5"}
    lab.edit("Dividing", "bad", spec={"by": 5})
    lab.await_state("Dividing", "bad")


def test_an_instance_the_schema_forbids_is_refused_by_the_api_server(lab: Lab) -> None:
    lab.define("Strict", [config("a")], spec={"n": "integer | minimum=1", "m": "string | required=true"})
    for spec, text in (({"m": "x", "n": 0}, "spec.n"), ({"n": 1}, "spec.m"), ({"m": 1}, "spec.m")):
        with pytest.raises(RefusedError, match=text):
            lab.instance("Strict", spec=spec)


def test_an_instance_recreated_under_its_name_starts_anew(lab: Lab) -> None:
    lab.define("Again", [config("a", data={"x": "${schema.spec.x}"})], spec={"x": "string"})
    lab.instance("Again", spec={"x": "1"})
    first = lab.await_state("Again")
    lab.cluster.delete(lab.path("Again"))
    lab.await_gone(lab.path("Again"))
    lab.instance("Again", spec={"x": "2"})
    second = lab.await_state("Again")
    assert first["metadata"]["uid"] != second["metadata"]["uid"]
    child = lab.child("ConfigMap", "one-a")
    assert child["data"] == {"x": "2"}
    assert child["metadata"]["labels"]["kro.run/instance-id"] == second["metadata"]["uid"]


def test_instance_data_is_never_scanned_for_expressions(lab: Lab) -> None:
    lab.define("Quoted", [config("a", data={"x": "${schema.spec.x}"})], spec={"x": "string"})
    lab.instance("Quoted", spec={"x": "${schema.metadata.uid} ${1 + "})
    lab.await_state("Quoted")
    assert lab.child("ConfigMap", "one-a")["data"] == {"x": "${schema.metadata.uid} ${1 + "}


def test_a_chain_of_ten_dependents_takes_one_pass(lab: Lab) -> None:
    """Each node reads the previous one; the status is written once, and the state never goes back."""
    chain = [config("n0", data={"x": "0"})]
    chain += [config(f"n{i}", data={"x": f"${{n{i - 1}.data.x + '.{i}'}}"}) for i in range(1, 10)]
    lab.define("Chained", chain, status={"x": "${n9.data.x}"})
    log = Path(lab.cluster.playground.audit_log)
    offset = log.stat().st_size
    lab.instance("Chained")
    obj = lab.await_state("Chained")
    assert obj["status"]["x"] == "0.1.2.3.4.5.6.7.8.9"

    def writes() -> list[Any]:
        found = audited(lab.cluster.playground, user=CONTROLLER, since=offset)
        return [e["requestURI"] for e in found if e["verb"] == "patch" and f"/{lab.namespace}/" in e["requestURI"]]

    seen = eventually(writes, lambda found: any("/status" in uri for uri in found))
    assert len([uri for uri in seen if "/configmaps/" in uri]) == 10
    assert len([uri for uri in seen if "/chaineds/one/status" in uri]) == 1
    assert len(seen) == 12


def test_events_tell_what_changed_once(lab: Lab, cluster: Cluster) -> None:
    lab.define("Telling", [config("a", data={"x": "${schema.spec.x}"})], spec={"x": "string"})
    lab.instance("Telling", spec={"x": "1"})
    lab.await_state("Telling")
    (ready,) = eventually(lambda: lab.events(reason="Ready"))
    assert "one-a" in ready["note"]
    lab.edit("Telling", spec={"x": "2"})
    (updated,) = eventually(lambda: lab.events(reason="Updated"))
    assert "one-a" in updated["note"]
    described = cluster.playground.kubectl("describe", "telling", "one", "-n", lab.namespace)
    assert "Updated" in described
    for _ in for_a_while(lambda: None, seconds=0.3):
        pass
    assert sorted(e["reason"] for e in lab.events()) == ["Ready", "Updated"]


def test_a_node_of_another_name_keeps_its_object(lab: Lab) -> None:
    lab.define("Renamed", [config("a", "thing-${schema.metadata.name}", {"x": "1"})])
    lab.instance("Renamed")
    lab.await_state("Renamed")
    uid = lab.child("ConfigMap", "thing-one")["metadata"]["uid"]
    lab.define("Renamed", [config("b", "thing-${schema.metadata.name}", {"x": "1"})])
    found = lab.await_child("ConfigMap", "thing-one", lambda obj: obj["metadata"]["labels"]["kro.run/node-id"] == "b")
    assert found["metadata"]["uid"] == uid


def test_an_object_that_moves_is_made_there_and_removed_here(lab: Lab) -> None:
    name = f"{lab.namespace}-moving"
    lab.define("Moving", [config("a", name, metadata={"namespace": "${schema.spec.to}"})], spec={"to": "string"})
    lab.instance("Moving", spec={"to": lab.namespace})
    lab.await_state("Moving")
    lab.edit("Moving", spec={"to": "default"})
    lab.await_child("ConfigMap", name, lambda obj: obj == {})
    assert lab.child("ConfigMap", name, "default") != {}
    lab.await_state("Moving")
    lab.cluster.delete(lab.path("Moving"))
    lab.await_gone(lab.path("Moving"))
    assert lab.child("ConfigMap", name, "default") == {}


def test_what_failed_for_a_reason_outside_is_tried_again(lab: Lab) -> None:
    """The namespace does not exist yet: the error says so, and nobody has to change the instance."""
    later = f"{lab.namespace}-later"
    lab.define("Retrying", [config("a", "x", metadata={"namespace": later})])
    lab.instance("Retrying")
    obj = lab.await_state("Retrying", state="ERROR", message=f'namespaces "{later}" not found')
    assert condition(obj, "Stalled") == {}
    lab.cluster.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": later}})
    lab.await_state("Retrying")
    lab.cluster.delete(lab.cluster.path("Namespace", "", later))


def test_a_name_too_long_for_a_label_is_no_error(lab: Lab) -> None:
    lab.define("Long", [config("a", "short")])
    name = "n" * 100
    lab.instance("Long", name)
    lab.await_state("Long", name)
    lab.cluster.delete(lab.child_path("ConfigMap", "short"))
    lab.await_child("ConfigMap", "short")
    lab.cluster.delete(lab.path("Long", name))
    lab.await_gone(lab.path("Long", name))
    assert lab.configs() == {}


def test_metadata_somebody_took_off_the_instance_comes_back(lab: Lab) -> None:
    lab.define("Stripped", [config("a")])
    lab.instance("Stripped")
    before = lab.await_state("Stripped")["metadata"]
    nothing = {
        "finalizers": None,
        "labels": dict.fromkeys(before["labels"]),
        "annotations": dict.fromkeys(before["annotations"]),
    }
    lab.edit("Stripped", metadata=nothing)

    def mine() -> Obj:
        meta = lab.read("Stripped")["metadata"]
        return {field: meta.get(field) for field in ("finalizers", "labels", "annotations")}

    eventually(mine, lambda found: found == {field: before[field] for field in found})


def test_many_quick_edits_end_in_the_last_one(lab: Lab) -> None:
    lab.define("Hasty", [config("a", data={"x": "${string(schema.spec.x)}"})], spec={"x": "integer"})
    lab.instance("Hasty", spec={"x": 0})
    for number in range(1, 60):
        lab.edit("Hasty", spec={"x": number}, metadata={"labels": {"n": str(number)}})
    lab.await_child("ConfigMap", "one-a", lambda obj: obj.get("data") == {"x": "59"})
    obj = lab.await_state("Hasty")
    assert obj["status"]["observedGeneration"] == 60
    assert lab.child("ConfigMap", "one-a")["metadata"]["labels"]["n"] == "59"


def test_an_authors_field_wins_over_ours_of_the_same_name(lab: Lab) -> None:
    """`phase`, `synced` and `observedGeneration` are additions; the controller owns `state` and `conditions`."""
    lab.define("Worded", [config("a", data={"x": "mine"})], status={"phase": "${a.data.x}"})
    lab.instance("Worded")
    obj = lab.await_status("Worded", check=lambda status: status.get("state") == "ACTIVE")
    assert obj["status"]["phase"] == "mine"


def test_a_definition_may_lose_and_gain_whole_kinds(lab: Lab) -> None:
    secret = node("s", {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "${schema.metadata.name}-s"}})
    lab.define("Kinds", [config("a"), secret])
    lab.instance("Kinds")
    lab.await_state("Kinds")
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "${schema.metadata.name}-x"}}
    lab.define("Kinds", [config("a"), node("x", account)])
    lab.await_child("Secret", "one-s", lambda obj: obj == {})
    lab.await_child("ServiceAccount", "one-x")
    key = "applyset.kubernetes.io/contains-group-kinds"
    expected = "ConfigMap,ServiceAccount"
    eventually(lambda: lab.read("Kinds")["metadata"]["annotations"][key], lambda found: found == expected)


def test_a_definition_may_read_more_of_its_children_later(lab: Lab) -> None:
    """The caches do not keep a field that no expression reads; when an expression reads it, the field is there."""
    lab.define("Curious", [config("a", data={"x": "1"})])
    lab.instance("Curious")
    lab.await_state("Curious")
    status = {"x": "${a.data.x}", "managers": "${a.metadata.labels['kro.run/node-id']}"}
    lab.define("Curious", [config("a", data={"x": "1"}), config("b", data={"y": "${a.data.x}"})], status=status)
    lab.await_status("Curious", check=lambda s: (s.get("x"), s.get("managers")) == ("1", "a"))
    assert lab.child("ConfigMap", "one-b")["data"] == {"y": "1"}


def test_a_definition_may_mend_what_never_became_ready(lab: Lab) -> None:
    lab.define("Mending", [config("a", data={"x": "1"}, readyWhen=['${a.data.x == "2"}']), config("b")])
    lab.instance("Mending")
    lab.await_state("Mending", state="IN_PROGRESS", message='"1" == "2" is false')
    lab.define("Mending", [config("a", data={"x": "2"}, readyWhen=['${a.data.x == "2"}']), config("b")])
    lab.await_state("Mending")


def test_many_instances_come_and_go_without_a_trace(lab: Lab) -> None:
    """The instances are created, and deleted in any state."""
    lab.define("Crowd", [config("a"), config("b", data={"x": "${a.metadata.uid}"})])
    names = [f"i{n:03}" for n in range(100)]
    for name in names:
        lab.instance("Crowd", name)
        if name.endswith("5"):
            lab.cluster.delete(lab.path("Crowd", name))
    rest = [name for name in names if not name.endswith("5")]
    for name in rest:
        lab.await_state("Crowd", name, timeout_s=30)
    lab.await_configs({f"{name}-{id_}" for name in rest for id_ in "ab"})
    lab.cluster.call("DELETE", lab.path("Crowd", "x").rpartition("/")[0])
    eventually(
        lambda: lab.cluster.list(lab.path("Crowd", "x").rpartition("/")[0]), lambda found: found == [], timeout_s=30
    )
    assert lab.configs() == {}
