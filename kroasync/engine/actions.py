"""What a pass asks of its shell, and what it looks at: actions out, results in, one view of the world.

Everything here is plain data. The engine never waits: it emits a batch of actions, the shell performs them
concurrently and feeds one result per action back, whatever happened (a refusal is a result, not an
exception).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Protocol, TypeAlias

from kroasync.model.objects import Key, Obj, Resource


class Need(Enum):
    """Why an object has to be sent: it is not there, what is declared changed, or somebody changed it."""

    CREATE = "create"
    UPDATE = "update"
    HEAL = "heal"


@dataclass(frozen=True, slots=True, kw_only=True)
class Apply:
    """Server-side apply of one child. `force` is False when it is not known to be a child already: what is there
    before is looked at, and taken over only if it is nobody's.
    """

    node: str
    # Place in the collection; None for a single resource.
    index: int | None
    key: Key
    obj: Obj
    need: Need
    force: bool
    # Places in `obj` with values of Secrets: what the server says of such an object is not to be quoted.
    secrets: tuple[tuple[str | int, ...], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Delete:
    """Delete one child with its UID as precondition."""

    node: str
    key: Key
    uid: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PatchParent:
    """Bring the instance's own metadata up to date, by one merge patch: finalizer, labels, inventory."""

    labels: dict[str, str]
    annotations: dict[str, str]
    add_finalizer: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchExternal:
    """Make an external object, or the objects a selector matches, visible in the World (and wake the instance
    by them).
    """

    node: str
    resource: Resource
    # Empty: all namespaces (selectors), or a cluster-scoped kind.
    namespace: str
    name: str | None = None
    # Label selector in the API's string form; "" selects everything.
    selector: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Pause:
    """Let others run: the pass has computed for a while."""


Action: TypeAlias = Apply | Delete | PatchParent | WatchExternal | Pause


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """The action was performed; `obj` is the server's answer (None for deletes and watches)."""

    action: Action
    obj: Obj | None = None
    # False if the server answered that nothing had to be changed (the resourceVersion did not move).
    changed: bool = True
    # The object existed before, and was nobody's.
    adopted: bool = False


class Refusal(Enum):
    """Kinds of failure the engine tells apart."""

    CONFLICT = "conflict"  # fields owned by another manager, or a stale precondition
    FOREIGN = "foreign"  # the object belongs to a different ApplySet
    CLAIMED = "claimed"  # the object was there before and is somebody else's (engine.adoption)
    INVALID = "invalid"  # the API server will not take it as it is
    FORBIDDEN = "forbidden"
    TOO_BIG = "too big"  # for the API server or its store
    MISSING = "missing"  # kind, namespace or object does not exist
    UNAVAILABLE = "unavailable"  # timeouts, 429, 5xx: nothing wrong with the request


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """The action was not performed; `message` is the server's, for people (FOREIGN: the id of the other
    ApplySet; CLAIMED: who has the object).
    """

    action: Action
    refusal: Refusal
    message: str


Result: TypeAlias = Done | Refused


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """A child as last seen: its identity and the fields the graph reads."""

    key: Key
    uid: str
    obj: Obj
    # Id of the node it was applied for, as it says itself; empty if it does not.
    node: str = ""
    # deletionTimestamp is set.
    deleting: bool = False
    # Our field manager has an entry in managedFields: the object was applied by us, not merely labelled like
    # ours.
    ours: bool = True
    # ApplySet part-of label.
    part_of: str = ""
    # The annotation that shows that we applied it, as found; see `engine.membership`.
    seal: str = ""
    apply_order: int = 0


class World(Protocol):
    """What a pass may look at: the caches, narrowed to one instance."""

    def find(self, key: Key) -> Observed | None:
        """The managed object of that identity, whoever's instance it belongs to."""

    def members(self) -> Sequence[Observed]:
        """Every object labelled as a child of this instance, wherever it is; `engine.membership` says which are."""

    def compare(self, key: Key, desired: Obj) -> Need | None:
        """Whether sending `desired` would change anything, by the hashes of the last apply; None: nothing to
        send.
        """

    def external(self, watch: WatchExternal) -> Sequence[Obj] | None:
        """The external objects a watch covers, sorted by namespace and name; None while it is not watched."""

    def unseen(self) -> frozenset[str]:
        """Kinds of the inventory (`Kind.group`) that cannot be listed: what there is of them is out of sight."""
