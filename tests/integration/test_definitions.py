"""Definitions (runtime.md 1, graph.md 3): checks, waits, refusals and CRDs; a definition does not disturb others."""

from __future__ import annotations

import pytest
import yaml

from kroasync.playground import CommandError
from tests.integration.cluster import Lab, Obj, condition, config, eventually, for_a_while, is_true, node

pytestmark = pytest.mark.integration


def crd_path(lab: Lab, plural: str) -> str:
    return lab.cluster.path("CustomResourceDefinition", "", f"{plural}.{lab.group}")


def foreign_crd(group: str, kind: str, *, labels: dict[str, str] | None = None) -> Obj:
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    spec_schema = {"type": "object", "properties": {"size": {"type": "integer"}}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{kind.lower()}s.{group}", "labels": labels or {}},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {"kind": kind, "plural": f"{kind.lower()}s", "singular": kind.lower()},
            "versions": [
                {
                    "name": "v1alpha1",
                    "served": True,
                    "storage": True,
                    "schema": {
                        "openAPIV3Schema": {"type": "object", "properties": {"spec": spec_schema, "status": schema}}
                    },
                }
            ],
        },
    }


def test_1_2_the_status_of_an_accepted_definition(lab: Lab) -> None:
    obj = lab.define("Accepted", [config("b", data={"a": "${a.metadata.name}"}), config("a")])
    status = obj["status"]
    assert status["state"] == "Active"
    assert status["topologicalOrder"] == ["a", "b"]
    assert status["resources"] == [{"id": "b", "dependencies": [{"id": "a"}]}]
    assert status["lastIssuedRevision"] == 1
    told = {c["type"]: (c["status"], c["reason"], c["message"], c["observedGeneration"]) for c in status["conditions"]}
    assert told == {
        "GraphRevisionsResolved": ("True", "Resolved", "revision 1 compiled and active", 1),
        "GraphAccepted": ("True", "Valid", "resource graph and schema are valid", 1),
        "KindReady": ("True", "Ready", "kind Accepted has been accepted and ready", 1),
        "ControllerReady": ("True", "Running", "controller is running", 1),
        "Ready": ("True", "Ready", "", 1),
    }
    assert obj["metadata"]["finalizers"] == ["kro.run/finalizer"]
    assert "labels" not in obj["metadata"]


def test_3_1_the_generated_crd(lab: Lab) -> None:
    name = lab.namespace.replace("-", "")
    definition = lab.define(
        "Generated",
        [config("a")],
        spec={
            "size": 'integer | default=3 minimum=1 description="How many."',
            "tags": "[]string",
            "name": "string | required=true",
        },
        status={"where": "${a.metadata.namespace}", "n": "${size(a.metadata.labels)}"},
        shortNames=[name],
        categories=["everything"],
        metadata={"labels": {"mine": "1"}, "annotations": {"note": "2"}},
        additionalPrinterColumns=[{"name": "Size", "type": "integer", "jsonPath": ".spec.size"}],
    )
    crd = lab.cluster.call("GET", crd_path(lab, "generateds"))
    assert crd["metadata"]["labels"] == {
        "mine": "1",
        "kro.run/owned": "true",
        "kro.run/kro-version": "devel",
        "kro.run/resource-graph-definition-id": definition["metadata"]["uid"],
        "kro.run/resource-graph-definition-name": definition["metadata"]["name"],
    }
    assert crd["metadata"]["annotations"]["note"] == "2"
    assert crd["spec"]["names"] == {
        "kind": "Generated",
        "listKind": "GeneratedList",
        "plural": "generateds",
        "singular": "generated",
        "shortNames": [name],
        "categories": ["everything"],
    }
    (version,) = crd["spec"]["versions"]
    assert (version["name"], version["served"], version["storage"]) == ("v1alpha1", True, True)
    assert [c["name"] for c in version["additionalPrinterColumns"]] == ["Size"]
    properties = version["schema"]["openAPIV3Schema"]["properties"]
    size = {"type": "integer", "default": 3, "minimum": 1, "description": "How many."}
    assert properties["spec"]["properties"]["size"] == size
    assert properties["spec"]["required"] == ["name"]
    assert properties["status"]["properties"]["where"] == {"type": "string"}
    assert properties["status"]["properties"]["n"] == {"type": "integer"}
    lab.instance("Generated", spec={"name": "x"})
    obj = lab.await_state("Generated")
    assert obj["spec"] == {"name": "x", "size": 3}
    assert lab.cluster.playground.kubectl("get", name, "-n", lab.namespace).splitlines()[0].split() == ["NAME", "SIZE"]


