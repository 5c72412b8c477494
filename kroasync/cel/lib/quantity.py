"""Kubernetes quantities: `quantity("1.5Gi")`, compared and added exactly.

Follows k8s.io/apimachinery's resource.Quantity: an amount is an integer times a power of ten. An amount that fits
int64 at its written scale can convert to an integer; any other amount is a big decimal, which cannot. Amounts below
one nano are rounded up, away from zero. Limits on exponents and digits bound the work.
"""

from dataclasses import dataclass
from typing import ClassVar, Final

from kroasync.cel.decls import LibraryBuilder
from kroasync.cel.errors import ValueError_
from kroasync.cel.types import Type, opaque
from kroasync.cel.values import INT_MAX, INT_MIN

QUANTITY: Final = opaque("kubernetes.Quantity")

_DECIMAL_SI: Final = "DecimalSI"
_DECIMAL_EXPONENT: Final = "DecimalExponent"
_BINARY_SI: Final = "BinarySI"

_DECIMAL_SUFFIXES: Final = {
    "n": -9,
    "u": -6,
    "m": -3,
    "": 0,
    "k": 3,
    "M": 6,
    "G": 9,
    "T": 12,
    "P": 15,
    "E": 18,
}
_BINARY_SUFFIXES: Final = {"Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40, "Pi": 50, "Ei": 60}
_DIGITS: Final = frozenset("0123456789")
_SUFFIX_LETTERS: Final = frozenset("eEinumkKMGTP")
_NANO: Final = -9
# apimachinery's fast path holds at most this many decimal digits in an int64.
_INT64_DIGITS: Final = 18
_MAX_DIGITS: Final = 1000
_MAX_EXPONENT: Final = 1000
# Leading and trailing zeros count here.
_MAX_LENGTH: Final = 4096

_WRONG_FORMAT: Final = "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
_WRONG_SUFFIX: Final = "unable to parse quantity's suffix"
_WRONG_NUMBER: Final = "unable to parse numeric part of quantity"


@dataclass(frozen=True, slots=True, eq=False)
class Quantity:
    """`unscaled * 10**scale`. `big` is True if apimachinery stores the amount as a decimal instead of an int64."""

    cel_type: ClassVar[Type] = QUANTITY

    unscaled: int
    scale: int
    format: str
    big: bool = False
    # The parsed text, which is printed unchanged, as in apimachinery; None after arithmetic.
    text: str | None = None

    @property
    def cel_size(self) -> int:
        """The digits of the number and the exponent together."""
        return self.unscaled.bit_length() // 3 + abs(self.scale)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Quantity) and compare(self, other) == 0

    def __hash__(self) -> int:
        unscaled, scale = _reduced(self.unscaled, self.scale, 10)
        return hash((unscaled, scale))

    def __str__(self) -> str:
        return canonical(self) if self.text is None else self.text


def parse(text: str) -> Quantity:
    """The quantity that a text denotes; raises ValueError_."""
    if not text:
        raise ValueError_(_WRONG_FORMAT)
    if len(text) > _MAX_LENGTH:
        raise ValueError_(_WRONG_NUMBER)
    negative, number, fraction, suffix = _split(text)
    if len(number) + len(fraction) > _MAX_DIGITS:
        raise ValueError_(_WRONG_NUMBER)
    exponent, format = _interpret(suffix)
    unscaled = int(number + fraction)
    scale, power = -len(fraction), 0
    if format == _BINARY_SI:
        power = exponent
        # How many of 15 decimal digits remain after the number and the power of two.
        fits = not fraction and 15 - len(number) - int(exponent * 3 / 10) - 1 >= 0
    else:
        scale += exponent
        fits = len(number) + len(fraction) <= _INT64_DIGITS
    unscaled <<= power
    if fits and scale >= _NANO and unscaled <= INT_MAX:
        return Quantity(-unscaled if negative else unscaled, scale, format, text=text)
    return _big(unscaled, scale, format, negative=negative)


def _big(unscaled: int, scale: int, format: str, *, negative: bool) -> Quantity:
    """The amount in nanos, rounded up, with binary amounts capped at int64, as on ParseQuantity's slow path."""
    if scale < _NANO:
        unscaled = -(-unscaled // 10 ** (_NANO - scale))
    else:
        unscaled *= 10 ** (scale - _NANO)
    scale = _NANO
    if format == _BINARY_SI:
        one = 10**-_NANO
        if unscaled > INT_MAX * one:
            unscaled, scale = INT_MAX, 0
        if 0 < unscaled < one:
            # An amount below one has no binary suffix.
            format = _DECIMAL_SI
    return Quantity(-unscaled if negative else unscaled, scale, format, big=True)


def _split(text: str) -> tuple[bool, str, str, str]:
    """Sign, digits before and after the point, suffix."""
    position = 1 if text[0] in "+-" else 0
    start = position
    position = _skip(text, position, _DIGITS)
    number, fraction = text[start:position].lstrip("0"), ""
    if text.startswith(".", position):
        start = position + 1
        position = _skip(text, start, _DIGITS)
        fraction = text[start:position]
    start = position
    position = _skip(text, position, _SUFFIX_LETTERS)
    if text[position : position + 1] in ("+", "-"):
        position += 1
    if _skip(text, position, _DIGITS) != len(text):
        raise ValueError_(_WRONG_FORMAT)
    return text[0] == "-", number or "0", fraction, text[start:]


def _skip(text: str, position: int, chars: frozenset[str]) -> int:
    while position < len(text) and text[position] in chars:
        position += 1
    return position


def _interpret(suffix: str) -> tuple[int, str]:
    """The exponent (of 10, or of 2 for BinarySI) and the format of a suffix."""
    if suffix in _BINARY_SUFFIXES:
        return _BINARY_SUFFIXES[suffix], _BINARY_SI
    if suffix in _DECIMAL_SUFFIXES:
        return _DECIMAL_SUFFIXES[suffix], _DECIMAL_SI
    digits = suffix[2:] if suffix[1:2] in ("+", "-") else suffix[1:]
    if suffix[:1] in ("e", "E") and digits and not digits.strip("0123456789") and len(digits) <= 18:
        exponent = int(suffix[1:])
        if exponent <= _MAX_EXPONENT:
            # A smaller exponent changes nothing: the rest rounds up to one nano.
            return max(exponent, -2 * _MAX_EXPONENT), _DECIMAL_EXPONENT
    raise ValueError_(_WRONG_SUFFIX)


def compare(a: Quantity, b: Quantity) -> int:
    """-1, 0 or 1; exact."""
    scale = min(a.scale, b.scale)
    left, right = _at(a, scale), _at(b, scale)
    return (left > right) - (left < right)


def _at(quantity: Quantity, scale: int) -> int:
    return int(quantity.unscaled * 10 ** (quantity.scale - scale))


def _plus(a: Quantity, b: Quantity, sign: int) -> Quantity:
    format = b.format if a.unscaled == 0 else a.format
    if not a.big and not b.big:
        # In int64 arithmetic, zero adopts the scale of the other operand.
        if b.unscaled == 0:
            return Quantity(a.unscaled, a.scale, format)
        if a.unscaled == 0:
            return Quantity(sign * b.unscaled, b.scale, format)
    scale = min(a.scale, b.scale)
    total = _at(a, scale) + sign * _at(b, scale)
    if abs(total) > 10**_MAX_DIGITS:
        raise ValueError_("quantity is too large")
    return Quantity(total, scale, format, big=a.big or b.big or not INT_MIN <= total <= INT_MAX)


def whole(quantity: Quantity) -> int | None:
    """The int64 value, or None where apimachinery's AsInt64 gives up."""
    if quantity.big or quantity.scale < 0:
        return None
    value = _at(quantity, 0)
    return value if INT_MIN <= value <= INT_MAX else None


def canonical(quantity: Quantity) -> str:
    """The form that apimachinery writes: full precision, no fractional digits, the largest possible suffix."""
    if quantity.unscaled == 0:
        return "0"
    if quantity.format == _BINARY_SI:
        unscaled, scale = _reduced(quantity.unscaled, quantity.scale, 10)
        amount = unscaled * 10**scale if scale >= 0 else None
        if amount is not None and not -1024 < amount < 1024:
            number, times = _reduced(amount, 0, 1024)
            times = min(times, 6)
            number = amount // 1024**times
            return f"{number}{_suffix_of(_BINARY_SUFFIXES, 10 * times)}"
    number, exponent = _reduced(quantity.unscaled, quantity.scale, 10)
    while exponent % 3:
        number *= 10
        exponent -= 1
    if quantity.format != _DECIMAL_EXPONENT and exponent in _DECIMAL_SUFFIXES.values():
        return f"{number}{_suffix_of(_DECIMAL_SUFFIXES, exponent)}"
    return f"{number}e{exponent}" if exponent else str(number)


def _suffix_of(suffixes: dict[str, int], exponent: int) -> str:
    return next((name for name, value in suffixes.items() if value == exponent), "")


def _reduced(value: int, exponent: int, base: int) -> tuple[int, int]:
    """Move factors of `base` from the value to the exponent."""
    while value and value % base == 0:
        value //= base
        exponent += 1
    return value, exponent if value else 0


_library = LibraryBuilder(
    "quantity",
    doc="Kubernetes quantities such as 500m and 1.5Gi, in exact arithmetic.",
    aliases={"quantity": QUANTITY},
    weight=96,
    rate=8,
)


@_library.fn(
    "quantity(string) quantity",
    example="quantity('1500m') == quantity('1.5')",
    doc="Parses a quantity; an error if the text is not one.",
)
def _quantity(text: str) -> Quantity:
    return parse(text)


@_library.fn(
    "isQuantity(string) bool",
    example="isQuantity('20Mi') && !isQuantity('20Mo')",
    doc="Whether a text is a quantity.",
)
def _is_quantity(text: str) -> bool:
    try:
        parse(text)
    except ValueError_:
        return False
    return True


@_library.fn("sign(quantity) int", example="sign(quantity('-1k')) == -1", doc="1, 0 or -1.")
def _sign(quantity: Quantity) -> int:
    return (quantity.unscaled > 0) - (quantity.unscaled < 0)


@_library.fn(
    "quantity.isGreaterThan(quantity) bool",
    example="quantity('150Mi').isGreaterThan(quantity('100Mi'))",
    doc="Whether the receiver is greater than the argument.",
)
def _is_greater(a: Quantity, b: Quantity) -> bool:
    return compare(a, b) > 0


@_library.fn(
    "quantity.isLessThan(quantity) bool",
    example="quantity('50M').isLessThan(quantity('100M'))",
    doc="Whether the receiver is less than the argument.",
)
def _is_less(a: Quantity, b: Quantity) -> bool:
    return compare(a, b) < 0


@_library.fn(
    "quantity.compareTo(quantity) int",
    example="quantity('200M').compareTo(quantity('0.2G')) == 0",
    doc="-1, 0 or 1 if the receiver is less than, equal to or greater than the argument.",
)
def _compare_to(a: Quantity, b: Quantity) -> int:
    return compare(a, b)


@_library.fn(
    "quantity.asApproximateFloat() double",
    example="quantity('50.703k').asApproximateFloat() == 50703.0",
    doc="The nearest double; this may lose precision.",
)
def _as_float(quantity: Quantity) -> float:
    try:
        base = float(quantity.unscaled)
    except OverflowError:
        base = float("inf") if quantity.unscaled > 0 else float("-inf")
    return base if quantity.scale == 0 else base * float(f"1e{quantity.scale}")


@_library.fn(
    "quantity.asInteger() int",
    example="quantity('50k').asInteger() == 50000",
    doc="The value as an int; an error unless isInteger().",
)
def _as_integer(quantity: Quantity) -> int:
    value = whole(quantity)
    if value is None:
        raise ValueError_("cannot convert value to integer")
    return value


@_library.fn(
    "quantity.isInteger() bool",
    example="quantity('50k').isInteger() && !quantity('1.5').isInteger()",
    doc="Whether asInteger() succeeds. As in Kubernetes, '1.0' and '1.5Gi' are not integers.",
)
def _is_integer(quantity: Quantity) -> bool:
    return whole(quantity) is not None


@_library.fn(
    "quantity.add(quantity) quantity",
    example="quantity('50k').add(quantity('20')) == quantity('50.02k')",
    doc="The sum, in the receiver's format.",
)
def _add(a: Quantity, b: Quantity) -> Quantity:
    return _plus(a, b, 1)


@_library.fn(
    "quantity.add(int) quantity",
    example="quantity('50k').add(20) == quantity('50020')",
    doc="The sum of the receiver and an integer.",
)
def _add_int(a: Quantity, b: int) -> Quantity:
    return _plus(a, Quantity(b, 0, _DECIMAL_EXPONENT), 1)


@_library.fn(
    "quantity.sub(quantity) quantity",
    example="quantity('50k').sub(quantity('20')) == quantity('49.98k')",
    doc="The difference, in the receiver's format.",
)
def _sub(a: Quantity, b: Quantity) -> Quantity:
    return _plus(a, b, -1)


@_library.fn(
    "quantity.sub(int) quantity",
    example="quantity('50k').sub(20) == quantity('49980')",
    doc="The receiver minus an integer.",
)
def _sub_int(a: Quantity, b: int) -> Quantity:
    return _plus(a, Quantity(b, 0, _DECIMAL_EXPONENT), -1)


LIBRARY: Final = _library.build()
