"""Optional values. The compiler evaluates the argument of `or` and `orValue` only if needed."""

from typing import Any, Final

from kroasync.cel import types
from kroasync.cel.decls import LibraryBuilder
from kroasync.cel.errors import OverloadError, ValueError_
from kroasync.cel.run import times
from kroasync.cel.run.operations import type_name
from kroasync.cel.values import NONE, Duration, Optional, Timestamp, UInt

_library = LibraryBuilder(
    "optional",
    doc="Values that may be absent. `a.?b` and `a[?k]` make optional values; `[?e]` and `{?k: v}` take them.",
    weight=8,
    types={"optional_type": types.type_of(types.optional_of())},
)
fn = _library.fn
_library.macro(
    "optional(A).optMap(x, e) optional(B)",
    example="optional.of(1).optMap(x, x + 1) == optional.of(2)",
    doc="An optional with the result of e if there is a value x, otherwise none.",
)
_library.macro(
    "optional(A).optFlatMap(x, e) optional(B)",
    example="optional.of({'a': 1}).optFlatMap(x, x.?b) == optional.none()",
    doc="The result of e, which is an optional, if there is a value x; otherwise none.",
)


fn("optional.of(A) optional(A)", example="optional.of(1).value() == 1", rate=0)(Optional)


@fn("optional.none() optional(A)", example="!optional.none().hasValue()")
def _none() -> Optional:
    return NONE


_ZEROS: Final = (
    (bool, False),
    (int, 0),
    (UInt, 0),
    (float, 0.0),
    (str, ""),
    (bytes, b""),
    (type(None), None),
)


@fn(
    "optional.ofNonZeroValue(A) optional(A)",
    example="optional.ofNonZeroValue('') == optional.none()",
    doc="None for null, false, zero and empty values.",
    weight=48,
    rate=0,
)
def _of_non_zero_value(value: Any) -> Optional:
    kind = value.__class__
    if kind in (list, dict) and not value:
        return NONE
    if any(kind is zero_kind and value == zero for zero_kind, zero in _ZEROS):
        return NONE
    # The zero time is Go's: the first moment of year 1.
    if value == Duration(0) or value == Timestamp(times.MIN_NS):
        return NONE
    return Optional(value)


@fn("optional(A).hasValue() bool", example="optional.of(1).hasValue()")
def _has_value(optional: Optional) -> bool:
    return optional.present


@fn("optional(A).value() A", example="{'a': 1}.?a.value() == 1", doc="The value; an error for none.")
def _value(optional: Optional) -> Any:
    if not optional.present:
        raise ValueError_("optional.none() dereference")
    return optional.value


@fn("optional(A).or(optional(A)) optional(A)", example="optional.none().or(optional.of(1)).value() == 1")
def _or(optional: Optional, other: Optional) -> Optional:
    return optional if optional.present else other


@fn("optional(A).orValue(A) A", example="{'a': 1}.?b.orValue(2) == 2")
def _or_value(optional: Optional, other: Any) -> Any:
    return optional.value if optional.present else other


@fn(
    "optional.unwrap(list(optional(A))) list(A)",
    example="optional.unwrap([optional.of(1), optional.none()]) == [1]",
    doc="The values of the optionals that have one.",
    rate=4,
)
@fn(
    "list(optional(A)).unwrapOpt() list(A)",
    example="[optional.of(1), optional.none()].unwrapOpt() == [1]",
    doc="The same.",
    rate=4,
)
def _unwrap(optionals: list[Any]) -> list[Any]:
    for item in optionals:
        if item.__class__ is not Optional:
            raise OverloadError(f"no such overload: unwrap of a list with {type_name(item)}")
    return [item.value for item in optionals if item.present]


@fn("list(A).first() optional(A)", example="[1, 2].first() == optional.of(1)", rate=0)
def _first(values: list[Any]) -> Optional:
    return Optional(values[0]) if values else NONE


@fn("list(A).last() optional(A)", example="[1, 2].last() == optional.of(2)", rate=0)
def _last(values: list[Any]) -> Optional:
    return Optional(values[-1]) if values else NONE


LIBRARY: Final = _library.build()
