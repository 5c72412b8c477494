"""The live part of the validation catalogue (graph.md 9.9): the API server's refusals and the controller's answers."""

from __future__ import annotations

from typing import Any

import pytest

from tests.integration.cluster import Lab, Obj, RefusedError, condition, config

pytestmark = pytest.mark.integration

REFUSED_SCHEMAS: dict[str, tuple[Obj, str]] = {
    "short name in capitals": ({"shortNames": ["WA"]}, "shortNames"),
    "short name twice": ({"shortNames": ["wa", "wa"]}, "shortNames"),
    "short name of 64 letters": ({"shortNames": ["a" * 64]}, "shortNames"),
    "category in capitals": ({"categories": ["Kro"]}, "categories"),
    "category twice": ({"categories": ["platform", "platform"]}, "categories"),
    "kind with a small letter first": ({"kind": "testResource"}, "kind"),
    "kind with an underscore": ({"kind": "Test_Resource"}, "kind"),
    "kind with a dash": ({"kind": "Test-Resource"}, "kind"),
    "kind with a digit first": ({"kind": "123Test"}, "kind"),
    "kind with a dot": ({"kind": "Test.Resource"}, "kind"),
    "kind with a mark": ({"kind": "Test!"}, "kind"),
    "kind of 70 letters": ({"kind": "A" * 70}, "kind"),
    "version that is none": ({"apiVersion": "1alpha"}, "apiVersion"),
    "scope that is none": ({"scope": "Galaxy"}, "scope"),
}


@pytest.mark.parametrize("case", REFUSED_SCHEMAS)
def test_the_api_server_refuses(lab_of_catalogue: Lab, case: str) -> None:
    change, text = REFUSED_SCHEMAS[case]
    obj = lab_of_catalogue.definition("Good", [config("a")])
    obj["spec"]["schema"].update(change)
    with pytest.raises(RefusedError, match=text):
        lab_of_catalogue.cluster.create(obj)


def test_kind_group_version_and_scope_are_immutable(lab: Lab) -> None:
    obj = lab.define("Fixed", [config("a")])
    path = lab.cluster.path_of(obj)
    for field, value in (("kind", "Other"), ("group", "x.example.com"), ("apiVersion", "v1"), ("scope", "Cluster")):
        with pytest.raises(RefusedError, match=f"{field} is immutable"):
            lab.cluster.merge(path, {"spec": {"schema": {field: value}}})


def template(**change: Any) -> Obj:
    made: Obj = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "${schema.metadata.name}"}, **change}
    return {"id": "a", "template": {key: value for key, value in made.items() if value is not None}}


def each(iterator: str, over: str, id_: str = "a") -> Obj:
    return config(id_, f"${{string({iterator})}}", forEach=[{iterator: f"${{{over}}}"}])


