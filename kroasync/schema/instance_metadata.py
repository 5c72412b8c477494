"""The metadata of an object as far as the API server refuses it, whatever the kind: names and labels."""

import re
from collections.abc import Iterator
from typing import Any, Final

from kroasync.model.definition import type_name
from kroasync.model.name_forms import DNS_LABEL, LABEL_TEXT, MAX_LABEL, MAX_SUBDOMAIN, SUBDOMAIN, is_label_value
from kroasync.model.objects import Obj
from kroasync.model.problems import Problem

# The API server appends five characters to `generateName`.
_RANDOM: Final = "xxxxx"


def check_metadata(obj: Obj) -> Iterator[Problem]:
    """Every problem of the names, labels and annotations of an object."""
    metadata = obj.get("metadata")
    if not isinstance(metadata, dict):
        return
    yield from _name(metadata, "name", "", SUBDOMAIN, MAX_SUBDOMAIN, "lowercase RFC 1123 subdomain")
    yield from _name(
        metadata, "generateName", _RANDOM, SUBDOMAIN, MAX_SUBDOMAIN, "lowercase beginning of an RFC 1123 subdomain"
    )
    yield from _name(metadata, "namespace", "", DNS_LABEL, MAX_LABEL, "lowercase RFC 1123 label")
    for key, value in _texts(metadata, "labels"):
        if isinstance(value, str) and not is_label_value(value):
            yield _fault("labels", f"expected at most {MAX_LABEL} letters, digits, -, _ and ., found {value}", key)
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
    has_prefix = len(prefix) <= MAX_SUBDOMAIN and SUBDOMAIN.fullmatch(prefix)
    if not LABEL_TEXT.fullmatch(name) or (slash and not has_prefix):
        yield _fault(field, f"expected a key like example.com/name, found {key!r}", key)


def _fault(field: str, message: str, key: str | None = None, *, code: str = "instance-metadata") -> Problem:
    return Problem(code=code, message=message, path=("metadata", field, *([] if key is None else [key])))
