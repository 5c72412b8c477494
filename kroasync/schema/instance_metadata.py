"""The metadata of an object as far as the API server refuses it, whatever the kind: names and labels."""

import re
from collections.abc import Iterator
from typing import Any, Final

from kroasync.model.definition import type_name
from kroasync.model.objects import Obj
from kroasync.model.problems import Problem

_MAX_LABEL: Final = 63
_MAX_NAME: Final = 253
_DNS_LABEL: Final = re.compile(r"[a-z0-9](?:[-a-z0-9]*[a-z0-9])?", re.ASCII)
_SUBDOMAIN: Final = re.compile(rf"{_DNS_LABEL.pattern}(?:\.{_DNS_LABEL.pattern})*", re.ASCII)
_LABEL_TEXT: Final = re.compile(r"[A-Za-z0-9](?:[-A-Za-z0-9_.]*[A-Za-z0-9])?", re.ASCII)
# The API server appends five characters to `generateName`.
_RANDOM: Final = "xxxxx"


def check_metadata(obj: Obj) -> Iterator[Problem]:
    """Every problem of the names, labels and annotations of an object."""
    metadata = obj.get("metadata")
    if not isinstance(metadata, dict):
        return
    yield from _name(metadata, "name", "", _SUBDOMAIN, _MAX_NAME, "lowercase RFC 1123 subdomain")
    yield from _name(
        metadata, "generateName", _RANDOM, _SUBDOMAIN, _MAX_NAME, "lowercase beginning of an RFC 1123 subdomain"
    )
    yield from _name(metadata, "namespace", "", _DNS_LABEL, _MAX_LABEL, "lowercase RFC 1123 label")
    for key, value in _texts(metadata, "labels"):
        if isinstance(value, str) and value and not _is(value, _LABEL_TEXT, _MAX_LABEL):
            yield _fault("labels", f"expected at most {_MAX_LABEL} letters, digits, -, _ and ., found {value}", key)
        yield from _wrong_key("labels", key)
    for key, _ in _texts(metadata, "annotations"):
        yield from _wrong_key("annotations", key)
    for field in ("labels", "annotations"):
        for key, value in _texts(metadata, field):
            if not isinstance(value, str):
                yield _fault(field, f"expected string, found {type_name(value)}", key, code="instance-type")


def _name(metadata: Obj, field: str, more: str, form: re.Pattern[str], most: int, what: str) -> Iterator[Problem]:
    value = metadata.get(field)
    if value is None or value == "":
        return
    if not isinstance(value, str):
        yield _fault(field, f"expected string, found {type_name(value)}", code="instance-type")
    elif len(value + more) > most:
        yield _fault(field, f"expected at most {most - len(more)} characters, found {len(value)}")
    elif not form.fullmatch(value + more):
        yield _fault(field, f"expected a {what}, found {value}")


def _texts(metadata: Obj, field: str) -> Iterator[tuple[str, Any]]:
    found = metadata.get(field)
    yield from found.items() if isinstance(found, dict) else ()


def _wrong_key(field: str, key: str) -> Iterator[Problem]:
    prefix, slash, name = key.rpartition("/")
    # As to the API server, which compares the prefixes of annotations without case.
    prefix = prefix.lower() if field == "annotations" else prefix
    if not _is(name, _LABEL_TEXT, _MAX_LABEL) or (slash and not _is(prefix, _SUBDOMAIN, _MAX_NAME)):
        yield _fault(field, f"expected a key like example.com/name, found {key!r}", key)


def _is(text: str, form: re.Pattern[str], most: int) -> bool:
    return len(text) <= most and form.fullmatch(text) is not None


def _fault(field: str, message: str, key: str | None = None, *, code: str = "instance-metadata") -> Problem:
    return Problem(code=code, message=message, path=("metadata", field, *([] if key is None else [key])))