def test_a_refused_definition_says_everything_at_once_while_others_go_on(lab: Lab) -> None:
    lab.define("Serving", [config("a")])
    bad = lab.definition(
        "Broken",
        [
            config("a", data={"x": "${b.metadata.name}", "y": "${nothing.metadata.name}"}),
            config("b", data={"x": "${schema.spec.sise}", "y": "${a.metadata.name + }"}),
        ],
        spec={"size": "integer"},
    )
    lab.submit(bad)
    obj = lab.await_definition(bad["metadata"]["name"], "Inactive", message="nothing")
    message = condition(obj, "GraphAccepted")["message"]
    assert condition(obj, "GraphAccepted")["reason"] == "InvalidResourceGraph"
    assert condition(obj, "Ready")["message"] == message
    for part in ("spec.resources[0].template.data.y", "spec.resources[1].template.data.y"):
        assert part in message
    assert obj["status"]["topologicalOrder"] == []
    assert lab.cluster.read(crd_path(lab, "brokens")) is None
    lab.instance("Serving")
    lab.await_state("Serving", timeout_s=5)

    lab.define(
        "Broken", [config("a"), config("b", data={"x": "${string(schema.spec.size)}"})], spec={"size": "integer"}
    )
    lab.cluster.delete(lab.cluster.path("ResourceGraphDefinition", "", bad["metadata"]["name"]))
    lab.await_gone(lab.cluster.path("ResourceGraphDefinition", "", bad["metadata"]["name"]))


def test_a_misspelt_policy_is_refused_although_the_api_server_takes_it(lab: Lab) -> None:
    """A client without strict validation would lose it silently, if the CRD dropped it."""
    wrong = {"deletoin": "Orphan", "conflicts": "yield", "maxPrune": "120%"}
    obj = lab.definition("Misspelt", [config("a", policy=wrong)])
    obj["spec"]["policy"] = {"udpate": "Once"}
    lab.submit(obj)
    found = lab.await_definition(obj["metadata"]["name"], "Inactive", message="deletoin")
    message = condition(found, "GraphAccepted")["message"]
    for part in ("deletion", "Yield", "spec.resources[0].policy.maxPrune", "spec.policy.udpate"):
        assert part in message


def test_the_revision_of_a_definition_has_its_policies(lab: Lab) -> None:
    policy = {"deletion": '${schema.spec.keep ? "Orphan" : "Delete"}', "update": "Once", "maxPrune": 5}
    each = [{"name": "${schema.spec.names}"}]
    policies = {"policy": policy, "externalFields": ["data"]}
    resource = config("a", name="${name}", data={"x": "1"}, forEach=each, **policies)
    obj = lab.definition("Declared", [resource], spec={"keep": "boolean", "names": "[]string"})
    obj["spec"]["policy"] = {"conflicts": "Fail", "maxPrune": "20%"}
    lab.define_object(obj)
    snapshots = [revision["spec"]["snapshot"] for revision in lab.cluster.list(lab.cluster.path("GraphRevision"))]
    (kept,) = [snapshot["spec"] for snapshot in snapshots if snapshot["name"] == obj["metadata"]["name"]]
    assert kept["policy"] == obj["spec"]["policy"]
    assert kept["resources"] == [resource]


def test_kubectl_explains_the_policies(lab: Lab) -> None:
    for owner in ("spec", "spec.resources"):
        text = lab.cluster.playground.kubectl("explain", f"resourcegraphdefinition.{owner}.policy.deletion")
        assert "Orphan" in text


