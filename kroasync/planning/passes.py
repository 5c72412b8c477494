"""One pass of the controller's engine over one instance, with the cluster as read and writes as dry runs.

The pass is the controller's own: its walk, its performer, its cache of children. Only the ends differ: a write is a dry
run, or is predicted here, and the instance's own metadata is patched in memory.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any, Final

from kroasync.controller.child_store import ChildStore
from kroasync.controller.fights import Fights
from kroasync.controller.instance_store import InstanceStore
from kroasync.controller.perform import Performer
from kroasync.controller.room import EndlessRoom
from kroasync.engine.actions import (
    Action,
    Apply,
    Delete,
    Done,
    Need,
    Observed,
    PatchParent,
    Release,
    Result,
    WatchExternal,
)
from kroasync.engine.offline import patched
from kroasync.engine.outcome import Outcome
from kroasync.engine.plan import Plan
from kroasync.engine.walk import Walk
from kroasync.kube.client import Client
from kroasync.model.names import ANNOTATION_SEAL, LABEL_KRO_VERSION
from kroasync.model.objects import Key, Obj, Resource, annotations_of, labels_of, metadata
from kroasync.planning.prediction import predicted

_WHOLE: Final = ((),)
_ONLY_WHEN_CREATED: Final = frozenset({"uid", "resourceVersion", "creationTimestamp"})


class DryRun(Enum):
    """Which applies the API server answers; the others are predicted."""

    ALL = "all"
    EXISTING = "existing"
    NONE = "none"

    def asks(self, *, exists: bool) -> bool:
        return self is DryRun.ALL or (self is DryRun.EXISTING and exists)


@dataclass(frozen=True, slots=True)
class Touch:
    """One action of a pass with its result. `before` is the object as read, `after` as it would be."""

    action: Apply | Delete | Release
    result: Result
    before: Obj | None
    after: Obj | None


@dataclass(frozen=True, slots=True)
class Passed:
    """What a pass over an instance does."""

    outcome: Outcome
    touches: tuple[Touch, ...]
    # The children of the instance as read.
    members: tuple[Observed, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Pass:
    """What the passes of a forecast share. `external` reads the objects of an external reference."""

    client: Client
    external: Callable[[WatchExternal], Awaitable[Sequence[Obj]]]
    dry_run: DryRun = DryRun.ALL

    async def over(
        self, plan: Plan, resource: Resource, instance: Obj, members: Sequence[tuple[Resource, Obj]]
    ) -> Passed:
        """The pass over an instance with these children; raises ApiError if something cannot be read."""
        one = _OnePass.of(self, resource, instance, members)
        read = tuple(one.members())
        walk = Walk(plan, instance, one)
        while actions := walk.next_actions():
            walk.feed(await asyncio.gather(*(one.perform(action) for action in actions)))
        return Passed(walk.outcome, tuple(one.touches), read)


@dataclass(slots=True)
class _OnePass:
    """The world of one pass, and its performer."""

    shared: Pass
    children: ChildStore
    performer: Performer
    instance: Obj
    uid: str
    # The objects as read, which the answers to dry runs replace in the store.
    read: Mapping[Key, Obj]
    externals: dict[WatchExternal, Sequence[Obj]] = field(default_factory=dict)
    touches: list[Touch] = field(default_factory=list)

    @staticmethod
    def of(shared: Pass, resource: Resource, instance: Obj, members: Sequence[tuple[Resource, Obj]]) -> "_OnePass":
        children = ChildStore(_ignore, claims=lambda _key, _obj: True, room=EndlessRoom())
        read: dict[Key, Obj] = {}
        by_resource: dict[Resource, list[Obj]] = {}
        for kind, obj in members:
            by_resource.setdefault(kind, []).append(obj)
            read[_key(kind, obj)] = obj
        for kind, objects in by_resource.items():
            children.widen(kind, _WHOLE)
            children.replace(kind, [children.see(kind, obj) for obj in objects])
        instances = InstanceStore(resource, _ignore, _ignore_both, room=EndlessRoom())
        instances.put({**instance, "metadata": dict(metadata(instance))})
        key = _key(resource, instance)
        performer = Performer(shared.client, children, instances, key, _read_nothing, _no_pause, Fights(lambda: 0.0))
        return _OnePass(shared, children, performer, instance, str(metadata(instance).get("uid") or ""), read)

    # The engine's World

    def find(self, key: Key) -> Observed | None:
        return self.children.find(key)

    def members(self) -> Sequence[Observed]:
        return self.children.members(self.uid)

    def compare(self, key: Key, desired: Obj) -> Need | None:
        return self.children.compare(key, self._as_written(key, desired))

    def external(self, watch: WatchExternal) -> Sequence[Obj] | None:
        return self.externals.get(watch)

    def unseen(self) -> frozenset[str]:
        return frozenset()

    # Actions

    async def perform(self, action: Action) -> Result:
        match action:
            case PatchParent():
                self.instance = patched(self.instance, action)
                return Done(action=action, obj=self.instance)
            case WatchExternal():
                self.externals[action] = await self.shared.external(action)
                return Done(action=action)
            case Apply():
                return await self._noted(action, self._apply(action))
            case Delete():
                return await self._noted(action, self._delete(action))
            case Release():
                return await self._noted(action, self.performer.perform(action))
            case _:
                return Done(action=action)

    async def _apply(self, action: Apply) -> Result:
        sent = replace(action, obj=self._as_written(action.key, action.obj))
        known = self.children.find(action.key) is not None
        if self.shared.dry_run.asks(exists=known):
            result = await self.performer.perform(sent)
        else:
            live = self.read.get(action.key)
            result = Done(action=action, obj=predicted(live, sent.obj))
        if isinstance(result, Done) and result.obj is not None and action.key not in self.read and not result.adopted:
            result = replace(result, obj=_not_created(result.obj))
        return replace(result, action=action)

    async def _delete(self, action: Delete) -> Result:
        if self.shared.dry_run is DryRun.NONE:
            result: Result = Done(action=action)
        else:
            result = await self.performer.perform(action)
        if isinstance(result, Done):
            # The dry run may answer with an object that waits for its finalizers. The next wave is planned, too.
            self.children.gone(action.key, action.uid)
        return result

    async def _noted(self, action: Apply | Delete | Release, work: Awaitable[Result]) -> Result:
        """The result of the work, noted in the order in which the engine requests the actions."""
        place = len(self.touches)
        before = self.read.get(action.key)
        self.touches.append(Touch(action, Done(action=action), before, before))
        result = await work
        after = result.obj if isinstance(result, Done) else before
        self.touches[place] = Touch(action, result, before, None if isinstance(action, Delete) else after)
        return result

    def _as_written(self, key: Key, desired: Obj) -> Obj:
        """The object as the controller writes it: its seal and its version are those of the object as read.

        Whoever plans has no key for seals, and may use another version of the program.
        """
        live = self.read.get(key)
        if live is None:
            return desired
        meta = dict(metadata(desired))
        seal, version = annotations_of(live).get(ANNOTATION_SEAL), labels_of(live).get(LABEL_KRO_VERSION)
        if seal:
            meta["annotations"] = {**annotations_of(desired), ANNOTATION_SEAL: seal}
        if version:
            meta["labels"] = {**labels_of(desired), LABEL_KRO_VERSION: version}
        return {**desired, "metadata": meta}


def _not_created(answer: Obj) -> Obj:
    """The answer to a dry run of a creation, without what a real one would answer differently."""
    meta = {k: v for k, v in metadata(answer).items() if k not in _ONLY_WHEN_CREATED}
    return {**answer, "metadata": meta}


def _key(resource: Resource, obj: Obj) -> Key:
    meta = metadata(obj)
    return Key(resource, str(meta.get("namespace") or "") if resource.namespaced else "", str(meta.get("name") or ""))


def _ignore(_subject: Any) -> None:
    """Nobody waits for changes of what was read once."""


def _ignore_both(_key: Any, _obj: Any) -> None:
    """Nobody waits for deletions either."""


async def _read_nothing(_instance: Key, _watch: WatchExternal) -> None:
    """External references are read by the pass itself."""


async def _no_pause(_instance: Key) -> None:
    """Nobody else waits for this process."""
