"""Kubernetes' named formats: `format.dns1123Label().validate("x")` returns none, or the list of errors.

The rules and messages are those of the API server for names and labels. kro does not register this library.
"""

import datetime
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar, Final

from kroasync.cel.decls import LibraryBuilder
from kroasync.cel.errors import ValueError_
from kroasync.cel.lib import url
from kroasync.cel.types import Type, opaque
from kroasync.cel.values import NONE, Optional

FORMAT: Final = opaque("kubernetes.NamedFormat")

_LABEL: Final = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN: Final = rf"{_LABEL}(\.{_LABEL})*"
_DNS1035: Final = "[a-z]([-a-z0-9]*[a-z0-9])?"
_NAME: Final = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
_LABEL_VALUE: Final = f"({_NAME})?"
_UUID: Final = re.compile("[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}", re.IGNORECASE | re.ASCII)
_BASE64: Final = re.compile("(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=|[A-Za-z0-9+/]{4})")
_DATE: Final = re.compile(r"([0-9]{4})-([0-9]{2})-([0-9]{2})")
_TIME: Final = re.compile(r"([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](.[0-9]+)?(z|[+-][0-9]{2}:[0-9]{2})", re.IGNORECASE)

# How many characters are checked in one step.
_CHARS_PER_STEP: Final = 4

Validate = Callable[[str], list[str]]


@dataclass(frozen=True, slots=True)
class NamedFormat:
    """A format and its check, which returns the errors of a text."""

    cel_type: ClassVar[Type] = FORMAT

    name: str
    validate: Validate = field(compare=False)

    def __str__(self) -> str:
        return self.name


def _too_long(text: str, limit: int, unit: str = "characters") -> list[str]:
    return [f"must be no more than {limit} {unit}"] if len(text.encode(errors="replace")) > limit else []


def _mismatch(message: str, pattern: str, *examples: str) -> str:
    shown = " or ".join(f"'{example}', " for example in examples)
    return f"{message} (e.g. {shown}regex used for validation is '{pattern}')"


def _dns1123_label(text: str) -> list[str]:
    if re.fullmatch(_LABEL, text):
        return _too_long(text, 63)
    if re.fullmatch(_SUBDOMAIN, text):
        return [*_too_long(text, 63), "must not contain dots"]
    message = (
        "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', "
        "and must start and end with an alphanumeric character"
    )
    return [*_too_long(text, 63), _mismatch(message, _LABEL, "my-name", "123-abc")]


def _dns1123_subdomain(text: str) -> list[str]:
    if re.fullmatch(_SUBDOMAIN, text):
        return _too_long(text, 253)
    message = (
        "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', "
        "and must start and end with an alphanumeric character"
    )
    return [*_too_long(text, 253), _mismatch(message, _SUBDOMAIN, "example.com")]


def _dns1035_label(text: str) -> list[str]:
    if re.fullmatch(_DNS1035, text):
        return _too_long(text, 63)
    message = (
        "a DNS-1035 label must consist of lower case alphanumeric characters or '-', "
        "start with an alphabetic character, and end with an alphanumeric character"
    )
    return [*_too_long(text, 63), _mismatch(message, _DNS1035, "my-name", "abc-123")]


_NAME_MESSAGE: Final = (
    "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character"
)


def _qualified_name(text: str) -> list[str]:
    wrong = _mismatch(_NAME_MESSAGE, _NAME, "MyName", "my.name", "123-abc")
    parts = text.split("/", 2)
    if len(parts) > 2:
        with_prefix = "with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
        return [f"a valid label key {wrong} {with_prefix}"]
    errors: list[str] = []
    name = parts[-1]
    if len(parts) == 2 and not parts[0]:
        errors.append("prefix part must be non-empty")
    elif len(parts) == 2:
        errors += [f"prefix part {error}" for error in _dns1123_subdomain(parts[0])]
    if not name:
        errors.append("name part must be non-empty")
    errors += [f"name part {error}" for error in _too_long(name, 63, "bytes")]
    return errors if re.fullmatch(_NAME, name) else [*errors, f"name part {wrong}"]


