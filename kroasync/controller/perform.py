"""Perform the actions of the engine: a pass writes children and metadata only here.

Every action has a result; a refusal is a result, too. A delete carries UID and version of the object that the engine
saw, for a policy that the cache has not seen must not be overlooked. A release reads the object first, and changes only
the version that it read.

The first apply of an unknown object can only create it: the apply carries a resourceVersion that no object has. If an
object exists already, the API server answers with a conflict, and the performer reads the object. If nobody owns the
object, a second apply with the version just read adopts it (`engine.adoption`). If somebody owns it, nothing changes.
What is applied only once is adopted by a patch of its labels and annotations.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Hashable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

from kroasync.controller.child_store import ChildStore
from kroasync.controller.fights import Fights, contenders
from kroasync.controller.instance_store import InstanceStore
from kroasync.controller.refusals import (
    ContestedError,
    ManagedError,
    explained,
    immutable_fields,
    message_of,
    quotable_field,
    refusal_of,
    unique,
    unserved,
)
from kroasync.engine.actions import (
    Action,
    Apply,
    Delete,
    Done,
    Need,
    PatchParent,
    Pause,
    Read,
    Refusal,
    Refused,
    Release,
    Result,
    WatchExternal,
    Yielding,
)
from kroasync.engine.adoption import is_child, joining, managed_text, managers_of, objection, unshared
from kroasync.engine.difference import difference
from kroasync.engine.drift import stored
from kroasync.engine.mending import Mending, disowning_patch, key_patch, may_have_leftovers, mending
from kroasync.engine.orphans import released, still_goes
from kroasync.engine.withholding import places, withheld
from kroasync.engine.yielding import agree, foreign_fields, is_guarded, refusal_text, yielding
from kroasync.kube.api_errors import (
    ApiError,
    ConflictError,
    InvalidError,
    NotFoundError,
    ServerError,
    UnreachableError,
)
from kroasync.kube.client import Client
from kroasync.kube.outage import Stumbles
from kroasync.model.names import (
    FINALIZER,
    LABEL_APPLYSET_PART_OF,
    LABEL_INSTANCE_ID,
    MANAGER_CHILDREN,
    MANAGER_PARENT,
)
from kroasync.model.objects import Key, Obj, labels_of, metadata, uid_of, version_of
from kroasync.model.policies import Adoption, Conflicts, Update

log = logging.getLogger("kroasync.children")

# The first resourceVersion of etcd is 2. So an apply with this version creates an object, or is a conflict.
_OF_NO_OBJECT = "1"


@dataclass(frozen=True, slots=True)
class _Shared:
    """The answer to an apply, the object that was sent, and what of the declared one was left to others."""

    answer: Obj
    obj: Obj
    left: Yielding | None = None


@dataclass(slots=True)
class Performer:
    """Performs the actions of one pass over one instance and remembers the objects that it adopted."""

    client: Client
    children: ChildStore
    instances: InstanceStore
    instance: Key
    watch_external: Callable[[Key, WatchExternal], Awaitable[None]]
    pause: Callable[[Key], Awaitable[None]]
    fights: Fights
    # Adopted objects, and the managers that their fields had.
    taken_over: dict[Key, tuple[str, ...]] = field(default_factory=dict)
    # The identities of adopted objects and of objects whose adoption was refused.
    existed: dict[Key, Obj] = field(default_factory=dict)
    # The identities of released objects.
    released: dict[Key, Obj] = field(default_factory=dict)
    # Children that somebody else keeps changing or deleting: how many seconds to wait before each is restored, and the
    # children that became contested in this pass.
    deferred: dict[Key, float] = field(default_factory=dict)
    contested: dict[Key, str] = field(default_factory=dict)
    # How many requests were sent, not counting watches.
    sent: int = 0
    stumbles: Stumbles = field(default_factory=Stumbles)

    async def perform_all(self, actions: Sequence[Action]) -> list[Result]:
        """Perform a batch concurrently; returns one result for each action, in the same order."""
        if len(actions) == 1:
            return [await self.perform(actions[0])]
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self.perform(action)) for action in actions]
        return [task.result() for task in tasks]

    async def perform(self, action: Action) -> Result:
        try:
            match action:
                case Apply():
                    return self._passed(action.key, await self._logged(action))
                case Read():
                    return self._passed(action.key, await self._read(action))
                case Delete():
                    return self._passed(action.key, await self._delete(action))
                case Release():
                    return self._passed(action.key, await self._release(action))
                case PatchParent():
                    return self._passed(self.instance, await self._patch_parent(action))
                case WatchExternal():
                    await self.watch_external(self.instance, action)
                    return Done(action=action)
                case Pause():
                    await self.pause(self.instance)
                    return Done(action=action)
        except ApiError as error:
            return self._failed(action, error)

    def _passed(self, key: Key, result: Result) -> Result:
        self.stumbles.passed(key)
        return result

    def _failed(self, action: Action, error: ApiError) -> Refused:
        """The result of an action that the API server did not perform."""
        refusal, message = refusal_of(error), message_of(action, error)
        child = action.key if isinstance(action, Apply | Read | Delete | Release) else None
        if isinstance(error, NotFoundError) and not error.is_of_object and child is not None:
            message = unserved(child)
        subject = child or self.instance
        if refusal is not Refusal.UNAVAILABLE:
            self.stumbles.passed(subject)
        elif self.stumbles.failed(subject, error):
            refusal = Refusal.FAULT
            message += " (the API server fails at this object again and again, and takes other writes)"
        return Refused(action=action, refusal=refusal, message=message, immutable=immutable_fields(action, error))

    async def _logged(self, action: Apply) -> Result:
        """The result of an apply. At debug level, and only there, the log says which fields changed; never a value."""
        if not log.isEnabledFor(logging.DEBUG) or action.need is Need.CREATE:
            return await self._apply(action)
        before = self.children.unread(action.key)
        if before is None:
            self.sent += 1
            with suppress(ApiError):  # whatever is wrong, the apply meets it, too
                before = await self.client.get(action.key)
        result = await self._apply(action)
        if before is not None and isinstance(result, Done) and result.obj is not None and result.changed:
            hidden = places(action.key, action.secrets)
            fields = unique(withheld(change, hidden).path for change in difference(before, result.obj))
            log.debug("child updated", extra={"child": str(action.key), "need": action.need.value, "fields": fields})
        return result

    async def _apply(self, action: Apply) -> Result:
        subject, others = self._others(action)
        if subject is not None and (wait_s := self.fights.wait_s(subject)) > 0:
            self.deferred[action.key] = wait_s
            return Refused(action=action, refusal=Refusal.CONFLICT, message=others)
        before, lists = self.children.version(action.key), self.children.lists(action.key.resource)
        had: tuple[str, ...] | None = None
        if action.force and is_guarded(action.policies, action.external_fields):
            shared = await self._guarded(action)
        elif action.force:
            shared = _Shared(await self._forced(action), action.obj)
        else:
            try:
                shared = _Shared(await self._send(action, force=False, version=_OF_NO_OBJECT), action.obj)
            except ConflictError as conflict:
                self.sent += 1
                found = await self.client.get(action.key)
                refused = self._refused(action, found)
                if refused is not None:
                    return refused
                before = version_of(found)
                shared, had = await self._adopt(action, found, conflict)
            else:
                # An API server that knows no versions: the apply did not create it.
                had = tuple(m for m in managers_of(shared.answer) if m != MANAGER_CHILDREN) or None
        answer = shared.answer
        self.children.applied(action.key, shared.obj, answer, lists=lists)
        if subject is not None and version_of(answer) != before and self.fights.healed(subject):
            self.contested[action.key] = others
        if had is not None:
            self.taken_over[action.key] = had
            self.existed[action.key] = _identity(answer)
        changed = version_of(answer) != before
        return Done(action=action, obj=answer, changed=changed, adopted=had is not None, yielded=shared.left)

    def _refused(self, action: Apply, found: Obj) -> Refused | None:
        """Why an existing object is not adopted; None if it belongs to this instance or to nobody."""
        self.existed[action.key] = _identity(found)
        declared = unshared(found, action.obj, action.external_fields)
        against = objection(action.policies.adoption, found, declared, action.secrets)
        return Refused(action=action, refusal=against.refusal, message=against.text) if against else None

    async def _adopt(
        self, action: Apply, found: Obj, conflict: ConflictError
    ) -> tuple[_Shared, tuple[str, ...] | None]:
        """Make an object a child, as it was found; returns also the managers of its fields, or None if it was a child
        before.
        """
        taken_from: tuple[str, ...] = ()
        if action.policies.update is Update.ONCE:
            shared = await self._join(action, found)
        elif action.policies.adoption is Adoption.IF_UNOWNED and not is_child(found, action.obj):
            shared = await self._take_unowned(action, found)
        elif is_guarded(action.policies, action.external_fields):
            shared = await self._take_part(action, found, conflict)
        else:
            answer, taken_from = await self._take_over(action, found, conflict.managers)
            shared = _Shared(answer, action.obj)
        is_adopted = bool(taken_from) or not is_child(found, action.obj)
        return shared, (taken_from or managers_of(found)) if is_adopted else None

    async def _join(self, action: Apply, found: Obj) -> _Shared:
        """Adopt an object as it was found without changing what it is."""
        patch = joining(found, action.obj)
        if patch is None:
            return _Shared(found, {})
        self.sent += 1
        return _Shared(await self.client.merge_patch(action.key, patch, manager=MANAGER_CHILDREN), patch)

    async def _take_unowned(self, action: Apply, found: Obj) -> _Shared:
        """Adopt an object as it was found, if no other manager has a field of it with another value."""
        sent = unshared(found, action.obj, action.external_fields)
        try:
            answer = await self._send(replace(action, obj=sent), force=False, version=version_of(found))
            return _Shared(answer, sent)
        except ConflictError as conflict:
            if not conflict.managers:
                raise  # the object changed meanwhile, so its owner must be checked again
            fields = unique(quotable_field(field, action.secrets) for field in conflict.fields)
            text = f"{', '.join(fields)} by {', '.join(conflict.managers)}"
            raise ManagedError(managed_text(text)) from None

    async def _take_over(self, action: Apply, found: Obj, managers: tuple[str, ...]) -> tuple[Obj, tuple[str, ...]]:
        """Adopt an object as it was found; returns the answer and the managers that had its fields.

        `managers` have fields that we declare with other values.
        """
        version = version_of(found)
        if not managers:
            try:
                return await self._send(action, force=False, version=version), ()
            except ConflictError as conflict:
                if not conflict.managers:
                    raise  # the object changed meanwhile, so its owner must be checked again
                managers = conflict.managers
        return await self._send(action, force=True, version=version), managers

    async def _guarded(self, action: Apply) -> _Shared:
        """Apply to a child some of whose fields other managers may have meanwhile (`engine.yielding`)."""
        try:
            if action.policies.conflicts is Conflicts.FORCE:
                # Only to the version that the decision about external fields was made for.
                answer = await self._forced(action, version=self.children.version(action.key) or _OF_NO_OBJECT)
            else:
                answer = await self._send(action, force=False)
            return _Shared(answer, action.obj)
        except ConflictError as conflict:
            self.sent += 1
            found = await self.client.get(action.key)
            owner = labels_of(found).get(LABEL_APPLYSET_PART_OF, "")
            if owner not in ("", labels_of(action.obj).get(LABEL_APPLYSET_PART_OF, "")):
                raise  # it became a child of somebody else, which the cache will show
            return await self._share(action, found, conflict.fields, conflict)

    async def _take_part(self, action: Apply, found: Obj, conflict: ConflictError) -> _Shared:
        """Adopt an object as it was found, as far as other managers may keep fields of it."""
        version = version_of(found)
        try:
            try:
                return await self._share(action, found, conflict.fields, conflict, version=version)
            except ConflictError as second:
                if conflict.managers or not second.managers:
                    raise
                return await self._share(action, found, second.fields, second, version=version)
        except ContestedError as error:
            raise ManagedError(f"its {error.message}") from None

    async def _share(
        self, action: Apply, live: Obj, named: Sequence[str], conflict: ConflictError, *, version: str = ""
    ) -> _Shared:
        """Apply to an object as it was read, without the fields that are left to others.

        `named` are the fields that the API server named in its conflict. If a version is given, an apply that is not
        forced is bound to it, too.
        """
        terms = agree(live, action.obj, action.policies, action.external_fields, named)
        if terms.refused:
            raise ContestedError(refusal_text(foreign_fields(terms.refused, action.secrets)))
        if named and not terms.yielded and not terms.force:
            raise conflict  # managedFields do not say what is contested
        shared = replace(action, obj=terms.obj)
        answer = await self._send(shared, force=terms.force, version=version_of(live) if terms.force else version)
        return _Shared(answer, terms.obj, yielding(live, terms, action.secrets))

    async def _forced(self, action: Apply, *, version: str = "") -> Obj:
        """Apply to a child; before that, set back the keys that somebody edited in its lists (`engine.mending`)."""
        live = self.children.unread(action.key)
        if live is not None:
            mended = await self._mend(action, live, mending(live, stored(action.obj), MANAGER_CHILDREN))
            version = version and version_of(mended)
        try:
            answer = await self._send(action, force=True, version=version)
        except InvalidError as error:
            if not error.is_about_elements:
                raise
            self.sent += 1
            live = await self.client.get(action.key)
            found = mending(live, stored(action.obj), MANAGER_CHILDREN, twice=error.fields_twice)
            if not found.edits:
                raise explained(error, found.obstacle) from None
            await self._mend(action, live, found)
            return await self._send(action, force=True)
        if not may_have_leftovers(answer, MANAGER_CHILDREN):
            return answer
        return await self._mend(action, answer, mending(answer, stored(action.obj), MANAGER_CHILDREN))

    async def _mend(self, action: Apply, live: Obj, found: Mending) -> Obj:
        """Carry out the repairs of a child; returns the child as the API server has it."""
        if not found.edits:
            return live
        repaired = await self._patch(action, key_patch(live, found.edits))
        disowning = disowning_patch(live, repaired, MANAGER_CHILDREN)
        return await self._patch(action, disowning) if disowning else repaired

    async def _patch(self, action: Apply, operations: list[Obj]) -> Obj:
        self.sent += 1
        return await self.client.json_patch(
            action.key, operations, manager=MANAGER_CHILDREN, confidential=bool(action.secrets)
        )

    async def _send(self, action: Apply, *, force: bool, version: str = "") -> Obj:
        """Apply; if a version is given, only to the object of that version."""
        self.sent += 1
        obj = stored(action.obj)
        if version:
            obj = {**obj, "metadata": {**obj["metadata"], "resourceVersion": version}}
        try:
            return await self.client.apply(
                action.key, obj, manager=MANAGER_CHILDREN, force=force, confidential=bool(action.secrets)
            )
        except (UnreachableError, ServerError):
            # The apply may have succeeded. If the watch is down too, a deletion must not overlook the object.
            self.children.doubt(action.key, labels_of(action.obj).get(LABEL_INSTANCE_ID, ""))
            raise

    def _others(self, action: Apply) -> tuple[Hashable | None, str]:
        """The subject of a fight over a child, and a text about the other side; None and "" if there is no fight."""
        if action.need is Need.CREATE and self.children.went(action.key):
            return self._lasting(action.key), "somebody keeps deleting it; it is recreated with growing delays"
        child, live = self.children.find(action.key), self.children.unread(action.key)
        if action.need is not Need.HEAL or child is None or live is None:
            return None, ""
        held = contenders(live, stored(action.obj), MANAGER_CHILDREN)
        quotable = (lambda path: quotable_field(path, action.secrets)) if action.secrets else str
        shown = {name: unique(map(quotable, paths)) for name, paths in held.items()}
        named = "; ".join(f'manager "{name}" keeps changing {", ".join(paths)}' for name, paths in shown.items())
        return child.uid, f"{named or 'somebody keeps changing it'}; it is restored with growing delays"

    def _lasting(self, child: Key) -> Hashable:
        """The subject of a fight over a child that is deleted and recreated: its UID changes each time."""
        return child, uid_of(self.instances.head(self.instance) or {})

    async def _read(self, action: Read) -> Result:
        self.sent += 1
        known = self.children.find(action.key)
        try:
            live = await self.client.get(action.key)
        except NotFoundError as error:
            if known is not None and error.is_of_object:
                self.children.gone(action.key, known.uid)
            raise
        self.children.put(action.key.resource, live)
        return Done(action=action, obj=live, changed=False)

    async def _delete(self, action: Delete) -> Result:
        try:
            answer = await self._deleted(action)
        except NotFoundError as error:
            if not error.is_of_object:
                # The kind is not served now. That does not tell whether the object exists.
                return Refused(action=action, refusal=Refusal.UNAVAILABLE, message=unserved(action.key))
            answer = None
        self.fights.settled(self._lasting(action.key))
        if answer is None or answer.get("kind") == "Status" or uid_of(answer) != action.uid:
            self.children.gone(action.key, action.uid)
        else:
            self.children.put(action.key.resource, answer)
        return Done(action=action)

    async def _deleted(self, action: Delete) -> Obj | None:
        """Delete the object in the version that the decision is about, or in a later one that does not change it."""
        decided = self.children.find(action.key)
        if decided is not None and decided.orphaned:
            # The policy changed after the decision, for instance while an earlier wave was deleted.
            raise ConflictError("the object changed meanwhile")
        try:
            return await self._send_delete(action, self.children.version(action.key))
        except ConflictError:
            self.sent += 1
            live = await self.client.get(action.key)
            self._correct(action.key, action.uid, live)
            if decided is None or not still_goes(decided, live):
                raise
            return await self._send_delete(action, version_of(live))

    async def _send_delete(self, action: Delete, version: str | None) -> Obj | None:
        self.sent += 1
        # Explicit, because the API server's default for Jobs orphans their Pods.
        return await self.client.delete(action.key, uid=action.uid, version=version, propagation=action.propagation)

    async def _release(self, action: Release) -> Result:
        self.sent += 1
        try:
            live = await self.client.get(action.key)
        except NotFoundError as error:
            if not error.is_of_object:
                return Refused(action=action, refusal=Refusal.UNAVAILABLE, message=unserved(action.key))
            self.children.gone(action.key, action.uid)
            return Refused(action=action, refusal=Refusal.MISSING, message=error.message)
        patch = released(live, action)
        if patch is None:
            self._correct(action.key, action.uid, live)
            return Refused(action=action, refusal=Refusal.CONFLICT, message="the object changed meanwhile")
        self.sent += 1
        answer = await self.client.merge_patch(action.key, patch, manager=MANAGER_CHILDREN)
        self.fights.settled(self._lasting(action.key))
        self.children.gone(action.key, action.uid, version=version_of(answer))
        self.released[action.key] = _identity(answer)
        return Done(action=action, obj=answer)

    def _correct(self, key: Key, uid: str, live: Obj) -> None:
        """Correct the cache, which showed another state of the object with this UID."""
        if LABEL_INSTANCE_ID in labels_of(live):
            self.children.put(key.resource, live)
        else:
            self.children.gone(key, uid, version=version_of(live))

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
    """Builds the performer of each pass."""

    client: Client
    children: ChildStore
    watch_external: Callable[[Key, WatchExternal], Awaitable[None]]
    pause: Callable[[Key], Awaitable[None]]
    fights: Fights

    def of(self, instance: Key, instances: InstanceStore) -> Performer:
        """The performer for one pass over this instance."""
        return Performer(
            self.client,
            self.children,
            instances,
            instance,
            self.watch_external,
            self.pause,
            self.fights,
            stumbles=self.client.stumbles,
        )


def parent_patch(instance: Obj, action: PatchParent) -> Obj:
    """The merge patch of an instance's own metadata; with a resourceVersion if it sets the list of finalizers."""
    meta: Obj = {"uid": uid_of(instance)}
    if action.labels:
        meta["labels"] = action.labels
    if action.annotations:
        meta["annotations"] = action.annotations
    if action.version:
        meta["resourceVersion"] = action.version
    if action.add_finalizer:
        # A merge patch replaces the whole list, so it is valid only for the version that the list was read from.
        meta["resourceVersion"] = version_of(instance)
        meta["finalizers"] = [*metadata(instance).get("finalizers", ()), FINALIZER]
    return {"metadata": meta}


def _identity(obj: Obj) -> Obj:
    """The part of an object that an Event about it needs."""
    meta = {name: metadata(obj).get(name, "") for name in ("name", "namespace", "uid", "resourceVersion")}
    return {"apiVersion": obj.get("apiVersion", ""), "kind": obj.get("kind", ""), "metadata": meta}
