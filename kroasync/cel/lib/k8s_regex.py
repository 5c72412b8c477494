"""Kubernetes' `find` and `findAll`: regular expressions in RE2's syntax, run in linear time."""

from typing import Final

from kroasync.cel.decls import LibraryBuilder
from kroasync.cel.lib.regex import compiled
from kroasync.cel.meter import Meter

_library = LibraryBuilder("k8s regex", doc="Parts of a text that match a regular expression.")


@_library.fn(
    "string.find(string) string",
    example="'abc 123'.find('[0-9]+') == '123' && 'abc'.find('[0-9]+') == ''",
    doc="The first match, or '' if there is none.",
    metered=True,
)
def _find(text: str, pattern: str, *, budget: Meter) -> str:
    match = compiled(pattern, budget).search(text, budget)
    return "" if match is None else str(match.group().decode())


@_library.fn(
    "string.findAll(string) list(string)",
    example="'1 a 22'.findAll('[0-9]+') == ['1', '22']",
    doc="All matches.",
    metered=True,
)
def _find_all(text: str, pattern: str, *, budget: Meter) -> list[str]:
    return _find_some(text, pattern, -1, budget=budget)


@_library.fn(
    "string.findAll(string, int) list(string)",
    example="'1 a 22'.findAll('[0-9]+', 1) == ['1']",
    doc="At most that many matches; all matches if the number is negative.",
    metered=True,
)
def _find_some(text: str, pattern: str, limit: int, *, budget: Meter) -> list[str]:
    found: list[str] = []
    for match in compiled(pattern, budget).finditer(text, budget):
        if len(found) == limit:
            break
        found.append(match.group().decode())
    return found


LIBRARY: Final = _library.build()
