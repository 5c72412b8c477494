"""What a pass over an instance sees: the instance, its children, and the kinds its inventory names.

Reads come from the caches. The API server is asked only where a cache may be behind: after a write without an answer,
and for a child that may have been created without one. Instances that are too large to be cached whole are read.
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
from kroasync.model.objects import Key, Obj, annotations_of, uid_of


@dataclass(frozen=True, slots=True)
class InstanceWorld:
    """The caches as one instance sees them (the engine's World)."""

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

    def external(self, watch: WatchExternal) -> Sequence[Obj] | None:
        return self.watches.external(watch, holder=self.instance)

    def unseen(self) -> frozenset[str]:
        return self.out_of_sight


@dataclass(frozen=True, slots=True)
class Observing:
    """The eyes of all passes over instances."""

    client: Client
    serving: Serving
    children: ChildStore
    watches: Watches
    inventory_kinds: InventoryKinds
    # Instances whose last status may have been written although no answer came: the cache may be behind it.
    unsure: set[Key] = field(default_factory=set)

    def doubt(self, key: Key) -> None:
        """The next pass over the instance reads it from the API server."""
        self.unsure.add(key)

    def forget(self, key: Key) -> None:
        """The instance is gone."""
        self.watches.release(key)
        self.unsure.discard(key)

    async def instance(self, key: Key, served: Served) -> Obj | None:
        """The instance, with its status as it was left; None if it is gone, and its event is to come."""
        instance = served.instances.get(key)
        if instance is not None and (key in self.unsure or not served.instances.is_whole(key)):
            instance = await self.reread(key, served, instance)
        return None if instance is None else served.instances.as_left(key, instance)

    def world(self, key: Key, instance: Obj, unseen: frozenset[str]) -> InstanceWorld:
        return InstanceWorld(self.children, self.watches, key, uid_of(instance), unseen)

    async def hold_inventory(self, key: Key, instance: Obj) -> dict[str, str]:
        """Watch every kind the instance's inventory names and children are of; the kinds that stay out of sight, and
        why.
        """
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
        """Ask for children that may have been created without an answer: a deletion must not leave them behind."""
        for child in self.children.unanswered(uid):
            found = await self.fresh(child)
            if found is not None:
                self.children.put(child.resource, found)
        self.children.settle(uid)

    async def reread(self, key: Key, served: Served, known: Obj) -> Obj | None:
        """The instance as the server has it now; if it is gone as it was known, None if that is not whole."""
        fresh = await self.fresh(key)
        if fresh is not None:
            served.instances.fetched(fresh)
        self.unsure.discard(key)
        if served.instances.is_whole(key):
            return served.instances.get(key)
        return fresh if fresh is not None and uid_of(fresh) == uid_of(known) else None

    async def fresh(self, key: Key) -> Obj | None:
        """The object as the server has it now; None if it is gone."""
        try:
            return await self.client.get(key)
        except NotFoundError:
            return None
