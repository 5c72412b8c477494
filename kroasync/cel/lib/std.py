"""The standard definitions of CEL: operators, conversions, strings, time. The parser expands the macros.

The checker and the reference read the rows of the operators; the compiler has its own code for operators.
"""

import operator
from typing import Any, Final

from kroasync.cel import types
from kroasync.cel.decls import LibraryBuilder
from kroasync.cel.lib.regex import compiled
from kroasync.cel.lib.searching import spend_search
from kroasync.cel.meter import COMPARED_PER_STEP, Meter
from kroasync.cel.run import conversions, operations, times
from kroasync.cel.values import Duration, Timestamp, TypeValue, UInt, type_of_value

_library = LibraryBuilder(
    "std",
    doc="The language itself.",
    types={
        "bool": types.type_of(types.BOOL),
        "bytes": types.type_of(types.BYTES),
        "double": types.type_of(types.DOUBLE),
        "int": types.type_of(types.INT),
        "list": types.type_of(types.list_of()),
        "map": types.type_of(types.map_of()),
        "null_type": types.type_of(types.NULL),
        "string": types.type_of(types.STRING),
        "type": types.type_of(types.type_of()),
        "uint": types.type_of(types.UINT),
        "google.protobuf.Duration": types.type_of(types.DURATION),
        "google.protobuf.Timestamp": types.type_of(types.TIMESTAMP),
    },
)
fn = _library.fn

# Weights of parsing and formatting a time or a number, and of computing the date of a time.
_PARSING: Final = 64
_NUMBER: Final = 16
_CIVIL: Final = 64
_IN_ZONE: Final = 96
# The cost of the parts of a duration: one part takes two characters.
_DURATION_RATE: Final = 1

_library.macro("has(e.f) bool", example="has({'a': 1}.a) && !has({'a': 1}.b)", doc="Whether the field or key exists.")
_library.macro(
    "e.all(x, p) bool",
    example="[1, 2].all(x, x > 0)",
    doc="Whether p holds for every element or key x. If p is false for any x, errors are ignored.",
)
_library.macro("e.exists(x, p) bool", example="[1, 2].exists(x, x > 1)", doc="Whether p holds for at least one.")
_library.macro("e.exists_one(x, p) bool", example="[1, 2].exists_one(x, x > 1)", doc="Whether p holds for exactly one.")
_library.macro("e.existsOne(x, p) bool", example="[1, 2].existsOne(x, x > 1)", doc="The same as `exists_one`.")
_library.macro(
    "e.filter(x, p) list",
    example="[1, 2, 3].filter(x, x > 1) == [2, 3]",
    doc="The elements or keys x that p holds for.",
)
_library.macro("e.map(x, f) list", example="[1, 2].map(x, x * 2) == [2, 4]", doc="f of every element or key x.")
_library.macro(
    "e.map(x, p, f) list", example="[1, 2].map(x, x > 1, x * 2) == [4]", doc="f of every x that p holds for."
)

# Operators


@fn("_?_:_(bool, A, A) A", example="(true ? 1 : 2) == 1", doc="Only the chosen operand is evaluated.")
def _conditional(chosen: bool, then: Any, otherwise: Any) -> Any:
    return then if chosen else otherwise


fn(
    "_&&_(bool, bool) bool",
    example="!(false && 1 / 0 > 0)",
    doc="False if either operand is false, even if the other operand is an error.",
)(operator.and_)
fn(
    "_||_(bool, bool) bool",
    example="1 / 0 > 0 || true",
    doc="True if either operand is true, even if the other operand is an error.",
)(operator.or_)
fn("!_(bool) bool", example="!false")(operations.logical_not)
fn(
    "_==_(A, A) bool",
    example="[1, 2] == [1, 2]",
    doc="Compares values of the same type, and numbers of all types by value.",
)(operations.equal)
fn("_!=_(A, A) bool", example="'a' != 'b'")(operations.not_equal)
fn("@in(A, list(A)) bool", example="2 in [1, 2]")(operations.contains)
fn("@in(A, map(A, B)) bool", example="'a' in {'a': 1}", doc="Whether the map has the key.")(operations.contains)
fn("_[_](list(A), int) A", example="[1, 2][1] == 2")(operations.index)
fn("_[_](map(A, B), A) B", example="{'a': 1}['a'] == 1")(operations.index)

