"""Conversions between scalars: the functions `int`, `uint`, `double`, `string`, `bytes`, `bool`.

Ranges and texts follow cel-go: `string(1e21)` follows Go's %g, and `int('0x10')` is an error.
"""

import math
import re
from typing import Any, Final

from kroasync.cel.errors import RangeError, ValueError_
from kroasync.cel.values import INT_MAX, INT_MIN, UINT_MAX, UInt

_INTEGER: Final = re.compile(r"[+-]?[0-9]+", re.ASCII)
_DOUBLE: Final = re.compile(
    r"[+-]?(?:(?:[0-9]++(?:\.[0-9]*+)?|\.[0-9]++)(?:[eE][+-]?[0-9]++)?|inf|infinity|nan)", re.ASCII | re.IGNORECASE
)
# The texts that Go's strconv.ParseBool accepts.
_BOOLS: Final = {
    **dict.fromkeys(("1", "t", "T", "true", "TRUE", "True"), True),
    **dict.fromkeys(("0", "f", "F", "false", "FALSE", "False"), False),
}
# A number with more digits is out of every range.
_MAX_DIGITS: Final = 40


def _refused(value: Any, kind: str) -> ValueError_:
    return ValueError_(f"type conversion error from '{value!s:.100}' to '{kind}'", value=value)


def int_in_range(value: int) -> int:
    if not INT_MIN <= value <= INT_MAX:
        raise RangeError("integer overflow", value=value)
    return value


def uint_in_range(value: int) -> UInt:
    if not 0 <= value <= UINT_MAX:
        raise RangeError("unsigned integer overflow", value=value)
    return UInt(value)


def int_of_double(value: float) -> int:
    """Truncates. As in cel-go, doubles that equal the ends of int64 are out of range."""
    if not math.isfinite(value) or not float(INT_MIN) < value < float(INT_MAX):
        raise RangeError("integer overflow", value=value)
    return int(value)


def uint_of_double(value: float) -> UInt:
    if not math.isfinite(value) or not 0 <= value < float(UINT_MAX):
        raise RangeError("unsigned integer overflow", value=value)
    return UInt(int(value))


def _parsed(text: str, kind: str) -> int:
    if len(text) > _MAX_DIGITS or _INTEGER.fullmatch(text) is None:
        raise _refused(text, kind)
    return int(text)


def int_of_string(text: str) -> int:
    return int_in_range(_parsed(text, "int"))


def uint_of_string(text: str) -> UInt:
    # Go's strconv.ParseUint accepts no sign.
    if text[:1] in ("-", "+"):
        raise _refused(text, "uint")
    return uint_in_range(_parsed(text, "uint"))


def double_of_string(text: str) -> float:
    if _DOUBLE.fullmatch(text) is None:
        raise _refused(text, "double")
    value = float(text)
    if math.isinf(value) and "inf" not in text.lower():
        raise _refused(text, "double")
    return value


def bool_of_string(text: str) -> bool:
    if text not in _BOOLS:
        raise _refused(text, "bool")
    return _BOOLS[text]


def string_of_bytes(data: bytes) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise ValueError_("invalid UTF-8 in bytes, cannot convert to string") from None


def bytes_of_string(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def string_of_double(value: float) -> str:
    """Go's strconv.FormatFloat(value, 'g', -1, 64): shortest digits, an exponent if it is below -4 or above 5."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    sign, digits, exponent = shortest(value)
    if -4 <= exponent < 6:
        return sign + positional(digits, exponent)
    mantissa = digits[0] + ("." + digits[1:] if len(digits) > 1 else "")
    return f"{sign}{mantissa}e{'-' if exponent < 0 else '+'}{abs(exponent):02d}"


def shortest(value: float) -> tuple[str, str, int]:
    """The sign, the fewest digits that parse to the same finite value, and the decimal exponent of the first digit."""
    number, _, power = repr(abs(value)).partition("e")
    whole, _, fraction = number.partition(".")
    digits = (whole + fraction).lstrip("0")
    first = len(whole) - (len(whole + fraction) - len(digits)) - 1
    sign = "-" if math.copysign(1.0, value) < 0 else ""
    return (sign, digits.rstrip("0"), first + int(power or "0")) if digits else (sign, "0", 0)


def positional(digits: str, exponent: int) -> str:
    """The digits with a decimal point; `exponent` is the exponent of the first digit."""
    if exponent < 0:
        return "0." + "0" * (-exponent - 1) + digits
    if len(digits) <= exponent + 1:
        return digits + "0" * (exponent + 1 - len(digits))
    return f"{digits[: exponent + 1]}.{digits[exponent + 1 :]}"
