"""cel-go's sets: functions that treat lists as sets."""

from typing import Any, Final

from kroasync.cel.decls import LibraryBuilder
from kroasync.cel.meter import Meter
from kroasync.cel.run.operations import contains

_library = LibraryBuilder("sets", doc="Lists as sets.", extra=True)


@_library.fn("sets.contains(list(A), list(A)) bool", example="sets.contains([1, 2, 3], [2, 3])", metered=True)
def _contains(values: list[Any], wanted: list[Any], *, budget: Meter) -> bool:
    budget.spend(len(wanted))
    return all(contains(item, values, budget) for item in wanted)


@_library.fn("sets.equivalent(list(A), list(A)) bool", example="sets.equivalent([1, 2, 2], [2, 1])", metered=True)
def _equivalent(left: list[Any], right: list[Any], *, budget: Meter) -> bool:
    return _contains(left, right, budget=budget) and _contains(right, left, budget=budget)


@_library.fn("sets.intersects(list(A), list(A)) bool", example="sets.intersects([1, 2], [2, 3])", metered=True)
def _intersects(left: list[Any], right: list[Any], *, budget: Meter) -> bool:
    budget.spend(len(right))
    return any(contains(item, left, budget) for item in right)


LIBRARY: Final = _library.build()