_ORDERED: Final = {
    "bool": ("false", "true"),
    "int": ("1", "2"),
    "uint": ("1u", "2u"),
    "double": ("1.5", "2.5"),
    "string": ("'a'", "'b'"),
    "bytes": ("b'a'", "b'b'"),
    "timestamp": ("timestamp('2024-01-01T00:00:00Z')", "timestamp('2024-01-02T00:00:00Z')"),
    "duration": ("duration('1s')", "duration('1m')"),
}
for _kind, (_low, _high) in _ORDERED.items():
    fn(f"_<_({_kind}, {_kind}) bool", example=f"{_low} < {_high}")(operations.less)
    fn(f"_<=_({_kind}, {_kind}) bool", example=f"{_low} <= {_high}")(operations.less_equal)
    fn(f"_>_({_kind}, {_kind}) bool", example=f"{_high} > {_low}")(operations.greater)
    fn(f"_>=_({_kind}, {_kind}) bool", example=f"{_high} >= {_high}")(operations.greater_equal)

fn("_+_(int, int) int", example="1 + 2 == 3", doc="An overflow is an error.")(operations.add)
fn("_+_(uint, uint) uint", example="1u + 2u == 3u")(operations.add)
fn("_+_(double, double) double", example="1.5 + 2.0 == 3.5")(operations.add)
fn("_+_(string, string) string", example="'a' + 'b' == 'ab'")(operations.add)
fn("_+_(bytes, bytes) bytes", example="b'a' + b'b' == b'ab'")(operations.add)
fn("_+_(list(A), list(A)) list(A)", example="[1] + [2] == [1, 2]")(operations.add)
fn("_+_(duration, duration) duration", example="duration('1m') + duration('1s') == duration('61s')")(operations.add)
fn("_+_(timestamp, duration) timestamp", example="timestamp(0) + duration('1s') == timestamp(1)")(operations.add)
fn("_+_(duration, timestamp) timestamp", example="duration('1s') + timestamp(0) == timestamp(1)")(operations.add)
fn("_-_(int, int) int", example="1 - 2 == -1")(operations.subtract)
fn("_-_(uint, uint) uint", example="3u - 2u == 1u")(operations.subtract)
fn("_-_(double, double) double", example="1.5 - 1.0 == 0.5")(operations.subtract)
fn("_-_(duration, duration) duration", example="duration('1m') - duration('1s') == duration('59s')")(
    operations.subtract
)
fn("_-_(timestamp, duration) timestamp", example="timestamp(1) - duration('1s') == timestamp(0)")(operations.subtract)
fn("_-_(timestamp, timestamp) duration", example="timestamp(1) - timestamp(0) == duration('1s')")(operations.subtract)
fn("_*_(int, int) int", example="2 * 3 == 6")(operations.multiply)
fn("_*_(uint, uint) uint", example="2u * 3u == 6u")(operations.multiply)
fn("_*_(double, double) double", example="1.5 * 2.0 == 3.0")(operations.multiply)
fn("_/_(int, int) int", example="-7 / 2 == -3", doc="Truncates towards zero; division by zero is an error.")(
    operations.divide
)
fn("_/_(uint, uint) uint", example="7u / 2u == 3u")(operations.divide)
fn(
    "_/_(double, double) double",
    example="1.0 / 4.0 == 0.25",
    doc="Division by zero gives an infinity or NaN.",
)(operations.divide)
fn("_%_(int, int) int", example="-7 % 2 == -1", doc="The result has the sign of the dividend.")(operations.modulo)
fn("_%_(uint, uint) uint", example="7u % 4u == 3u")(operations.modulo)
fn("-_(int) int", example="-(1) == 0 - 1")(operations.negate)
fn("-_(double) double", example="-(1.5) == 0.0 - 1.5")(operations.negate)

# Sizes


@fn("size(string) int", example="size('añb') == 3", doc="Number of characters (code points).", rate=0)
@fn("string.size() int", example="'añb'.size() == 3", rate=0)
@fn("size(bytes) int", example="size(b'añb') == 4", rate=0)
@fn("bytes.size() int", example="b'añb'.size() == 4", rate=0)
@fn("size(list(A)) int", example="size([1, 2]) == 2", rate=0)
@fn("list(A).size() int", example="[1, 2].size() == 2", rate=0)
@fn("size(map(A, B)) int", example="size({'a': 1}) == 1", rate=0)
@fn("map(A, B).size() int", example="{'a': 1}.size() == 1", rate=0)
def _size(value: str | bytes | list[Any] | dict[Any, Any]) -> int:
    return len(value)


