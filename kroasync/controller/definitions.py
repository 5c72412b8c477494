"""Reconcile definitions: check, record the revision, bring the CRD up to date, serve the kind, report.

`reconcile(key)` is level-triggered: it looks at the current objects. If a definition is refused or waits for a kind,
the controller continues to serve the previous graph, and only the conditions change. Each stage of a pass returns its
findings and whether the next stage can run (`stages`); the pass turns the findings into conditions.
"""

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from kroasync.controller.compilation import Compilation
from kroasync.controller.crd_stage import CrdStage, Wanted
from kroasync.controller.crds import CrdStore, SeenCrd
from kroasync.controller.events import Recorder
from kroasync.controller.fights import Fights
from kroasync.controller.finalizers import set_finalizers
from kroasync.controller.registry import Registry
from kroasync.controller.revisions import (
    Issued,
    Revisions,
    definition_of,
    last_issued,
    number_of,
)
from kroasync.controller.served_kinds import BUILD_FAILED, REVISION_FAILED, Unresolved
from kroasync.controller.serving import Serving
from kroasync.controller.stages import Proceed, Stage, StageCondition, Stop
from kroasync.controller.status_writes import report, wait_s
from kroasync.controller.withdrawal import Withdrawal
from kroasync.engine.labels import hash_text
from kroasync.engine.verdict import AWAY_S, AtRest, RetryAfter, Summary, Verdict, no_later
from kroasync.graph.build import needed_kinds
from kroasync.graph.nodes import Graph
from kroasync.graph.problem_report import condition_message
from kroasync.kube.api_errors import (
    ApiError,
    ConflictError,
    FencedError,
    NotFoundError,
)
from kroasync.kube.client import Client
from kroasync.metrics import Metrics
from kroasync.model import names, timestamps
from kroasync.model.conditions import FALSE, TRUE, UNKNOWN, Conditions, ConditionSet, Subject, conditions_of, is_true
from kroasync.model.definition import Definition, parse_definition
from kroasync.model.objects import GVK, Key, Obj, finalizers_of, is_deleting, metadata
from kroasync.model.problems import Problem
from kroasync.schema.crd import crd_name, instance_resource

log = logging.getLogger("kroasync.definitions")

CONDITIONS = ConditionSet(
    root="Ready",
    dependents=("GraphRevisionsResolved", "GraphAccepted", "KindReady", "ControllerReady"),
    pruned=("ResourceGraphAccepted",),
)
# The CRD watch announces a kind that a definition waits for. If that event is missed, a retry finds the kind.
_KIND_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Definitions:
    """The controller of both definition kinds."""

    client: Client
    registry: Registry
    compilation: Compilation
    revisions: Revisions
    crds: CrdStore
    crd_stage: CrdStage
    serving: Serving
    withdrawal: Withdrawal
    recorder: Recorder
    metrics: Metrics
    fights: Fights
    now: Callable[[], datetime]

    async def reconcile(self, key: Key) -> Verdict:
        """Bring one definition, its revisions and its CRD up to date."""
        obj = self.registry.get(key)
        if obj is None:
            await self._gone(key)
            return AtRest()
        if is_deleting(obj):
            try:
                return await self.withdrawal.withdraw(key, obj)
            except ApiError as error:
                return await _Pass(self, key, obj).unmanaged(error, "deletion blocked", "DeletionBlocked")
        if self.registry.is_unsure(key):
            self.registry.store(key).fetched(await self.client.get(key))
            self.registry.of(key).unsure = False
            obj = self.registry.get(key) or obj
        if names.FINALIZER not in finalizers_of(obj):
            try:
                obj = await set_finalizers(self.client, key, obj, [*finalizers_of(obj), names.FINALIZER])
            except ApiError as error:
                return await _Pass(self, key, obj).unmanaged(error, "cannot set the finalizer", "FinalizerRefused")
            self.registry.store(key).wrote(obj)
        return await _Pass(self, key, obj).run()

    async def prepare(self, key: Key) -> None:
        """Serve one definition as the leader does, but write nothing. A definition that is not in force is skipped.

        Raises ApiError, or TimeoutError if a watch does not sync.
        """
        obj = self.registry.get(key)
        if obj is None:
            await self._gone(key)
            return
        definition, _ = parse_definition(obj)
        if definition is None or is_deleting(obj) or not is_in_force(obj):
            return
        seen = self.crds.get(crd_name(definition))
        built = await self.compilation.built(definition, self.registry.of(key))
        if built.graph is not None and seen is not None and seen.established:
            await self.serving.serve(key, built.graph)

    async def _gone(self, key: Key) -> None:
        self.registry.forget(key)
        await self.serving.retire(key)


