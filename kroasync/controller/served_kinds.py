"""The generated kinds that are served: the graph that their instances follow, and the cache of the instances.

A kind outlives its definition. Without the definition (`graph` is None and `retired` is set), instances stay as they
are and can still be deleted cleanly, because a deletion needs neither definition nor graph.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

from kroasync.controller.child_store import Claims
from kroasync.controller.instance_store import InstanceStore
from kroasync.engine.plan import Plan
from kroasync.graph.nodes import Graph
from kroasync.kube.watch import Watch
from kroasync.model import applyset
from kroasync.model.applyset import InventoryError
from kroasync.model.names import LABEL_INSTANCE_ID
from kroasync.model.objects import Key, Obj, Resource, annotations_of, labels_of

# Reasons as kro's metric has them.
NOT_AVAILABLE: Final = "not_available"
REVISION_FAILED: Final = "revision_failed"
BUILD_FAILED: Final = "build_failed"


@dataclass(frozen=True, slots=True)
class Unresolved:
    """Why there is no graph to follow: for the instances' conditions, and as a label of a metric."""

    text: str
    reason: str = NOT_AVAILABLE


@dataclass(slots=True)
class Served:
    """One generated kind. `definition` is the key of the definition that generates it; None if it is gone."""

    resource: Resource
    instances: InstanceStore
    watch: Watch
    definition: Key | None = None
    graph: Graph | None = None
    plan: Plan | None = None
    # The schema of the instances' spec, for its defaults.
    spec_schema: Obj = field(default_factory=dict)
    # The heads of instances that are gone in spite of our finalizer: their children still exist.
    dropped: dict[Key, Obj] = field(default_factory=dict)
    # Why there is no graph, for the instances' conditions; None while that is not known.
    unresolved: Unresolved | None = None

    @property
    def name(self) -> str:
        return f"{self.resource.plural}.{self.resource.group}"


class ServedKinds:
    """All served kinds by resource; finds an instance of any kind by its UID."""

    def __init__(self) -> None:
        self._kinds: dict[Resource, Served] = {}
        # The instances of all kinds by UID; their stores maintain this.
        self.by_uid: dict[str, Key] = {}

    def __iter__(self) -> Iterator[Served]:
        return iter(list(self._kinds.values()))

    def __len__(self) -> int:
        return len(self._kinds)

    def get(self, resource: Resource) -> Served | None:
        return self._kinds.get(resource)

    def of_definition(self, definition: Key) -> list[Served]:
        return [served for served in self._kinds.values() if served.definition == definition]

    def add(self, served: Served) -> None:
        self._kinds[served.resource] = served

    def remove(self, resource: Resource) -> None:
        self._kinds.pop(resource, None)

    def sizes(self) -> dict[tuple[str, ...], float]:
        """How many instances each kind has."""
        return {(str(served.resource),): len(served.instances) for served in self}

    def head(self, key: Key) -> Obj | None:
        """The instance, or at least its head."""
        served = self._kinds.get(key.resource)
        return served.instances.head(key) if served else None

    def key_by_uid(self, uid: str) -> Key | None:
        """The key of the live instance with this UID."""
        return self.by_uid.get(uid)


def wake_by_uid(kinds: ServedKinds, add: Callable[[Key], None]) -> Callable[[str], None]:
    """A function that wakes the instance with a UID. Children of unknown instances wake nobody."""

    def wake(uid: str) -> None:
        key = kinds.key_by_uid(uid)
        if key is not None:
            add(key)

    return wake


def claims_of(kinds: ServedKinds) -> Claims:
    """An instance claims an object that carries its UID as a label, in a kind and namespace of its inventory."""

    def claims(key: Key, obj: Obj) -> bool:
        owner = kinds.key_by_uid(labels_of(obj).get(LABEL_INSTANCE_ID, ""))
        head = kinds.head(owner) if owner is not None else None
        if owner is None or head is None:
            return False
        try:
            inventory = applyset.parse(annotations_of(head), owner.namespace)
        except InventoryError:
            return False
        where = {"", owner.namespace} | inventory.namespaces
        return key.resource.group_kind in inventory.group_kinds and key.namespace in where

    return claims
