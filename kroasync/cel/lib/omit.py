"""kro's `omit()`: a sentinel; the map entry or list element it stands in is left out of the resource.

It can be neither compared nor combined: equality refuses it, and no operator takes it.
"""

from typing import Any, Final

from kroasync.cel.decls import LibraryBuilder
from kroasync.cel.values import OMIT

_library = LibraryBuilder("omit", doc="Leaving fields out.")


@_library.fn(
    "omit() dyn",
    example="[omit()].size() == 1",
    doc="Leaves out the field or list element it is the value of.",
)
def _omit() -> Any:
    return OMIT


LIBRARY: Final = _library.build()
