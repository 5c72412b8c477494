"""The syntax tree of an expression: frozen nodes with ids and spans. The parser has expanded the macros.

Ids are unique within one Ast; they are the keys of side tables such as `CheckedAst.types`. `span` is (start, end) in
characters of the source. `at` is the place that an error about the node points to (an operator's sign, a call's
parenthesis, a selection's dot). Nodes compare by identity. A chain of `&&` or of `||` is one Call with all its
operands. A chain of other binary operators leans left and has any length, so visitors walk `spine(node)` in a loop.
Every other nesting is at most MAX_DEPTH deep.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from kroasync.cel.decls import Overload
from kroasync.cel.errors import Span
from kroasync.cel.types import Type

# cel-go's limits: cel.ParserRecursionLimit and cel.ParserExpressionSizeLimit.
MAX_DEPTH: Final = 250
MAX_CODE_POINTS: Final = 100_000
NO_LIMIT: Final = 2**63
TOO_DEEP: Final = f"expression recursion limit exceeded: {MAX_DEPTH}"

# Function names of the operators, as in the CEL specification and cel-go's messages.
ADD: Final = "_+_"
SUBTRACT: Final = "_-_"
MULTIPLY: Final = "_*_"
DIVIDE: Final = "_/_"
MODULO: Final = "_%_"
EQUAL: Final = "_==_"
NOT_EQUAL: Final = "_!=_"
LESS: Final = "_<_"
LESS_EQUAL: Final = "_<=_"
GREATER: Final = "_>_"
GREATER_EQUAL: Final = "_>=_"
IN: Final = "@in"
AND: Final = "_&&_"
OR: Final = "_||_"
NOT: Final = "!_"
NEGATE: Final = "-_"
CONDITIONAL: Final = "_?_:_"
INDEX: Final = "_[_]"
OPT_INDEX: Final = "_[?_]"
# kro's macro `runtime.newCondition({type:, status:, reason:, message:})` becomes a Call of this function with the four
# arguments in this order; the literal "" stands for a missing key.
NEW_CONDITION: Final = "@runtime.newCondition"
CONDITION_KEYS: Final = ("type", "status", "reason", "message")

# Binary operators that lean left: `a + b - c` is Call(SUBTRACT, (Call(ADD, (a, b)), c)).
SPINE_OPERATORS: Final = frozenset((ADD, SUBTRACT, MULTIPLY, DIVIDE, MODULO))


@dataclass(frozen=True, slots=True, eq=False)
class Literal:
    """null, bool, int, UInt, float, str or bytes."""

    id: int
    span: Span
    at: int
    value: Any


@dataclass(frozen=True, slots=True, eq=False)
class Ident:
    """A name. `absolute` is True for `.name`, which loop variables do not shadow."""

    id: int
    span: Span
    at: int
    name: str
    absolute: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Select:
    """`operand.field`, `operand.?field` (optional), or `has(operand.field)` (test). `field` is without backticks."""

    id: int
    span: Span
    at: int
    operand: "Expr"
    field: str
    test: bool = False
    optional: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Index:
    """`operand[index]`, or `operand[?index]` (optional)."""

    id: int
    span: Span
    at: int
    operand: "Expr"
    index: "Expr"
    optional: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Call:
    """A function, method (`target` given) or operator. `_&&_` and `_||_` have two or more arguments.

    `math.least(1)` parses as a method of the identifier `math`; `qualified_name(call)` and the functions of the Env
    decide whether it is a namespaced function.
    """

    id: int
    span: Span
    at: int
    function: str
    target: "Expr | None"
    args: tuple["Expr", ...]


@dataclass(frozen=True, slots=True, eq=False)
class ListLit:
    """`[a, ?b]`; `optional` has the positions written with `?`."""

    id: int
    span: Span
    at: int
    elements: tuple["Expr", ...]
    optional: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True, eq=False)
class MapEntry:
    """One `key: value` of a map, or `?key: value`."""

    id: int
    span: Span
    at: int
    key: "Expr"
    value: "Expr"
    optional: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class MapLit:
    """`{k: v, ?k: v}`."""

    id: int
    span: Span
    at: int
    entries: tuple[MapEntry, ...]


@dataclass(frozen=True, slots=True, eq=False)
class FieldInit:
    """One `field: value` of a struct literal."""

    id: int
    span: Span
    at: int
    field: str
    value: "Expr"
    optional: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class StructLit:
    """`a.b.Name{field: value}`. No type of an Env has such a constructor, so the checker reports an error."""

    id: int
    span: Span
    at: int
    name: str
    fields: tuple[FieldInit, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Macro:
    """A macro that binds names.

    kind                 variables  range            condition  body              value
    all exists           1 or 2     list or map      -          predicate         bool
    exists_one           1 or 2     list or map      -          predicate         bool (also spelled existsOne)
    filter               1          list or map      -          predicate         list
    map                  1          list or map      or None    element           list
    transformList        2          list or map      or None    element           list
    transformMap         2          list or map      or None    value             map with the range's keys
    transformMapEntry    2          list or map      or None    map               merged maps, without duplicate keys
    sortBy               1          list             -          key               list
    bind                 1          any value        -          any               body; the range is evaluated lazily
    optMap               1          optional         -          any               optional of body
    optFlatMap           1          optional         -          optional          body or none

    With one variable, a map yields its keys. With two variables, a list yields (index, element) and a map (key, value).
    The variables are in scope in `condition` and `body`, not in `range`.
    """

    id: int
    span: Span
    at: int
    kind: str
    range: "Expr"
    variables: tuple[str, ...]
    body: "Expr"
    condition: "Expr | None" = None


Expr: TypeAlias = Literal | Ident | Select | Index | Call | ListLit | MapLit | StructLit | Macro


@dataclass(frozen=True, slots=True, eq=False)
class Ast:
    """A parsed expression. `size` is one more than the largest id."""

    source: str
    root: Expr
    size: int


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class CheckedAst:
    """A type-checked expression.

    `types` has the type of every node by id; macro variables are in `variables`. `overloads` has the overloads of each
    Call that its argument types allow, including operators; a call without an entry is resolved at run time.
    `reads` has field paths: the root variable, then constant field names, with "*" for an index or key that is not
    constant; no path is below another. `functions` has the names of the functions and operators used.
    """

    ast: Ast
    types: Mapping[int, Type]
    result_type: Type
    reads: frozenset[tuple[str, ...]]
    functions: frozenset[str]
    # The types of the variables of each Macro, by the macro's id, in the order of `Macro.variables`.
    variables: Mapping[int, tuple[Type, ...]]
    overloads: Mapping[int, tuple[Overload, ...]]
    # How many types the checker visited, including the parts of types.
    work: int


def children(node: Expr) -> tuple[Expr, ...]:
    """The child nodes, in source order."""
    if isinstance(node, Literal | Ident):
        return ()
    if isinstance(node, Select):
        return (node.operand,)
    if isinstance(node, Index):
        return (node.operand, node.index)
    if isinstance(node, Call):
        return node.args if node.target is None else (node.target, *node.args)
    if isinstance(node, ListLit):
        return node.elements
    if isinstance(node, MapLit):
        return tuple(part for entry in node.entries for part in (entry.key, entry.value))
    if isinstance(node, StructLit):
        return tuple(init.value for init in node.fields)
    if node.condition is None:
        return (node.range, node.body)
    return (node.range, node.condition, node.body)


def walk(root: Expr) -> Iterator[Expr]:
    """Every node, parents first, without recursion."""
    stack = [root]
    while stack:
        node = stack.pop()
        yield node
        stack.extend(reversed(children(node)))


def spine(node: Expr) -> list[Call]:
    """The left-leaning chain of binary operators that ends in `node`, innermost first; empty for other nodes."""
    calls: list[Call] = []
    while isinstance(node, Call) and node.function in SPINE_OPERATORS:
        calls.append(node)
        node = node.args[0]
    calls.reverse()
    return calls


def dotted(node: Expr) -> str | None:
    """`a.b.c` for a chain of plain selections on an identifier, otherwise None."""
    names: list[str] = []
    while isinstance(node, Select) and not node.test and not node.optional:
        names.append(node.field)
        node = node.operand
    if not isinstance(node, Ident):
        return None
    names.append(node.name)
    return ".".join(reversed(names))


def qualified_name(call: Call) -> str | None:
    """The name of a namespaced function, such as `math.least` for `math.least(x)`; None if the call cannot be one."""
    if call.target is None:
        return call.function
    namespace = dotted(call.target)
    return None if namespace is None else f"{namespace}.{call.function}"
