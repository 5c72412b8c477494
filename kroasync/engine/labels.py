"""Label values from names that may be too long for one, and which of an instance's labels its children
inherit.

Labels are inherited so that people find what belongs together. Whoever may write an instance may label it as they like,
and the controller labels for them what they may not: so what grants or configures something is not inherited, and
kinds that do so by their labels inherit nothing. The names are in `model.names`; operators add to them by
`--label-propagation-exclude`.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Final

from kroasync.model import names
from kroasync.model.objects import Resource

# Kubernetes: metav1 label values have at most 63 characters.
MAX_LABEL_VALUE: Final = 63
_DIGEST: Final = 10
_WORDS: Final = re.compile(r"[-_.]+")


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
    return {k: v for k, v in labels.items() if identifies(k) and not is_listed(k, listed)}


def inherits(resource: Resource) -> bool:
    """Whether objects of the kind inherit labels."""
    if not resource.group:
        return resource.kind not in names.UNLABELLED_CORE_KINDS
    return resource.group not in names.UNLABELLED_GROUPS


@lru_cache(maxsize=1024)
def identifies(key: str) -> bool:
    """Whether a label only says what an object is; False for one that is known to make something happen."""
    if key in names.RECOMMENDED_LABELS:
        return True
    domain, _, name = key.lower().rpartition("/")
    return not _configures(name) and not (domain and _is_configuring(domain))


def _is_configuring(domain: str) -> bool:
    parts = domain.split(".")
    if parts[0] in names.CONFIGURING_SUBDOMAINS or parts[0].startswith(names.CONFIGURING_STEMS):
        return True
    return any(".".join(parts[start:]) in names.CONFIGURING_DOMAINS for start in range(len(parts)))


def _configures(name: str) -> bool:
    words = _WORDS.split(name)
    return (
        name.startswith(names.CONFIGURING_STEMS)
        or not names.CONFIGURING_WORDS.isdisjoint(words)
        or any(word.startswith(names.CONFIGURING_STEMS) for word in words)
    )
