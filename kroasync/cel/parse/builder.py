"""The syntax tree of one text while it is built: its nodes, their ids and heights, and the issues found."""

from typing import Any, TypeVar

from kroasync.cel import syntax
from kroasync.cel.errors import Issue, ParseError, Span, TooLargeError
from kroasync.cel.syntax import MAX_DEPTH, TOO_DEEP, Call, Expr, Literal

_NodeT = TypeVar("_NodeT", bound=Expr)


class TreeBuilder:
    """Nodes, ids and issues of one text."""

    __slots__ = ("_depths", "issues", "max_nodes", "next_id", "parenthesised", "text")

    def __init__(self, text: str, max_nodes: int) -> None:
        self.text = text
        self.max_nodes = max_nodes
        self.next_id = 1
        self.issues: list[Issue] = []
        self.parenthesised: set[int] = set()
        # The height of the tree below each node, by id.
        self._depths: list[int] = [0]

    def new_id(self, depth: int = 0) -> int:
        self._depths.append(depth)
        self.next_id += 1
        if self.next_id - 1 > self.max_nodes:
            message = f"expression has more than {self.max_nodes} nodes"
            raise TooLargeError(self.text, (Issue(message, (0, 0)),))
        return self.next_id - 1

    def add(self, node: _NodeT, *, spine: int = -1) -> _NodeT:
        """Record the height of a finished node; stop parsing beyond MAX_DEPTH. `spine`: a chain's height so far."""
        depths = self._depths
        depth = max([depths[child.id] for child in syntax.children(node)], default=0) + 1 if spine < 0 else spine
        depths[node.id] = depth
        if depth > MAX_DEPTH:
            raise ParseError(self.text, (*self.issues, Issue(TOO_DEEP, node.span)))
        return node

    def depth(self, node: Expr) -> int:
        return self._depths[node.id]

    def issue(self, message: str, span: Span) -> None:
        self.issues.append(Issue(message, span))

    def literal(self, value: Any, span: Span, at: int | None = None) -> Literal:
        return Literal(self.new_id(1), span, span[0] if at is None else at, value)

    def call(self, function: str, args: tuple[Expr, ...], span: Span, at: int) -> Expr:
        return self.add(Call(self.new_id(), span, at, function, None, args))
