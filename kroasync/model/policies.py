"""The policies of a resource: how its objects may be adopted, changed, fought over, pruned and deleted.

An author sets them in `policy` of a resource, or of the definition for all its resources; an operator sets the defaults
of the process. What no policy says is `Policies()`, the behaviour of a definition without any of these fields.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Adoption(StrEnum):
    """What happens to an object of the declared name that exists already and is not a child of the instance."""

    IF_UNCLAIMED = "IfUnclaimed"  # adopted unless a controller, a tool or another instance claims it
    ALWAYS = "Always"  # adopted, whoever claims it, except another ApplySet
    IF_UNOWNED = "IfUnowned"  # as IfUnclaimed, and no other manager may have a field that we declare differently
    NEVER = "Never"


class Deletion(StrEnum):
    """What happens to an object that its instance does not want any more."""

    DELETE = "Delete"
    ORPHAN = "Orphan"


class Update(StrEnum):
    """What happens to a child that is not as declared."""

    APPLY = "Apply"
    ONCE = "Once"  # it is never changed after its creation
    RECREATE = "Recreate"  # deleted and created anew if the API server refuses to change an immutable field


class Conflicts(StrEnum):
    """What happens to fields of a child that another field manager changed."""

    FORCE = "Force"
    YIELD = "Yield"
    FAIL = "Fail"


@dataclass(frozen=True, slots=True, kw_only=True)
class Policies:
    """The policies that hold for the objects of one node."""

    adoption: Adoption = Adoption.IF_UNCLAIMED
    deletion: Deletion = Deletion.DELETE
    update: Update = Update.APPLY
    conflicts: Conflicts = Conflicts.FORCE


FORMS: Final[dict[str, type[StrEnum]]] = {
    "adoption": Adoption,
    "deletion": Deletion,
    "update": Update,
    "conflicts": Conflicts,
}
"""The policies with a word as value, which an expression over `schema` may compute."""
MAX_PRUNE: Final = "maxPrune"
"""The policy with a `MaxPrune` as value, which no expression may compute."""

SAFEST: Final = Policies(
    adoption=Adoption.NEVER, deletion=Deletion.ORPHAN, update=Update.ONCE, conflicts=Conflicts.FAIL
)
"""What holds where an expression yields no known value: nothing is taken, changed or deleted."""

NEVER_RECREATED: Final = frozenset(
    {"PersistentVolumeClaim", "PersistentVolume", "Namespace", "CustomResourceDefinition.apiextensions.k8s.io"}
)
"""Kinds (`Kind.group`) that hold data or other objects: to create one anew does not bring these back."""


def one_of(words: Iterable[str]) -> str:
    """The words as a choice: `A, B or C`."""
    *others, last = words
    return f"{', '.join(others)} or {last}"


PERCENTAGE: Final = "(100|[0-9]{1,2})%"
"""The pattern of a percentage from 0% to 100%."""


@dataclass(frozen=True, slots=True)
class MaxPrune:
    """How many objects of a collection one pass may delete: a number, or a percentage of the objects that exist."""

    value: int
    is_percentage: bool = False

    @staticmethod
    def of(written: object) -> "MaxPrune | None":
        """The limit as written, `5` or `20%`; None if it is neither."""
        if isinstance(written, int) and not isinstance(written, bool) and written >= 0:
            return MaxPrune(written)
        if isinstance(written, str) and re.fullmatch(PERCENTAGE, written):
            return MaxPrune(int(written[:-1]), is_percentage=True)
        return None

    def allows(self, deleted: int, existing: int) -> bool:
        """Whether a pass may delete this many of the existing objects. A percentage is compared exactly."""
        return deleted * 100 <= self.value * existing if self.is_percentage else deleted <= self.value

    def __str__(self) -> str:
        return f"{self.value}%" if self.is_percentage else str(self.value)
