"""Names bound by macros, innermost last.

A scope is a persistent chain: entering one makes a new object, leaving it means dropping that object. `V` is
whatever a pass wants to know of a name: its type (checker), or the field paths it stands for (reads).
"""

from collections.abc import Iterable, Iterator
from typing import Generic, TypeVar

V = TypeVar("V")


class Scope(Generic[V]):
    """The names of one macro, and the scope around it."""

    __slots__ = ("_names", "_outer")

    def __init__(self, names: Iterable[tuple[str, V]] = (), outer: "Scope[V] | None" = None) -> None:
        self._names = dict(names)
        self._outer = outer

    def enter(self, names: Iterable[tuple[str, V]]) -> "Scope[V]":
        """A scope inside this one."""
        return Scope(names, self)

    def find(self, name: str) -> V | None:
        """What the innermost binding of a name holds; None if no macro binds it."""
        scope: Scope[V] | None = self
        while scope is not None:
            if name in scope._names:
                return scope._names[name]
            scope = scope._outer
        return None

    def __contains__(self, name: str) -> bool:
        return any(name == bound for bound in self.names())

    def names(self) -> Iterator[str]:
        """All bound names, innermost first; shadowed ones appear again."""
        scope: Scope[V] | None = self
        while scope is not None:
            yield from scope._names
            scope = scope._outer
