"""The names that an expression may use in its place, and the edges of the graph that follow from them.

Expressions of templates, forEach and includeWhen make edges; those of readyWhen and status do not.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from kroasync.graph.expressions import RUNTIME, Parsed
from kroasync.graph.problem_report import Report, names
from kroasync.model.paths import Path
from kroasync.model.suggest import did_you_mean

SCHEMA: Final = "schema"
EACH: Final = "each"
OMIT_GATE: Final = "CELOmitFunction"


class Place(Enum):
    """The place of an expression."""

    TEMPLATE = auto()
    FOR_EACH = auto()
    INCLUDE_WHEN = auto()
    READY_WHEN = auto()
    STATUS = auto()
    CONDITION = auto()
    POLICY = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class NameScope:
    """The names of a place: `allowed` without `excluded`, then `local`, the node's own id and its iterators.

    The scopes of a definition share `allowed`.
    """

    place: Place
    allowed: frozenset[str]
    local: frozenset[str] = frozenset()
    excluded: str = ""
    own_id: str = ""
    iterators: tuple[str, ...] = ()
    # The iterator whose forEach expression this is.
    iterator: str = ""
    allow_omit: bool = False

    def check(self, parsed: Parsed, report: Report, path: Path) -> bool:
        """Reports every name and function that the place does not have; True if it has all of them."""
        faults = list(self._faults(parsed, report))
        for code, message, suggestion in faults:
            report.add(code, message, path, suggestion=suggestion)
        return not faults

    def _has(self, name: str) -> bool:
        return name in self.local or (name in self.allowed and name != self.excluded)

    def _faults(self, parsed: Parsed, report: Report) -> Iterator[tuple[str, str, str | None]]:
        found = parsed.mentions
        unknown = []
        for name in (*parsed.names, *found.unknown_identifiers):
            special = None if self._has(name) else self._special(name, is_known=name in parsed.names)
            if special:
                yield special, self._texts(special, name), None
            elif not self._has(name):
                unknown.append(name)
        if unknown:
            known = (name for name in (*self.local, *self.allowed) if name != self.excluded)
            near = did_you_mean(unknown[0], known) if report.suggests else None
            yield "unknown-identifier", f"references unknown identifiers: {names(unknown)}", near
        if found.unknown_functions:
            listed = names(f"{{{name}}}" for name in found.unknown_functions)
            yield "unknown-function", f"uses unknown functions: {listed}", None
        if found.uses_omit:
            yield from self._omit_faults()

    def _special(self, name: str, *, is_known: bool) -> str | None:
        """The code of a name that has its own message."""
        if self.place is Place.POLICY:
            return "policy-reference" if is_known else None
        if self.place not in (Place.TEMPLATE, Place.FOR_EACH, Place.INCLUDE_WHEN):
            return None
        if name == self.own_id:
            return "self-reference"
        if self.place is Place.INCLUDE_WHEN:
            return None
        if self.place is Place.FOR_EACH and name in self.iterators:
            return "iterator-reference"
        return {EACH: "each-outside-ready-when", RUNTIME: "runtime-outside-conditions"}.get(name)

    def _texts(self, code: str, name: str) -> str:
        if code == "self-reference":
            return "self references are not allowed"
        if code == "iterator-reference":
            return (
                f'node "{self.own_id}": forEach iterator "{self.iterator}" '
                f"cannot reference other iterators [{name}]"
                " - forEach iterators are independent (cartesian product)"
            )
        if code == "policy-reference":
            return f"a policy holds before any object is read, so it can read {SCHEMA} only, not {name}"
        if code == "each-outside-ready-when":
            return "node each does not exist"
        return "runtime is only available in status.conditions expressions"

    def _omit_faults(self) -> Iterator[tuple[str, str, str | None]]:
        if not self.allow_omit:
            yield "omit-disabled", f"omit() requires the {OMIT_GATE} feature gate to be enabled", None
        elif self.place is Place.FOR_EACH:
            prefix = f'node "{self.own_id}": forEach iterator "{self.iterator}": '
            yield "omit-place", f"{prefix}omit() can only be used in resource template expressions", None
        elif self.place not in (Place.TEMPLATE, Place.INCLUDE_WHEN):
            # The type check rejects omit() in includeWhen, because a condition must be a bool.
            yield "omit-place", "omit() can only be used in resource template expressions", None


def edges(parsed: Collection[Parsed], ids: Collection[str]) -> tuple[str, ...]:
    """The node ids that the expressions use, without duplicates, in order of discovery."""
    return tuple(dict.fromkeys(name for one in parsed for name in one.names if name in ids))
