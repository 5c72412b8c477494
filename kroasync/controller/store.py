"""The caches: instances and children as last seen, fed by watches and by the answers to our own writes.

An answer enters at once, so nobody waits to see an own write. Which observation wins when a watch, a list and an answer
tell of one object is decided by the tables of `engine.observations`. A child is compared with what is declared by two
fingerprints (see `engine.drift`): the one of what was sent, and the one of the same fields in the server's answer.
Between events only the fields the graphs read are kept.

Anybody who may create objects may label them like children. What no known instance claims is a stranger: its identity
and a hash are all that is kept. So it is with everything once there is no room (see `room`), and what an instance
declares is then applied again, which changes nothing, when it has to be known.
"""

import logging
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from kroasync.controller.projection import Projection
from kroasync.controller.room import Held, Room
from kroasync.engine.actions import Need, Observed
from kroasync.engine.drift import Applied, fingerprint, is_in_effect, need, stored
from kroasync.engine.labels import node_of
from kroasync.engine.observations import CHILDREN, INSTANCES, Age, Effect, Origin, Sighting, age
from kroasync.model.names import (
    ANNOTATION_APPLY_ORDER,
    ANNOTATION_APPLYSET_GROUP_KINDS,
    ANNOTATION_APPLYSET_NAMESPACES,
    ANNOTATION_APPLYSET_TOOLING,
    ANNOTATION_INVENTORY_HASH,
    ANNOTATION_RECONCILE,
    ANNOTATION_SEAL,
    APPLYSET_PREFIX,
    LABEL_APPLYSET_ID,
    LABEL_APPLYSET_PART_OF,
    LABEL_INSTANCE_ID,
    MANAGER_CHILDREN,
    MANAGER_STATUS,
    RESERVED_PREFIXES,
)
from kroasync.model.objects import (
    Key,
    Obj,
    Resource,
    annotations_of,
    is_same,
    labels_of,
    metadata,
    name_of,
    namespace_of,
    uid_of,
    version_of,
)

log = logging.getLogger("kroasync.store")

Wake = Callable[[str], None]
# Whether an object is a child of an instance that is known: no more than its labels say so.
Claims = Callable[[Key, Obj], bool]

_IDENTITY_ONLY = Projection()
_GONE_KEPT = 4096
_NO_NEWS: Final = (Age.SAME, Age.OLDER)


def key_of(resource: Resource, obj: Obj) -> Key:
    """The key of an object of a known resource."""
    return Key(resource, namespace_of(obj) if resource.namespaced else "", name_of(obj))


def _sighting(obj: Obj) -> Sighting:
    return uid_of(obj), version_of(obj)


