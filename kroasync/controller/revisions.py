"""Graph revisions: the immutable record of every accepted spec of a definition.

The controller issues a revision if the hash of the accepted spec differs from the hash of the newest revision. Numbers
only grow. After a restart with an invalid spec, the instances follow the newest revision. `Revisions` issues and
collects revisions; the functions over plain data below decide.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from kroasync.controller.finalizers import set_finalizers
from kroasync.controller.options import RuntimeOptions
from kroasync.controller.status_writes import write_status
from kroasync.engine.labels import label_value
from kroasync.kube.api_errors import (
    AlreadyExistsError,
    ApiError,
    ConflictError,
    ForbiddenError,
    InvalidError,
    NotFoundError,
)
from kroasync.kube.client import Client
from kroasync.metrics import Metrics
from kroasync.model import names
from kroasync.model.conditions import TRUE, ConditionSet, Subject, conditions_of
from kroasync.model.definition import Definition, revision_name, spec_hash
from kroasync.model.kinds import REVISIONS
from kroasync.model.objects import (
    Key,
    Obj,
    finalizers_of,
    is_deleting,
    labels_of,
    metadata,
    name_of,
    version_of,
)

log = logging.getLogger("kroasync.definitions")

CONDITIONS = ConditionSet(root="Ready", dependents=("GraphVerified",))


def identity_of(definition: Definition | Key) -> str:
    """The name by which revisions refer to a definition: `name` if it is cluster-scoped, or else `namespace/name`."""
    return f"{definition.namespace}/{definition.name}" if definition.namespace else definition.name


class RevisionStore:
    """Live and terminating revisions by definition; the sink of the revision watch.

    When a revision is deleted, the store calls `gone` with the identity of its definition, which may have to issue the
    revision again.
    """

    def __init__(self, gone: Callable[[str], None]) -> None:
        self._gone = gone
        self._by_name: dict[str, Obj] = {}
        # By definition: why a revision that is being deleted cannot be released.
        self._stuck: dict[str, str] = {}
        # The next change sets this Event and replaces it. A waiter must take it before it reads the store.
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

    def stuck(self, identity: str, why: str) -> None:
        """A revision cannot be released. Its definition, which may wait for that, reports the reason."""
        if self._stuck.get(identity) != why:
            self._stuck[identity] = why
            self._gone(identity)

    def why_stuck(self, identity: str) -> str:
        """Why a revision of the definition cannot be released; empty if none is stuck."""
        if identity in self._stuck and not self.terminating(identity):
            del self._stuck[identity]
        return self._stuck.get(identity, "")

    def of(self, identity: str) -> list[Obj]:
        """The live revisions of a definition, oldest first."""
        found = [r for r in self._all(identity) if not is_deleting(r)]
        return sorted(found, key=number_of)

    def terminating(self, identity: str) -> list[Obj]:
        """Revisions that are being deleted and still hold our finalizer."""
        return [r for r in self._all(identity) if is_deleting(r) and names.FINALIZER in finalizers_of(r)]

    def counts(self) -> dict[tuple[str, ...], float]:
        """How many revisions are active and how many are being deleted."""
        deleting = sum(1 for r in self._by_name.values() if is_deleting(r))
        return {("active",): len(self._by_name) - deleting, ("deleting",): deleting}

    def identities(self) -> set[str]:
        """The definitions that have revisions."""
        return {_identity_in(r) for r in self._by_name.values()}

    def _all(self, identity: str) -> Iterable[Obj]:
        return [r for r in self._by_name.values() if _identity_in(r) == identity]


@dataclass(frozen=True, slots=True, kw_only=True)
class Issued:
    """The result of issuing a revision. `number` is the highest number that is known to be taken."""

    number: int
    # None if the API server refuses it, or while one of that name is being deleted; that end wakes the definition.
    revision: Obj | None = None
    is_new: bool = False
    # Why the API server refuses the revision; otherwise empty.
    refused: str = ""
    # Why the API server refuses to release the revision that is being deleted; otherwise empty.
    stuck: str = ""


@dataclass(frozen=True, slots=True)
class Revisions:
    """Issues, verifies and collects the revisions of all definitions."""

    client: Client
    store: RevisionStore
    metrics: Metrics
    options: RuntimeOptions

    def of(self, definition: Key) -> list[Obj]:
        """The live revisions of a definition, oldest first."""
        return self.store.of(identity_of(definition))

    async def issue(self, definition: Definition, *, last: int) -> Issued:
        """The revision of the spec: the newest one if it records this spec, or a new one with a number above `last`."""
        live = self.store.of(identity_of(definition))
        newest = live[-1] if live else None
        if newest is None or not records(newest, definition):
            return await self._new(definition, last)
        self.metrics.rgd_graph_revision_resolution_total.inc("serve")
        patch = adopted(newest, definition)
        if patch is not None:
            newest = await self.client.merge_patch(_key_of(newest), patch, manager=names.MANAGER_LABELLER)
            self.store.event("MODIFIED", newest)
        return Issued(number=number_of(newest), revision=newest)

    async def _new(self, definition: Definition, last: int) -> Issued:
        identity = identity_of(definition)
        while True:
            live = self.store.of(identity)
            number = max([last, *map(number_of, live)]) + 1
            try:
                newest = await self._created(new_revision(definition, number, version=self.options.version))
            except (InvalidError, ForbiddenError) as error:
                return Issued(number=last, refused=error.message)
            self.store.event("ADDED", newest)
            if is_deleting(newest):
                return Issued(number=last, stuck=self.store.why_stuck(identity))
            if snapshot_of(newest).get("name") == identity and records(newest, definition):
                break
            # The cache was stale: the found revision records an older spec, or belongs to another definition.
            last = number
        self.metrics.rgd_graph_revision_resolution_total.inc("issue")
        self.metrics.rgd_graph_revision_issue_total.inc("no_revision" if not live else "spec_changed")
        return Issued(number=number, revision=newest, is_new=True)

    async def _created(self, wanted: Obj) -> Obj:
        """Create the revision; returns the existing one if the name is taken."""
        try:
            return await self.client.create(_key_of(wanted), wanted)
        except AlreadyExistsError:
            return await self.client.get(_key_of(wanted))

    async def verify(self, revision: Obj, *, order: list[str], resources: list[Obj], now: str) -> None:
        """Report on the revision that it compiled."""
        status = verified_status(revision, order=order, resources=resources, now=now)
        answer = await write_status(self.client, _key_of(revision), revision, status)
        if answer is not None:
            self.store.event("MODIFIED", answer)

    async def collect(self, definition: Key) -> str:
        """Delete all but the newest revisions; returns why the API server refuses that, or an empty text."""
        keep, refused = self.options.max_revisions, ""
        for revision in self.of(definition)[:-keep] if keep > 0 else ():
            try:
                await self.client.delete(_key_of(revision))
                self.metrics.rgd_graph_revision_gc_deleted_total.inc()
            except NotFoundError:
                continue  # it is gone, and only its event is late
            except ApiError as error:
                self.metrics.rgd_graph_revision_gc_errors_total.inc()
                log.info("revision not deleted", extra={"revision": name_of(revision), "error": error.message})
                refused = error.message
        return refused

    async def delete_all(self, definition: Key) -> None:
        """Delete the revisions of a definition that is being deleted. They are listed: the cache may be stale."""
        selector = f"{names.LABEL_DEFINITION_NAME}={label_value(definition.name)}"
        found, _ = await self.client.list(REVISIONS, label_selector=selector)
        for revision in found:
            # A definition in another namespace may have the same name.
            if _identity_in(revision) == identity_of(definition):
                with suppress(NotFoundError):
                    await self.client.delete(_key_of(revision))

    async def release(self) -> None:
        """Remove our finalizer from revisions that are being deleted.

        A refusal holds up no other revision; the last one is raised in the end.
        """
        refusal: ApiError | None = None
        for identity in self.store.identities():
            for revision in self.store.terminating(identity):
                others = [f for f in finalizers_of(revision) if f != names.FINALIZER]
                try:
                    await set_finalizers(self.client, _key_of(revision), revision, others)
                except NotFoundError:
                    continue
                except ApiError as error:
                    refusal = error
                    if not (isinstance(error, ConflictError) or error.is_outage):
                        self.store.stuck(identity, error.message)
        if refusal is not None:
            raise refusal


def _key_of(revision: Obj) -> Key:
    return Key(REVISIONS, "", name_of(revision))


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
    """The last number in use: the number of the newest revision, or the larger number in the status.

    Newer revisions may have been deleted, but no more of them than the spec had generations. Somebody else may have
    written any number into the status, so a number beyond that is ignored.
    """
    newest = max(map(number_of, live), default=0)
    number = _number(told)
    return number if newest < number <= newest + generation else newest


def records(revision: Obj, definition: Definition) -> bool:
    """Whether the revision records the definition's spec: its hash label and its snapshot must agree."""
    if hash_of(revision) != definition.hash:
        return False
    spec = snapshot_of(revision).get("spec")
    return isinstance(spec, dict) and (spec == definition.source_spec or spec_hash(spec) == definition.hash)


def hash_of(revision: Obj) -> str:
    return labels_of(revision).get(names.LABEL_REVISION_HASH, "")


def new_revision(definition: Definition, number: int, *, version: str) -> Obj:
    """A revision to create."""
    identity = identity_of(definition)
    meta: dict[str, Any] = {
        "name": revision_name(identity.replace("/", "-"), number),
        "labels": {
            names.LABEL_OWNED: "true",
            names.LABEL_KRO_VERSION: version,
            names.LABEL_DEFINITION_NAME: label_value(definition.name),
            names.LABEL_REVISION_HASH: definition.hash,
        },
        "finalizers": [names.FINALIZER],
    }
    if not definition.namespace:
        # A cluster-scoped object needs a cluster-scoped owner. `delete_all` deletes the revisions of a ResourceGroup.
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
    """The merge patch that makes the definition the owner; None if it is the owner already, or cannot be."""
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
    """The definition with the spec of a revision and its current metadata."""
    return {**current, "spec": snapshot_of(revision).get("spec", {})}
