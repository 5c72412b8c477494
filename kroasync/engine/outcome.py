"""What a pass found: the state of every node, what was changed, what failed, and when to come back.

Plain data for the status, Events, metrics and the offline commands. Reports are in topological order.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, StrEnum
from typing import TYPE_CHECKING

from kroasync.engine.actions import Observed, Refusal, WatchExternal
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
        """Nothing is left to do for the node."""
        return self in (NodeState.SYNCED, NodeState.SKIPPED)


class ChangeKind(StrEnum):
    CREATED = "created"
    ADOPTED = "adopted"
    UPDATED = "updated"
    HEALED = "healed"
    DELETED = "deleted"


class Retry(Enum):
    """When the next pass makes sense."""

    NONE = "none"  # when something changes
    EVENT = "event"  # an event is expected; a slow safety net will do
    FRESH = "fresh"  # at once, from fresh state: what was looked at is stale
    BACKOFF = "backoff"  # with growing delay: something outside failed


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One write that changed the cluster."""

    kind: ChangeKind
    node: str
    key: Key


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Something that went wrong. Not retryable: only a change of the instance, the definition or a child can
    help.
    """

    message: str
    retryable: bool
    # None: the fault is not of one node (parent metadata, prune).
    node: str | None = None
    refusal: Refusal | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeReport:
    """How one node stands. `message` is empty for settled nodes and a full sentence otherwise."""

    id: str
    state: NodeState
    message: str = ""
    # The nodes that block this one at the root of its chain; itself if nothing else does.
    blocked_by: tuple[str, ...] = ()
    # The expression that is not true or not there yet, as the author wrote it.
    expression: str | None = None
    # Objects the node stands for (0 or 1, or the size of a collection).
    objects: tuple[Key, ...] = ()

    @property
    def is_root_cause(self) -> bool:
        """The node is not settled, and for a reason of its own."""
        return not self.state.is_settled and self.blocked_by == (self.id,)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The result of one pass over one instance."""

    # The instance as last seen: the answer of the metadata patch, if there was one.
    instance: Obj
    scope: "Scope"
    nodes: Mapping[str, NodeReport] = field(default_factory=dict)
    changes: tuple[Change, ...] = ()
    failures: tuple[Failure, ...] = ()
    # Which nodes declare the same object; nothing was written after that was known.
    duplicates: tuple[str, ...] = ()
    # Why finalizer, labels and inventory could not be brought up to date; nothing else happened then.
    management_error: str | None = None
    management_refusal: Refusal | None = None
    suspended: bool = False
    # Members no node declares any more that still exist.
    leftovers: tuple[Key, ...] = ()
    # What is labelled as a child of the instance and is not shown to be one (`engine.membership`); it stays.
    strangers: tuple[Observed, ...] = ()
    # Objects that are somebody else's, and what is said of them.
    not_adopted: Mapping[Key, str] = field(default_factory=dict)
    # What was dropped from the instance's recorded inventory, for people; empty if nothing was.
    repair: str = ""
    # Everything declared is applied and nothing has drifted, whether ready or not.
    synced: bool = False
    # Nothing to wait for and nothing to repeat.
    settled: bool = False
    retry: Retry = Retry.NONE
    # Every watch the instance needs now, whether it was emitted in this pass or before.
    watches: tuple[WatchExternal, ...] = ()

    @property
    def causes(self) -> tuple[NodeReport, ...]:
        """The nodes that are not settled for a reason of their own."""
        return tuple(r for r in self.nodes.values() if r.is_root_cause)
