"""Compose the status of an instance from the outcome of a pass: state, phase, synced, conditions, the author's fields.

Every function returns the desired status. If nothing changed, it returns the very dict of the instance, so that the
caller writes nothing. A transition time changes only with the status of its condition. `now` is RFC 3339, UTC, whole
seconds.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import orjson

from kroasync.cel import CelError, Condition, PendingError
from kroasync.engine.actions import Refusal
from kroasync.engine.identities import DUPLICATE
from kroasync.engine.membership import retiring_text
from kroasync.engine.outcome import Failure, NodeState, Outcome
from kroasync.engine.plan import MAX_DEPTH, Plan
from kroasync.engine.prune_guard import held_text
from kroasync.engine.scope import Compiled, Scope
from kroasync.engine.teardown import Teardown
from kroasync.graph.nodes import Path
from kroasync.model import names
from kroasync.model.conditions import (
    FALSE,
    STATUSES,
    TRUE,
    UNKNOWN,
    Conditions,
    ConditionSet,
    Subject,
    conditions_of,
    find,
    is_true,
)
from kroasync.model.objects import Obj, is_same
from kroasync.model.paths import nests_deeper
from kroasync.model.steps import Steps, drained

READY: Final = "Ready"
INSTANCE_MANAGED: Final = "InstanceManaged"
GRAPH_RESOLVED: Final = "GraphResolved"
RESOURCES_READY: Final = "ResourcesReady"
PROGRESSING: Final = "Progressing"
DEGRADED: Final = "Degraded"
ERROR: Final = "Error"
# The abnormal-true conditions of kstatus exist only while they are true.
RECONCILING: Final = "Reconciling"
STALLED: Final = "Stalled"

CONDITIONS: Final = ConditionSet(root=READY, dependents=(INSTANCE_MANAGED, GRAPH_RESOLVED, RESOURCES_READY))
BUILT_IN: Final = frozenset((READY, *CONDITIONS.dependents))
# Those that say that something is not normal. Instances of a ResourceGroup always have them. Others have them only
# while they are true: for each one that is False, tools would show a healthy instance as unhealthy.
ABNORMAL: Final = (PROGRESSING, DEGRADED, ERROR)
_KNOWN: Final = BUILT_IN | {*ABNORMAL, RECONCILING, STALLED}

PHASES: Final = {
    "ACTIVE": "Running",
    "IN_PROGRESS": "Progressing",
    "FAILED": "Failed",
    "ERROR": "Failed",
    "DELETING": "Terminating",
}
# Reason and message of Ready=True, by kind of definition; other kinds keep the reason of the condition set.
_READY_TEXT: Final = {
    names.RESOURCE_GROUP: ("ResourcesAvailable", "All resources are available and configured correctly"),
    names.RESOURCE_GRAPH_DEFINITION: ("Ready", ""),
}

MAX_MESSAGE: Final = 2048
# Bytes of JSON: the most that our state and conditions need, and the limit for the author's conditions.
_OWN_BYTES: Final = 65_536
_CONDITION_BYTES: Final = 262_144
_AS_EXPECTED: Final = "AsExpected"
_SUSPENDED: Final = "ReconciliationSuspended"


# Why the API server refused a status with the author's fields: a reason and a message.
StatusRefusal: TypeAlias = tuple[str, str]
TOO_LARGE: Final[StatusRefusal] = ("StatusTooLarge", "the API server refuses the status as too big")


def invalid(message: str) -> StatusRefusal:
    """The refusal of a status whose author's fields are invalid."""
    return ("StatusInvalid", f"the API server refuses the status: {message}")


def compose(plan: Plan, outcome: Outcome, *, now: str, refused: StatusRefusal | None = None) -> Obj:
    """The status after a pass. The pass processed the nodes, was suspended, or could not manage the instance.

    If the API server `refused` the status, the result leaves out the author's fields and says so.
    """
    return drained(composing(plan, outcome, now=now, refused=refused))


