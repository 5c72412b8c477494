"""Put finalizers on an object or take them off: one patch, bound to the version the list was read from."""

from kroasync.kube.client import Client
from kroasync.model.names import MANAGER_LABELLER
from kroasync.model.objects import Key, Obj, metadata


async def set_finalizers(client: Client, key: Key, obj: Obj, finalizers: list[str]) -> Obj:
    """Make these the finalizers of the object as seen; the server's answer."""
    body = {"metadata": {"resourceVersion": metadata(obj)["resourceVersion"], "finalizers": finalizers}}
    return await client.merge_patch(key, body, manager=MANAGER_LABELLER)
