"""Prints a syntax tree. The text parses to the same tree; layout, comments and needless parentheses are lost."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

from kroasync.cel import syntax
from kroasync.cel.syntax import (
    CONDITION_KEYS,
    Call,
    Expr,
    Ident,
    Index,
    ListLit,
    Literal,
    Macro,
    MapLit,
    Select,
    StructLit,
)
from kroasync.cel.values import UInt

# The precedence of a node; an operand with a lower precedence needs parentheses.
_CONDITIONAL: Final = 1
_OR: Final = 2
_AND: Final = 3
_RELATION: Final = 4
_ADDITION: Final = 5
_MULTIPLICATION: Final = 6
_UNARY: Final = 7
_MEMBER: Final = 8

_BINARY: Final[Mapping[str, tuple[int, str]]] = MappingProxyType(
    {
        syntax.LESS: (_RELATION, "<"),
        syntax.LESS_EQUAL: (_RELATION, "<="),
        syntax.GREATER: (_RELATION, ">"),
        syntax.GREATER_EQUAL: (_RELATION, ">="),
        syntax.EQUAL: (_RELATION, "=="),
        syntax.NOT_EQUAL: (_RELATION, "!="),
        syntax.IN: (_RELATION, "in"),
        syntax.ADD: (_ADDITION, "+"),
        syntax.SUBTRACT: (_ADDITION, "-"),
        syntax.MULTIPLY: (_MULTIPLICATION, "*"),
        syntax.DIVIDE: (_MULTIPLICATION, "/"),
        syntax.MODULO: (_MULTIPLICATION, "%"),
    }
)
_LOGIC: Final = MappingProxyType({syntax.AND: (_AND, " && "), syntax.OR: (_OR, " || ")})
_UNARY_SIGNS: Final = MappingProxyType({syntax.NOT: "!", syntax.NEGATE: "-"})
_CONSTANTS: Final = MappingProxyType({None: "null", True: "true", False: "false"})
_FIELD_CHARACTERS: Final = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_")
# Words that the grammar does not accept as names, not even after a dot.
_KEYWORDS: Final = frozenset(("in", "true", "false", "null"))


def unparse(node: Expr) -> str:
    """An expression that parses to this tree."""
    return _print(node, _CONDITIONAL)


def _print(node: Expr, context: int) -> str:
    strength, text = _PRINT[type(node)](node)
    return f"({text})" if strength < context else text


def _literal(node: Literal) -> tuple[int, str]:
    value: Any = node.value
    if isinstance(value, str):
        return _MEMBER, quote(value)
    if isinstance(value, bytes):
        return _MEMBER, quote_bytes(value)
    if isinstance(value, UInt):
        return _MEMBER, f"{int(value)}u"
    if isinstance(value, float):
        return _MEMBER, double_text(value)
    return _MEMBER, _CONSTANTS[value] if value is None or isinstance(value, bool) else str(value)


def _ident(node: Ident) -> tuple[int, str]:
    return _MEMBER, f".{node.name}" if node.absolute else node.name


def _operand(node: Expr) -> str:
    text = _print(node, _MEMBER)
    # The scanner would read `1.a` as the start of a double; `-1.a` is unambiguous, but easy to misread.
    return f"({text})" if isinstance(node, Literal) and isinstance(node.value, int | float) else text


def _field(name: str) -> str:
    plain = name and not name[0].isdigit() and _FIELD_CHARACTERS.issuperset(name) and name not in _KEYWORDS
    return name if plain else f"`{name}`"


def _select(node: Select) -> tuple[int, str]:
    text = f"{_operand(node.operand)}.{'?' if node.optional else ''}{_field(node.field)}"
    return _MEMBER, f"has({text})" if node.test else text


def _index(node: Index) -> tuple[int, str]:
    key = _print(node.index, _CONDITIONAL)
    return _MEMBER, f"{_operand(node.operand)}[{'?' if node.optional else ''}{key}]"


def _call(node: Call) -> tuple[int, str]:
    if node.target is None and node.function in _LOGIC:
        strength, joint = _LOGIC[node.function]
        return strength, joint.join(_print(arg, strength + 1) for arg in node.args)
    if node.target is None and node.function in _BINARY:
        return _binary(node)
    if node.target is None and node.function in _UNARY_SIGNS:
        sign = _UNARY_SIGNS[node.function]
        text = _print(node.args[0], _MEMBER)
        # Without parentheses, signs would cancel out or become part of a number.
        inner = node.args[0]
        clash = (
            isinstance(inner, Literal) and isinstance(inner.value, int | float) and not isinstance(inner.value, bool)
        )
        return _UNARY, f"{sign}({text})" if clash else sign + text
    if node.function == syntax.CONDITIONAL:
        test, then, otherwise = node.args
        parts = (_print(test, _OR), _print(then, _OR), _print(otherwise, _CONDITIONAL))
        return _CONDITIONAL, "{} ? {} : {}".format(*parts)
    if node.function == syntax.NEW_CONDITION:
        entries = ", ".join(f"{key}: {_print(value, _CONDITIONAL)}" for key, value in _condition_entries(node))
        return _MEMBER, f"runtime.newCondition({{{entries}}})"
    arguments = ", ".join(_print(arg, _CONDITIONAL) for arg in node.args)
    target = "" if node.target is None else f"{_operand(node.target)}."
    return _MEMBER, f"{target}{node.function}({arguments})"


def _binary(node: Call) -> tuple[int, str]:
    """A chain of operators of one precedence, without recursion into its left side."""
    strength, _ = _BINARY[node.function]
    parts: list[str] = []
    left: Expr = node
    while isinstance(left, Call) and left.function in _BINARY and _BINARY[left.function][0] == strength:
        parts.append(f" {_BINARY[left.function][1]} {_print(left.args[1], strength + 1)}")
        left = left.args[0]
    parts.append(_print(left, strength))
    return strength, "".join(reversed(parts))


def _list(node: ListLit) -> tuple[int, str]:
    elements = (
        ("?" if place in node.optional else "") + _print(element, _CONDITIONAL)
        for place, element in enumerate(node.elements)
    )
    return _MEMBER, f"[{', '.join(elements)}]"


def _map(node: MapLit) -> tuple[int, str]:
    entries = (
        f"{'?' if entry.optional else ''}{_print(entry.key, _CONDITIONAL)}: {_print(entry.value, _CONDITIONAL)}"
        for entry in node.entries
    )
    return _MEMBER, f"{{{', '.join(entries)}}}"


def _struct(node: StructLit) -> tuple[int, str]:
    fields = (
        f"{'?' if init.optional else ''}{_field(init.field)}: {_print(init.value, _CONDITIONAL)}"
        for init in node.fields
    )
    return _MEMBER, f"{node.name}{{{', '.join(fields)}}}"


def _macro(node: Macro) -> tuple[int, str]:
    variables = ", ".join(node.variables)
    body = _print(node.body, _CONDITIONAL)
    if node.kind == "bind":
        return _MEMBER, f"cel.bind({variables}, {_print(node.range, _CONDITIONAL)}, {body})"
    condition = "" if node.condition is None else f"{_print(node.condition, _CONDITIONAL)}, "
    return _MEMBER, f"{_operand(node.range)}.{node.kind}({variables}, {condition}{body})"


_PRINT: Final[Mapping[type, Callable[[Any], tuple[int, str]]]] = MappingProxyType(
    {
        Literal: _literal,
        Ident: _ident,
        Select: _select,
        Index: _index,
        Call: _call,
        ListLit: _list,
        MapLit: _map,
        StructLit: _struct,
        Macro: _macro,
    }
)


def same(left: Expr, right: Expr) -> bool:
    """True if two trees are equal except for their ids and spans."""
    pairs = [(left, right)]
    while pairs:
        a, b = pairs.pop()
        if type(a) is not type(b) or _label(a) != _label(b):
            return False
        below_a, below_b = syntax.children(a), syntax.children(b)
        if len(below_a) != len(below_b):
            return False
        pairs.extend(zip(below_a, below_b, strict=True))
    return True


def _label(node: Expr) -> object:
    """The content of a node without its children."""
    match node:
        case Literal():
            return type(node.value), repr(node.value)
        case Ident():
            return node.name, node.absolute
        case Select():
            return node.field, node.test, node.optional
        case Index():
            return node.optional
        case Call():
            return node.function, node.target is None
        case ListLit():
            return node.optional
        case MapLit():
            return tuple(entry.optional for entry in node.entries)
        case StructLit():
            return node.name, tuple((init.field, init.optional) for init in node.fields)
        case Macro():
            return node.kind, node.variables, node.condition is None


def _condition_entries(call: Call) -> list[tuple[str, Expr]]:
    """The keys and values that were written, for printing."""
    return [
        (key, value)
        for key, value in zip(CONDITION_KEYS, call.args, strict=True)
        if not (isinstance(value, Literal) and value.span[0] == value.span[1])
    ]


def quote(text: str) -> str:
    """A string literal with this value."""
    return '"' + "".join(_quoted_char(char) for char in text) + '"'


def quote_bytes(data: bytes) -> str:
    """A bytes literal with this value."""
    return 'b"' + "".join(chr(b) if 32 <= b < 127 and b not in b'"\\' else f"\\x{b:02x}" for b in data) + '"'


_QUOTED: Final = {"\n": "\\n", "\r": "\\r", "\t": "\\t", '"': '\\"', "\\": "\\\\"}


def _quoted_char(char: str) -> str:
    if char in _QUOTED:
        return _QUOTED[char]
    code = ord(char)
    if code < 32 or code == 127:
        return f"\\x{code:02x}"
    return char


def double_text(value: float) -> str:
    """A double literal with this (finite) value."""
    text = repr(value)
    return text if any(char in text for char in ".en") else text + ".0"
