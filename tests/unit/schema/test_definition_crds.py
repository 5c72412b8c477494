"""The CRDs of the definition kinds that the chart installs."""

from pathlib import Path
from typing import Any

import pytest

from kroasync.model import definition, manifests, policies

CRDS = Path(__file__).parents[3] / "charts" / "kroasync" / "crds"
FILES = {
    "resourcegroups.kro.run": "kro.run_resourcegroups.yaml",
    "resourcegraphdefinitions.kro.run": "kro.run_resourcegraphdefinitions.yaml",
    "graphrevisions.internal.kro.run": "internal.kro.run_graphrevisions.yaml",
}


def load(name: str) -> dict[str, Any]:
    (doc,) = manifests.load((CRDS / FILES[name]).read_text())
    assert doc.problems == ()
    return doc.obj


def spec_of(name: str) -> dict[str, Any]:
    schema: dict[str, Any] = load(name)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    spec: dict[str, Any] = schema["properties"]["spec"]
    return spec


@pytest.mark.parametrize(
    ("name", "scope", "short", "columns"),
    [
        ("resourcegroups.kro.run", "Namespaced", "rg", "APIVERSION KIND STATE TOPOLOGICALORDER AGE"),
        (
            "resourcegraphdefinitions.kro.run",
            "Cluster",
            "rgd",
            "APIVERSION KIND STATE READY TOPOLOGICALORDER AGE",
        ),
        ("graphrevisions.internal.kro.run", "Cluster", "gr", "RGD REVISION HASH READY AGE"),
    ],
)
def test_names_scope_and_columns(name: str, scope: str, short: str, columns: str) -> None:
    obj = load(name)
    (version,) = obj["spec"]["versions"]
    assert obj["metadata"]["name"] == name
    assert obj["spec"]["scope"] == scope
    assert obj["spec"]["names"]["shortNames"] == [short]
    assert [c["name"] for c in version["additionalPrinterColumns"]] == columns.split()
    assert (version["name"], version["subresources"]) == ("v1alpha1", {"status": {}})


def test_a_revision_holds_the_same_spec_as_a_definition() -> None:
    snapshot = spec_of("graphrevisions.internal.kro.run")["properties"]["snapshot"]
    assert snapshot["properties"]["spec"] == spec_of("resourcegraphdefinitions.kro.run")


def test_a_resource_group_adds_only_what_old_manifests_had() -> None:
    group, plain = spec_of("resourcegroups.kro.run"), spec_of("resourcegraphdefinitions.kro.run")
    del group["properties"]["defaultServiceAccounts"]
    del group["properties"]["schema"]["properties"]["validation"]
    assert group == plain


def test_the_parser_knows_exactly_the_fields_of_the_crd() -> None:
    def example(schema: dict[str, Any]) -> Any:
        match schema.get("type"):
            case "object" if "properties" in schema:
                return {name: example(field) for name, field in schema["properties"].items()}
            case "object" if "additionalProperties" in schema:
                return {"a": "b"}
            case "array":
                return [example(schema["items"])]
            case "integer":
                return 1
            case "object":
                return {}
        return "v1"

    spec = example(spec_of("resourcegraphdefinitions.kro.run"))
    obj = {
        "apiVersion": "kro.run/v1alpha1",
        "kind": "ResourceGraphDefinition",
        "metadata": {"name": "x"},
        "spec": spec,
    }
    _, problems = definition.parse_definition(obj)
    assert [str(p) for p in problems if p.code == "unknown-field"] == []


def test_rules_say_what_the_parser_says() -> None:
    resource = spec_of("resourcegraphdefinitions.kro.run")["properties"]["resources"]["items"]
    assert resource["x-kubernetes-validations"][0]["message"] == (
        "exactly one of template or externalRef must be provided"
    )
    schema = spec_of("resourcegraphdefinitions.kro.run")["properties"]["schema"]["properties"]
    for name in ("kind", "plural", "apiVersion", "group", "scope"):
        rule = {"rule": "self == oldSelf", "message": f"{name} is immutable"}
        assert schema[name]["x-kubernetes-validations"] == [rule]
    assert (schema["group"]["default"], schema["scope"]["default"]) == ("kro.run", "Namespaced")
    assert schema["plural"]["pattern"] == schema["shortNames"]["items"]["pattern"]


@pytest.mark.parametrize("where", ["definition", "resource"])
def test_a_misspelt_policy_reaches_the_controller(where: str) -> None:
    """The API server would drop it, and with it what it is to keep. The parser makes it an error."""
    spec = spec_of("resourcegraphdefinitions.kro.run")["properties"]
    policy = spec["policy"] if where == "definition" else spec["resources"]["items"]["properties"]["policy"]
    assert policy["x-kubernetes-preserve-unknown-fields"] is True
    assert list(policy["properties"]) == [*policies.FORMS, policies.MAX_PRUNE]
    for name, values in policies.FORMS.items():
        form = policy["properties"][name]
        assert (form["type"], "enum" in form, "pattern" in form) == ("string", False, False)
        # An expression may stand for the word, so only the description lists the words.
        assert [value for value in values if value not in form["description"]] == []
        assert f"{getattr(policies.Policies(), name)}, the default" in form["description"]
    assert policy["properties"]["maxPrune"]["x-kubernetes-int-or-string"] is True


def test_a_selector_is_open_and_the_parser_checks_it() -> None:
    resource = spec_of("resourcegraphdefinitions.kro.run")["properties"]["resources"]["items"]
    metadata = resource["properties"]["externalRef"]["properties"]["metadata"]
    assert "x-kubernetes-validations" not in metadata
    selector = metadata["properties"]["selector"]
    assert (selector.keys(), selector["x-kubernetes-preserve-unknown-fields"]) == (
        {"description", "x-kubernetes-preserve-unknown-fields"},
        True,
    )
    assert metadata["properties"]["name"]["minLength"] == 1


@pytest.mark.parametrize("name", FILES)
def test_conditions_are_a_map_by_type(name: str) -> None:
    schema = load(name)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    conditions = schema["properties"]["status"]["properties"]["conditions"]
    found = (conditions["x-kubernetes-list-type"], conditions["x-kubernetes-list-map-keys"])
    assert found == ("map", ["type"])


@pytest.mark.parametrize("name", FILES)
def test_every_field_says_what_it_is(name: str) -> None:
    """`kubectl explain` prints the descriptions."""

    def silent(schema: dict[str, Any], path: str) -> list[str]:
        found = [] if schema.get("description") else [path]
        for key, below in (schema.get("properties") or {}).items():
            found += silent(below, f"{path}.{key}")
        items = schema.get("items") or {}
        return found + [
            one for key in items.get("properties") or {} for one in silent(items["properties"][key], f"{path}.{key}")
        ]

    schema = load(name)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    assert [path for part in ("spec", "status") for path in silent(schema["properties"][part], part)] == []
