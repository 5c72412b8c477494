"""Objects as authors write them: definitions, kinds and ConfigMaps, for every folder of tests."""

from collections.abc import Mapping, Sequence
from typing import Any

from kroasync.model.objects import Obj, Resource

CONFIG_MAPS = Resource("", "v1", "ConfigMap", "configmaps")
DEPLOYMENTS = Resource("apps", "v1", "Deployment", "deployments")
NAMESPACES = Resource("", "v1", "Namespace", "namespaces", namespaced=False)
NODES = Resource("", "v1", "Node", "nodes", namespaced=False)


def definition(
    kind: str,
    resources: Sequence[Obj],
    *,
    name: str = "",
    spec: Mapping[str, Any] | None = None,
    api_kind: str = "ResourceGraphDefinition",
    **schema: Any,
) -> Obj:
    """A definition of that kind, with the name of the kind; `schema` has the parts of its schema besides the spec."""
    said = {key: value for key, value in schema.items() if value is not None}
    return {
        "apiVersion": "kro.run/v1alpha1",
        "kind": api_kind,
        "metadata": {"name": name or kind.lower()},
        "spec": {
            "schema": {"apiVersion": "v1alpha1", "kind": kind, "spec": dict(spec or {}), **said},
            "resources": list(resources),
        },
    }


def config_map(name: str, namespace: str = "", data: Mapping[str, Any] | None = None, **meta: Any) -> Obj:
    """A ConfigMap, or a template of one if it has no namespace; `meta` is added to its metadata."""
    placed = {"namespace": namespace} if namespace else {}
    metadata = {"name": name, **placed, **meta}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": dict(data or {})}


def crd(
    kind: str,
    *,
    group: str,
    plural: str = "",
    schema: Mapping[str, Any] | None = None,
    scope: str = "Namespaced",
    **version: Any,
) -> Obj:
    """A kind with the served version v1; `version` has the parts of the version besides its schema."""
    plural = plural or f"{kind.lower()}s"
    served = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": dict(schema or {})}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}"},
        "spec": {
            "group": group,
            "scope": scope,
            "names": {"plural": plural, "kind": kind, "singular": kind.lower(), "listKind": f"{kind}List"},
            "versions": [served | version],
        },
    }
