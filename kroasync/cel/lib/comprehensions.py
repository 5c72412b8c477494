"""Macros with two variables, index and element or key and value; the parser expands them."""

from typing import Final

from kroasync.cel.decls import LibraryBuilder

_library = LibraryBuilder("comprehensions", doc="Loops with index and element, or key and value.")
_library.macro("e.all(i, x, p) bool", example="[1, 2].all(i, x, x == i + 1)")
_library.macro("e.exists(i, x, p) bool", example="{'a': 1}.exists(k, v, k == 'a' && v == 1)")
_library.macro("e.exists_one(i, x, p) bool", example="[1, 2].exists_one(i, x, i == 1)")
_library.macro("e.existsOne(i, x, p) bool", example="[1, 2].existsOne(i, x, i == 1)")
_library.macro("e.transformList(i, x, f) list", example="[3, 4].transformList(i, x, i * x) == [0, 4]")
_library.macro(
    "e.transformList(i, x, p, f) list",
    example="{'a': 1, 'b': 2}.transformList(k, v, v > 1, k) == ['b']",
    doc="f of every element that p holds for.",
)
_library.macro(
    "e.transformMap(i, x, f) map",
    example="{'a': 1}.transformMap(k, v, v + 1) == {'a': 2}",
    doc="The same keys (or indexes), with the results of f as values.",
)
_library.macro("e.transformMap(i, x, p, f) map", example="[3, 4].transformMap(i, x, i > 0, x) == {1: 4}")
_library.macro(
    "e.transformMapEntry(i, x, f) map",
    example="['a', 'b'].transformMapEntry(i, x, {x: i}) == {'a': 0, 'b': 1}",
    doc="The merged entries of the maps that f returns; a duplicate key is an error.",
)
_library.macro(
    "e.transformMapEntry(i, x, p, f) map",
    example="['a', 'b'].transformMapEntry(i, x, i > 0, {x: i}) == {'b': 1}",
)
LIBRARY: Final = _library.build()
