"""The second phase of a pass: process each node as soon as all its dependencies have ended.

Independent nodes share a batch. The stage of a node (`passstate.Stage`) decides how its turn continues, and the action
decides how its answer is handled. Both are tables at the end of the file.

A node is held while the recorded inventory does not cover its objects: after a crash nothing would find them again. One
patch of the instance widens the inventory for all held nodes; then they continue.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import orjson

from kroasync.engine.actions import (
    Action,
    Apply,
    Done,
    Need,
    Observed,
    PatchParent,
    Pause,
    Read,
    Refusal,
    Refused,
    Result,
    WatchExternal,
)
from kroasync.engine.expand import expand
from kroasync.engine.externals import read, watched
from kroasync.engine.identities import claim, foresee
from kroasync.engine.management import potential
from kroasync.engine.outcome import Change, ChangeKind, Failure, NodeState
from kroasync.engine.parent import covers, patch, place
from kroasync.engine.passstate import Batches, Ending, NodeRun, PassState, Stage
from kroasync.engine.policy_values import resolved
from kroasync.engine.readiness import NotReady, is_included, readiness
from kroasync.engine.renewal import is_renewed, renew
from kroasync.engine.resolve import Desired, desired
from kroasync.engine.scope import NodeFailure, PendingData
from kroasync.engine.yielding import Terms, agree, foreign_fields, is_guarded, refusal_text, yielding
from kroasync.graph.nodes import NodeType
from kroasync.model.applyset import Inventory
from kroasync.model.objects import Key, Obj, is_deleting
from kroasync.model.policies import Update

_CHANGES: Final = {
    Need.CREATE: ChangeKind.CREATED,
    Need.UPDATE: ChangeKind.UPDATED,
    Need.HEAL: ChangeKind.HEALED,
}
# The object is not a child, and is not adopted.
_CLAIMS: Final = (Refusal.FOREIGN, Refusal.CLAIMED, Refusal.MANAGED)
# The API server will not have the object as it is.
_REJECTIONS: Final = (Refusal.INVALID, Refusal.FORBIDDEN, Refusal.TOO_BIG)
# Only a change of the instance, the definition or the child can help.
_FINAL: Final = (Refusal.TOO_BIG, Refusal.CONTESTED)
# Refusals that are failures of their own beside all others.
_SORTS: Final = {Refusal.TOO_BIG: 1, Refusal.UNAVAILABLE: 2, Refusal.CONTESTED: 3}


def converge(state: PassState) -> Batches[None]:
    """Bring every node as far as it can go."""
    foreseen = not state.plan.rivals
    while True:
        batch: list[Action] = []
        while (run := state.next_run()) is not None:
            if state.allowance.tired():
                yield [Pause()]
            batch += yield from _go_on(state, run)
        if state.held:
            batch.append((yield from _widen(state)))
        if not batch:
            return
        if not foreseen and any(isinstance(action, Apply | PatchParent) for action in batch):
            yield from foresee(state)
            foreseen = True
        if state.found.duplicates:
            return
        for result in (yield batch):
            _ANSWERS[type(result.action)](state, result)
        if state.renewing:
            runs, state.renewing = state.renewing, []
            yield from renew(state, runs)
            for run in runs:
                _complete(state, run)
        state.cover()


def _go_on(state: PassState, run: NodeRun) -> Batches[list[Action]]:
    """Give a node its turn; returns the actions that it requests."""
    try:
        return (yield from _TURNS[run.stage](state, run))
    except PendingData as error:
        _wait(state, run, error)
    except NodeFailure as error:
        run.expression = error.expression
        state.fail(run, str(error), retryable=False)
    return []


# A node is due


def _decide(state: PassState, run: NodeRun) -> Batches[list[Action]]:
    """Decide whether the node is included, and which objects it declares."""
    if _is_left_out(state, run):
        return []
    blockers = _blockers(state, run)
    if blockers:
        _block(state, run, blockers)
        return []
    return (yield from _resolve(state, run))


def _is_left_out(state: PassState, run: NodeRun) -> bool:
    plan = run.plan
    for dependency in plan.node.dependencies:
        if state.runs[dependency].state is NodeState.SKIPPED:
            state.end(run, Ending.EXCLUDED_WITH, cause=dependency)
            return True
    if not plan.include_when:
        return False
    not_ready = {d: state.runs[d].why for d in _blockers(state, run)}
    if is_included(plan, state.scope, not_ready):
        return False
    state.end(run, Ending.EXCLUDED)
    return True


def _blockers(state: PassState, run: NodeRun) -> list[str]:
    return [d for d in run.plan.node.dependencies if not state.runs[d].is_readable]


def _block(state: PassState, run: NodeRun, blockers: Sequence[str]) -> None:
    """Block the node. The message names the first node at the root of the chain."""
    roots: dict[str, None] = {}
    for blocker in blockers:
        roots.update(dict.fromkeys(state.runs[blocker].blocked_by))
    ordered = sorted(roots, key=state.plan.positions.__getitem__)
    cause = state.runs[ordered[0]]
    state.end(run, Ending.BLOCKED, cause=cause.plan.id, why=cause.why, blocked_by=tuple(ordered))


def _wait(state: PassState, run: NodeRun, error: PendingData) -> None:
    """Let the node wait for data that an expression reads."""
    run.expression = error.expression
    blockers = _blockers(state, run)
    if blockers:
        _block(state, run, blockers)
    else:
        state.end(run, Ending.PENDING, why=str(error))


def _resolve(state: PassState, run: NodeRun) -> Batches[list[Action]]:
    plan = run.plan
    kind = plan.node.type
    run.policies, run.policy_faults = resolved(plan.policies, plan.computed_policies, state.scope)
    if kind is NodeType.RESOURCE:
        obj = yield from state.fill(plan)
        run.desired = [desired(plan, obj, state.ownership, run.policies.deletion)]
    elif kind is NodeType.COLLECTION:
        limit = state.plan.options.max_collection_size
        items = expand(plan, state.scope, state.ownership, run.policies.deletion, limit=limit)
        run.desired = yield from state.paced(items)
    else:
        obj = yield from state.fill(plan)
        return read(state, run, obj)
    claim(state, run)
    return (yield from _dispatch(state, run))


# The node's objects are sent


def _dispatch(state: PassState, run: NodeRun) -> Batches[list[Action]]:
    """Send the objects that differ. A node with nothing to send is complete at once."""
    namespace = state.ownership.parent.namespace
    if not all(covers(state.inventory, item, namespace) for item in run.desired):
        state.hold(run)
        return []
    run.answers = [None] * len(run.desired)
    actions: list[Action] = []
    for index, item in enumerate(run.desired):
        action = _write(state, run, index, item)
        if action is not None:
            actions.append(action)
        if state.allowance.tired():
            yield [Pause()]
    run.outstanding = len(actions)
    if actions:
        run.go(Stage.SENT)
    else:
        _complete(state, run)
    return actions


def _write(state: PassState, run: NodeRun, index: int, item: Desired) -> Apply | Read | None:
    """The apply for one object; None if the object is as declared or must not be sent. A child that is applied only
    once is at most read.
    """
    observed, own = state.world.find(item.key), state.ownership.applyset_id
    is_child = observed is not None and observed.ours and observed.part_of == own
    if observed is not None and is_child:
        # Until it is answered otherwise, and if it is refused.
        run.answers[index] = observed.obj
    if observed is not None and observed.deleting:
        run.deleting = run.deleting or item.key
        return None
    if observed is not None and is_child and run.policies.update is Update.ONCE:
        if not state.membership().is_proven(observed):
            is_child = False  # it is adopted again, which seals it
        else:
            is_kept = state.world.leave(item.key)
            return None if is_kept else Read(node=run.plan.id, index=item.index, key=item.key)
    foreign = observed is not None and observed.part_of not in ("", own)
    terms = _terms(state, run, item, observed if is_child else None)
    need = Need.CREATE if observed is None else state.world.compare(item.key, terms.obj)
    if observed is not None and need is None and not foreign and not terms.refused:
        run.answers[index] = observed.obj
        return None
    action = Apply(
        node=run.plan.id,
        index=item.index,
        key=item.key,
        obj=terms.obj,
        need=need or Need.UPDATE,
        force=is_child,
        secrets=run.plan.secrets,
        policies=run.policies,
        external_fields=run.plan.node.external_fields,
    )
    if observed is not None and foreign:
        refused = Refused(action=action, refusal=Refusal.FOREIGN, message=observed.part_of)
        run.errors.append((item.index, refused))
        return None
    if terms.refused:
        message = refusal_text(foreign_fields(terms.refused, run.plan.secrets))
        run.errors.append((item.index, Refused(action=action, refusal=Refusal.CONTESTED, message=message)))
        return None
    text = _too_big(terms.obj, state.plan.options.max_object_bytes)
    if text:
        run.errors.append((item.index, Refused(action=action, refusal=Refusal.TOO_BIG, message=text)))
        return None
    return action


def _terms(state: PassState, run: NodeRun, item: Desired, child: Observed | None) -> Terms:
    """What is compared and sent of an object: of a child, without the fields that are left to others."""
    external = run.plan.node.external_fields
    if child is None or not is_guarded(run.policies, external):
        return Terms(obj=item.obj)
    terms = agree(child.obj, item.obj, run.policies, external)
    left = yielding(child.obj, terms, run.plan.secrets)
    if left is not None:
        state.found.yielded[item.key] = left
    return terms


def _too_big(obj: Obj, limit: int) -> str:
    """Why an object cannot be sent: it is too big, or JSON cannot express a number in it; empty if it can be sent."""
    try:
        size = len(orjson.dumps(obj))
    except TypeError as error:
        return f"the object cannot be written as JSON: {error}"
    return f"the object has {size} bytes as JSON, the limit is {limit}" if size > limit else ""


# The inventory is widened


def _widen(state: PassState) -> Batches[PatchParent]:
    """The patch that makes the inventory cover the held nodes."""
    places = [place(item) for run in state.held for item in run.desired]
    needed = Inventory.of(places, state.ownership.parent.namespace)
    before = yield from potential(state)
    state.wanted = before.union(needed)
    return patch(state.plan, state.ownership, state.wanted)


def _widened(state: PassState, result: Result) -> None:
    if isinstance(result, Done):
        state.inventory = state.wanted
        return
    for run in state.released():
        state.fail(run, f"failed to patch instance with applyset labels: {result.message}", refused=result)


# Answers


def _applied(state: PassState, result: Result) -> None:
    action = result.action
    assert isinstance(action, Apply | Read)
    run = state.runs[action.node]
    run.outstanding -= 1
    if isinstance(result, Refused):
        run.errors.append((action.index, result))
    elif isinstance(action, Read):
        run.answers[action.index or 0] = result.obj
    else:
        answer = result.obj if result.obj is not None else action.obj
        run.answers[action.index or 0] = answer
        if result.yielded is not None:
            state.found.yielded[action.key] = result.yielded.beside(state.found.yielded.get(action.key))
        if is_deleting(answer):
            run.deleting = run.deleting or action.key
        # After a restart an apply may only learn hashes. An apply that changed nothing is not reported.
        if result.changed:
            kind = ChangeKind.ADOPTED if result.adopted else _CHANGES[action.need]
            state.found.changes.append(Change(kind=kind, node=action.node, key=action.key))
    if not run.outstanding:
        _complete(state, run)


def _complete(state: PassState, run: NodeRun) -> None:
    """Continue with a managed node that has all its answers."""
    if is_renewed(run):
        state.renewing.append(run)
    elif run.errors or run.policy_faults:
        _fail_apply(state, run)
    elif run.deleting is not None:
        _show_what_is_there(state, run)
        state.end(run, Ending.BEING_DELETED, why=_deleting_text(run.plan.id, run.deleting))
    else:
        state.show(run, run.answers if run.plan.node.is_collection else run.answers[0])


def _deleting_text(node: str, key: Key) -> str:
    """The message about a child that is being deleted."""
    return (
        f'resource "{_where(key)}" for node "{node}" is currently being deleted; waiting for deletion to complete '
        "before continuing reconciliation"
    )


def _fail_apply(state: PassState, run: NodeRun) -> None:
    """Something of the node was refused. What is there goes on to be read: of a collection that is all there by the
    nodes that depend on it, too.
    """
    own = state.ownership.applyset_id
    errors = sorted(run.errors, key=lambda error: -1 if error[0] is None else error[0])
    for _, refused in errors:
        if refused.refusal in _CLAIMS and isinstance(refused.action, Apply):
            state.found.not_adopted[refused.action.key] = _claim_text(refused.action.key, refused, own)
            if refused.refusal is Refusal.MANAGED:
                state.found.awaiting_fields.add(refused.action.key)
    failures = _failures(run.plan.id, errors, own)
    failures += [
        Failure(message=f'node "{run.plan.id}": {text}', retryable=False, node=run.plan.id)
        for text in run.policy_faults
    ]
    state.found.failures += failures
    run.refused = "; ".join(failure.message for failure in failures)
    if run.plan.node.is_collection and run.deleting is None and None not in run.answers:
        state.show(run, run.answers)
        return
    _show_what_is_there(state, run)
    state.end(run, Ending.FAILED, why=run.refused)


def _failures(node: str, errors: Sequence[tuple[int | None, Refused]], own: str) -> list[Failure]:
    """One failure for what has to be tried again, one for what is too big for that, and one for what only waits."""
    sorts: dict[int, list[Refused]] = {}
    for _, refused in errors:
        sorts.setdefault(_SORTS.get(refused.refusal, 0), []).append(refused)
    return [
        Failure(
            message=f'node "{node}": ' + "; ".join(_refusal_text(refused, own) for refused in alike),
            retryable=alike[0].refusal not in _FINAL,
            node=node,
            refusal=alike[0].refusal,
        )
        for _, alike in sorted(sorts.items())
    ]


def _show_what_is_there(state: PassState, run: NodeRun) -> None:
    """Fields of the status go on to read what the node has, although it is not as declared."""
    there = [answer for answer in run.answers if answer is not None]
    if there:
        state.scope.variables[run.plan.id] = there if run.plan.node.is_collection else there[0]


def _refusal_text(refused: Refused, own: str) -> str:
    """What is said of a refused apply; `own` is the instance's ApplySet."""
    action = refused.action
    assert isinstance(action, Apply | Read)
    if isinstance(action, Read):
        return f"read {action.key}: {refused.message}"
    if refused.refusal in _CLAIMS:
        item = "" if action.index is None else f"collection item {action.index}: "
        return item + _claim_text(action.key, refused, own)
    if action.index is None:
        return f"apply {action.key}: {refused.message}"
    is_update = refused.refusal in _REJECTIONS and action.need is not Need.CREATE
    return f"item {_where(action.key)}: {'update rejected: ' if is_update else ''}{refused.message}"