NAMING = "naming convention violation"
# The resources, more fields of the schema, and a part of the message of GraphAccepted=False.
INACTIVE: dict[str, tuple[list[Obj], Obj, str]] = {
    **{
        f"id {id_}": ([config(id_, "x")], {}, NAMING)
        for id_ in (
            *("MyResource", "my_resource", "my-resource", "123resource", "my.resource", "resource!"),
            *("spec", "metadata", "status", "instance", "graphengine"),
        )
    },
    "an id twice": ([config("a", "x"), config("a", "y")], {}, "found duplicate resource IDs"),
    "no apiVersion": ([template(apiVersion=None)], {}, "apiVersion"),
    "no kind": ([template(kind=None)], {}, "kind"),
    "no metadata": ([template(metadata=None)], {}, "metadata"),
    "apiVersion of three parts": ([template(apiVersion="invalid/version/format")], {}, "invalid/version/format"),
    "version that is none": ([template(apiVersion="v999xyz1")], {}, "v999xyz1"),
    "status without an expression": (
        [config("a")],
        {"status": {"name": "string"}},
        "failed to build instance status schema: status fields without expressions are not supported",
    ),
    "an expression without an end": (
        [config("a", data={"x": "starts with ${schema.metadata.name"})],
        {},
        'unterminated ${: expected a closing }, found only "${schema.metadata.name"',
    ),
    "an expression that does not parse": ([config("a", "${Bad expression}")], {}, "Bad expression"),
    "forEach over a string": ([each("x", "schema.spec.text")], {"spec": {"text": "string"}}, "must return a list"),
    "iterator with a reserved name": (
        [each("item", "schema.spec.list")],
        {"spec": {"list": "[]string"}},
        "reserved keyword",
    ),
    "iterator with a resource's name": (
        [each("b", "schema.spec.list"), config("b")],
        {"spec": {"list": "[]string"}},
        "conflicts with resource ID",
    ),
    "a field the kind does not have": ([template(datum={"x": "1"})], {}, "datum"),
    "a value of another type": (
        [config("a", data={"x": "${schema.spec.n}"})],
        {"spec": {"n": "integer"}},
        "type mismatch",
    ),
    "a field the schema does not have": (
        [config("a", data={"x": "${schema.spec.nmae}"})],
        {"spec": {"name": "string"}},
        "nmae",
    ),
    "a node that depends on itself": ([config("a", data={"x": "${a.metadata.name}"})], {}, "a"),
    "a reserved label": ([config("a", metadata={"labels": {"kro.run/owned": "x"}})], {}, "kro.run/"),
    "readyWhen that reads another node": (
        [config("a"), config("b", readyWhen=['${a.metadata.name == "x"}'])],
        {},
        "a",
    ),
    "omit() without its feature gate": (
        [config("a", data={"x": "${omit()}"})],
        {},
        "omit() requires the CELOmitFunction feature gate to be enabled",
    ),
    "an unknown type": ([config("a")], {"spec": {"x": "strin"}}, "strin"),
    "a default of another type": ([config("a")], {"spec": {"x": "integer | default=abc"}}, "abc"),
}

ACTIVE: dict[str, tuple[list[Obj], Obj]] = {
    **{f"kind {kind}": ([], {"kind": kind}) for kind in ("TestResource", "AnotherTest", "MyKindName", "Resource123")},
    **{f"id {id_}": ([config(id_, "x")], {}) for id_ in ("myResource", "anotherResource", "testResource")},
    "forEach over a list": ([each("x", "schema.spec.list")], {"spec": {"list": "[]string"}}),
}


def test_the_controller_refuses_each_bad_definition_and_each_can_be_deleted(lab: Lab) -> None:
    """All at once: an invalid definition does not delay another one."""
    names: dict[str, str] = {}
    for number, (case, (resources, schema, _)) in enumerate(INACTIVE.items()):
        obj = lab.definition(f"Bad{number}", resources, **schema)
        names[case] = lab.submit(obj)["metadata"]["name"]
    good = lab.define("Good", [config("a")])
    wrong: list[str] = []
    for case, (_, _, text) in INACTIVE.items():
        found = lab.await_definition(names[case], "Inactive")
        accepted = condition(found, "GraphAccepted")
        if accepted["status"] != "False" or text not in accepted["message"] or found["status"]["topologicalOrder"]:
            wrong.append(f"{case}: {accepted}")
    assert wrong == []
    for name in names.values():
        lab.cluster.delete(lab.cluster.path("ResourceGraphDefinition", "", name))
    for name in names.values():
        lab.await_gone(lab.cluster.path("ResourceGraphDefinition", "", name))
    assert lab.read_definition(good["metadata"]["name"])["status"]["state"] == "Active"


def test_the_controller_accepts_each_good_definition(lab: Lab) -> None:
    names = []
    for number, (resources, schema) in enumerate(ACTIVE.values()):
        obj = lab.definition(
            schema.get("kind", f"Good{number}"), resources, **{k: v for k, v in schema.items() if k != "kind"}
        )
        names.append(lab.submit(obj)["metadata"]["name"])
    for name in names:
        lab.await_definition(name)


@pytest.fixture(scope="module")
def lab_of_catalogue(cluster: Any) -> Lab:
    """For definitions that the API server refuses before a controller sees them."""
    return Lab(cluster, namespace="default", group="refused.example.com", controller=None)