def test_a_cycle_is_refused_with_the_cycle(lab: Lab) -> None:
    ring = [
        config("a", data={"x": "${c.metadata.name}"}),
        config("b", data={"x": "${a.metadata.name}"}),
        config("c", data={"x": "${b.metadata.name}"}),
    ]
    lab.submit(lab.definition("Ring", ring))
    obj = lab.await_definition(lab.definition_name("Ring"), "Inactive", message="cycle")
    message = condition(obj, "GraphAccepted")["message"]
    assert any(f"{x} -> {y} -> {z} -> {x}" in message for x, y, z in ("abc", "bca", "cab", "acb", "bac", "cba"))


def test_a_kind_that_does_not_exist_yet_is_waited_for(lab: Lab) -> None:
    template = {
        "apiVersion": f"{lab.group}/v1alpha1",
        "kind": "Later",
        "metadata": {"name": "${schema.metadata.name}"},
        "spec": {"size": "${schema.spec.size}"},
    }
    lab.submit(lab.definition("Waiting", [node("later", template)], spec={"size": "integer | default=1"}))
    obj = lab.await_definition(lab.definition_name("Waiting"), "Inactive", message="Later")
    accepted = condition(obj, "GraphAccepted")
    assert accepted["reason"] == "WaitingForKind"
    assert "schema not found" in accepted["message"]
    crd = lab.cluster.create(foreign_crd(lab.group, "Later"))
    lab.await_definition(lab.definition_name("Waiting"), timeout_s=5)
    lab.instance("Waiting")
    lab.await_state("Waiting")
    lab.cluster.delete(lab.cluster.path_of(crd))


def test_definition_and_instance_in_one_kubectl_apply(lab: Lab) -> None:
    """The kind does not exist when kubectl first sends the instance; a second apply succeeds, and nothing is stuck."""
    definition = lab.definition("Together", [config("a")])
    lab.definitions.append(definition["metadata"]["name"])
    instance = {
        "apiVersion": f"{lab.group}/v1alpha1",
        "kind": "Together",
        "metadata": {"name": "one", "namespace": lab.namespace},
        "spec": {},
    }
    text = yaml.safe_dump_all([definition, instance])

    def refusal() -> str:
        try:
            lab.cluster.playground.kubectl("apply", "-f", "-", input=text)
        except CommandError as error:
            return str(error)
        return ""

    first = refusal()
    assert first == "" or "no matches for kind" in first or "could not find the requested resource" in first
    eventually(refusal, lambda text: text == "")
    lab.await_state("Together")


def test_a_crd_of_somebody_else_is_never_touched(lab: Lab) -> None:
    crd = lab.cluster.create(foreign_crd(lab.group, "Foreign"))
    path = lab.cluster.path_of(crd)
    eventually(lambda: is_true(lab.cluster.read(path) or {}, "Established"))
    before = (lab.cluster.read(path) or {})["spec"]
    lab.submit(lab.definition("Foreign", [config("a")]))
    obj = lab.await_definition(lab.definition_name("Foreign"), "Inactive", message="not owned by KRO")
    assert condition(obj, "KindReady")["status"] == "False"
    assert condition(obj, "KindReady")["reason"] == "Failed"
    assert (lab.cluster.read(path) or {})["spec"] == before
    # After its deletion, the definition takes over without further action.
    lab.cluster.delete(path)
    lab.await_definition(lab.definition_name("Foreign"))


def test_a_kind_of_another_definition_is_never_taken(lab: Lab) -> None:
    lab.define("Contested", [config("a", data={"by": "first"})])
    second = lab.definition("Contested", [config("a", data={"by": "second"})], name=f"second.{lab.group}")
    lab.submit(second)
    obj = lab.await_definition(f"second.{lab.group}", "Inactive", message="owned by another ResourceGraphDefinition")
    assert condition(obj, "KindReady")["status"] == "False"
    lab.instance("Contested")
    lab.await_state("Contested")
    assert lab.child("ConfigMap", "one-a")["data"] == {"by": "first"}
    lab.cluster.delete(lab.cluster.path("ResourceGraphDefinition", "", f"second.{lab.group}"))
    lab.await_gone(lab.cluster.path("ResourceGraphDefinition", "", f"second.{lab.group}"))
    lab.edit("Contested", metadata={"labels": {"still": "served"}})
    lab.await_child("ConfigMap", "one-a", lambda obj: obj["metadata"]["labels"].get("still") == "served")
    assert lab.cluster.read(crd_path(lab, "contesteds")) is not None


