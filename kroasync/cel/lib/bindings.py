"""`cel.bind`: a name for a value; expanded by the parser."""

from typing import Final

from kroasync.cel.decls import LibraryBuilder

_library = LibraryBuilder("bindings", doc="Names for values.")
_library.macro(
    "cel.bind(x, value, e) A",
    example="cel.bind(x, 'a' + 'b', x + x) == 'abab'",
    doc="e with x standing for the value, which is computed once, when x is first needed.",
)
LIBRARY: Final = _library.build()
