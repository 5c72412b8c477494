"""Seals: what shows that this controller applied a child, and for which instance.

Labels, annotations and the name of a field manager can be written by anybody who may write the object. A seal is an
HMAC with a key that only the controller has, over the instance's UID and the identity of the child: copied to an
object of another name, namespace or kind, or beside the label of another instance, it is void.
"""

import base64
import hmac
from typing import Final

from kroasync.model.objects import Key

_PREFIX: Final = "v1-"


def seal(key: bytes, instance_uid: str, child: Key) -> str:
    """The seal of a child of an instance; it is the same in every version the kind is served in."""
    parts = (instance_uid, child.resource.group, child.resource.kind, child.namespace, child.name)
    digest = hmac.digest(key, "\0".join(parts).encode(), "sha256")
    return _PREFIX + base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def is_sealed(key: bytes, instance_uid: str, child: Key, found: str) -> bool:
    """Whether `found` is the seal of the child; anybody may have written it."""
    return hmac.compare_digest(seal(key, instance_uid, child).encode(), found.encode(errors="replace"))
