"""forEach: the cartesian product of its dimensions, one filled template per combination.

The first dimension is the outermost loop. The size is checked before any object is built, so a huge product costs
nothing.
"""

from collections.abc import Iterator, Mapping
from itertools import product
from typing import Any

from kroasync.cel import OMIT
from kroasync.engine.plan import NodePlan
from kroasync.engine.resolve import Desired, Ownership, desired, evaluated, evaluated_with, filling, key_of
from kroasync.engine.scope import Compiled, NodeFailure, Scope
from kroasync.model.objects import Key
from kroasync.model.policies import Deletion


def expand(
    plan: NodePlan, scope: Scope, ownership: Ownership, deletion: Deletion, *, limit: int
) -> Iterator[Desired | None]:
    """Yield the objects of a collection in order, and None whenever the pass is tired.

    Raises PendingData, or NodeFailure on limits and, after the last one, repeated identities.
    """
    combinations = dimensions(plan, scope, limit=limit)
    size = 1
    for _, values in combinations:
        size *= len(values)
    items: list[Desired] = []
    for index, variables in enumerate(_scopes(combinations, scope.variables)):
        obj = yield from filling(plan, scope, variables)
        items.append(desired(plan, obj, ownership, deletion, index=index, size=size))
        yield items[-1]
    _refuse_repeated(plan, items)


def keys(plan: NodePlan, scope: Scope, ownership: Ownership, *, limit: int) -> Iterator[Key | None]:
    """The identities of the objects of any node, by its names alone, with a None wherever the pass is tired.

    Raises PendingData or NodeFailure.
    """
    combinations = dimensions(plan, scope, limit=limit)
    for variables in _scopes(combinations, scope.variables):
        meta = {"name": _named(plan, plan.name, scope, variables)}
        meta["namespace"] = _named(plan, plan.namespace, scope, variables)
        yield key_of(plan, {"metadata": meta}, ownership.parent.namespace)


def _named(plan: NodePlan, part: Compiled | str | None, scope: Scope, variables: Mapping[str, Any]) -> Any:
    if not isinstance(part, Compiled):
        return part
    found = evaluated_with(plan.id, part, scope, variables) if part.is_iteration else evaluated(plan.id, part, scope)
    return None if found is OMIT else found


def dimensions(plan: NodePlan, scope: Scope, *, limit: int) -> list[tuple[str, list[Any]]]:
    """The values of each dimension; raises NodeFailure if their product is above `limit`."""
    found: list[tuple[str, list[Any]]] = []
    for name, expression in plan.dimensions:
        values = evaluated(plan.id, expression, scope)
        if not isinstance(values, list):
            got = "null" if values is None else type(values).__name__
            raise NodeFailure(f'node "{plan.id}": forEach "{name}": {expression.shown} returned {got}, expected list')
        found.append((name, values))
    if not all(values for _, values in found):
        return [(name, []) for name, _ in found]
    size = 1
    for _, values in found:
        size *= len(values)
        if size > limit:
            raise NodeFailure(
                f'node "{plan.id}": collection size of {size} is over the maximum collection size of {limit}'
            )
    return found


def _scopes(combinations: list[tuple[str, list[Any]]], variables: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    names = [name for name, _ in combinations]
    scope = dict(variables)
    for values in product(*(values for _, values in combinations)):
        scope.update(zip(names, values, strict=True))
        yield scope


def _refuse_repeated(plan: NodePlan, items: list[Desired]) -> None:
    seen: set[tuple[str, str]] = set()
    for item in items:
        place = (item.key.namespace, item.key.name)
        if place in seen:
            resource = plan.node.resource
            what = f"{resource.group}/{resource.version}/{resource.kind}/{item.key.namespace}/{item.key.name}"
            raise NodeFailure(f'node "{plan.id}" identity collision: duplicate identity: {what}')
        seen.add(place)
