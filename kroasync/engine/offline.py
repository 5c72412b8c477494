"""A World of plain objects: `render`, `plan` and the simulations use it in place of a cluster.

An apply merges the desired object into the existing one, or stores it with an invented UID. A delete takes effect at
once. External references see the same objects.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

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
from kroasync.engine.adoption import joining, objection, unshared
from kroasync.engine.drift import fingerprint, project
from kroasync.engine.labels import collection_size_of, node_of
from kroasync.engine.orphans import is_orphaned, released
from kroasync.engine.resolve import identity
from kroasync.engine.selectors import matches
from kroasync.model import names
from kroasync.model.objects import (
    GVK,
    Key,
    Obj,
    Resource,
    annotations_of,
    is_deleting,
    labels_of,
    metadata,
    name_of,
    namespace_of,
    uid_of,
)
from kroasync.model.policies import Update

# What the server fills in belongs to the world that render and the controller start from.
from kroasync.schema.filling import defaulted as defaulted


class OfflineWorld:
    """Objects by identity. `resource_of_kind` returns the resource of a kind; objects of unknown kinds are left out."""

    def __init__(
        self,
        instance: Obj,
        objects: Iterable[Obj],
        resource_of_kind: Callable[[GVK], Resource | None],
        *,
        resend: bool = False,
    ) -> None:
        """With `resend`, every declared object is sent, whether it differs or not."""
        self.instance = instance
        self.resend = resend
        # Kinds that cannot be listed.
        self.out_of_sight: frozenset[str] = frozenset()
        self.objects: dict[tuple[str, str, str, str], tuple[Key, Obj]] = {}
        for obj in objects:
            resource = resource_of_kind(GVK.of(obj))
            if resource is not None:
                namespace = namespace_of(obj) or namespace_of(instance) if resource.namespaced else ""
                self.put(Key(resource, namespace, name_of(obj)), obj)

    def put(self, key: Key, obj: Obj) -> None:
        """Add or replace an object."""
        self.objects[identity(key)] = (key, obj)

    def get(self, key: Key) -> Obj | None:
        found = self.objects.get(identity(key))
        return None if found is None else found[1]

    def find(self, key: Key) -> Observed | None:
        obj = self.get(key)
        return None if obj is None else observed(key, obj)

    def members(self) -> Sequence[Observed]:
        uid = uid_of(self.instance)
        return [
            observed(key, obj)
            for _, (key, obj) in sorted(self.objects.items())
            if labels_of(obj).get(names.LABEL_INSTANCE_ID) == uid
        ]

    def compare(self, key: Key, desired: Obj) -> Need | None:
        obj = self.get(key)
        if obj is None:
            return Need.CREATE
        same = fingerprint(project(obj, desired)) == fingerprint(desired)
        return None if same and not self.resend else Need.UPDATE

    def leave(self, key: Key) -> bool:
        return self.get(key) is not None

    def external(self, watch: WatchExternal) -> Sequence[Obj] | None:
        if watch.name is not None:
            obj = self.get(Key(watch.resource, watch.namespace, watch.name))
            return [] if obj is None else [obj]
        return [
            obj
            for (group, kind, namespace, _), (_, obj) in sorted(self.objects.items())
            if (group, kind) == (watch.resource.group, watch.resource.kind)
            and watch.namespace in ("", namespace)
            and matches(watch.selector or "", labels_of(obj))
        ]

    def unseen(self) -> frozenset[str]:
        return self.out_of_sight

    def perform(self, action: Action) -> Result:
        """Do what an API server would do, without defaults and controllers."""
        if isinstance(action, Apply):
            return self._apply(action)
        if isinstance(action, Read):
            return Done(action=action, obj=self.get(action.key), changed=False)
        if isinstance(action, Delete):
            return self._delete(action)
        if isinstance(action, Release):
            return self._release(action)
        if isinstance(action, PatchParent):
            self.instance = patched(self.instance, action)
            return Done(action=action, obj=self.instance)
        return Done(action=action)

    def _apply(self, action: Apply) -> Result:
        current, adopted = self.get(action.key), False
        sent: Obj | None = action.obj
        if current is not None and not action.force:
            declared = unshared(current, action.obj, action.external_fields)
            against = objection(action.policies.adoption, current, declared, action.secrets)
            if against is not None:
                return Refused(action=action, refusal=against.refusal, message=against.text)
            adopted = True
            if action.policies.update is Update.ONCE:
                sent = joining(current, action.obj)
        obj: Obj = overlaid(current or {}, sent or {})
        place = f"{action.key.namespace}.{action.key.name}"
        obj["metadata"].setdefault("uid", f"{action.key.resource.plural}.{place}")
        self.put(action.key, obj)
        return Done(action=action, obj=obj, adopted=adopted)

    def _delete(self, action: Delete) -> Result:
        obj = self.get(action.key)
        if obj is None:
            return Refused(action=action, refusal=Refusal.MISSING, message="not found")
        if uid_of(obj) != action.uid:
            return Refused(action=action, refusal=Refusal.CONFLICT, message="the UID is another one")
        del self.objects[identity(action.key)]
        return Done(action=action)

    def _release(self, action: Release) -> Result:
        obj = self.get(action.key)
        if obj is None:
            return Refused(action=action, refusal=Refusal.MISSING, message="not found")
        patch = released(obj, action)
        if patch is None:
            return Refused(action=action, refusal=Refusal.CONFLICT, message="the object changed")
        self.put(action.key, patched_by(obj, patch))
        return Done(action=action)


def observed(key: Key, obj: Obj) -> Observed:
    """The object as a cache would show it."""
    labels = labels_of(obj)
    order = annotations_of(obj).get(names.ANNOTATION_APPLY_ORDER, "")
    return Observed(
        key=key,
        uid=uid_of(obj),
        obj=obj,
        node=node_of(obj),
        deleting=is_deleting(obj),
        part_of=labels.get(names.LABEL_APPLYSET_PART_OF, ""),
        seal=annotations_of(obj).get(names.ANNOTATION_SEAL, ""),
        apply_order=int(order) if order.isascii() and order.isdigit() else 0,
        collection_size=collection_size_of(obj),
        orphaned=is_orphaned(obj),
    )


def patched(instance: Obj, action: PatchParent) -> Obj:
    """The instance with its metadata patched."""
    found = patched_by(instance, {"metadata": {"labels": action.labels, "annotations": action.annotations}})
    finalizers = list(metadata(instance).get("finalizers") or ())
    if not action.add_finalizer or names.FINALIZER in finalizers:
        return found
    return {**found, "metadata": {**found["metadata"], "finalizers": [*finalizers, names.FINALIZER]}}


def patched_by(live: Obj, patch: Obj) -> Obj:
    """The object after a merge patch of its labels and annotations."""
    meta = dict(metadata(live))
    for field in ("labels", "annotations"):
        merged = {**(meta.get(field) or {}), **patch["metadata"].get(field, {})}
        meta[field] = {key: value for key, value in merged.items() if value is not None}
    return {**live, "metadata": meta}


def overlaid(live: Any, desired: Any) -> Any:
    """A copy of `live` with the fields of `desired`; lists are replaced."""
    if isinstance(live, dict) and isinstance(desired, dict):
        merged = {k: v for k, v in live.items() if k not in desired}
        merged.update({k: overlaid(live.get(k, {}), v) for k, v in desired.items()})
        return merged
    return desired