def test_definitions_of_one_name_do_not_fight_over_a_kind(lab: Lab) -> None:
    """A ResourceGraphDefinition and a ResourceGroup may share their name; labels of a CRD do not distinguish them."""
    first = lab.define("Twin", [config("a")])
    second = lab.definition("Twin", [config("b")])
    second["kind"], second["metadata"]["namespace"] = "ResourceGroup", lab.namespace
    applied = lab.cluster.apply(second)
    path = lab.cluster.path_of(applied)
    obj = eventually(
        lambda: lab.cluster.read(path) or {}, lambda obj: condition(obj, "KindReady").get("reason") == "Failed"
    )
    assert "owned by another ResourceGraphDefinition" in condition(obj, "KindReady")["message"]
    version = lab.cluster.call("GET", crd_path(lab, "twins"))["metadata"]["resourceVersion"]
    looks = for_a_while(lambda: lab.cluster.call("GET", crd_path(lab, "twins")), seconds=0.3)
    assert all(crd["metadata"]["resourceVersion"] == version for crd in looks)
    # The first one is deleted with its CRD, and the other one takes over.
    lab.cluster.delete(lab.cluster.path_of(first))
    eventually(lambda: lab.cluster.read(path) or {}, lambda obj: is_true(obj, "Ready"), timeout_s=30)
    lab.instance("Twin")
    lab.await_configs({"one-b"})
    lab.cluster.delete(lab.path("Twin"))
    lab.await_gone(lab.path("Twin"))
    lab.cluster.delete(path)


