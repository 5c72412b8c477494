"""The bundled kinds, CRDs on top of them, and documents of an API server."""

import json
from pathlib import Path

import pytest

from kroasync.model import paths
from kroasync.model.kinds import GRAPH_DEFINITIONS
from kroasync.model.manifests import load
from kroasync.model.objects import GVK, Resource
from kroasync.schema.catalog import OBJECT_META, bundled, crd_kinds, document_path, from_openapi
from tests.samples import DEPLOYMENTS, NAMESPACES, crd

ROOT = Path(__file__).parents[3]
DEPLOYMENT = GVK("apps", "v1", "Deployment")


@pytest.fixture(scope="module")
def catalog():
    return bundled()


def shape(schema):
    """The schema without the parts that typing ignores."""
    if isinstance(schema, dict):
        return {k: shape(v) for k, v in schema.items() if not k.startswith("x-kubernetes-patch") and k != "default"}
    return schema


def test_every_bundled_kind_has_a_schema_without_references(catalog):
    assert len(catalog) > 80
    for gvk in catalog:
        leaves = dict(paths.leaves(catalog.schema(gvk)))
        assert not [path for path in leaves if path[-1:] == ("$ref",)], gvk
        assert catalog.schema(gvk)["properties"]["metadata"]["properties"]["name"] == {"type": "string"}, gvk


@pytest.mark.parametrize(
    ("gvk", "resource"),
    [
        (DEPLOYMENT, DEPLOYMENTS),
        (GVK("", "v1", "Namespace"), NAMESPACES),
        (
            GVK("networking.k8s.io", "v1", "Ingress"),
            Resource("networking.k8s.io", "v1", "Ingress", "ingresses"),
        ),
        (GVK("kro.run", "v1alpha1", "ResourceGraphDefinition"), GRAPH_DEFINITIONS),
    ],
)
def test_how_a_kind_is_served(catalog, gvk, resource):
    assert catalog.resource(gvk) == resource


def test_an_unknown_kind_has_neither_resource_nor_schema(catalog):
    assert catalog.resource(GVK("apps", "v2", "Deployment")) is None
    assert catalog.schema(GVK("apps", "v2", "Deployment")) is None


def test_a_schema_is_inlined_once_and_keeps_its_formats(catalog):
    schema = catalog.schema(DEPLOYMENT)
    assert catalog.schema(DEPLOYMENT) is schema
    spec = schema["properties"]["spec"]["properties"]
    assert spec["replicas"] == {"type": "integer", "format": "int32"}
    container = spec["template"]["properties"]["spec"]["properties"]["containers"]
    assert container["x-kubernetes-list-map-keys"] == ["name"]
    assert container["items"]["properties"]["name"]["type"] == "string"


def test_metadata_is_that_of_kubernetes(catalog):
    assert shape(catalog.schema(DEPLOYMENT)["properties"]["metadata"]) == shape(OBJECT_META)


@pytest.mark.parametrize("name", ["resourcegraphdefinitions", "resourcegroups"])
def test_the_definition_kinds_are_those_of_the_chart(catalog, name):
    crd = load((ROOT / "charts" / "kroasync" / "crds" / f"kro.run_{name}.yaml").read_text())[0].obj
    for resource, schema in crd_kinds(crd):
        found = catalog.schema(resource.gvk)
        assert catalog.resource(resource.gvk) == resource
        assert {key: found[key] for key in schema} == schema


CRD = crd(
    "Thing",
    group="example.com",
    scope="Cluster",
    schema={"type": "object", "properties": {"spec": {"type": "object"}}},
)
CRD["spec"]["versions"].append({"name": "v0", "served": False, "schema": {"openAPIV3Schema": {"type": "object"}}})


def test_a_crd_adds_its_served_versions(catalog):
    extended = catalog.with_crds([CRD])
    gvk = GVK("example.com", "v1", "Thing")
    assert extended.resource(gvk) == Resource("example.com", "v1", "Thing", "things", namespaced=False)
    assert extended.schema(gvk)["properties"].keys() == {"apiVersion", "kind", "metadata", "spec"}
    assert extended.schema(gvk)["properties"]["metadata"] == OBJECT_META
    assert extended.resource(GVK("example.com", "v0", "Thing")) is None
    assert extended.schema(DEPLOYMENT) is catalog.schema(DEPLOYMENT)
    assert catalog.resource(gvk) is None


