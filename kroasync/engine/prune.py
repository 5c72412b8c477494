"""The last phase of a pass: delete children that no node declares any more, then shrink the inventory.
Children whose policy is Orphaned are released instead (`engine.orphans`). What is more than a collection may lose at
once is held, and the later waves with it (`engine.prune_guard`).

The deletes go in waves of reverse order, which is stored on the children. A wave starts when those before it are gone.
A pass prunes nothing while a node is unresolved: the objects that the node declares are not known.
"""

from collections.abc import Iterable, Mapping
from math import inf

from kroasync.engine.actions import Action, Delete, Done, Observed, PatchParent, Refusal, Release, Result
from kroasync.engine.labels import names_of_node
from kroasync.engine.orphans import removal
from kroasync.engine.outcome import Change, ChangeKind, Failure, NodeState
from kroasync.engine.parent import patch, place
from kroasync.engine.passstate import Batches, NodeRun, PassState
from kroasync.engine.policy_values import resolved
from kroasync.engine.prune_guard import HeldPrune, LimitedCollection, held_prunes, is_released
from kroasync.engine.resolve import identity
from kroasync.model import names
from kroasync.model.applyset import Inventory
from kroasync.model.objects import Key
from kroasync.model.policies import Deletion

_UNRESOLVED = (NodeState.IN_PROGRESS, NodeState.DELETING, NodeState.ERROR)


def is_resolved(state: PassState) -> bool:
    """Whether all objects that the instance declares are known and applied."""
    return not state.found.failures and all(run.state not in _UNRESOLVED for run in state.by_position)


def prune(state: PassState) -> Batches[None]:
    """Delete the children that no node declares."""
    waves: dict[float, list[Observed]] = {}
    membership, undeclared = state.membership(), _undeclared(state)
    state.found.strangers = membership.strangers(undeclared)
    members = membership.members(undeclared)
    for member in members:
        state.found.leftovers.append(member.key)
        # What says no order goes first: nothing is known of what reads it, or of what it reads.
        waves.setdefault(member.apply_order or inf, []).append(member)
    removals, held = _decided(state, members)
    is_allowed = is_released(state.instance)
    state.found.held = () if is_allowed else held
    for wave in sorted(waves, reverse=True):
        is_held = _is_in(held, waves[wave])
        if is_held and is_allowed:
            held = yield from _used_up(state, held)
            state.found.held = held
            is_allowed, is_held = False, bool(held)
        spared = {key for one in held for key in one.objects}
        deletes: list[Action] = [
            action for m in waves[wave] if m.key not in spared and (action := removals[m.key]) is not None
        ]
        results = (yield deletes) if deletes else ()
        failed = [result for result in results if not _deleted(state, result)]
        state.found.retiring = [m for m in waves[wave] if _is_going(state, m)]
        if failed or state.found.retiring or is_held:
            return


def _decided(
    state: PassState, members: list[Observed]
) -> tuple[Mapping[Key, Delete | Release | None], tuple[HeldPrune, ...]]:
    """How each undeclared member leaves the instance, and which of them are more than their collection may lose."""
    if not members:
        return {}, ()
    runs = {name: run for run in state.by_position for name in names_of_node(run.plan.id)}
    keeps = {node: node in runs and _is_kept(state, runs[node]) for node in {member.node for member in members}}
    removals = [(member, removal(member, keeps=keeps[member.node])) for member in members]
    collections = [one for run in state.by_position if (one := _limited(run)) is not None]
    return {member.key: action for member, action in removals}, held_prunes(collections, removals)


def _is_kept(state: PassState, run: NodeRun) -> bool:
    """Whether the node's policy is to keep objects. An excluded node has not computed its policies."""
    policies, _ = resolved(run.plan.policies, run.plan.computed_policies, state.scope)
    return policies.deletion is Deletion.ORPHAN


def _limited(run: NodeRun) -> LimitedCollection | None:
    limit = run.plan.node.max_prune
    return None if limit is None else LimitedCollection(node=run.plan.id, limit=limit, declared=len(run.desired))


def _is_in(held: Iterable[HeldPrune], wave: Iterable[Observed]) -> bool:
    return not {key for one in held for key in one.objects}.isdisjoint(member.key for member in wave)


def _used_up(state: PassState, held: tuple[HeldPrune, ...]) -> Batches[tuple[HeldPrune, ...]]:
    """Take the annotation that allows held prunes from the instance before it is used: it allows them once, whatever
    happens after it. Returns what is still held.
    """
    (result,) = yield [PatchParent(labels={}, annotations={names.ANNOTATION_ALLOW_PRUNE: None})]
    if isinstance(result, Done):
        return ()
    text = f"failed to remove the annotation {names.ANNOTATION_ALLOW_PRUNE} from the instance: {result.message}"
    state.found.failures.append(Failure(message=text, retryable=True, refusal=result.refusal))
    return held


def _is_going(state: PassState, member: Observed) -> bool:
    """Whether the member is still there after its deletion: what had nothing to wait for is gone without a trace."""
    found = state.world.find(member.key)
    return found is not None and (found.uid, found.part_of, found.deleting) == (member.uid, member.part_of, True)


def _undeclared(state: PassState) -> list[Observed]:
    """The objects that are labelled as children of the instance and that no node declares."""
    declared = (state.owners, state.external)
    return [m for m in state.world.members() if not any(identity(m.key) in known for known in declared)]


def _deleted(state: PassState, result: Result) -> bool:
    """Record the result of a delete or release; False if the later waves must wait."""
    action, found = result.action, state.found
    assert isinstance(action, Delete | Release)
    if isinstance(result, Done):
        kind = ChangeKind.RELEASED if isinstance(action, Release) else ChangeKind.DELETED
        found.changes.append(Change(kind=kind, node=action.node, key=action.key))
    elif result.refusal is Refusal.CONFLICT:
        text = f"prune encountered UID conflicts; retrying: {action.key}: {result.message}"
        found.failures.append(Failure(message=text, retryable=True, refusal=result.refusal))
        # Another object has the name, or what decides about this one changed.
        known = state.world.find(action.key)
        return known is None or known.uid != action.uid
    elif result.refusal is not Refusal.MISSING:
        text = f"prune {action.key}: {result.message}"
        found.failures.append(Failure(message=text, retryable=True, refusal=result.refusal))
        return False
    return True


def shrink(state: PassState) -> Batches[None]:
    """Remove kinds and namespaces without members from the inventory, except kinds out of sight. A refused patch is
    harmless: the inventory stays a superset.
    """
    if state.found.leftovers or state.found.failures:
        return
    places = [place(item) for run in state.by_position for item in run.desired]
    remaining = Inventory.of(places, state.ownership.parent.namespace)
    unseen = state.inventory.group_kinds & state.world.unseen()
    if unseen:
        remaining = remaining.union(Inventory(group_kinds=unseen, namespaces=state.inventory.namespaces))
    if remaining != state.inventory:
        yield [patch(state.plan, state.ownership, remaining)]
