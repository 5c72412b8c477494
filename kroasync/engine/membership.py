"""Which objects are an instance's children, to be deleted with it, and which only look like it.

A member is in the kinds and namespaces of the instance's inventory, carries its ApplySet's label and fields of our
manager, and a valid seal. Each of the first three anybody can bring about who may write the object or the instance;
the seal nobody. Without a key there are no seals, and the rest has to do.

What carries the labels and lacks the seal is a stranger: it is neither deleted, nor waited for, but named.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from kroasync.engine.actions import Observed
from kroasync.model.applyset import Inventory, Recorded
from kroasync.model.seal import is_sealed

# Strangers named in a message; more are counted.
_NAMED = 5
# Characters shown of what is no name.
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
        return self._claims(found) and self._is_proven(found)

    def members(self, found: Iterable[Observed]) -> list[Observed]:
        return [one for one in found if self.has(one)]

    def strangers(self, found: Iterable[Observed]) -> list[Observed]:
        """What looks like a member in every respect but that nothing shows it to be ours."""
        return [one for one in found if self._claims(one) and not self._is_proven(one)]

    def places(self, found: Iterable[Observed]) -> Inventory:
        """Where the children are that a seal shows to be some, whatever is recorded; empty without a key."""
        proven = [one for one in found if self.seal_key and one.part_of == self.applyset_id and self._is_proven(one)]
        return Inventory.of(((m.key.resource.group_kind, m.key.namespace) for m in proven), self.namespace)

    def _claims(self, found: Observed) -> bool:
        kind, namespace = found.key.resource.group_kind, found.key.namespace
        return (
            found.ours
            and found.part_of == self.applyset_id
            and kind in self.inventory.group_kinds
            and namespace in ("", self.namespace, *self.inventory.namespaces)
        )

    def _is_proven(self, found: Observed) -> bool:
        return not self.seal_key or is_sealed(self.seal_key, self.instance_uid, found.key, found.seal)


def stranger_text(strangers: Iterable[Observed]) -> str:
    """What people are told of strangers."""
    found = sorted(str(one.key) for one in strangers)
    more = f" and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
    return (
        f"left alone: {', '.join(found[:_NAMED])}{more}: labelled as a resource of this instance, but without a valid "
        "seal: nothing shows that this controller created or adopted it"
    )


def repair_text(found: Recorded) -> str:
    """What people are told of an inventory that was not readable as a whole."""
    shown = [f'"{entry[:_SHOWN]}"' for entry in found.unreadable]
    more = f" and {len(shown) - _NAMED} more" if len(shown) > _NAMED else ""
    return f"dropped from the recorded inventory, as nothing can have that name: {', '.join(shown[:_NAMED])}{more}"
