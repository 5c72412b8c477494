"""The reductions of the parser: for each rule of the grammar, they make nodes and expand macros.

REDUCTIONS maps the text of a rule to a function of (builder, values of its symbols, and where
each symbol starts and ends). A rule of one symbol without a reduction returns the symbol's value.
"""

from collections.abc import Callable
from types import MappingProxyType
from typing import Any, Final, TypeAlias

from kroasync.cel import syntax
from kroasync.cel.errors import Span
from kroasync.cel.parse import literals, macros
from kroasync.cel.parse.builder import TreeBuilder
from kroasync.cel.syntax import (
    SPINE_OPERATORS,
    Call,
    Expr,
    FieldInit,
    Ident,
    Index,
    ListLit,
    Literal,
    MapEntry,
    MapLit,
    Select,
    StructLit,
)
from kroasync.cel.values import INT_MIN

# RESERVED in the CEL specification: variables and functions must not have these names; fields may.
RESERVED: Final = frozenset(
    (
        *("as", "break", "const", "continue", "else", "false", "for", "function", "if", "import", "in", "let"),
        *("loop", "null", "package", "namespace", "return", "true", "var", "void", "while"),
    )
)
_Positions: TypeAlias = list[int]


def _literal(convert: Callable[[str], Any]) -> "Reduction":
    def reduce(b: TreeBuilder, values: list[Any], starts: _Positions, ends: _Positions) -> Expr:
        try:
            value = convert(values[0])
        except literals.LiteralError as error:
            start = starts[0] + error.offset
            b.issue(f"Syntax error: {error}", (start, max(ends[0], start + 1)))
            value = None
        return Literal(b.new_id(1), (starts[0], ends[0]), starts[0], value)

    return reduce


def _constant(value: bool | None) -> "Reduction":
    def reduce(b: TreeBuilder, values: list[Any], starts: _Positions, ends: _Positions) -> Expr:
        return Literal(b.new_id(1), (starts[0], ends[0]), starts[0], value)

    return reduce


def _binary(function: str) -> "Reduction":
    leans = function in SPINE_OPERATORS

    def reduce(b: TreeBuilder, values: list[Any], starts: _Positions, ends: _Positions) -> Expr:
        # The grammar has two rules for a relation: `relation_lt: relation "<"`, then `relation: relation_lt addition`.
        (left, at), right = values
        node = Call(b.new_id(), (starts[0], ends[-1]), at, function, None, (left, right))
        if leans:
            before = b.depth(left) if isinstance(left, Call) and left.function in SPINE_OPERATORS else b.depth(left) + 1
            return b.add(node, spine=max(before, b.depth(right) + 1))
        return b.add(node)

    return reduce


def _left(b: TreeBuilder, values: list[Any], starts: _Positions, ends: _Positions) -> Any:
    return values[0], starts[1]


def _logical(function: str) -> "Reduction":
    def reduce(b: TreeBuilder, values: list[Any], starts: _Positions, ends: _Positions) -> Expr:
        left, _, right = values
        span = (starts[0], ends[2])
        if isinstance(left, _Chain) and left.function == function and left.start == starts[0]:
            left.args.append(right)
            left.end = ends[2]
            return left  # type: ignore[return-value]
        return _Chain(function, [_finish(b, left), right], span, starts[1])  # type: ignore[return-value]

    return reduce


class _Chain:
    """`a && b && c` while it grows; it becomes a Call when the rule above it is reduced."""

    __slots__ = ("args", "at", "end", "function", "start")

    def __init__(self, function: str, args: list[Expr], span: Span, at: int) -> None:
        self.function = function
        self.args = args
        self.start, self.end = span
        self.at = at


def _finish(b: TreeBuilder, value: Any) -> Any:
    if isinstance(value, _Chain):
        return b.call(value.function, tuple(value.args), (value.start, value.end), value.at)
    return value


def _finish_only(b: TreeBuilder, values: list[Any], starts: _Positions, ends: _Positions) -> Any:
    return _finish(b, values[0])


def _or(b: TreeBuilder, values: list[Any], starts: _Positions, ends: _Positions) -> Any:
    return _OR(b, [values[0], values[1], _finish(b, values[2])], starts, ends)


def _conditional(b: TreeBuilder, values: list[Any], starts: _Positions, ends: _Positions) -> Expr:
    return b.call(
        syntax.CONDITIONAL, (_finish(b, values[0]), _finish(b, values[2]), values[4]), (starts[0], ends[4]), starts[1]
    )


def _count_one(b: TreeBuilder, values: list[Any], starts: _Positions, ends: _Positions) -> Any:
    return 1


def _count_more(b: TreeBuilder, values: list[Any], starts: _Positions, ends: _Positions) -> Any:
    return values[0] + 1


