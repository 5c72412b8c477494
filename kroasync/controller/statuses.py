"""Status writes: one conditional merge patch of the difference, or nothing.

A patch carries the resourceVersion its difference was taken from, so a status never overwrites what was not seen.
"""

from typing import Any

from kroasync.kube.client import Client
from kroasync.model.names import MANAGER_STATUS
from kroasync.model.objects import Key, Obj, metadata


def difference(old: Any, new: Any) -> Any:
    """The JSON merge patch (RFC 7386) that turns one object into the other; {} if they are equal."""
    if not isinstance(old, dict) or not isinstance(new, dict):
        return new
    patch: dict[str, Any] = {key: None for key in old if key not in new and old[key] is not None}
    for key, value in new.items():
        if key not in old:
            patch[key] = value
        elif old[key] != value or type(old[key]) is not type(value):
            below = difference(old[key], value)
            if below != {} or not isinstance(value, dict):
                patch[key] = below
    return patch


async def write_status(client: Client, key: Key, obj: Obj, status: Obj) -> Obj | None:
    """Make `status` the status of the object as seen; the server's answer, or None if there was nothing to write.

    Raises ConflictError if the object is no longer the one that was seen.
    """
    patch = difference(obj.get("status") or {}, status)
    if patch == {}:
        return None
    body = {"metadata": {"resourceVersion": metadata(obj).get("resourceVersion")}, "status": patch}
    return await client.merge_patch(key, body, manager=MANAGER_STATUS, subresource="status")