def composing(plan: Plan, outcome: Outcome, *, now: str, refused: StatusRefusal | None = None) -> Steps[Obj]:
    """`compose` in steps, with a pause whenever the pass is tired."""
    instance, verdict = outcome.instance, _verdict(outcome)
    wire, declared = _status_of(instance), plan.graph.status_template
    fields, failed = yield from author_fields(plan.status, outcome.scope)
    broken = ("StatusExpressionFailed", failed) if failed is not None else None
    left_out: list[str] = []
    if verdict.keeps_fields:
        fields = {k: v for k, v in wire.items() if k in declared}
    elif refused is not None:
        fields, left_out = {}, sorted(fields)
        broken = (refused[0], f"{refused[1]}; left out: {', '.join(left_out)}")
    else:
        fields, left_out, text = _fitting(fields, instance, plan.options.max_object_bytes)
        broken = ("StatusTooLarge", text) if left_out else broken
    before = [] if plan.conditions else conditions_of(instance)
    is_group = plan.graph.definition.api_kind == names.RESOURCE_GROUP
    built_in = _conditions(instance, before, verdict, broken, keeps_false=is_group, now=now)
    built_in = _worded(built_in, *_READY_TEXT[plan.graph.definition.api_kind])
    generation = Subject.of(instance).generation
    state = "ACTIVE" if CONDITIONS.is_ready(built_in, generation) else verdict.state
    conditions = built_in
    if plan.conditions and outcome.suspended:
        conditions, state = _suspended_conditions(instance, built_in), "IN_PROGRESS"
    elif plan.conditions:
        conditions, degraded = yield from author_conditions(plan, outcome, built_in, now=now)
        state = "ERROR" if degraded or left_out else state
    own = {"phase": PHASES[state], "synced": outcome.synced, "observedGeneration": generation}
    status = {k: v for k, v in own.items() if k not in declared}
    status.update(fields)
    status.update(state=state, conditions=conditions)
    return wire if is_same(status, wire) else status


def _fitting(fields: Obj, instance: Obj, limit: int) -> tuple[Obj, list[str], str]:
    """The author's fields for which the object has room, the names of the other fields, and a message about these.

    The biggest fields are left out first, so that as few as possible are missing.
    """
    size = len(orjson.dumps(fields))
    if size <= _OWN_BYTES:
        return fields, [], ""
    room = limit - _OWN_BYTES - len(orjson.dumps({k: v for k, v in instance.items() if k != "status"}))
    if size <= room:
        return fields, [], ""
    sizes = {name: len(orjson.dumps(value)) for name, value in fields.items()}
    kept, left_out, needed = dict(fields), [], size
    for name in sorted(fields, key=lambda name: (-sizes[name], name)):
        if needed <= room:
            break
        del kept[name]
        left_out.append(name)
        needed -= sizes[name]
    shown = ", ".join(f'"{name}" ({sizes[name]} bytes)' for name in left_out)
    return kept, left_out, f"the fields of the status have {size} bytes, the limit is {room}; left out: {shown}"


def compose_unresolved(instance: Obj, message: str, *, now: str) -> Obj:
    """The status while the definition has no usable graph. All unrelated parts stay as they are."""
    resolved = (GRAPH_RESOLVED, FALSE, "ResolutionFailed", message)
    return _overlaid(instance, _Verdict(state="ERROR", conditions=(resolved,), error=message), now=now)


def compose_teardown(instance: Obj, teardown: Teardown, *, now: str) -> Obj:
    """The status of an instance being deleted."""
    text = teardown.message
    verdict = _Verdict(
        state="DELETING",
        conditions=((RESOURCES_READY, UNKNOWN, "UnderDeletion", text),),
        progressing=("UnderDeletion", text),
        error=text if teardown.blocked else None,
    )
    return _overlaid(instance, verdict, now=now)


def compose_release_failed(instance: Obj, error: str, *, now: str) -> Obj:
    """The status of an instance without children whose finalizer could not be removed."""
    text = f"failed removing finalizer: {error}"
    managed = (INSTANCE_MANAGED, FALSE, "ManagementFailed", text)
    return _overlaid(instance, _Verdict(state="DELETING", conditions=(managed,), error=text), now=now)


