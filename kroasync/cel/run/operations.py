"""The operators on values: equality, order, arithmetic, membership, selection.

The semantics are those of cel-go: numbers of different types compare by value; int and uint never wrap around; an
operator raises OverloadError for types that it is not defined for.
"""

import math
from typing import Any, Final, NoReturn

from kroasync.cel.errors import (
    EvalError,
    IndexError_,
    NoSuchFieldError,
    NoSuchKeyError,
    OverloadError,
    RangeError,
    ValueError_,
)
from kroasync.cel.meter import CHARS_PER_STEP, COMPARED_PER_STEP, ITEMS_PER_STEP, SEARCHED_PER_STEP, Meter
from kroasync.cel.run import times
from kroasync.cel.values import (
    INT_MAX,
    INT_MIN,
    NONE,
    OMIT,
    TYPE_OF,
    UINT_MAX,
    BoolKey,
    Condition,
    Duration,
    Optional,
    Timestamp,
    UInt,
    to_key,
)

_NUMBERS: Final = frozenset((int, UInt, float))
# Python compares two values of one of these classes as CEL does.
PLAIN: Final = frozenset((str, int, UInt, float, bool, bytes, type(None)))
ORDERED: Final = frozenset((str, int, UInt, float, bool, bytes, Timestamp, Duration))
# The classes of them whose values take the same time to compare, whatever their size.
FIXED: Final = frozenset((int, UInt, float, bool))
TEXTS: Final = frozenset((str, bytes))
# How much of a key or text a message shows.
_SHOWN: Final = 200
# The cost of comparing opaque values of a library, apart from their size.
_OPAQUE_STEPS: Final = 16
# How much of the size of such values is compared in one step.
_OPAQUE_PER_STEP: Final = 4
# Classes of values that can be looked up in a map; a double finds an integer of the same value.
KEYS: Final = frozenset((str, int, UInt, float, bool))
# As for cel-go's attributes, a key of these values does not exist; it is not a type error.
_KEYLESS: Final = frozenset((str, bytes, int, UInt, float, bool, type(None), Timestamp, Duration))
_MISSING: Final = object()


def type_name(value: Any) -> str:
    """The name of a value's type in messages."""
    known = TYPE_OF.get(type(value)) or getattr(type(value), "cel_type", None)
    if known is None:
        return type(value).__name__
    return known.kind if known.kind in ("list", "map", "type", "optional") else str(known)


def no_overload(operator: str, *values: Any) -> NoReturn:
    raise OverloadError(f"no such overload: {operator} applied to ({', '.join(map(type_name, values))})")


# Equality


