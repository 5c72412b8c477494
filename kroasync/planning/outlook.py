"""Two passes over one instance become its forecast: what is drift, what follows from the edit, and why.

One pass follows the graph and the instance as they are, the other as the files make them. An object that both leave in
the same state is drift, or no change at all; where they differ, the edit is the reason.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from kroasync.engine.actions import Apply, Delete, Done, Refusal, Refused, Release
from kroasync.engine.orphans import removal
from kroasync.engine.outcome import NodeState, Outcome
from kroasync.graph.nodes import Graph
from kroasync.model.kinds import SECRETS
from kroasync.model.objects import Key, Obj
from kroasync.model.paths import get, has, set_at
from kroasync.planning.difference import FieldChange, difference, plain, without
from kroasync.planning.forecast import PlannedStep, Verb
from kroasync.planning.passes import Passed, Touch

_WITHHELD: Final = "(withheld: a value of a Secret)"
_CHANGED: Final = "(withheld: another value of a Secret)"
_UNRESOLVED: Final = (NodeState.IN_PROGRESS, NodeState.DELETING, NodeState.ERROR)
_UNSETTLED: Final = (NodeState.IN_PROGRESS, NodeState.DELETING)
_NOT_OURS: Final = (Refusal.FOREIGN, Refusal.CLAIMED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """The forecast of one instance, before the files' own edit of it."""

    steps: tuple[PlannedStep, ...]
    drift: tuple[PlannedStep, ...]
    notes: tuple[str, ...]


def outlook(
    before: Passed | None, after: Passed | None, graph: Graph | None, *, ignored: Iterable[str] = ()
) -> Outlook:
    """What both passes show. Without `before` everything follows from the edit; without `after` nothing does.

    `graph` is the one of the pass `after`, for the reasons of deletes.
    """
    skipped = tuple(ignored)
    old = _States.of(before, None, skipped)
    new = _States.of(after, graph, skipped) if after is not None else old
    drift = [old.step(key) for key in old.touches]
    steps = [_edited(key, old, new) for key in dict.fromkeys((*new.touches, *old.touches))] if after is not None else []
    if after is not None:
        was = before.outcome if before is not None else None
        steps += [*_unknown(was, after.outcome), *_later(was, after, graph)]
    return Outlook(
        steps=tuple(step for step in steps if step is not None),
        drift=tuple(step for step in drift if step is not None),
        notes=tuple(_notes((after or before), graph)),
    )


class _States:
    """The objects of one pass: how they were read, and how the pass leaves them."""

    def __init__(self, passed: Passed | None, graph: Graph | None, ignored: Sequence[str]) -> None:
        self.passed = passed
        self.graph = graph
        self.ignored = ignored
        self.touches: dict[Key, Touch] = {}

    @staticmethod
    def of(passed: Passed | None, graph: Graph | None, ignored: Sequence[str]) -> "_States":
        states = _States(passed, graph, ignored)
        for touch in passed.touches if passed is not None else ():
            known = states.touches.get(touch.action.key)
            # A second touch follows a deletion that makes room: the object is created anew.
            states.touches[touch.action.key] = (
                touch if known is None else Touch(touch.action, touch.result, known.before, touch.after)
            )
        return states

    def after(self, key: Key, read: Obj | None) -> Obj | None:
        """The object after the pass; as it was read if the pass does not touch it."""
        touch = self.touches.get(key)
        return read if touch is None else touch.after

    def step(self, key: Key) -> PlannedStep | None:
        """The step about an object in this pass; None if the pass changes nothing of it."""
        touch = self.touches[key]
        return _step(touch, touch.before, self)


def _step(touch: Touch, since: Obj | None, states: _States) -> PlannedStep | None:
    """The step of a touch, with the fields that differ from the state `since`."""
    action, result = touch.action, touch.result
    common: dict[str, Any] = {"node": action.node, "key": action.key}
    if isinstance(result, Refused):
        return PlannedStep(verb=_refusal_verb(result), why=_refusal_text(result), **common)
    secrets = action.secrets if isinstance(action, Apply) else ()
    if isinstance(action, Delete | Release):
        verb = Verb.RELEASE if isinstance(action, Release) else Verb.DELETE
        shown = _shown(touch.before, action.key, (), states.ignored)
        return PlannedStep(verb=verb, why=_departure(action.node, states), before=shown, **common)
    assert isinstance(result, Done)
    after = touch.after
    if since is None and after is not None:
        return PlannedStep(verb=Verb.CREATE, after=_shown(after, action.key, secrets, states.ignored), **common)
    if since is None or after is None:
        return None
    fields = difference(since, after, ignored=states.ignored)
    if not fields:
        return None
    return PlannedStep(
        verb=Verb.UPDATE,
        why="adopts an object that exists" if result.adopted else "",
        fields=tuple(_withheld(change, action.key, secrets) for change in fields),
        before=_shown(since, action.key, secrets, states.ignored),
        after=_shown(after, action.key, secrets, states.ignored),
        **common,
    )


