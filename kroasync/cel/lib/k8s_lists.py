"""Kubernetes' list functions: order, sums and extremes of comparable elements, and positions of all elements."""

from collections.abc import Callable
from functools import reduce
from itertools import pairwise
from typing import Any, Final

from kroasync.cel.decls import LibraryBuilder
from kroasync.cel.errors import ValueError_
from kroasync.cel.meter import Meter
from kroasync.cel.run.operations import add, equal, greater, less
from kroasync.cel.values import Duration, UInt

# Comparable element types, with three values of each in ascending order.
_COMPARABLE: Final = {
    "int": ("1", "2", "3"),
    "uint": ("1u", "2u", "3u"),
    "double": ("1.5", "2.5", "3.5"),
    "bool": ("false", "false", "true"),
    "duration": ("duration('1s')", "duration('2s')", "duration('3s')"),
    "timestamp": (
        "timestamp('2020-01-01T00:00:00Z')",
        "timestamp('2021-01-01T00:00:00Z')",
        "timestamp('2022-01-01T00:00:00Z')",
    ),
    "string": ("'a'", "'b'", "'c'"),
    "bytes": ("b'a'", "b'b'", "b'c'"),
}
# Summable element types, with the sum of no elements and the sum of the two smallest values above.
_SUMMABLE: Final[dict[str, tuple[Any, str]]] = {
    "int": (0, "3"),
    "uint": (UInt(0), "3u"),
    "double": (0.0, "4.0"),
    "duration": (Duration(0), "duration('3s')"),
}

# The cost of comparing or adding two elements.
_COMPARING: Final = 2

_library = LibraryBuilder("k8s lists", doc="Order, sums, extremes and positions in lists.")


def _is_sorted(values: list[Any], *, budget: Meter) -> bool:
    budget.spend(_COMPARING * (2 + len(values)))
    return not any(greater(a, b, budget) for a, b in pairwise(values))


def _smallest(values: list[Any], *, budget: Meter) -> Any:
    return _best("min", values, budget, lambda best, value: greater(best, value, budget))


def _largest(values: list[Any], *, budget: Meter) -> Any:
    return _best("max", values, budget, lambda best, value: less(best, value, budget))


def _best(name: str, values: list[Any], budget: Meter, is_worse: Callable[[Any, Any], bool]) -> Any:
    budget.spend(_COMPARING * (2 + len(values)))
    if not values:
        raise ValueError_(f"{name} called on empty list")
    best = values[0]
    for value in values[1:]:
        if is_worse(best, value):
            best = value
    return best


def _sum_from(zero: Any) -> Callable[..., Any]:
    def total(values: list[Any], *, budget: Meter) -> Any:
        budget.spend(_COMPARING * (2 + len(values)))
        return reduce(add, values) if values else zero

    return total


for _type, (_low, _middle, _high) in _COMPARABLE.items():
    _library.fn(
        f"list({_type}).isSorted() bool",
        example=f"[{_low}, {_middle}, {_high}].isSorted() && ![{_high}, {_low}].isSorted()",
        doc="Whether the elements are in ascending order.",
        metered=True,
    )(_is_sorted)
for _type, (_zero, _total) in _SUMMABLE.items():
    _library.fn(
        f"list({_type}).sum() {_type}",
        example=f"[{_COMPARABLE[_type][0]}, {_COMPARABLE[_type][1]}].sum() == {_total}",
        doc="The sum; zero for an empty list.",
        metered=True,
    )(_sum_from(_zero))
for _type, (_low, _middle, _high) in _COMPARABLE.items():
    _library.fn(
        f"list({_type}).min() {_type}",
        example=f"[{_high}, {_low}, {_middle}].min() == {_low}",
        doc="The smallest element; an error for an empty list.",
        metered=True,
    )(_smallest)
for _type, (_low, _middle, _high) in _COMPARABLE.items():
    _library.fn(
        f"list({_type}).max() {_type}",
        example=f"[{_low}, {_high}, {_middle}].max() == {_high}",
        doc="The largest element; an error for an empty list.",
        metered=True,
    )(_largest)


@_library.fn(
    "list(A).indexOf(A) int",
    example="['a', 'b', 'a'].indexOf('a') == 0 && ['a'].indexOf('b') == -1",
    doc="The position of the first equal element, or -1.",
    metered=True,
)
def _index_of(values: list[Any], item: Any, *, budget: Meter) -> int:
    for position, value in enumerate(values):
        budget.spend(1)
        if equal(value, item, budget):
            return position
    return -1


@_library.fn(
    "list(A).lastIndexOf(A) int",
    example="['a', 'b', 'a'].lastIndexOf('a') == 2",
    doc="The position of the last equal element, or -1.",
    metered=True,
)
def _last_index_of(values: list[Any], item: Any, *, budget: Meter) -> int:
    for position in range(len(values) - 1, -1, -1):
        budget.spend(1)
        if equal(values[position], item, budget):
            return position
    return -1


LIBRARY: Final = _library.build()