# Types


@fn("dyn(A) dyn", example="dyn(1) != 'a'", doc="The value, with no static type.", rate=0)
def _dyn(value: Any) -> Any:
    return value


@fn("type(A) type(A)", example="type(1) == int && type([]) == list", rate=0, weight=_NUMBER)
def _type(value: Any) -> TypeValue:
    return TypeValue(type_of_value(value))


# Conversions


@fn("bool(bool) bool", example="bool(true)", rate=0)
@fn("bytes(bytes) bytes", example="bytes(b'a') == b'a'", rate=0)
@fn("double(double) double", example="double(1.5) == 1.5", rate=0)
@fn("duration(duration) duration", example="duration(duration('1s')) == duration('1s')")
@fn("int(int) int", example="int(1) == 1")
@fn("string(string) string", example="string('a') == 'a'", rate=0)
@fn("timestamp(timestamp) timestamp", example="timestamp(timestamp(0)) == timestamp(0)")
@fn("uint(uint) uint", example="uint(1u) == 1u")
def _same(value: Any) -> Any:
    return value


fn("bool(string) bool", example="bool('true') && !bool('0')")(conversions.bool_of_string)
fn("bytes(string) bytes", example="bytes('ñ').size() == 2")(conversions.bytes_of_string)
fn("double(int) double", example="double(1) == 1.0")(float)
fn("double(uint) double", example="double(1u) == 1.0")(float)
fn("double(string) double", example="double('1.5') == 1.5", weight=_NUMBER)(conversions.double_of_string)
fn("duration(string) duration", example="duration('1h30m') == duration('5400s')", weight=_PARSING, rate=_DURATION_RATE)(
    times.parse_duration
)
fn("int(double) int", example="int(-1.9) == -1", doc="Truncates.")(conversions.int_of_double)
fn("int(string) int", example="int('-12') == -12", weight=_NUMBER)(conversions.int_of_string)


@fn("int(uint) int", example="int(1u) == 1")
def _int_of_uint(value: UInt) -> int:
    return conversions.int_in_range(int(value))


@fn("int(timestamp) int", example="int(timestamp('1970-01-01T00:01:00Z')) == 60", doc="Seconds since 1970.")
def _int_of_timestamp(value: Timestamp) -> int:
    return value.ns // times.SECOND


@fn("int(duration) int", example="int(duration('1s')) == 1000000000", doc="Nanoseconds.")
def _int_of_duration(value: Duration) -> int:
    return value.ns


fn("string(bytes) string", example="string(b'a') == 'a'", doc="UTF-8.")(conversions.string_of_bytes)
fn("string(double) string", example="string(1.5) == '1.5' && string(1e6) == '1e+06'", weight=_NUMBER)(
    conversions.string_of_double
)
fn("string(duration) string", example="string(duration('1m')) == '60s'", weight=_NUMBER)(times.format_seconds)
fn("string(timestamp) string", example="string(timestamp(0)) == '1970-01-01T00:00:00Z'", weight=_CIVIL)(
    times.format_timestamp
)


@fn("string(bool) string", example="string(true) == 'true'")
def _string_of_bool(value: bool) -> str:
    return "true" if value else "false"


@fn("string(int) string", example="string(-1) == '-1'")
@fn("string(uint) string", example="string(1u) == '1'")
def _string_of_int(value: int) -> str:
    return str(int(value))


fn(
    "timestamp(string) timestamp",
    example="timestamp('1970-01-01T01:00:00+01:00') == timestamp(0)",
    doc="RFC 3339.",
    weight=_PARSING,
)(times.parse_timestamp)


@fn(
    "timestamp(int) timestamp",
    example="timestamp(60) == timestamp('1970-01-01T00:01:00Z')",
    doc="From seconds.",
)
def _timestamp_of_int(seconds: int) -> Timestamp:
    return times.checked_timestamp(seconds * times.SECOND)


fn("uint(double) uint", example="uint(1.9) == 1u")(conversions.uint_of_double)
fn("uint(int) uint", example="uint(1) == 1u")(conversions.uint_in_range)
fn("uint(string) uint", example="uint('1') == 1u", weight=_NUMBER)(conversions.uint_of_string)

# Strings


