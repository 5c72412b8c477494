"""Status writes: one conditional merge patch of the difference, or nothing.

A patch carries the resourceVersion that its difference was computed from, so it never overwrites an unseen change. If
somebody else changes a status, the controller restores it; if that repeats, with growing delays (see `fights`).
"""

from collections.abc import Hashable

from kroasync.controller.fights import Fights
from kroasync.controller.instance_store import InstanceStore
from kroasync.kube.client import Client
from kroasync.model.names import MANAGER_STATUS
from kroasync.model.objects import Key, Obj, is_same, metadata


def difference(old: Obj, new: Obj) -> Obj:
    """The JSON merge patch (RFC 7386) that turns the old object into the new one; {} if they are equal."""
    patch: Obj = {key: None for key in old if key not in new and old[key] is not None}
    for key, value in new.items():
        before = old.get(key)
        if isinstance(value, dict) and isinstance(before, dict):
            below = difference(before, value)
            if below:
                patch[key] = below
        elif key not in old or not is_same(before, value):
            patch[key] = value
    return patch


async def write_status(client: Client, key: Key, obj: Obj, status: Obj) -> Obj | None:
    """Make `status` the status of the object as seen; returns the server's answer, or None if they are equal.

    Raises ConflictError if the object has changed since.
    """
    patch = difference(obj.get("status") or {}, status)
    if patch == {}:
        return None
    body = {"metadata": {"resourceVersion": metadata(obj).get("resourceVersion")}, "status": patch}
    return await client.merge_patch(key, body, manager=MANAGER_STATUS, subresource="status")


def wait_s(store: InstanceStore, fights: Fights, key: Key) -> float:
    """How long to wait before the next write of a contested status; 0 if it may be written now."""
    return fights.wait_s(_subject(key)) if store.meddled(key) is not None else 0.0


async def report(
    client: Client, store: InstanceStore, fights: Fights, key: Key, obj: Obj, status: Obj
) -> tuple[Obj | None, str]:
    """`write_status` for an object of a store. The text is not empty if the status just became contested."""
    meddled = store.meddled(key)
    store.reporting(key, status)
    answer = await write_status(client, key, obj, status)
    store.reported(key, answer)
    if answer is None or meddled is None or not fights.healed(_subject(key)):
        return answer, ""
    by = f'manager "{meddled.by}"' if meddled.by else "somebody"
    return answer, f"status: {by} keeps changing it; it is restored with growing delays"


def _subject(key: Key) -> Hashable:
    return "status", key