def test_embedded_resources_have_what_the_api_server_adds(catalog):
    """The schema as in the OpenAPI documents of a CRD."""
    crd = json.loads(json.dumps(CRD))
    embedded = {
        "type": "object",
        "x-kubernetes-embedded-resource": True,
        "properties": {"spec": {"type": "object"}, "kind": {"type": "string", "enum": ["A"]}},
    }
    spec = {"type": "object", "properties": {"list": {"type": "array", "items": embedded}, "plain": {"type": "string"}}}
    crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"] = spec
    found = catalog.with_crds([crd]).schema(GVK("example.com", "v1", "Thing"))["properties"]["spec"]["properties"]
    assert found["plain"] == {"type": "string"}
    inside = found["list"]["items"]["properties"]
    assert inside["metadata"] == OBJECT_META
    assert inside["kind"]["enum"] == ["A"]
    assert inside.keys() == {"apiVersion", "kind", "metadata", "spec"}


def test_a_crd_that_kept_everything_still_does(catalog):
    crd = {**CRD, "spec": {**CRD["spec"], "preserveUnknownFields": True}}
    found = catalog.with_crds([crd]).schema(GVK("example.com", "v1", "Thing"))
    assert found["x-kubernetes-preserve-unknown-fields"] is True


def test_a_later_crd_wins(catalog):
    other = json.loads(json.dumps(CRD))
    other["spec"]["scope"] = "Namespaced"
    gvk = GVK("example.com", "v1", "Thing")
    assert catalog.with_crds([CRD]).with_crds([other]).resource(gvk).namespaced


@pytest.mark.parametrize(
    "broken",
    [{}, {"spec": None}, {"spec": {"group": "a"}}, {**CRD, "spec": {**CRD["spec"], "versions": [{"name": "v1"}]}}],
)
def test_an_incomplete_crd_is_an_error(catalog, broken):
    with pytest.raises(ValueError, match="incomplete"):
        catalog.with_crds([broken])


def document():
    ref = {"$ref": "#/components/schemas/Tree"}
    thing = {
        "type": "object",
        "properties": {
            "tree": ref,
            "same": {"allOf": [ref], "default": {}},
            "either": {"allOf": [{"type": "object"}, {"required": ["a"]}]},
            "lost": {"$ref": "#/components/schemas/Absent"},
            "leaf": {"$ref": "#/components/schemas/Leaf"},
        },
        "x-kubernetes-group-version-kind": [{"group": "example.com", "version": "v1", "kind": "Thing"}],
    }
    tree = {"type": "object", "properties": {"left": ref, "leaf": {"$ref": "#/components/schemas/Leaf"}}}
    return {"components": {"schemas": {"Thing": thing, "Tree": tree, "Leaf": {"type": "string", "format": "byte"}}}}


def test_documents_of_an_api_server():
    resource = Resource("example.com", "v1", "Thing", "things")
    other = Resource("example.com", "v1", "Other", "others")
    lost = Resource("gone.example.com", "v1", "Gone", "gones")
    before = document()
    catalog = from_openapi({document_path(resource.gvk): before}, [resource, other, lost])
    assert before == document()
    assert list(catalog) == [resource.gvk, other.gvk, lost.gvk]
    assert catalog.schema(other.gvk) is None
    assert catalog.schema(lost.gvk) is None
    schema = catalog.schema(resource.gvk)
    assert schema is not None
    properties = schema["properties"]
    cut = {"type": "object"}
    leaf = {"type": "string", "format": "byte"}
    tree = {"type": "object", "properties": {"left": cut, "leaf": leaf}}
    assert properties["tree"] == tree
    assert properties["same"] == {**tree, "default": {}}
    assert properties["either"] == document()["components"]["schemas"]["Thing"]["properties"]["either"]
    assert properties["lost"] == cut
    assert properties["leaf"] == leaf


def test_paths_of_documents():
    assert document_path(DEPLOYMENT) == "apis/apps/v1"
    assert document_path(GVK("", "v1", "Pod")) == "api/v1"
