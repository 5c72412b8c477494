"""Lists that are sets or maps in their schema (`x-kubernetes-list-type`): equality ignores order, `+` merges.

As in Kubernetes the left operand decides: for a set `+` appends what is missing, for a map list an element of the right
operand replaces the one with the same keys, or is appended.
"""

from collections.abc import Callable
from typing import Any, TypeAlias

from kroasync.cel.decls import Budget
from kroasync.cel.operations import PLAIN, add, contains, equal, type_name

_Equality: TypeAlias = Callable[[Any, Any, Budget], bool]
_Addition: TypeAlias = Callable[[Any, Any, Budget], Any]


def equality(kind: str, keys: tuple[str, ...]) -> _Equality:
    """`==` for a left operand of this kind ("set" or "map")."""

    def unordered_equal(left: Any, right: Any, budget: Budget) -> bool:
        if left.__class__ is not list or right.__class__ is not list:
            return equal(left, right, budget)
        if len(left) != len(right):
            return False
        if kind == "set":
            return all(contains(item, right, budget) for item in left) and all(
                contains(item, left, budget) for item in right
            )
        by_key = {_key(item, keys): item for item in right}
        return all(_key(item, keys) in by_key and equal(item, by_key[_key(item, keys)], budget) for item in left)

    return unordered_equal


def addition(kind: str, keys: tuple[str, ...]) -> _Addition:
    """`+` for a left operand of this kind."""

    def merge(left: Any, right: Any, budget: Budget) -> Any:
        if left.__class__ is not list or right.__class__ is not list:
            return add(left, right, budget)
        budget.spend(len(left) + len(right))
        result = list(left)
        if kind == "set":
            for item in right:
                if not contains(item, result, budget):
                    result.append(item)
            return result
        places = {_key(item, keys): place for place, item in enumerate(result)}
        for item in right:
            place = places.setdefault(_key(item, keys), len(result))
            if place == len(result):
                result.append(item)
            else:
                result[place] = item
        return result

    return merge


def _key(item: Any, keys: tuple[str, ...]) -> tuple[str, ...]:
    """The key values of an element as comparable text; an element that is no object stands for itself."""
    return tuple(_text(item.get(key)) for key in keys) if item.__class__ is dict else (_text(item),)


def _text(value: Any) -> str:
    # The API server admits scalars only; the text of anything else could be without bounds.
    return repr(value) if value.__class__ in PLAIN else type_name(value)