@fn("string.contains(string) bool", example="'tacocat'.contains('coca')", metered=True)
def _contains(text: str, part: str, *, budget: Meter) -> bool:
    spend_search(len(text), part, budget)
    return part in text


@fn("string.startsWith(string) bool", example="'tacocat'.startsWith('taco')", rate=COMPARED_PER_STEP)
def _starts_with(text: str, part: str) -> bool:
    return text.startswith(part)


@fn("string.endsWith(string) bool", example="'tacocat'.endsWith('cat')", rate=COMPARED_PER_STEP)
def _ends_with(text: str, part: str) -> bool:
    return text.endswith(part)


@fn(
    "string.matches(string) bool",
    example="'tacocat'.matches('t.c')",
    doc="Whether the pattern, in RE2's syntax, matches any part of the text.",
    metered=True,
)
@fn("matches(string, string) bool", example="matches('tacocat', '^t.*t$')", metered=True)
def _matches(text: str, pattern: str, *, budget: Meter) -> bool:
    return compiled(pattern, budget).search(text, budget) is not None


# Time


def _getters() -> None:
    """Declare each part of a timestamp, in UTC and in a time zone."""
    at = "timestamp('2024-03-31T23:30:15.250Z')"
    parts = {
        "getFullYear": ("year", 0, 2024, 2024, ""),
        "getMonth": ("month", -1, 2, 3, "0 is January."),
        "getDate": ("day", 0, 31, 1, "The day of the month; the first day is 1."),
        "getDayOfMonth": ("day", -1, 30, 0, "From 0."),
        "getDayOfWeek": ("weekday", 0, 0, 1, "0 is Sunday."),
        "getDayOfYear": ("day_of_year", 0, 90, 91, "From 0."),
        "getHours": ("hour", 0, 23, 1, ""),
        "getMinutes": ("minute", 0, 30, 30, ""),
        "getSeconds": ("second", 0, 15, 15, ""),
    }
    for name, (part, shift, in_utc, in_zone, doc) in parts.items():

        def get(timestamp: Timestamp, zone: str = "UTC", *, budget: Meter, part: str = part, shift: int = shift) -> int:
            value: int = getattr(times.civil(timestamp, zone, budget), part)
            return value + shift

        fn(f"timestamp.{name}() int", example=f"{at}.{name}() == {in_utc}", doc=doc, metered=True, weight=_CIVIL)(get)
        fn(
            f"timestamp.{name}(string) int",
            example=f"{at}.{name}('+02:00') == {in_zone}",
            doc="In a time zone: `UTC`, `Europe/Berlin`, `+02:00`.",
            metered=True,
            weight=_IN_ZONE,
        )(get)


_getters()


@fn(
    "timestamp.getMilliseconds() int",
    example="timestamp('2024-03-31T23:30:15.250Z').getMilliseconds() == 250",
    metered=True,
    weight=_CIVIL,
)
@fn(
    "timestamp.getMilliseconds(string) int",
    example="timestamp('2024-03-31T23:30:15.250Z').getMilliseconds('UTC') == 250",
    metered=True,
    weight=_CIVIL,
)
def _milliseconds(timestamp: Timestamp, zone: str = "UTC", *, budget: Meter) -> int:
    return times.civil(timestamp, zone, budget).ns // 1_000_000


def _truncated(value: int, unit: int) -> int:
    return value // unit if value >= 0 else -(-value // unit)


@fn("duration.getHours() int", example="duration('90m').getHours() == 1", doc="Whole hours in the duration.")
def _duration_hours(duration: Duration) -> int:
    return _truncated(duration.ns, 3600 * times.SECOND)


@fn("duration.getMinutes() int", example="duration('90m').getMinutes() == 90")
def _duration_minutes(duration: Duration) -> int:
    return _truncated(duration.ns, 60 * times.SECOND)


@fn("duration.getSeconds() int", example="duration('90m').getSeconds() == 5400")
def _duration_seconds(duration: Duration) -> int:
    return _truncated(duration.ns, times.SECOND)


# The specification asks for the milliseconds of the last second; cel-go, and so kro, returns the whole duration.
@fn("duration.getMilliseconds() int", example="duration('1.5s').getMilliseconds() == 1500")
def _duration_milliseconds(duration: Duration) -> int:
    return _truncated(duration.ns, 1_000_000)


LIBRARY: Final = _library.build()
