"""One watch task per kind, shared by all its owners. The task stops when the last owner leaves.

A watch of children selects by label, so the other objects of a busy cluster cost nothing. A watch of a generated kind
covers the whole kind. Each external reference has its own narrow watch, until a kind has so many references that one
wide watch is cheaper.

Each watch feeds a sink. A watch begins with a list, which replaces everything that the sink knows of the kind
(`replace`), and continues with events, which change one object each (`event`). If the watch cannot resume, it lists
again. The new list is then the only report of the time in between: an object that the list lacks was deleted.
Therefore a sink compares each list with its objects, and wakes instances for each difference as it does for an event.
"""

import asyncio
from collections.abc import Callable, Collection, Hashable, Iterable
from contextvars import Context
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeAlias

from kroasync.controller.child_store import Child, ChildStore
from kroasync.controller.instance_store import Instance, InstanceStore, head_of
from kroasync.controller.projection import Projection
from kroasync.controller.releases import ClaimSink, Releases
from kroasync.controller.room import Held, Room
from kroasync.engine.actions import WatchExternal
from kroasync.kube.api_errors import NotFoundError, TooBigError, UnreachableError
from kroasync.kube.client import Client
from kroasync.kube.watch import Sink, Watch
from kroasync.metrics import Metrics
from kroasync.model.names import FINALIZER, LABEL_NODE_ID, LABEL_OWNED
from kroasync.model.objects import Key, Obj, Resource, finalizers_of, is_newer, is_same, key_of, uid_of, version_of

CHILD_SELECTOR = f"{LABEL_OWNED}=true,{LABEL_NODE_ID}"
# If a kind has more single-object watches than this, new ones share one watch of the whole kind.
_NARROW_WATCHES = 32
# The limit for all external objects together, in bytes of JSON. None is compressed: an expression needs all objects of
# a selector at once.
_EXTERNAL_BYTES = 10 << 20
# How long a pass waits for the first list of a kind.
_SYNC_S = 5.0


def _unheard(_concerned: bool) -> None:
    """Count nothing."""


@dataclass(slots=True)
class ChildSink:
    """Feeds one kind's children to the store. It calls `heard` for every event: did the event concern an instance?"""

    store: ChildStore
    resource: Resource
    heard: Callable[[bool], None] = _unheard

    def keep(self, obj: Obj) -> Child:
        return self.store.see(self.resource, obj)

    def replace(self, items: list[Child], version: str = "") -> None:
        self.store.replace(self.resource, items, version)

    def event(self, kind: str, obj: Obj) -> None:
        take = self.store.remove if kind == "DELETED" else self.store.put
        self.heard(take(self.resource, obj))


@dataclass(slots=True)
class InstanceSink:
    """Feeds one generated kind's instances to their store. It calls `heard` with the type of every event.

    `dropped` gets the head of each instance that was deleted in spite of our finalizer: the API server reads the
    finalizers before it deletes, and loses a finalizer that somebody adds in between.
    """

    store: InstanceStore
    heard: Callable[[str], None] = lambda _kind: None
    dropped: dict[Key, Obj] = field(default_factory=dict)

    def keep(self, obj: Obj) -> Instance:
        return self.store.see(obj)

    def replace(self, items: list[Instance], version: str = "") -> None:
        self.store.replace(items, version)

    def event(self, kind: str, obj: Obj) -> None:
        self.heard(kind)
        if kind == "DELETED":
            if FINALIZER in finalizers_of(obj):
                self.dropped[key_of(self.store.resource, obj)] = head_of(obj)
            self.store.remove(obj)
        else:
            self.store.put(obj)


@dataclass(frozen=True, slots=True)
class Target:
    """The objects that one external watch covers; with only a resource, the whole kind."""

    resource: Resource
    namespace: str = ""
    name: str = ""
    selector: str = ""


