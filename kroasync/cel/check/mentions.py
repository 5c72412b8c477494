"""What an expression refers to, found in the syntax tree alone: names, functions and field paths.

Names that a macro binds are local in its body and condition, not in its range.
"""

from collections.abc import Callable, Container, Iterator, Mapping, Set
from dataclasses import dataclass
from types import MappingProxyType
from typing import TypeAlias

from kroasync.cel import syntax
from kroasync.cel.check.reads import ANY, outermost
from kroasync.cel.decls import Environment
from kroasync.cel.syntax import Ast, Call, Expr, Ident, Index, Literal, Macro, Select

# A root name and the members selected from it.
_Place: TypeAlias = tuple[str, tuple[str, ...]]
# The path that each name bound by a macro stands for; None if the name does not stand for data.
_Bound: TypeAlias = Mapping[str, _Place | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mentions:
    """What one expression refers to.

    `references`: known names, each with the distinct chains of members read from it, without the name itself.
    """

    references: Mapping[str, tuple[tuple[str, ...], ...]]
    unknown_identifiers: tuple[str, ...]
    unknown_functions: tuple[str, ...]
    uses_omit: bool


def find_mentions(ast: Ast, known: Set[str], env: Environment) -> Mentions:
    """Find what an expression refers to; `env` knows the functions and type names."""
    paths: dict[str, list[tuple[str, ...]]] = {}
    unknown: dict[str, None] = {}
    functions: dict[str, None] = {}
    for name, path in _free_paths(ast.root, env.is_function):
        if name in known:
            paths.setdefault(name, []).append(path)
        elif not _is_type(name, path, env.type_names):
            unknown.setdefault(name)
    uses_omit = False
    for node in syntax.walk(ast.root):
        if isinstance(node, Call) and node.target is None:
            uses_omit = uses_omit or node.function == "omit"
            if not env.functions.get(node.function) and node.function not in _BUILT_IN:
                functions.setdefault(node.function)
    return Mentions(
        references=MappingProxyType({name: tuple(sorted(set(paths[name]))) for name in sorted(paths)}),
        unknown_identifiers=tuple(sorted(unknown)),
        unknown_functions=tuple(sorted(functions)),
        uses_omit=uses_omit,
    )


# Operators need no library.
_BUILT_IN = frozenset(
    {
        syntax.AND,
        syntax.OR,
        syntax.NOT,
        syntax.NEGATE,
        syntax.CONDITIONAL,
        syntax.EQUAL,
        syntax.NOT_EQUAL,
        syntax.LESS,
        syntax.LESS_EQUAL,
        syntax.GREATER,
        syntax.GREATER_EQUAL,
        syntax.IN,
        syntax.ADD,
        syntax.SUBTRACT,
        syntax.MULTIPLY,
        syntax.DIVIDE,
        syntax.MODULO,
        syntax.NEW_CONDITION,
    }
)


def read_paths(ast: Ast, is_function: Callable[[str], bool]) -> frozenset[tuple[str, ...]]:
    """The field paths that an expression may read, each from its root name; no path is below another.

    Without types, the whole range of a macro counts as read. See CheckedAst.reads.
    """
    return outermost({(name, *path) for name, path in _free_paths(ast.root, is_function)})


def _is_type(name: str, path: tuple[str, ...], type_names: Container[str]) -> bool:
    return any(".".join((name, *path[:length])) in type_names for length in range(len(path) + 1))


def _free_paths(root: Expr, is_function: Callable[[str], bool]) -> Iterator[_Place]:
    """Every name that no macro binds, with the members selected from it. A loop variable stands for its range."""
    stack: list[tuple[Expr, _Bound]] = [(root, MappingProxyType({}))]
    while stack:
        node, scope = stack.pop()
        base, path, inner = _path(node)
        stack.extend((child, scope) for child in inner)
        if isinstance(base, Ident):
            place = _place(base, path, scope)
            if place is not None:
                yield place
        elif isinstance(base, Macro):
            stack.append((base.range, scope))
            named = _bindings(base, scope)
            body_scope = MappingProxyType({**scope, **named})
            stack.append((base.body, body_scope))
            if base.condition is not None:
                stack.append((base.condition, body_scope))
        elif isinstance(base, Call) and base.target is not None:
            qualified = syntax.qualified_name(base)
            if qualified is None or not is_function(qualified):
                stack.append((base.target, scope))
            stack.extend((argument, scope) for argument in base.args)
        else:
            stack.extend((child, scope) for child in syntax.children(base))


def _path(node: Expr) -> tuple[Expr, tuple[str, ...], list[Expr]]:
    """The node below a chain of selections and indexes, the chain, and the index expressions on the way."""
    names: list[str] = []
    inner: list[Expr] = []
    while isinstance(node, Select | Index):
        if isinstance(node, Select):
            names.append(node.field)
        elif isinstance(node.index, Literal) and isinstance(node.index.value, str):
            names.append(node.index.value)
        else:
            names.append(ANY)
            inner.append(node.index)
        node = node.operand
    return node, tuple(reversed(names)), inner


def _place(name: Ident, path: tuple[str, ...], scope: _Bound) -> _Place | None:
    """The path that a chain from a name leads to; an element of a known range is a member of the range's path."""
    if name.absolute or name.name not in scope:
        return name.name, path
    bound = scope[name.name]
    return None if bound is None else (bound[0], bound[1] + path)


def _bindings(macro: Macro, scope: _Bound) -> dict[str, _Place | None]:
    """For each variable of a macro, the path into a known range that it stands for, or None."""
    base, path, _ = _path(macro.range)
    origin = _place(base, path, scope) if isinstance(base, Ident) else None
    if origin is not None and macro.kind not in ("bind", "optMap", "optFlatMap"):
        origin = (origin[0], (*origin[1], ANY))
    if len(macro.variables) == 2:
        # The first variable is an index or a key, not data.
        return {macro.variables[0]: None, macro.variables[1]: origin}
    return {macro.variables[0]: origin}
