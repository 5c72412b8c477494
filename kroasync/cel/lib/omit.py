"""kro's `omit()`: a sentinel that removes its map entry or list element from the resource.

An expression can neither compare nor combine the sentinel: equality rejects it, and no operator takes it.
"""

from typing import Any, Final

from kroasync.cel.decls import LibraryBuilder
from kroasync.cel.values import OMIT

_library = LibraryBuilder("omit", doc="Leaving fields out.")


@_library.fn(
    "omit() dyn",
    example="[omit()].size() == 1",
    doc="Removes the field or list element that has this value.",
)
def _omit() -> Any:
    return OMIT


LIBRARY: Final = _library.build()
