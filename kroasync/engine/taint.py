"""Find the fields of a graph that hold values of Secrets, and so the expressions that must not be quoted.

The analysis follows a value from a Secret's content through every template field that receives it, and through
iterators. Paths are those of `Program.reads`: a variable, then keys, with "*" for any index or key. A path stands for
everything below it. If another controller copies such a value elsewhere, for example into a status, the analysis does
not follow it: that controller decides to publish the value.
"""

from collections.abc import Iterable
from typing import Final

from kroasync.graph.nodes import Expression, Graph, Node, Path

_ANY: Final = "*"
# The annotations too: kubectl's last-applied-configuration holds the whole object.
_CONTENT: Final[tuple[Path, ...]] = (("data",), ("stringData",))
_READABLE: Final[tuple[tuple[str, ...], ...]] = (("data",), ("stringData",), ("metadata", "annotations"))


class Taint:
    """The result of the analysis of one graph."""

    def __init__(self, graph: Graph) -> None:
        self._paths: set[tuple[str, ...]] = set()
        self._fields: dict[str, tuple[Path, ...]] = {}
        for node in (graph.nodes[id_] for id_ in graph.order):
            at = (node.id, _ANY) if node.is_collection else (node.id,)
            secret = _CONTENT if is_secret(node) else ()
            if secret:
                self._paths.update((*at, *path) for path in _READABLE)
            if node.is_external:
                continue
            found = [item.path for item in node.fields if self.reaches(item.expression, node)]
            self._fields[node.id] = (*secret, *(path for path in found if not _is_within(path, secret)))
            self._paths.update((*at, *_as_read(path)) for path in found)

    def reaches(self, expression: Expression, node: Node | None = None) -> bool:
        """Whether the expression reads values of a Secret. `node` is the node of the expression, if it has one."""
        return any(self._is_tainted(read, node) for read in expression.program.reads)

    def fields(self, node: Node) -> tuple[Path, ...]:
        """The places in the node's template whose values come from Secrets or are a Secret's content."""
        return self._fields.get(node.id, ())

    def fills_secret(self, node: Node, path: Path) -> bool:
        """Whether the place is part of a Secret's content."""
        return is_secret(node) and _is_within(path, _CONTENT)

    def _is_tainted(self, read: tuple[str, ...], node: Node | None) -> bool:
        root = read[0]
        if node is not None:
            if any(d.name == root and self.reaches(d.expression) for d in node.for_each):
                return True
            if root == "each" and node.ready_each:
                read = (node.id, _ANY, *read[1:])
        return any(_overlap(read, path) for path in self._paths)


def is_secret(node: Node) -> bool:
    return node.resource.kind == "Secret" and not node.resource.group


def _as_read(path: Path) -> Iterable[str]:
    return (_ANY if isinstance(part, int) else part for part in path)


def _is_within(path: Path, places: Iterable[Path]) -> bool:
    return any(path[: len(place)] == place for place in places)


def _overlap(one: tuple[str, ...], other: tuple[str, ...]) -> bool:
    """Whether one path is above the other, or both are the same."""
    return all(a == b or _ANY in (a, b) for a, b in zip(one, other, strict=False))
