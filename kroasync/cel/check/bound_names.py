"""Names bound by macros, innermost last.

A scope is immutable: entering one makes a new object, and leaving it drops that object. `V` is what a pass
records for a name: its type (checker), or the field paths it stands for (reads).
"""

from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, Final, Generic, TypeVar

V = TypeVar("V")


_NONE: Final[Mapping[str, Any]] = MappingProxyType({})


class BoundNames(Generic[V]):
    """The visible names, without the shadowed ones."""

    __slots__ = ("_names",)

    def __init__(self, names: Mapping[str, V] = _NONE) -> None:
        self._names = names

    def enter(self, names: Iterable[tuple[str, V]]) -> "BoundNames[V]":
        """A scope inside this one."""
        return BoundNames({**self._names, **dict(names)})

    def find(self, name: str) -> V | None:
        """The value of a name's innermost binding; None if no macro binds the name."""
        return self._names.get(name)

    def __contains__(self, name: str) -> bool:
        return name in self._names

    def names(self) -> Iterator[str]:
        """All bound names."""
        return iter(self._names)