# The meaning of a pass


@dataclass(frozen=True, slots=True, kw_only=True)
class _Verdict:
    state: str
    # (type, status, reason, message) in the order they are set.
    conditions: tuple[tuple[str, str, str, str], ...]
    # Reason and message of the work in progress.
    progressing: tuple[str, str] | None = None
    error: str | None = None
    # No retry can help.
    stalled: bool = False
    # Some nodes work while others failed.
    partial: bool = False
    # The author's fields cannot be computed now, so the last ones stay.
    keeps_fields: bool = False


_MANAGED: Final = (
    INSTANCE_MANAGED,
    TRUE,
    "Managed",
    "instance is properly managed with finalizers and labels",
)
_RESOLVED: Final = (GRAPH_RESOLVED, TRUE, "Resolved", "runtime graph created and all resources resolved")


def _verdict(outcome: Outcome) -> _Verdict:
    if outcome.management_error is not None:
        text = f"finalizer/labeling failed: {outcome.management_error}"
        passes = outcome.management_refusal is Refusal.UNAVAILABLE
        return _Verdict(
            state="IN_PROGRESS" if passes else "ERROR",
            conditions=((INSTANCE_MANAGED, FALSE, "ManagementFailed", text),),
            progressing=("Retrying", text),
            error=None if passes else text,
            keeps_fields=True,
        )
    if outcome.suspended:
        return _suspended(outcome)
    if outcome.held:
        return _held(outcome)
    if outcome.failures:
        return _failed(outcome)
    waiting = [r for r in outcome.nodes.values() if not r.state.is_settled]
    if not waiting and not outcome.retiring:
        done = (RESOURCES_READY, TRUE, "AllResourcesReady", "all resources are created and ready")
        return _Verdict(state="ACTIVE", conditions=(_MANAGED, _RESOLVED, done))
    deleting = next((r for r in waiting if r.state is NodeState.DELETING), None)
    if deleting is not None:
        reason, text = "ResourceDeleting", deleting.message
    elif waiting:
        reason, text = "NotReady", f"awaiting resource readiness: {waiting_text(outcome)}"
        text += f"; {retiring_text(outcome.retiring)}" if outcome.retiring else ""
    else:
        reason, text = "ResourceDeleting", retiring_text(outcome.retiring)
    return _Verdict(
        state="IN_PROGRESS",
        conditions=(_MANAGED, _RESOLVED, (RESOURCES_READY, FALSE, reason, text)),
        progressing=(reason, text),
    )


def _held(outcome: Outcome) -> _Verdict:
    """Somebody must decide, or the collection must declare the objects again."""
    text = held_text(outcome.held, outcome.instance)
    retried = _is_retried(outcome.failures)
    if outcome.failures:
        text += f"; {_failure_text(outcome)}"
    elif waiting := waiting_text(outcome):
        text += f"; awaiting resource readiness: {waiting}"
    return _Verdict(
        state="ERROR",
        conditions=(_MANAGED, _RESOLVED, (RESOURCES_READY, FALSE, "PruneHeld", text)),
        progressing=("Retrying", text) if retried else None,
        error=text,
        stalled=not retried,
        partial=any(r.state is NodeState.SYNCED for r in outcome.nodes.values()),
    )


def _suspended(outcome: Outcome) -> _Verdict:
    before = _status_of(outcome.instance).get("state")
    text = f"reconciliation suspended via {names.ANNOTATION_RECONCILE} annotation"
    return _Verdict(
        state=before if before in PHASES else "IN_PROGRESS",
        conditions=(_MANAGED, _RESOLVED, (RESOURCES_READY, FALSE, _SUSPENDED, text)),
        keeps_fields=True,
    )


def _suspended_conditions(instance: Obj, built_in: Conditions) -> Conditions:
    """The author's conditions as they are, except Ready: nobody knows whether they still hold.

    The author's conditions replace ours, so nothing else would show that the instance is suspended. With the pass that
    follows, the author's conditions replace ours again.
    """
    shown = [c for c in built_in if c["type"] in (RESOURCES_READY, READY)]
    before = conditions_of(instance)
    kept = {c["type"]: c for c in before}
    ours = [_stamp_kept(c, kept.get(c["type"])) for c in shown]
    return [c for c in before if find(ours, c["type"]) is None] + ours