class _Pass:
    """One pass over one definition, stage by stage; the findings of the stages become the status."""

    def __init__(self, owner: Definitions, key: Key, obj: Obj) -> None:
        self.owner = owner
        self.key = key
        # `seen` is the definition as cached. `obj` has the status that we wrote last; the pass starts from that.
        self.seen = obj
        self.obj = owner.registry.store(key).as_left(key, obj)
        self.known = owner.registry.of(key)
        self.subject = Subject.of(self.obj)
        self.stamp = timestamps.seconds(owner.now())
        self.conditions: Conditions = CONDITIONS.initialise(conditions_of(self.obj), self.subject, now=self.stamp)
        status = self.obj.get("status") or {}
        self.order: list[str] = status.get("topologicalOrder") or []
        self.resources: list[Obj] = status.get("resources") or []
        told, live = status.get("lastIssuedRevision"), owner.revisions.of(key)
        self.issued: int = max(last_issued(told, live, self.subject.generation), self.known.issued)
        self.verdict: Verdict = AtRest()
        self.changes: Counter[str] = Counter()
        # The condition that the current stage decides.
        self.deciding = "GraphAccepted"

    async def run(self) -> Verdict:
        try:
            await self._stages()
        except ApiError as error:
            self._interrupted(failed(StageCondition(self.deciding, FALSE, "Failed", error.message), error), error)
        return await self._concluded()

    async def unmanaged(self, error: ApiError, what: str, reason: str) -> Verdict:
        """End a pass whose definition could not be managed: the finalizer is refused, or a part of the deletion is."""
        finding = StageCondition("ControllerReady", FALSE, reason, f"{what}: {error.message}")
        self._interrupted(failed(finding, error), error)
        return await self._concluded()

    def _interrupted(self, stage: Stop, error: ApiError) -> None:
        log.warning("definition not reconciled", extra={"definition": str(self.key), "error": error.message})
        self._goes_on(stage)

    async def _concluded(self) -> Verdict:
        state = await self._report()
        return replace(self.verdict, summary=Summary(outcome=state, changes=dict(self.changes)))

    def _goes_on(self, stage: Stage) -> bool:
        """Turn the findings of a stage into conditions; True if the next stage can run."""
        for found in stage.findings:
            self.conditions = CONDITIONS.set(
                self.conditions,
                self.subject,
                found.type,
                found.status,
                reason=found.reason,
                message=found.message,
                now=self.stamp,
            )
        self.changes.update(stage.changes)
        if isinstance(stage, Stop):
            self.verdict = stage.verdict
        return isinstance(stage, Proceed)

    async def _stages(self) -> None:
        definition, problems = parse_definition(self.obj)
        if definition is None:
            await self._refused(problems)
            return
        # Set before the compilation: a kind that changes meanwhile adds this key to the queue again.
        self.known.refused_over = needed_kinds(definition)
        built = await self.owner.compilation.built(definition, self.known)
        if built.graph is None:
            if not await self._refused(built.problems, waiting=built.waiting_for if built.is_waiting else ()):
                self._leave_unresolved(definition, unbuilt(built.problems))
            return
        self.known.refused_over = ()
        name, crds = crd_name(definition), self.owner.crds
        if crds.get(name) is None and (made := crds.made_for(definition)) is not None:
            await self._refused([other_plural(made)])
            return
        graph = built.graph
        definition = replace(definition, known_hash=graph.hash)
        self.order, self.resources = list(graph.order), resources_of(graph)
        self.deciding = "GraphRevisionsResolved"
        if not await self._issue(definition):
            return
        self.deciding = "ControllerReady"
        self._goes_on(Proceed(findings=(ACCEPTED,)))
        self.known.crd = name
        wanted = Wanted(definition=definition, graph=graph, schema=built.spec_schema, key=self.key, obj=self.obj)
        if not self._goes_on(await self.owner.crd_stage.ensure(wanted)):
            return
        self._goes_on(await self._serve(graph))
        kept = await self.owner.revisions.collect(self.key)
        # Somebody may have deleted them all meanwhile.
        if kept and (live := self.owner.revisions.of(self.key)):
            self._goes_on(Proceed(findings=(resolved(live[-1], kept=kept),)))

    async def _refused(self, problems: Sequence[Problem], *, waiting: tuple[GVK, ...] = ()) -> bool:
        """Report that the spec is refused; whether there is an older revision."""
        self.order, self.resources = [], []
        self.owner.metrics.rgd_graph_revision_resolution_total.inc("wait" if waiting else "failed")
        self._goes_on(refused(condition_message(problems), is_waiting=bool(waiting)))
        return await self._keep_newest()

    async def _keep_newest(self) -> bool:
        """Serve the newest revision, if there is one; True if there is."""
        live = self.owner.revisions.of(self.key)
        if live:
            self._goes_on(Proceed(findings=(resolved(live[-1]),)))
            await self._serve_revision(live[-1])
        return bool(live)

    async def _serve_revision(self, revision: Obj) -> None:
        """After a restart, serve the last good revision while the current spec is refused."""
        if self.owner.serving.kinds.of_definition(self.key):
            return
        definition, _ = parse_definition(definition_of(revision, self.obj))
        if definition is None:
            return
        built = await self.owner.compilation.compiled(definition)
        seen = self.owner.crds.get(crd_name(definition))
        if built.graph is None:
            self._leave_unresolved(definition, failed_revision(revision))
        elif seen is not None and seen.established:
            await self.owner.serving.serve(self.key, built.graph)

    def _leave_unresolved(self, definition: Definition, why: Unresolved) -> None:
        """Instances of the kind have no graph to follow, unless there is an earlier one."""
        serving = self.owner.serving
        if not serving.kinds.of_definition(self.key):
            serving.leave_unresolved(instance_resource(definition), why)

    async def _issue(self, definition: Definition) -> bool:
        """Record the accepted spec as a revision; False if the API server refuses it."""
        issued = await self.owner.revisions.issue(definition, last=self.issued)
        self.issued = max(self.issued, issued.number)
        if issued.is_new:
            self.known.issued = issued.number
            self.changes["revision issued"] += 1
            self._tell_hashes(definition)
        if issued.revision is not None:
            await self.owner.revisions.verify(
                issued.revision, order=self.order, resources=self.resources, now=self.stamp
            )
        if self._goes_on(recorded(issued)):
            return True
        if not await self._keep_newest():
            unresolved = StageCondition("GraphRevisionsResolved", FALSE, "Failed", not_issued(issued.refused))
            self._goes_on(Proceed(findings=(unresolved,)))
        return False

    def _tell_hashes(self, definition: Definition) -> None:
        """Events about ids that labels of children have a hash of."""
        for spec in definition.resources:
            note = hash_text(spec.id, names.LABEL_NODE_ID, names.ANNOTATION_NODE_PATH)
            if note and spec.template is not None:
                self.owner.recorder.record(
                    self.obj, reason="NodeIDEncoded", note=note, action="Reconcile", warning=True
                )

    async def _serve(self, graph: Graph) -> Stage:
        try:
            await self.owner.serving.serve(self.key, graph)
        except (ApiError, TimeoutError) as error:
            text = str(error) or "the watches were not synced in time"
            failed = StageCondition("ControllerReady", FALSE, "FailedToStart", text)
            return Stop(findings=(failed,), verdict=RetryAfter(reason="watches not synced"))
        return Proceed(findings=(StageCondition("ControllerReady", TRUE, "Running", "controller is running"),))

    async def _report(self) -> str:
        """Write the status if it changed, and an Event if the state changed; returns the state."""
        before = (self.obj.get("status") or {}).get("state")
        store, fights = self.owner.registry.store(self.key), self.owner.fights
        if (left_for_s := wait_s(store, fights, self.key)) > 0:
            self.verdict = no_later(self.verdict, left_for_s, "the status is contested")
            return str(before or "")
        status = status_of(self.conditions, order=self.order, resources=self.resources, issued=self.issued)
        if self.subject.generation:
            # kstatus compares it, so that the Ready of an older spec does not count.
            status["observedGeneration"] = self.subject.generation
        state = str(status["state"])
        try:
            answer, contested = await report(self.owner.client, store, fights, self.key, self.seen, status)
        except NotFoundError:
            return ""
        except ApiError as error:
            self.verdict = RetryAfter(reason=error.message)
            self.known.unsure = True
            return state
        if answer is not None:
            self.changes["status written"] += 1
        if contested:
            self.owner.recorder.record(self.obj, reason="Contested", note=contested, action="Reconcile", warning=True)
        if before != state:
            self._record(before, state)
        return state

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


