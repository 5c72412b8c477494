"""Rules for the names of instances: `schema.metadata.nameValidation`, and what the generated CRD makes of it.

The text has markers of SimpleSchema and no type, because a name is always a string. Only markers that restrict a string
make sense there; the API server allows no others below `metadata`.
"""

from functools import lru_cache
from typing import Final

from kroasync.model.objects import Obj
from kroasync.model.paths import Path
from kroasync.schema import markers

PATH: Final[Path] = ("spec", "schema", "metadata", "nameValidation")
ALLOWED: Final = ("minLength", "maxLength", "pattern", "enum", "validation")
MAX_MARKERS: Final = 16_384
"""Maximum number of characters of the text."""

_SUPPORTED: Final = ", ".join(ALLOWED)

_STRING: Final[Obj] = {"type": "string"}


def read(text: str) -> tuple[Obj, tuple[str, ...]]:
    """The schema of a name, and what is wrong with the text; with errors, any string is a name."""
    schema, errors = _read(text)
    return (dict(_STRING) if errors else dict(schema)), errors


@lru_cache(maxsize=64)
def _read(text: str) -> tuple[Obj, tuple[str, ...]]:
    if len(text) > MAX_MARKERS:
        return _STRING, (f"expected at most {MAX_MARKERS} characters, found {len(text)}",)
    found, unread = markers.lex(text)
    errors = [f"{error}; a type and markers other than {_SUPPORTED} are not supported" for error in unread]
    errors += [
        f'marker "{one.key}" is not supported for the name of an instance: expected {_SUPPORTED}'
        for one in found
        if one.key not in ALLOWED
    ]
    schema, _, faults = markers.apply(_STRING, [one for one in found if one.key in ALLOWED])
    return schema, (*errors, *faults, *_contradictions(schema))


def _contradictions(schema: Obj) -> list[str]:
    least, most = schema.get("minLength"), schema.get("maxLength")
    faults = [
        f"{keyword} must not be negative, found {length}"
        for keyword, length in (("minLength", least), ("maxLength", most))
        if length is not None and length < 0
    ]
    if not faults and least is not None and most is not None and least > most:
        faults.append(f"minLength {least} must not exceed maxLength {most}")
    return faults


def metadata_schema(text: str) -> Obj:
    """The schema of `metadata` in the generated CRD: it says something of the name only if the author does."""
    schema, _ = read(text)
    return {"type": "object"} if schema == _STRING else {"type": "object", "properties": {"name": schema}}
