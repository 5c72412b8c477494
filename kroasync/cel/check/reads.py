"""Which fields of the data an expression reads.

A read is a path: a variable, then keys of the data, with "*" for an index or a key that is not constant. A path
includes everything below it. The result has every field whose value can change the value of the expression,
and few others. A macro's variable stands for the elements of its range, so `pods.all(p, p.spec.x)` reads only
pods.*.spec.x.
"""

from collections.abc import Callable, Container, Iterable, Mapping
from types import MappingProxyType
from typing import Any, Final, TypeAlias

from kroasync.cel import syntax
from kroasync.cel.check.bound_names import BoundNames
from kroasync.cel.syntax import Call, Expr, Ident, Index, Literal, Macro, Select
from kroasync.cel.types import Type, TypeProvider

ReadPath: TypeAlias = tuple[str, ...]
ReadPaths: TypeAlias = tuple[ReadPath, ...]

ANY: Final = "*"
# An expression that may come from more paths than this is recorded as one read of the whole value.
_MAX_PATHS: Final = 16
# Methods that return (a part of) the receiver or an argument, with the part of the path that they add.
_TRANSPARENT: Final[Mapping[str, ReadPath]] = MappingProxyType(
    {"value": (), "orValue": (), "or": (), "first": (ANY,), "last": (ANY,), "unwrapOpt": ()}
)
# Macros that name one value; their result is the result of the body.
_NAMING: Final = frozenset(("bind", "optMap", "optFlatMap"))
_WRAPPERS: Final = frozenset(("dyn", "optional.of", "optional.ofNonZeroValue"))


def find_reads(
    root: Expr,
    types: Mapping[int, Type],
    *,
    variables: Container[str],
    qualified: Mapping[int, str],
    provider: TypeProvider | None,
) -> frozenset[ReadPath]:
    """The paths read; no path is below another. `qualified` has the nodes that are dotted names."""
    reader = _Reader(types, variables, qualified, provider)
    reader.use(root)
    return outermost(reader.paths)


def outermost(paths: Iterable[ReadPath]) -> frozenset[ReadPath]:
    """The paths that are not below another one."""
    found: list[ReadPath] = []
    # In this order each path comes right before the paths below it.
    for path in sorted(paths):
        if not found or path[: len(found[-1])] != found[-1]:
            found.append(path)
    return frozenset(found)


class _Reader:
    def __init__(
        self,
        types: Mapping[int, Type],
        variables: Container[str],
        qualified: Mapping[int, str],
        provider: TypeProvider | None,
    ) -> None:
        self.paths: set[ReadPath] = set()
        self._types = types
        self._variables = variables
        self._qualified = qualified
        self._provider = provider
        self._scope: BoundNames[ReadPaths] = BoundNames()

    def use(self, node: Expr) -> None:
        """Record that the expression needs the node's whole value."""
        found = self.places(node)
        self.paths.update(found)

    def places(self, node: Expr) -> ReadPaths:
        """The paths of the data that a value comes from, () if it is computed; records what computing it reads."""
        found = _PLACES.get(type(node), _Reader._computed)(self, node)
        if len(found) > _MAX_PATHS:
            self.paths.update(found)
            return ()
        return found

    def _computed(self, node: Expr) -> ReadPaths:
        for child in syntax.children(node):
            found = self.places(child)
            self.paths.update(found)
        return ()

    def _ident(self, node: Ident) -> ReadPaths:
        if not node.absolute:
            local = self._scope.find(node.name)
            if local is not None:
                return local
        return self._root(node.name)

    def _root(self, name: str) -> ReadPaths:
        """A variable; names of types are not data."""
        return ((name,),) if name in self._variables else ()

    def _select(self, node: Select) -> ReadPaths:
        if node.id in self._qualified:
            return self._root(self._qualified[node.id])
        key = self._key(node)
        below = tuple((*path, key) for path in self.places(node.operand))
        if not node.test:
            return below
        self.paths.update(below)
        return ()

    def _key(self, node: Select) -> str:
        operand = self._types[node.operand.id]
        if operand.kind == "optional":
            operand = operand.element
        if operand.kind == "object" and self._provider is not None:
            return self._provider.key_of(operand.name, node.field)
        return node.field

    def _index(self, node: Index) -> ReadPaths:
        key = ANY
        if isinstance(node.index, Literal) and isinstance(node.index.value, str):
            key = node.index.value
        else:
            self.use(node.index)
        return tuple((*path, key) for path in self.places(node.operand))

    def _call(self, node: Call) -> ReadPaths:
        if node.function in syntax.SPINE_OPERATORS:
            return self._spine(node)
        if node.function == syntax.CONDITIONAL:
            self.use(node.args[0])
            return self.places(node.args[1]) + self.places(node.args[2])
        if node.id in self._qualified or node.target is None:
            if (self._qualified.get(node.id) or node.function) in _WRAPPERS and len(node.args) == 1:
                return self.places(node.args[0])
            for arg in node.args:
                self.use(arg)
            return ()
        if node.function == "size" and _is_selection(node.target):
            # The number of elements that a filter keeps depends only on the fields that its condition reads.
            self.places(node.target)
            return ()
        below = _TRANSPARENT.get(node.function)
        if below is None:
            return self._computed(node)
        found = tuple((*path, *below) for path in self.places(node.target))
        for arg in node.args:
            found += self.places(arg)
        return found

    def _spine(self, node: Call) -> ReadPaths:
        calls = syntax.spine(node)
        self.use(calls[0].args[0])
        for call in calls:
            found = self.places(call.args[1])
            self.paths.update(found)
        return ()

    def _macro(self, node: Macro) -> ReadPaths:
        range_ = self.places(node.range)
        elements = range_ if node.kind in _NAMING else tuple((*path, ANY) for path in range_)
        if not self._iterates_elements(node):
            # Reading the keys of a map reads the whole map.
            self.paths.update(range_)
            elements = ()
        bound = ((),) * (len(node.variables) - 1) + (elements,)
        before = self.paths
        self.paths = set()
        body = self._within(node, bound)
        unused = [path for path in elements if not self._touches(path, body)]
        if node.kind != "bind":
            # The number of elements matters even if the body reads no element.
            self.paths.update(unused)
        before |= self.paths
        self.paths = before
        if node.kind in _NAMING:
            return body
        self.paths.update(body)
        return range_ if _is_selection(node) and self._iterates_elements(node) else ()

    def _iterates_elements(self, node: Macro) -> bool:
        """False if the one variable takes the keys of a map.

        A range of unknown type counts as a list: a key has no fields, so every use of a key is recorded as a whole.
        """
        return len(node.variables) == 2 or node.kind in _NAMING or self._types[node.range.id].kind != "map"

    def _touches(self, path: ReadPath, body: ReadPaths) -> bool:
        return any(other[: len(path)] == path for other in (*self.paths, *body))

    def _within(self, node: Macro, bound: tuple[ReadPaths, ...]) -> ReadPaths:
        outer = self._scope
        self._scope = outer.enter(zip(node.variables, bound, strict=True))
        if node.condition is not None:
            self.use(node.condition)
        body = self.places(node.body)
        self._scope = outer
        return body


def _is_selection(node: Expr) -> bool:
    return isinstance(node, Macro) and node.kind in ("filter", "sortBy")


_PLACES: Final[Mapping[type, Callable[[_Reader, Any], ReadPaths]]] = MappingProxyType(
    {
        Ident: _Reader._ident,
        Select: _Reader._select,
        Index: _Reader._index,
        Call: _Reader._call,
        Macro: _Reader._macro,
    }
)
