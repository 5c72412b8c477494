"""Decide which objects are members (children that are deleted with the instance) and which only look like members.

A member is of a kind and namespace in the instance's inventory, carries the label of its ApplySet, has fields of our
manager, and has a valid seal. Anybody who may write the object or the instance can fake the first three; nobody can
fake the seal. Without a key there are no seals, and the first three must suffice.

An object that has the labels but no valid seal is a stranger. The controller does not delete it and does not wait for
it, but reports it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from kroasync.engine.actions import Observed
from kroasync.model.applyset import Inventory, Recorded
from kroasync.model.objects import metadata
from kroasync.model.seal import is_sealed

# A message names this many strangers and counts the rest.
_NAMED = 5
# A message shows this many characters of an invalid name.
_SHOWN = 63


@dataclass(frozen=True, slots=True, kw_only=True)
class Membership:
    """The rules for one instance."""

    instance_uid: str
    applyset_id: str
    # Empty for a cluster-scoped instance.
    namespace: str
    inventory: Inventory
    seal_key: bytes

    def has(self, found: Observed) -> bool:
        return self._claims(found) and self.is_proven(found)

    def members(self, found: Iterable[Observed]) -> list[Observed]:
        return [one for one in found if self.has(one)]

    def strangers(self, found: Iterable[Observed]) -> list[Observed]:
        """The objects that look like members but have no valid seal."""
        return [one for one in found if self._claims(one) and not self.is_proven(one)]

    def places(self, found: Iterable[Observed]) -> Inventory:
        """The places of all sealed children, whatever the inventory records; empty without a key."""
        proven = [one for one in found if self.seal_key and one.part_of == self.applyset_id and self.is_proven(one)]
        return Inventory.of(((m.key.resource.group_kind, m.key.namespace) for m in proven), self.namespace)

    def _claims(self, found: Observed) -> bool:
        kind, namespace = found.key.resource.group_kind, found.key.namespace
        return (
            found.ours
            and found.part_of == self.applyset_id
            and kind in self.inventory.group_kinds
            and namespace in ("", self.namespace, *self.inventory.namespaces)
        )

    def is_proven(self, found: Observed) -> bool:
        """Whether the object has the seal of this instance, or there are no seals."""
        return not self.seal_key or is_sealed(self.seal_key, self.instance_uid, found.key, found.seal)


def stranger_text(strangers: Iterable[Observed]) -> str:
    """The message about strangers."""
    found = sorted(str(one.key) for one in strangers)
    more = f" and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
    return (
        f"left alone: {', '.join(found[:_NAMED])}{more}: labelled as a resource of this instance, but without a valid "
        "seal: nothing shows that this controller created or adopted it"
    )


def retiring_text(members: Sequence[Observed]) -> str:
    """The message about members that nobody declares any more and that are not gone yet, with their finalizers."""
    more = f" and {len(members) - _NAMED} more" if len(members) > _NAMED else ""
    return (
        f"waiting for the deletion of {', '.join(map(_held, members[:_NAMED]))}{more}, which no node declares any more"
    )


def _held(member: Observed) -> str:
    finalizers = metadata(member.obj).get("finalizers") or ()
    return f"{member.key} (finalizers: {', '.join(finalizers)})" if finalizers else str(member.key)


def repair_text(found: Recorded) -> str:
    """The message about an inventory with unreadable entries."""
    shown = [f'"{entry[:_SHOWN]}"' for entry in found.unreadable]
    more = f" and {len(shown) - _NAMED} more" if len(shown) > _NAMED else ""
    return f"dropped from the recorded inventory, as nothing can have that name: {', '.join(shown[:_NAMED])}{more}"
