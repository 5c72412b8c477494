"""OpenAPI schemas of kinds: the bundled ones of Kubernetes, those of CRDs, those an API server published.

A Catalog answers the two questions of `graph.nodes.Kinds`. Schemas come out with every `$ref` inlined and
share their common parts, so nobody may change one. Nothing is read before it is asked for: one small file
per group and version.
"""

import gzip
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib import resources as package_data
from typing import Any, Final, TypeAlias

from kroasync.model.objects import GVK, Resource
from kroasync.schema.structural import LIST_MAP_KEYS, LIST_TYPE, PRESERVE

Schema: TypeAlias = dict[str, Any]
"""An OpenAPI v3 schema as JSON."""

_REF: Final = "#/components/schemas/"
_GVK: Final = "x-kubernetes-group-version-kind"
_STRING: Final[Schema] = {"type": "string"}
_TIME: Final[Schema] = {"type": "string", "format": "date-time"}
_STRINGS: Final[Schema] = {"type": "object", "additionalProperties": _STRING}

OBJECT_META: Final[Schema] = {
    "type": "object",
    "properties": {
        "annotations": _STRINGS,
        "creationTimestamp": _TIME,
        "deletionGracePeriodSeconds": {"type": "integer", "format": "int64"},
        "deletionTimestamp": _TIME,
        "finalizers": {"type": "array", "items": _STRING, LIST_TYPE: "set"},
        "generateName": _STRING,
        "generation": {"type": "integer", "format": "int64"},
        "labels": _STRINGS,
        "managedFields": {
            "type": "array",
            LIST_TYPE: "atomic",
            "items": {
                "type": "object",
                "properties": {
                    "apiVersion": _STRING,
                    "fieldsType": _STRING,
                    "fieldsV1": {"type": "object"},
                    "manager": _STRING,
                    "operation": _STRING,
                    "subresource": _STRING,
                    "time": _TIME,
                },
            },
        },
        "name": _STRING,
        "namespace": _STRING,
        "ownerReferences": {
            "type": "array",
            LIST_TYPE: "map",
            LIST_MAP_KEYS: ["uid"],
            "items": {
                "type": "object",
                "x-kubernetes-map-type": "atomic",
                "required": ["apiVersion", "kind", "name", "uid"],
                "properties": {
                    "apiVersion": _STRING,
                    "blockOwnerDeletion": {"type": "boolean"},
                    "controller": {"type": "boolean"},
                    "kind": _STRING,
                    "name": _STRING,
                    "uid": _STRING,
                },
            },
        },
        "resourceVersion": _STRING,
        "selfLink": _STRING,
        "uid": _STRING,
    },
}
"""`metadata` of every object (apimachinery's ObjectMeta): what a CRD's schema leaves out."""


class Catalog:
    """Kinds with their schemas. Asking for a schema twice gives the same object."""

    __slots__ = ("_inlined", "_load", "_resources", "version")

    def __init__(
        self, resources: Mapping[GVK, Resource], load: Callable[[GVK], Schema | None], *, version: str = ""
    ) -> None:
        self._resources = resources
        self._load = load
        self._inlined: dict[GVK, Schema | None] = {}
        # Version of Kubernetes the bundled schemas are of; empty for a catalog without them.
        self.version = version

    def resource(self, gvk: GVK) -> Resource | None:
        """How the kind is served; None if it is not in the catalog."""
        return self._resources.get(gvk)

    def schema(self, gvk: GVK) -> Schema | None:
        """The kind's schema, references inlined; None if it is not in the catalog."""
        if gvk not in self._resources:
            return None
        if gvk not in self._inlined:
            self._inlined[gvk] = self._load(gvk)
        return self._inlined[gvk]

    def __iter__(self) -> Iterator[GVK]:
        """Every kind, in the order of its source."""
        return iter(self._resources)

    def __len__(self) -> int:
        return len(self._resources)

    def with_crds(self, crds: Iterable[Mapping[str, Any]]) -> "Catalog":
        """This catalog and the served versions of CustomResourceDefinitions, which win.

        Raises ValueError for one without a schema.
        """
        resources, schemas = dict(self._resources), dict[GVK, Schema]()
        for crd in crds:
            for resource, schema in crd_kinds(crd):
                resources[resource.gvk] = resource
                schemas[resource.gvk] = schema
        return Catalog(resources, lambda gvk: schemas.get(gvk) or self.schema(gvk), version=self.version)


def bundled() -> Catalog:
    """The kinds of Kubernetes itself, as of the version in the index."""
    data = package_data.files("kroasync.schema") / "data"
    index = json.loads((data / "index.json").read_bytes())
    resources: dict[GVK, Resource] = {}
    for api_version, kinds in index["kinds"].items():
        group, _, version = api_version.rpartition("/")
        for kind, (plural, namespaced) in kinds.items():
            resources[GVK(group, version, kind)] = Resource(group, version, kind, plural, namespaced)
    documents: dict[str, _Inliner] = {}

    def load(gvk: GVK) -> Schema | None:
        if gvk.api_version not in documents:
            packed = (data / file_of(gvk.api_version)).read_bytes()
            documents[gvk.api_version] = _Inliner(json.loads(gzip.decompress(packed)))
        return documents[gvk.api_version].kind(gvk)

    return Catalog(resources, load, version=index["version"])