def _unary(function: str) -> "Reduction":
    def reduce(b: TreeBuilder, values: list[Any], starts: _Positions, ends: _Positions) -> Expr:
        count, operand = values
        # As in cel-go, an even number of signs cancels out.
        if count % 2 == 0:
            return operand  # type: ignore[no-any-return]
        if (
            function == syntax.NEGATE
            and isinstance(operand, Literal)
            and type(operand.value) in (int, float)
            and operand.id not in b.parenthesised
        ):
            if operand.value == INT_MIN:
                b.issue("invalid int literal", operand.span)
            return b.literal(-operand.value, (starts[0], ends[1]))
        return b.call(function, (operand,), (starts[0], ends[1]), starts[0])

    return reduce


def _select(*, field: int, optional: bool) -> "Reduction":
    def reduce(b: TreeBuilder, values: list[Any], starts: _Positions, ends: _Positions) -> Expr:
        span = (starts[0], ends[-1])
        return b.add(Select(b.new_id(), span, starts[1], values[0], values[field], False, optional))

    return reduce


def _index(*, index: int, optional: bool) -> "Reduction":
    def reduce(b: TreeBuilder, values: list[Any], starts: _Positions, ends: _Positions) -> Expr:
        return b.add(Index(b.new_id(), (starts[0], ends[-1]), starts[1], values[0], values[index], optional))

    return reduce


def _field_name(b: TreeBuilder, values: list[Any], starts: _Positions, ends: _Positions) -> str:
    text: str = values[0]
    return text[1:-1] if text[0] == "`" else text


def _ident(b: TreeBuilder, values: list[Any], starts: _Positions, ends: _Positions) -> Expr:
    return Ident(b.new_id(1), (starts[0], ends[0]), starts[0], _unreserved(b, values[0], starts[0], ends[0]))


def _absolute_ident(b: TreeBuilder, values: list[Any], starts: _Positions, ends: _Positions) -> Expr:
    name = _unreserved(b, values[1], starts[1], ends[1])
    return Ident(b.new_id(1), (starts[0], ends[1]), starts[0], name, True)


def _unreserved(b: TreeBuilder, name: str, start: int, end: int) -> str:
    if name in RESERVED:
        b.issue(f"reserved identifier: {name}", (start, end))
    return name


def _global_call(*, name: int) -> "Reduction":
    def reduce(b: TreeBuilder, values: list[Any], starts: _Positions, ends: _Positions) -> Expr:
        function = _unreserved(b, values[name], starts[name], ends[name])
        args = tuple(values[name + 2]) if len(values) == name + 4 else ()
        span, at = (starts[0], ends[-1]), starts[name + 1]
        expanded = macros.expand_global(b, function, args, span, at)
        return expanded if expanded is not None else b.call(function, args, span, at)

    return reduce


def _member_call(b: TreeBuilder, values: list[Any], starts: _Positions, ends: _Positions) -> Expr:
    target, function = values[0], values[2]
    args = tuple(values[4]) if len(values) == 6 else ()
    span, at = (starts[0], ends[-1]), starts[3]
    expanded = macros.expand_member(b, target, function, args, span, at)
    if expanded is not None:
        return expanded
    return b.add(Call(b.new_id(), span, at, function, target, args))


def _parenthesised(b: TreeBuilder, values: list[Any], starts: _Positions, ends: _Positions) -> Expr:
    node: Expr = values[1]
    b.parenthesised.add(node.id)
    return node


def _one(b: TreeBuilder, values: list[Any], starts: _Positions, ends: _Positions) -> list[Any]:
    return [values[0]]


def _more(b: TreeBuilder, values: list[Any], starts: _Positions, ends: _Positions) -> list[Any]:
    values[0].append(values[2])
    return values[0]  # type: ignore[no-any-return]


def _plain_element(b: TreeBuilder, values: list[Any], starts: _Positions, ends: _Positions) -> Any:
    return values[0], False


def _optional_element(b: TreeBuilder, values: list[Any], starts: _Positions, ends: _Positions) -> Any:
    return values[1], True


def _list(b: TreeBuilder, values: list[Any], starts: _Positions, ends: _Positions) -> Expr:
    items = values[1] if isinstance(values[1], list) else []
    optional = frozenset(i for i, (_, is_optional) in enumerate(items) if is_optional)
    elements = tuple(node for node, _ in items)
    return b.add(ListLit(b.new_id(), (starts[0], ends[-1]), starts[0], elements, optional))


def _entry(b: TreeBuilder, values: list[Any], starts: _Positions, ends: _Positions) -> MapEntry:
    optional = len(values) == 4
    key, colon, value = values[-3], starts[-2], values[-1]
    return MapEntry(b.new_id(), (starts[0], ends[-1]), colon, key, value, optional)


def _map(b: TreeBuilder, values: list[Any], starts: _Positions, ends: _Positions) -> Expr:
    entries = tuple(values[1]) if isinstance(values[1], list) else ()
    return b.add(MapLit(b.new_id(), (starts[0], ends[-1]), starts[0], entries))


def _field_init(b: TreeBuilder, values: list[Any], starts: _Positions, ends: _Positions) -> FieldInit:
    optional = len(values) == 4
    return FieldInit(b.new_id(), (starts[0], ends[-1]), starts[-2], values[-3], values[-1], optional)


