"""The ApplySet inventory of a parent (KEP-3659): its id, the kinds and namespaces of its members, and checks.

The label and the annotations are used to find the members when the definition is gone. So they are validated before
anything is deleted. The inventory hash is kro's addition: it detects changes of the annotations by others.

Every recorded entry can be read back: `is_namespace` is checked before a namespace is recorded. Invalid entries of an
older version, or of somebody else, name nothing that can exist, so they can be dropped (`recorded`).
"""

import base64
import hashlib
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from kroasync.model import names
from kroasync.model.name_forms import DNS_LABEL
from kroasync.model.objects import Obj, annotations_of, labels_of

TOOLING_PREFIX: Final = "kro/"

_GROUP: Final = re.compile(r"[a-z0-9](?:[-.a-z0-9]{0,251}[a-z0-9])?", re.ASCII)
# The kind of a CRD must be a DNS label, except for its case.
_KIND: Final = re.compile(r"[A-Za-z](?:[-A-Za-z0-9]{0,61}[A-Za-z0-9])?", re.ASCII)


class InventoryError(ValueError):
    """The ApplySet metadata of a parent is missing, foreign or changed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parent:
    """The identity of the object that owns an ApplySet; `namespace` is empty for cluster-scoped kinds."""

    name: str
    namespace: str
    kind: str
    group: str

    @property
    def applyset_id(self) -> str:
        """Derived only from name, namespace, kind and group, so it survives changes of labels and version."""
        identity = f"{self.name}.{self.namespace}.{self.kind}.{self.group}"
        return f"applyset-{_digest(identity)}-v1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Inventory:
    """The kinds and namespaces that may have members: kinds as `Kind.group` (`Kind` for core), namespaces except the
    parent's."""

    group_kinds: frozenset[str] = frozenset()
    namespaces: frozenset[str] = frozenset()

    def union(self, other: "Inventory") -> "Inventory":
        """The entries of both inventories."""
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
        """From the group-kind and namespace of each member; the namespace of a cluster-scoped member is empty."""
        found = list(members)
        return Inventory(
            group_kinds=frozenset(group_kind for group_kind, _ in found),
            namespaces=frozenset(ns for _, ns in found if ns and ns != parent_namespace),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """The readable contents of a parent's annotations."""

    inventory: Inventory
    # Entries that are not valid kinds or namespaces.
    kinds_unreadable: tuple[str, ...] = ()
    namespaces_unreadable: tuple[str, ...] = ()
    # The hash matches both texts as they are, so a controller wrote them.
    vouched: bool = False

    @property
    def unreadable(self) -> tuple[str, ...]:
        return self.kinds_unreadable + self.namespaces_unreadable


def is_namespace(text: str) -> bool:
    """Whether a namespace with this name can exist."""
    return DNS_LABEL.fullmatch(text) is not None


def inventory_hash(applyset_id: str, group_kinds: str, namespaces: str) -> str:
    """`sha256:` and the digest of the id and both annotation texts, separated by NUL."""
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


def recorded(found: Mapping[str, str], parent: Parent) -> Recorded:
    """The inventory in a parent's annotations, without the entries that cannot be read."""
    kinds, strange_kinds = _sorted_out(names.ANNOTATION_APPLYSET_GROUP_KINDS, found, _is_group_kind)
    namespaces, strange_namespaces = _sorted_out(names.ANNOTATION_APPLYSET_NAMESPACES, found, is_namespace)
    texts = (
        found.get(key, "") for key in (names.ANNOTATION_APPLYSET_GROUP_KINDS, names.ANNOTATION_APPLYSET_NAMESPACES)
    )
    return Recorded(
        inventory=Inventory(group_kinds=kinds, namespaces=namespaces - {parent.namespace}),
        kinds_unreadable=strange_kinds,
        namespaces_unreadable=strange_namespaces,
        vouched=found.get(names.ANNOTATION_INVENTORY_HASH) == inventory_hash(parent.applyset_id, *texts),
    )


def parse(found: Mapping[str, str], parent_namespace: str = "") -> Inventory:
    """The inventory in a parent's annotations, absent ones empty; raises InventoryError if malformed."""
    return Inventory(
        group_kinds=_entries(names.ANNOTATION_APPLYSET_GROUP_KINDS, found, _is_group_kind),
        namespaces=_entries(names.ANNOTATION_APPLYSET_NAMESPACES, found, is_namespace) - {parent_namespace},
    )


def validate(obj: Obj, parent: Parent) -> Inventory:
    """The inventory of a parent after every check a deletion needs; raises InventoryError."""
    found = _check_owner(obj, parent)
    inventory = parse(found, parent.namespace)
    hashed = found.get(names.ANNOTATION_INVENTORY_HASH)
    texts = (found[names.ANNOTATION_APPLYSET_GROUP_KINDS], found[names.ANNOTATION_APPLYSET_NAMESPACES])
    computed = inventory_hash(parent.applyset_id, *texts)
    if hashed is not None and hashed != computed:
        raise InventoryError(
            f"invalid {names.ANNOTATION_INVENTORY_HASH} annotation: "
            f'got "{hashed}", want "{computed}": the inventory was changed by someone else'
        )
    return inventory


def salvage(obj: Obj, parent: Parent, *, sealed: bool) -> Recorded:
    """The inventory for a deletion: all entries, or the readable ones if dropping the others loses no member.

    It loses none if a controller wrote the unreadable entries. With seals, anybody may have written the namespaces,
    because members are found wherever they are. Raises InventoryError like `validate`.
    """
    found = recorded(annotations_of(obj), parent)
    if not found.unreadable:
        return Recorded(inventory=validate(obj, parent), vouched=found.vouched)
    _check_owner(obj, parent)
    if found.vouched or (sealed and not found.kinds_unreadable):
        return found
    return Recorded(inventory=validate(obj, parent))


def _check_owner(obj: Obj, parent: Parent) -> Mapping[str, str]:
    """The annotations of a parent, which must be complete and belong to kro."""
    wanted, got = parent.applyset_id, labels_of(obj).get(names.LABEL_APPLYSET_ID, "")
    if got != wanted:
        raise InventoryError(f'invalid {names.LABEL_APPLYSET_ID} label: got "{got}", want "{wanted}"')
    found = annotations_of(obj)
    tooling = _required(names.ANNOTATION_APPLYSET_TOOLING, found)
    if not tooling.startswith(TOOLING_PREFIX):
        raise InventoryError(f'invalid {names.ANNOTATION_APPLYSET_TOOLING} annotation: "{tooling}" is not owned by kro')
    _required(names.ANNOTATION_APPLYSET_GROUP_KINDS, found)
    _required(names.ANNOTATION_APPLYSET_NAMESPACES, found)
    return found


def _required(key: str, found: Mapping[str, str]) -> str:
    value = found.get(key)
    if value is None:
        raise InventoryError(f"missing required {key} annotation")
    return value


def _entries(key: str, found: Mapping[str, str], is_valid: Callable[[str], bool]) -> frozenset[str]:
    entries, strange = _sorted_out(key, found, is_valid)
    if strange:
        raise InventoryError(f'invalid {key} annotation: "{strange[0]}" is not valid')
    return entries


def _sorted_out(
    key: str, found: Mapping[str, str], is_valid: Callable[[str], bool]
) -> tuple[frozenset[str], tuple[str, ...]]:
    """The valid and the invalid entries of an annotation."""
    entries = [entry.strip() for entry in found.get(key, "").split(",")]
    if entries == [""]:
        return frozenset(), ()
    valid = frozenset(filter(is_valid, entries))
    return valid, tuple(entry for entry in entries if entry not in valid)


def _is_group_kind(text: str) -> bool:
    kind, dot, group = text.partition(".")
    return _KIND.fullmatch(kind) is not None and (not dot or _GROUP.fullmatch(group) is not None)
