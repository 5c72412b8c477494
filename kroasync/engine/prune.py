"""The last phase of a pass: delete children that no node declares any more, then shrink the inventory.

The deletes go in waves of reverse order, as in a deletion: the order is stored on the children, and each wave starts
after the last one is gone. While an object hangs in its deletion, the later waves wait, over several passes if need be.
A pass prunes nothing while a node is unresolved: the objects that the node declares are not known.
"""

from collections.abc import Iterator, Sequence
from math import inf

from kroasync.engine.actions import Action, Delete, Done, Observed, Refusal, Refused, Result
from kroasync.engine.outcome import Change, ChangeKind, Failure, NodeState
from kroasync.engine.parent import patch, place
from kroasync.engine.passstate import Batches, PassState
from kroasync.engine.resolve import identity
from kroasync.model.applyset import Inventory

_UNRESOLVED = (NodeState.IN_PROGRESS, NodeState.DELETING, NodeState.ERROR)


def is_resolved(state: PassState) -> bool:
    """Whether all objects that the instance declares are known and applied."""
    return not state.found.failures and all(run.state not in _UNRESOLVED for run in state.by_position)


def prune(state: PassState) -> Batches[None]:
    """Delete the children that no node declares, as many waves as are gone at once."""
    # The UIDs of objects that were asked to go in this pass, and of those that are certainly gone.
    asked: set[str] = set()
    gone: set[str] = set()
    while True:
        left = [member for member in _leftovers(state) if member.uid not in gone]
        wave = max(map(_wave, left), default=inf)
        due: list[Action] = [
            Delete(node=member.node, key=member.key, uid=member.uid)
            for member in left
            if _wave(member) == wave and not member.deleting and member.uid not in asked
        ]
        if not due:
            return
        results = yield due
        asked.update(delete.uid for delete in due if isinstance(delete, Delete))
        refused = [result for result in results if not _deleted(state, result)]
        if refused:
            _leftovers(state)
            return
        gone.update(_gone(results))


def _wave(member: Observed) -> float:
    # An object without a valid order goes first: nothing is known of what reads it, or of what it reads.
    return member.apply_order if member.apply_order > 0 else inf


def _gone(results: Sequence[Result]) -> Iterator[str]:
    """The UIDs of objects that did not exist any more when they were to be deleted."""
    for result in results:
        if isinstance(result, Refused) and isinstance(result.action, Delete):
            yield result.action.uid


def _leftovers(state: PassState) -> list[Observed]:
    """The children that exist now and that no node declares."""
    membership, undeclared = state.membership(), _undeclared(state)
    state.found.strangers = membership.strangers(undeclared)
    state.found.leftovers = membership.members(undeclared)
    return state.found.leftovers


def _undeclared(state: PassState) -> list[Observed]:
    """The objects that are labelled as children of the instance and that no node declares."""
    declared = (state.owners, state.external)
    return [m for m in state.world.members() if not any(identity(m.key) in known for known in declared)]


def _deleted(state: PassState, result: Result) -> bool:
    """Record the result of a delete; False if the later waves must wait."""
    action, found = result.action, state.found
    assert isinstance(action, Delete)
    if isinstance(result, Done):
        found.changes.append(Change(kind=ChangeKind.DELETED, node=action.node, key=action.key))
    elif result.refusal is Refusal.CONFLICT:
        text = f"prune encountered UID conflicts; retrying: {action.key}: {result.message}"
        found.failures.append(Failure(message=text, retryable=True, refusal=result.refusal))
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
