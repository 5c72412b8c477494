"""The first phase of a pass: bring the instance's own metadata up to date before any child is written.

If finalizer, labels or inventory are not up to date, one patch updates them all. The new inventory covers the recorded
places, the places of existing children, and all places that are known for nodes that may be included. So most instances
need one patch in their whole life.
"""

from kroasync.cel import CelError
from kroasync.engine.actions import Pause, Refused
from kroasync.engine.expand import dimensions
from kroasync.engine.outcome import Failure, NodeState
from kroasync.engine.parent import ManagementError, patch, read_metadata
from kroasync.engine.passstate import Batches, PassState
from kroasync.engine.plan import NodePlan
from kroasync.engine.readiness import is_certainly_excluded
from kroasync.engine.scope import Compiled, NodeFailure, PendingData
from kroasync.model.applyset import Inventory, InventoryError, is_namespace


def manage(state: PassState) -> Batches[bool]:
    """Bring the metadata up to date; False if the pass ends here."""
    found = state.found
    try:
        current = read_metadata(state.plan, state.instance, state.ownership)
    except ManagementError as error:
        found.management_error = str(error)
        return False
    except InventoryError as error:
        found.failures.append(Failure(message=f"project failed: {error}", retryable=True))
        return False
    state.inventory, found.repair = current.recorded, current.repair
    if current.is_current:
        return True
    state.wanted = yield from potential(state)
    action = patch(state.plan, state.ownership, state.wanted, add_finalizer=not current.has_finalizer)
    (result,) = yield [action]
    if isinstance(result, Refused):
        found.management_error = result.message
        found.management_refusal = result.refusal
        return False
    if result.obj is not None:
        state.observe(result.obj)
    state.inventory = state.wanted
    return True


def potential(state: PassState) -> Batches[Inventory]:
    """The recorded places, the places of sealed children, and the places of nodes that may be included."""
    excluded: set[str] = set()
    places: list[tuple[str, str]] = []
    for run in state.by_position:
        if state.allowance.tired():
            yield [Pause()]
        plan = run.plan
        if (
            run.state is NodeState.SKIPPED
            or not excluded.isdisjoint(plan.node.dependencies)
            or is_certainly_excluded(plan, state.scope)
        ):
            excluded.add(plan.id)
        elif not plan.node.is_external and not _is_certainly_empty(state, plan):
            places.append((plan.node.resource.group_kind, _namespace_of(state, plan)))
    known = state.membership().places(state.world.members())
    return Inventory.of(places, state.ownership.parent.namespace).union(state.inventory).union(known)


def _is_certainly_empty(state: PassState, plan: NodePlan) -> bool:
    """Whether the instance alone shows that a collection has no items."""
    if not plan.dimensions or any(expression.references for _, expression in plan.dimensions):
        return False
    try:
        found = dimensions(plan, state.scope, limit=state.plan.options.max_collection_size)
    except (PendingData, NodeFailure):
        return False
    return not all(values for _, values in found)


def _namespace_of(state: PassState, plan: NodePlan) -> str:
    """The namespace of a node's objects if the instance alone determines it, otherwise empty."""
    namespace = plan.namespace
    if not plan.node.resource.namespaced or namespace is None:
        return ""
    if isinstance(namespace, Compiled):
        if namespace.references or namespace.is_iteration:
            return ""
        try:
            namespace = state.scope.json(namespace)
        except CelError:
            return ""
    return namespace if isinstance(namespace, str) and is_namespace(namespace) else ""
