"""The caches: instances and children as last seen, fed by watches and by the answers to our own writes.

An answer enters at once, so nobody waits to see an own write; an event that is not newer than what is known is
ignored. A child is compared with what is declared by two fingerprints (see `engine.drift`): the one of what was sent,
and the one of the same fields in the server's answer. Between events only the fields the graphs read are kept.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from kroasync.controller.projection import Projection
from kroasync.engine.actions import Need, Observed
from kroasync.engine.drift import Applied, fingerprint, is_in_effect, need, stored
from kroasync.model.names import (
    ANNOTATION_APPLY_ORDER,
    ANNOTATION_RECONCILE,
    APPLYSET_PREFIX,
    LABEL_APPLYSET_PART_OF,
    LABEL_INSTANCE_ID,
    LABEL_NODE_ID,
    MANAGER_CHILDREN,
    RESERVED_PREFIXES,
)
from kroasync.model.objects import (
    Key,
    Obj,
    Resource,
    annotations_of,
    is_newer,
    is_older,
    is_same,
    labels_of,
    metadata,
    name_of,
    namespace_of,
    uid_of,
    version_of,
)

Wake = Callable[[str], None]

_IDENTITY_ONLY = Projection()
_GONE_KEPT = 4096


def key_of(resource: Resource, obj: Obj) -> Key:
    """The key of an object of a known resource."""
    return Key(resource, namespace_of(obj) if resource.namespaced else "", name_of(obj))


@dataclass(slots=True)
class _Child:
    key: Key
    uid: str
    version: str
    instance: str
    node: str
    part_of: str
    apply_order: int
    deleting: bool
    ours: bool
    kept: Obj
    # Hash of everything a writer can declare: unchanged means that only status or bookkeeping moved.
    body: str
    # The whole object, until it was compared with what is declared.
    fresh: Obj | None
    applied: Applied | None = None

    def observed(self) -> Observed:
        return Observed(
            key=self.key,
            uid=self.uid,
            obj=self.kept,
            node=self.node,
            deleting=self.deleting,
            ours=self.ours,
            part_of=self.part_of,
            apply_order=self.apply_order,
        )


class ChildStore:
    """Managed objects of every kind. `wake(instance uid)` is called when something an instance cares about changed."""

    def __init__(self, wake: Wake) -> None:
        self._wake = wake
        self._children: dict[Key, _Child] = {}
        self._by_resource: dict[Resource, set[Key]] = {}
        self._by_instance: dict[str, dict[Key, None]] = {}
        self._projections: dict[Resource, Projection] = {}
        # Objects of which less is kept than the projections ask for by now.
        self._narrow: set[Key] = set()
        # UID and version of objects that went lately: an answer that was on its way then must not bring them back.
        self._gone: OrderedDict[Key, tuple[str, str]] = OrderedDict()
        # How often each kind was listed, and the version of the last list.
        self._lists: dict[Resource, int] = {}
        # By instance UID: objects that may have been created although no answer came, and no event did either.
        self._unanswered: dict[str, set[Key]] = {}
        self._listed: dict[Resource, str] = {}

    def __len__(self) -> int:
        return len(self._children)

    def widen(self, resource: Resource, paths: Iterable[tuple[str, ...]]) -> bool:
        """Keep more fields of a kind from now on; True if objects already kept lack them (list again)."""
        before = self._projections.get(resource, _IDENTITY_ONLY)
        after = before.widened(paths)
        self._projections[resource] = after
        if after is not before:
            self._narrow.update(self._by_resource.get(resource, ()))
        return after is not before and bool(self._by_resource.get(resource))

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
        desired = stored(desired)
        if child.applied is None and child.fresh is not None and is_in_effect(child.fresh, desired, MANAGER_CHILDREN):
            # Applied by an earlier run of the controller: learnt from the object, not by sending it again.
            child.applied = Applied.of(desired, child.fresh)
        found = need(child.applied, desired, child.fresh)
        if found is None:
            child.fresh = None
        return found

    def unread(self, key: Key) -> Obj | None:
        """The whole object as last seen, if it was not found to be as declared since."""
        child = self._children.get(key)
        return child.fresh if child else None

    def version(self, key: Key) -> str | None:
        """The resourceVersion an object was last seen with."""
        child = self._children.get(key)
        return child.version if child else None

    def lists(self, resource: Resource) -> int:
        """How often the kind was listed so far."""
        return self._lists.get(resource, 0)

    def applied(self, key: Key, desired: Obj, answer: Obj, *, lists: int | None = None) -> None:
        """Take in the answer to an apply; `lists` is how often the kind had been listed when it was sent."""
        listed = lists is not None and lists != self.lists(key.resource)
        if key not in self._children and listed and not is_older(self._listed[key.resource], version_of(answer)):
            # A list of meanwhile has no such object: it is gone, or its event is still to come.
            self._wake(labels_of(answer).get(LABEL_INSTANCE_ID, ""))
            return
        if self._is_past(key, answer):
            # Deleted before the answer came: nobody knew whose it was then.
            self._wake(labels_of(answer).get(LABEL_INSTANCE_ID, ""))
            return
        child = self._children.get(key)
        if child is not None and child.uid != uid_of(answer) and is_older(version_of(answer), child.version):
            return  # deleted meanwhile, and there is a new object of that name
        if child is None or child.uid != uid_of(answer) or is_newer(version_of(answer), child.version):
            child = self._take(key, answer)
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

    def put(self, resource: Resource, obj: Obj) -> bool:
        """An object seen by a watch; True if it concerned an instance."""
        key = key_of(resource, obj)
        known = self._children.get(key)
        version = version_of(obj)
        if known is not None and known.uid == uid_of(obj) and not is_newer(version, known.version):
            return known.version == version and self._keep_more(known, obj)
        if self._is_past(key, obj) or (known is not None and is_older(version, known.version)):
            return False
        before = (known.instance, known.kept, known.body, known.deleting) if known else None
        child = self._take(key, obj)
        if (
            before is not None
            and is_same(before[1:], (child.kept, child.body, child.deleting))
            and before[0] == child.instance
        ):
            return False
        concerned = [uid for uid in dict.fromkeys((before[0] if before else "", child.instance)) if uid]
        for uid in concerned:
            self._wake(uid)
        return bool(concerned)

    def _keep_more(self, known: _Child, obj: Obj) -> bool:
        """Take the wider projection of an object that did not change; True if that concerned an instance."""
        if known.key not in self._narrow:
            return False
        self._narrow.discard(known.key)
        kept = self._projections.get(known.key.resource, _IDENTITY_ONLY).keep(obj)
        if is_same(kept, known.kept):
            return False
        known.kept = kept
        if known.instance:
            self._wake(known.instance)
        return bool(known.instance)

    def remove(self, resource: Resource, obj: Obj) -> bool:
        """An object a watch saw deleted (or leaving the selector); True if it concerned an instance."""
        return self.gone(key_of(resource, obj), uid_of(obj), version=version_of(obj))

    def gone(self, key: Key, uid: str, *, version: str = "") -> bool:
        """The object with this UID no longer exists (since `version`, if known); True if it concerned an instance."""
        known = self._children.get(key)
        if known is not None and known.uid == uid and version and is_older(version, known.version):
            return False  # it left the selector and an answer of later brought it back
        self._note_gone(key, uid, version or (known.version if known is not None else ""))
        return known is not None and known.uid == uid and self._lose(known)

    def _lose(self, child: _Child) -> bool:
        self._drop(child.key)
        if child.instance:
            self._wake(child.instance)
        return bool(child.instance)

    def _note_gone(self, key: Key, uid: str, version: str) -> None:
        self._gone[key] = (uid, version)
        self._gone.move_to_end(key)
        if len(self._gone) > _GONE_KEPT:
            self._gone.popitem(last=False)

    def went(self, key: Key) -> bool:
        """Whether there was an object of this key not long ago."""
        return key in self._gone and key not in self._children

    def _is_past(self, key: Key, obj: Obj) -> bool:
        """The object is a state from before it went."""
        uid, version = self._gone.get(key, ("", ""))
        return uid == uid_of(obj) and not is_newer(version_of(obj), version)

    def replace(self, resource: Resource, objs: list[Obj], version: str = "") -> None:
        """The full state of a kind after a list; `version` is the list's, which says nothing of what is newer."""
        self._lists[resource] = self.lists(resource) + 1
        self._listed[resource] = version
        keep = {key_of(resource, obj) for obj in objs}
        for key in [k for k in self._by_resource.get(resource, ()) if k not in keep]:
            if is_older(version, self._children[key].version):
                continue
            # Not noted as gone: the list may be older than the answer that told of the object.
            self._lose(self._children[key])
        for obj in objs:
            self.put(resource, obj)

    def forget_resource(self, resource: Resource) -> None:
        """The kind is no longer watched: drop what is known of it, waking nobody."""
        for key in list(self._by_resource.get(resource, ())):
            self._drop(key)
        self._projections.pop(resource, None)

    def versions(self, resource: Resource) -> dict[tuple[str, str], str]:
        """The version of every object of a kind, by namespace and name."""
        return {(key.namespace, key.name): self._children[key].version for key in self._by_resource.get(resource, ())}

    def count(self, resource: Resource) -> int:
        return len(self._by_resource.get(resource, ()))

    def _take(self, key: Key, obj: Obj) -> _Child:
        known = self._children.get(key)
        labels = labels_of(obj)
        uid = uid_of(obj)
        same = known is not None and known.uid == uid
        body = _body(obj)
        fresh: Obj | None = obj
        if same and known is not None and known.fresh is None and known.body == body:
            fresh = None
        order = annotations_of(obj).get(ANNOTATION_APPLY_ORDER, "")
        child = _Child(
            key=key,
            uid=uid,
            version=version_of(obj),
            instance=labels.get(LABEL_INSTANCE_ID, ""),
            node=labels.get(LABEL_NODE_ID, ""),
            part_of=labels.get(LABEL_APPLYSET_PART_OF, ""),
            # Anybody may write it: Python refuses to read very long numbers.
            apply_order=int(order) if order.isdecimal() and len(order) <= _ORDER_DIGITS else 0,
            deleting="deletionTimestamp" in obj["metadata"],
            ours=any(entry.get("manager") == MANAGER_CHILDREN for entry in metadata(obj).get("managedFields") or ()),
            kept=self._projections.get(key.resource, _IDENTITY_ONLY).keep(obj),
            body=body,
            fresh=fresh,
            applied=known.applied if same and known is not None else None,
        )
        if known is not None and known.instance != child.instance:
            self._unindex(known)
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
        self._unindex(child)

    def _unindex(self, child: _Child) -> None:
        keys = self._by_instance.get(child.instance)
        if keys is not None:
            keys.pop(child.key, None)
            if not keys:
                del self._by_instance[child.instance]


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