def _stamp_kept(condition: Obj, before: Obj | None) -> Obj:
    """The condition with the transition time of the stored one, if the status is the same."""
    if before is None or before.get("status") != condition["status"] or "lastTransitionTime" not in before:
        return condition
    return {**condition, "lastTransitionTime": before["lastTransitionTime"]}


def _failed(outcome: Outcome) -> _Verdict:
    text = f"{DUPLICATE}: {'; '.join(outcome.duplicates)}" if outcome.duplicates else _failure_text(outcome)
    transient = all(_passes(failure) for failure in outcome.failures)
    retried = _is_retried(outcome.failures)
    return _Verdict(
        state="IN_PROGRESS" if transient else "ERROR",
        conditions=(_MANAGED, _RESOLVED, (RESOURCES_READY, FALSE, "NotReady", text)),
        progressing=("Retrying", text) if retried else None,
        error=None if transient else text,
        stalled=not retried,
        partial=not transient and any(r.state is NodeState.SYNCED for r in outcome.nodes.values()),
        keeps_fields=bool(outcome.duplicates),
    )


def _passes(failure: Failure) -> bool:
    """Nothing is wrong with what is declared: a webhook or the server is away, or a UID met while pruning is stale."""
    if failure.refusal is Refusal.UNAVAILABLE:
        return True
    return failure.node is None and failure.refusal is Refusal.CONFLICT


def _is_retried(failures: Iterable[Failure]) -> bool:
    # An invalid object stays invalid until somebody edits it (kstatus: Stalled).
    return any(f.retryable and f.refusal is not Refusal.INVALID for f in failures)


def _failure_text(outcome: Outcome) -> str:
    whole = [f.message for f in outcome.failures if f.node is None]
    if whole:
        return "resource reconciliation failed: " + "; ".join(whole)
    failed = {f.node for f in outcome.failures}
    # Also name other nodes that wait for their own reasons: they may block some of the blocked nodes.
    told = [f.message for f in outcome.failures] + [r.message for r in outcome.causes if r.id not in failed]
    return "resource error: " + "; ".join(told) + _blocked_text(outcome)


def waiting_text(outcome: Outcome) -> str:
    """The nodes that wait for their own reasons, with the reasons; then the nodes that they block."""
    return "; ".join(report.message for report in outcome.causes) + _blocked_text(outcome)


def _blocked_text(outcome: Outcome) -> str:
    blocked = [f'"{r.id}"' for r in outcome.nodes.values() if r.blocked_by and not r.is_root_cause]
    return f"; nodes blocked by this: {', '.join(blocked)}" if blocked else ""


# Conditions


def _conditions(
    instance: Obj,
    before: Conditions,
    verdict: _Verdict,
    broken: tuple[str, str] | None,
    *,
    keeps_false: bool,
    now: str,
) -> Conditions:
    """`before` with a verdict worked in. `broken` is reason and message of author's fields that are not there.

    Abnormal conditions that are not true are False if `keeps_false`, and left out otherwise.
    """
    subject = Subject.of(instance)
    current = CONDITIONS.initialise([c for c in before if c["type"] in _KNOWN], subject, now=now)

    def put(type_: str, status: str, reason: str, message: str) -> None:
        nonlocal current
        message = capped(message)
        old = find(current, type_)
        # Most passes change nothing.
        if old is None or (
            (old.get("status"), old.get("reason"), old.get("message"), old.get("observedGeneration", 0))
            != (status, reason, message, subject.generation)
        ):
            current = CONDITIONS.set(current, subject, type_, status, reason=reason, message=message, now=now)

    for condition in verdict.conditions:
        put(*condition)
    error = ("ResourceError", verdict.error) if verdict.error is not None else None
    error = error or broken
    degraded = None
    if not is_true(current, READY, subject.generation) and (verdict.partial or _was_up(before, subject)):
        degraded = error or verdict.progressing
    stalled = error if verdict.stalled else None
    for type_, cause in (
        (PROGRESSING, verdict.progressing),
        (DEGRADED, degraded),
        (ERROR, error),
        (RECONCILING, verdict.progressing),
        (STALLED, stalled),
    ):
        if cause:
            put(type_, TRUE, *cause)
        elif keeps_false and type_ in ABNORMAL:
            put(type_, FALSE, _AS_EXPECTED, "")
        else:
            current = [c for c in current if c["type"] != type_]
    return current


