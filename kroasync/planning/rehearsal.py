"""One pass of the controller's engine over one instance, with the cluster as read and writes as dry runs.

The pass is the controller's own: its walk, its performer, its cache of children. Only the ends differ: a write is a dry
run, or is predicted here, and the instance's own metadata is patched in memory. What the caller may not write is
predicted, too: the controller has rights of its own. A child that is deleted to be created anew is created by a second
pass, as in the controller.

An object of a dry run has no UID, version or time of its own. So an expression that reads one waits for it, as it waits
for everything that is known only after the apply.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from functools import partial
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
    Read,
    Refusal,
    Refused,
    Release,
    Result,
    WatchExternal,
)
from kroasync.engine.adoption import is_child, joining, objection, unshared
from kroasync.engine.difference import difference
from kroasync.engine.drift import stored
from kroasync.engine.offline import patched, patched_by
from kroasync.engine.orphans import released
from kroasync.engine.outcome import Outcome
from kroasync.engine.plan import Plan
from kroasync.engine.walk import Walk
from kroasync.kube.client import Client
from kroasync.model.names import ANNOTATION_SEAL, LABEL_KRO_VERSION
from kroasync.model.objects import Key, Obj, Resource, annotations_of, key_of, labels_of, metadata, version_of
from kroasync.model.paths import Path
from kroasync.model.policies import Update
from kroasync.planning.prediction import predicted
from kroasync.planning.together import together

# Everything, and who manages it.
_WHOLE: Final = ((), ("metadata", "managedFields"))
_ONLY_WHEN_CREATED: Final = frozenset({"uid", "resourceVersion", "creationTimestamp"})
_VERSION: Final = frozenset({"resourceVersion"})


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Passed:
    """What a pass over an instance does."""

    outcome: Outcome
    touches: tuple[Touch, ...] = ()
    # The children of the instance as read.
    members: tuple[Observed, ...] = ()
    # Children that are deleted and created anew, and why.
    recreated: Mapping[Key, str] = field(default_factory=dict)
    # By node: the paths in its objects with values of Secrets.
    secrets: Mapping[str, tuple[Path, ...]] = field(default_factory=dict)
    # The objects that the API server was not asked about, since the caller may not write them.
    unasked: frozenset[Key] = frozenset()

    # The objects that somebody changed after they were read.
    stale: frozenset[Key] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Pass:
    """What the passes of a forecast share. `external` reads the objects of an external reference; `find` reads an
    object, None if there is none; `may` tells whether the caller may do something (a verb) to an object.
    """

    client: Client
    external: Callable[[WatchExternal], Awaitable[Sequence[Obj]]]
    find: Callable[[Key], Awaitable[Obj | None]]
    may: Callable[[str, Key], Awaitable[bool]]
    dry_run: DryRun = DryRun.ALL

    async def over(
        self, plan: Plan, resource: Resource, instance: Obj, members: Sequence[tuple[Resource, Obj]]
    ) -> Passed:
        """The pass over an instance with these children; raises ApiError if something cannot be read."""
        one = _OnePass.of(self, resource, instance, members)
        read = tuple(one.members())
        outcome = await one.walked(plan, instance)
        recreated = outcome.recreated
        if recreated:
            outcome = await one.walked(plan, one.instance)
        return Passed(
            outcome=outcome,
            touches=tuple(one.touches),
            members=read,
            recreated=recreated,
            secrets={node.id: node.secrets for node in plan.nodes},
            unasked=frozenset(one.unasked),
            stale=frozenset((*one.stale, *(t.action.key for t in one.touches if _is_stale(t.result)))),
        )


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
    # What the applies made of the objects.
    answers: dict[Key, Obj] = field(default_factory=dict)
    # Objects that this pass deletes: the API server still has them.
    deleted: set[Key] = field(default_factory=set)
    unasked: set[Key] = field(default_factory=set)
    # Objects that somebody changed after they were read.
    stale: set[Key] = field(default_factory=set)

    @staticmethod
    def of(shared: Pass, resource: Resource, instance: Obj, members: Sequence[tuple[Resource, Obj]]) -> "_OnePass":
        children = ChildStore(_ignore, claims=lambda _key, _obj: True, room=EndlessRoom())
        read: dict[Key, Obj] = {}
        by_resource: dict[Resource, list[Obj]] = {}
        for kind, obj in members:
            by_resource.setdefault(kind, []).append(obj)
            read[key_of(kind, obj)] = obj
        for kind, objects in by_resource.items():
            children.widen(kind, _WHOLE)
            children.replace(kind, [children.see(kind, obj) for obj in objects])
        instances = InstanceStore(resource, _ignore, _ignore_both, room=EndlessRoom())
        instances.put({**instance, "metadata": dict(metadata(instance))})
        key = key_of(resource, instance)
        performer = Performer(shared.client, children, instances, key, _read_nothing, _no_pause, Fights(lambda: 0.0))
        return _OnePass(shared, children, performer, instance, str(metadata(instance).get("uid") or ""), read)

    async def walked(self, plan: Plan, instance: Obj) -> Outcome:
        walk = Walk(plan, instance, self)
        while actions := walk.next_actions():
            walk.feed(await together(self.perform(action) for action in actions))
        return walk.outcome

    # The engine's World

    def find(self, key: Key) -> Observed | None:
        found, answer = self.children.find(key), self.answers.get(key)
        # The cache takes no answer with the version that it has, as those to dry runs of updates.
        return replace(found, obj=answer) if found is not None and answer is not None else found

    def members(self) -> Sequence[Observed]:
        return self.children.members(self.uid)

    def compare(self, key: Key, desired: Obj) -> Need | None:
        return self.children.compare(key, self._as_written(key, desired))

    def leave(self, key: Key) -> bool:
        return self.children.leave(key)

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
                return await self._noted(action, self._release(action))
            case Read():
                return await self.performer.perform(action)
            case _:
                return Done(action=action)

    async def _apply(self, action: Apply) -> Result:
        sent, key = replace(action, obj=self._as_written(action.key, action.obj)), action.key
        result = await self._answer(sent)
        if not isinstance(result, Done) or result.obj is None:
            return replace(result, action=action)
        live = None if key in self.deleted else self.read.get(key)
        if version_of(result.obj) != version_of(live or {"metadata": {}}) and live is not None:
            self.stale.add(key)
        unknown = frozenset[str]()
        if live is None:
            unknown = _VERSION if result.adopted else _ONLY_WHEN_CREATED
        elif difference(live, result.obj):
            unknown = _VERSION
        self.answers[key] = _without(result.obj, unknown)
        return replace(result, action=action, obj=self.answers[key])

    async def _answer(self, action: Apply) -> Result:
        key, dry_run = action.key, self.shared.dry_run
        live = self.read.get(key)
        if key in self.deleted:
            return Done(action=action, obj=predicted(live, action.obj))
        if self._is_in_new_namespace(key):
            return Done(action=action, obj=stored(action.obj))
        if dry_run is not DryRun.ALL and live is None:
            live = await self.shared.find(key)
        if not dry_run.asks(exists=live is not None):
            return _predicted(action, live)
        # An apply that creates an object needs both rights.
        verbs = ("patch", "create") if live is None else ("patch",)
        return await self._asked(action, verbs, lambda: self._predicted(action))

    async def _asked(
        self, action: Apply | Delete | Release, verbs: Sequence[str], otherwise: Callable[[], Awaitable[Result]]
    ) -> Result:
        """The API server's answer, or the other one if the caller may not do these verbs."""
        result = await self.performer.perform(action)
        if not isinstance(result, Refused) or result.refusal is not Refusal.FORBIDDEN:
            return result
        for verb in verbs:
            if not await self.shared.may(verb, action.key):
                self.unasked.add(action.key)
                return await otherwise()
        return result

    async def _predicted(self, action: Apply) -> Result:
        live = self.read.get(action.key)
        return _predicted(action, live if live is not None else await self.shared.find(action.key))

    def _is_in_new_namespace(self, key: Key) -> bool:
        """Whether this pass creates the namespace of an object: the API server would miss it."""
        return any(
            (t.action.key.resource.group_kind, t.action.key.name) == ("Namespace", key.namespace)
            and t.before is None
            and isinstance(t.result, Done)
            for t in self.touches
        )

    async def _delete(self, action: Delete) -> Result:
        done: Result = Done(action=action)
        if self.shared.dry_run is DryRun.NONE:
            result = done
        else:
            result = await self._asked(action, ("delete",), partial(_same, done))
        if isinstance(result, Done):
            # The dry run may answer with an object that waits for its finalizers. The next wave is planned, too.
            self.children.gone(action.key, action.uid)
            self.deleted.add(action.key)
            self.answers.pop(action.key, None)
        return result

    async def _release(self, action: Release) -> Result:
        if self.shared.dry_run is DryRun.NONE:
            return await self._let_go(action)
        return await self._asked(action, ("patch",), lambda: self._let_go(action))

    async def _let_go(self, action: Release) -> Result:
        live = self.read[action.key]
        patch = released(live, action)
        if patch is None:
            return Refused(action=action, refusal=Refusal.CONFLICT, message="the object changed meanwhile")
        self.children.gone(action.key, action.uid)
        return Done(action=action, obj=patched_by(live, patch))

    async def _noted(self, action: Apply | Delete | Release, work: Awaitable[Result]) -> Result:
        """The result of the work, noted in the order in which the engine requests the actions."""
        place = len(self.touches)
        before = self.read.get(action.key)
        self.touches.append(Touch(action, Done(action=action), before, before))
        result = await work
        if isinstance(result, Done) and result.adopted and before is None:
            before = await self.shared.find(action.key)
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


