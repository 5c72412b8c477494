"""Checks of calls whose arguments are literals, made before anything runs, as cel-go makes them.

`'%d'.format(['a'])` and `math.least('a')` fail whatever the data; so they are faults of the expression.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Final, TypeAlias

from kroasync.cel.syntax import Call, Expr, ListLit, Literal, MapLit
from kroasync.cel.types import Type

_MAX_PRECISION: Final = 100
_CLAUSE: Final = re.compile(r"%(?:%|(\.[0-9]+)?(.?))", re.DOTALL)

_NUMBERS: Final = frozenset(("int", "uint", "double"))
_ANY_PRINTED: Final = frozenset(
    (
        "null",
        "bool",
        "int",
        "uint",
        "double",
        "string",
        "bytes",
        "timestamp",
        "duration",
        "list",
        "map",
        "type",
    )
)
# Verb: the kinds it formats, and what cel-go says of others.
_VERBS: Final[Mapping[str, tuple[frozenset[str], str]]] = MappingProxyType(
    {
        "s": (
            _ANY_PRINTED,
            "string clause can only be used on strings, bools, bytes, ints, doubles, maps, lists, types, "
            "durations, and timestamps",
        ),
        "d": (_NUMBERS, "decimal clause can only be used on ints, uints, and doubles"),
        "f": (_NUMBERS, "fixed-point clause can only be used on ints, uints, and doubles"),
        "e": (_NUMBERS, "scientific clause can only be used on ints, uints, and doubles"),
        "b": (frozenset(("int", "uint", "bool")), "only ints, uints, and bools can be formatted as binary"),
        "x": (
            frozenset(("int", "uint", "string", "bytes")),
            "only ints, uints, bytes, and strings can be formatted as hex",
        ),
        "X": (
            frozenset(("int", "uint", "string", "bytes")),
            "only ints, uints, bytes, and strings can be formatted as hex",
        ),
        "o": (frozenset(("int", "uint")), "octal clause can only be used on ints and uints"),
    }
)
# What is only known at run time.
_UNKNOWN: Final = frozenset(("dyn", "error", "param"))


LiteralFault: TypeAlias = tuple[Expr, str]


def literal_fault(
    call: Call, function: str, final: Callable[[Type], Type], types: Mapping[int, Type]
) -> LiteralFault | None:
    """The first thing wrong with a call's literal arguments: the node at fault and the message."""
    if function == "format":
        return next(_format_faults(call, final, types), None)
    if function in ("math.least", "math.greatest"):
        return next(_extreme_faults(call, function), None)
    return None


def _extreme_faults(call: Call, function: str) -> Iterator[LiteralFault]:
    """The arguments of `math.least` and `math.greatest`; the parser makes a list of three and more."""
    if not call.args:
        yield call, f"{function}() requires at least one argument"
    single, several = "invalid single argument value", "simple literal arguments must be numeric"
    for arg in call.args:
        if isinstance(arg, MapLit) or (isinstance(arg, ListLit) and not arg.elements):
            yield arg, f"{function}() {single}"
        elements = arg.elements if isinstance(arg, ListLit) else (arg,)
        refusal = single if elements == call.args else several
        for element in elements:
            if isinstance(element, Literal) and not _is_number(element.value):
                yield element, f"{function}() {refusal}"


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _format_faults(call: Call, final: Callable[[Type], Type], types: Mapping[int, Type]) -> Iterator[LiteralFault]:
    text, arguments = call.target, call.args[0] if call.args else None
    if not isinstance(text, Literal) or not isinstance(text.value, str):
        return
    if not isinstance(arguments, ListLit) or arguments.optional:
        return
    used = 0
    for match in _CLAUSE.finditer(text.value):
        if match.group() == "%%":
            continue
        message = _clause_fault(match.group(1), match.group(2))
        if message is None and used >= len(arguments.elements):
            message = f"index {used} out of range"
        if message is not None:
            yield arguments, message
            return
        argument = arguments.elements[used]
        used += 1
        kinds, refusal = _VERBS[match.group(2)]
        found = final(types[argument.id])
        if found.kind not in kinds and found.kind not in _UNKNOWN:
            yield argument, f"error during formatting: {refusal}, was given {_name(found) if found.params else found}"
            return
    if used != len(arguments.elements):
        given = len(arguments.elements)
        yield arguments, f"too many arguments supplied to string.format (expected {used}, got {given})"


def _clause_fault(precision: str | None, verb: str) -> str | None:
    if not verb:
        return "unexpected end of string"
    if precision is not None and (len(precision) > 4 or int(precision[1:]) > _MAX_PRECISION):
        return (
            "could not parse formatting clause: error while parsing precision: "
            f"precision {precision[1:12]} exceeds maximum allowed precision {_MAX_PRECISION}"
        )
    if verb not in _VERBS:
        return f'could not parse formatting clause: unrecognized formatting clause "{verb}"'
    return None


def shown(type_: Type) -> str:
    """A type as cel-go's messages write it, which is shorter than the type's own name for some."""
    if type_.kind in ("null", "timestamp", "duration"):
        return type_.kind
    if not type_.params:
        return str(type_)
    return f"{_name(type_)}({', '.join(map(shown, type_.params))})"


def _name(type_: Type) -> str:
    return type_.name or ("optional_type" if type_.kind == "optional" else type_.kind)
