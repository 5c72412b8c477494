"""Two passes over one instance become its forecast: what is drift, what follows from the edit, and why.

One pass follows the graph and the instance as they are, the other as the files make them. An object that both leave in
the same state is drift, or no change at all; where they differ, the edit is the reason. What a pass could not decide,
since it depends on the results of other steps, is unknown.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import inf
from typing import Any, Final

from kroasync.controller.refusals import quotable_field
from kroasync.engine.actions import Apply, Delete, Done, Observed, Refusal, Refused, Release
from kroasync.engine.contests import contests
from kroasync.engine.difference import difference, plain, without
from kroasync.engine.drift import stored
from kroasync.engine.labels import names_of_node
from kroasync.engine.orphans import removal
from kroasync.engine.outcome import NodeReport, NodeState
from kroasync.engine.prune_guard import LimitedCollection, held_prunes, is_released
from kroasync.engine.withholding import places, withheld, without_secrets
from kroasync.graph.nodes import Graph, Node
from kroasync.model.names import MANAGER_CHILDREN
from kroasync.model.objects import Key, Obj, metadata
from kroasync.model.paths import Path
from kroasync.planning.forecast import PlannedStep, Verb
from kroasync.planning.rehearsal import Passed, Touch

_FAILED: Final = (NodeState.ERROR, NodeState.DELETING)
_UNSETTLED: Final = (NodeState.IN_PROGRESS, NodeState.DELETING)
_DECLARED: Final = (NodeState.SYNCED, NodeState.WAITING_FOR_READINESS)
# Other managers hold fields of the object, so nothing of it changes.
_CONTESTED: Final = (Refusal.CONTESTED, Refusal.MANAGED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """The forecast of one instance, before the files' own edit of it."""

    steps: tuple[PlannedStep, ...]
    drift: tuple[PlannedStep, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One pass, and the graph that it followed."""

    passed: Passed
    graph: Graph


def outlook(before: Side | None, after: Side | None, *, edits: bool, ignored: Iterable[str] = ()) -> Outlook:
    """What both passes show. Without `before` everything follows from the edit; without `after` nothing does.

    `edits` tells whether the files change the instance itself.
    """
    skipped = tuple(ignored)
    secrets = _Secrets(before, after)
    old = _States.of(before, secrets, skipped)
    new = _States.of(after, secrets, skipped) if after is not None else old
    drift: list[PlannedStep | None] = [old.step(key) for key in old.touches]
    drift += _held(old, None)
    steps: list[PlannedStep | None] = []
    if after is not None:
        steps += [_edited(key, old, new) for key in dict.fromkeys((*new.touches, *old.touches))]
        steps += [*_held(new, old), *_failed(new, old), *_unknown(new, old, edits=edits), *_later(new, old)]
    found = tuple(step for step in steps if step is not None)
    changed = frozenset(step.node for step in found if step.verb in (Verb.UPDATE, Verb.RECREATE))
    notes = [*_notes(new if new.passed is not None else old), *_readers_of_status(new.graph, changed)]
    return Outlook(
        steps=found, drift=tuple(step for step in drift if step is not None), notes=tuple(dict.fromkeys(notes))
    )


class _Secrets:
    """Where objects have values of Secrets: what either graph put there is withheld."""

    def __init__(self, *sides: Side | None) -> None:
        self._known = [
            {name: paths for id_, paths in side.passed.secrets.items() for name in names_of_node(id_)}
            for side in sides
            if side is not None
        ]

    def of(self, node: str) -> tuple[Path, ...]:
        return tuple(path for known in self._known for path in known.get(node, ()))

    def knows(self, node: str) -> bool:
        """Whether a graph has the node. Of what an earlier one left behind nobody knows what is secret."""
        return any(node in known for known in self._known)


class _States:
    """The objects of one pass: how they were read, and how the pass leaves them."""

    def __init__(self, side: Side | None, secrets: _Secrets, ignored: Sequence[str]) -> None:
        self.passed = side.passed if side is not None else None
        self.graph = side.graph if side is not None else None
        self.secrets = secrets
        self.ignored = ignored
        self.touches: dict[Key, Touch] = {}
        # The ids of the nodes by what their objects say of themselves.
        self.ids = {name: id_ for id_ in (self.graph.nodes if self.graph else ()) for name in names_of_node(id_)}

    @staticmethod
    def of(side: Side | None, secrets: _Secrets, ignored: Sequence[str]) -> "_States":
        states = _States(side, secrets, ignored)
        for touch in side.passed.touches if side is not None else ():
            known = states.touches.get(touch.action.key)
            # A second touch follows a deletion that makes room: the object is created anew.
            states.touches[touch.action.key] = (
                touch if known is None else Touch(touch.action, touch.result, known.before, touch.after)
            )
        return states

    @property
    def reports(self) -> Mapping[str, NodeReport]:
        return self.passed.outcome.nodes if self.passed is not None else {}

    def after(self, key: Key, read: Obj | None) -> Obj | None:
        """The object after the pass; as it was read if the pass does not touch it."""
        touch = self.touches.get(key)
        return read if touch is None else touch.after

    def declares(self, key: Key) -> bool:
        """Whether the object is as a node of this pass declares it."""
        return any(key in report.objects for report in self.reports.values() if report.state in _DECLARED)

    def step(self, key: Key) -> PlannedStep | None:
        """The step about an object in this pass; None if the pass changes nothing of it."""
        touch = self.touches[key]
        return _step(touch, touch.before, self)

    def shown(self, obj: Obj | None, node: str, key: Key) -> Obj | None:
        """The object for people: without the bookkeeping of the server, and without values of Secrets."""
        if obj is None or not self.secrets.knows(node):
            return None
        return without(without_secrets(plain(obj), places(key, self.secrets.of(node))), self.ignored)


def _step(touch: Touch, since: Obj | None, states: _States) -> PlannedStep | None:
    """The step of a touch, with the fields that differ from the state `since`."""
    action, result, key = touch.action, touch.result, touch.action.key
    common: dict[str, Any] = {"node": action.node, "key": key}
    reason = states.passed.recreated.get(key) if states.passed is not None else None
    if isinstance(result, Refused):
        verb = Verb.CONFLICT if result.refusal in _CONTESTED else Verb.REFUSED
        return PlannedStep(verb=verb, why=_refusal_text(result), **common)
    if isinstance(action, Delete | Release):
        is_recreated = reason is not None
        verb = Verb.RELEASE if isinstance(action, Release) else Verb.RECREATE if is_recreated else Verb.DELETE
        why = _recreation(reason) if reason is not None else _departure(action.node, states)
        return PlannedStep(verb=verb, why=why, before=states.shown(touch.before, action.node, key), **common)
    assert isinstance(result, Done)
    after = touch.after
    if since is None and after is not None:
        return PlannedStep(verb=Verb.CREATE, after=states.shown(after, action.node, key), **common)
    if since is None or after is None:
        return None
    fields = difference(since, after, ignored=states.ignored)
    if not fields and reason is None:
        return None
    paths = places(key, states.secrets.of(action.node))
    return PlannedStep(
        verb=Verb.UPDATE if reason is None else Verb.RECREATE,
        why=_recreation(reason) if reason is not None else "; ".join(_circumstances(touch)),
        fields=tuple(withheld(change, paths) for change in fields),
        before=states.shown(since, action.node, key),
        after=states.shown(after, action.node, key),
        **common,
    )


def _recreation(reason: str) -> str:
    return f"it cannot be changed, so it is deleted and created anew: {reason}"


def _circumstances(touch: Touch) -> Iterator[str]:
    """What a reader should know of an update: an adoption, and whose fields it takes."""
    action, result, live = touch.action, touch.result, touch.before
    if isinstance(result, Done) and result.adopted:
        yield "adopts an object that exists"
    if not isinstance(action, Apply) or live is None:
        return
    declared, after = stored(action.obj), touch.after or {}
    is_answer = metadata(after).get("managedFields") != metadata(live).get("managedFields") if after else False
    kept = {(one.manager, one.path) for one in contests(after, declared, MANAGER_CHILDREN)} if is_answer else set()
    taken: dict[str, dict[str, None]] = {}
    for one in contests(live, declared, MANAGER_CHILDREN):
        if one.differs and (one.manager, one.path) not in kept:
            field = quotable_field(one.field, action.secrets) if action.secrets else one.field
            taken.setdefault(one.manager, {})[field] = None
    for manager, fields in taken.items():
        yield f'takes {", ".join(fields)} from manager "{manager}"'


def _edited(key: Key, old: _States, new: _States) -> PlannedStep | None:
    """The step about an object that follows from the edit; None if there is none."""
    was, now = old.touches.get(key), new.touches.get(key)
    if now is None:
        # Without the edit, the controller would change the object. With it, the object is as declared.
        assert was is not None
        if not isinstance(was.result, Done) or was.before is None or not new.declares(key):
            return None
        fields = difference(was.after or {"metadata": {}}, was.before, ignored=new.ignored)
        if not fields:
            return None
        paths = places(key, new.secrets.of(was.action.node))
        return PlannedStep(
            verb=Verb.UPDATE,
            node=was.action.node,
            key=key,
            why="stays as it is: what was drift is declared now",
            fields=tuple(withheld(change, paths) for change in fields) if isinstance(was.action, Apply) else (),
        )
    step = _step(now, old.after(key, now.before), new)
    if step is None or was is None:
        return step
    before = old.step(key)
    is_same = before is not None and (before.verb, before.why) == (step.verb, step.why)
    return None if is_same and step.verb not in (Verb.UPDATE, Verb.CREATE) else step


def _refusal_text(refused: Refused) -> str:
    if refused.refusal is Refusal.FOREIGN:
        return f'it belongs to ApplySet "{refused.message}"'
    if refused.refusal in (Refusal.CLAIMED, Refusal.MANAGED):
        return f"it existed before and {refused.message}: it is not adopted"
    return refused.message


def _departure(node: str, states: _States) -> str:
    """Why an object leaves its instance."""
    if states.graph is None:
        return ""
    id_ = states.ids.get(node)
    if id_ is None:
        return f'dropped: the definition has no resource "{node}" any more'
    report = states.reports.get(id_)
    if report is not None and report.state is NodeState.SKIPPED:
        return f"excluded: {report.message}" if report.message else "excluded"
    if states.graph.nodes[id_].is_collection:
        return f'shrunk: the collection "{id_}" does not have it any more'
    return f'replaced: the resource "{id_}" has another name, namespace or kind'


def _held(states: _States, other: _States | None) -> Iterator[PlannedStep]:
    """What is not deleted, since it is more than a collection may lose at once."""
    held = states.passed.outcome.held if states.passed is not None else ()
    known = other.passed.outcome.held if other is not None and other.passed is not None else ()
    for one in held:
        if one not in known:
            for key in one.objects:
                yield PlannedStep(verb=Verb.HELD, node=one.node, key=key, why=str(one))


def _failed(new: _States, old: _States) -> Iterator[PlannedStep]:
    """What fails without an answer of the API server: an expression, a policy, the metadata of the instance."""
    assert new.passed is not None
    told = {touch.action.node for touch in new.touches.values() if isinstance(touch.result, Refused)}
    outcome = new.passed.outcome
    known = old.passed.outcome if old.passed is not None else None
    before = {failure.message for failure in known.failures} if known is not None else set()
    for failure in outcome.failures:
        if failure.node not in told and failure.message not in before:
            yield PlannedStep(verb=Verb.REFUSED, node=failure.node or "", why=failure.message)
    error = outcome.management_error
    if error is not None and (known is None or known.management_error != error):
        yield PlannedStep(verb=Verb.REFUSED, node="", why=error)


def _unknown(new: _States, old: _States, *, edits: bool) -> Iterator[PlannedStep]:
    """The nodes whose objects depend on what is known only after other steps."""
    for report in new.reports.values():
        if report.state not in _UNSETTLED:
            continue
        known = old.reports.get(report.id)
        is_same = known is not None and (known.state, known.message) == (report.state, report.message)
        if not is_same or edits or _is_concerned(report.id, new.graph, old.graph):
            yield PlannedStep(verb=Verb.UNKNOWN, node=report.id, why=report.message)


def _is_concerned(node: str, after: Graph | None, before: Graph | None) -> bool:
    """Whether the edit of a definition changes a node, or one that it depends on."""
    if after is None or before is None or after is before:
        return False
    waiting, seen = [node], {node}
    while waiting:
        one = waiting.pop()
        old, new = before.nodes.get(one), after.nodes[one]
        if old is None or _declaration(old) != _declaration(new):
            return True
        found = set(new.dependencies) - seen
        seen |= found
        waiting += found
    return False


def _declaration(node: Node) -> Any:
    """What a node declares, as data."""
    expressions = (*node.include_when, *node.ready_when, *(one.expression for one in node.for_each))
    policy = {name: str(getattr(value, "text", value)) for name, value in node.policy.items()}
    return node.resource, node.template, [one.text for one in expressions], policy, node.max_prune, node.external_fields


def _later(new: _States, old: _States) -> Iterator[PlannedStep]:
    """The children that no node declares any more, and that go when all nodes are resolved."""
    known = {step.key for step in _waiting(old)}
    known |= {key for one in (old.passed.outcome.held if old.passed is not None else ()) for key in one.objects}
    yield from (step for step in _waiting(new) if step.key not in known)


def _waiting(states: _States) -> Iterator[PlannedStep]:
    reports, passed, graph = states.reports.values(), states.passed, states.graph
    failed = [r.id for r in reports if r.state in _FAILED]
    open_nodes = [r.id for r in reports if r.state is NodeState.IN_PROGRESS] + failed
    if passed is None or graph is None or not open_nodes or passed.outcome.suspended:
        return
    declared = {key for report in reports for key in report.objects}
    removals: list[tuple[Observed, Delete | Release]] = []
    for member in passed.members:
        id_ = states.ids.get(member.node)
        is_open = id_ is not None and (id_ in open_nodes or id_ not in states.reports)
        action = None if is_open or member.key in declared or member.key in states.touches else removal(member)
        if action is not None:
            removals.append((member, action))
    held = {} if is_released(passed.outcome.instance) else dict(_limits(removals, graph, states.reports))
    # A wave with something held is the last one; the waves are numbered from the last to the first.
    last_wave = max((_wave(member) for member, _ in removals if member.key in held), default=0.0)
    for member, action in removals:
        common: dict[str, Any] = {"node": member.node, "key": member.key}
        if member.key in held:
            yield PlannedStep(verb=Verb.HELD, why=held[member.key], **common)
        elif _wave(member) >= last_wave:
            verb = Verb.DELETE if isinstance(action, Delete) else Verb.RELEASE
            why = f"{_departure(member.node, states)}; it waits for {', '.join(open_nodes)}"
            shown = states.shown(member.obj, member.node, member.key)
            yield PlannedStep(verb=Verb.UNKNOWN if failed else verb, why=why, before=shown, **common)


def _limits(
    removals: Sequence[tuple[Observed, Delete | Release]], graph: Graph, reports: Mapping[str, NodeReport]
) -> Iterator[tuple[Key, str]]:
    """The objects that are more than their collections may lose, and the text about each."""
    limited = [
        LimitedCollection(
            node=node.id,
            limit=node.max_prune,
            declared=len(reports[node.id].objects) if node.id in reports else 0,
        )
        for node in graph.nodes.values()
        if node.max_prune is not None
    ]
    for one in held_prunes(limited, removals):
        yield from ((key, str(one)) for key in one.objects)


def _wave(member: Observed) -> float:
    return member.apply_order or inf


def _notes(states: _States) -> Iterator[str]:
    passed = states.passed
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
    for key, left in outcome.yielded.items():
        yield f"{key} leaves {left.what}"
    told = {t.action.node for t in passed.touches if isinstance(t.result, Refused)}
    yield from (f.message for f in outcome.failures if f.node not in told)
    for key in sorted(passed.unasked):
        yield f"{key} is predicted, since you may not write it: the API server was not asked"
    for key in sorted(passed.stale):
        yield f"{key} changed while it was planned"


def _readers_of_status(graph: Graph | None, changed: frozenset[str]) -> Iterator[str]:
    """What may change later, with the status of objects that change now."""
    for reader, nodes in _status_reads(graph).items() if graph is not None and changed else ():
        for node in sorted(nodes & changed - {reader}):
            yield f'node "{reader}" reads the status of "{node}", which may change after the apply'


@lru_cache(maxsize=32)
def _status_reads(graph: Graph) -> Mapping[str, frozenset[str]]:
    """By node: the nodes whose status its objects depend on."""
    found: dict[str, frozenset[str]] = {}
    for node in graph.nodes.values():
        sources = [field.expression for field in node.fields] + [dimension.expression for dimension in node.for_each]
        reads = [read for one in (*sources, *node.include_when) for read in one.program.reads]
        found[node.id] = frozenset(read[0] for read in reads if "status" in read[1:3] and read[0] in graph.nodes)
    return found
