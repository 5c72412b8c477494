"""cel-go's list extension. Each result is a new list that shares the elements."""

from typing import Any, Final

from kroasync.cel.decls import LibraryBuilder
from kroasync.cel.errors import ValueError_
from kroasync.cel.meter import COMPARED_PER_STEP, Meter
from kroasync.cel.run.loops import sorted_positions
from kroasync.cel.run.operations import TEXTS, contains
from kroasync.cel.values import UInt, to_key

_library = LibraryBuilder("lists", doc="Functions on lists.")
fn = _library.fn

# cel-go's limit for lists.range.
MAX_RANGE: Final = 1_000_000
# How many elements are copied in one step by a function that does nothing else.
_COPIED_PER_STEP: Final = 16
_HASHABLE: Final = frozenset((str, int, UInt, bool, bytes))


@fn(
    "lists.range(int) list(int)",
    example="lists.range(3) == [0, 1, 2]",
    doc="The integers from 0; at most 1,000,000.",
    metered=True,
)
def _range(count: int, *, budget: Meter) -> list[int]:
    if count < 0:
        raise ValueError_(f"lists.range: size must not be negative, got {count}", value=count)
    if count > MAX_RANGE:
        raise ValueError_(f"lists.range: size {count} exceeds {MAX_RANGE}", value=count)
    # Every number is a new object, about five times as big as a copied item.
    budget.spend(count // 2)
    return list(range(count))


@fn(
    "list(A).slice(int, int) list(A)",
    example="[1, 2, 3].slice(1, 3) == [2, 3]",
    doc="The elements from the first position up to, but not including, the second.",
    metered=True,
)
def _slice(values: list[Any], start: int, end: int, *, budget: Meter) -> list[Any]:
    if start < 0 or end < 0:
        raise ValueError_(f"cannot slice({start}, {end}), negative indexes not supported", value=start)
    if start > end:
        raise ValueError_(f"cannot slice({start}, {end}), start index must be less than or equal to end index")
    if end > len(values):
        raise ValueError_(f"cannot slice({start}, {end}), list is length {len(values)}", value=end)
    budget.spend(2 + (end - start) // _COPIED_PER_STEP)
    return values[start:end]


@fn("list(list(A)).flatten() list(A)", example="[[1, 2], [3]].flatten() == [1, 2, 3]", metered=True)
@fn(
    "list(dyn).flatten(int) list(dyn)",
    example="[1, [2, [3]]].flatten(2) == [1, 2, 3]",
    doc="Flattens that many levels of nested lists.",
    metered=True,
)
def _flatten(values: list[Any], depth: int = 1, *, budget: Meter) -> list[Any]:
    if depth < 0:
        raise ValueError_("level must be non-negative", value=depth)
    flat: list[Any] = []
    stack = [(iter(values), depth)]
    while stack:
        items, levels = stack[-1]
        for item in items:
            budget.spend(1)
            if item.__class__ is list and levels > 0:
                stack.append((iter(item), levels - 1))
                break
            flat.append(item)
        else:
            stack.pop()
    return flat


@fn("list(int).sort() list(int)", example="[3, 1, 2].sort() == [1, 2, 3]", metered=True)
@fn("list(uint).sort() list(uint)", example="[3u, 1u].sort() == [1u, 3u]", metered=True)
@fn("list(double).sort() list(double)", example="[1.5, 0.5].sort() == [0.5, 1.5]", metered=True)
@fn("list(bool).sort() list(bool)", example="[true, false].sort() == [false, true]", metered=True)
@fn("list(duration).sort() list(duration)", example="[duration('1m')].sort() == [duration('60s')]", metered=True)
@fn(
    "list(timestamp).sort() list(timestamp)",
    example="[timestamp(0)].sort() == [timestamp(0)]",
    metered=True,
)
@fn("list(string).sort() list(string)", example="['b', 'a'].sort() == ['a', 'b']", metered=True)
@fn("list(bytes).sort() list(bytes)", example="[b'b', b'a'].sort() == [b'a', b'b']", metered=True)
def _sort(values: list[Any], *, budget: Meter) -> list[Any]:
    budget.spend(4 + len(values))
    return [values[place] for place in sorted_positions(values, budget)]


_library.macro(
    "list(A).sortBy(x, key) list(A)",
    example="[{'n': 2}, {'n': 1}].sortBy(x, x.n) == [{'n': 1}, {'n': 2}]",
    doc="Sorts by a key; the sort is stable.",
)


@fn(
    "list(A).distinct() list(A)",
    example="[1, 2, 1].distinct() == [1, 2]",
    doc="Keeps the first of equal elements.",
    metered=True,
)
def _distinct(values: list[Any], *, budget: Meter) -> list[Any]:
    budget.spend(len(values))
    seen: set[Any] = set()
    others: list[Any] = []
    kept: list[Any] = []
    for value in values:
        # Equal scalars have equal hashes. Compare doubles one by one, because NaN is not equal to itself.
        if value.__class__ in _HASHABLE:
            if value.__class__ in TEXTS:
                budget.spend(len(value) // COMPARED_PER_STEP)
            key = to_key(value)
            if key in seen or (others and contains(value, others, budget)):
                continue
            seen.add(key)
        else:
            if contains(value, others, budget) or (value.__class__ is float and value in seen):
                continue
            others.append(value)
        kept.append(value)
    return kept


@fn("list(A).reverse() list(A)", example="[1, 2].reverse() == [2, 1]", rate=_COPIED_PER_STEP)
def _reverse(values: list[Any]) -> list[Any]:
    return values[::-1]


LIBRARY: Final = _library.build()
