"""Reconcile definitions: check, record the revision, bring the CRD up to date, serve the kind, report.

Level-triggered: `reconcile(key)` looks at what is there now. A definition that is refused, or waits for a kind, leaves
what it served before as it was; only the conditions say so.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from kroasync.controller.crds import CrdStore, SeenCrd, is_established, names_refused
from kroasync.controller.events import Recorder
from kroasync.controller.fights import Fights
from kroasync.controller.kinds import ClusterKinds
from kroasync.controller.outcomes import Done, RetryAfter, Summary, Verdict, no_later
from kroasync.controller.pacing import in_turns
from kroasync.controller.revisions import (
    RevisionStore,
    adopted,
    definition_of,
    identity_of,
    last_issued,
    new_revision,
    number_of,
    records,
    snapshot_of,
    verified_status,
)
from kroasync.controller.serving import Serving
from kroasync.controller.statuses import report, wait_s, write_status
from kroasync.controller.store import InstanceStore
from kroasync.controller.watchdog import Watchdog
from kroasync.graph.build import Built, Limits, building, needed_kinds
from kroasync.graph.nodes import Graph
from kroasync.graph.report import condition_message
from kroasync.kube.client import Client
from kroasync.kube.errors import AlreadyExistsError, ApiError, ForbiddenError, InvalidError, NotFoundError
from kroasync.metrics import Metrics
from kroasync.model import names
from kroasync.model.conditions import FALSE, TRUE, UNKNOWN, Conditions, ConditionSet, Subject, conditions_of, is_true
from kroasync.model.definition import Definition, parse_definition
from kroasync.model.kinds import CRDS, GRAPH_DEFINITIONS, REVISIONS
from kroasync.model.objects import GVK, Key, Obj, Resource, is_deleting, labels_of, metadata, name_of, uid_of
from kroasync.model.problems import Problem
from kroasync.schema.crd import Breaking, Create, Patch, Unchanged, crd_name, ensuring_crd_patch
from kroasync.schema.instances import check_instance

log = logging.getLogger("kroasync.definitions")

CONDITIONS = ConditionSet(
    root="Ready",
    dependents=("GraphRevisionsResolved", "GraphAccepted", "KindReady", "ControllerReady"),
    pruned=("ResourceGraphAccepted",),
)
_ESTABLISHED_S = 120.0
# How often a CRD in deletion is looked at, should the event of its end have been missed.
_GONE_S = 10.0
# Instances named in a message; more are counted.
_NAMED = 5
_LONGEST_LABEL = 63


@dataclass(slots=True)
class _Known:
    """What is remembered of a definition between passes."""

    uid: str = ""
    generation: int = 0
    built: Built | None = None
    graph: Graph | None = None
    # While it has no graph: the kinds it uses, whose absence or schema may be why.
    refused_over: tuple[GVK, ...] = ()
    # Name of the CRD it generates, whoever owns that now.
    crd: str = ""
    issued: int = 0
    # The last status may have been written although no answer came: the cache may be behind it.
    unsure: bool = False


@dataclass(slots=True)
class Definitions:
    """The controller of both definition kinds. `stores` caches the definitions themselves, by resource."""

    client: Client
    kinds: ClusterKinds
    stores: dict[Resource, InstanceStore]
    revisions: RevisionStore
    crds: CrdStore
    serving: Serving
    recorder: Recorder
    metrics: Metrics
    now: Callable[[], datetime]
    version: str
    limits: Limits
    features: frozenset[str]
    max_revisions: int
    allow_crd_deletion: bool
    # Longest time between two looks at a CRD that is not established yet.
    progress_s: float
    watchdog: Watchdog
    fights: Fights
    _known: dict[Key, _Known] = field(default_factory=dict)
    _crd_changed: asyncio.Event = field(default_factory=asyncio.Event)

    def concerned_with(self, group_kind: tuple[str, str]) -> list[Key]:
        """The definitions that wait for a kind to appear, or were refused with the schema it had."""
        return [
            key
            for key, known in self._known.items()
            if any((gvk.group, gvk.kind) == group_kind for gvk in known.refused_over)
        ]

    def owner_of(self, crd: SeenCrd) -> Key | None:
        """The definition whose labels a generated CRD carries."""
        uid = crd.labels.get(names.LABEL_DEFINITION_ID, "")
        name = crd.labels.get(names.LABEL_DEFINITION_NAME, "")
        for store in self.stores.values():
            key = store.key_by_uid(uid)
            if key is not None:
                return key
        by_name = Key(GRAPH_DEFINITIONS, "", name)
        return by_name if self.stores[GRAPH_DEFINITIONS].get(by_name) else None

    def generating(self, crd: str) -> list[Key]:
        """The definitions that generate a CRD of this name, or would if it were theirs."""
        return [key for key, known in self._known.items() if known.crd == crd]

    def rivals(self, definition: Obj) -> list[Key]:
        """The definitions that want to generate the same CRD as this one, which may be gone."""
        parsed, _ = parse_definition(definition)
        return self.generating(crd_name(parsed)) if parsed is not None else []

    def rival_of(self, key: Key, crd: Obj) -> Key | None:
        """The live definition a CRD belongs to, if that is another one than this."""
        uid = labels_of(crd).get(names.LABEL_DEFINITION_ID, "")
        found = (store.key_by_uid(uid) for store in self.stores.values())
        return next((other for other in found if other not in (None, key)), None)

    def crd_event(self) -> None:
        """A CRD changed: whoever waits for `Established` looks again."""
        self._crd_changed.set()
        self._crd_changed = asyncio.Event()

    async def reconcile(self, key: Key) -> Verdict:
        """Bring one definition and what it generates up to date."""
        obj = self.stores[key.resource].get(key)
        if obj is None:
            self._known.pop(key, None)
            await self.serving.retire(key)
            return Done()
        if is_deleting(obj):
            return await self._delete(key, obj)
        known = self._known.get(key)
        if known is not None and known.unsure:
            self.stores[key.resource].fetched(await self.client.get(key))
            known.unsure = False
            obj = self.stores[key.resource].get(key) or obj
        if names.FINALIZER not in metadata(obj).get("finalizers", ()):
            obj = await self._patch_finalizers(key, obj, [*metadata(obj).get("finalizers", ()), names.FINALIZER])
        return await _Pass(self, key, obj).run()

    async def prepare(self, key: Key) -> None:
        """Serve one definition as the leader does, without writing anything; only if it is in force as it is.

        Raises ApiError, or TimeoutError when something cannot be watched.
        """
        obj = self.stores[key.resource].get(key)
        if obj is None:
            self._known.pop(key, None)
            await self.serving.retire(key)
            return
        definition, _ = parse_definition(obj)
        if definition is None or is_deleting(obj) or not _is_in_force(obj):
            return
        seen = self.crds.get(crd_name(definition))
        built = await _Pass(self, key, obj).built(definition)
        if built.graph is not None and seen is not None and seen.established:
            await self.serving.serve(key, built.graph)

    async def _delete(self, key: Key, obj: Obj) -> Verdict:
        if names.FINALIZER not in metadata(obj).get("finalizers", ()):
            return Done()
        started = self.now()
        # By their labels, too: after a restart the kind of a definition in deletion is not served.
        generated = {kind.name for kind in self.serving.kinds.of_definition(key)}
        generated |= {crd.name for crd in self.crds.owned() if crd.labels.get(names.LABEL_DEFINITION_ID) == uid_of(obj)}
        definition, _ = parse_definition(obj)
        generated |= {crd_name(definition)} if definition is not None else set()
        await self.serving.retire(key)
        if self.allow_crd_deletion:
            for name in sorted(generated):
                await self._delete_crd(key, obj, name)
        if key.resource.namespaced:
            # No owner reference can do it: the revisions are cluster-scoped, their definition is not.
            for name in await self._revision_names(key):
                await self._delete_revision(name)
        others = [f for f in metadata(obj).get("finalizers", ()) if f != names.FINALIZER]
        with suppress(NotFoundError):  # somebody else took it off
            await self._patch_finalizers(key, obj, others)
        self._known.pop(key, None)
        self.metrics.rgd_deletions_total.inc(key.name)
        self.metrics.rgd_deletion_duration_seconds.observe((self.now() - started).total_seconds(), key.name)
        return Done(summary=Summary(outcome="deleted", changes={"deleted": 1}))

    async def _delete_crd(self, definition: Key, obj: Obj, name: str) -> None:
        # Asked for, not looked up: the definition goes now, and a cache that is behind would leave the CRD for ever.
        key = Key(CRDS, "", name)
        try:
            crd = await self.client.get(key)
            is_ours = labels_of(crd).get(names.LABEL_DEFINITION_NAME) == name_of(obj)
            if is_ours and self.rival_of(definition, crd) is None:
                await self.client.delete(key, uid=uid_of(crd))
        except NotFoundError:
            return

    async def _revision_names(self, definition: Key) -> list[str]:
        # Listed, not looked up: the definition goes now, and a cache that is behind would leave some for ever.
        if len(definition.name) > _LONGEST_LABEL:
            return []  # they carry the name as a label, so there cannot be any
        selector = f"{names.LABEL_DEFINITION_NAME}={definition.name}"
        found, _ = await self.client.list(REVISIONS, label_selector=selector)
        # A definition in another namespace may have the same name.
        return [name_of(revision) for revision in found if snapshot_of(revision).get("name") == _identity(definition)]

    async def _delete_revision(self, name: str) -> None:
        try:
            await self.client.delete(Key(REVISIONS, "", name))
        except NotFoundError:
            return

    async def _patch_finalizers(self, key: Key, obj: Obj, finalizers: list[str]) -> Obj:
        body = {"metadata": {"resourceVersion": metadata(obj)["resourceVersion"], "finalizers": finalizers}}
        answer = await self.client.merge_patch(key, body, manager=names.MANAGER_LABELLER)
        if not is_deleting(obj):
            self.stores[key.resource].wrote(answer)
        return answer

    async def release_revisions(self) -> None:
        """Take our finalizer off revisions that are being deleted."""
        for identity in self.revisions.identities():
            for revision in self.revisions.terminating(identity):
                others = [f for f in metadata(revision).get("finalizers", ()) if f != names.FINALIZER]
                body = {
                    "metadata": {
                        "resourceVersion": metadata(revision)["resourceVersion"],
                        "finalizers": others,
                    }
                }
                try:
                    await self.client.merge_patch(
                        Key(REVISIONS, "", name_of(revision)), body, manager=names.MANAGER_LABELLER
                    )
                except NotFoundError:
                    continue


def _is_in_force(obj: Obj) -> bool:
    """Whether its status says that the kind is served by the spec as it is now."""
    generation = metadata(obj).get("generation")
    return any(
        c["type"] == "Ready" and c["status"] == TRUE and c.get("observedGeneration") == generation
        for c in conditions_of(obj)
    )


def _identity(key: Key) -> str:
    """`identity_of` the definition with this key."""
    return f"{key.namespace}/{key.name}" if key.namespace else key.name


class _Pass:
    """One pass over one definition: each step sets conditions and says whether the next one makes sense."""

    def __init__(self, owner: Definitions, key: Key, obj: Obj) -> None:
        self.owner = owner
        self.key = key
        # As it is, and with its status as it was left: that is what a pass goes on from.
        self.seen = obj
        self.obj = owner.stores[key.resource].as_left(key, obj)
        self.known = owner._known.setdefault(key, _Known())
        self.subject = Subject.of(self.obj)
        self.stamp = owner.now().astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        self.conditions: Conditions = CONDITIONS.initialise(conditions_of(self.obj), self.subject, now=self.stamp)
        status = self.obj.get("status") or {}
        self.order: list[str] = status.get("topologicalOrder") or []
        self.resources: list[Obj] = status.get("resources") or []
        told, live = status.get("lastIssuedRevision"), owner.revisions.of(_identity(key))
        self.issued: int = max(last_issued(told, live, self.subject.generation), self.known.issued)
        self.verdict: Verdict = Done()
        self.changes: Counter[str] = Counter()

    async def run(self) -> Verdict:
        try:
            await self._steps()
        except ApiError as error:
            self.verdict = RetryAfter(reason=error.message)
            log.warning("definition not reconciled", extra={"definition": str(self.key), "error": error.message})
        state = await self._report()
        return replace(self.verdict, summary=Summary(outcome=state, changes=dict(self.changes)))

    def set(self, type_: str, status: str, reason: str, message: str) -> None:
        self.conditions = CONDITIONS.set(
            self.conditions, self.subject, type_, status, reason=reason, message=message, now=self.stamp
        )

    async def _steps(self) -> None:
        definition, problems = parse_definition(self.obj)
        if definition is None:
            await self._refused(problems)
            return
        # Before it is compiled: a kind that changes meanwhile has this key run again.
        self.known.refused_over = needed_kinds(definition)
        built = await self.built(definition)
        if built.graph is not None:
            self.known.refused_over = ()
        else:
            await self._refused(built.problems, waiting=built.waiting_for if built.is_waiting else ())
            return
        graph = built.graph
        definition = replace(definition, known_hash=graph.hash)
        self.order = list(graph.order)
        self.resources = [
            {"id": i, "dependencies": [{"id": d} for d in graph.nodes[i].dependencies]}
            for i in graph.order
            if graph.nodes[i].dependencies
        ]
        if not await self._issue(definition):
            return
        self.set("GraphAccepted", TRUE, "Valid", "resource graph and schema are valid")
        if not await self._crd(definition, graph):
            return
        await self._serve(graph)
        await self._collect_garbage(definition)

    async def built(self, definition: Definition) -> Built:
        """The compiled definition; compiled again only for a new generation or while it waits or fails."""
        known = self.known
        fresh = known.uid == definition.uid and known.generation == definition.generation
        if fresh and known.built is not None and known.built.graph is not None:
            return known.built
        known.built = await self._compiled(definition)
        known.uid, known.generation = definition.uid, definition.generation
        return known.built

    async def _compiled(self, definition: Definition) -> Built:
        started = self.owner.now()
        kinds = await self.owner.kinds.load(needed_kinds(definition))
        # A large definition takes seconds: in between instances are looked after.
        steps = building(definition, kinds, limits=self.owner.limits, features=self.owner.features)
        built = await in_turns(steps, lambda: asyncio.sleep(0), self.owner.watchdog.compute)
        metrics = self.owner.metrics
        metrics.rgd_graph_build_total.inc(definition.name)
        metrics.rgd_graph_build_duration_seconds.observe((self.owner.now() - started).total_seconds(), definition.name)
        if built.graph is None:
            metrics.rgd_graph_build_errors_total.inc(definition.name)
        return built

    async def _refused(self, problems: Sequence[Problem], *, waiting: tuple[GVK, ...] = ()) -> None:
        message = condition_message(problems)
        self.set("GraphAccepted", FALSE, "WaitingForKind" if waiting else "InvalidResourceGraph", message)
        self.order, self.resources = [], []
        self.owner.metrics.rgd_graph_revision_resolution_total.inc("wait" if waiting else "failed")
        if waiting:
            # The CRD watch wakes this definition; the delay is only a safety net.
            self.verdict = RetryAfter(delay_s=60.0, reason=message)
        await self._keep_newest()

    async def _keep_newest(self) -> bool:
        """Whether there is an older revision, which goes on to be served."""
        live = self.owner.revisions.of(_identity(self.key))
        if live:
            text = f"revision {number_of(live[-1])} compiled and active"
            self.set("GraphRevisionsResolved", TRUE, "Resolved", text)
            await self._serve_revision(live[-1])
        return bool(live)

    async def _serve_revision(self, revision: Obj) -> None:
        """After a restart, follow the last good revision while the current spec is refused."""
        if self.owner.serving.kinds.of_definition(self.key):
            return
        definition, _ = parse_definition(definition_of(revision, self.obj))
        if definition is None:
            return
        built = await self._compiled(definition)
        seen = self.owner.crds.get(crd_name(definition))
        if built.graph is not None and seen is not None and seen.established:
            await self.owner.serving.serve(self.key, built.graph)

    async def _issue(self, definition: Definition) -> bool:
        """Record the accepted spec as a revision, if the newest one is of another spec; False if it is refused."""
        owner, identity = self.owner, identity_of(definition)
        live = owner.revisions.of(identity)
        newest = live[-1] if live else None
        if newest is not None and records(newest, definition):
            self.issued = max(self.issued, number_of(newest))
            owner.metrics.rgd_graph_revision_resolution_total.inc("serve")
            patch = adopted(newest, definition)
            if patch is not None:
                newest = await owner.client.merge_patch(
                    Key(REVISIONS, "", name_of(newest)), patch, manager=names.MANAGER_LABELLER
                )
                owner.revisions.event("MODIFIED", newest)
        else:
            try:
                newest = await self._issued(definition)
            except (InvalidError, ForbiddenError) as error:
                await self._not_issued(error)
                return False
            if newest is None:
                text = "waiting for terminating graph revisions to settle"
                self.set("GraphRevisionsResolved", UNKNOWN, "WaitingForGraphRevisionSettlement", text)
                return True
        status = verified_status(newest, order=self.order, resources=self.resources, now=self.stamp)
        answer = await write_status(owner.client, Key(REVISIONS, "", name_of(newest)), newest, status)
        if answer is not None:
            owner.revisions.event("MODIFIED", answer)
        number = number_of(newest)
        self.set("GraphRevisionsResolved", TRUE, "Resolved", f"revision {number} compiled and active")
        return True

    async def _not_issued(self, error: ApiError) -> None:
        text = f"the API server refuses the graph revision: {error.message}"
        self.set("GraphAccepted", FALSE, "InvalidResourceGraph", text)
        self.verdict = RetryAfter(reason=text)
        if not await self._keep_newest():
            self.set("GraphRevisionsResolved", FALSE, "Failed", text)

    async def _issued(self, definition: Definition) -> Obj | None:
        """A new revision; None if one of its name is on its way out, which then wakes this definition."""
        owner, identity = self.owner, identity_of(definition)
        while True:
            live = owner.revisions.of(identity)
            number = max([self.issued, *map(number_of, live)]) + 1
            wanted = new_revision(definition, number, version=owner.version)
            key = Key(REVISIONS, "", name_of(wanted))
            try:
                newest = await owner.client.create(key, wanted)
            except AlreadyExistsError:
                newest = await owner.client.get(key)
            owner.revisions.event("ADDED", newest)
            if is_deleting(newest):
                return None
            if snapshot_of(newest).get("name") == identity and records(newest, definition):
                break
            # The cache was behind: this one is of an older spec, or of a definition whose revisions have such names.
            self.issued = number
        self.issued = number
        self.known.issued = number
        self.changes["revision issued"] += 1
        owner.metrics.rgd_graph_revision_resolution_total.inc("issue")
        owner.metrics.rgd_graph_revision_issue_total.inc("no_revision" if not live else "spec_changed")
        return newest

    async def _crd(self, definition: Definition, graph: Graph) -> bool:
        """Bring the generated CRD up to date and wait until it is established."""
        owner = self.owner
        desired = self._labelled(graph.crd, definition)
        name = self.known.crd = crd_name(definition)
        key = Key(CRDS, "", name)
        try:
            try:
                existing: Obj | None = await owner.client.get(key)
            except NotFoundError:
                existing = None
            rival = owner.rival_of(self.key, existing) if existing is not None else None
            if rival is not None:
                # Of the same name, but another kind of definition or in another namespace.
                text = f"failed to update CRD {name}: CRD is owned by another {rival}"
                self.set("KindReady", FALSE, "Failed", text)
                return False
            if existing is not None and self._is_going(existing):
                # Not written to either: who cleans it up would have to begin again.
                return False
            comparison = ensuring_crd_patch(existing, desired, allow_breaking=definition.allow_breaking_changes)
            match await in_turns(comparison, lambda: asyncio.sleep(0), self.owner.watchdog.compute):
                case Create():
                    if self._is_over():
                        return False
                    existing = await owner.client.create(key, desired, manager=names.MANAGER_LABELLER)
                    self.changes["CRD created"] += 1
                case Patch(patch=patch):
                    existing = await owner.client.merge_patch(key, patch, manager=names.MANAGER_LABELLER)
                    self.changes["CRD updated"] += 1
                case Unchanged():
                    pass
                case Breaking(message=message):
                    self.set("KindReady", FALSE, "Failed", message + await self._broken(definition, graph))
                    return False
                case refusal:
                    # A CRD event or an edit of the definition wakes it; nothing else can help.
                    self.set("KindReady", FALSE, "Failed", refusal.message)
                    return False
            assert existing is not None
            if self._is_going(existing):
                return False
            if not is_established(existing):
                existing = await self._established(key)
                if existing is None:
                    return False
        except TimeoutError:
            self.set("KindReady", FALSE, "Failed", f"CRD {name} was not established within {_ESTABLISHED_S:.0f} s")
            self.verdict = RetryAfter(reason="CRD not established")
            return False
        except ApiError as error:
            self.set("KindReady", FALSE, "Failed", f"failed to update CRD {name}: {error.message}")
            raise
        kind = existing.get("status", {}).get("acceptedNames", {}).get("kind", graph.resource.kind)
        self.set("KindReady", TRUE, "Ready", f"kind {kind} has been accepted and ready")
        return True

    def _is_going(self, crd: Obj) -> bool:
        """Whether the CRD is being deleted, which is told."""
        if not is_deleting(crd):
            return False
        text = f"CRD {name_of(crd)} is being deleted; it is created again when it is gone"
        self.set("KindReady", FALSE, "Failed", text)
        self.verdict = RetryAfter(delay_s=_GONE_S, reason=text)
        return True

    def _is_outdated(self) -> bool:
        obj = self.owner.stores[self.key.resource].get(self.key)
        return obj is not None and metadata(obj).get("generation") != metadata(self.obj).get("generation")

    def _is_over(self) -> bool:
        """Whether the definition was deleted while this pass waited: a CRD made now would keep the name."""
        obj = self.owner.stores[self.key.resource].get(self.key)
        return obj is None or uid_of(obj) != uid_of(self.obj) or is_deleting(obj)

    async def _broken(self, definition: Definition, graph: Graph) -> str:
        """Which live instances do not fit the new schema, and why; for whoever decides whether to allow it."""
        served = self.owner.serving.kinds.get(graph.resource)
        schema = self.known.built.spec_schema if self.known.built is not None else None
        if served is None or schema is None:
            return ""
        found = []
        for key in list(served.instances):
            await asyncio.sleep(0)
            if not served.instances.is_whole(key):
                continue
            problems = check_instance(served.instances.get(key) or {}, definition, schema)
            if problems:
                found.append(f"{key.namespace}/{key.name} ({problems[0].where}: {problems[0].message})".lstrip("/"))
        if not found:
            return f"; none of the {len(served.instances)} instances would break"
        more = f" and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
        named = ", ".join(found[:_NAMED]) + more
        return f"; {len(found)} of {len(served.instances)} instances would break: {named}"

    async def _established(self, key: Key) -> Obj | None:
        """The CRD; None if that cannot come to be, or the definition is another one by now."""
        async with asyncio.timeout(_ESTABLISHED_S):
            while True:
                changed = self.owner._crd_changed
                crd = await self.owner.client.get(key)
                if is_established(crd):
                    return crd
                if self._is_over() or self._is_outdated():
                    # Its key is in the queue again.
                    return None
                refused = names_refused(crd)
                if refused:
                    # An event of the CRD, or of the definition, wakes it.
                    self.set("KindReady", FALSE, "Failed", f"CRD {key.name}: {refused}")
                    return None
                # The watch of the CRDs announces it; the time limit is for when that watch is down.
                with suppress(TimeoutError):
                    # Not wait_for: that of Python 3.11 can lose a cancellation.
                    async with asyncio.timeout(self.owner.progress_s):
                        await changed.wait()

    def _labelled(self, crd: Obj, definition: Definition) -> Obj:
        """The CRD with the labels that say whose it is."""
        labels = {
            **labels_of(crd),
            names.LABEL_OWNED: "true",
            names.LABEL_KRO_VERSION: self.owner.version,
            names.LABEL_DEFINITION_ID: definition.uid,
            names.LABEL_DEFINITION_NAME: definition.name,
        }
        return {**crd, "metadata": {**crd["metadata"], "labels": labels}}

    async def _serve(self, graph: Graph) -> None:
        try:
            await self.owner.serving.serve(self.key, graph)
        except (ApiError, TimeoutError) as error:
            self.set("ControllerReady", FALSE, "FailedToStart", str(error) or "the watches were not synced in time")
            self.verdict = RetryAfter(reason="watches not synced")
            return
        self.known.graph = graph
        self.set("ControllerReady", TRUE, "Running", "controller is running")

    async def _collect_garbage(self, definition: Definition) -> None:
        """Keep the newest revisions; best effort."""
        if self.owner.max_revisions <= 0:
            return
        for revision in self.owner.revisions.of(identity_of(definition))[: -self.owner.max_revisions]:
            try:
                await self.owner.client.delete(Key(REVISIONS, "", name_of(revision)))
                self.owner.metrics.rgd_graph_revision_gc_deleted_total.inc()
            except ApiError as error:
                self.owner.metrics.rgd_graph_revision_gc_errors_total.inc()
                log.info("revision not deleted", extra={"revision": name_of(revision), "error": error.message})

    async def _report(self) -> str:
        """Write the status if it changed, and an Event when the state did; the state."""
        generation = None  # as in kro, the state does not ask of which generation a condition speaks
        parts = ("GraphAccepted", "KindReady", "ControllerReady")
        active = all(is_true(self.conditions, part, generation) for part in parts)
        before = (self.obj.get("status") or {}).get("state")
        store, fights = self.owner.stores[self.key.resource], self.owner.fights
        if (left_for_s := wait_s(store, fights, self.key)) > 0:
            self.verdict = no_later(self.verdict, left_for_s, "the status is contested")
            return str(before or "")
        status: Obj = {"state": "Active" if active else "Inactive", "conditions": self.conditions}
        status["topologicalOrder"] = self.order
        status["resources"] = self.resources
        if self.issued:
            status["lastIssuedRevision"] = self.issued
        try:
            answer, contested = await report(self.owner.client, store, fights, self.key, self.seen, status)
        except NotFoundError:
            return ""
        except ApiError as error:
            self.verdict = RetryAfter(reason=error.message)
            self.known.unsure = True
            return str(status["state"])
        if answer is not None:
            self.changes["status written"] += 1
        if contested:
            self.owner.recorder.record(self.obj, reason="Contested", note=contested, action="Reconcile", warning=True)
        if before != status["state"]:
            self._record(before, status["state"])
        return str(status["state"])

    def _record(self, before: str | None, state: str) -> None:
        if before:
            self.owner.metrics.rgd_state_transitions_total.inc(self.key.name, before, state)
        failed = next((c for c in self.conditions if c["type"] != "Ready" and c["status"] == FALSE), None)
        if state == "Active":
            self.owner.recorder.record(
                self.obj,
                reason="Active",
                note="the definition is valid and its kind is served",
                action="Reconcile",
            )
        elif failed is not None:
            self.owner.recorder.record(
                self.obj, reason=failed["reason"], note=failed["message"], action="Reconcile", warning=True
            )
