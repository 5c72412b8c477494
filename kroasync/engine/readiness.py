"""includeWhen and readyWhen: decide whether a node is included, and whether its objects are ready.

A node without readyWhen is ready as soon as it exists; a collection is ready when all its items are. Missing data means
"not yet" for readiness. For inclusion it means "not yet" only if the expression reads other nodes.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from kroasync.cel import CelError, PendingError
from kroasync.engine.explain import Explainer
from kroasync.engine.plan import NodePlan
from kroasync.engine.scope import Compiled, NodeFailure, PendingData, Scope, truth


@dataclass(frozen=True, slots=True, kw_only=True)
class NotReady:
    """An expression that is not true yet, and why."""

    expression: str
    why: str


def is_included(plan: NodePlan, scope: Scope, not_ready: Mapping[str, str]) -> bool:
    """The conjunction of includeWhen, in order. `not_ready` says why nodes that the expressions read are not ready.

    Raises PendingData or NodeFailure.
    """
    for expression in plan.include_when:
        for reference in expression.references:
            if reference in not_ready:
                raise PendingData(
                    f'node "{plan.id}": includeWhen dependency "{reference}" not ready: '
                    f"{not_ready[reference]} (data pending)",
                    expression=expression.text,
                )
        if not _include(plan, expression, scope):
            return False
    return True


def _include(plan: NodePlan, expression: Compiled, scope: Scope) -> bool:
    try:
        holds = truth(scope.value(expression))
    except CelError as error:
        text = f'node "{plan.id}": includeWhen "{expression.text}": {expression.failure_text(error)}'
        if isinstance(error, PendingError) and expression.references:
            raise PendingData(f"{text} ({expression.pending_text(error)})", expression=expression.text) from None
        raise NodeFailure(text, expression=expression.text) from None
    if holds is None:
        raise NodeFailure(
            f'node "{plan.id}": includeWhen "{expression.text}" must return bool', expression=expression.text
        )
    return holds


def is_certainly_excluded(plan: NodePlan, scope: Scope) -> bool:
    """Whether an includeWhen that reads only the instance is false. An error counts as unknown."""
    for expression in plan.include_when:
        if not expression.references:
            try:
                if truth(scope.value(expression)) is False:
                    return True
            except CelError:
                continue
    return False


def is_certainly_included(plan: NodePlan, scope: Scope) -> bool:
    """True if every includeWhen reads the instance alone, and is true."""
    try:
        return all(not e.references and truth(scope.value(e)) is True for e in plan.include_when)
    except CelError:
        return False


def readiness(plan: NodePlan, value: Any, scope: Scope, explainer: Explainer) -> Iterator[NotReady | None]:
    """Yield None for each ready item, and last the first item that is not ready, if there is one.

    `value` is the node's object, or the list of a collection. Raises NodeFailure.
    """
    if not plan.ready_when:
        return
    variables = dict(scope.variables)
    variables[plan.id] = value
    if not plan.node.ready_each:
        yield _first_unmet(plan, scope, variables, explainer)
        return
    for index, item in enumerate(value if isinstance(value, list) else [value]):
        variables["each"] = item
        unmet = _first_unmet(plan, scope, variables, explainer)
        if unmet is not None:
            yield NotReady(expression=unmet.expression, why=f"item {index}: {unmet.why}")
            return
        yield None


def _first_unmet(plan: NodePlan, scope: Scope, variables: Mapping[str, Any], explainer: Explainer) -> NotReady | None:
    for expression in plan.ready_when:
        try:
            holds = truth(scope.value_with(expression, variables))
        except PendingError as error:
            return NotReady(expression=expression.text, why=expression.failure_text(error))
        except CelError as error:
            text = f'node "{plan.id}": failed to evaluate readyWhen expression: {expression.failure_text(error)}'
            raise NodeFailure(text, expression=expression.text) from None
        if holds is None:
            raise NodeFailure(
                f'node "{plan.id}": readyWhen "{expression.text}" must return bool',
                expression=expression.text,
            )
        if not holds:
            why = explainer.why_false(expression, variables, scope.allowance)
            return NotReady(expression=expression.text, why=f"{expression.shown}: {why}")
    return None
