"""The cache of instances of one kind as last seen, fed by a watch and by the answers to our own writes.

It wakes an instance for a change worth a pass, and tells which statuses somebody else changed. A table of
`engine.observations` decides which observation wins when a watch, a list and an answer tell of one instance. The
registry keeps definitions in such caches, too.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from kroasync.controller.room import Held, Room
from kroasync.engine.observations import INSTANCES, Effect, Origin, Sighting, age, sighting_of
from kroasync.model.names import (
    ANNOTATION_APPLYSET_GROUP_KINDS,
    ANNOTATION_APPLYSET_NAMESPACES,
    ANNOTATION_APPLYSET_TOOLING,
    ANNOTATION_INVENTORY_HASH,
    ANNOTATION_RECONCILE,
    APPLYSET_PREFIX,
    LABEL_APPLYSET_ID,
    MANAGER_STATUS,
    RESERVED_PREFIXES,
)
from kroasync.model.objects import Key, Obj, Resource, annotations_of, key_of, labels_of, metadata, uid_of, version_of


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
        return sighting_of(self.head)


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
    return INSTANCES[origin][age(sighting_of(obj), known.sighting if known is not None else None)]


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
