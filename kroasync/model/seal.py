"""Seals prove that this controller applied a child, and for which instance.

Anybody who may write an object can write its labels, its annotations and the name of a field manager. A seal is an
HMAC with a key that only the controller has, over the instance's UID and the identity of the child. It is invalid on an
object with another name, namespace or kind, and with the label of another instance.
"""

import base64
import hmac
from typing import Final

from kroasync.model import names
from kroasync.model.objects import Key, Obj, annotations_of

_PREFIX: Final = "v1-"
# A seal has 46 characters; what is longer is none, and not worth its memory.
_MOST_CHARACTERS: Final = 64


def seal(key: bytes, instance_uid: str, child: Key) -> str:
    """The seal of a child of an instance. It is the same in every served version of the kind."""
    parts = (instance_uid, child.resource.group, child.resource.kind, child.namespace, child.name)
    digest = hmac.digest(key, "\0".join(parts).encode(), "sha256")
    return _PREFIX + base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def is_sealed(key: bytes, instance_uid: str, child: Key, found: str) -> bool:
    """Whether `found`, which anybody may have written, is the seal of the child."""
    return hmac.compare_digest(seal(key, instance_uid, child).encode(), found.encode(errors="replace"))


def seal_of(obj: Obj) -> str:
    """What an object carries as its seal, valid or not."""
    return annotations_of(obj).get(names.ANNOTATION_SEAL, "")[:_MOST_CHARACTERS]
