"""The interface of a pass to its caller: actions out, results in, one view of the world.

Everything here is plain data. The engine never waits: it emits a batch of actions. The caller performs them
concurrently and returns one result for each action, whatever happened (a refusal is a result, not an exception).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol, TypeAlias

from kroasync.model.objects import Key, Obj, Resource
from kroasync.model.policies import Policies


class Need(Enum):
    """Why an object must be sent: it does not exist, its declaration changed, or somebody changed it."""

    CREATE = "create"
    UPDATE = "update"
    HEAL = "heal"


@dataclass(frozen=True, slots=True, kw_only=True)
class Apply:
    """Server-side apply of one child. `force` is False if the object is not known as a child: an object that exists
    already is read first, and adopted only if nobody owns it.
    """

    node: str
    # The index in the collection; None for a single resource.
    index: int | None
    key: Key
    obj: Obj
    need: Need
    force: bool
    # The paths in `obj` with values of Secrets: the server's messages about such an object must not be quoted.
    secrets: tuple[tuple[str | int, ...], ...] = ()
    policies: Policies = field(default_factory=Policies)
    external_fields: tuple[tuple[str, ...], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """Read one child whose fields the World does not keep, and which must not be sent to learn them."""

    node: str
    # As in `Apply`.
    index: int | None
    key: Key


@dataclass(frozen=True, slots=True, kw_only=True)
class Delete:
    """Delete one child with its UID as precondition."""

    node: str
    key: Key
    uid: str
    # With Foreground the child is there until its dependents are gone.
    propagation: str = "Background"


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """Let one child go without deleting it (`engine.orphans`), if it still is a member and its policy says so."""

    node: str
    key: Key
    uid: str
    # The ApplySet that the child leaves.
    part_of: str
    # The node's policy says so, whatever the child says.
    by_node: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PatchParent:
    """Bring the instance's own metadata up to date, by one merge patch: finalizer, labels, annotations."""

    labels: dict[str, str]
    # None removes an annotation.
    annotations: Mapping[str, str | None]
    add_finalizer: bool = False
    # The only resourceVersion of the instance that may be patched; empty for any.
    version: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchExternal:
    """Make an external object, or the objects of a selector, visible in the World, and let them wake the instance."""

    node: str
    resource: Resource
    # Empty for all namespaces (selectors) or for a cluster-scoped kind.
    namespace: str
    name: str | None = None
    # Label selector in the API's string form; "" selects everything.
    selector: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Pause:
    """Let other passes run: this pass has computed for a while."""


Action: TypeAlias = Apply | Read | Delete | Release | PatchParent | WatchExternal | Pause


@dataclass(frozen=True, slots=True)
class ForeignField:
    """A declared field that another manager has, as messages show it. `declared` and `live` are short texts."""

    field: str
    manager: str
    declared: str
    live: str

    def __str__(self) -> str:
        return f'{self.field} is {self.live} by manager "{self.manager}", declared is {self.declared}'


@dataclass(frozen=True, slots=True)
class Yielding:
    """The fields of one child, by its UID, that are left to other managers."""

    uid: str
    fields: tuple[ForeignField, ...]

    def beside(self, other: "Yielding | None") -> "Yielding":
        """This, and what was left to others before."""
        earlier = other.fields if other is not None and other.uid == self.uid else ()
        return Yielding(self.uid, tuple(dict.fromkeys((*earlier, *self.fields))))

    @property
    def what(self) -> str:
        """The fields and their managers without the values: the same text as long as these are the same."""
        return "; ".join(sorted(f'{one.field} to manager "{one.manager}"' for one in self.fields))


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """The action was performed; `obj` is the server's answer (None for deletes and watches)."""

    action: Action
    obj: Obj | None = None
    # False if the action changed nothing (the resourceVersion stayed the same).
    changed: bool = True
    # The object existed before, and was not a child.
    adopted: bool = False
    # The fields that the apply left to other managers after the API server reported conflicts.
    yielded: Yielding | None = None


class Refusal(Enum):
    """The kinds of failure that the engine distinguishes."""

    CONFLICT = "conflict"  # fields owned by another manager, or a stale precondition
    FOREIGN = "foreign"  # the object belongs to a different ApplySet
    CONTESTED = "contested"  # other managers have fields of it, and its policy is to fail (engine.yielding)
    CLAIMED = "claimed"  # the object existed before and may not be adopted (engine.adoption)
    MANAGED = "managed"  # the object existed before, and somebody else manages fields that we declare differently
    INVALID = "invalid"  # the API server rejects the object
    FORBIDDEN = "forbidden"
    TOO_BIG = "too big"  # for the API server or its store
    FAULT = "fault"  # the API server fails at this object alone, again and again
    MISSING = "missing"  # kind, namespace or object does not exist
    UNAVAILABLE = "unavailable"  # timeouts, 429, 5xx: nothing wrong with the request


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """The action was not performed. `message` is the server's message; for FOREIGN, CLAIMED and MANAGED, the text of
    `engine.adoption.Objection`.
    """

    action: Action
    refusal: Refusal
    message: str
    # The fields that cannot be changed, if that alone is why the API server refused an apply (`engine.recreation`).
    immutable: tuple[str, ...] = ()


Result: TypeAlias = Done | Refused


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """A child as last seen: its identity and the fields that the graph reads."""

    key: Key
    uid: str
    obj: Obj
    # The id of the node that it was applied for, as the object itself says; empty if it does not.
    node: str = ""
    # deletionTimestamp is set.
    deleting: bool = False
    # Our field manager has an entry in managedFields: we applied the object, and it is not merely labelled like ours.
    ours: bool = True
    # The ApplySet part-of label.
    part_of: str = ""
    # The annotation that proves that we applied the object, as found; see `engine.membership`.
    seal: str = ""
    apply_order: int = 0
    # How many objects its collection had when it was applied, as the object itself says; 0 if it does not.
    collection_size: int = 0
    # Its deletion policy: it is released where other children are deleted.
    orphaned: bool = False


class World(Protocol):
    """The view of a pass: the caches, restricted to one instance."""

    def find(self, key: Key) -> Observed | None:
        """The managed object of that identity, whichever instance it belongs to."""

    def members(self) -> Sequence[Observed]:
        """All objects labelled as children of this instance; `engine.membership` decides which of them are children."""

    def compare(self, key: Key, desired: Obj) -> Need | None:
        """Why `desired` must be sent, by the hashes of the last apply; None if it need not be sent."""

    def leave(self, key: Key) -> bool:
        """Note that the object stays as it is, whatever it is declared to be. False if its fields are not kept, so
        that it must be read.
        """

    def external(self, watch: WatchExternal) -> Sequence[Obj] | None:
        """The external objects that a watch covers, sorted by namespace and name; None without a watch."""

    def unseen(self) -> frozenset[str]:
        """The kinds of the inventory (`Kind.group`) that cannot be listed, so their objects are out of sight."""