def _claim_text(key: Key, refused: Refused, own: str) -> str:
    """Whose an object is that is not taken."""
    if refused.refusal is not Refusal.FOREIGN:
        return f"{key} existed before and {refused.message}: it is not adopted"
    return (
        f"resource belongs to a different ApplySet: {_where(key)} ({key.resource.gvk}) belongs to ApplySet "
        f'"{refused.message}", cannot reassign to "{own}"'
    )


def _where(key: Key) -> str:
    return f"{key.namespace}/{key.name}" if key.namespace else key.name


# The node's objects are shown


def _judge(state: PassState, run: NodeRun) -> Batches[list[Action]]:
    """Decide whether the node is ready."""
    unmet: NotReady | None = None
    value = state.scope.variables[run.plan.id]
    for found in readiness(run.plan, value, state.scope, state.plan.explainer):
        unmet = found
        if state.allowance.tired():
            yield [Pause()]
    if run.refused:
        run.is_shown_ready = unmet is None
        state.end(run, Ending.FAILED, why=run.refused)
    elif unmet is None:
        state.end(run, Ending.READY)
    else:
        run.expression = unmet.expression
        state.end(run, Ending.NOT_READY, why=unmet.why)
    return []


_TURNS: Final[Mapping[Stage, Callable[[PassState, NodeRun], Batches[list[Action]]]]] = {
    Stage.DUE: _decide,
    Stage.COVERED: _dispatch,
    Stage.SHOWN: _judge,
}
_ANSWERS: Final[Mapping[type[Action], Callable[[PassState, Result], None]]] = {
    PatchParent: _widened,
    WatchExternal: watched,
    Apply: _applied,
    Read: _applied,
}