def _edited(key: Key, old: _States, new: _States) -> PlannedStep | None:
    """The step about an object that follows from the edit; None if there is none."""
    was, now = old.touches.get(key), new.touches.get(key)
    if now is None:
        # Without the edit, the controller would change the object. With it, the object is as declared.
        assert was is not None
        if not isinstance(was.result, Done) or not isinstance(was.action, Apply) or was.before is None:
            return None
        fields = difference(was.after or was.before, was.before, ignored=new.ignored)
        if not fields:
            return None
        return PlannedStep(
            verb=Verb.UPDATE,
            node=was.action.node,
            key=key,
            why="stays as it is: what was drift is declared now",
            fields=tuple(_withheld(change, key, was.action.secrets) for change in fields),
        )
    step = _step(now, old.after(key, now.before), new)
    if step is None or was is None:
        return step
    before = old.step(key)
    is_same = before is not None and (before.verb, before.why) == (step.verb, step.why)
    return None if is_same and step.verb not in (Verb.UPDATE, Verb.CREATE) else step


def _refusal_verb(refused: Refused) -> Verb:
    return Verb.CONFLICT if refused.refusal.value == "contested" else Verb.REFUSED


def _refusal_text(refused: Refused) -> str:
    if refused.refusal is Refusal.FOREIGN:
        return f'it belongs to ApplySet "{refused.message}"'
    if refused.refusal is Refusal.CLAIMED:
        return f"it existed before and belongs to {refused.message}"
    return refused.message


def _departure(node: str, states: _States) -> str:
    """Why an object leaves its instance."""
    graph, passed = states.graph, states.passed
    if graph is None or passed is None:
        return ""
    if node not in graph.nodes:
        return f'dropped: the definition has no resource "{node}" any more'
    report = passed.outcome.nodes.get(node)
    if report is not None and report.state is NodeState.SKIPPED:
        return f"excluded: {report.message}"
    if graph.nodes[node].is_collection:
        return f'shrunk: the collection "{node}" does not have it any more'
    return f'replaced: the resource "{node}" has another name, namespace or kind'


def _unknown(before: Outcome | None, after: Outcome) -> Iterator[PlannedStep]:
    """The nodes whose objects depend on what is known only after other steps."""
    for report in after.nodes.values():
        if report.state not in _UNSETTLED:
            continue
        known = before.nodes.get(report.id) if before is not None else None
        if known is None or (known.state, known.message) != (report.state, report.message):
            yield PlannedStep(verb=Verb.UNKNOWN, node=report.id, why=report.message)


def _later(before: Outcome | None, after: Passed, graph: Graph | None) -> Iterator[PlannedStep]:
    """The children of nodes that the graph has no more. They go when all nodes are resolved."""
    waiting = [r.id for r in after.outcome.nodes.values() if r.state in _UNRESOLVED]
    if graph is None or not waiting:
        return
    for member in after.members:
        action = None if member.node in graph.nodes else removal(member)
        if action is not None:
            verb = Verb.DELETE if isinstance(action, Delete) else Verb.RELEASE
            why = f'dropped: the definition has no resource "{member.node}" any more; it waits for {", ".join(waiting)}'
            yield PlannedStep(verb=verb, node=member.node, key=member.key, why=why)


def _notes(passed: Passed | None, graph: Graph | None) -> Iterator[str]:
    if passed is None:
        return
    outcome = passed.outcome
    if outcome.management_error is not None:
        yield outcome.management_error
    if outcome.suspended:
        yield "reconciliation is suspended by its annotation"
    for report in outcome.nodes.values():
        if report.state is NodeState.WAITING_FOR_READINESS:
            yield report.message
    told = {(t.action.node) for t in passed.touches if isinstance(t.result, Refused)}
    yield from (f.message for f in outcome.failures if f.node not in told)


# Values of Secrets


def _withheld(change: FieldChange, key: Key, secrets: Sequence[tuple[str | int, ...]]) -> FieldChange:
    """The change without a value of a Secret."""
    steps = tuple(step for step in change.route if isinstance(step, str))
    is_content = key.resource.group_kind == SECRETS.group_kind and steps[:1] in (("data",), ("stringData",))
    if not is_content and not any(_overlaps(steps, tuple(s for s in path if isinstance(s, str))) for path in secrets):
        return change
    shown = [_WITHHELD if value is not None else None for value in (change.before, change.after)]
    return FieldChange(change.route, shown[0], _CHANGED)


def _overlaps(one: Sequence[str], other: Sequence[str]) -> bool:
    shared = min(len(one), len(other))
    return tuple(one[:shared]) == tuple(other[:shared])


def _shown(obj: Obj | None, key: Key, secrets: Sequence[tuple[str | int, ...]], ignored: Sequence[str]) -> Obj | None:
    """The object for people: without the bookkeeping of the server, and without values of Secrets."""
    if obj is None:
        return None
    found = without(plain(obj), ignored)
    if key.resource.group_kind == SECRETS.group_kind:
        for field in ("data", "stringData"):
            if isinstance(found.get(field), Mapping):
                found = {**found, field: dict.fromkeys(found[field], _WITHHELD)}
    for path in secrets:
        if has(found, path) and get(found, path) != _WITHHELD and not isinstance(get(found, path), Mapping):
            found = set_at(found, tuple(path), _WITHHELD)
    return found
