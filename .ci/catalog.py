"""Builds the bundled catalog, kroasync/schema/data, from the OpenAPI v3 documents and discovery of
Kubernetes.

    python .ci/catalog.py --version v1.36.3 SOURCE

SOURCE is the address of an API server without authentication (`kubectl proxy`), or the `api` folder of
Kubernetes' source tree, which holds the same documents. Descriptions are dropped, formats and
`x-kubernetes-*` stay; only kinds that are served as resources are kept. The output depends on the input
alone.
"""

import argparse
import gzip
import json
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from kroasync.model.manifests import load
from kroasync.schema.catalog import crd_kinds, file_of

ROOT = Path(__file__).parent.parent
DATA = ROOT / "kroasync" / "schema" / "data"
# The definition kinds are known offline too: a definition may create another one.
DEFINITIONS = ("kro.run_resourcegraphdefinitions.yaml", "kro.run_resourcegroups.yaml")
REF = "#/components/schemas/"
GVK = "x-kubernetes-group-version-kind"
# Served under many groups, never applied as an object.
UNWANTED_SUFFIXES = ("List", "Options", "Review")


def reader(source: str) -> Callable[[str], Any]:
    """Reads one document of the source by its path on the server."""
    if source.startswith(("http://", "https://")):

        def fetch(path: str) -> Any:
            with urllib.request.urlopen(f"{source.rstrip('/')}/{path}") as answer:
                return json.load(answer)

        return fetch

    def read(path: str) -> Any:
        if path == "apis" or not path.startswith("openapi/v3/"):
            return json.loads((Path(source) / "discovery" / f"{path.replace('/', '__')}.json").read_text())
        name = path.removeprefix("openapi/v3/").replace("/", "__")
        return json.loads((Path(source) / "openapi-spec" / "v3" / f"{name}_openapi.json").read_text())

    return read


def group_versions(read: Callable[[str], Any]) -> Iterator[tuple[str, str]]:
    """Every (apiVersion, path) the source serves, core first."""
    yield "v1", "api/v1"
    for group in read("apis")["groups"]:
        for version in group["versions"]:
            yield version["groupVersion"], f"apis/{version['groupVersion']}"


def served(discovery: Any) -> dict[str, tuple[str, bool]]:
    """Kind -> (plural, namespaced) of the resources one can apply."""
    return {
        resource["kind"]: (resource["name"], resource["namespaced"])
        for resource in discovery["resources"]
        if "/" not in resource["name"] and not resource["kind"].endswith(UNWANTED_SUFFIXES)
    }


def stripped(schema: Any, *, names: bool = False) -> Any:
    """Without descriptions and empty defaults; `names` is true for a map of property names."""
    if isinstance(schema, list):
        return [stripped(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if names:
        return {key: stripped(value) for key, value in schema.items()}
    return {
        key: stripped(value, names=key == "properties")
        for key, value in schema.items()
        if not (key == "description" or (key == "default" and value in ({}, "")))
    }


def references(schema: Any) -> Iterator[str]:
    """Names of the components a schema refers to."""
    if isinstance(schema, dict):
        if isinstance(schema.get("$ref"), str):
            yield schema["$ref"].removeprefix(REF)
        for value in schema.values():
            yield from references(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from references(value)


def needed(components: dict[str, Any], api_version: str, kinds: dict[str, Any]) -> dict[str, Any]:
    """The components of the kinds, and what these refer to."""
    group, _, version = api_version.rpartition("/")
    kept: dict[str, Any] = {}
    todo = [
        name
        for name, schema in components.items()
        if any((g["group"], g["version"]) == (group, version) and g["kind"] in kinds for g in schema.get(GVK, ()))
    ]
    while todo:
        name = todo.pop()
        if name not in kept:
            kept[name] = stripped(components[name])
            if len(kept[name].get(GVK, ())) > 1:
                del kept[name][GVK]
            todo += references(kept[name])
    return dict(sorted(kept.items()))


def definition_kinds() -> tuple[dict[str, tuple[str, bool]], dict[str, Any]]:
    """The two definition kinds of the chart: how they are served, and their schemas as components."""
    kinds, schemas = {}, {}
    for name in DEFINITIONS:
        text = (ROOT / "charts" / "kroasync" / "crds" / name).read_text()
        for resource, schema in crd_kinds(load(text, name)[0].obj):
            gvk = {"group": resource.group, "version": resource.version, "kind": resource.kind}
            kinds[resource.kind] = (resource.plural, resource.namespaced)
            schemas[resource.kind] = {**schema, GVK: [gvk]}
    return kinds, schemas


def write(api_version: str, schemas: dict[str, Any]) -> None:
    """One file of the catalog."""
    text = json.dumps(schemas, separators=(",", ":"), sort_keys=True)
    (DATA / file_of(api_version)).write_bytes(gzip.compress(text.encode(), 9, mtime=0))


def main() -> None:
    """Writes one file per group and version, and the index."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source")
    parser.add_argument("--version", required=True, help="version of Kubernetes the source is of")
    arguments = parser.parse_args()
    read = reader(arguments.source)
    DATA.mkdir(exist_ok=True)
    for old in DATA.glob("*.json.gz"):
        old.unlink()
    index: dict[str, dict[str, tuple[str, bool]]] = {}
    for api_version, path in group_versions(read):
        kinds = served(read(path))
        schemas = needed(read(f"openapi/v3/{path}")["components"]["schemas"], api_version, kinds)
        described = {g["kind"] for schema in schemas.values() for g in schema.get(GVK, ())}
        kinds = {kind: how for kind, how in sorted(kinds.items()) if kind in described}
        if kinds:
            index[api_version] = kinds
            write(api_version, schemas)
    index["kro.run/v1alpha1"], schemas = definition_kinds()
    write("kro.run/v1alpha1", schemas)
    text = json.dumps({"version": arguments.version, "kinds": index}, indent=1)
    (DATA / "index.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
