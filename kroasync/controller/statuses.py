"""Status writes: one conditional merge patch of the difference, or nothing.

A patch carries the resourceVersion its difference was taken from, so a status never overwrites what was not seen.
"""

from typing import Any

from kroasync.kube.client import Client
from kroasync.model.names import MANAGER_STATUS
from kroasync.model.objects import Key, Obj, metadata


def difference(old: Obj, new: Obj) -> Obj:
    """The JSON merge patch (RFC 7386) that turns one object into the other; {} if they are equal."""
    patch: Obj = {key: None for key in old if key not in new and old[key] is not None}
    for key, value in new.items():
        before = old.get(key)
        if isinstance(value, dict) and isinstance(before, dict):
            below = difference(before, value)
            if below:
                patch[key] = below
        elif key not in old or not _is_same(before, value):
            patch[key] = value
    return patch


def _is_same(one: Any, other: Any) -> bool:
    """Equal as JSON, where true is not 1 (in Python it is) but 1.0 is."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_is_same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_is_same, one, other))
    return bool(one == other) and isinstance(one, bool) == isinstance(other, bool)


async def write_status(client: Client, key: Key, obj: Obj, status: Obj) -> Obj | None:
    """Make `status` the status of the object as seen; the server's answer, or None if there was nothing to write.

    Raises ConflictError if the object is no longer the one that was seen.
    """
    patch = difference(obj.get("status") or {}, status)
    if patch == {}:
        return None
    body = {"metadata": {"resourceVersion": metadata(obj).get("resourceVersion")}, "status": patch}
    return await client.merge_patch(key, body, manager=MANAGER_STATUS, subresource="status")