class InstanceStore:
    """Instances of one kind, whole but for `managedFields`. `wake(key)` is called for changes worth a pass."""

    def __init__(
        self,
        resource: Resource,
        wake: Callable[[Key], None],
        gone: Callable[[Key, Obj], None],
        *,
        by_uid: dict[str, Key] | None = None,
    ) -> None:
        self.resource = resource
        self._wake = wake
        self._gone = gone
        self._objs: dict[Key, Obj] = {}
        # May be shared with the stores of other kinds.
        self._by_uid = {} if by_uid is None else by_uid

    def __len__(self) -> int:
        return len(self._objs)

    def __iter__(self) -> Iterator[Key]:
        return iter(self._objs)

    def get(self, key: Key) -> Obj | None:
        return self._objs.get(key)

    def versions(self) -> dict[tuple[str, str], str]:
        """The version of every instance, by namespace and name."""
        return {(key.namespace, key.name): version_of(obj) for key, obj in self._objs.items()}

    def key_by_uid(self, uid: str) -> Key | None:
        return self._by_uid.get(uid)

    def put(self, obj: Obj) -> None:
        """An instance seen by a watch, or the answer to a write of ours; an older version is ignored."""
        key = key_of(self.resource, obj)
        known = self._objs.get(key)
        if known is not None and uid_of(known) == uid_of(obj) and not is_newer(version_of(obj), version_of(known)):
            return
        self._keep(key, obj, known)
        if known is None or _matters(known) != _matters(obj):
            self._wake(key)

    def wrote(self, obj: Obj) -> None:
        """The answer to a write of ours: known from now on; ignored if the object went meanwhile.

        It wakes nobody, unless it also carries what somebody else changed: no event will tell of that any more.
        """
        key = key_of(self.resource, obj)
        known = self._objs.get(key)
        if known is not None and uid_of(known) == uid_of(obj) and is_newer(version_of(obj), version_of(known)):
            self._keep(key, obj, known)
            if _of_others(known) != _of_others(obj):
                self._wake(key)

    def fetched(self, obj: Obj) -> None:
        """An instance just read; ignored if it went meanwhile."""
        known = self._objs.get(key_of(self.resource, obj))
        if known is not None and uid_of(known) == uid_of(obj):
            self.put(obj)

    def remove(self, obj: Obj) -> None:
        key = key_of(self.resource, obj)
        known = self._objs.get(key)
        if known is not None and uid_of(known) == uid_of(obj):
            del self._objs[key]
            self._by_uid.pop(uid_of(known), None)
            self._gone(key, known)

    def replace(self, objs: list[Obj], version: str = "") -> None:
        """The full state after a list; `version` is the list's, which says nothing of what is newer."""
        keep = {key_of(self.resource, obj) for obj in objs}
        for known in [obj for key, obj in self._objs.items() if key not in keep]:
            if not is_older(version, version_of(known)):
                self.remove(known)
        for obj in objs:
            self.put(obj)

    def _keep(self, key: Key, obj: Obj, known: Obj | None) -> None:
        if known is not None and uid_of(known) != uid_of(obj):
            self._by_uid.pop(uid_of(known), None)
            self._gone(key, known)
        obj["metadata"].pop("managedFields", None)
        self._objs[key] = obj
        self._by_uid[uid_of(obj)] = key


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
