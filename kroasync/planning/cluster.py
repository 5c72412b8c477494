"""What a forecast reads of the cluster: definitions, CRDs, instances, their children, external objects. It only reads.

Everything is read once. What the caller may not read is noted, and never taken for something that does not exist.
Whoever may not list a kind in the whole cluster may be allowed to list it in the namespaces of the instances.
"""

import asyncio
from collections.abc import Collection, Iterable, Sequence
from typing import Final

from kroasync.controller.cluster_kinds import ClusterKinds
from kroasync.controller.crds import CrdStore, SeenCrd
from kroasync.controller.revisions import definition_of, identity_of, number_of, snapshot_of
from kroasync.engine.actions import WatchExternal
from kroasync.engine.labels import label_value
from kroasync.kube.api_errors import ApiError, ForbiddenError, NotFoundError
from kroasync.kube.client import Client
from kroasync.kube.rights import REVIEWS, review
from kroasync.model import applyset, names
from kroasync.model.applyset import Inventory, InventoryError
from kroasync.model.definition import Definition, parse_definition
from kroasync.model.kinds import CRDS, GRAPH_DEFINITIONS, GROUPS, REVISIONS
from kroasync.model.objects import Key, Obj, Resource, annotations_of, labels_of, name_of, namespace_of, uid_of
from kroasync.planning.together import together

# For so many instances or fewer, the children of each are listed by its UID; for more, those of all instances.
_FEW: Final = 3


