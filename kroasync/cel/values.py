"""The run-time values of CEL in Python.

bool, int, float, str, bytes, None, list and dict stand for themselves (int is CEL's int; only exact types, because
dispatch is on `type(x)`). The other values are the small classes below. The class of a library's opaque values has a
class attribute `cel_type: Type`, has `cel_size: int` if work on a value depends on its size, and implements
`__eq__`/`__hash__`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType, NoneType
from typing import Any, ClassVar, Final

from kroasync.cel import types
from kroasync.cel.types import Type

INT_MIN: Final = -(2**63)
INT_MAX: Final = 2**63 - 1
UINT_MAX: Final = 2**64 - 1


class UInt(int):
    """An unsigned 64-bit integer; the operators check the range."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"{int(self)}u"


@dataclass(frozen=True, slots=True, order=True)
class Timestamp:
    """Nanoseconds since the Unix epoch, between 0001-01-01 and 9999-12-31 (CEL spec, "Timestamps")."""

    ns: int


@dataclass(frozen=True, slots=True, order=True)
class Duration:
    """Signed nanoseconds in the range of int64, like Go's time.Duration."""

    ns: int


class Optional:
    """An optional value: `Optional(x)` has the value x, `NONE` has no value."""

    __slots__ = ("present", "value")

    def __init__(self, value: Any = None, *, present: bool = True) -> None:
        self.value = value
        self.present = present

    def __repr__(self) -> str:
        return f"optional({self.value!r})" if self.present else "optional.none()"


NONE: Final = Optional(present=False)


@dataclass(frozen=True, slots=True)
class TypeValue:
    """A type as a value: what `type(x)` returns and `int`, `list`... denote. Compared by kind and name only."""

    type: Type

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TypeValue) and (self.type.kind, self.type.name) == (other.type.kind, other.type.name)

    def __hash__(self) -> int:
        return hash((self.type.kind, self.type.name))


class _Omit:
    """The sentinel of kro's `omit()`: a field with this value is removed."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "omit()"


OMIT: Final = _Omit()


@dataclass(frozen=True, slots=True)
class Condition:
    """The value of kro's `runtime.newCondition`; a missing reason or message is an empty string."""

    cel_type: ClassVar[Type] = types.object_type("kro.run.Condition")
    # The fields that an expression may select.
    cel_fields: ClassVar[tuple[str, ...]] = ("type", "status", "reason", "message")

    type: str
    status: str
    reason: str = ""
    message: str = ""


class BoolKey:
    """A bool as the key of a dict: in Python, True equals 1; in CEL, it does not."""

    __slots__ = ("value",)

    def __init__(self, value: bool) -> None:
        self.value = value

    def __repr__(self) -> str:
        return repr(self.value)


TRUE_KEY: Final = BoolKey(True)
FALSE_KEY: Final = BoolKey(False)

# Exact Python classes, with their types; other classes have `cel_type`.
TYPE_OF: Final[Mapping[type, Type]] = MappingProxyType(
    {
        NoneType: types.NULL,
        bool: types.BOOL,
        int: types.INT,
        UInt: types.UINT,
        float: types.DOUBLE,
        str: types.STRING,
        bytes: types.BYTES,
        list: types.list_of(),
        dict: types.map_of(),
        Timestamp: types.TIMESTAMP,
        Duration: types.DURATION,
        Optional: types.optional_of(),
        TypeValue: types.type_of(),
        _Omit: types.DYN,
    }
)


# Classes whose values cost by their length.
SIZED: Final[frozenset[type[Any]]] = frozenset((str, bytes, list, dict))


def size_of(value: Any) -> int:
    """The number of characters, bytes or elements of a value; the `cel_size` of an opaque value."""
    return len(value) if value.__class__ in SIZED else getattr(value, "cel_size", 0)


def type_of_value(value: Any) -> Type:
    """The run-time type; raises TypeError for a class that is not a CEL value, such as a dict subclass."""
    known = TYPE_OF.get(type(value)) or getattr(type(value), "cel_type", None)
    if not isinstance(known, Type):
        raise TypeError(f"not a CEL value: {type(value).__name__}")
    return known


def to_key(value: Any) -> Any:
    """The form of a value as the key of a dict."""
    return value if value.__class__ is not bool else (TRUE_KEY if value else FALSE_KEY)


def from_key(key: Any) -> Any:
    """The value that the key of a dict stands for."""
    return key.value if key.__class__ is BoolKey else key


def map_keys(mapping: dict[Any, Any]) -> list[Any]:
    """The keys of a map as values, in the order of the map."""
    if TRUE_KEY in mapping or FALSE_KEY in mapping:
        return [from_key(key) for key in mapping]
    return list(mapping)
