"""What a forecast reads of the cluster: definitions, CRDs, instances, their children, external objects. It only reads.

Everything is read once. What the caller may not read is noted, and never taken for something that does not exist.
"""

import asyncio
from collections.abc import Collection, Iterable, Sequence
from typing import Final

from kroasync.controller.cluster_kinds import ClusterKinds
from kroasync.controller.crds import CrdStore, SeenCrd
from kroasync.engine.actions import WatchExternal
from kroasync.kube.api_errors import ApiError, NotFoundError
from kroasync.kube.client import Client
from kroasync.model import applyset, names
from kroasync.model.applyset import InventoryError
from kroasync.model.definition import Definition, parse_definition
from kroasync.model.kinds import CRDS, GRAPH_DEFINITIONS, GROUPS
from kroasync.model.objects import Key, Obj, Resource, annotations_of, labels_of, name_of, namespace_of, uid_of

# For so many instances or fewer, the children of each are listed by its UID; for more, those of all instances.
_FEW: Final = 3


class Reading:
    """Reads each thing once, whoever asks; raises ApiError to everybody who asked for what cannot be read."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.crds = CrdStore(_ignore)
        self.kinds = ClusterKinds(client, self.crds)
        self.definitions: dict[tuple[str, str, str], tuple[Obj, Definition]] = {}
        # What could not be read, and why.
        self.unread: dict[str, str] = {}
        self._external: dict[tuple[object, ...], Sequence[Obj]] = {}
        self._locks: dict[tuple[object, ...], asyncio.Lock] = {}

    async def begin(self) -> None:
        """Read the CRDs and the definitions; raises ApiError."""
        crds, *lists = await asyncio.gather(
            self.client.list(CRDS, keep=self.crds.keep),
            *(self.client.list(resource) for resource in (GRAPH_DEFINITIONS, GROUPS)),
        )
        self.crds.replace(crds[0])
        for obj in (obj for found, _ in lists for obj in found):
            definition, _ = parse_definition(obj)
            if definition is not None:
                self.definitions[definition.api_kind, definition.namespace, definition.name] = (obj, definition)

    def live(self, api_kind: str, namespace: str, name: str) -> tuple[Obj, Definition] | None:
        """The live definition of that kind and name."""
        return self.definitions.get((api_kind, namespace, name))

    def named(self, name: str) -> list[Definition]:
        """The live definitions of a name, of either kind and in any namespace."""
        return [definition for _, definition in self.definitions.values() if definition.name == name]

    def generating(self, group: str, kind: str) -> Definition | None:
        """The live definition that generates a kind."""
        found = (d for _, d in self.definitions.values() if (d.group, d.kind) == (group, kind))
        return next(found, None)

    async def crd(self, name: str) -> Obj | None:
        """A CRD, whole."""
        try:
            return await self.client.get(Key(CRDS, "", name))
        except NotFoundError:
            return None

    async def instances(self, resource: Resource, namespace: str, selector: str) -> Sequence[Obj]:
        """The instances of a kind; none if the cluster does not serve it."""
        if self.crds.of_kind(resource.group, resource.kind) is None:
            return []
        place = namespace if resource.namespaced else ""
        found, _ = await self.client.list(resource, place, label_selector=selector)
        return found

    async def children(
        self, kinds: Iterable[Resource], instances: Collection[Obj]
    ) -> dict[str, list[tuple[Resource, Obj]]]:
        """The children of instances by UID. Kinds that cannot be listed are noted in `unread`."""
        wanted = {(r.group, r.kind): r for r in kinds}
        for group_kind in {kind for one in instances for kind in _inventory(one)}:
            kind, _, group = group_kind.partition(".")
            if (group, kind) not in wanted:
                resource = await self.kinds.resource_of_group_kind(group, kind)
                if resource is not None:
                    wanted[group, kind] = resource
        uids = {uid_of(one) for one in instances if uid_of(one)}
        selectors = (
            [f"{names.LABEL_INSTANCE_ID}={uid}" for uid in sorted(uids)]
            if len(uids) <= _FEW
            else [f"{names.LABEL_OWNED}=true"]
        )
        found: dict[str, list[tuple[Resource, Obj]]] = {}
        lists = await asyncio.gather(
            *(self._listed(resource, selector) for resource in wanted.values() for selector in selectors)
        )
        for resource, objects in lists:
            for obj in objects:
                uid = labels_of(obj).get(names.LABEL_INSTANCE_ID, "")
                if uid in uids:
                    found.setdefault(uid, []).append((resource, obj))
        return found

    async def _listed(self, resource: Resource, selector: str) -> tuple[Resource, Sequence[Obj]]:
        try:
            return resource, (await self.client.list(resource, label_selector=selector))[0]
        except NotFoundError:
            return resource, ()
        except ApiError as error:
            self.unread[resource.group_kind] = f"cannot list {resource}: {error.message}"
            return resource, ()

    async def external(self, watch: WatchExternal) -> Sequence[Obj]:
        """The objects of an external reference; raises ApiError."""
        place = (watch.resource, watch.namespace, watch.name, watch.selector)
        async with self._locks.setdefault(place, asyncio.Lock()):
            if place not in self._external:
                self._external[place] = await self._read(watch)
        return self._external[place]

    async def _read(self, watch: WatchExternal) -> Sequence[Obj]:
        if watch.name is None:
            found, _ = await self.client.list(watch.resource, watch.namespace, label_selector=watch.selector or "")
            return sorted(found, key=lambda obj: (namespace_of(obj), name_of(obj)))
        try:
            return [await self.client.get(Key(watch.resource, watch.namespace, watch.name))]
        except NotFoundError:
            return []


def _inventory(instance: Obj) -> frozenset[str]:
    try:
        return applyset.parse(annotations_of(instance), namespace_of(instance)).group_kinds
    except InventoryError:
        return frozenset()


def _ignore(_before: SeenCrd | None, _after: SeenCrd | None) -> None:
    """The list is looked at once; nobody waits for changes."""