class ClusterReading:
    """Reads each thing once, whoever asks; raises ApiError to everybody who asked for what cannot be read."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.crds = CrdStore(_ignore)
        self.kinds = ClusterKinds(client, self.crds)
        self.definitions: dict[tuple[str, str, str], tuple[Obj, Definition]] = {}
        # What could not be read, and why.
        self.unread: dict[str, str] = {}
        # Whether the CRDs could be listed.
        self._has_crds = True
        self._allowed: dict[tuple[str, Resource, str], bool] = {}
        self._external: dict[tuple[object, ...], Sequence[Obj]] = {}
        self._locks: dict[tuple[object, ...], asyncio.Lock] = {}

    async def begin(self) -> None:
        """Read the CRDs and the definitions; raises ApiError if the definitions cannot be read."""
        await together([self._list_crds(), self._list_definitions(GRAPH_DEFINITIONS), self._list_definitions(GROUPS)])

    async def _list_definitions(self, resource: Resource) -> None:
        for obj in (await self.client.list(resource))[0]:
            definition, _ = parse_definition(obj)
            if definition is not None:
                self.definitions[definition.api_kind, definition.namespace, definition.name] = (obj, definition)

    async def _list_crds(self) -> None:
        try:
            self.crds.replace((await self.client.list(CRDS, keep=self.crds.keep))[0])
        except ForbiddenError as error:
            self._has_crds = False
            self.unread[CRDS.group_kind] = f"cannot list {CRDS}: {error.message}"

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
        """A CRD, whole; None if there is none, or if it may not be read, which is noted."""
        try:
            return await self.client.get(Key(CRDS, "", name))
        except NotFoundError:
            return None
        except ForbiddenError as error:
            self.unread[f"{CRDS.group_kind} {name}"] = f"cannot read CRD {name}: {error.message}"
            return None

    async def recorded(self, obj: Obj, definition: Definition) -> Definition | None:
        """The definition that the newest revision records: the controller follows it while the live spec is refused."""
        selector = f"{names.LABEL_DEFINITION_NAME}={label_value(definition.name)}"
        try:
            found, _ = await self.client.list(REVISIONS, label_selector=selector)
        except ForbiddenError as error:
            self.unread[REVISIONS.group_kind] = f"cannot list {REVISIONS}: {error.message}"
            return None
        ours = [one for one in found if snapshot_of(one).get("name") == identity_of(definition)]
        return parse_definition(definition_of(max(ours, key=number_of), obj))[0] if ours else None

    async def may(self, verb: str, key: Key) -> bool:
        """Whether the caller may do this to objects of a kind in a namespace."""
        place = (verb, key.resource, key.namespace)
        if place not in self._allowed:
            asked = review(verb, key.resource.group, key.resource.plural, key.namespace)
            # A review stores nothing. That it is a dry run, too, lets no request of a forecast look like a write.
            answer = await self.client.request("POST", REVIEWS, query={"dryRun": "All"}, body=asked)
            self._allowed[place] = (answer.get("status") or {}).get("allowed") is True
        return self._allowed[place]

    async def is_served(self, resource: Resource) -> bool:
        """Whether the cluster serves a kind."""
        if self._has_crds:
            return self.crds.of_kind(resource.group, resource.kind) is not None
        return await self.kinds.resource_of_group_kind(resource.group, resource.kind) is not None

    def is_unestablished(self, name: str) -> bool:
        """Whether there is a CRD of that name that the API server does not serve, or not yet."""
        seen = self.crds.get(name)
        return seen is not None and not seen.established

    async def instances(
        self, resource: Resource, namespace: str = "", selector: str = "", name: str = ""
    ) -> Sequence[Obj]:
        """The instances of a kind, or those of a name; none if the cluster does not serve it."""
        if not await self.is_served(resource):
            return []
        place = namespace if resource.namespaced else ""
        field = f"metadata.name={name}" if name else ""
        found, _ = await self.client.list(resource, place, label_selector=selector, field_selector=field)
        return found

    async def instance(self, key: Key) -> Obj | None:
        """An instance as it is now; None if there is none."""
        return await self.found(key) if await self.is_served(key.resource) else None

    async def found(self, key: Key) -> Obj | None:
        """An object as it is now; None if there is none."""
        try:
            return await self.client.get(key)
        except NotFoundError:
            return None

    async def children(
        self, kinds: Iterable[Resource], instances: Collection[Obj]
    ) -> dict[str, list[tuple[Resource, Obj]]]:
        """The children of instances by UID. Kinds that cannot be listed are noted in `unread`."""
        wanted = {(r.group, r.kind): r for r in kinds}
        for group_kind in {kind for one in instances for kind in inventory_of(one)}:
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
        places = sorted({place for one in instances for place in _namespaces(one)})
        await together(
            self._list_into(found, uids, resource, selector, places)
            for resource in wanted.values()
            for selector in selectors
        )
        return found

    async def _list_into(
        self,
        found: dict[str, list[tuple[Resource, Obj]]],
        uids: Collection[str],
        resource: Resource,
        selector: str,
        places: Sequence[str],
    ) -> None:
        """List the children of a kind, in the whole cluster or else in these namespaces; others are not kept."""

        def keep(obj: Obj) -> None:
            uid = labels_of(obj).get(names.LABEL_INSTANCE_ID, "")
            if uid in uids:
                children[uid, namespace_of(obj), name_of(obj)] = obj

        # A list whose snapshot expires starts again.
        children: dict[tuple[str, str, str], Obj] = {}
        try:
            try:
                await self.client.list(resource, label_selector=selector, keep=keep)
            except ForbiddenError:
                if not resource.namespaced or not places:
                    raise
                for place in places:
                    await self.client.list(resource, place, label_selector=selector, keep=keep)
        except NotFoundError:
            return
        except ApiError as error:
            self.unread[resource.group_kind] = f"cannot list {resource}: {error.message}"
        for (uid, _, _), obj in children.items():
            found.setdefault(uid, []).append((resource, obj))

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


def inventory_of(instance: Obj) -> frozenset[str]:
    """The kinds that an instance recorded for its children (`Kind.group`)."""
    return _recorded(instance).group_kinds


def _namespaces(instance: Obj) -> frozenset[str]:
    """Where an instance may have children."""
    return frozenset((*_recorded(instance).namespaces, *filter(None, [namespace_of(instance)])))


def _recorded(instance: Obj) -> Inventory:
    try:
        return applyset.parse(annotations_of(instance), namespace_of(instance))
    except InventoryError:
        return Inventory()


def _ignore(_before: SeenCrd | None, _after: SeenCrd | None) -> None:
    """The list is looked at once; nobody waits for changes."""
