"""What kro 0.10 adds to definitions: plural, rules for names, open selectors, more classes of CRD changes."""

from __future__ import annotations

import pytest

from tests.integration.cluster import (
    Lab,
    Obj,
    RefusedError,
    condition,
    config,
    config_map,
    eventually,
)

pytestmark = pytest.mark.integration


def crd_path(lab: Lab, plural: str) -> str:
    return lab.cluster.path("CustomResourceDefinition", "", f"{plural}.{lab.group}")


def test_a_plural_names_the_resource_and_stays(lab: Lab) -> None:
    obj = lab.define("PodInfo", [config("a")], plural="podinfos")
    crd = lab.cluster.call("GET", crd_path(lab, "podinfos"))
    assert crd["spec"]["names"] | {} == {
        "kind": "PodInfo",
        "listKind": "PodInfoList",
        "plural": "podinfos",
        "singular": "podinfo",
    }
    lab.instance("PodInfo")
    assert "/podinfos/" in lab.path("PodInfo")
    lab.await_state("PodInfo")
    revision = lab.cluster.list(lab.cluster.path("GraphRevision"))
    mine = [r for r in revision if r["spec"]["snapshot"]["name"] == obj["metadata"]["name"]]
    assert [r["spec"]["snapshot"]["spec"]["schema"]["plural"] for r in mine] == ["podinfos"]
    path = lab.cluster.path_of(obj)
    with pytest.raises(RefusedError, match="plural is immutable"):
        lab.cluster.merge(path, {"spec": {"schema": {"plural": "podinfoz"}}})
    with pytest.raises(RefusedError, match=r"spec\.schema\.plural"):
        lab.cluster.create(lab.definition("Capital", [config("a")], plural="Capitals"))

    # Taken away, the plural would follow from the kind: the API server allows that, and the kind stays what it is.
    lab.cluster.merge(path, {"spec": {"schema": {"plural": None}}})
    lab.await_definition(obj["metadata"]["name"], "Inactive", message="served by the CRD podinfos")
    assert lab.cluster.read(crd_path(lab, "podinfoes")) is None
    lab.instance("PodInfo", "two")
    lab.await_state("PodInfo", "two")
    lab.cluster.merge(path, {"spec": {"schema": {"plural": "podinfos"}}})
    lab.await_definition(obj["metadata"]["name"])


def test_the_api_server_refuses_names_against_the_rules(lab: Lab) -> None:
    rules = r'minLength=3 maxLength=8 pattern="^[a-z]+$" validation="self != \"forbidden\" && !self.startsWith(\"x\")"'
    lab.define("Named", [config("a")], metadata={"nameValidation": rules})
    for name, text in (
        ("ab", "metadata.name"),
        ("abcdefghi", "metadata.name"),
        ("abc-d", "metadata.name"),
        ("xyz", "metadata.name"),
    ):
        with pytest.raises(RefusedError, match=text):
            lab.instance("Named", name)
    lab.instance("Named", "abc")
    lab.await_state("Named", "abc")

    # The CRD is as declared: a pass over a definition that says the same of it writes nothing.
    lab.define("Named", [config("a"), config("b")], metadata={"nameValidation": rules})
    assert lab.cluster.call("GET", crd_path(lab, "nameds"))["metadata"]["generation"] == 1

    tighter = lab.definition("Named", [config("a")], metadata={"nameValidation": "minLength=4"})
    lab.submit(tighter)
    found = lab.await_definition(tighter["metadata"]["name"], "Inactive", message="MinLength was increased from 3 to 4")
    assert condition(found, "KindReady")["reason"] == "Failed"
    tighter["metadata"]["annotations"] = {"kro.run/allow-breaking-changes": "true"}
    lab.define_object(tighter)
    with pytest.raises(RefusedError, match=r"metadata\.name"):
        lab.instance("Named", "xyz")
    # What is there stays, and can go: the controller takes off its finalizer.
    lab.cluster.delete(lab.path("Named", "abc"))
    lab.await_gone(lab.path("Named", "abc"))

    wrong = lab.definition("Wrong", [config("a")], metadata={"nameValidation": "string | maxLength=30"})
    lab.submit(wrong)
    lab.await_definition(wrong["metadata"]["name"], "Inactive", message="invalid marker key")


