"""Run-time values of CEL in Python.

bool, int, float, str, bytes, None, list and dict stand for themselves (int is CEL's int; exact types only: dispatch is
on `type(x)`). The rest are the small classes below. Opaque values of libraries are classes with a class attribute
`cel_type: Type`, and `cel_size: int` if work on them depends on their size; they implement `__eq__`/`__hash__`.
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
    """An unsigned 64-bit integer; the range is kept by the operators."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"{int(self)}u"


@dataclass(frozen=True, slots=True, order=True)
class Timestamp:
    """Nanoseconds since the Unix epoch, between 0001-01-01 and 9999-12-31 (CEL spec, "Timestamps")."""

    ns: int


@dataclass(frozen=True, slots=True, order=True)
class Duration:
    """Nanoseconds, signed, as int64 like Go's time.Duration."""

    ns: int


class Optional:
    """An optional value: `Optional(x)` holds x, `NONE` is the empty one."""

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
    """The sentinel of kro's `omit()`: the field it stands in is left out."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "omit()"


OMIT: Final = _Omit()


@dataclass(frozen=True, slots=True)
class Condition:
    """kro's `runtime.newCondition` value; absent reason and message are empty strings."""

    cel_type: ClassVar[Type] = types.object_type("kro.run.Condition")
    # What an expression may select from it.
    cel_fields: ClassVar[tuple[str, ...]] = ("type", "status", "reason", "message")

    type: str
    status: str
    reason: str = ""
    message: str = ""


class BoolKey:
    """A bool as a key of a dict: Python takes True for 1, CEL does not."""

    __slots__ = ("value",)

    def __init__(self, value: bool) -> None:
        self.value = value

    def __repr__(self) -> str:
        return repr(self.value)


TRUE_KEY: Final = BoolKey(True)
FALSE_KEY: Final = BoolKey(False)

# Exact Python classes and their types; other classes have `cel_type`.
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


# Values that cost by their length.
SIZED: Final[frozenset[type[Any]]] = frozenset((str, bytes, list, dict))


def size_of(value: Any) -> int:
    """Characters, bytes or elements of a value; opaque ones say what they cost as `cel_size`."""
    return len(value) if value.__class__ in SIZED else getattr(value, "cel_size", 0)


def type_of_value(value: Any) -> Type:
    """The run-time type; TypeError for a class that is no CEL value, such as a dict subclass."""
    known = TYPE_OF.get(type(value)) or getattr(type(value), "cel_type", None)
    if not isinstance(known, Type):
        raise TypeError(f"not a CEL value: {type(value).__name__}")
    return known


def to_key(value: Any) -> Any:
    """The form in which a value is a dict's key."""
    return value if value.__class__ is not bool else (TRUE_KEY if value else FALSE_KEY)


def from_key(key: Any) -> Any:
    """The value that a dict's key stands for."""
    return key.value if key.__class__ is BoolKey else key


def map_keys(mapping: dict[Any, Any]) -> list[Any]:
    """The keys of a map as values, in order."""
    if TRUE_KEY in mapping or FALSE_KEY in mapping:
        return [from_key(key) for key in mapping]
    return list(mapping)