def test_3_4_a_breaking_change_is_refused_until_the_annotation_allows_it(lab: Lab) -> None:
    lab.define("Changing", [config("a", data={"x": "${schema.spec.x}"})], spec={"x": "string", "y": "string"})
    lab.instance("Changing", spec={"x": "1", "y": "2"})
    lab.await_state("Changing")
    changed = lab.definition("Changing", [config("a", data={"z": "${schema.spec.x}"})], spec={"x": "string"})
    lab.submit(changed)
    obj = lab.await_definition(changed["metadata"]["name"], "Inactive", message="breaking changes detected")
    assert "Property y was removed" in condition(obj, "KindReady")["message"]
    lab.instance("Changing", "two", {"x": "1"})
    lab.await_state("Changing", "two")
    changed["metadata"]["annotations"] = {"kro.run/allow-breaking-changes": "true"}
    lab.define_object(changed)
    version = lab.cluster.call("GET", crd_path(lab, "changings"))["spec"]["versions"][0]
    assert list(version["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]) == ["x"]
    lab.await_child("ConfigMap", "one-a", lambda obj: obj["data"] == {"z": "1"})


def test_a_compatible_change_reaches_the_crd(lab: Lab) -> None:
    lab.define("Evolving", [config("a")], spec={"x": "string"})
    columns = [{"name": "X", "type": "string", "jsonPath": ".spec.x"}]
    lab.define(
        "Evolving", [config("a")], spec={"x": "string", "y": "integer | default=7"}, additionalPrinterColumns=columns
    )
    version = lab.cluster.call("GET", crd_path(lab, "evolvings"))["spec"]["versions"][0]
    assert set(version["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]) == {"x", "y"}
    assert [c["name"] for c in version["additionalPrinterColumns"]] == ["X"]
    lab.instance("Evolving", spec={"x": "1"})
    assert lab.await_state("Evolving")["spec"] == {"x": "1", "y": 7}


def test_an_edited_or_deleted_crd_is_repaired(lab: Lab) -> None:
    lab.define("Repaired", [config("a", data={"x": "${schema.spec.x}"})], spec={"x": "string"})
    path = crd_path(lab, "repaireds")
    crd = lab.cluster.call("GET", path)
    version = crd["spec"]["versions"][0]
    del version["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["x"]
    lab.cluster.merge(path, {"spec": {"versions": [version]}})

    def fields() -> Obj:
        found = lab.cluster.read(path)
        if found is None or not is_true(found, "Established"):
            return {}
        spec = found["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
        return dict(spec.get("properties", {}))

    eventually(fields)
    lab.cluster.merge(path, {"metadata": {"labels": {"kro.run/kro-version": "other"}}})
    eventually(
        lambda: lab.cluster.call("GET", path)["metadata"]["labels"],
        lambda found: found["kro.run/kro-version"] == "devel",
    )
    lab.instance("Repaired", spec={"x": "1"})
    lab.await_state("Repaired")

    uid = crd["metadata"]["uid"]
    lab.cluster.delete(path)
    eventually(lambda: lab.cluster.read(path), lambda found: found and found["metadata"]["uid"] != uid)
    eventually(fields)
    lab.await_definition(lab.definition_name("Repaired"))
    lab.instance("Repaired", "after", {"x": "2"})
    lab.await_state("Repaired", "after")
    assert lab.configs().keys() == {"after-a"}


def test_a_definition_deleted_with_its_crd_and_created_again(lab: Lab) -> None:
    """The UID changes: the labels of CRD, instances and children follow it, and nothing is created twice."""
    first = lab.define("Reborn", [config("a")])
    lab.instance("Reborn")
    lab.await_state("Reborn")
    lab.cluster.delete(lab.cluster.path_of(first))
    lab.await_gone(crd_path(lab, "reborns"))
    assert lab.configs() == {}
    second = lab.define("Reborn", [config("a")])
    assert second["metadata"]["uid"] != first["metadata"]["uid"]
    labels = lab.cluster.call("GET", crd_path(lab, "reborns"))["metadata"]["labels"]
    assert labels["kro.run/resource-graph-definition-id"] == second["metadata"]["uid"]
    lab.instance("Reborn")
    obj = lab.await_state("Reborn")
    assert obj["metadata"]["labels"]["kro.run/resource-graph-definition-id"] == second["metadata"]["uid"]


def test_a_definition_replaced_while_its_crd_stays(lab: Lab) -> None:
    """With the same name and another UID, it adopts the CRD, and the instances stay unchanged."""
    first = lab.define("Replaced", [config("a")])
    lab.instance("Replaced")
    lab.await_state("Replaced")
    child = lab.child("ConfigMap", "one-a")["metadata"]["uid"]
    # Without our finalizer, and with another one, the controller does not see the deletion, as if it had been down.
    lab.controller.stop()
    try:
        path = lab.cluster.path_of(first)
        lab.cluster.merge(path, {"metadata": {"finalizers": None}})
        lab.cluster.delete(path)
        lab.await_gone(path)
        lab.submit(lab.definition("Replaced", [config("a")]))
    finally:
        lab.controller.start()
        lab.controller.wait_ready()
    second = lab.await_definition(lab.definition_name("Replaced"))
    assert second["metadata"]["uid"] != first["metadata"]["uid"]
    eventually(
        lambda: lab.read("Replaced")["metadata"]["labels"],
        lambda labels: labels["kro.run/resource-graph-definition-id"] == second["metadata"]["uid"],
    )
    lab.await_state("Replaced")
    assert lab.child("ConfigMap", "one-a")["metadata"]["uid"] == child


def test_a_status_only_change_of_a_definition_issues_nothing(lab: Lab) -> None:
    definition = lab.define("Quiet", [config("a")])
    path = lab.cluster.path_of(definition)
    lab.cluster.merge(path, {"metadata": {"labels": {"mine": "1"}}})
    version = (lab.cluster.read(path) or {})["metadata"]["resourceVersion"]
    looks = for_a_while(lambda: lab.cluster.read(path) or {}, seconds=0.5)
    assert all(obj["metadata"]["resourceVersion"] == version for obj in looks)


def test_a_definition_name_above_63_characters_works(lab: Lab) -> None:
    name = f"a-definition-with-quite-a-long-name-that-is-a-valid-subdomain-all-the-same.{lab.group}"
    assert len(name) > 63
    lab.define("LongNamed", [config("a")], name=name)
    lab.instance("LongNamed")
    lab.await_state("LongNamed")
    lab.cluster.delete(lab.path("LongNamed"))
    lab.await_gone(lab.path("LongNamed"))
