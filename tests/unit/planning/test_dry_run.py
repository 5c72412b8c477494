"""The client of dry runs cannot write: whatever method is called, the API server is told to store nothing."""

from collections.abc import Awaitable, Callable
from inspect import iscoroutinefunction
from typing import Any

import orjson
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from kroasync.kube.client import Client
from kroasync.kube.config import Connection
from kroasync.model.objects import Key
from kroasync.planning.dry_run import DryRunClient
from tests.samples import CONFIG_MAPS, config_map

KEY = Key(CONFIG_MAPS, "n", "a")
OBJ = config_map("a", "n", {"a": "b"})
Call = Callable[[Client], Awaitable[Any]]
WRITES: dict[str, Call] = {
    "apply": lambda client: client.apply(KEY, OBJ, manager="m", force=True),
    "create": lambda client: client.create(KEY, OBJ),
    "put": lambda client: client.put(KEY, OBJ, manager="m"),
    "merge_patch": lambda client: client.merge_patch(KEY, {"a": None}, manager="m"),
    "merge_patch of a status": lambda client: client.merge_patch(KEY, {}, manager="m", subresource="status"),
    "json_patch": lambda client: client.json_patch(KEY, [], manager="m"),
    "delete": lambda client: client.delete(KEY),
    "delete of a version": lambda client: client.delete(KEY, uid="u", version="1", propagation="Foreground"),
    "request": lambda client: client.request("PUT", "/api/v1/x", body={}),
    "request with a query": lambda client: client.request("POST", "/api/v1/x", query={"c": "d"}, body={}),
    "request without a body": lambda client: client.request("DELETE", "/api/v1/x"),
    "raw": lambda client: client.raw("PATCH", "/api/v1/x", body=b"{}"),
}
READS = {"get", "list", "versions", "stream", "writes_answered"}


async def sent(call: Call) -> tuple[str, dict[str, str], Any]:
    """The method, query and body that the API server gets."""
    seen: list[tuple[str, dict[str, str], Any]] = []

    async def answer(request: web.Request) -> web.Response:
        body = await request.read()
        seen.append((request.method, dict(request.query), orjson.loads(body) if body else None))
        return web.json_response({"kind": "Thing", "metadata": {}})

    app = web.Application()
    app.router.add_route("*", "/{any:.*}", answer)
    async with TestServer(app) as server:
        connection = Connection(base_url=str(server.make_url("")))
        await call(DryRunClient(connection))
        await connection.close()
    (one,) = seen
    return one


@pytest.mark.parametrize("name", WRITES)
async def test_every_write_is_a_dry_run(name: str) -> None:
    method, query, body = await sent(WRITES[name])
    assert method != "GET"
    assert query["dryRun"] == "All"
    if method == "DELETE":
        # The options of a body replace those of the query.
        assert body["dryRun"] == ["All"]
        assert body["kind"] == "DeleteOptions"


async def test_a_delete_keeps_its_options() -> None:
    _, _, body = await sent(WRITES["delete of a version"])
    assert body["preconditions"] == {"uid": "u", "resourceVersion": "1"}
    assert body["propagationPolicy"] == "Foreground"


async def test_a_read_is_sent_as_it_is() -> None:
    assert await sent(lambda client: client.get(KEY)) == ("GET", {}, None)


def test_every_method_of_the_client_is_tried() -> None:
    methods = {name for name in dir(Client) if not name.startswith("_") and iscoroutinefunction(getattr(Client, name))}
    tried = {name.partition(" ")[0] for name in WRITES}
    assert methods - READS - {"stream"} == tried
