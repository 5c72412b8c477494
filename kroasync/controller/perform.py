"""Perform one action of the engine: the only place where a pass writes to the cluster.

Every action yields a result, refusals included. Deletes carry the UID they were decided for. The first apply of an
unknown object can only create one: it is bound to a version no object has. What turns out to be there is read, and
taken over as it was read if it is nobody's (`engine.adoption`); of what is somebody's nothing changes.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, field

from kroasync.controller.child_store import ChildStore
from kroasync.controller.fights import Fights, contenders
from kroasync.controller.instance_store import InstanceStore
from kroasync.engine.actions import (
    Action,
    Apply,
    Delete,
    Done,
    Need,
    PatchParent,
    Pause,
    Refusal,
    Refused,
    Result,
    WatchExternal,
)
from kroasync.engine.adoption import claimed_by
from kroasync.engine.drift import stored
from kroasync.kube.api_errors import (
    AlreadyExistsError,
    ApiError,
    ConflictError,
    ForbiddenError,
    InvalidError,
    NotFoundError,
    ServerError,
    TooBigError,
    UnauthorizedError,
    UnreachableError,
)
from kroasync.kube.client import Client
from kroasync.model.names import (
    FINALIZER,
    LABEL_APPLYSET_PART_OF,
    LABEL_INSTANCE_ID,
    MANAGER_CHILDREN,
    MANAGER_PARENT,
)
from kroasync.model.objects import Key, Obj, labels_of, metadata, uid_of, version_of

# etcd counts from 2 on: an apply bound to it creates an object, or is a conflict.
_OF_NO_OBJECT = "1"


@dataclass(slots=True)
class Performer:
    """Performs the actions of one pass over one instance and remembers what it took over."""

    client: Client
    children: ChildStore
    instances: InstanceStore
    instance: Key
    watch_external: Callable[[Key, WatchExternal], Awaitable[None]]
    pause: Callable[[Key], Awaitable[None]]
    fights: Fights
    # Objects that existed before, and the managers who owned the fields we took.
    taken_over: dict[Key, tuple[str, ...]] = field(default_factory=dict)
    # Those objects, and those that were left to others, without their contents.
    existed: dict[Key, Obj] = field(default_factory=dict)
    # Children others keep changing or deleting: those to be put back later, and those where this has just become so.
    deferred: dict[Key, float] = field(default_factory=dict)
    contested: dict[Key, str] = field(default_factory=dict)
    # Requests sent; watches are not counted.
    sent: int = 0

    async def perform_all(self, actions: Sequence[Action]) -> list[Result]:
        """One result per action, in the order of the actions; independent actions run at the same time."""
        if len(actions) == 1:
            return [await self.perform(actions[0])]
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self.perform(action)) for action in actions]
        return [task.result() for task in tasks]

    async def perform(self, action: Action) -> Result:
        try:
            match action:
                case Apply():
                    return await self._apply(action)
                case Delete():
                    return await self._delete(action)
                case PatchParent():
                    return await self._patch_parent(action)
                case WatchExternal():
                    await self.watch_external(self.instance, action)
                    return Done(action=action)
                case Pause():
                    await self.pause(self.instance)
                    return Done(action=action)
        except ApiError as error:
            return Refused(action=action, refusal=refusal_of(error), message=_told(action, error))

    async def _apply(self, action: Apply) -> Result:
        subject, others = self._others(action)
        if subject is not None and (wait_s := self.fights.wait_s(subject)) > 0:
            self.deferred[action.key] = wait_s
            return Refused(action=action, refusal=Refusal.CONFLICT, message=others)
        before, lists = self.children.version(action.key), self.children.lists(action.key.resource)
        taken_from: tuple[str, ...] = ()
        if action.force:
            answer = await self._send(action, force=True)
        else:
            try:
                answer = await self._send(action, force=False, version=_OF_NO_OBJECT)
            except ConflictError as conflict:
                self.sent += 1
                found = await self.client.get(action.key)
                refused = self._refused(action, found)
                if refused is not None:
                    return refused
                before = version_of(found)
                answer, taken_from = await self._take_over(action, found, conflict.managers)
        self.children.applied(action.key, action.obj, answer, lists=lists)
        if subject is not None and version_of(answer) != before and self.fights.healed(subject):
            self.contested[action.key] = others
        if not action.force and not taken_from:
            taken_from = _other_managers(answer)
        if taken_from:
            self.taken_over[action.key] = taken_from
            self.existed[action.key] = _identity(answer)
        changed = version_of(answer) != before
        return Done(action=action, obj=answer, changed=changed, adopted=bool(taken_from))

    def _refused(self, action: Apply, found: Obj) -> Refused | None:
        """Why an object that was there before is left as it is; None if it is this instance's, or nobody's."""
        self.existed[action.key] = _identity(found)
        owner = labels_of(found).get(LABEL_APPLYSET_PART_OF, "")
        ours = labels_of(action.obj).get(LABEL_APPLYSET_PART_OF, "")
        if owner and owner != ours:
            return Refused(action=action, refusal=Refusal.FOREIGN, message=owner)
        if owner and MANAGER_CHILDREN in _managers(found):
            return None  # made without an answer, or not told of yet
        claim = claimed_by(found, action.obj)
        return Refused(action=action, refusal=Refusal.CLAIMED, message=claim) if claim else None

    async def _take_over(self, action: Apply, found: Obj, managers: tuple[str, ...]) -> tuple[Obj, tuple[str, ...]]:
        """Apply to an object as it was found, and who had its fields; `managers` have some we declare otherwise."""
        version = version_of(found)
        if not managers:
            try:
                return await self._send(action, force=False, version=version), ()
            except ConflictError as conflict:
                if not conflict.managers:
                    raise  # it changed meanwhile: who has it is to be seen anew
                managers = conflict.managers
        return await self._send(action, force=True, version=version), managers

    async def _send(self, action: Apply, *, force: bool, version: str = "") -> Obj:
        """Apply, to the object of this version if one is given."""
        self.sent += 1
        obj = stored(action.obj)
        if version:
            obj = {**obj, "metadata": {**obj["metadata"], "resourceVersion": version}}
        try:
            return await self.client.apply(
                action.key, obj, manager=MANAGER_CHILDREN, force=force, confidential=bool(action.secrets)
            )
        except (UnreachableError, ServerError):
            # It may have been done. If the watch is down, too, a deletion must not overlook the object.
            self.children.doubt(action.key, labels_of(action.obj).get(LABEL_INSTANCE_ID, ""))
            raise

    def _others(self, action: Apply) -> tuple[Hashable | None, str]:
        """What a fight over a child is about, and what others do to it, for people; None if nobody did anything."""
        if action.need is Need.CREATE and self.children.went(action.key):
            return self._lasting(action.key), "somebody keeps deleting it; it is recreated with growing pauses"
        child, live = self.children.find(action.key), self.children.unread(action.key)
        if action.need is not Need.HEAL or child is None or live is None:
            return None, ""
        held = contenders(live, stored(action.obj), MANAGER_CHILDREN)
        shown = {name: _unique(quotable_field(path, action.secrets) for path in paths) for name, paths in held.items()}
        named = "; ".join(f'manager "{name}" keeps changing {", ".join(paths)}' for name, paths in shown.items())
        return child.uid, f"{named or 'somebody keeps changing it'}; it is restored with growing pauses"

    def _lasting(self, child: Key) -> Hashable:
        """A child of this instance, whatever its UID; one that is made again under its name has others."""
        return child, uid_of(self.instances.head(self.instance) or {})

    async def _delete(self, action: Delete) -> Result:
        try:
            self.sent += 1
            # Said, since the API server's default for Jobs is to leave their Pods behind, running.
            answer = await self.client.delete(action.key, uid=action.uid, propagation="Background")
        except NotFoundError as error:
            if not error.is_of_object:
                # The kind is not served right now: that does not tell whether the object is there.
                return Refused(action=action, refusal=Refusal.UNAVAILABLE, message=error.message)
            answer = None
        self.fights.settled(self._lasting(action.key))
        if answer is None or answer.get("kind") == "Status" or uid_of(answer) != action.uid:
            self.children.gone(action.key, action.uid)
        else:
            self.children.put(action.key.resource, answer)
        return Done(action=action)

    async def _patch_parent(self, action: PatchParent) -> Result:
        known = self.instances.get(self.instance)
        if known is None:
            return Refused(action=action, refusal=Refusal.MISSING, message="the instance is gone")
        if not self.instances.is_whole(self.instance):
            known = await self.client.get(self.instance)
        patch = parent_patch(known, action)
        self.sent += 1
        answer = await self.client.merge_patch(self.instance, patch, manager=MANAGER_PARENT)
        self.instances.wrote(answer)
        return Done(action=action, obj=answer)


@dataclass(frozen=True, slots=True)
class Performers:
    """Makes the performer of each pass."""

    client: Client
    children: ChildStore
    watch_external: Callable[[Key, WatchExternal], Awaitable[None]]
    pause: Callable[[Key], Awaitable[None]]
    fights: Fights

    def of(self, instance: Key, instances: InstanceStore) -> Performer:
        """For one pass over this instance."""
        return Performer(self.client, self.children, instances, instance, self.watch_external, self.pause, self.fights)


def parent_patch(instance: Obj, action: PatchParent) -> Obj:
    """The merge patch of an instance's own metadata; bound to the version seen where it sets the finalizer list."""
    meta: Obj = {"uid": uid_of(instance)}
    if action.labels:
        meta["labels"] = action.labels
    if action.annotations:
        meta["annotations"] = action.annotations
    if action.add_finalizer:
        # A merge patch replaces the whole list: only valid for the version it was read from.
        meta["resourceVersion"] = version_of(instance)
        meta["finalizers"] = [*metadata(instance).get("finalizers", ()), FINALIZER]
    return {"metadata": meta}


