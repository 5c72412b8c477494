"""Kubernetes objects are plain dicts. This module reads the few facts about them that every layer needs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

Obj: TypeAlias = dict[str, Any]
"""A Kubernetes object as JSON. Only the code that created it may change it."""


@dataclass(frozen=True, slots=True, order=True)
class GVK:
    """Group, version and kind of an API type; the core group is the empty string."""

    group: str
    version: str
    kind: str

    @property
    def api_version(self) -> str:
        """`group/version`, or the bare version for the core group."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def group_kind(self) -> str:
        """`Kind.group`, or `Kind` for the core group (the form of the ApplySet annotations)."""
        return f"{self.kind}.{self.group}" if self.group else self.kind

    def __str__(self) -> str:
        """The form in apimachinery's messages: `group/version, Kind=kind`, where the core group is empty."""
        return f"{self.group}/{self.version}, Kind={self.kind}"

    @staticmethod
    def of(obj: Mapping[str, Any]) -> "GVK":
        """The type of an object that has `apiVersion` and `kind`; raises KeyError without them."""
        return GVK.parse(obj["apiVersion"], obj["kind"])

    @staticmethod
    def parse(api_version: str, kind: str) -> "GVK":
        """From the two strings of a manifest."""
        group, _, version = api_version.rpartition("/")
        return GVK(group, version, kind)


@dataclass(frozen=True, slots=True, order=True)
class Resource:
    """How the API server serves a kind: its plural name and its scope (APIResource of discovery)."""

    group: str
    version: str
    kind: str
    plural: str
    namespaced: bool = True

    @property
    def gvk(self) -> GVK:
        return GVK(self.group, self.version, self.kind)

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def group_kind(self) -> str:
        return f"{self.kind}.{self.group}" if self.group else self.kind

    def path(self, namespace: str | None = None, name: str | None = None, subresource: str | None = None) -> str:
        """The REST path below the server's address, for one object, one namespace, or the whole cluster."""
        parts = [f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"]
        if namespace and self.namespaced:
            parts += ["namespaces", namespace]
        parts.append(self.plural)
        if name:
            parts.append(name)
        if subresource:
            parts.append(subresource)
        return "/".join(parts)

    def __str__(self) -> str:
        """The form in apimachinery's messages: `group/version, Resource=plural`, where the core group is empty."""
        return f"{self.group}/{self.version}, Resource={self.plural}"


@dataclass(frozen=True, slots=True, order=True)
class Key:
    """The identity of one object of a known resource; `namespace` is empty for cluster-scoped objects."""

    resource: Resource
    namespace: str
    name: str

    def __str__(self) -> str:
        place = f"{self.namespace}/{self.name}" if self.namespace else self.name
        return f"{self.resource.kind} {place}"


def key_of(resource: Resource, obj: Mapping[str, Any]) -> Key:
    """The key of an object of a known resource."""
    return Key(resource, namespace_of(obj) if resource.namespaced else "", name_of(obj))


def metadata(obj: Mapping[str, Any]) -> Mapping[str, Any]:
    """`metadata`, or an empty mapping."""
    found = obj.get("metadata")
    return found if isinstance(found, dict) else {}


def name_of(obj: Mapping[str, Any]) -> str:
    return str(metadata(obj).get("name") or "")


def namespace_of(obj: Mapping[str, Any]) -> str:
    return str(metadata(obj).get("namespace") or "")


def uid_of(obj: Mapping[str, Any]) -> str:
    return str(metadata(obj).get("uid") or "")


def labels_of(obj: Mapping[str, Any]) -> Mapping[str, str]:
    found = metadata(obj).get("labels")
    return found if isinstance(found, dict) else {}


def annotations_of(obj: Mapping[str, Any]) -> Mapping[str, str]:
    found = metadata(obj).get("annotations")
    return found if isinstance(found, dict) else {}


def finalizers_of(obj: Mapping[str, Any]) -> Sequence[str]:
    found = metadata(obj).get("finalizers")
    return found if isinstance(found, list) else ()


def is_deleting(obj: Mapping[str, Any]) -> bool:
    """Whether `metadata.deletionTimestamp` is set."""
    return bool(metadata(obj).get("deletionTimestamp"))


def version_of(obj: Mapping[str, Any]) -> str:
    """The resourceVersion, empty if there is none."""
    return str(metadata(obj).get("resourceVersion") or "")


def is_same(one: object, other: object) -> bool:
    """Equality as JSON has it: 3 is 3.0, true is not 1. Data nested too deeply to be compared counts as different."""
    try:
        return bool(one == other) and _has_same_booleans(one, other)
    except RecursionError:
        return False


def _has_same_booleans(one: Any, other: Any) -> bool:
    """Whether data that Python finds equal has true and false in the same places: Python's `True` equals 1."""
    if isinstance(one, dict):
        for key, value in one.items():
            # Most fields are texts, which need no call.
            if value.__class__ is not str and not _has_same_booleans(value, other[key]):
                return False
        return True
    if isinstance(one, list):
        return all(map(_has_same_booleans, one, other))
    return isinstance(one, bool) == isinstance(other, bool)


def is_older(version: str, than: str) -> bool:
    """Whether a version is certainly older; False for opaque versions."""
    return version.isdecimal() and than.isdecimal() and int(version) < int(than)


def is_newer(version: str, than: str) -> bool:
    """The order of two resourceVersions of a resource (numbers, KEP-5504); opaque versions are newer if they differ."""
    if version.isdecimal() and than.isdecimal():
        return int(version) > int(than)
    return version != than