def _struct(b: TreeBuilder, values: list[Any], starts: _Positions, ends: _Positions) -> Expr:
    name = syntax.dotted(values[0])
    if name is None or values[0].id in b.parenthesised:
        b.issue("Syntax error: unexpected input '{'", (starts[1], ends[1]))
    elif _absolute_root(values[0]):
        name = "." + name
    fields = tuple(values[2]) if isinstance(values[2], list) else ()
    return b.add(StructLit(b.new_id(), (starts[0], ends[-1]), starts[1], name or "", fields))


def _absolute_root(node: Expr) -> bool:
    while isinstance(node, Select):
        node = node.operand
    return isinstance(node, Ident) and node.absolute


Reduction: TypeAlias = Callable[[TreeBuilder, list[Any], list[int], list[int]], Any]
_OR: Final = _logical(syntax.OR)
_AND: Final = _logical(syntax.AND)


def _binary_rules() -> dict[str, Reduction]:
    rules: dict[str, Reduction] = {}
    families = {
        ("relation", "addition"): {
            "lt": ("<", syntax.LESS),
            "le": ("<=", syntax.LESS_EQUAL),
            "gt": (">", syntax.GREATER),
            "ge": (">=", syntax.GREATER_EQUAL),
            "eq": ("==", syntax.EQUAL),
            "ne": ("!=", syntax.NOT_EQUAL),
            "in": ("in", syntax.IN),
        },
        ("addition", "multiplication"): {"add": ("+", syntax.ADD), "sub": ("-", syntax.SUBTRACT)},
        ("multiplication", "unary"): {
            "mul": ("*", syntax.MULTIPLY),
            "div": ("/", syntax.DIVIDE),
            "mod": ("%", syntax.MODULO),
        },
    }
    for (level, operand), operators in families.items():
        for short, (sign, function) in operators.items():
            rules[f"{level}_{short}: {level} {sign}"] = _left
            rules[f"{level}: {level}_{short} {operand}"] = _binary(function)
    return rules


REDUCTIONS: Final = MappingProxyType(
    {
        **_binary_rules(),
        "expr: conditionalor": _finish_only,
        "expr: conditionalor ? conditionalor : expr": _conditional,
        "conditionalor: conditionalor || conditionaland": _or,
        "conditionaland: conditionaland && relation": _AND,
        "nots: !": _count_one,
        "nots: nots !": _count_more,
        "negs: -": _count_one,
        "negs: negs -": _count_more,
        "unary: nots member": _unary(syntax.NOT),
        "unary: negs member": _unary(syntax.NEGATE),
        "member_dot: member . field": _select(field=2, optional=False),
        "member_optdot: member . ? field": _select(field=3, optional=True),
        "member_index: member [ expr ]": _index(index=2, optional=False),
        "member_optindex: member [ ? expr ]": _index(index=3, optional=True),
        "member_dot_arg: member . IDENT ( )": _member_call,
        "member_dot_arg: member . IDENT ( exprlist )": _member_call,
        "member_object: member { }": _struct,
        "member_object: member { fieldinits }": _struct,
        "member_object: member { fieldinits , }": _struct,
        "field: IDENT": _field_name,
        "field: ESC_IDENT": _field_name,
        "ident: IDENT": _ident,
        "dot_ident: . IDENT": _absolute_ident,
        "ident_arg: IDENT ( )": _global_call(name=0),
        "ident_arg: IDENT ( exprlist )": _global_call(name=0),
        "dot_ident_arg: . IDENT ( )": _global_call(name=1),
        "dot_ident_arg: . IDENT ( exprlist )": _global_call(name=1),
        "paren_expr: ( expr )": _parenthesised,
        "exprlist: expr": _one,
        "exprlist: exprlist , expr": _more,
        "list_lit: [ ]": _list,
        "list_lit: [ listinits ]": _list,
        "list_lit: [ listinits , ]": _list,
        "listinits: listinit": _one,
        "listinits: listinits , listinit": _more,
        "listinit: expr": _plain_element,
        "listinit: ? expr": _optional_element,
        "map_lit: { }": _map,
        "map_lit: { mapinits }": _map,
        "map_lit: { mapinits , }": _map,
        "mapinits: mapinit": _one,
        "mapinits: mapinits , mapinit": _more,
        "mapinit: expr : expr": _entry,
        "mapinit: ? expr : expr": _entry,
        "fieldinits: fieldinit": _one,
        "fieldinits: fieldinits , fieldinit": _more,
        "fieldinit: field : expr": _field_init,
        "fieldinit: ? field : expr": _field_init,
        "literal: INT_LIT": _literal(literals.int_value),
        "literal: UINT_LIT": _literal(literals.uint_value),
        "literal: FLOAT_LIT": _literal(literals.double_value),
        "literal: STRING_LIT": _literal(literals.string_value),
        "literal: BYTES_LIT": _literal(literals.bytes_value),
        "literal: true": _constant(True),
        "literal: false": _constant(False),
        "literal: null": _constant(None),
    }
)
