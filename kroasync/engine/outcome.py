"""The result of a pass: the state of every node, the changes, the failures, and when to retry.

This is plain data for the status, Events, metrics and the offline commands. Reports are in topological order.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, StrEnum
from typing import TYPE_CHECKING

from kroasync.engine.actions import Observed, Refusal, WatchExternal, Yielding
from kroasync.engine.prune_guard import HeldPrune
from kroasync.model.objects import Key, Obj

if TYPE_CHECKING:
    from kroasync.engine.scope import Scope


class NodeState(StrEnum):
    """kro's node states."""

    IN_PROGRESS = "IN_PROGRESS"
    DELETING = "DELETING"
    SKIPPED = "SKIPPED"
    ERROR = "ERROR"
    SYNCED = "SYNCED"
    WAITING_FOR_READINESS = "WAITING_FOR_READINESS"

    @property
    def is_settled(self) -> bool:
        """Whether nothing is left to do for the node."""
        return self in (NodeState.SYNCED, NodeState.SKIPPED)


class ChangeKind(StrEnum):
    CREATED = "created"
    ADOPTED = "adopted"
    UPDATED = "updated"
    HEALED = "healed"
    DELETED = "deleted"
    RELEASED = "released"
    RECREATED = "recreated"  # deleted, to be created anew


class Retry(Enum):
    """When the next pass is due."""

    NONE = "none"  # when something changes
    EVENT = "event"  # after the expected event, or after a long delay in case the event is missed
    FRESH = "fresh"  # at once, with a fresh read: the pass saw stale objects
    BACKOFF = "backoff"  # after a growing delay: something outside failed


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One write that changed the cluster."""

    kind: ChangeKind
    node: str
    key: Key


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """An error. If it is not retryable, only a change of the instance, the definition or a child can help."""

    message: str
    retryable: bool
    # None if the error belongs to no node (parent metadata, prune).
    node: str | None = None
    refusal: Refusal | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeReport:
    """The state of one node. `message` is empty for a settled node and a full sentence otherwise."""

    id: str
    state: NodeState
    message: str = ""
    # The nodes at the root of the chain that blocks this node; the node itself if no other node blocks it.
    blocked_by: tuple[str, ...] = ()
    # The expression that is not true or has no value yet, as the author wrote it.
    expression: str | None = None
    # The objects of the node: none, one, or all of a collection.
    objects: tuple[Key, ...] = ()

    @property
    def is_root_cause(self) -> bool:
        """Whether the node itself is the reason why it is not settled."""
        return not self.state.is_settled and self.blocked_by == (self.id,)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The result of one pass over one instance."""

    # The instance as last seen: the answer to the metadata patch, if the pass sent one.
    instance: Obj
    scope: "Scope"
    nodes: Mapping[str, NodeReport] = field(default_factory=dict)
    changes: tuple[Change, ...] = ()
    failures: tuple[Failure, ...] = ()
    # Nodes that declare the same object. The pass wrote nothing after it knew them.
    duplicates: tuple[str, ...] = ()
    # Why the pass could not bring finalizer, labels and inventory up to date. The pass then did nothing else.
    management_error: str | None = None
    management_refusal: Refusal | None = None
    suspended: bool = False
    # Existing members that no node declares any more.
    leftovers: tuple[Key, ...] = ()
    # Those of them for which the later waves of deletes wait.
    retiring: tuple[Observed, ...] = ()
    # Those of them that are not deleted: they are more than their collection may lose at once (`engine.prune_guard`).
    held: tuple[HeldPrune, ...] = ()
    # Objects that are labelled as children of the instance, without proof (`engine.membership`); they stay.
    strangers: tuple[Observed, ...] = ()
    # Objects that belong to somebody else, and the message about each.
    not_adopted: Mapping[Key, str] = field(default_factory=dict)
    # Those of them that may be adopted as soon as nobody else has their fields.
    awaiting_fields: frozenset[Key] = frozenset()
    # Children that were deleted to be created anew, and the fields that cannot be changed.
    recreated: Mapping[Key, str] = field(default_factory=dict)
    # Fields of children that are left to other field managers.
    yielded: Mapping[Key, Yielding] = field(default_factory=dict)
    # A text about entries dropped from the instance's recorded inventory; empty if there are none.
    repair: str = ""
    # All declared objects are applied and none has drifted, whether they are ready or not.
    synced: bool = False
    # There is nothing to wait for and nothing to retry.
    settled: bool = False
    retry: Retry = Retry.NONE
    # All watches that the instance needs now, whether this pass or an earlier one requested them.
    watches: tuple[WatchExternal, ...] = ()

    @property
    def causes(self) -> tuple[NodeReport, ...]:
        """The nodes that are not settled and are themselves the reason."""
        return tuple(r for r in self.nodes.values() if r.is_root_cause)
