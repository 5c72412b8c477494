"""The input of a pass over an instance: the instance, its children, and the kinds that its inventory names.

A pass reads from the caches. It sends a read to the API server only if a cache may be stale: after a write that got no
answer, and for a child that such a write may have created. It also reads instances that are too large for the cache.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from kroasync.controller.child_store import ChildStore
from kroasync.controller.inventories import InventoryKinds
from kroasync.controller.served_kinds import Served
from kroasync.controller.serving import Serving
from kroasync.controller.watches import Watches, synced
from kroasync.engine.actions import Need, Observed, WatchExternal
from kroasync.engine.teardown import parent_of
from kroasync.kube.api_errors import ApiError, NotFoundError
from kroasync.kube.client import Client
from kroasync.model import applyset
from kroasync.model.names import LABEL_INSTANCE_ID
from kroasync.model.objects import Key, Obj, annotations_of, labels_of, uid_of


@dataclass(frozen=True, slots=True)
class InstanceWorld:
    """The caches from the point of view of one instance (the engine's World)."""

    children: ChildStore
    watches: Watches
    instance: Key
    uid: str
    out_of_sight: frozenset[str]

    def find(self, key: Key) -> Observed | None:
        return self.children.find(key)

    def members(self) -> Sequence[Observed]:
        return self.children.members(self.uid)

    def compare(self, key: Key, desired: Obj) -> Need | None:
        return self.children.compare(key, desired)

    def leave(self, key: Key) -> bool:
        return self.children.leave(key)

    def external(self, watch: WatchExternal) -> Sequence[Obj] | None:
        return self.watches.external(watch, holder=self.instance)

    def unseen(self) -> frozenset[str]:
        return self.out_of_sight


@dataclass(frozen=True, slots=True)
class Observing:
    """Reads the input of all passes over instances."""

    client: Client
    serving: Serving
    children: ChildStore
    watches: Watches
    inventory_kinds: InventoryKinds
    # Instances whose last status write got no answer: it may have succeeded, so the cache may be stale.
    unsure: set[Key] = field(default_factory=set)

    def doubt(self, key: Key) -> None:
        """Let the next pass over the instance read it from the API server."""
        self.unsure.add(key)

    def forget(self, key: Key) -> None:
        """Forget an instance that is gone."""
        self.watches.release(key)
        self.unsure.discard(key)

    async def instance(self, key: Key, served: Served) -> Obj | None:
        """The instance with the status that we wrote last; None if it is gone and only its event is late."""
        instance = served.instances.get(key)
        if instance is not None and (key in self.unsure or not served.instances.is_whole(key)):
            instance = await self.reread(key, served, instance)
        return None if instance is None else served.instances.as_left(key, instance)

    def world(self, key: Key, instance: Obj, unseen: frozenset[str]) -> InstanceWorld:
        return InstanceWorld(self.children, self.watches, key, uid_of(instance), unseen)

    async def hold_inventory(self, key: Key, instance: Obj) -> dict[str, str]:
        """Watch every kind of the instance's inventory that has children; returns the kinds out of sight, and why."""
        served = self.serving.kinds.get(key.resource)
        graph = served.graph if served else None
        known = {n.resource.group_kind for n in graph.nodes.values() if not n.is_external} if graph else set()
        recorded = applyset.recorded(annotations_of(instance), parent_of(instance)).inventory
        beyond, unseen = await self.inventory_kinds.watched(recorded.group_kinds - known)
        for watch in self.serving.hold_inventory(key, beyond):
            try:
                await synced(watch)
            except ApiError as error:
                unseen[watch.resource.group_kind] = error.message
        return unseen

    async def ask_for_unanswered(self, uid: str) -> None:
        """Read children whose creation got no answer: a deletion must not orphan them.

        An object of somebody else was not created. No watch of children would tell that it is gone.
        """
        for child in self.children.unanswered(uid):
            found = await self.fresh(child)
            if found is not None and labels_of(found).get(LABEL_INSTANCE_ID) == uid:
                self.children.put(child.resource, found)
        self.children.settle(uid)

    async def reread(self, key: Key, served: Served, known: Obj) -> Obj | None:
        """Read the instance. If it is gone, return it as it was known, or None if that copy is not whole."""
        fresh = await self.fresh(key)
        if fresh is not None:
            served.instances.fetched(fresh)
        self.unsure.discard(key)
        if served.instances.is_whole(key):
            return served.instances.get(key)
        return fresh if fresh is not None and uid_of(fresh) == uid_of(known) else None

    async def fresh(self, key: Key) -> Obj | None:
        """Read the object from the API server; None if it is gone."""
        try:
            return await self.client.get(key)
        except NotFoundError:
            return None
