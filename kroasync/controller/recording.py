"""Record a pass over an instance: Events for people, numbers for metrics.

Events report transitions. All changes of one pass with the same reason share one Event, and a fact that stays the same
is reported once (`told`). Nothing here fails or delays a pass.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from kroasync.cel import Meter
from kroasync.controller.events import Recorder
from kroasync.controller.options import RuntimeOptions
from kroasync.controller.perform import Performer
from kroasync.controller.served_kinds import NOT_AVAILABLE, Unresolved
from kroasync.controller.told import Told
from kroasync.engine.actions import Observed, Yielding
from kroasync.engine.allowance import Evaluable
from kroasync.engine.drift import fingerprint
from kroasync.engine.labels import hash_text
from kroasync.engine.membership import stranger_text
from kroasync.engine.outcome import ChangeKind, NodeState, Outcome
from kroasync.engine.prune_guard import held_text
from kroasync.engine.teardown import Teardown
from kroasync.engine.yielding import foreign_text
from kroasync.graph.nodes import Graph
from kroasync.metrics import ConditionAge, Metrics
from kroasync.model import timestamps
from kroasync.model.conditions import conditions_of
from kroasync.model.names import (
    ANNOTATION_DELETION_POLICY,
    ANNOTATION_INSTANCE_GROUP,
    ANNOTATION_INSTANCE_NAME,
    LABEL_INSTANCE_GROUP,
    LABEL_INSTANCE_NAME,
    POLICY_ORPHANED,
)
from kroasync.model.objects import Key, Obj, metadata

_CONDITION_EVENTS: Final = "InstanceConditionEvents"
_CONDITION_METRICS: Final = "InstanceConditionMetrics"
_CHANGE_REASONS: Final = (
    (ChangeKind.CREATED, "Created"),
    (ChangeKind.UPDATED, "Updated"),
    (ChangeKind.HEALED, "Healed"),
    (ChangeKind.DELETED, "Deleted"),
)
_READINESS_LOOKED_AT: Final = frozenset((NodeState.SYNCED, NodeState.WAITING_FOR_READINESS))
# A note lists this many names and counts the rest.
LISTED: Final = 10


@dataclass(frozen=True, slots=True)
class Recording:
    """Events and metrics of all instances."""

    recorder: Recorder
    metrics: Metrics
    options: RuntimeOptions
    told: Told = field(default_factory=Told)

    def forget(self, key: Key) -> None:
        """Forget an instance that is gone. A new instance of the same name gets all Events anew."""
        self.told.forget(key)

    # Metrics

    def resolved(self, key: Key) -> None:
        self.metrics.instance_graph_resolution_success_total.inc(str(key.resource))
        self.metrics.runtime_creation_total.inc()

    def evaluate(self, program: Evaluable, variables: Mapping[str, Any], meter: Meter) -> Any:
        """The value of an expression, timed; raises EvalError."""
        began = time.perf_counter()
        try:
            return program.evaluate(variables, budget=meter)
        finally:
            self.metrics.cel_expr_eval_duration_seconds.observe(time.perf_counter() - began)

    def unresolved(self, key: Key, why: Unresolved | None) -> None:
        reason = why.reason if why is not None else NOT_AVAILABLE
        self.metrics.instance_graph_resolution_failures_total.inc(str(key.resource), reason)

    def nodes(self, graph: Graph | None, outcome: Outcome) -> None:
        """Count the states of the nodes in a pass."""
        metrics, states = self.metrics, [report.state for report in outcome.nodes.values()]
        metrics.runtime_node_eval_total.inc(by=len(states))
        metrics.runtime_node_ignored_check_total.inc(by=len(states))
        metrics.runtime_node_ready_check_total.inc(by=sum(state in _READINESS_LOOKED_AT for state in states))
        for state, counter in (
            (NodeState.ERROR, metrics.runtime_node_eval_errors_total),
            (NodeState.SKIPPED, metrics.runtime_node_ignored_total),
            (NodeState.WAITING_FOR_READINESS, metrics.runtime_node_not_ready_total),
        ):
            if state in states:
                counter.inc(by=states.count(state))
        for node in graph.nodes.values() if graph else ():
            report = outcome.nodes.get(node.id)
            if node.is_collection and not node.is_external and report is not None:
                metrics.runtime_collection_size.observe(len(report.objects))

    def conditions(self, key: Key, status: Obj) -> None:
        """Update the metric of condition ages, if the feature is on."""
        if _CONDITION_METRICS in self.options.features:
            ages = [_age(c) for c in status.get("conditions") or ()]
            self.metrics.instance_conditions.set(str(key.resource), key.namespace, key.name, ages)

    # Events

    def written(self, key: Key, before: Obj, status: Obj) -> None:
        """Record that the instance `before` has this status now."""
        was, state = (before.get("status") or {}).get("state"), status.get("state")
        if was and was != state:
            self.metrics.instance_state_transitions_total.inc(str(key.resource.gvk), was, str(state))
        if _CONDITION_EVENTS in self.options.features:
            self._condition_events(before, status)

    def _condition_events(self, instance: Obj, status: Obj) -> None:
        """An Event for every condition that changed; the wording is kro's (runtime.md 2.11)."""
        before = {c.get("type"): c.get("status") for c in conditions_of(instance)}
        for condition in status.get("conditions") or ():
            type_, now = condition["type"], condition["status"]
            was = before.get(type_)
            if was != now:
                note = f"{was or 'none'} -> {now}: {condition.get('reason', '')}"
                self.recorder.record(instance, reason=type_, note=note, action="Reconcile", warning=now != "True")

    def status_contested(self, instance: Obj, note: str) -> None:
        self.recorder.record(instance, reason="Contested", note=note, action="Reconcile", warning=True)

    def contested(self, instance: Obj, contested: Mapping[Key, str]) -> None:
        """Record children that became contested in this pass: somebody else keeps changing them."""
        for child, text in contested.items():
            note = f"{child}: {text}"
            self.recorder.record(instance, reason="Contested", note=note, action="Reconcile", warning=True)

    def hashes(self, key: Key, instance: Obj) -> None:
        """Texts of the instance that labels of its children have a hash of."""
        for text, label, annotation in (
            (key.name, LABEL_INSTANCE_NAME, ANNOTATION_INSTANCE_NAME),
            (key.resource.group, LABEL_INSTANCE_GROUP, ANNOTATION_INSTANCE_GROUP),
        ):
            note = hash_text(text, label, annotation)
            if note and self.told.is_new(key, note):
                self.recorder.record(
                    instance, reason="InstanceLabelEncoded", note=note, action="Reconcile", warning=True
                )

    def strangers(self, key: Key, instance: Obj, strangers: Sequence[Observed]) -> None:
        """Record objects that are labelled as children of the instance but are not its children."""
        note = stranger_text(strangers) if strangers else ""
        if note and self.told.is_new(key, note):
            self.recorder.record(instance, reason="NotAMember", note=note, action="Reconcile", warning=True)

    def repair(self, key: Key, instance: Obj, note: str) -> None:
        """Record what a pass dropped from the recorded inventory."""
        if note and self.told.is_new(key, note):
            self.recorder.record(instance, reason="InventoryRepaired", note=note, action="Reconcile", warning=True)

    def changes(self, outcome: Outcome, *, before: Obj, status: Obj) -> None:
        """Record the changes of a pass and a new state; one Event reports both if the instance becomes ACTIVE."""
        instance = outcome.instance
        state = status.get("state")
        for reason, note in change_notes(outcome, before=before, state=state):
            self.recorder.record(instance, reason=reason, note=note, action="Reconcile")
        if state in ("ERROR", "FAILED") and state != before.get("state"):
            note = failure_note(status, outcome)
            self.recorder.record(instance, reason="Failed", note=note, action="Reconcile", warning=True)

    def adoptions(self, key: Key, instance: Obj, outcome: Outcome, performer: Performer) -> None:
        """Record adopted objects and refused adoptions, on the instance and on the objects."""
        recorder = self.recorder
        for child, managers in performer.taken_over.items():
            had = f"its fields were managed by {', '.join(managers)}" if managers else "nobody managed its fields"
            note = f"adopted {child}, which existed before; {had}"
            recorder.record(instance, reason="Adopted", note=note, action="Adopt")
            note = f"adopted by {key}, and deleted with it unless its deletion policy is {POLICY_ORPHANED}; {had}"
            recorder.record(performer.existed[child], reason="Adopted", note=note, action="Adopt")
        for child, text in outcome.not_adopted.items():
            # The values of the fields may change often.
            if not self.told.is_new(key, f"{child} is held" if child in outcome.awaiting_fields else text):
                continue
            recorder.record(instance, reason="AdoptionRefused", note=text, action="Adopt", warning=True)
            found = performer.existed.get(child)
            if found is not None:
                note = f"declared by {key}, but not changed: {text}"
                recorder.record(found, reason="AdoptionRefused", note=note, action="Adopt", warning=True)

    def recreations(self, instance: Obj, outcome: Outcome) -> None:
        """Record children that were deleted to be created anew."""
        for child, fields in outcome.recreated.items():
            note = f"deleted {child} to create it anew, as fields of it cannot be changed: {fields}"
            self.recorder.record(instance, reason="Recreated", note=note, action="Reconcile")

    def yields(self, key: Key, instance: Obj, yielded: Mapping[Key, Yielding]) -> None:
        """Record fields that are left to other managers, on the instance and on the objects: once for each object and
        set of fields and managers.
        """
        for child, left in yielded.items():
            if self.told.is_new(key, f"yielded {child}: {fingerprint(left.what)}"):
                text = foreign_text(left.fields)
                note = f"left fields of {child} to other managers: {text}"
                self.recorder.record(instance, reason="Yielded", note=note, action="Apply")
                note = f"declared by {key}, but left to other managers: {text}"
                self.recorder.record(_head(child, left.uid), reason="Yielded", note=note, action="Apply")

    def releases(self, key: Key, instance: Obj, performer: Performer) -> None:
        """Record objects that stay without the instance, on the instance and on the objects."""
        for child, found in performer.released.items():
            policy = f"{ANNOTATION_DELETION_POLICY}: {POLICY_ORPHANED}"
            note = f"released {child}, which stays ({policy})"
            self.recorder.record(instance, reason="Released", note=note, action="Delete")
            note = f"released by {key} instead of being deleted ({policy})"
            self.recorder.record(found, reason="Released", note=note, action="Delete")

    def held(self, key: Key, outcome: Outcome) -> None:
        """Record and count prunes that are held, once as long as they stay the same."""
        note = held_text(outcome.held, outcome.instance) if outcome.held else ""
        if note and self.told.is_new(key, note):
            self.metrics.kroasync_prunes_held_total.inc(str(key.resource))
            self.recorder.record(outcome.instance, reason="PruneHeld", note=note, action="Delete", warning=True)

    def deletes(self, instance: Obj, plan: Teardown, deleted: Sequence[str]) -> None:
        """Record one step of a deletion."""
        if plan.blocked:
            self.recorder.record(instance, reason="DeletionBlocked", note=plan.message, action="Delete", warning=True)
        elif deleted:
            self.recorder.record(instance, reason="Deleting", note=f"deleting {_listed(deleted)}", action="Delete")

    def deleted(self, instance: Obj, deleted: Sequence[str], *, kept: int) -> None:
        """Record the end of a deletion. `kept` counts the objects that it released."""
        end = "all resources are gone, or released" if kept else "all resources are gone"
        note = f"deleted {_listed(deleted)}; {end}" if deleted else end
        self.recorder.record(instance, reason="Deleted", note=note, action="Delete")