@dataclass(frozen=True, slots=True)
class External:
    """The cached part of an external object; `held` is None if there is no room for it."""

    key: Key
    uid: str
    version: str
    held: Held | None

    def shows_the_same(self, other: "External") -> bool:
        if self.held is None or other.held is None:
            return (self.uid, self.version) == (other.uid, other.version)
        return self.uid == other.uid and is_same(self.held.open(), other.held.open())


@dataclass(slots=True)
class ExternalSink:
    """The objects of one external target, and the instances that they wake."""

    target: Target
    wake: Callable[[Key], None]
    projection: Projection
    room: Room
    heard: Callable[[bool], None] = _unheard
    objs: dict[Key, External] = field(default_factory=dict)
    holders: set[Key] = field(default_factory=set)
    # By holder: an object for which there was no room, fetched again and kept until the holder reads it.
    lent: dict[Key, Obj] = field(default_factory=dict)

    def keep(self, obj: Obj) -> External:
        key = key_of(self.target.resource, obj)
        return External(key, uid_of(obj), version_of(obj), self.room.hold(self.projection.keep(obj)))

    def replace(self, items: list[External], version: str = "") -> None:
        before, self.objs = self.objs, {item.key: item for item in items}
        if before.keys() != self.objs.keys() or not all(i.shows_the_same(before[i.key]) for i in items):
            self._wake_all()

    def event(self, kind: str, obj: Obj) -> None:
        changed = self._forget(obj) if kind == "DELETED" else self.take(obj)
        if changed:
            self._wake_all()
        self.heard(changed and bool(self.holders))

    def versions(self) -> dict[tuple[str, str], str]:
        """The version of every object, by namespace and name."""
        return {(key.namespace, key.name): found.version for key, found in self.objs.items()}

    def _forget(self, obj: Obj) -> bool:
        return self.objs.pop(key_of(self.target.resource, obj), None) is not None

    def take(self, obj: Obj) -> bool:
        """Keep an object; True if its kept part changed."""
        found = self.keep(obj)
        known = self.objs.get(found.key)
        is_news = known is None or known.uid != found.uid or is_newer(found.version, known.version)
        if not is_news and (known is None or known.held is not None):
            return False
        self.objs[found.key] = found
        return known is None or not known.shows_the_same(found)

    def named(self, namespace: str, name: str, holder: Key) -> list[Obj] | None:
        """The object of a name, in a list; [] if it does not exist, None if the caller must request it first."""
        known = self.objs.get(Key(self.target.resource, namespace, name))
        if known is None:
            return []
        if known.held is not None:
            return [known.held.open()]
        lent = self.lent.pop(holder, None)
        return [lent] if lent is not None else None

    def all(self) -> list[Obj] | None:
        """All objects, sorted; None if there was no room for some."""
        found = [item.held.open() for _, item in sorted(self.objs.items()) if item.held is not None]
        return found if len(found) == len(self.objs) else None

    def leave(self, holder: Key) -> None:
        self.holders.discard(holder)
        self.lent.pop(holder, None)

    def _wake_all(self) -> None:
        for key in self.holders:
            self.wake(key)


# The purpose of a watch, and the kind or target that it covers.
_Id: TypeAlias = tuple[str, Any]


@dataclass(slots=True)
class _Running:
    watch: Watch
    task: asyncio.Task[None]
    sink: Sink
    # The arguments of the watch, to make it again.
    arguments: dict[str, Any]
    owners: set[Hashable] = field(default_factory=set)


