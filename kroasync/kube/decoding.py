"""Decodes the API server's JSON at any depth, and removes values of the wrong type from `metadata`.

The API server accepts objects with ten thousand levels, but orjson reads only 1024. One such object in a list must not
hide all others, so this module cuts off deeper levels, which are far beyond the limits of expressions and templates.
An aggregated API server or a proxy may answer an object with null `finalizers`. One such object must not hide the
others either, so a `metadata` field has the right type, or is missing.
"""

import re
from typing import Any, Final

import orjson

_LEVELS: Final = 1000
# A string is one token, whatever it contains.
_TOKEN: Final = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|[\[\]{}]', re.DOTALL)
# The fields of `metadata` with their types; for lists and maps, the type of the items.
_TYPES: Final[dict[str, Any]] = {
    **dict.fromkeys(("name", "generateName", "namespace", "uid", "resourceVersion", "selfLink"), str),
    **dict.fromkeys(("creationTimestamp", "deletionTimestamp"), str),
    **dict.fromkeys(("labels", "annotations"), dict),
    **dict.fromkeys(("finalizers", "ownerReferences", "managedFields"), list),
    **dict.fromkeys(("generation", "deletionGracePeriodSeconds"), int),
}
_ITEM_TYPES: Final[dict[str, Any]] = {
    **dict.fromkeys(("labels", "annotations", "finalizers"), str),
    **dict.fromkeys(("ownerReferences", "managedFields"), dict),
}


def decoded(content: bytes) -> Any:
    """The data, with null for values below a thousand levels. Raises orjson.JSONDecodeError."""
    try:
        return orjson.loads(content)
    except orjson.JSONDecodeError:
        shallow = _cut(content)
        if shallow is None:
            raise
        return orjson.loads(shallow)


def _cut(content: bytes) -> bytes | None:
    """The text without the values that are too deep; None if there are none."""
    kept: list[bytes] = []
    depth = begin = 0
    for token in _TOKEN.finditer(content):
        sign = token[0]
        if sign in (b"[", b"{"):
            depth += 1
            if depth == _LEVELS + 1:
                kept += [content[begin : token.start()], b"null"]
        elif sign in (b"]", b"}"):
            if depth == _LEVELS + 1:
                begin = token.end()
            depth -= 1
    return b"".join([*kept, content[begin:]]) if kept else None


def tidy(obj: Any) -> bool:
    """Remove values of the wrong type, including null, from the object's `metadata`; False if it has no name."""
    meta = obj.get("metadata") if isinstance(obj, dict) else None
    if not isinstance(meta, dict):
        return False
    for name in [name for name, value in meta.items() if not _is_proper(name, value)]:
        _mend(meta, name)
    for name in ("apiVersion", "kind"):
        if not isinstance(obj.get(name, ""), str):
            del obj[name]
    return bool(meta.get("name"))


def _is_proper(name: str, value: Any) -> bool:
    if type(value) is not _TYPES.get(name, type(value)):
        return False
    of = _ITEM_TYPES.get(name)
    return of is None or {type(item) for item in (value.values() if isinstance(value, dict) else value)} <= {of}


def _mend(meta: dict[str, Any], name: str) -> None:
    """Keep only items of the right type; without any, remove the field."""
    value, of = meta.pop(name), _ITEM_TYPES.get(name)
    if of is None or type(value) is not _TYPES[name]:
        return
    if isinstance(value, dict):
        meta[name] = {key: item for key, item in value.items() if type(item) is of}
    else:
        meta[name] = [item for item in value if type(item) is of]
