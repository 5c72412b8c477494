"""Macros: calls that the parser turns into Macro nodes (or, for kro's newCondition, into an internal call).

As in cel-go, the name, the number of arguments and the presence of a receiver identify a macro; the same name with
another number of arguments is an ordinary call.
"""

from collections.abc import Callable
from types import MappingProxyType
from typing import Final, TypeAlias

from kroasync.cel.errors import Span
from kroasync.cel.parse.builder import TreeBuilder
from kroasync.cel.syntax import (
    CONDITION_KEYS,
    NEW_CONDITION,
    Call,
    Expr,
    Ident,
    ListLit,
    Macro,
    MapLit,
    Select,
)

_Args: TypeAlias = tuple[Expr, ...]
_Expander: TypeAlias = Callable[[TreeBuilder, Expr, _Args, Span, int], Expr]


def expand_global(b: TreeBuilder, name: str, args: _Args, span: Span, at: int) -> Expr | None:
    """The node for `has(e.f)`, or None if the call is not a macro."""
    if name != "has" or len(args) != 1:
        return None
    operand = args[0]
    if not isinstance(operand, Select) or operand.optional or operand.test:
        b.issue("invalid argument to has() macro", operand.span)
        return operand
    return b.add(Select(b.new_id(), span, at, operand.operand, operand.field, True))


def expand_member(b: TreeBuilder, target: Expr, name: str, args: _Args, span: Span, at: int) -> Expr | None:
    """The node for a macro with a receiver, or None if the call is not a macro."""
    expand = _MEMBER.get((name, len(args)))
    if expand is not None:
        return expand(b, target, args, span, at)
    receiver = target.name if isinstance(target, Ident) else ""
    if receiver == "math" and name in ("greatest", "least") and len(args) > 2:
        return _of_list(b, target, name, args, span, at)
    expand = _NAMESPACED.get((receiver, name, len(args)))
    return None if expand is None else expand(b, target, args, span, at)


def _variable(b: TreeBuilder, node: Expr, problem: str = "argument is not an identifier") -> str:
    """The name that a macro binds."""
    if not isinstance(node, Ident) or node.absolute or node.id in b.parenthesised:
        b.issue(problem, node.span)
        return "_"
    if node.name in ("__result__", "@result"):
        b.issue(f"iteration variable overwrites accumulator variable {node.name!r}", node.span)
    return node.name


def _variables(b: TreeBuilder, nodes: _Args) -> tuple[str, ...]:
    if len(nodes) == 1:
        return (_variable(b, nodes[0]),)
    names = tuple(_variable(b, node, "argument must be a simple name") for node in nodes)
    if names[0] == names[1]:
        b.issue(f"duplicate variable name: {names[0]}", nodes[1].span)
    return names


def _comprehension(kind: str, *, variables: int, condition: bool = False) -> _Expander:
    def expand(b: TreeBuilder, target: Expr, args: _Args, span: Span, at: int) -> Expr:
        names = _variables(b, args[:variables])
        guard = args[variables] if condition else None
        return b.add(Macro(b.new_id(), span, at, kind, target, names, args[-1], guard))

    return expand


def _bind(b: TreeBuilder, target: Expr, args: _Args, span: Span, at: int) -> Expr:
    names = _variables(b, args[:1])
    return b.add(Macro(b.new_id(), span, at, "bind", args[1], names, args[2]))


def _of_list(b: TreeBuilder, target: Expr, name: str, args: _Args, span: Span, at: int) -> Expr:
    """`math.greatest(a, b, c)`: any number of arguments become one list."""
    values = b.add(ListLit(b.new_id(), (args[0].span[0], args[-1].span[1]), at, args))
    return b.add(Call(b.new_id(), span, at, name, target, (values,)))


def _new_condition(b: TreeBuilder, target: Expr, args: _Args, span: Span, at: int) -> Expr:
    """kro: a map literal whose keys are bare identifiers becomes a call with the four values in order."""
    values: dict[str, Expr] = {}
    literal = args[0]
    if not isinstance(literal, MapLit):
        b.issue("runtime.newCondition: argument must be a map literal", literal.span)
        return literal
    for entry in literal.entries:
        key = entry.key.name if isinstance(entry.key, Ident) and not entry.key.absolute and not entry.optional else None
        if key is None:
            b.issue(
                "runtime.newCondition: keys must be bare identifiers (type, status, reason, message); "
                "quoted or computed keys are not allowed",
                entry.span,
            )
        elif key not in CONDITION_KEYS:
            allowed = ", ".join(CONDITION_KEYS)
            b.issue(f'runtime.newCondition: unknown key "{key}" (allowed: {allowed})', entry.key.span)
        elif key in values:
            b.issue(f'runtime.newCondition: duplicate key "{key}"', entry.key.span)
        else:
            values[key] = entry.value
    if not b.issues:
        for key in ("type", "status"):
            if key not in values:
                b.issue(f"runtime.newCondition: '{key}' is required", literal.span)
    ordered = tuple(values.get(key) or b.literal("", (span[1], span[1])) for key in CONDITION_KEYS)
    return b.add(Call(b.new_id(), span, at, NEW_CONDITION, None, ordered))


_MEMBER: Final[MappingProxyType[tuple[str, int], _Expander]] = MappingProxyType(
    {
        ("all", 2): _comprehension("all", variables=1),
        ("all", 3): _comprehension("all", variables=2),
        ("exists", 2): _comprehension("exists", variables=1),
        ("exists", 3): _comprehension("exists", variables=2),
        ("exists_one", 2): _comprehension("exists_one", variables=1),
        ("existsOne", 2): _comprehension("exists_one", variables=1),
        ("exists_one", 3): _comprehension("exists_one", variables=2),
        ("existsOne", 3): _comprehension("exists_one", variables=2),
        ("filter", 2): _comprehension("filter", variables=1),
        ("map", 2): _comprehension("map", variables=1),
        ("map", 3): _comprehension("map", variables=1, condition=True),
        ("transformList", 3): _comprehension("transformList", variables=2),
        ("transformList", 4): _comprehension("transformList", variables=2, condition=True),
        ("transformMap", 3): _comprehension("transformMap", variables=2),
        ("transformMap", 4): _comprehension("transformMap", variables=2, condition=True),
        ("transformMapEntry", 3): _comprehension("transformMapEntry", variables=2),
        ("transformMapEntry", 4): _comprehension("transformMapEntry", variables=2, condition=True),
        ("sortBy", 2): _comprehension("sortBy", variables=1),
        ("optMap", 2): _comprehension("optMap", variables=1),
        ("optFlatMap", 2): _comprehension("optFlatMap", variables=1),
    }
)
_NAMESPACED: Final[MappingProxyType[tuple[str, str, int], _Expander]] = MappingProxyType(
    {("cel", "bind", 3): _bind, ("runtime", "newCondition", 1): _new_condition}
)
