"""Label values from names that may be too long for one, and which of an instance's labels its children
inherit.
"""

import hashlib
from collections.abc import Iterable, Mapping
from typing import Final

# Kubernetes: metav1 label values have at most 63 characters.
MAX_LABEL_VALUE: Final = 63
_DIGEST: Final = 10


def label_value(text: str) -> str:
    """The text, or its beginning and a digest if it is too long for a label value; distinct texts stay
    distinct.
    """
    if len(text) <= MAX_LABEL_VALUE:
        return text
    digest = hashlib.sha256(text.encode()).hexdigest()[:_DIGEST]
    return f"{text[: MAX_LABEL_VALUE - _DIGEST - 1].rstrip('-_.')}-{digest}"


def is_listed(key: str, listed: Iterable[str]) -> bool:
    """True if the key is in the list, or under one of its prefixes (entries that end in a slash)."""
    return any(key.startswith(entry) if entry.endswith("/") else key == entry for entry in listed)


def inherited(labels: Mapping[str, str], unpropagated: Iterable[str]) -> dict[str, str]:
    """The labels children inherit."""
    listed = tuple(unpropagated)
    return {k: v for k, v in labels.items() if not is_listed(k, listed)}
