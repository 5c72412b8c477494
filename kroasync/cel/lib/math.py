"""cel-go's math extension. The parser turns three or more arguments of `math.greatest` and `math.least` into a list."""

import math
from collections.abc import Callable
from typing import Any, Final

from kroasync.cel.decls import LibraryBuilder
from kroasync.cel.errors import OverloadError, ValueError_
from kroasync.cel.run.conversions import int_in_range
from kroasync.cel.run.operations import greater, less, type_name
from kroasync.cel.values import UINT_MAX, UInt

_library = LibraryBuilder("math", doc="Functions on numbers.", extra=True, weight=8, rate=1)
fn = _library.fn
_NUMBERS: Final = frozenset((int, UInt, float))
_MASK: Final = UINT_MAX


def _best(better: Callable[[Any, Any], bool]) -> Callable[..., Any]:
    """The first of the best arguments, or of the best elements if the only argument is a list."""

    def best(*values: Any) -> Any:
        items = values[0] if values[0].__class__ is list else values
        if not items:
            raise ValueError_("math.greatest() and math.least() need at least one number")
        for item in items:
            if item.__class__ not in _NUMBERS:
                raise OverloadError(f"no such overload: {type_name(item)} is not a number")
        found = items[0]
        for item in items[1:]:
            found = item if better(item, found) else found
        return found

    return best


def _extremes() -> None:
    values = {"int": ("1", "2"), "uint": ("1u", "2u"), "double": ("1.5", "2.5")}
    for name, better, pick in (("greatest", greater, 1), ("least", less, 0)):
        best = _best(better)
        for kind, pair in values.items():
            low, high = pair
            fn(f"math.{name}({kind}) {kind}", example=f"math.{name}({low}) == {low}")(best)
            fn(f"math.{name}({kind}, {kind}) {kind}", example=f"math.{name}({low}, {high}) == {pair[pick]}")(best)
            fn(f"math.{name}(list({kind})) {kind}", example=f"math.{name}([{high}, {low}]) == {pair[pick]}")(best)
        for one, two in (("int", "uint"), ("int", "double"), ("uint", "int"), ("uint", "double")):
            fn(
                f"math.{name}({one}, {two}) dyn",
                example=f"math.{name}({values[one][0]}, {values[two][1]}) == {values[(one, two)[pick]][pick]}",
            )(best)
        for other, number in (("int", "1"), ("uint", "1u")):
            fn(
                f"math.{name}(double, {other}) dyn",
                example=f"math.{name}(1.5, {number}) == {'1.5' if pick else number}",
            )(best)
        fn(
            f"math.{name}(list(dyn)) dyn",
            example=f"math.{name}(1, 2.5, 2u) == {'2.5' if pick else '1'}",
            doc="Any number of arguments, or the elements of a list.",
        )(best)


_extremes()


def _whole(function: Callable[[float], float]) -> Callable[[float], float]:
    def rounded(value: float) -> float:
        return function(value) if math.isfinite(value) else value

    return rounded


def _round(value: float) -> float:
    # Unlike Python, round halves away from zero.
    return math.copysign(math.floor(abs(value) + 0.5), value) if abs(value) < 2.0**52 else value


fn("math.ceil(double) double", example="math.ceil(1.2) == 2.0")(_whole(lambda value: float(math.ceil(value))))
fn("math.floor(double) double", example="math.floor(1.8) == 1.0")(_whole(lambda value: float(math.floor(value))))
fn("math.round(double) double", example="math.round(1.5) == 2.0", doc="Rounds halves away from zero.")(_whole(_round))
fn("math.trunc(double) double", example="math.trunc(-1.8) == -1.0")(_whole(lambda value: float(math.trunc(value))))


@fn("math.sqrt(double) double", example="math.sqrt(4.0) == 2.0")
@fn("math.sqrt(int) double", example="math.sqrt(4) == 2.0")
@fn("math.sqrt(uint) double", example="math.sqrt(4u) == 2.0", doc="NaN for a negative number.")
def _sqrt(value: float) -> float:
    return math.sqrt(value) if value >= 0 else math.nan


@fn("math.abs(int) int", example="math.abs(-1) == 1")
def _abs_int(value: int) -> int:
    return int_in_range(abs(value))


@fn("math.abs(uint) uint", example="math.abs(1u) == 1u")
def _abs_uint(value: UInt) -> UInt:
    return value


@fn("math.abs(double) double", example="math.abs(-1.5) == 1.5")
def _abs_double(value: float) -> float:
    return abs(value)


@fn("math.sign(int) int", example="math.sign(-5) == -1")
@fn("math.sign(uint) uint", example="math.sign(5u) == 1u")
@fn("math.sign(double) double", example="math.sign(-5.5) == -1.0")
def _sign(value: Any) -> Any:
    if value.__class__ is float:
        return value if math.isnan(value) else float((value > 0) - (value < 0))
    return value.__class__((value > 0) - (value < 0))


fn("math.isNaN(double) bool", example="math.isNaN(0.0 / 0.0)")(math.isnan)
fn("math.isInf(double) bool", example="math.isInf(1.0 / 0.0)")(math.isinf)
fn("math.isFinite(double) bool", example="math.isFinite(1.0)")(math.isfinite)


def _same_class(operation: Callable[[int, int], int]) -> Callable[[Any, Any], Any]:
    def bitwise(a: Any, b: Any) -> Any:
        return a.__class__(operation(int(a), int(b)))

    return bitwise


for _name, _operation, _result in (
    ("bitAnd", lambda a, b: a & b, 2),
    ("bitOr", lambda a, b: a | b, 7),
    ("bitXor", lambda a, b: a ^ b, 5),
):
    _impl = _same_class(_operation)
    fn(f"math.{_name}(int, int) int", example=f"math.{_name}(3, 6) == {_result}")(_impl)
    fn(f"math.{_name}(uint, uint) uint", example=f"math.{_name}(3u, 6u) == {_result}u")(_impl)


@fn("math.bitNot(int) int", example="math.bitNot(1) == -2")
def _not_int(value: int) -> int:
    return ~value


@fn("math.bitNot(uint) uint", example="math.bitNot(0u) == 18446744073709551615u")
def _not_uint(value: UInt) -> UInt:
    return UInt(int(value) ^ _MASK)


def _shift_count(count: int) -> int:
    if count < 0:
        raise ValueError_(f"math.bitShift: negative offset: {count}", value=count)
    return min(count, 64)


def _wrapped(value: Any, bits: int) -> Any:
    """64 bits as a value of the class of `value`."""
    bits &= _MASK
    if value.__class__ is UInt:
        return UInt(bits)
    return bits - (1 << 64) if bits >> 63 else bits


@fn(
    "math.bitShiftLeft(int, int) int",
    example="math.bitShiftLeft(1, 3) == 8",
    doc="Drops the bits that are shifted out.",
)
@fn("math.bitShiftLeft(uint, int) uint", example="math.bitShiftLeft(1u, 3) == 8u")
def _shift_left(value: Any, count: int) -> Any:
    return _wrapped(value, int(value) << _shift_count(count))


@fn(
    "math.bitShiftRight(int, int) int",
    example="math.bitShiftRight(8, 3) == 1",
    doc="Does not keep the sign bit.",
)
@fn("math.bitShiftRight(uint, int) uint", example="math.bitShiftRight(8u, 3) == 1u")
def _shift_right(value: Any, count: int) -> Any:
    return _wrapped(value, (int(value) & _MASK) >> _shift_count(count))


LIBRARY: Final = _library.build()
