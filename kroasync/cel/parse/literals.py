"""Literals: converts the source text of a token to its value.

The rules are in the CEL specification, "Syntax". A LiteralError reports the error and its place in the token.
"""

import math
import re
from typing import Final

from kroasync.cel.values import INT_MAX, INT_MIN, UINT_MAX, UInt


class LiteralError(ValueError):
    """A token looks like a literal but has no value; `offset` counts from the start of the token."""

    def __init__(self, message: str, offset: int = 0) -> None:
        super().__init__(message)
        self.offset = offset


_SIMPLE_ESCAPES: Final = {
    "a": "\a",
    "b": "\b",
    "f": "\f",
    "n": "\n",
    "r": "\r",
    "t": "\t",
    "v": "\v",
    "\\": "\\",
    "?": "?",
    '"': '"',
    "'": "'",
    "`": "`",
}
_ESCAPE: Final = re.compile(
    r"\\(?:(?P<simple>[abfnrtv\\?\"'`])|[xX](?P<byte>[0-9a-fA-F]{2})|(?P<octal>[0-3][0-7]{2})"
    r"|u(?P<short>[0-9a-fA-F]{4})|U(?P<long>[0-9a-fA-F]{8})|(?P<bad>.|\Z))",
    re.DOTALL,
)


def int_value(text: str) -> int:
    """The value of `12`, `-12`, `0x1F` as int64."""
    value = _digits(text, INT_MAX)
    if not INT_MIN <= value <= INT_MAX:
        raise LiteralError("invalid int literal")
    return value


def uint_value(text: str) -> UInt:
    """The value of `12u` as uint64."""
    value = _digits(text[:-1], UINT_MAX)
    if not 0 <= value <= UINT_MAX:
        raise LiteralError("invalid uint literal")
    return UInt(value)


def _digits(text: str, beyond: int) -> int:
    # More than twenty digits after the leading zeros exceed 64 bits. Python refuses to convert thousands of digits.
    digits = text.lstrip("-").lower()
    base = 16 if digits.startswith("0x") else 10
    digits = digits.removeprefix("0x").lstrip("0")
    value = int(digits or "0", base) if len(digits) <= 20 else beyond * 4
    return -value if text.startswith("-") else value


def double_value(text: str) -> float:
    """The value of `1.5`, `.5e3`, `1e9`."""
    value = float(text)
    if math.isinf(value):
        raise LiteralError("invalid double literal")
    return value


def string_value(text: str) -> str:
    """The value of a string token with its quotes and prefix."""
    body, raw, start = _body(text)
    if raw or "\\" not in body:
        return body

    def unescape(match: re.Match[str]) -> str:
        simple = match["simple"]
        if simple is not None:
            return _SIMPLE_ESCAPES[simple]
        digits = match["byte"] or match["short"] or match["long"]
        if match["octal"] is not None:
            code = int(match["octal"], 8)
        elif digits is not None:
            code = int(digits, 16)
        else:
            raise LiteralError(f"invalid escape sequence {match.group()!r}", start + match.start())
        if 0xD800 <= code <= 0xDFFF or code > 0x10FFFF:
            raise LiteralError(f"invalid code point {match.group()!r}", start + match.start())
        return chr(code)

    return _ESCAPE.sub(unescape, body)


def bytes_value(text: str) -> bytes:
    """The value of a bytes token such as `b'\\xff'`; characters stand for their UTF-8 encoding."""
    body, raw, start = _body(text[1:])
    if raw or "\\" not in body:
        return _utf8(body)
    parts: list[bytes] = []
    done = 0
    for match in _ESCAPE.finditer(body):
        parts.append(_utf8(body[done : match.start()]))
        done = match.end()
        if match["simple"] is not None:
            parts.append(_SIMPLE_ESCAPES[match["simple"]].encode())
        elif match["byte"] is not None:
            parts.append(bytes((int(match["byte"], 16),)))
        elif match["octal"] is not None:
            parts.append(bytes((int(match["octal"], 8),)))
        else:
            raise LiteralError(f"invalid escape sequence {match.group()!r} in bytes", start + 1 + match.start())
    parts.append(_utf8(body[done:]))
    return b"".join(parts)


def _utf8(text: str) -> bytes:
    # UTF-8 input has no lone surrogates, but a caller's own string may have them.
    return text.encode("utf-8", "surrogatepass")


def _body(text: str) -> tuple[str, bool, int]:
    """The text between the quotes, whether it is raw, and where it starts."""
    raw = text[0] in "rR"
    start = 1 if raw else 0
    width = 3 if text[start : start + 3] in ('"""', "'''") and len(text) >= start + 6 else 1
    start += width
    return text[start:-width], raw, start
