"""Lists that are sets or maps in their schema (`x-kubernetes-list-type`): equality ignores order, `+` merges.

As in Kubernetes, the left operand decides. For a set, `+` appends the elements that are missing. For a map list, each
element of the right operand replaces the element with the same keys, or is appended.
"""

from collections.abc import Callable
from typing import Any, TypeAlias

from kroasync.cel.meter import COMPARED_PER_STEP, Meter
from kroasync.cel.run.operations import PLAIN, add, contains, equal, type_name
from kroasync.cel.values import size_of

_Equality: TypeAlias = Callable[[Any, Any, Meter], bool]
_Addition: TypeAlias = Callable[[Any, Any, Meter], Any]


def equality(kind: str, keys: tuple[str, ...]) -> _Equality:
    """`==` for a left operand of this kind ("set" or "map")."""

    def unordered_equal(left: Any, right: Any, budget: Meter) -> bool:
        if left.__class__ is not list or right.__class__ is not list:
            return equal(left, right, budget)
        if len(left) != len(right):
            return False
        if kind == "set":
            return all(contains(item, right, budget) for item in left) and all(
                contains(item, left, budget) for item in right
            )
        by_key = {_key(item, keys, budget): item for item in right}
        for item in left:
            key = _key(item, keys, budget)
            if key not in by_key or not equal(item, by_key[key], budget):
                return False
        return True

    return unordered_equal


def addition(kind: str, keys: tuple[str, ...]) -> _Addition:
    """`+` for a left operand of this kind."""

    def merge(left: Any, right: Any, budget: Meter) -> Any:
        if left.__class__ is not list or right.__class__ is not list:
            return add(left, right, budget)
        budget.spend(len(left) + len(right))
        result = list(left)
        if kind == "set":
            for item in right:
                if not contains(item, result, budget):
                    result.append(item)
            return result
        places = {_key(item, keys, budget): place for place, item in enumerate(result)}
        for item in right:
            place = places.setdefault(_key(item, keys, budget), len(result))
            if place == len(result):
                result.append(item)
            else:
                result[place] = item
        return result

    return merge


def _key(item: Any, keys: tuple[str, ...], budget: Meter) -> tuple[tuple[str, Any], ...]:
    """The key values of an element with their types; an element that is not an object is its own key."""
    values = [item.get(key) for key in keys] if item.__class__ is dict else [item]
    budget.spend(2 + sum(2 + size_of(value) // COMPARED_PER_STEP for value in values))
    # The API server allows only scalars; other values could have any size.
    return tuple((type_name(value), value if value.__class__ in PLAIN else None) for value in values)
