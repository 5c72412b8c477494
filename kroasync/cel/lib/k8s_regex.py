"""Kubernetes' `find` and `findAll`: regular expressions in RE2's syntax, run in linear time."""

from collections.abc import Iterator
from typing import Final

from kroasync.cel.budget import CHARS_PER_STEP
from kroasync.cel.decls import Budget, LibraryBuilder
from kroasync.cel.lib.regex import compiled

_STEPS_PER_MATCH: Final = 8

_library = LibraryBuilder("k8s regex", doc="Parts of a text that match a regular expression.")


def _matches(text: str, pattern: str) -> Iterator[str]:
    """All matches from left to right, without empty ones that touch the match before (Go's FindAllString)."""
    end = -1
    for match in compiled(pattern).finditer(text):
        if match.start() != match.end() or match.start() != end:
            yield match.group()
        end = match.end()


@_library.fn(
    "string.find(string) string",
    example="'abc 123'.find('[0-9]+') == '123' && 'abc'.find('[0-9]+') == ''",
    doc="The first match, or ''.",
    metered=True,
)
def _find(text: str, pattern: str, *, budget: Budget) -> str:
    budget.spend((len(text) + len(pattern)) // CHARS_PER_STEP)
    return next(_matches(text, pattern), "")


@_library.fn(
    "string.findAll(string) list(string)",
    example="'1 a 22'.findAll('[0-9]+') == ['1', '22']",
    doc="All matches.",
    metered=True,
)
def _find_all(text: str, pattern: str, *, budget: Budget) -> list[str]:
    return _find_some(text, pattern, -1, budget=budget)


@_library.fn(
    "string.findAll(string, int) list(string)",
    example="'1 a 22'.findAll('[0-9]+', 1) == ['1']",
    doc="At most that many matches; all of them if the number is negative.",
    metered=True,
)
def _find_some(text: str, pattern: str, limit: int, *, budget: Budget) -> list[str]:
    budget.spend((len(text) + len(pattern)) // CHARS_PER_STEP)
    found: list[str] = []
    for match in _matches(text, pattern):
        if len(found) == limit:
            break
        budget.spend(_STEPS_PER_MATCH)
        found.append(match)
    return found


LIBRARY: Final = _library.build()
