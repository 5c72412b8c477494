"""Add or remove finalizers: one patch with the resourceVersion of the object that the list was read from."""

from kroasync.kube.client import Client
from kroasync.model.names import MANAGER_LABELLER
from kroasync.model.objects import Key, Obj, metadata


async def set_finalizers(client: Client, key: Key, obj: Obj, finalizers: list[str]) -> Obj:
    """Set the finalizers of the object as seen; returns the server's answer."""
    body = {"metadata": {"resourceVersion": metadata(obj)["resourceVersion"], "finalizers": finalizers}}
    return await client.merge_patch(key, body, manager=MANAGER_LABELLER)
