"""Graph revisions: the immutable record of every accepted spec of a definition.

A revision is issued when the accepted spec's hash differs from the newest one's; numbers only grow. After a restart
with an invalid spec the newest revision is what instances keep being served by.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from kroasync.model import names
from kroasync.model.conditions import TRUE, ConditionSet, Subject, conditions_of
from kroasync.model.definition import Definition, revision_name, spec_hash
from kroasync.model.kinds import REVISIONS
from kroasync.model.objects import Obj, is_deleting, labels_of, metadata, name_of, version_of

CONDITIONS = ConditionSet(root="Ready", dependents=("GraphVerified",))


def identity_of(definition: Definition) -> str:
    """The name revisions refer to: that of a cluster-scoped definition, `namespace/name` of a namespaced one."""
    return f"{definition.namespace}/{definition.name}" if definition.namespace else definition.name


class RevisionStore:
    """Live and terminating revisions by the definition they belong to; the sink of the revisions' watch.

    `gone` is told the identity of a definition that has one revision less: it may have to issue it anew.
    """

    def __init__(self, gone: Callable[[str], None]) -> None:
        self._gone = gone
        self._by_name: dict[str, Obj] = {}
        # Set at the next change, then replaced: take it before looking.
        self.changed = asyncio.Event()

    def keep(self, obj: Obj) -> Obj:
        obj["metadata"].pop("managedFields", None)
        return obj

    def replace(self, items: list[Obj], version: str = "") -> None:
        before, self._by_name = self._by_name, {name_of(obj): obj for obj in items}
        for name in before.keys() - self._by_name.keys():
            self._gone(_identity_in(before[name]))
        self._tell()

    def event(self, kind: str, obj: Obj) -> None:
        if kind == "DELETED":
            if self._by_name.pop(name_of(obj), None) is not None:
                self._gone(_identity_in(obj))
        else:
            self._by_name[name_of(obj)] = self.keep(obj)
        self._tell()

    def _tell(self) -> None:
        self.changed.set()
        self.changed = asyncio.Event()

    def versions(self) -> dict[tuple[str, str], str]:
        """The version of every revision, by namespace (none) and name."""
        return {("", name): version_of(obj) for name, obj in self._by_name.items()}

    def of(self, identity: str) -> list[Obj]:
        """The live revisions of a definition, oldest first."""
        found = [r for r in self._all(identity) if not is_deleting(r)]
        return sorted(found, key=number_of)

    def terminating(self, identity: str) -> list[Obj]:
        """Revisions that are being deleted and still hold our finalizer."""
        return [
            r for r in self._all(identity) if is_deleting(r) and names.FINALIZER in metadata(r).get("finalizers", ())
        ]

    def counts(self) -> dict[tuple[str, ...], float]:
        """How many are active and how many are being deleted."""
        deleting = sum(1 for r in self._by_name.values() if is_deleting(r))
        return {("active",): len(self._by_name) - deleting, ("deleting",): deleting}

    def identities(self) -> set[str]:
        """The definitions that have revisions."""
        return {_identity_in(r) for r in self._by_name.values()}

    def _all(self, identity: str) -> Iterable[Obj]:
        return [r for r in self._by_name.values() if _identity_in(r) == identity]


def _identity_in(revision: Obj) -> str:
    return str(snapshot_of(revision).get("name", ""))


def snapshot_of(revision: Obj) -> Obj:
    spec = revision.get("spec")
    snapshot = spec.get("snapshot") if isinstance(spec, dict) else None
    return snapshot if isinstance(snapshot, dict) else {}


def number_of(revision: Obj) -> int:
    """The revision number; 0 for a malformed object."""
    spec = revision.get("spec")
    return _number(spec.get("revision")) if isinstance(spec, dict) else 0


def _number(found: Any) -> int:
    return found if isinstance(found, int) and not isinstance(found, bool) and found > 0 else 0


def last_issued(told: Any, live: Sequence[Obj], generation: int) -> int:
    """The number after which the next revision is counted: that of the newest one there is.

    What the status told counts as far as it can be true: newer ones may have been deleted, but no more of them than the
    spec had generations. Somebody else may have written any number there.
    """
    newest = max(map(number_of, live), default=0)
    number = _number(told)
    return number if newest < number <= newest + generation else newest


def records(revision: Obj, definition: Definition) -> bool:
    """Whether it is the record of the definition's spec: by its label, and by what it holds."""
    if hash_of(revision) != definition.hash:
        return False
    spec = snapshot_of(revision).get("spec")
    return isinstance(spec, dict) and (spec == definition.source_spec or spec_hash(spec) == definition.hash)


def hash_of(revision: Obj) -> str:
    return labels_of(revision).get(names.LABEL_REVISION_HASH, "")


def new_revision(definition: Definition, number: int, *, version: str) -> Obj:
    """The object of a revision to be issued."""
    identity = identity_of(definition)
    meta: dict[str, Any] = {
        "name": revision_name(identity.replace("/", "-"), number),
        "labels": {
            names.LABEL_OWNED: "true",
            names.LABEL_KRO_VERSION: version,
            names.LABEL_DEFINITION_NAME: definition.name,
            names.LABEL_REVISION_HASH: definition.hash,
        },
        "finalizers": [names.FINALIZER],
    }
    if not definition.namespace:
        # The owner of a cluster-scoped object must be cluster-scoped; those of a ResourceGroup are deleted by us.
        meta["ownerReferences"] = [owner_reference(definition)]
    return {
        "apiVersion": REVISIONS.api_version,
        "kind": REVISIONS.kind,
        "metadata": meta,
        "spec": {
            "revision": number,
            "snapshot": {
                "name": identity,
                "generation": definition.generation,
                "spec": definition.source_spec,
            },
        },
    }


def owner_reference(definition: Definition) -> Obj:
    return {
        "apiVersion": names.KRO_API_VERSION,
        "kind": names.RESOURCE_GRAPH_DEFINITION,
        "name": definition.name,
        "uid": definition.uid,
        "controller": True,
    }


def adopted(revision: Obj, definition: Definition) -> Obj | None:
    """Merge patch that makes the definition the owner; None if it is, or if it can't be one."""
    if definition.namespace:
        return None
    wanted = owner_reference(definition)
    owners = list(metadata(revision).get("ownerReferences") or ())
    if any(o.get("uid") == definition.uid and o.get("controller") for o in owners):
        return None
    others = [o for o in owners if (o.get("kind"), o.get("apiVersion")) != (wanted["kind"], wanted["apiVersion"])]
    version = metadata(revision).get("resourceVersion")
    return {"metadata": {"resourceVersion": version, "ownerReferences": [*others, wanted]}}


def verified_status(revision: Obj, *, order: list[str], resources: list[Obj], now: str) -> Obj:
    """The status of a revision that compiled."""
    subject = Subject.of(revision)
    conditions = CONDITIONS.initialise(conditions_of(revision), subject, now=now)
    conditions = CONDITIONS.set(
        conditions,
        subject,
        "GraphVerified",
        TRUE,
        reason="Verified",
        message="graph revision compiled and verified",
        now=now,
    )
    return {"conditions": conditions, "topologicalOrder": order, "resources": resources}


def definition_of(revision: Obj, current: Obj) -> Obj:
    """The definition object a revision is a snapshot of, with today's metadata."""
    return {**current, "spec": snapshot_of(revision).get("spec", {})}
