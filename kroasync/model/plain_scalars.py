"""The meaning of an unquoted YAML scalar and of a key to kubectl: go-yaml v2 (YAML 1.1), then JSON.

Go reads integers of 64 bits with or without a sign. JSON on the way to the API server makes floats of those beyond
int64, and integers of whole floats. What is neither a word nor a number of Go is text, such as dates and `1e400`.
"""

import json
import math
import re
import struct
from decimal import Decimal
from typing import Final, TypeAlias

Scalar: TypeAlias = str | bool | int | float | None

_WORDS: Final[dict[str, bool | float | None]] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"), True),
    **dict.fromkeys(("n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"), False),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), float("nan")),
    **dict.fromkeys((".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF"), float("inf")),
    **dict.fromkeys(("-.inf", "-.Inf", "-.INF"), float("-inf")),
}
# Go's strconv.ParseInt with base 0: a leading zero alone means octal. Underscores are removed before.
_INTEGER: Final = re.compile(r"([-+]?)(?:0[xX]([0-9a-fA-F]+)|0[bB]([01]+)|0[oO]?([0-7]+)|(0|[1-9][0-9]*))", re.ASCII)
_BASES: Final = (16, 2, 8, 10)
_FLOAT: Final = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?", re.ASCII)
# Go's strconv.ParseFloat, which keeps the underscores between digits.
_POINT_FLOAT: Final = re.compile(r"\.[0-9]+(?:_[0-9]+)*(?:[eE][-+]?[0-9]+(?:_[0-9]+)*)?", re.ASCII)
_MAX_DIGITS: Final = 80
"""More digits than any integer of 64 bits has, in any base, without leading zeros."""
_INT64: Final = range(-(2**63), 2**63)
_UINT64: Final = range(2**63, 2**64)
# What looks like a number, to its author or to another reader of YAML.
_LIKE_NUMBER: Final = re.compile(
    r"[-+]?(?:0[xX][0-9a-fA-F_]+|0[oO][0-7_]+|0[bB][01_]+|[0-9][0-9_]*(?:\.[0-9_]*)?(?:[eE][-+]?[0-9_]+)?)", re.ASCII
)


def resolve_plain(text: str) -> Scalar:
    """The value of an unquoted scalar, as the API server gets it."""
    if text in _WORDS:
        return _WORDS[text]
    number = _number(text)
    if number is None:
        return text
    if isinstance(number, int):
        return number if number in _INT64 else float(number)
    return _whole(number) if number.is_integer() else number


def key_of_plain(text: str) -> str | None:
    """The key that an unquoted scalar becomes; None if no key can be made of it."""
    value = _WORDS[text] if text in _WORDS else _number(text)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return _float_key(value)
    if isinstance(value, int):
        return str(value) if value in _INT64 else None
    return None if text in _WORDS else text


def surprise(text: str) -> str | None:
    """What an unquoted scalar is read as, if its author or another reader of YAML may think otherwise."""
    if text in ("y", "Y", "n", "N"):
        return "the boolean true" if _WORDS[text] else "the boolean false"
    if text[:1] not in "+-0123456789" or not _LIKE_NUMBER.fullmatch(text):
        return None
    value = resolve_plain(text)
    if isinstance(value, str):
        return "text, since no number is so large"
    is_rounded = isinstance(value, float) and _INTEGER.fullmatch(text.replace("_", "")) is not None
    return f"the number {json.dumps(value)}" if "_" in text or is_rounded else None


def _number(text: str) -> int | float | None:
    """The number as Go holds it: an integer of 64 bits, with or without a sign, or a finite float."""
    if not text or text[0] not in "+-.0123456789":
        return None
    if text[0] == ".":
        return _finite(text) if _POINT_FLOAT.fullmatch(text) else None
    text = text.replace("_", "")
    match = _INTEGER.fullmatch(text)
    if match and len(text) < _MAX_DIGITS:
        digits, base = next((d, b) for d, b in zip(match.groups()[1:], _BASES, strict=True) if d is not None)
        number = int(match[1] + digits, base)
        if number in _INT64 or (number in _UINT64 and not match[1]):
            return number
    return _finite(text) if _FLOAT.fullmatch(text) else None


def _whole(number: float) -> int | float:
    """JSON has the shortest digits of a float. Without a point and within int64, they are an integer again."""
    digits = int(Decimal(repr(number)))
    return digits if digits in _INT64 else number


def _finite(text: str) -> float | None:
    number = float(text)
    return number if math.isfinite(number) else None


def _float_key(number: float) -> str:
    """As Go formats a float with 32 bits in its shortest form, with an exponent from seven digits on."""
    try:
        (single,) = struct.unpack("f", struct.pack("f", number))
    except OverflowError:
        single = math.copysign(math.inf, number)
    if not math.isfinite(single):
        return ".nan" if math.isnan(single) else ".inf" if single > 0 else "-.inf"
    shortest = next(text for text in (f"{single:.{p}e}" for p in range(9)) if _same_single(text, single))
    digits, exponent = shortest.split("e")
    if not -4 <= int(exponent) < 6:
        return shortest
    places = len(digits.lstrip("-").replace(".", ""))
    return f"{float(shortest):.{max(0, places - 1 - int(exponent))}f}"


def _same_single(text: str, single: float) -> bool:
    return bool(struct.pack("f", float(text)) == struct.pack("f", single))
