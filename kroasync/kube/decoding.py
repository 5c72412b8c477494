"""JSON of the API server as plain data, however deeply anybody nested it, with `metadata` of the types it should have.

The API server takes objects of ten thousand levels, orjson reads 1024. One such object in a list must not hide all the
others: what is deeper is cut off, and is far beyond what an expression or a template may have. Nor must one whose
`finalizers` are null, as a server of extensions or a proxy may answer: whoever reads an object finds texts where texts
belong, or nothing.
"""

import re
from typing import Any, Final

import orjson

_LEVELS: Final = 1000
# A string is one token, with whatever is in it.
_TOKEN: Final = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|[\[\]{}]', re.DOTALL)
# What `metadata` has, and for those with many of something its type.
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
    """The data; null stands for what is nested more deeply than a thousand levels. Raises orjson.JSONDecodeError."""
    try:
        return orjson.loads(content)
    except orjson.JSONDecodeError:
        shallow = _cut(content)
        if shallow is None:
            raise
        return orjson.loads(shallow)


def _cut(content: bytes) -> bytes | None:
    """The text without what is too deep; None if nothing is."""
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
    """Take out of the object's `metadata` what has another type than it should, null too; False if it has no name."""
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
    """Keep the items that are of the right type; without any, nothing."""
    value, of = meta.pop(name), _ITEM_TYPES.get(name)
    if of is None or type(value) is not _TYPES[name]:
        return
    if isinstance(value, dict):
        meta[name] = {key: item for key, item in value.items() if type(item) is of}
    else:
        meta[name] = [item for item in value if type(item) is of]
