"""The second phase of a pass, for external references: the pass only reads these objects of other owners.

A reference by name stands for one object, a selector for a list of objects. Both are watched, so that the World has the
objects and a change wakes the instance. If the watch does not exist yet, the pass requests it by an action.
"""

from collections.abc import Sequence

from kroasync.engine.actions import Action, Refused, Result, WatchExternal
from kroasync.engine.passstate import Ending, NodeRun, PassState, Stage
from kroasync.engine.plan import NodePlan
from kroasync.engine.resolve import identity, key_of, namespace_in
from kroasync.engine.scope import NodeFailure
from kroasync.engine.selectors import SelectorError, selector_text
from kroasync.graph.nodes import NodeType
from kroasync.model.objects import Obj, metadata


def read(state: PassState, run: NodeRun, obj: Obj) -> list[Action]:
    """Read the objects that the node's template refers to; returns the actions that it requests."""
    run.watch = _watch_of(state, run.plan, obj)
    objects = state.world.external(run.watch)
    if objects is None:
        run.go(Stage.SENT)
        return [run.watch]
    _show(state, run, objects)
    return []


def watched(state: PassState, result: Result) -> None:
    """Take the answer to a watch."""
    assert isinstance(result.action, WatchExternal)
    run = state.runs[result.action.node]
    if isinstance(result, Refused):
        what = "list external collection" if run.plan.node.is_collection else "read external reference"
        state.fail(run, f"failed to {what} {run.plan.id}: {result.message}", refused=result)
        return
    assert run.watch is not None
    _show(state, run, state.world.external(run.watch) or ())


def _watch_of(state: PassState, plan: NodePlan, obj: Obj) -> WatchExternal:
    node = plan.node
    if node.type is NodeType.EXTERNAL:
        key = key_of(plan, obj, state.ownership.parent.namespace)
        state.external.add(identity(key))
        return WatchExternal(node=plan.id, resource=node.resource, namespace=key.namespace, name=key.name)
    meta = metadata(obj)
    try:
        selector = selector_text(meta.get("selector"))
    except SelectorError as error:
        secret = any(expression.secret for expression in plan.expressions)
        why = "details withheld: it is made from a Secret" if secret else str(error)
        raise NodeFailure(f"invalid label selector for {plan.id}: {why}") from None
    namespace = namespace_in(plan, meta.get("namespace") or "") if node.resource.namespaced else ""
    return WatchExternal(node=plan.id, resource=node.resource, namespace=namespace, selector=selector)


def _show(state: PassState, run: NodeRun, objects: Sequence[Obj]) -> None:
    if run.plan.node.is_collection:
        state.show(run, list(objects))
    elif objects:
        state.show(run, objects[0])
    else:
        state.end(run, Ending.NOT_FOUND)