def _predicted(action: Apply, live: Obj | None) -> Result:
    """What the controller makes of an object that is there, or is not, by the rules of the engine alone."""
    if live is None:
        return Done(action=action, obj=stored(action.obj))
    if action.force:
        return Done(action=action, obj=predicted(live, stored(action.obj)))
    declared = unshared(live, action.obj, action.external_fields)
    against = objection(action.policies.adoption, live, declared, action.secrets)
    if against is not None:
        return Refused(action=action, refusal=against.refusal, message=against.text)
    adopted = not is_child(live, action.obj)
    if action.policies.update is Update.ONCE:
        patch = joining(live, action.obj)
        return Done(action=action, obj=live if patch is None else patched_by(live, patch), adopted=adopted)
    return Done(action=action, obj=predicted(live, stored(declared)), adopted=adopted)


def _is_stale(result: Result) -> bool:
    return isinstance(result, Refused) and result.refusal is Refusal.CONFLICT


async def _same(result: Result) -> Result:
    return result


def _without(answer: Obj, names: frozenset[str]) -> Obj:
    meta = {k: v for k, v in metadata(answer).items() if k not in names}
    return {**answer, "metadata": meta}


def _ignore(_subject: Any) -> None:
    """Nobody waits for changes of what was read once."""


def _ignore_both(_key: Any, _obj: Any) -> None:
    """Nobody waits for deletions either."""


async def _read_nothing(_instance: Key, _watch: WatchExternal) -> None:
    """External references are read by the pass itself."""


async def _no_pause(_instance: Key) -> None:
    """Nobody else waits for this process."""
