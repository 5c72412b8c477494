"""The key of the seals (`model.seal`): a Secret beside the Lease, made at the first start, the same for all replicas.

Whoever reads it can forge seals, so nobody but the controller needs a right to it. A controller that may not read it
goes on without seals and says so; one that cannot reach the API server waits, since what it sealed before must not
look like a stranger's meanwhile.
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

# Beside the Lease.
SEAL_SECRET: Final = "kroasync-seal"
_BYTES: Final = 32
_FIELD: Final = "key"
_PAUSE_S: Final = (0.2, 5.0)
# An API server that was just started refuses for a moment what its roles allow.
_REFUSED: Final = 4


async def load_key(
    client: Client,
    namespace: str,
    stop: asyncio.Event,
    *,
    random: Callable[[int], bytes] = secrets.token_bytes,
) -> bytes:
    """The key, made if there is none; empty if this controller has no right to it, it cannot be used, or `stop` is set
    first.
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
            log.info("the key of the seals has not been read yet", extra={"secret": str(key), "error": error.message})
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
        # Another replica was faster.
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