def file_of(api_version: str) -> str:
    """Name of the bundled file of one group and version."""
    return api_version.replace("/", "__") + ".json.gz"


def document_path(gvk: GVK) -> str:
    """Where the API server publishes the group and version, below `/openapi/v3/`."""
    return f"apis/{gvk.group}/{gvk.version}" if gvk.group else f"api/{gvk.version}"


def from_openapi(documents: Mapping[str, Mapping[str, Any]], resources: Iterable[Resource]) -> Catalog:
    """The given resources with the schemas of an API server's OpenAPI v3 documents, keyed by `document_path`.

    Only what the resources need is kept of the documents. A resource no document describes has no schema.
    """
    inliners: dict[str, _Inliner] = {}
    served: dict[GVK, Resource] = {}
    schemas: dict[GVK, Schema | None] = {}
    for resource in resources:
        gvk, path = resource.gvk, document_path(resource.gvk)
        served[gvk] = resource
        if path in documents:
            if path not in inliners:
                inliners[path] = _Inliner(documents[path].get("components", {}).get("schemas", {}))
            schemas[gvk] = inliners[path].kind(gvk)
    return Catalog(served, schemas.get)


def crd_kinds(crd: Mapping[str, Any]) -> list[tuple[Resource, Schema]]:
    """The served versions of a CustomResourceDefinition, with `apiVersion`, `kind` and full `metadata` as
    the API server adds them.

    Raises ValueError if names or schemas are missing.
    """
    try:
        spec = crd["spec"]
        group, names = spec["group"], spec["names"]
        kind, plural, namespaced = names["kind"], names["plural"], spec["scope"] == "Namespaced"
        found = []
        for version in spec["versions"]:
            if not version.get("served", True):
                continue
            root = version["schema"]["openAPIV3Schema"]
            root = _with_embedded(root)
            if spec.get("preserveUnknownFields"):
                root = {**root, PRESERVE: True}
            properties = {
                **root.get("properties", {}),
                "apiVersion": _STRING,
                "kind": _STRING,
                "metadata": OBJECT_META,
            }
            resource = Resource(group, version["name"], kind, plural, namespaced)
            found.append((resource, {**root, "type": "object", "properties": properties}))
    except (KeyError, TypeError, AttributeError) as error:
        name = (crd.get("metadata") or {}).get("name", "?")
        raise ValueError(f"custom resource definition {name} is incomplete: {error}") from error
    return found


def _with_embedded(schema: Any) -> Any:
    """The schema with what the API server adds to embedded resources; the same object if there are none."""
    if not isinstance(schema, dict):
        return schema
    changed: Schema = {}
    for key in ("properties", "items", "additionalProperties"):
        below = schema.get(key)
        if key == "properties" and isinstance(below, dict):
            inner: Any = {name: _with_embedded(value) for name, value in below.items()}
            if any(inner[name] is not below[name] for name in below):
                changed[key] = inner
        elif (inner := _with_embedded(below)) is not below:
            changed[key] = inner
    if schema.get("x-kubernetes-embedded-resource") is True:
        properties: Schema = changed.get("properties") or schema.get("properties") or {}
        changed["properties"] = {"apiVersion": _STRING, "kind": _STRING, "metadata": OBJECT_META, **properties}
    return {**schema, **changed} if changed else schema


class _Inliner:
    """The component schemas of one document, and the inlining of one kind of it."""

    def __init__(self, components: Mapping[str, Schema]) -> None:
        self._components = components
        self._done: dict[str, Schema] = {}
        self._open: list[str] = []
        # Components cut because they are still open: what contains such a cut is not reusable elsewhere.
        self._cut: set[str] = set()
        self._names: dict[GVK, str] | None = None

    def kind(self, gvk: GVK) -> Schema | None:
        """The schema of a kind, or None if no component is it."""
        if self._names is None:
            self._names = {
                GVK(entry.get("group", ""), entry.get("version", ""), entry.get("kind", "")): name
                for name, schema in self._components.items()
                for entry in schema.get(_GVK, ())
            }
        name = self._names.get(gvk)
        return None if name is None else self._component(name)

    def _component(self, name: str) -> Schema:
        if name in self._done:
            return self._done[name]
        if name in self._open or name not in self._components:
            self._cut.add(name)
            return {"type": "object"}
        self._open.append(name)
        schema: Schema = self._inline(self._components[name])
        self._open.pop()
        self._cut.discard(name)
        if not self._cut.intersection(self._open):
            self._done[name] = schema
        return schema

    def _inline(self, schema: Any) -> Any:
        if isinstance(schema, list):
            return [self._inline(item) for item in schema]
        if not isinstance(schema, dict):
            return schema
        target = schema.get("$ref")
        if isinstance(target, str):
            return self._component(target.removeprefix(_REF))
        every = schema.get("allOf")
        # `allOf` with one reference is how Kubernetes puts a default or a description beside a reference.
        if isinstance(every, list) and len(every) == 1 and isinstance(every[0], dict) and "$ref" in every[0]:
            beside = {key: self._inline(value) for key, value in schema.items() if key != "allOf"}
            return {**self._component(every[0]["$ref"].removeprefix(_REF)), **beside}
        return {key: self._inline(value) for key, value in schema.items()}
