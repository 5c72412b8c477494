"""The cache of children: managed objects of every kind, fed by watches and by the answers to our own writes.

An answer enters at once, so nobody waits to see an own write. Which observation wins when a watch, a list and an answer
tell of one object is decided by a table of `engine.observations`. A child is compared with what is declared by two
fingerprints (see `engine.drift`): the one of what was sent, and the one of the same fields in the server's answer.
Between events only the fields the graphs read are kept.

Anybody who may create objects may label them like children. What no known instance claims is a stranger: its identity
and a hash are all that is kept. So it is with everything once there is no room (see `room`), and what an instance
declares is then applied again, which changes nothing, when it has to be known.
"""

import logging
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final

from kroasync.controller.projection import Projection
from kroasync.controller.room import Held, Room
from kroasync.engine.actions import Need, Observed
from kroasync.engine.drift import Applied, fingerprint, is_in_effect, need, stored
from kroasync.engine.labels import collection_size_of, node_of
from kroasync.engine.observations import CHILDREN, Age, Effect, Origin, Sighting, age, sighting_of
from kroasync.engine.orphans import is_orphaned
from kroasync.model.names import (
    ANNOTATION_APPLY_ORDER,
    LABEL_APPLYSET_PART_OF,
    LABEL_INSTANCE_ID,
    MANAGER_CHILDREN,
)
from kroasync.model.objects import (
    Key,
    Obj,
    Resource,
    annotations_of,
    is_same,
    key_of,
    labels_of,
    metadata,
    uid_of,
    version_of,
)
from kroasync.model.seal import seal_of

log = logging.getLogger("kroasync.store")

Wake = Callable[[str], None]
# Whether an object is a child of an instance that is known: no more than its labels say so.
Claims = Callable[[Key, Obj], bool]

_IDENTITY_ONLY = Projection()
_GONE_KEPT = 4096
_NO_NEWS: Final = (Age.SAME, Age.OLDER)


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
    collection_size: int
    deleting: bool
    orphaned: bool
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
    # It stays as it is, whatever is declared: it is not compared.
    left: bool = False

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
            collection_size=self.collection_size,
            orphaned=self.orphaned,
        )

    def _identity(self) -> Obj:
        resource, where = self.key.resource, {"namespace": self.key.namespace} if self.key.namespace else {}
        meta = {"name": self.key.name, **where, "uid": self.uid}
        return {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": meta}


class ChildStore:
    """Managed objects of every kind. `wake(instance uid)` is called when something an instance cares about changed,
    `released(key)` when an object changed owner or is gone.
    """

    def __init__(
        self,
        wake: Wake,
        *,
        claims: Claims,
        room: Room | None = None,
        released: Callable[[Key], None] = lambda _key: None,
    ) -> None:
        self._wake = wake
        self._released = released
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
        child.left = False
        if child.kept is None:
            return Need.UPDATE  # the answer has what the graph reads
        desired = stored(desired)
        fresh = child.fresh.open() if child.fresh is not None else None
        found = need(child.applied, desired, fresh)
        if found is Need.UPDATE and fresh is not None and is_in_effect(fresh, desired, MANAGER_CHILDREN):
            # Applied by an earlier run of the controller, or without fields that are left to another manager since:
            # learnt from the object, not by sending it again.
            child.applied, found = Applied.of(desired, fresh), None
        if found is None:
            child.fresh = None
        return found

    def leave(self, key: Key) -> bool:
        """Drop what only a comparison needs, since there is none. False if the fields that the graph reads are not
        kept.
        """
        child = self._children.get(key)
        if child is None:
            return False
        # Nobody notes what changes from now on: if it is compared again some day, it is sent first.
        child.left, child.fresh, child.applied = True, None, None
        return child.kept is not None

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
        effect = CHILDREN[Origin.ANSWER][self._age(key, sighting_of(answer), child, lacked=lacked)]
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
        if known is not None and is_kept and age(sighting_of(obj), known.sighting) in _NO_NEWS:
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
            # Also of a stranger: once its instance is known, the prune guard counts it to its collection.
            node=node_of(obj),
            part_of=labels.get(LABEL_APPLYSET_PART_OF, ""),
            seal=seal_of(obj),
            # Anybody may write it: Python refuses to read very long numbers.
            apply_order=int(order) if order.isdecimal() and len(order) <= _ORDER_DIGITS else 0,
            collection_size=collection_size_of(obj),
            deleting="deletionTimestamp" in obj["metadata"],
            orphaned=is_orphaned(obj),
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
                child.applied, child.fresh, child.left = known.applied, None, known.left
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
        if known is not None and (known.part_of, known.uid) != (child.part_of, child.uid):
            self._released(key)
        return child

    def _drop(self, key: Key) -> None:
        child = self._children.pop(key)
        self._narrow.discard(key)
        self._by_resource[key.resource].discard(key)
        self._strangers[key.resource] -= not child.claimed
        self._unindex(child)
        self._released(key)

    def _unindex(self, child: Child) -> None:
        keys = self._by_instance.get(child.instance)
        if keys is not None:
            keys.pop(child.key, None)
            if not keys:
                del self._by_instance[child.instance]


def _is_compared(known: Child | None, uid: str, body: str) -> bool:
    """Whether an object with this body was compared with what is declared, or need not be."""
    if known is None or known.uid != uid:
        return False
    return known.left or (known.applied is not None and known.fresh is None and known.body == body)


def _keeps_the_same(one: Child, other: Child) -> bool:
    if one.kept is None or other.kept is None:
        return not other.claimed
    return is_same(one.kept.open(), other.kept.open())


def _shows_the_same(one: Child, other: Child) -> bool:
    """Whether nothing an instance may look at differs."""
    return (one.body, one.deleting) == (other.body, other.deleting) and _keeps_the_same(one, other)


_ORDER_DIGITS = 9
_BOOKKEEPING = ("managedFields", "resourceVersion", "generation", "creationTimestamp", "uid", "selfLink")


def _body(obj: Obj) -> str:
    body: dict[str, Any] = {k: v for k, v in obj.items() if k not in ("status", "metadata")}
    body["metadata"] = {k: v for k, v in obj["metadata"].items() if k not in _BOOKKEEPING}
    try:
        return fingerprint(body)
    except (TypeError, RecursionError):
        # Nested more deeply than JSON is written: every version counts as another.
        return f"{uid_of(obj)} {version_of(obj)}"