ACCEPTED: Final = StageCondition("GraphAccepted", TRUE, "Valid", "resource graph and schema are valid")


def refused(message: str, *, is_waiting: bool) -> Stop:
    """The definition is not valid, or it waits for a kind. The CRD of that kind wakes it."""
    if not is_waiting:
        return Stop(findings=(StageCondition("GraphAccepted", FALSE, "InvalidResourceGraph", message),))
    waits = StageCondition("GraphAccepted", FALSE, "WaitingForKind", message)
    return Stop(findings=(waits,), verdict=RetryAfter(delay_s=_KIND_S, reason=message))


def other_plural(made: SeenCrd) -> Problem:
    """The API server serves a kind under one plural, so that of a kind with instances stays as it is."""
    _, kind = made.group_kind
    message = (
        f"plural is immutable: kind {kind} is served by the CRD {made.name}, expected plural {made.plural}. "
        "Another plural needs that CRD, and with it all instances, to be deleted first"
    )
    return Problem(code="definition-plural", message=message, path=("spec", "schema", "plural"))


def recorded(issued: Issued) -> Stage:
    """The stage after the revision of an accepted spec was issued, or was not."""
    if issued.refused:
        text = not_issued(issued.refused)
        invalid = StageCondition("GraphAccepted", FALSE, "InvalidResourceGraph", text)
        return Stop(findings=(invalid,), verdict=RetryAfter(reason=text))
    if issued.revision is None:
        text = "waiting for terminating graph revisions to settle" + (f": {issued.stuck}" if issued.stuck else "")
        waits = StageCondition("GraphRevisionsResolved", UNKNOWN, "WaitingForGraphRevisionSettlement", text)
        return Proceed(findings=(waits,))
    return Proceed(findings=(resolved(issued.revision),))


