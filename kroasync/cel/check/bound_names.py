"""Names bound by macros, innermost last.

A scope never changes: entering one makes a new object, leaving it means dropping that object. `V` is
whatever a pass wants to know of a name: its type (checker), or the field paths it stands for (reads).
"""

from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, Final, Generic, TypeVar

V = TypeVar("V")


_NONE: Final[Mapping[str, Any]] = MappingProxyType({})


class BoundNames(Generic[V]):
    """The names that can be seen; a shadowed one is not among them."""

    __slots__ = ("_names",)

    def __init__(self, names: Mapping[str, V] = _NONE) -> None:
        self._names = names

    def enter(self, names: Iterable[tuple[str, V]]) -> "BoundNames[V]":
        """A scope inside this one."""
        return BoundNames({**self._names, **dict(names)})

    def find(self, name: str) -> V | None:
        """What the innermost binding of a name holds; None if no macro binds it."""
        return self._names.get(name)

    def __contains__(self, name: str) -> bool:
        return name in self._names

    def names(self) -> Iterator[str]:
        """All bound names."""
        return iter(self._names)