def change_notes(outcome: Outcome, *, before: Obj, state: str | None) -> list[tuple[str, str]]:
    """Reason and note of each Event about the changes of a pass; `before` is the status before the pass."""
    was = before.get("state")
    told: list[tuple[str, str]] = []
    for kind, reason in _CHANGE_REASONS:
        keys = [str(change.key) for change in outcome.changes if change.kind is kind]
        if kind is ChangeKind.CREATED and was == "ACTIVE" and _is_current(before, outcome.instance):
            # All declared objects existed for this generation, so somebody deleted these.
            kind, reason = ChangeKind.HEALED, "Healed"
        if keys:
            told.append((reason, f"{kind.value} {_listed(keys)}"))
    if state == "ACTIVE" != was:
        done = "; ".join([note for _, note in told] + ["all resources are available and configured correctly"])
        told = [("Ready", done)]
    return told


def failure_note(status: Obj, outcome: Outcome) -> str:
    """Why an instance failed: the message of its condition, or else the failures of the pass."""
    for condition in status.get("conditions", ()):
        if condition.get("type") == "ResourcesReady" and condition.get("status") == "False":
            return str(condition.get("message", ""))
    return "; ".join(f.message for f in outcome.failures) or str(outcome.management_error or "")


def _head(key: Key, uid: str) -> Obj:
    meta = {"name": key.name, "namespace": key.namespace, "uid": uid}
    return {"apiVersion": key.resource.api_version, "kind": key.resource.kind, "metadata": meta}


def _is_current(status: Obj, instance: Obj) -> bool:
    return bool(status.get("observedGeneration") == metadata(instance).get("generation"))


def _age(condition: Obj) -> ConditionAge:
    since = timestamps.parse(str(condition["lastTransitionTime"]))
    return ConditionAge(
        type=str(condition["type"]),
        status=str(condition["status"]),
        reason=str(condition.get("reason") or ""),
        since=since.timestamp(),
    )


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return ", ".join(names[:LISTED]) + more
