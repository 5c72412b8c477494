"""The forms of names and labels, as the API server checks them (RFC 1123, RFC 1035, qualified names).

The patterns are for `fullmatch`.
"""

import re
from typing import Final

MAX_LABEL: Final = 63
"""Most characters of a DNS label, of the name part of a label key, and of a label value."""
MAX_SUBDOMAIN: Final = 253

DNS_LABEL: Final = re.compile(r"[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?", re.ASCII)
DNS_LABEL_1035: Final = re.compile(r"[a-z](?:[-a-z0-9]{0,61}[a-z0-9])?", re.ASCII)
"""As DNS_LABEL, but it begins with a letter."""
_PART: Final = r"[a-z0-9](?:[-a-z0-9]*[a-z0-9])?"
SUBDOMAIN: Final = re.compile(rf"{_PART}(?:\.{_PART})*", re.ASCII)
"""Of any length: the callers have different maximums."""
LABEL_TEXT: Final = re.compile(r"[A-Za-z0-9](?:[-_.A-Za-z0-9]{0,61}[A-Za-z0-9])?", re.ASCII)
"""The name part of the key of a label or annotation, or the value of a label that is not empty."""


def is_label_value(text: str) -> bool:
    """Whether a label may have this value."""
    return text == "" or LABEL_TEXT.fullmatch(text) is not None
