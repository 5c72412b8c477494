"""The objects of somebody else that instances want, and the instances to wake when an object changes owner or goes.

Two channels report that: the cache of children, for an object of another instance, and a watch of the single object for
everything else (`ClaimSink`). The watch keeps only the marks by which owners claim an object, so that an object which
changes often wakes nobody but the instances that wait for its fields.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TypeAlias

from kroasync.engine.adoption import Marks, fields_of, marks_of
from kroasync.model.objects import Key, Obj, Resource, key_of, uid_of, version_of

# UID, version, marks, and the hash of the fields and their managers.
_Claim: TypeAlias = tuple[str, str, Marks, str]


class Releases:
    """Who waits for which object. `wake` adds an instance to the queue."""

    def __init__(self, wake: Callable[[Key], None]) -> None:
        self._wake = wake
        self._instances: dict[Key, set[Key]] = {}
        self._objects: dict[Key, frozenset[Key]] = {}
        # Of each instance, the objects whose fields it waits for.
        self._held: dict[Key, frozenset[Key]] = {}

    def __len__(self) -> int:
        return len(self._objects)

    def waits(self, instance: Key) -> bool:
        """Whether the instance waits for any object."""
        return instance in self._objects

    def keep(self, instance: Key, objects: Iterable[Key], *, held: Iterable[Key] = ()) -> None:
        """Let the instance wait for exactly these objects, and for the fields of those in `held`."""
        wanted = frozenset(objects)
        self._held.pop(instance, None)
        if held := frozenset(held):
            self._held[instance] = held
        for obj in self._objects.pop(instance, frozenset()) - wanted:
            self._instances[obj].discard(instance)
            if not self._instances[obj]:
                del self._instances[obj]
        for obj in wanted:
            self._instances.setdefault(obj, set()).add(instance)
        if wanted:
            self._objects[instance] = wanted

    def released(self, obj: Key) -> None:
        """The object changed owner or is gone."""
        for instance in list(self._instances.get(obj, ())):
            self._wake(instance)

    def changed(self, obj: Key) -> None:
        """Fields of the object, or their managers, are others."""
        for instance in list(self._instances.get(obj, ())):
            if obj in self._held.get(instance, ()):
                self._wake(instance)

    def listed(self, resource: Resource) -> None:
        """The objects of a kind were listed for the first time: whatever happened before was not reported."""
        for obj in [obj for obj in self._instances if obj.resource == resource]:
            self.released(obj)


@dataclass(slots=True)
class ClaimSink:
    """The claims on the objects of one watch; `heard` as for other sinks."""

    resource: Resource
    releases: Releases
    heard: Callable[[bool], None]
    claims: dict[Key, _Claim] = field(default_factory=dict)
    is_listed: bool = False

    def keep(self, obj: Obj) -> tuple[Key, _Claim]:
        return key_of(self.resource, obj), (uid_of(obj), version_of(obj), marks_of(obj), fields_of(obj))

    def replace(self, items: list[tuple[Key, _Claim]], version: str = "") -> None:
        before, self.claims = self.claims, dict(items)
        if not self.is_listed:
            self.is_listed = True
            self.releases.listed(self.resource)
            return
        for key in before.keys() | self.claims.keys():
            self._tell(key, before.get(key), self.claims.get(key))

    def event(self, kind: str, obj: Obj) -> None:
        key, claim = self.keep(obj)
        before = self.claims.pop(key, None)
        if kind != "DELETED":
            self.claims[key] = claim
        self.heard(self._tell(key, before, self.claims.get(key)))

    def _tell(self, key: Key, before: _Claim | None, after: _Claim | None) -> bool:
        """Wake whoever waits for what changed; True if the object changed owner or is gone."""
        released = _is_released(before, after)
        if released:
            self.releases.released(key)
        elif before is not None and after is not None and before[3] != after[3]:
            self.releases.changed(key)
        return released

    def versions(self) -> dict[tuple[str, str], str]:
        """The version of every object, by namespace and name."""
        return {(key.namespace, key.name): version for key, (_, version, _, _) in self.claims.items()}


def _is_released(before: _Claim | None, after: _Claim | None) -> bool:
    if before is None or after is None:
        return before is not after
    return (before[0], before[2]) != (after[0], after[2])
