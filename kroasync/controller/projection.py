"""The part of an object that a cache keeps: its identity and the fields that the graphs read.

A projection is built once from field paths ("*" stands for any key or index), and then walks only the parts that it
keeps. It keeps a whole object only if an expression uses the whole object, and of that `managedFields` only as far as
paths name it.
"""

from collections.abc import Iterable
from typing import Any, TypeAlias

from kroasync.model.objects import Obj

# A tree of kept names; None keeps everything below.
Tree: TypeAlias = "dict[str, Tree] | None"

_IDENTITY = (
    ("apiVersion",),
    ("kind",),
    ("metadata", "name"),
    ("metadata", "namespace"),
    ("metadata", "uid"),
    ("metadata", "generation"),
    ("metadata", "deletionTimestamp"),
    ("metadata", "finalizers"),
)


_OWNERS = ("metadata", "managedFields")


class Projection:
    """The kept fields of one kind; immutable. An empty path keeps whole objects."""

    def __init__(self, paths: Iterable[tuple[str, ...]] = ()) -> None:
        self.paths = frozenset(paths)
        self._tree: Tree = {}
        self._owners: Tree = {}
        for path in self.paths:
            if path[:2] == _OWNERS:
                self._owners = _grow(self._owners, path[2:])
        for path in (*_IDENTITY, *sorted(self.paths)):
            self._tree = _grow(self._tree, path)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Projection) and self.paths == other.paths

    def __hash__(self) -> int:
        return hash(self.paths)

    def widened(self, paths: Iterable[tuple[str, ...]]) -> "Projection":
        """This projection with more paths; the same projection if it has them already."""
        wider = self.paths | frozenset(paths)
        return self if wider == self.paths else Projection(wider)

    def keep(self, obj: Obj) -> Obj:
        """The kept part, sharing its leaves with `obj`."""
        if self._tree is None:
            kept = dict(obj)
            kept["metadata"] = {k: v for k, v in obj.get("metadata", {}).items() if k != "managedFields"}
            owners = _take(obj.get("metadata", {}).get("managedFields"), self._owners) if self._owners != {} else None
            if owners is not None:
                kept["metadata"]["managedFields"] = owners
            return kept
        found = _take(obj, self._tree)
        return found if isinstance(found, dict) else {}


def _grow(tree: Tree, path: tuple[str, ...]) -> Tree:
    if tree is None or not path:
        return None
    head, rest = path[0], path[1:]
    grown = dict(tree)
    grown[head] = _grow(grown.get(head, {}), rest)
    return grown


_ABSENT: Any = object()


def _take(value: Any, tree: Tree) -> Any:
    if tree is None:
        return value
    if type(value) is dict:
        anything = tree.get("*", _ABSENT)
        if anything is not _ABSENT:
            return {k: _take(v, _merged(tree.get(k, _ABSENT), anything)) for k, v in value.items()}
        return {k: _take(value[k], below) for k, below in tree.items() if k in value}
    if type(value) is list:
        below = tree.get("*", _ABSENT)
        # A name reads the list as if it were an object. Keep it whole, so that the expression sees a list.
        return value if below is _ABSENT or len(tree) > 1 else [_take(item, below) for item in value]
    return value


def _merged(named: Any, anything: Tree) -> Tree:
    if named is _ABSENT:
        return anything
    if named is None or anything is None:
        return None
    merged = dict(anything)
    for key, below in named.items():
        merged[key] = _merged(merged.get(key, _ABSENT), below) if key in merged else below
    return merged