def _was_up(before: Conditions, subject: Subject) -> bool:
    """Whether this generation was ready before and is no longer."""
    return any(is_true(before, type_, subject.generation) for type_ in (READY, DEGRADED))


def _worded(conditions: Conditions, reason: str, message: str) -> Conditions:
    """The conditions, where Ready=True has the reason and message of the definition's kind."""
    return [
        {**c, "reason": reason, "message": message} if c["type"] == READY and c["status"] == TRUE else c
        for c in conditions
    ]


def capped(message: str) -> str:
    """The message, cut to MAX_MESSAGE bytes of UTF-8."""
    encoded = message.encode()
    if len(encoded) <= MAX_MESSAGE:
        return message
    return encoded[: MAX_MESSAGE - 3].decode(errors="ignore") + "…"


def _overlaid(instance: Obj, verdict: _Verdict, *, now: str) -> Obj:
    """The stored status updated by a verdict, if there is no graph to compute the rest."""
    wire = _status_of(instance)
    before = conditions_of(instance)
    status = dict(wire)
    # Without a graph, only names and forms tell the author's fields and conditions from ours.
    own = {
        "phase": PHASES[verdict.state],
        "synced": False,
        "observedGeneration": Subject.of(instance).generation,
    }
    status.update({key: value for key, value in own.items() if _is_ours(key, wire.get(key))})
    status["state"] = verdict.state
    if not before or find(before, INSTANCE_MANAGED) is not None:
        # Without the definition, what is there tells of which kind it is.
        keeps_false = any(c["type"] in ABNORMAL and c.get("status") == FALSE for c in before)
        status["conditions"] = _conditions(instance, before, verdict, None, keeps_false=keeps_false, now=now)
    elif verdict.state == "DELETING":
        status["conditions"] = _with_author_conditions(instance, before, verdict, now=now)
    return wire if is_same(status, wire) else status


def _with_author_conditions(instance: Obj, before: Conditions, verdict: _Verdict, *, now: str) -> Conditions:
    """The author's conditions unchanged, and the conditions of the verdict beside them."""
    ours = [c for c in before if c["type"] in {condition[0] for condition in verdict.conditions}]
    current, subject = ours, Subject.of(instance)
    for type_, status, reason, message in verdict.conditions:
        current = CONDITIONS.set(current, subject, type_, status, reason=reason, message=capped(message), now=now)
    made = [c for c in current if c["type"] in {condition[0] for condition in verdict.conditions}]
    return [c for c in before if find(made, c["type"]) is None] + made


def _is_ours(key: str, value: Any) -> bool:
    if value is None:
        return True
    if key == "phase":
        return value in PHASES.values()
    return type(value) is (bool if key == "synced" else int)


# The author's status


def author_fields(leaves: Sequence[tuple[Path, Compiled]], scope: Scope) -> Steps[tuple[Obj, str | None]]:
    """The fields whose expressions resolve now, and a message about the first expression that failed for good.

    Nulls are left out: the API server drops them, so they would differ from the stored status forever. A list is left
    out while one of its elements has no value: the API server accepts no null in its place.
    """
    fields: Obj = {}
    broken: str | None = None
    for path, expression in leaves:
        if scope.allowance.tired():
            yield
        value: Any = None
        try:
            value = _without_nulls(scope.json(expression))
        except PendingError:
            pass
        except CelError as error:
            broken = broken or f"failed to evaluate status expression: {expression.failure_text(error)}"
        if nests_deeper(value, MAX_DEPTH - len(path)):
            broken = broken or f"the value of status expression {expression.shown} is nested too deeply"
            value = None
        if value is not None:
            _put(fields, path, value)
        elif isinstance(path[-1], int):
            _put(fields, path, _HOLE)
    whole: Obj = _without_holes(fields)
    return whole, broken


