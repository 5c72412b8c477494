"""kro's `merge` and `deepMerge`. They do not change the operands; the results share the operands' values."""

from typing import Any, Final

from kroasync.cel.decls import LibraryBuilder
from kroasync.cel.errors import OverloadError
from kroasync.cel.meter import Meter

_library = LibraryBuilder("maps", doc="Merging maps.")


@_library.fn(
    "map(K, V).merge(map(K, V)) map(K, V)",
    example="{'a': 1}.merge({'a': 2, 'b': 2}) == {'a': 2, 'b': 2}",
    doc="The entries of both maps; the argument's entries win. Both maps have the same key and value types.",
    metered=True,
)
def _merge(left: dict[Any, Any], right: dict[Any, Any], *, budget: Meter) -> dict[Any, Any]:
    budget.spend(len(left) + len(right))
    return {**left, **right}


@_library.fn(
    "dyn.deepMerge(dyn) dyn",
    example="{'a': {'x': 1, 'y': 2}}.deepMerge({'a': {'y': 3}}) == {'a': {'x': 1, 'y': 3}}",
    doc="Merges maps at every depth; the argument's lists and scalars replace the receiver's.",
    metered=True,
)
def _deep_merge(left: Any, right: Any, *, budget: Meter) -> dict[Any, Any]:
    if type(left) is not dict or type(right) is not dict:
        raise OverloadError("no such overload: deepMerge takes two maps")
    budget.spend(len(left) + len(right))
    merged: dict[Any, Any] = dict(left)
    # Pairs of a target map and a source map. A loop instead of recursion, because data may be nested deeply.
    pending = [(merged, right)]
    while pending:
        target, source = pending.pop()
        for key, value in source.items():
            present = target.get(key)
            if type(present) is dict and type(value) is dict:
                budget.spend(len(present) + len(value))
                copy = dict(present)
                target[key] = copy
                pending.append((copy, value))
            else:
                target[key] = value
    return merged


LIBRARY: Final = _library.build()
