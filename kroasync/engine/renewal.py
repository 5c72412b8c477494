"""Recreate the children whose immutable fields are declared anew, between the answers of a batch and the next one.

The instance lists the children first, in the version that the pass saw: if that is refused, nothing is deleted
(`engine.recreation`). Each delete has the UID that was listed and lets the dependents of the child go first. The node
then waits for the deletion like for any other, and a later pass creates the child.
"""

from collections.abc import Sequence

from kroasync.engine.actions import Action, Apply, Delete, Observed, PatchParent, Refusal, Refused, Result
from kroasync.engine.orphans import is_orphaned
from kroasync.engine.outcome import Change, ChangeKind
from kroasync.engine.passstate import Batches, NodeRun, PassState
from kroasync.engine.recreation import Recreated, obstacle
from kroasync.model import names
from kroasync.model.policies import Update

# A message names this many fields and counts the rest.
_NAMED = 5


def is_renewed(run: NodeRun) -> bool:
    """Whether children of the node may be recreated, since only immutable fields stand in the way."""
    return any(_is_renewable(run, refused) for _, refused in run.errors)


def renew(state: PassState, runs: Sequence[NodeRun]) -> Batches[None]:
    """Delete the children that are to be created anew. What is not deleted stays an error of its node."""
    listed = Recreated.of(state.instance, state.plan.graph.hash)
    due: list[tuple[NodeRun, Refused, Observed]] = []
    wanted = listed
    for run in runs:
        for refused in [refused for _, refused in run.errors if _is_renewable(run, refused)]:
            found, why = _checked(state, run, refused, wanted)
            if found is None or why is not None:
                _keep(run, refused, why=f"{why}: {refused.message}")
                continue
            wanted = wanted.adding(found.key, found.uid)
            due.append((run, refused, found))
    if wanted != listed:
        (result,) = yield [_remembering(state, wanted)]
        if isinstance(result, Refused):
            for run, refused, _ in due:
                why = f"it is not recreated, as the instance cannot note it: {result.message}"
                _keep(run, refused, why=why, refusal=result.refusal)
            return
        if result.obj is not None:
            state.instance = result.obj
    deletes: list[Action] = [_delete(run, found) for run, _, found in due]
    for (run, refused, found), result in zip(due, (yield deletes) if deletes else (), strict=True):
        _deleted(state, run, refused, found, result)


def _is_renewable(run: NodeRun, refused: Refused) -> bool:
    """Only of children: nothing is deleted in order to be adopted."""
    is_of_child = isinstance(refused.action, Apply) and refused.action.force
    return is_of_child and bool(refused.immutable) and run.policies.update is Update.RECREATE


def _checked(state: PassState, run: NodeRun, refused: Refused, listed: Recreated) -> tuple[Observed | None, str | None]:
    """The child as last seen, and why it is not recreated."""
    action = refused.action
    assert isinstance(action, Apply)
    found = state.world.find(action.key)
    if found is None or not state.membership().has(found):
        return None, "it is not recreated, as nothing proves that it is a resource of this instance"
    kept = found.orphaned or is_orphaned(action.obj)
    return found, obstacle(action.key, run.policies, listed, found.uid, is_orphaned=kept)


def _remembering(state: PassState, recreated: Recreated) -> PatchParent:
    version = str(state.instance["metadata"].get("resourceVersion") or "")
    return PatchParent(labels={}, annotations={names.ANNOTATION_RECREATED: recreated.annotation}, version=version)


def _delete(run: NodeRun, found: Observed) -> Delete:
    return Delete(node=run.plan.id, key=found.key, uid=found.uid, propagation="Foreground")


def _deleted(state: PassState, run: NodeRun, refused: Refused, found: Observed, result: Result) -> None:
    if isinstance(result, Refused):
        why = f"it cannot be deleted to be recreated: {result.message}: {refused.message}"
        _keep(run, refused, why=why, refusal=result.refusal)
        return
    run.errors = [error for error in run.errors if error[1] is not refused]
    run.deleting = run.deleting or found.key
    more = f" and {len(refused.immutable) - _NAMED} more" if len(refused.immutable) > _NAMED else ""
    state.found.recreated[found.key] = "; ".join(refused.immutable[:_NAMED]) + more
    state.found.changes.append(Change(kind=ChangeKind.RECREATED, node=run.plan.id, key=found.key))


def _keep(run: NodeRun, refused: Refused, *, why: str, refusal: Refusal = Refusal.INVALID) -> None:
    """Let the child be an error, and say why it is not recreated. `refusal` decides when that is tried again."""
    kept = Refused(action=refused.action, refusal=refusal, message=why)
    run.errors = [(index, kept if error is refused else error) for index, error in run.errors]