# Stands for an element of a list that has no value.
_HOLE: Final = object()


def _put(fields: Obj, path: Path, value: Any) -> None:
    """Set a leaf and create the containers above it; missing list elements before it become holes."""
    branch: Any = fields
    for part, following in zip(path, (*path[1:], None), strict=True):
        if isinstance(part, int):
            branch.extend([_HOLE] * (part + 1 - len(branch)))
            below = branch[part]
        else:
            below = branch.get(part, _HOLE)
        if following is None:
            below = value
        elif below is _HOLE:
            below = [] if isinstance(following, int) else {}
        branch[part] = below
        branch = below


def _without_holes(value: Any) -> Any:
    if isinstance(value, dict):
        below = {name: _without_holes(inner) for name, inner in value.items()}
        return {name: inner for name, inner in below.items() if inner is not _HOLE}
    if isinstance(value, list):
        items = [_without_holes(item) for item in value]
        return _HOLE if any(item is _HOLE for item in items) else items
    return value


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _without_nulls(v) for k, v in value.items() if v is not None}
    if isinstance(value, list):
        return [_without_nulls(v) for v in value]
    return value


def author_conditions(
    plan: Plan, outcome: Outcome, built_in: Conditions, *, now: str
) -> Steps[tuple[Conditions, bool]]:
    """The author's conditions, which replace ours in the stored status, and whether they are degraded.

    An expression without data is skipped. The list is degraded if an expression fails, if a condition is malformed, if
    a type occurs twice, or if the conditions are too large; the conditions in question are dropped. Unless all
    conditions were computed, earlier conditions of other types stay.
    """
    scope = outcome.scope
    variables = dict(scope.variables)
    variables["schema"] = {**variables["schema"], "status": {"conditions": built_in}}
    made: list[Condition] = []
    incomplete = degraded = False
    for expression in plan.conditions:
        if scope.allowance.tired():
            yield
        try:
            value = scope.value_with(expression, variables)
        except PendingError:
            incomplete = True
            continue
        except CelError:
            degraded = True
            continue
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, Condition) and item.type and item.status in STATUSES:
                made.append(item)
            else:
                degraded = True
    repeated = {type_ for type_, count in Counter(condition.type for condition in made).items() if count > 1}
    wire = {c["type"]: c for c in conditions_of(outcome.instance) if c.get("reason") != _SUSPENDED}
    generation = Subject.of(outcome.instance).generation
    every = [_stamped(c, wire.get(c.type), generation, now) for c in made if c.type not in repeated]
    conditions = _first(every, _CONDITION_BYTES)
    degraded = degraded or bool(repeated) or len(conditions) < len(every)
    if incomplete or degraded:
        computed = {c["type"] for c in every}
        conditions = _first(conditions + [c for t, c in wire.items() if t not in computed], _CONDITION_BYTES)
    return conditions, degraded


def _first(conditions: Conditions, limit: int) -> Conditions:
    """The first conditions, as many as fit into the limit."""
    room = limit
    for place, condition in enumerate(conditions):
        room -= len(orjson.dumps(condition))
        if room < 0:
            return conditions[:place]
    return conditions


def _stamped(condition: Condition, before: Obj | None, generation: int, now: str) -> dict[str, Any]:
    kept = before is not None and before.get("status") == condition.status
    stamped: dict[str, Any] = {
        "type": condition.type,
        "status": condition.status,
        "lastTransitionTime": (before or {}).get("lastTransitionTime", now) if kept else now,
    }
    if condition.reason:
        stamped["reason"] = condition.reason
    if condition.message:
        stamped["message"] = capped(condition.message)
    if generation:
        stamped["observedGeneration"] = generation
    return stamped


def _status_of(instance: Obj) -> Obj:
    status = instance.get("status")
    return status if isinstance(status, dict) else {}