def _label_value(text: str) -> list[str]:
    if re.fullmatch(_LABEL_VALUE, text):
        return _too_long(text, 63, "bytes")
    message = f"a valid label must be an empty string or {_NAME_MESSAGE.removeprefix('must ')}"
    return [*_too_long(text, 63, "bytes"), _mismatch(message, _LABEL_VALUE, "MyValue", "my_value", "12345")]


def _prefix_of(validate: Validate) -> Validate:
    """The check for a prefix of a name: it replaces a trailing dash, because the name continues after the dash."""
    return lambda text: validate(f"{text[:-2]}a" if len(text) > 1 and text.endswith("-") else text)


def _uri(text: str) -> list[str]:
    try:
        url.check(text)
    except ValueError_ as error:
        return [error.message.removeprefix("URL parse error during conversion from string: ")]
    return []


def _is_date(text: str) -> bool:
    match = _DATE.fullmatch(text)
    if match is None:
        return False
    year, month, day = map(int, match.groups())
    try:
        # Go has a year 0, a leap year like 2000; Python's first is 1.
        datetime.date(year or 2000, month, day)
    except ValueError:
        return False
    return True


def _is_datetime(text: str) -> bool:
    date, _, time = text.lower().partition("t")
    return _is_date(date) and _TIME.fullmatch(time) is not None


def _expect(holds: Callable[[str], object], message: str) -> Validate:
    return lambda text: [] if holds(text) else [message]


FORMATS: Final = {
    named.name: named
    for named in (
        NamedFormat("dns1123Label", _dns1123_label),
        NamedFormat("dns1123Subdomain", _dns1123_subdomain),
        NamedFormat("dns1035Label", _dns1035_label),
        NamedFormat("qualifiedName", _qualified_name),
        NamedFormat("dns1123LabelPrefix", _prefix_of(_dns1123_label)),
        NamedFormat("dns1123SubdomainPrefix", _prefix_of(_dns1123_subdomain)),
        NamedFormat("dns1035LabelPrefix", _prefix_of(_dns1035_label)),
        NamedFormat("labelValue", _label_value),
        NamedFormat("uri", _uri),
        NamedFormat("uuid", _expect(_UUID.fullmatch, "does not match the UUID format")),
        NamedFormat("byte", _expect(_BASE64.fullmatch, "invalid base64")),
        NamedFormat("date", _expect(_is_date, "invalid date")),
        NamedFormat("datetime", _expect(_is_datetime, "invalid datetime")),
    )
}

_EXAMPLES: Final = {
    "dns1123Label": "my-name",
    "dns1123Subdomain": "example.com",
    "dns1035Label": "abc-123",
    "qualifiedName": "example.com/my.name",
    "dns1123LabelPrefix": "my-",
    "dns1123SubdomainPrefix": "example.com-",
    "dns1035LabelPrefix": "my-",
    "labelValue": "my_value",
    "uri": "https://example.com",
    "uuid": "123e4567-e89b-12d3-a456-426614174000",
    "byte": "aGVsbG8=",
    "date": "2020-01-01",
    "datetime": "2020-01-01T00:00:00Z",
}

_library = LibraryBuilder(
    "format",
    doc="The formats that Kubernetes validates names and values with.",
    aliases={"format": FORMAT},
    extra=True,
    rate=_CHARS_PER_STEP,
    weight=32,
)


def _constant(named: NamedFormat) -> Callable[[], NamedFormat]:
    return lambda: named


for _name, _format in FORMATS.items():
    _library.fn(
        f"format.{_name}() format",
        static=True,
        example=f"!format.{_name}().validate('{_EXAMPLES[_name]}').hasValue()",
        doc=f"The format {_name}; {_EXAMPLES[_name]} matches it.",
    )(_constant(_format))


@_library.fn(
    "format.named(string) optional(format)",
    static=True,
    example="format.named('dns1123Label').value().validate('My Name').hasValue()",
    doc="The format with that name, or none.",
)
def _named(name: str) -> Optional:
    found = FORMATS.get(name)
    return NONE if found is None else Optional(found)


@_library.fn(
    "format.validate(string) optional(list(string))",
    example="format.dns1123Label().validate('a.b').value() == ['must not contain dots']",
    doc="None if the text matches the format, otherwise the list of errors.",
)
def _validate(named: NamedFormat, text: str) -> Optional:
    errors = named.validate(text)
    return Optional(errors) if errors else NONE


LIBRARY: Final = _library.build()