def not_issued(error: str) -> str:
    return f"the API server refuses the graph revision: {error}"


def resolved(revision: Obj, *, kept: str = "") -> StageCondition:
    """The condition that names the revision in force. `kept` says why old revisions could not be deleted."""
    text = f"revision {number_of(revision)} compiled and active"
    text += f"; old revisions are not deleted: {kept}" if kept else ""
    return StageCondition("GraphRevisionsResolved", TRUE, "Resolved", text)


def failed(finding: StageCondition, error: ApiError) -> Stop:
    """The stage that an error of the API server ended, with this finding.

    There is no finding after a conflict, because the pass saw a stale object, nor while the API server is away.
    """
    is_silent = isinstance(error, ConflictError | FencedError) or error.is_outage
    verdict = RetryAfter(reason=finding.message)
    if error.is_outage:
        verdict = replace(verdict, at_most_s=AWAY_S)
    return Stop(findings=() if is_silent else (finding,), verdict=verdict)


def unbuilt(problems: Sequence[Problem]) -> Unresolved:
    """There is no revision to follow, and the spec cannot be compiled."""
    return Unresolved(f"graph-engine build failed: {condition_message(problems)}", BUILD_FAILED)


def failed_revision(revision: Obj) -> Unresolved:
    """The last revision there is cannot be compiled any more."""
    text = f"graph not resolved: latest issued revision {number_of(revision)} failed"
    return Unresolved(text, REVISION_FAILED)


def resources_of(graph: Graph) -> list[Obj]:
    """The resources that have dependencies, in the format of the status."""
    return [
        {"id": i, "dependencies": [{"id": d} for d in graph.nodes[i].dependencies]}
        for i in graph.order
        if graph.nodes[i].dependencies
    ]


def status_of(conditions: Conditions, *, order: list[str], resources: list[Obj], issued: int) -> Obj:
    """The status of a definition. As in kro, the state ignores the observedGeneration of the conditions."""
    parts = ("GraphAccepted", "KindReady", "ControllerReady")
    active = all(is_true(conditions, part, None) for part in parts)
    status: Obj = {"state": "Active" if active else "Inactive", "conditions": conditions}
    status["topologicalOrder"] = order
    status["resources"] = resources
    if issued:
        status["lastIssuedRevision"] = issued
    return status


def is_in_force(obj: Obj) -> bool:
    """Whether the status says that the current spec is served."""
    generation = metadata(obj).get("generation")
    return any(
        c["type"] == "Ready" and c["status"] == TRUE and c.get("observedGeneration") == generation
        for c in conditions_of(obj)
    )
