"""No two nodes of an instance declare the same object.

What can be told of identities is looked at before the first write of a pass, then node by node. Once two nodes are
known to declare the same object, nothing more is written: which of them would win depends on chance.

A name may be made of optional data of another node that is missing so far. Such a placeholder is no duplicate: the node
waits.
"""

from collections.abc import Sequence

from kroasync.cel import syntax as ast
from kroasync.engine.actions import Pause
from kroasync.engine.expand import keys
from kroasync.engine.outcome import Failure, NodeState
from kroasync.engine.passstate import Batches, NodeRun, PassState
from kroasync.engine.readiness import is_certainly_included
from kroasync.engine.resolve import identity
from kroasync.engine.scope import Compiled, NodeFailure, PendingData, Scope
from kroasync.model.objects import Key

DUPLICATE = "duplicate resource in graph"


def claim(state: PassState, run: NodeRun) -> None:
    """The node declares its objects from now on; raises NodeFailure or PendingData if another node declares one."""
    for item in run.desired:
        owner = state.owners.get(item.identity)
        if owner is None:
            continue
        run.desired = []
        if _is_placeholder(state, run) or _is_placeholder(state, state.runs[owner]):
            raise PendingData(
                f'node "{run.plan.id}": {_described(item.key)} is that of node "{owner}", too, while optional data '
                "that their names are made of is missing (data pending)"
            )
        conflict = _conflict(run.plan.id, owner, item.key)
        state.found.duplicates.append(conflict)
        raise NodeFailure(f"{DUPLICATE}: {conflict}")
    for item in run.desired:
        state.owners[item.identity] = run.plan.id


def foresee(state: PassState) -> Batches[None]:
    """Find duplicates among all nodes whose turn has come or will come, as far as their identities can be told now."""
    owners, taking_part = dict(state.owners), set[str]()
    # What an object is called is known before the object is there.
    scope = Scope(dict(state.scope.variables), state.allowance)
    for run in state.by_position:
        if not _takes_part(state, run, taking_part):
            continue
        taking_part.add(run.plan.id)
        if run.desired:
            _name(scope, run, [item.key for item in run.desired])
            continue
        if run.plan.node.is_external or not _is_named(state, run):
            continue
        try:
            found = yield from state.paced(keys(run.plan, scope, state.ownership, limit=_limit(state)))
        except (PendingData, NodeFailure):
            continue
        _name(scope, run, found)
        if _is_placeholder(state, run):
            continue
        for key in found:
            owner = owners.setdefault(identity(key), run.plan.id)
            if owner != run.plan.id and not _is_placeholder(state, state.runs[owner]):
                _report(state, run, owner, key)
                break
        if state.allowance.tired():
            yield [Pause()]


def _report(state: PassState, run: NodeRun, owner: str, key: Key) -> None:
    conflict = _conflict(run.plan.id, owner, key)
    state.found.duplicates.append(conflict)
    failure = Failure(message=f"{DUPLICATE}: {conflict}", retryable=False, node=run.plan.id)
    state.found.failures.append(failure)


def _limit(state: PassState) -> int:
    return state.plan.options.max_collection_size


def _takes_part(state: PassState, run: NodeRun, taking_part: set[str]) -> bool:
    """Whether the node is certainly not left out, and did not fail; `taking_part` has those before it that are not."""
    if run.state in (NodeState.SKIPPED, NodeState.ERROR):
        return False
    if run.desired or run.state is NodeState.SYNCED:
        return True
    return taking_part.issuperset(run.plan.node.dependencies) and is_certainly_included(run.plan, state.scope)


def _name(scope: Scope, run: NodeRun, found: Sequence[Key]) -> None:
    """Expressions see how the node's object is called, as long as there is none."""
    if run.plan.id in scope.variables or run.plan.node.is_collection or not found:
        return
    (key,) = found
    scope.variables[run.plan.id] = {
        "metadata": {"name": key.name, "namespace": key.namespace} if key.namespace else {"name": key.name}
    }


def _is_named(state: PassState, run: NodeRun) -> bool:
    """Whether what its names are made of is as it will stay: nodes that are ready, and names of others."""
    return all(
        state.runs[reference].state is NodeState.SYNCED or _reads_names(expression, reference)
        for expression in run.plan.naming
        for reference in expression.references
    )


def _reads_names(expression: Compiled, node: str) -> bool:
    """Whether all that the expression reads of a node is how its object is called."""
    parts = tuple(ast.walk(expression.program.ast.root))
    return sum(_is_name_of(part, node) for part in parts) == sum(_is(part, node) for part in parts)


def _is_name_of(part: ast.Expr, node: str) -> bool:
    match part:
        case ast.Select(field="name" | "namespace", operand=ast.Select(field="metadata", operand=operand)):
            return _is(operand, node)
    return False


def _is(part: ast.Expr, node: str) -> bool:
    return isinstance(part, ast.Ident) and part.name == node


def _is_placeholder(state: PassState, run: NodeRun) -> bool:
    explainer, variables = state.plan.explainer, state.scope.variables
    return any(explainer.lacks(e, variables, state.scope.allowance) for e in run.plan.naming if e.references)


def _conflict(node: str, owner: str, key: Key) -> str:
    return f'node "{node}" conflicts with node "{owner}" for {_described(key)}'


def _described(key: Key) -> str:
    resource = key.resource
    return "/".join(part for part in (resource.api_version, resource.kind, key.namespace, key.name) if part)