def test_conditions_are_a_map_by_type(lab: Lab) -> None:
    obj = lab.define("Mapped", [config("a")])
    twice: list[Obj] = [{"type": "Ready", "status": status} for status in ("True", "False")]
    for path in (
        lab.cluster.path_of(obj),
        lab.cluster.path("GraphRevision", "", f"{obj['metadata']['name']}-r00001"),
    ):
        with pytest.raises(RefusedError, match="Duplicate value"):
            lab.cluster.merge(f"{path}/status?dryRun=All", {"status": {"conditions": twice}})


def test_a_new_enum_breaks_and_new_columns_do_not(lab: Lab) -> None:
    name = lab.define("Compared", [config("a")], spec={"mode": "string"})["metadata"]["name"]
    column = {"name": "Mode", "type": "string", "jsonPath": ".spec.mode"}
    lab.define("Compared", [config("a")], spec={"mode": "string"}, additionalPrinterColumns=[column])
    (version,) = lab.cluster.call("GET", crd_path(lab, "compareds"))["spec"]["versions"]
    assert version["additionalPrinterColumns"] == [column]
    lab.submit(lab.definition("Compared", [config("a")], spec={"mode": 'string | enum="a,b"'}))
    lab.await_definition(name, "Inactive", message='breaking changes detected: Enum constraint "a", "b" was added')
    (version,) = lab.cluster.call("GET", crd_path(lab, "compareds"))["spec"]["versions"]
    assert version["additionalPrinterColumns"] == [column]


def test_a_selector_that_an_instance_supplies(lab: Lab) -> None:
    found: Obj = {
        "id": "found",
        "externalRef": {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"namespace": "${schema.metadata.namespace}", "selector": "${schema.spec.selector}"},
        },
    }
    reading = config("a", data={"names": "${found.map(f, f.metadata.name).join(',')}"})
    lab.define("Selecting", [found, reading], spec={"selector": "object"})
    for name in ("x", "y"):
        lab.cluster.create(
            config_map(name, lab.namespace, {})
            | {"metadata": {"name": name, "namespace": lab.namespace, "labels": {"app": name}}}
        )
    lab.instance("Selecting", spec={"selector": {"matchLabels": {"app": "x"}}})
    lab.await_child("ConfigMap", "one-a", lambda obj: obj.get("data") == {"names": "x"})
    lab.edit("Selecting", spec={"selector": {"matchLabels": None, "matchLabel": {"app": "y"}}})
    message = 'invalid label selector for found: unknown field "matchLabel", expected matchLabels or matchExpressions'
    lab.await_state("Selecting", state="ERROR", message=message)
    assert lab.child("ConfigMap", "one-a")["data"] == {"names": "x"}
    lab.edit(
        "Selecting", spec={"selector": {"matchLabel": None, "matchExpressions": [{"key": "app", "operator": "Exists"}]}}
    )
    lab.await_child("ConfigMap", "one-a", lambda obj: obj.get("data") == {"names": "x,y"})


def test_neither_name_nor_selector_is_refused_by_the_controller(lab: Lab) -> None:
    for number, metadata in enumerate(({}, {"name": "a", "selector": {}}, {"selector": {"app": "web"}})):
        reference: Obj = {"id": "ext", "externalRef": {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}}
        obj = lab.definition(f"Either{number}", [reference])
        lab.submit(obj)
        text = "exactly one of name or selector must be provided" if number < 2 else 'unknown field "app"'
        lab.await_definition(obj["metadata"]["name"], "Inactive", message=text)


def test_an_id_above_63_characters(lab: Lab) -> None:
    id_ = "a" * 70
    lab.define("Long", [config(id_, "${schema.metadata.name}-long")])
    lab.instance("Long")
    lab.await_state("Long")
    labels = lab.child("ConfigMap", "one-long")["metadata"]["labels"]
    assert 0 < len(labels["kro.run/node-id"]) <= 63
    lab.cluster.delete(lab.path("Long"))
    lab.await_gone(lab.path("Long"))
    eventually(lambda: lab.child("ConfigMap", "one-long"), lambda obj: not obj, what="the child is gone")
