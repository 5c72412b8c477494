"""ApplySet inventory of a parent (KEP-3659): its id, the kinds and namespaces of its members, and checks.

The label and the annotations are how members are found again when a definition is gone; so they are
validated before anything is deleted by them. The inventory hash is kro's addition: it detects annotations
edited by others.
"""

import base64
import hashlib
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from kroasync.model import names
from kroasync.model.objects import Obj, annotations_of, labels_of

TOOLING_PREFIX: Final = "kro/"

_DNS_LABEL: Final = re.compile(r"[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?", re.ASCII)
_GROUP: Final = re.compile(r"[a-z0-9](?:[-.a-z0-9]{0,251}[a-z0-9])?", re.ASCII)
_KIND: Final = re.compile(r"[A-Za-z][A-Za-z0-9]{0,62}", re.ASCII)


class InventoryError(ValueError):
    """The ApplySet metadata of a parent is missing, foreign or altered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parent:
    """Identity of the object that owns an ApplySet; `namespace` is empty for cluster-scoped kinds."""

    name: str
    namespace: str
    kind: str
    group: str

    @property
    def applyset_id(self) -> str:
        """Made of name, namespace, kind and group only: it survives changes of labels and version."""
        identity = f"{self.name}.{self.namespace}.{self.kind}.{self.group}"
        return f"applyset-{_digest(identity)}-v1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Inventory:
    """Where members may be: kinds as `Kind.group` (`Kind` for core), namespaces besides the parent's."""

    group_kinds: frozenset[str] = frozenset()
    namespaces: frozenset[str] = frozenset()

    def union(self, other: "Inventory") -> "Inventory":
        """Everything of both."""
        return Inventory(
            group_kinds=self.group_kinds | other.group_kinds, namespaces=self.namespaces | other.namespaces
        )

    @property
    def group_kinds_text(self) -> str:
        return ",".join(sorted(self.group_kinds))

    @property
    def namespaces_text(self) -> str:
        return ",".join(sorted(self.namespaces))

    def hash(self, applyset_id: str) -> str:
        """The value of the inventory hash annotation."""
        return inventory_hash(applyset_id, self.group_kinds_text, self.namespaces_text)

    @staticmethod
    def of(members: Iterable[tuple[str, str]], parent_namespace: str) -> "Inventory":
        """From (group-kind, namespace) of each member; empty namespaces are cluster-scoped members."""
        found = list(members)
        return Inventory(
            group_kinds=frozenset(group_kind for group_kind, _ in found),
            namespaces=frozenset(ns for _, ns in found if ns and ns != parent_namespace),
        )


def inventory_hash(applyset_id: str, group_kinds: str, namespaces: str) -> str:
    """`sha256:` and the digest of id and both annotation texts, separated by NUL."""
    return "sha256:" + _digest("\0".join((applyset_id, group_kinds, namespaces)))


def _digest(text: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()


def labels(parent: Parent) -> dict[str, str]:
    """The label that makes an object an ApplySet parent."""
    return {names.LABEL_APPLYSET_ID: parent.applyset_id}


def annotations(parent: Parent, inventory: Inventory, *, version: str) -> dict[str, str]:
    """The four annotations of a parent; `version` is the controller's."""
    return {
        names.ANNOTATION_APPLYSET_TOOLING: TOOLING_PREFIX + version,
        names.ANNOTATION_APPLYSET_GROUP_KINDS: inventory.group_kinds_text,
        names.ANNOTATION_APPLYSET_NAMESPACES: inventory.namespaces_text,
        names.ANNOTATION_INVENTORY_HASH: inventory.hash(parent.applyset_id),
    }


def has_metadata(obj: Obj) -> bool:
    """True if the object carries any ApplySet parent metadata, valid or not."""
    keys = (
        names.ANNOTATION_APPLYSET_TOOLING,
        names.ANNOTATION_APPLYSET_GROUP_KINDS,
        names.ANNOTATION_APPLYSET_NAMESPACES,
        names.ANNOTATION_INVENTORY_HASH,
    )
    found = annotations_of(obj)
    return names.LABEL_APPLYSET_ID in labels_of(obj) or any(key in found for key in keys)


def parse(found: Mapping[str, str], parent_namespace: str = "") -> Inventory:
    """The inventory in a parent's annotations, absent ones empty; raises InventoryError if malformed."""
    return Inventory(
        group_kinds=_entries(names.ANNOTATION_APPLYSET_GROUP_KINDS, found, _is_group_kind),
        namespaces=_entries(
            names.ANNOTATION_APPLYSET_NAMESPACES, found, lambda text: _DNS_LABEL.fullmatch(text) is not None
        )
        - {parent_namespace},
    )


def validate(obj: Obj, parent: Parent) -> Inventory:
    """The inventory of a parent after every check a deletion needs; raises InventoryError."""
    wanted, got = parent.applyset_id, labels_of(obj).get(names.LABEL_APPLYSET_ID, "")
    if got != wanted:
        raise InventoryError(f'invalid {names.LABEL_APPLYSET_ID} label: got "{got}", want "{wanted}"')
    found = annotations_of(obj)
    tooling = _required(names.ANNOTATION_APPLYSET_TOOLING, found)
    if not tooling.startswith(TOOLING_PREFIX):
        raise InventoryError(f'invalid {names.ANNOTATION_APPLYSET_TOOLING} annotation: "{tooling}" is not owned by kro')
    group_kinds = _required(names.ANNOTATION_APPLYSET_GROUP_KINDS, found)
    namespaces = _required(names.ANNOTATION_APPLYSET_NAMESPACES, found)
    inventory = parse(found, parent.namespace)
    recorded = found.get(names.ANNOTATION_INVENTORY_HASH)
    computed = inventory_hash(wanted, group_kinds, namespaces)
    if recorded is not None and recorded != computed:
        raise InventoryError(
            f"invalid {names.ANNOTATION_INVENTORY_HASH} annotation: "
            f'got "{recorded}", want "{computed}": the inventory was changed by someone else'
        )
    return inventory


def _required(key: str, found: Mapping[str, str]) -> str:
    value = found.get(key)
    if value is None:
        raise InventoryError(f"missing required {key} annotation")
    return value


def _entries(key: str, found: Mapping[str, str], is_valid: Callable[[str], bool]) -> frozenset[str]:
    entries = [entry.strip() for entry in found.get(key, "").split(",")]
    if entries == [""]:
        return frozenset()
    for entry in entries:
        if not is_valid(entry):
            raise InventoryError(f'invalid {key} annotation: "{entry}" is not valid')
    return frozenset(entries)


def _is_group_kind(text: str) -> bool:
    kind, dot, group = text.partition(".")
    return _KIND.fullmatch(kind) is not None and (not dot or _GROUP.fullmatch(group) is not None)
