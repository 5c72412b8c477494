"""`cel.bind` gives a value a name; the parser expands it."""

from typing import Final

from kroasync.cel.decls import LibraryBuilder

_library = LibraryBuilder("bindings", doc="Names for values.")
_library.macro(
    "cel.bind(x, value, e) A",
    example="cel.bind(x, 'a' + 'b', x + x) == 'abab'",
    doc="The result of e, where x is the value. The value is computed once, when e first uses x.",
)
LIBRARY: Final = _library.build()
