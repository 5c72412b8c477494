"""Rewriting text without looking at its characters one by one."""

import re
from typing import Final

_SURROGATES: Final = re.compile("[\ud800-\udfff]+")
# What Go's JSON encoder escapes: what would end a script or a line of one.
_GO_ESCAPES: Final = (
    ("<", "\\u003c"),
    (">", "\\u003e"),
    ("&", "\\u0026"),
    ("\u2028", "\\u2028"),
    ("\u2029", "\\u2029"),
)


def without_surrogates(text: str) -> str:
    """Half a surrogate pair is no character; it becomes U+FFFD as in Go."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return _SURROGATES.sub(lambda match: "\ufffd" * len(match.group()), text)
    return text


def escaped_as_go(text: str) -> str:
    """The text of a JSON string with what Go escapes."""
    for char, escaped in _GO_ESCAPES:
        text = text.replace(char, escaped)
    return text
