"""kro's edits of one list element: `lists.setAtIndex`, `lists.insertAtIndex`, `lists.removeAtIndex`.

Unlike `l[i]`, these treat an index out of bounds as the author's error, not as data that is missing yet.
"""

from typing import Any, Final

from kroasync.cel.decls import LibraryBuilder
from kroasync.cel.errors import ValueError_
from kroasync.cel.meter import Meter

_library = LibraryBuilder("list edits", doc="Changes of one list element.")


@_library.fn(
    "lists.setAtIndex(list(T), int, T) list(T)",
    example="lists.setAtIndex([1, 2, 3], 0, 9) == [9, 2, 3]",
    doc="The list with the element at the index replaced.",
    metered=True,
)
def _set(values: list[Any], index: int, value: Any, *, budget: Meter) -> list[Any]:
    _require("setAtIndex", index, len(values), f"[0, {len(values)})")
    budget.spend(4 + len(values))
    return [*values[:index], value, *values[index + 1 :]]


@_library.fn(
    "lists.insertAtIndex(list(T), int, T) list(T)",
    example="lists.insertAtIndex([1, 2], 2, 3) == [1, 2, 3]",
    doc="The list with an element inserted before the index, or at the end.",
    metered=True,
)
def _insert(values: list[Any], index: int, value: Any, *, budget: Meter) -> list[Any]:
    _require("insertAtIndex", index, len(values) + 1, f"[0, {len(values)}]")
    budget.spend(4 + len(values))
    return [*values[:index], value, *values[index:]]


@_library.fn(
    "lists.removeAtIndex(list(T), int) list(T)",
    example="lists.removeAtIndex([1, 2, 3], 1) == [1, 3]",
    doc="The list without the element at the index.",
    metered=True,
)
def _remove(values: list[Any], index: int, *, budget: Meter) -> list[Any]:
    _require("removeAtIndex", index, len(values), f"[0, {len(values)})")
    budget.spend(4 + len(values))
    return [*values[:index], *values[index + 1 :]]


def _require(name: str, index: int, end: int, shown: str) -> None:
    if not 0 <= index < end:
        raise ValueError_(f"lists.{name}: index {index} out of bounds {shown}")


LIBRARY: Final = _library.build()
