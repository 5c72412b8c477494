"""JSON of the API server as plain data, however deeply anybody nested it.

The API server takes objects of ten thousand levels, orjson reads 1024. One such object in a list must not hide all the
others: what is deeper is cut off, and is far beyond what an expression or a template may have.
"""

import re
from typing import Any, Final

import orjson

_LEVELS: Final = 1000
# A string is one token, with whatever is in it.
_TOKEN: Final = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|[\[\]{}]', re.DOTALL)


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