class Watches:
    """All watch tasks of the process, children of one TaskGroup. `make(resource, sink, ...)` builds a watch."""

    def __init__(
        self,
        *,
        group: asyncio.TaskGroup,
        client: Client,
        children: ChildStore,
        wake: Callable[[Key], None],
        make: Callable[..., Watch],
        metrics: Metrics,
        releases: Releases | None = None,
    ) -> None:
        self.releases = releases if releases is not None else Releases(wake)
        self._group = group
        self._client = client
        self._children = children
        self._wake = wake
        self._make = make
        self._metrics = metrics
        self._running: dict[_Id, _Running] = {}
        self._external_reads: dict[Resource, Projection] = {}
        self._external_room = Room(loose=_EXTERNAL_BYTES, packed=0, large=_EXTERNAL_BYTES)

    def items(self) -> Iterable[tuple[str, Watch]]:
        """Name and watch of every running task, for readiness and metrics."""
        return [(running.task.get_name(), running.watch) for running in self._running.values()]

    def ages(self, now: float) -> dict[tuple[str, ...], float]:
        """Seconds since the last event of each kind. If a kind has several watches, the quietest one counts."""
        found: dict[tuple[str, ...], float] = {}
        for running in self._running.values():
            gvr = (str(running.watch.resource),)
            found[gvr] = max(found.get(gvr, 0.0), running.watch.last_event_age_s(now))
        return found

    def requested(self) -> dict[tuple[str, ...], float]:
        """How many instances watch external objects of each kind, by name (`scalar`) or by selector (`collection`)."""
        found: dict[tuple[str, ...], float] = {}
        for running in self._running.values():
            if isinstance(running.sink, ExternalSink):
                target = running.sink.target
                kind = "scalar" if target.name or not target.selector else "collection"
                what = (str(target.resource), kind)
                found[what] = found.get(what, 0) + len(running.sink.holders)
        return found

    def start(self, name: str, resource: Resource, sink: Sink, *, owner: Hashable, **arguments: Any) -> Watch:
        """Watch a whole kind with the caller's sink; `arguments` go to the Watch."""
        return self._hold(("whole", name), owner, f"watch {name}", resource, sink, arguments)

    def hold_children(self, resource: Resource, *, owner: Hashable) -> Watch:
        """Watch a kind's children for an owner; one watch serves all owners."""
        sink = ChildSink(self._children, resource, self._counter(resource))
        name = f"watch children {resource.plural}.{resource.group or 'core'}/{resource.version}"
        arguments = {"label_selector": CHILD_SELECTOR, "known": partial(self._children.versions, resource)}
        return self._hold(("children", resource), owner, name, resource, sink, arguments)

    def children_of(self, owner: Hashable) -> set[Resource]:
        """The kinds whose children the owner watches."""
        return {watch_id[1] for watch_id, r in self._running.items() if watch_id[0] == "children" and owner in r.owners}

    def children_kind(self, group_kind: str) -> Resource | None:
        """The kind in the version in which its children are watched; None if they are not watched."""
        kinds = (watch_id[1] for watch_id in self._running if watch_id[0] == "children")
        return next((resource for resource in kinds if resource.group_kind == group_kind), None)

    def relist_children(self, resource: Resource) -> None:
        """List a kind again: a wider projection needs fields that the cache did not keep."""
        running = self._running.get(("children", resource))
        if running is not None:
            self._relist(running)

    def _relist(self, running: _Running) -> None:
        running.task.cancel()
        before = running.watch.synced
        running.watch = self._make(self._client, running.watch.resource, sink=running.sink, **running.arguments)
        if not before.is_set():
            # Waiters for the first list of the old watch wait for the list of the new one.
            running.watch.synced = before
        running.task = self._start(running.watch, running.task.get_name())

    def read_externals(self, resource: Resource, paths: Iterable[tuple[str, ...]]) -> None:
        """Also keep these fields of a kind's external objects. Watches that did not keep them list again."""
        known = self._external_reads.get(resource, Projection())
        wider = self._external_reads[resource] = known.widened(paths)
        if wider is known:
            return
        for watch_id, running in self._running.items():
            if _is_external(watch_id) and watch_id[1].resource == resource:
                assert isinstance(running.sink, ExternalSink)
                running.sink.projection = wider
                self._relist(running)

    def external(self, action: WatchExternal, *, holder: Key) -> list[Obj] | None:
        """The objects that an external reference covers, sorted; None if the caller must call `hold_external` first."""
        running = self._running.get(self._external_id(action))
        if running is None or holder not in running.owners or not running.watch.synced.is_set():
            return None
        if running.watch.missing and action.name is None:
            return None  # a kind that is not served is no empty collection
        sink = running.sink
        assert isinstance(sink, ExternalSink)
        return sink.named(action.namespace, action.name, holder) if action.name is not None else sink.all()

    async def hold_external(self, holder: Key, action: WatchExternal) -> None:
        """Start or join the watch of an external reference, and wait until its objects can be read.

        Raises ApiError if that takes long, or if the reference covers too many bytes.
        """
        target = self._target(action)
        reads = self._external_reads.get(target.resource, Projection([()]))
        sink = ExternalSink(target, self._wake, reads, self._external_room, self._counter(target.resource))
        selectors = {
            "namespace": target.namespace,
            "label_selector": target.selector,
            "field_selector": f"metadata.name={target.name}" if target.name else "",
            "known": sink.versions,
        }
        name = (
            f"watch external {target.resource.plural} {target.namespace or '*'}/{target.name or target.selector or '*'}"
        )
        watch = self._hold(("external", target), holder, name, target.resource, sink, selectors)
        running = self._running[("external", target)]
        assert isinstance(running.sink, ExternalSink)
        running.sink.holders.add(holder)
        await synced(watch)
        if watch.missing and action.name is None:
            raise NotFoundError(f"{target.resource} is not served", status=404, reason="NotFound")
        await self._ask_for(running.sink, holder, action)

    async def _ask_for(self, sink: ExternalSink, holder: Key, action: WatchExternal) -> None:
        """Request an object for which there was no room."""
        if action.name is None:
            if sink.all() is None:
                raise TooBigError(
                    f"{len(sink.objs)} objects of {action.resource}: the fields that are read of them and of"
                    f" other external objects exceed {_EXTERNAL_BYTES >> 20} MiB",
                    reason="RequestEntityTooLarge",
                )
            return
        if sink.named(action.namespace, action.name, holder) is None:
            obj = await self._client.get(Key(action.resource, action.namespace, action.name))
            sink.take(obj)
            sink.lent[holder] = sink.projection.keep(obj)

    def await_releases(self, holder: Key, objects: Collection[Key], *, held: Collection[Key] = ()) -> None:
        """Wake the instance when one of these objects of somebody else changes owner or goes, and for no others. For
        those in `held` it waits until somebody else has their fields no more.

        A child of another instance is watched already. Each other object gets a narrow watch, or a share of one of its
        kind.
        """
        if not objects and not self.releases.waits(holder):
            return
        self.releases.keep(holder, objects, held=held)
        used = set[_Id]()
        for key in objects:
            if not self._is_child(key):
                # Each watch that starts counts for the next: many objects of a kind share one watch.
                watch_id = ("claims", self._narrow("claims", key))
                self._hold_claims(watch_id, holder)
                used.add(watch_id)
        for watch_id in [i for i, r in self._running.items() if i[0] == "claims" and holder in r.owners]:
            if watch_id not in used:
                self._leave(watch_id, holder)

    def _is_child(self, key: Key) -> bool:
        found = self._children.find(key)
        return found is not None and found.ours and bool(found.part_of)

    def _hold_claims(self, watch_id: _Id, holder: Key) -> None:
        target: Target = watch_id[1]
        running = self._running.get(watch_id)
        is_new = running is None or holder not in running.owners
        sink = ClaimSink(target.resource, self.releases, self._counter(target.resource))
        arguments = {
            "namespace": target.namespace,
            "field_selector": f"metadata.name={target.name}" if target.name else "",
            "known": sink.versions,
        }
        name = f"watch claims {target.resource.plural} {target.namespace or '*'}/{target.name or '*'}"
        watch = self._hold(watch_id, holder, name, target.resource, sink, arguments)
        if is_new and watch.synced.is_set():
            # The object may have changed between the refusal and now.
            self._wake(holder)

    def keep_externals(self, holder: Key, used: Iterable[WatchExternal]) -> None:
        """Leave the external watches an instance no longer uses."""
        keep = {self._external_id(action) for action in used}
        for watch_id in [
            i for i, r in self._running.items() if _is_external(i) and holder in r.owners and i not in keep
        ]:
            sink = self._running[watch_id].sink
            assert isinstance(sink, ExternalSink)
            sink.leave(holder)
            self._leave(watch_id, holder)

    def release(self, owner: Hashable) -> None:
        """Leave all watches of an owner."""
        if isinstance(owner, Key):
            self.releases.keep(owner, ())
        for watch_id in [i for i, running in self._running.items() if owner in running.owners]:
            sink = self._running[watch_id].sink
            if isinstance(sink, ExternalSink) and isinstance(owner, Key):
                sink.leave(owner)
            self._leave(watch_id, owner)

    def stop_all(self) -> None:
        """End every watch task."""
        for running in self._running.values():
            running.task.cancel()
        self._running.clear()

    def keep_children(self, owner: Hashable, used: Iterable[Resource]) -> None:
        """Leave an owner's watches of children, except those of these kinds."""
        keep = {("children", resource) for resource in used}
        for watch_id in [i for i, r in self._running.items() if i[0] == "children" and owner in r.owners]:
            if watch_id not in keep:
                self._leave(watch_id, owner)

    def _counter(self, resource: Resource) -> Callable[[bool], None]:
        gvr, metrics = str(resource), self._metrics

        def heard(concerned: bool) -> None:
            metrics.dynamic_controller_route_total.inc(gvr)
            if concerned:
                metrics.dynamic_controller_route_match_total.inc(gvr)

        return heard

    def _external_id(self, action: WatchExternal) -> _Id:
        return ("external", self._target(action))

    def _target(self, action: WatchExternal) -> Target:
        if action.name is None:
            return Target(action.resource, action.namespace, "", action.selector or "")
        return self._narrow("external", Key(action.resource, action.namespace, action.name))

    def _narrow(self, purpose: str, key: Key) -> Target:
        """The watch of one object, or of its whole kind if that has many."""
        narrow, whole = Target(key.resource, key.namespace, key.name), Target(key.resource)
        if (purpose, narrow) in self._running:
            return narrow
        count = sum(1 for i in self._running if i[0] == purpose and i[1].resource == key.resource)
        return whole if (purpose, whole) in self._running or count >= _NARROW_WATCHES else narrow

    def _hold(
        self,
        watch_id: _Id,
        owner: Hashable,
        name: str,
        resource: Resource,
        sink: Sink,
        arguments: dict[str, Any],
    ) -> Watch:
        running = self._running.get(watch_id)
        if running is None:
            watch = self._make(self._client, resource, sink=sink, **arguments)
            running = _Running(watch, self._start(watch, name), sink, arguments)
            self._running[watch_id] = running
        running.owners.add(owner)
        return running.watch

    def _start(self, watch: Watch, name: str) -> asyncio.Task[None]:
        # In its own context: its log lines are not about the pass that happened to start it.
        return self._group.create_task(watch.run(), name=name, context=Context())

    def _leave(self, watch_id: _Id, owner: Hashable) -> None:
        running = self._running[watch_id]
        running.owners.discard(owner)
        if not running.owners:
            del self._running[watch_id]
            running.task.cancel()
            if isinstance(running.sink, ChildSink):
                self._children.forget_resource(running.sink.resource)


async def synced(watch: Watch) -> None:
    """Wait for the first list; raises UnreachableError with the cause if the list does not come soon.

    A pass must not wait forever for a kind that it may not list: it would neither report nor notice a deletion.
    """
    try:
        async with asyncio.timeout(_SYNC_S):
            await watch.synced.wait()
    except TimeoutError:
        why = watch.error or "no answer yet"
        raise UnreachableError(f"{watch.resource} could not be listed: {why}", reason="NotListed") from None


def _is_external(watch_id: _Id) -> bool:
    return watch_id[0] == "external"