def equal(a: Any, b: Any, budget: Meter | None = None) -> bool:
    """CEL's `==`: different types never raise, except for the omit sentinel."""
    kind = a.__class__
    if kind is b.__class__ and kind in PLAIN:
        return bool(a == b) if kind in FIXED or budget is None else same_text(a, b, budget)
    if budget is not None:
        budget.spend(1)
    # Pairs to compare. A stack instead of recursion, because data may be nested deeper than Python allows.
    pairs = [(a, b)]
    while pairs:
        left, right = pairs.pop()
        kind = left.__class__
        if kind is right.__class__:
            if kind in PLAIN:
                if budget is not None and kind in TEXTS and len(left) == len(right) > COMPARED_PER_STEP:
                    budget.spend(len(left) // COMPARED_PER_STEP)
                if left != right:
                    return False
            elif kind is list or kind is dict:
                if len(left) != len(right):
                    return False
                if budget is not None:
                    budget.spend(4 + len(left) + (_key_size(left) // COMPARED_PER_STEP if kind is dict else 0))
                if not _pair(left, right, pairs):
                    return False
            elif kind is Optional:
                if left.present is not right.present:
                    return False
                if budget is not None:
                    budget.spend(1)
                pairs.append((left.value, right.value))
            elif hasattr(kind, "cel_size"):
                if budget is not None:
                    budget.spend(_OPAQUE_STEPS + (left.cel_size + right.cel_size) // _OPAQUE_PER_STEP)
                if left != right:
                    return False
            elif left is OMIT or left != right:
                return _refuse_omit(left, right)
        elif not (kind in _NUMBERS and right.__class__ in _NUMBERS and equal_numbers(left, right)):
            return _refuse_omit(left, right)
    return True


def same_text(a: Any, b: Any, budget: Meter) -> bool:
    """Equality of two strings, or other plain values of one class; does not read texts of different lengths."""
    if a.__class__ in TEXTS and len(a) == len(b) > COMPARED_PER_STEP:
        budget.spend(len(a) // COMPARED_PER_STEP)
    return bool(a == b)


def _key_size(mapping: dict[Any, Any]) -> int:
    return sum([len(key) for key in mapping if key.__class__ is str])


def _pair(left: Any, right: Any, pairs: list[tuple[Any, Any]]) -> bool:
    """Queue the elements of two lists or maps of the same length; False if their keys differ."""
    if left.__class__ is list:
        pairs.extend(zip(left, right, strict=True))
        return True
    for key, value in left.items():
        if key not in right:
            return False
        pairs.append((value, right[key]))
    return True


def _refuse_omit(left: Any, right: Any) -> bool:
    if left is OMIT or right is OMIT:
        raise EvalError("omit() is a field-removal sentinel and cannot be compared")
    return False


def equal_numbers(a: Any, b: Any) -> bool:
    """Equality of two numbers; as in cel-go, an integer is rounded to a double to compare it with a double."""
    return float(a) == float(b) if float in (type(a), type(b)) else int(a) == int(b)


def not_equal(a: Any, b: Any, budget: Meter | None = None) -> bool:
    return not equal(a, b, budget)


# Order


def _comparable(operator: str, a: Any, b: Any, budget: Meter | None) -> tuple[Any, Any]:
    """Both values in a form that Python's operators order as CEL does; pays for the comparison."""
    kind = a.__class__
    if kind is b.__class__:
        if kind in TEXTS:
            if budget is not None:
                budget.spend(min(len(a), len(b)) // COMPARED_PER_STEP)
            return a, b
        if kind is Timestamp or kind is Duration:
            return a.ns, b.ns
    kinds = {kind, b.__class__}
    if kinds <= _NUMBERS:
        return (float(a), float(b)) if float in kinds else (a, b)
    if len(kinds) == 1 and kinds <= ORDERED:
        return a, b
    no_overload(operator, a, b)


def less(a: Any, b: Any, budget: Meter | None = None) -> bool:
    a, b = _comparable("_<_", a, b, budget)
    return bool(a < b)


def less_equal(a: Any, b: Any, budget: Meter | None = None) -> bool:
    a, b = _comparable("_<=_", a, b, budget)
    return bool(a <= b)


def greater(a: Any, b: Any, budget: Meter | None = None) -> bool:
    a, b = _comparable("_>_", a, b, budget)
    return bool(a > b)


def greater_equal(a: Any, b: Any, budget: Meter | None = None) -> bool:
    a, b = _comparable("_>=_", a, b, budget)
    return bool(a >= b)


# Arithmetic


def _int(value: int) -> int:
    if not INT_MIN <= value <= INT_MAX:
        raise RangeError("integer overflow", value=value)
    return value


def _uint(value: int) -> UInt:
    if not 0 <= value <= UINT_MAX:
        raise RangeError("unsigned integer overflow", value=value)
    return UInt(value)


def add(a: Any, b: Any, budget: Meter | None = None) -> Any:
    """CEL's `+`: numbers, strings, bytes, lists, durations, timestamp and duration."""
    kind = a.__class__
    if kind is b.__class__:
        if kind is int:
            return _int(a + b)
        if kind is float:
            return a + b
        if kind is str or kind is bytes:
            if budget is not None:
                budget.spend((len(a) + len(b)) // CHARS_PER_STEP)
            return a + b
        if kind is list:
            if budget is not None:
                budget.spend(1 + (len(a) + len(b)) // ITEMS_PER_STEP)
            return a + b
        if kind is UInt:
            return _uint(a + b)
        if kind is Duration:
            if budget is not None:
                budget.spend(1)
            return times.checked_duration(a.ns + b.ns)
    elif {kind, b.__class__} == {Timestamp, Duration}:
        return times.checked_timestamp(a.ns + b.ns)
    no_overload("_+_", a, b)


def subtract(a: Any, b: Any) -> Any:
    kind = a.__class__
    if kind is b.__class__:
        if kind is int:
            return _int(a - b)
        if kind is float:
            return a - b
        if kind is UInt:
            return _uint(a - b)
        if kind is Duration or kind is Timestamp:
            return times.checked_duration(a.ns - b.ns)
    elif kind is Timestamp and b.__class__ is Duration:
        return times.checked_timestamp(a.ns - b.ns)
    no_overload("_-_", a, b)


def multiply(a: Any, b: Any) -> Any:
    kind = a.__class__
    if kind is b.__class__:
        if kind is int:
            return _int(a * b)
        if kind is float:
            return a * b
        if kind is UInt:
            return _uint(a * b)
    no_overload("_*_", a, b)


def divide(a: Any, b: Any) -> Any:
    """CEL's `/`: integers truncate towards zero."""
    kind = a.__class__
    if kind is b.__class__:
        if kind is int:
            if b == 0:
                raise RangeError("division by zero")
            quotient = abs(a) // abs(b)
            return _int(quotient if (a < 0) == (b < 0) else -quotient)
        if kind is float:
            return _divide_doubles(a, b)
        if kind is UInt:
            if b == 0:
                raise RangeError("division by zero")
            return UInt(a // b)
    no_overload("_/_", a, b)


def _divide_doubles(a: float, b: float) -> float:
    if b != 0:
        return a / b
    if a == 0 or math.isnan(a):
        return math.nan
    return math.copysign(math.inf, a) * math.copysign(1.0, b)


def modulo(a: Any, b: Any) -> Any:
    """CEL's `%`: the result has the sign of the dividend."""
    kind = a.__class__
    if kind is b.__class__ and (kind is int or kind is UInt):
        if b == 0:
            raise RangeError("modulus by zero")
        if kind is UInt:
            return UInt(a % b)
        rest = abs(a) % abs(b)
        return -rest if a < 0 else rest
    no_overload("_%_", a, b)


def negate(value: Any) -> Any:
    if value.__class__ is int:
        return _int(-value)
    if value.__class__ is float:
        return -value
    if value.__class__ is Duration:
        return times.checked_duration(-value.ns)
    no_overload("-_", value)


def logical_not(value: Any) -> bool:
    if value is True:
        return False
    if value is False:
        return True
    no_overload("!_", value)


# Containers


def contains(item: Any, container: Any, budget: Meter | None = None) -> bool:
    """CEL's `in`: an element of a list or a key of a map."""
    if container.__class__ is dict:
        if item.__class__ not in KEYS:
            if item is OMIT:
                _refuse_omit(item, item)
            return False
        if budget is not None and item.__class__ is str:
            budget.spend(len(item) // COMPARED_PER_STEP)
        return to_key(item) in container
    if container.__class__ is not list:
        no_overload("@in", item, container)
    if budget is not None:
        budget.spend(2 + len(container) // SEARCHED_PER_STEP)
    return any(equal(item, element, budget) for element in container)


def key_text(key: Any) -> str:
    """The text of a key in messages."""
    return key[:_SHOWN] if key.__class__ is str else repr(key.value if key.__class__ is BoolKey else key)


def index(container: Any, key: Any) -> Any:
    """`container[key]`; raises NoSuchKeyError for a missing key, IndexError_ for a missing index."""
    if container.__class__ is not list and key.__class__ not in KEYS:
        raise OverloadError(f"invalid qualifier type: {type_name(key)}", value=key)
    if container.__class__ is dict:
        try:
            return container[to_key(key)]
        except KeyError:
            raise NoSuchKeyError(f"no such key: {key_text(key)}", value=key) from None
    if container.__class__ is list:
        position = list_position(key)
        if not 0 <= position < len(container):
            raise IndexError_(f"index out of bounds: {position}", value=key)
        return container[position]
    if container.__class__ in _KEYLESS:
        raise NoSuchKeyError(f"no such key: {key_text(key)}", value=key)
    no_overload("_[_]", container, key)


def list_position(key: Any) -> int:
    """A list index: an int, uint or whole double."""
    if key.__class__ is int or key.__class__ is UInt:
        return int(key)
    if key.__class__ is float and key.is_integer() and INT_MIN <= key <= INT_MAX:
        return int(key)
    if key.__class__ is float:
        raise ValueError_(f"unsupported index value {key!r} in list", value=key)
    raise OverloadError(f"unsupported index type '{type_name(key)}' in list")


def optional_index(container: Any, key: Any) -> Optional:
    """`container[?key]`: none if the key or index is missing."""
    if container.__class__ is Optional:
        if not container.present:
            return NONE
        container = container.value
    if container.__class__ is dict and key.__class__ is str:
        found = container.get(key, _MISSING)
        return NONE if found is _MISSING else Optional(found)
    if container.__class__ is list and key.__class__ is int:
        return Optional(container[key]) if 0 <= key < len(container) else NONE
    try:
        return Optional(index(container, key))
    except (NoSuchKeyError, IndexError_):
        return NONE


def select(operand: Any, field: str) -> Any:
    """`operand.field`; raises NoSuchKeyError for a missing key, OverloadError for a value without fields."""
    if operand.__class__ is dict:
        try:
            return operand[field]
        except KeyError:
            raise NoSuchKeyError(f"no such key: {field[:_SHOWN]}", value=field) from None
    if operand.__class__ is Optional:
        return optional_select(operand, field)
    if operand.__class__ is Condition:
        if field in Condition.cel_fields:
            return getattr(operand, field)
        raise NoSuchFieldError(f"no such field '{field}'", value=field)
    if operand.__class__ in _KEYLESS:
        raise NoSuchKeyError(f"no such key: {field[:_SHOWN]}", value=field)
    raise _no_fields(operand, field)


def _no_fields(operand: Any, field: str) -> OverloadError:
    if operand.__class__ is list:
        return OverloadError("unsupported index type 'string' in list", value=field)
    return OverloadError(f"type '{type_name(operand)}' does not support field selection '{field}'", value=field)


def optional_select(operand: Any, field: str) -> Optional:
    """`operand.?field`: none if the field is missing."""
    if operand.__class__ is Optional:
        if not operand.present:
            return NONE
        operand = operand.value
    if operand.__class__ is dict:
        found = operand.get(field, _MISSING)
        return NONE if found is _MISSING else Optional(found)
    try:
        return Optional(select(operand, field))
    except (NoSuchKeyError, NoSuchFieldError):
        return NONE


def has(operand: Any, field: str) -> bool:
    """`has(operand.field)`."""
    if operand.__class__ is dict:
        return field in operand
    if operand.__class__ is Optional:
        return operand.present and has(operand.value, field)
    if operand.__class__ is Condition:
        return field in Condition.cel_fields and getattr(operand, field) != ""
    if operand.__class__ in _KEYLESS:
        return False
    raise _no_fields(operand, field)
