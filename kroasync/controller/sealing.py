"""The key of the seals (`model.seal`): a Secret in the namespace of the Lease, shared by all replicas.

The first start creates the Secret. Anybody who reads the key can forge seals, so only the controller needs access. A
controller that may not read the key continues without seals and logs a warning. A controller that cannot reach the API
server waits: without the key, the children that it sealed before would look like strangers.
"""

import asyncio
import base64
import logging
import secrets
from collections.abc import Callable
from typing import Final

from kroasync.kube.api_errors import AlreadyExistsError, ApiError, ForbiddenError, NotFoundError
from kroasync.kube.client import Client
from kroasync.model.kinds import SECRETS
from kroasync.model.objects import Key, Obj

log = logging.getLogger("kroasync.sealing")

# In the namespace of the Lease.
SEAL_SECRET: Final = "kroasync-seal"
_BYTES: Final = 32
_FIELD: Final = "key"
_PAUSE_S: Final = (0.2, 5.0)
# A starting API server may refuse requests that its roles allow. So only this many refusals are final.
_REFUSED: Final = 4


async def load_key(
    client: Client,
    namespace: str,
    stop: asyncio.Event,
    *,
    random: Callable[[int], bytes] = secrets.token_bytes,
) -> bytes:
    """The key, created if it does not exist. Empty if the controller has no access to the key, if the key cannot be
    used, or if `stop` is set first.
    """
    async with asyncio.TaskGroup() as group:
        loading = group.create_task(_load(client, Key(SECRETS, namespace, SEAL_SECRET), random), name="load key")
        stopping = group.create_task(_cancel(loading, stop), name="stop loading the key")
        await asyncio.wait([loading])
        stopping.cancel()
    return b"" if loading.cancelled() else loading.result()


async def _cancel(task: asyncio.Task[bytes], stop: asyncio.Event) -> None:
    await stop.wait()
    task.cancel()


async def _load(client: Client, key: Key, random: Callable[[int], bytes]) -> bytes:
    pause_s, longest_s = _PAUSE_S
    refused = 0
    while True:
        try:
            return await _read_or_make(client, key, random)
        except ApiError as error:
            refused += isinstance(error, ForbiddenError | NotFoundError)
            if refused == _REFUSED:
                return _without(key, error.message)
            log.info("cannot read the seal key yet; retrying", extra={"secret": str(key), "error": error.message})
        await asyncio.sleep(pause_s)
        pause_s = min(2 * pause_s, longest_s)


async def _read_or_make(client: Client, key: Key, random: Callable[[int], bytes]) -> bytes:
    try:
        return _key_in(await client.get(key), key)
    except NotFoundError:
        pass
    try:
        made = await client.create(key, _secret(key, random(_BYTES)))
    except AlreadyExistsError:
        # Another replica created the key first.
        made = await client.get(key)
    return _key_in(made, key)


def _secret(key: Key, value: bytes) -> Obj:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": key.name, "namespace": key.namespace},
        "type": "Opaque",
        "data": {_FIELD: base64.b64encode(value).decode()},
    }


def _key_in(secret: Obj, key: Key) -> bytes:
    found = base64.b64decode((secret.get("data") or {}).get(_FIELD) or "")
    return found if len(found) >= _BYTES else _without(key, f"it has no {_FIELD} of {_BYTES} bytes")


def _without(key: Key, why: str) -> bytes:
    log.warning(
        "children are not sealed: whoever may write an object can make it look like a child of an instance",
        extra={"secret": str(key), "why": why},
    )
    return b""