@dataclass(slots=True)
class Child:
    """What is kept of an object."""

    key: Key
    uid: str
    version: str
    instance: str
    node: str
    part_of: str
    seal: str
    apply_order: int
    deleting: bool
    ours: bool
    # Some instance says that it is its child.
    claimed: bool
    # The fields the graphs read; None of a stranger, or without room.
    kept: Held | None
    # Hash of everything a writer can declare: unchanged means that only status or bookkeeping moved.
    body: str
    # The whole object, until it was compared with what is declared; None without room, too: then `applied` is None.
    fresh: Held | None
    applied: Applied | None = None

    @property
    def sighting(self) -> Sighting:
        return self.uid, self.version

    def observed(self) -> Observed:
        return Observed(
            key=self.key,
            uid=self.uid,
            obj=self.kept.open() if self.kept is not None else self._identity(),
            node=self.node,
            deleting=self.deleting,
            ours=self.ours,
            part_of=self.part_of,
            seal=self.seal,
            apply_order=self.apply_order,
        )

    def _identity(self) -> Obj:
        resource, where = self.key.resource, {"namespace": self.key.namespace} if self.key.namespace else {}
        meta = {"name": self.key.name, **where, "uid": self.uid}
        return {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": meta}


class ChildStore:
    """Managed objects of every kind. `wake(instance uid)` is called when something an instance cares about changed."""

    def __init__(self, wake: Wake, *, claims: Claims, room: Room | None = None) -> None:
        self._wake = wake
        self._claims = claims
        self._room = room or Room()
        self._children: dict[Key, Child] = {}
        # Of each kind, how many strangers were told of.
        self._told: dict[Resource, int] = {}
        self._strangers: Counter[Resource] = Counter()
        self._by_resource: dict[Resource, set[Key]] = {}
        self._by_instance: dict[str, dict[Key, None]] = {}
        self._projections: dict[Resource, Projection] = {}
        # Objects of which less is kept than the projections ask for by now.
        self._narrow: set[Key] = set()
        # UID and version of objects that went lately: an answer that was on its way then must not bring them back.
        self._gone: OrderedDict[Key, Sighting] = OrderedDict()
        # How often each kind was listed, and the version of the last list.
        self._lists: dict[Resource, int] = {}
        # By instance UID: objects that may have been created although no answer came, and no event did either.
        self._unanswered: dict[str, set[Key]] = {}
        self._listed: dict[Resource, str] = {}

    def __len__(self) -> int:
        return len(self._children)

    def widen(self, resource: Resource, paths: Iterable[tuple[str, ...]]) -> bool:
        """Keep more fields of a kind from now on; True if what is kept, or being listed, may lack them (list again)."""
        before = self._projections.get(resource, _IDENTITY_ONLY)
        after = before.widened(paths)
        self._projections[resource] = after
        if after is not before:
            self._narrow.update(self._by_resource.get(resource, ()))
        return after is not before

    def find(self, key: Key) -> Observed | None:
        child = self._children.get(key)
        return child.observed() if child else None

    def members(self, instance_uid: str) -> list[Observed]:
        """Every object that carries the label of the instance."""
        return [self._children[key].observed() for key in self._by_instance.get(instance_uid, ())]

    def compare(self, key: Key, desired: Obj) -> Need | None:
        """Whether sending `desired` would change anything."""
        child = self._children.get(key)
        if child is None:
            return Need.CREATE
        if child.kept is None:
            return Need.UPDATE  # the answer has what the graph reads
        desired = stored(desired)
        fresh = child.fresh.open() if child.fresh is not None else None
        if child.applied is None and fresh is not None and is_in_effect(fresh, desired, MANAGER_CHILDREN):
            # Applied by an earlier run of the controller: learnt from the object, not by sending it again.
            child.applied = Applied.of(desired, fresh)
        found = need(child.applied, desired, fresh)
        if found is None:
            child.fresh = None
        return found

    def unread(self, key: Key) -> Obj | None:
        """The whole object as last seen, if it was not found to be as declared since."""
        child = self._children.get(key)
        return child.fresh.open() if child is not None and child.fresh is not None else None

    def version(self, key: Key) -> str | None:
        """The resourceVersion an object was last seen with."""
        child = self._children.get(key)
        return child.version if child else None

    def lists(self, resource: Resource) -> int:
        """How often the kind was listed so far."""
        return self._lists.get(resource, 0)

    def applied(self, key: Key, desired: Obj, answer: Obj, *, lists: int | None = None) -> None:
        """Take in the answer to an apply; `lists` is how often the kind had been listed when it was sent."""
        lacked = self._listed[key.resource] if lists is not None and lists != self.lists(key.resource) else None
        child = self._children.get(key)
        effect = CHILDREN[Origin.ANSWER][self._age(key, _sighting(answer), child, lacked=lacked)]
        if effect is Effect.ASK:
            self._wake(labels_of(answer).get(LABEL_INSTANCE_ID, ""))
        elif effect is not Effect.IGNORE:
            if child is None or effect is Effect.TAKE or (effect is Effect.REFILL and child.kept is None):
                child = self._take(self._seen(key, answer, claimed=True, whole=False))
            self._learn(child, desired, answer)

    def _learn(self, child: Child, desired: Obj, answer: Obj) -> None:
        """An apply of what is declared was answered like this."""
        # If a watch was faster, what it brought is the answer itself, or a later state that still has to be compared.
        if child.version == version_of(answer):
            child.fresh = None
        elif child.fresh is None and child.body != _body(answer):
            # What came later equals what was compared before this apply, and is not at hand any more: sent again.
            child.applied = None
            return
        child.applied = Applied.of(stored(desired), answer)

    def doubt(self, key: Key, instance_uid: str) -> None:
        """An apply got no answer: the object may exist without being known here."""
        if key not in self._children:
            self._unanswered.setdefault(instance_uid, set()).add(key)

    def unanswered(self, instance_uid: str) -> list[Key]:
        """Objects to be asked for before anyone concludes that an instance has none left."""
        return sorted(key for key in self._unanswered.get(instance_uid, ()) if key not in self._children)

    def settle(self, instance_uid: str) -> None:
        """The unanswered objects of an instance were asked for, or nobody needs to know any more."""
        self._unanswered.pop(instance_uid, None)

    def see(self, resource: Resource, obj: Obj) -> Child:
        """What is to be kept of an object, by what is known now; for `replace`."""
        key = key_of(resource, obj)
        known = self._children.get(key)
        same = known is not None and known.uid == uid_of(obj)
        claimed = (same and known is not None and known.applied is not None) or self._claims(key, obj)
        return self._seen(key, obj, claimed=claimed)

    def put(self, resource: Resource, obj: Obj) -> bool:
        """An object seen by a watch; True if it concerned an instance."""
        known = self._children.get(key_of(resource, obj))
        is_kept = known is not None and known.claimed and known.key not in self._narrow
        if known is not None and is_kept and age(_sighting(obj), known.sighting) in _NO_NEWS:
            return False  # as most events, which are of our own writes
        concerned = self._put(self.see(resource, obj))
        self._tell(resource)
        return concerned

    def _put(self, child: Child) -> bool:
        known = self._children.get(child.key)
        effect = CHILDREN[Origin.SEEN][self._age(child.key, child.sighting, known)]
        if known is not None and effect is Effect.REFILL:
            return self._keep_more(known, child)
        if effect is not Effect.TAKE:
            return False
        self._take(child)
        if known is not None and known.instance == child.instance and _shows_the_same(known, child):
            return False
        concerned = [uid for uid in dict.fromkeys((known.instance if known else "", child.instance)) if uid]
        for uid in concerned:
            self._wake(uid)
        return bool(concerned)

    def _keep_more(self, known: Child, child: Child) -> bool:
        """Take the wider projection of an object that did not change; True if that concerned an instance."""
        if child.claimed and not known.claimed:
            self._take(child)
        elif known.key in self._narrow:
            self._narrow.discard(known.key)
            if _keeps_the_same(known, child):
                return False
            known.kept = child.kept
        else:
            return False
        if known.instance:
            self._wake(known.instance)
        return bool(known.instance)

    def remove(self, resource: Resource, obj: Obj) -> bool:
        """An object a watch saw deleted (or leaving the selector); True if it concerned an instance."""
        return self.gone(key_of(resource, obj), uid_of(obj), version=version_of(obj))

    def gone(self, key: Key, uid: str, *, version: str = "") -> bool:
        """The object with this UID no longer exists (since `version`, if known); True if it concerned an instance."""
        known = self._children.get(key)
        # Without a version it is gone as last seen.
        last = (uid, version or (known.version if known is not None else ""))
        effect = CHILDREN[Origin.DELETED][age(last, known.sighting if known is not None else None)]
        if effect in (Effect.NOTE, Effect.LOSE):
            self._note_gone(key, last)
        return known is not None and effect is Effect.LOSE and self._lose(known)

    def _lose(self, child: Child) -> bool:
        self._drop(child.key)
        if child.instance:
            self._wake(child.instance)
        return bool(child.instance)

    def _note_gone(self, key: Key, last: Sighting) -> None:
        self._gone[key] = last
        self._gone.move_to_end(key)
        if len(self._gone) > _GONE_KEPT:
            self._gone.popitem(last=False)

    def went(self, key: Key) -> bool:
        """Whether there was an object of this key not long ago."""
        return key in self._gone and key not in self._children

    def _age(self, key: Key, seen: Sighting, known: Child | None, *, lacked: str | None = None) -> Age:
        return age(seen, known.sighting if known is not None else None, gone=self._gone.get(key), lacked=lacked)

    def replace(self, resource: Resource, children: list[Child], version: str = "") -> None:
        """The full state of a kind after a list; `version` is the list's, which says nothing of what is newer."""
        self._lists[resource] = self.lists(resource) + 1
        self._listed[resource] = version
        keep = {child.key for child in children}
        for key in [k for k in self._by_resource.get(resource, ()) if k not in keep]:
            known = self._children[key]
            if CHILDREN[Origin.ABSENT][age((known.uid, version), known.sighting)] is Effect.DROP:
                self._lose(known)
        for child in children:
            self._put(child)
        self._tell(resource)

    def forget_resource(self, resource: Resource) -> None:
        """The kind is no longer watched: drop what is known of it, waking nobody."""
        for key in list(self._by_resource.get(resource, ())):
            self._drop(key)
        self._projections.pop(resource, None)
        self._strangers.pop(resource, None)
        self._told.pop(resource, None)

    def versions(self, resource: Resource) -> dict[tuple[str, str], str]:
        """The version of every object of a kind, by namespace and name."""
        return {(key.namespace, key.name): self._children[key].version for key in self._by_resource.get(resource, ())}

    def count(self, resource: Resource) -> int:
        return len(self._by_resource.get(resource, ()))

    def strangers(self) -> dict[tuple[str, ...], float]:
        """How many objects of each kind are labelled like children, and no known instance claims them."""
        return {(str(resource),): count for resource, count in self._strangers.items()}

    def _tell(self, resource: Resource) -> None:
        """One line for a kind that has strangers, another when they are twice as many."""
        count = self._strangers[resource]
        if count > 2 * self._told.get(resource, 0):
            self._told[resource] = count
            example = next(k for k in self._by_resource[resource] if not self._children[k].claimed)
            log.warning(
                "strangers: objects labelled like children that no known instance claims",
                extra={"resource": str(resource), "count": count, "example": str(example)},
            )

    def _seen(self, key: Key, obj: Obj, *, claimed: bool, whole: bool = True) -> Child:
        known = self._children.get(key)
        labels, body = labels_of(obj), _body(obj)
        # What is not claimed is not compared. What was compared and has the same body need not be again.
        whole = whole and claimed and not _is_compared(known, uid_of(obj), body)
        order = annotations_of(obj).get(ANNOTATION_APPLY_ORDER, "")
        projection = self._projections.get(key.resource, _IDENTITY_ONLY)
        return Child(
            key=key,
            uid=uid_of(obj),
            version=version_of(obj),
            instance=labels.get(LABEL_INSTANCE_ID, ""),
            node=node_of(obj),
            part_of=labels.get(LABEL_APPLYSET_PART_OF, ""),
            seal=seal_of(obj),
            # Anybody may write it: Python refuses to read very long numbers.
            apply_order=int(order) if order.isdecimal() and len(order) <= _ORDER_DIGITS else 0,
            deleting="deletionTimestamp" in obj["metadata"],
            ours=any(entry.get("manager") == MANAGER_CHILDREN for entry in metadata(obj).get("managedFields") or ()),
            claimed=claimed,
            kept=self._room.hold(projection.keep(obj)) if claimed else None,
            body=body,
            fresh=self._room.hold(obj) if whole else None,
        )

    def _take(self, child: Child) -> Child:
        """Know the child from now on."""
        key, known = child.key, self._children.get(child.key)
        if known is not None and known.uid == child.uid:
            if _is_compared(known, child.uid, child.body):
                child.applied, child.fresh = known.applied, None
            elif child.fresh is not None:
                child.applied = known.applied
        if known is not None:
            self._strangers[key.resource] -= not known.claimed
            if known.instance != child.instance:
                self._unindex(known)
        self._strangers[key.resource] += not child.claimed
        self._children[key] = child
        self._narrow.discard(key)
        self._by_resource.setdefault(key.resource, set()).add(key)
        if child.instance:
            self._by_instance.setdefault(child.instance, {})[key] = None
        return child

    def _drop(self, key: Key) -> None:
        child = self._children.pop(key)
        self._narrow.discard(key)
        self._by_resource[key.resource].discard(key)
        self._strangers[key.resource] -= not child.claimed
        self._unindex(child)

    def _unindex(self, child: Child) -> None:
        keys = self._by_instance.get(child.instance)
        if keys is not None:
            keys.pop(child.key, None)
            if not keys:
                del self._by_instance[child.instance]


def _is_compared(known: Child | None, uid: str, body: str) -> bool:
    """Whether an object with this body was compared with what is declared."""
    if known is None or known.applied is None or known.fresh is not None:
        return False
    return known.uid == uid and known.body == body


def _keeps_the_same(one: Child, other: Child) -> bool:
    if one.kept is None or other.kept is None:
        return not other.claimed
    return is_same(one.kept.open(), other.kept.open())


def _shows_the_same(one: Child, other: Child) -> bool:
    """Whether nothing an instance may look at differs."""
    return (one.body, one.deleting) == (other.body, other.deleting) and _keeps_the_same(one, other)


_ORDER_DIGITS = 9
# A seal has 46 characters; what is longer is none, and not worth its memory.
_SEAL_CHARACTERS = 64


def seal_of(obj: Obj) -> str:
    """What an object carries as its seal, valid or not."""
    return annotations_of(obj).get(ANNOTATION_SEAL, "")[:_SEAL_CHARACTERS]


_BOOKKEEPING = ("managedFields", "resourceVersion", "generation", "creationTimestamp", "uid", "selfLink")


def _body(obj: Obj) -> str:
    body: dict[str, Any] = {k: v for k, v in obj.items() if k not in ("status", "metadata")}
    body["metadata"] = {k: v for k, v in obj["metadata"].items() if k not in _BOOKKEEPING}
    try:
        return fingerprint(body)
    except (TypeError, RecursionError):
        # Nested more deeply than JSON is written: every version counts as another.
        return f"{uid_of(obj)} {version_of(obj)}"


@dataclass(frozen=True, slots=True)
class Meddled:
    """A status that somebody else changed: as it was left before, and who did, if the object tells."""

    left: Any
    by: str


@dataclass(slots=True)
class Instance:
    """What is kept of an instance; `head` is the whole object while that is held as it is."""

    head: Obj
    held: Held | None
    # The manager that wrote its status last, unless that was this controller.
    status_by: str

    def whole(self) -> Obj | None:
        return self.held.open() if self.held is not None else None

    @property
    def sighting(self) -> Sighting:
        return _sighting(self.head)


class InstanceStore:
    """Instances of one kind, whole but for `managedFields`. `wake(key)` is called for changes worth a pass.

    A status that this process reported is its own: what differs from it without being on its way from here is somebody
    else's, and wakes once, until it is reported again. Before the first report (a standby's cache, say) nothing is.
    Of one for which there is no room only the head is kept: who needs it whole asks the API server (`is_whole`).
    """

    def __init__(
        self,
        resource: Resource,
        wake: Callable[[Key], None],
        gone: Callable[[Key, Obj], None],
        *,
        by_uid: dict[str, Key] | None = None,
        room: Room | None = None,
    ) -> None:
        self.resource = resource
        self._wake = wake
        self._gone = gone
        self._room = room or Room()
        self._instances: dict[Key, Instance] = {}
        # May be shared with the stores of other kinds.
        self._by_uid = {} if by_uid is None else by_uid
        # Whose status was reported, those sent and not answered yet, and those that others changed since.
        self._reported: set[Key] = set()
        self._sent: dict[Key, Obj] = {}
        self._meddled: dict[Key, Meddled] = {}

    def __len__(self) -> int:
        return len(self._instances)

    def __iter__(self) -> Iterator[Key]:
        return iter(self._instances)

    def get(self, key: Key) -> Obj | None:
        """The instance, or its head if it is not whole."""
        known = self._instances.get(key)
        return (known.whole() or known.head) if known is not None else None

    def head(self, key: Key) -> Obj | None:
        """At least what `head_of` says."""
        known = self._instances.get(key)
        return known.head if known is not None else None

    def is_whole(self, key: Key) -> bool:
        known = self._instances.get(key)
        return known is not None and known.held is not None

    def is_large(self, key: Key) -> bool:
        """Whether it is not just at hand."""
        known = self._instances.get(key)
        return known is not None and (known.held is None or known.held.is_packed)

    def versions(self) -> dict[tuple[str, str], str]:
        """The version of every instance, by namespace and name."""
        return {(key.namespace, key.name): version_of(known.head) for key, known in self._instances.items()}

    def key_by_uid(self, uid: str) -> Key | None:
        return self._by_uid.get(uid)

    def see(self, obj: Obj) -> Instance:
        """What is to be kept of an instance; for `replace`."""
        status_by = _writer_of_status(obj)
        obj["metadata"].pop("managedFields", None)
        held = self._room.hold(obj)
        return Instance(obj if held is not None and not held.is_packed else head_of(obj), held, status_by)

    def put(self, obj: Obj) -> None:
        """An instance seen by a watch; what is no news is ignored."""
        known = self._instances.get(key_of(self.resource, obj))
        if _effect(Origin.SEEN, obj, known) is Effect.TAKE:
            self._put(self.see(obj), obj)

    def _put(self, instance: Instance, obj: Obj | None = None) -> None:
        key = key_of(self.resource, instance.head)
        known = self._instances.get(key)
        before = known.whole() if known is not None else None
        after = obj or instance.whole()
        meddled = self._notice(key, instance, before, after)
        self._keep(key, instance, known)
        if meddled or before is None or _matters(before) != _matters(after or instance.head):
            self._wake(key)

    def wrote(self, obj: Obj) -> None:
        """The answer to a write of ours: known from now on; ignored if the object went meanwhile.

        It wakes nobody, unless it also carries what somebody else changed: no event will tell of that any more.
        """
        key = key_of(self.resource, obj)
        known = self._instances.get(key)
        if known is not None and _effect(Origin.ANSWER, obj, known) is Effect.TAKE:
            before, instance = known.whole(), self.see(obj)
            meddled = self._notice(key, instance, before, obj)
            self._keep(key, instance, known)
            if meddled or before is None or _of_others(before) != _of_others(obj):
                self._wake(key)

    def meddled(self, key: Key) -> Meddled | None:
        """What somebody else made of a status since it was last reported."""
        return self._meddled.get(key)

    def as_left(self, key: Key, obj: Obj) -> Obj:
        """The object with the status that was last reported: what a pass goes on from, whatever others wrote there."""
        meddled = self._meddled.get(key)
        return obj if meddled is None else {**obj, "status": meddled.left}

    def reporting(self, key: Key, status: Obj) -> None:
        """This status is sent now: its event may be faster than the answer, and there may never be one."""
        self._sent[key] = status

    def reported(self, key: Key, answer: Obj | None) -> None:
        """The status was written, or found (no answer) to be as it should."""
        self._sent.pop(key, None)
        known = self._instances.get(key)
        if known is None or (answer is not None and uid_of(answer) != uid_of(known.head)):
            return
        self._reported.add(key)
        meddled = self._meddled.pop(key, None)
        if answer is None:
            return
        before = known.whole()
        if _effect(Origin.ANSWER, answer, known) is Effect.TAKE:
            self._keep(key, self.see(answer), known)
            if before is None or _of_others(before) != _of_others(answer):
                self._wake(key)
        elif before is not None and before.get("status") != answer.get("status"):
            # Changed again already, and the event of that was faster than the answer.
            self._meddled[key] = Meddled(answer.get("status"), meddled.by if meddled else "")
            self._wake(key)

    def fetched(self, obj: Obj) -> None:
        """An instance just read; ignored if it went meanwhile."""
        known = self._instances.get(key_of(self.resource, obj))
        if _effect(Origin.ANSWER, obj, known) is Effect.TAKE:
            self._put(self.see(obj), obj)

    def remove(self, obj: Obj) -> None:
        known = self._instances.get(key_of(self.resource, obj))
        if known is not None and _effect(Origin.DELETED, obj, known) is Effect.DROP:
            self._remove(known)

    def _remove(self, known: Instance) -> None:
        key = key_of(self.resource, known.head)
        del self._instances[key]
        self._forget(key, known)

    def replace(self, instances: list[Instance], version: str = "") -> None:
        """The full state after a list; `version` is the list's, which says nothing of what is newer."""
        keep = {key_of(self.resource, instance.head) for instance in instances}
        for lacked in [instance for key, instance in self._instances.items() if key not in keep]:
            if INSTANCES[Origin.ABSENT][age((uid_of(lacked.head), version), lacked.sighting)] is Effect.DROP:
                self._remove(lacked)
        for instance in instances:
            known = self._instances.get(key_of(self.resource, instance.head))
            if _effect(Origin.SEEN, instance.head, known) is Effect.TAKE:
                self._put(instance)

    def _keep(self, key: Key, instance: Instance, known: Instance | None) -> None:
        if known is not None and uid_of(known.head) != uid_of(instance.head):
            self._forget(key, known)
        self._instances[key] = instance
        self._by_uid[uid_of(instance.head)] = key

    def _forget(self, key: Key, known: Instance) -> None:
        self._reported.discard(key)
        self._sent.pop(key, None)
        self._meddled.pop(key, None)
        self._by_uid.pop(uid_of(known.head), None)
        self._gone(key, known.whole() or known.head)

    def _notice(self, key: Key, instance: Instance, before: Obj | None, after: Obj | None) -> bool:
        """Whether somebody else has now changed a status that was as reported; not known of what is not whole."""
        if before is None or after is None or key not in self._reported or uid_of(before) != uid_of(after):
            return False
        status = after.get("status")
        if status == before.get("status") or (key in self._sent and status == self._sent[key]):
            return False
        noticed = self._meddled.get(key)
        self._meddled[key] = Meddled(noticed.left if noticed else before.get("status"), instance.status_by)
        return noticed is None


def _effect(origin: Origin, obj: Obj, known: Instance | None) -> Effect:
    return INSTANCES[origin][age(_sighting(obj), known.sighting if known is not None else None)]


_OWN_ANNOTATIONS = (
    ANNOTATION_APPLYSET_GROUP_KINDS,
    ANNOTATION_APPLYSET_NAMESPACES,
    ANNOTATION_APPLYSET_TOOLING,
    ANNOTATION_INVENTORY_HASH,
)
_HEAD = ("name", "namespace", "uid", "resourceVersion", "generation", "deletionTimestamp")
_HEAD_BYTES = 16 << 10


def head_of(obj: Obj) -> Obj:
    """Of an instance its identity, finalizers and inventory, and which generation the status is about; some kB."""
    meta, status = metadata(obj), obj.get("status")
    small = {
        "finalizers": meta.get("finalizers"),
        "labels": {k: v for k, v in labels_of(obj).items() if k == LABEL_APPLYSET_ID},
        "annotations": {k: v for k, v in annotations_of(obj).items() if k in _OWN_ANNOTATIONS},
    }
    head = {name: meta[name] for name in _HEAD if name in meta}
    head |= {name: value for name, value in small.items() if value and len(str(value)) <= _HEAD_BYTES}
    observed = status.get("observedGeneration") if isinstance(status, dict) else None
    found = {"apiVersion": obj.get("apiVersion"), "kind": obj.get("kind"), "metadata": head}
    return found | ({"status": {"observedGeneration": observed}} if type(observed) is int else {})


# Written by kubectl beside each change of the object itself.
_LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


def _matters(obj: Obj) -> tuple[Any, ...]:
    """What of an instance makes a pass worth while: its spec, its life, its labels and annotations; not its status."""
    meta = metadata(obj)
    return (
        uid_of(obj),
        meta.get("generation"),
        meta.get("deletionTimestamp"),
        meta.get("finalizers"),
        meta.get("labels"),
        # Expressions may read any of them.
        {k: v for k, v in annotations_of(obj).items() if k != _LAST_APPLIED},
    )


def _writer_of_status(obj: Obj) -> str:
    """The manager that wrote the status last; empty if that is not known, or goes by our name."""
    entries = metadata(obj).get("managedFields") or ()
    # Times are whole seconds: of two in one second it is the other one.
    writers = [
        (str(e.get("time") or ""), e.get("manager") != MANAGER_STATUS, str(e.get("manager") or ""))
        for e in entries
        if e.get("subresource") == "status"
    ]
    _, is_another, manager = max(writers, default=("", False, ""))
    return manager if is_another else ""


def _of_others(obj: Obj) -> tuple[Any, ...]:
    """What of an instance matters and is never written by us."""
    meta = metadata(obj)
    return (
        meta.get("generation"),
        meta.get("deletionTimestamp"),
        {k: v for k, v in labels_of(obj).items() if not k.startswith((*RESERVED_PREFIXES, APPLYSET_PREFIX))},
        {
            k: v
            for k, v in annotations_of(obj).items()
            if k == ANNOTATION_RECONCILE
            or not (k == _LAST_APPLIED or k.startswith((*RESERVED_PREFIXES, APPLYSET_PREFIX)))
        },
    )