def _other_managers(answer: Obj) -> tuple[str, ...]:
    """Who else manages fields of an object we have just applied; nobody does if that made it."""
    return tuple(sorted(_managers(answer) - {MANAGER_CHILDREN}))


def _managers(obj: Obj) -> set[str]:
    entries = metadata(obj).get("managedFields") or ()
    return {str(e.get("manager") or "unknown") for e in entries if not e.get("subresource")}


def _identity(obj: Obj) -> Obj:
    """What an Event about an object needs of it."""
    meta = {name: metadata(obj).get(name, "") for name in ("name", "namespace", "uid", "resourceVersion")}
    return {"apiVersion": obj.get("apiVersion", ""), "kind": obj.get("kind", ""), "metadata": meta}


def _told(action: Action, error: ApiError) -> str:
    """The server's message; of an object with values of Secrets only what cannot quote them."""
    if not isinstance(action, Apply) or not action.secrets or not error.quotes_body:
        return error.message
    fields = _unique(sorted(quotable_field(field, action.secrets) for field in error.fields))
    where = f" in {', '.join(fields)}" if any(fields) else ""
    return f"{error.known_reason}{where} (details withheld: the object holds values of a Secret)"


def quotable_field(field: str, secrets: Sequence[tuple[str | int, ...]]) -> str:
    """A field path of the server without keys that may be values: it ends where a value of a Secret begins, and
    before a key in brackets.
    """
    dot = "." if field.startswith(".") else ""
    shown = re.split(r"\[(?![0-9]*\])", field.removeprefix(dot))[0]
    for path in secrets:
        begin = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).removeprefix(".")
        if shown.startswith((f"{begin}.", f"{begin}[")):
            shown = begin
    return dot + shown


def _unique(texts: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(text for text in texts if text))


_REFUSALS: tuple[tuple[type[ApiError], Refusal], ...] = (
    (AlreadyExistsError, Refusal.CONFLICT),
    (ConflictError, Refusal.CONFLICT),
    (NotFoundError, Refusal.MISSING),
    (TooBigError, Refusal.TOO_BIG),
    (InvalidError, Refusal.INVALID),
    (ForbiddenError, Refusal.FORBIDDEN),
    (UnauthorizedError, Refusal.FORBIDDEN),
)


def refusal_of(error: ApiError) -> Refusal:
    """How the engine is to understand an API error."""
    for kind, refusal in _REFUSALS:
        if isinstance(error, kind):
            return refusal
    return Refusal.UNAVAILABLE
