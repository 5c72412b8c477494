"""Rewrites text without a loop over its characters."""

import re
from typing import Final

_SURROGATES: Final = re.compile("[\ud800-\udfff]+")
# The characters that Go's JSON encoder escapes, because they can end a script or a line in a script.
_GO_ESCAPES: Final = (
    ("<", "\\u003c"),
    (">", "\\u003e"),
    ("&", "\\u0026"),
    ("\u2028", "\\u2028"),
    ("\u2029", "\\u2029"),
)


def without_surrogates(text: str) -> str:
    """The text with U+FFFD for each half of a surrogate pair, as in Go."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return _SURROGATES.sub(lambda match: "\ufffd" * len(match.group()), text)
    return text


def escaped_as_go(text: str) -> str:
    """A JSON string with the escapes that Go adds."""
    for char, escaped in _GO_ESCAPES:
        text = text.replace(char, escaped)
    return text
