"""A proxy between a controller and the API server that loses, alters, delays and counts messages.

It runs on its own event loop in a thread. It accepts plain HTTP on loopback and forwards the caller's token. The thread
of the test may set at any time what the proxy does to answers and events:

- `answer(request)`: an `Answer` in place of the API server's, which then never sees the request, or None;
- `event(path, event)`: the watch event to pass on, changed or not, or None to lose it;
- `cut()` and `mend()`: nobody listens; all connections break.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import threading
import time
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, TypeAlias, TypeVar

import aiohttp
from aiohttp import web

from kroasync.playground import Playground
from tests.attacks.people import User, write_kubeconfig

T = TypeVar("T")
Event: TypeAlias = dict[str, Any]

_HOP_BY_HOP = {"connection", "transfer-encoding", "content-length", "content-encoding", "host", "keep-alive", "date"}
_LIMIT = 64 << 20
_PATIENCE_S = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A request of the controller; `body` is {} if it sends nothing."""

    method: str
    path: str
    query: Mapping[str, str]
    body: Mapping[str, Any] = field(default_factory=dict)
    at: float = 0.0

    @property
    def is_watch(self) -> bool:
        return self.query.get("watch") in ("true", "1")

    @property
    def is_write(self) -> bool:
        return self.method != "GET"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    body: Any
    status: int = 200


def failure(code: int, reason: str, message: str) -> Event:
    """A `Status` that reports a failure."""
    return {
        "apiVersion": "v1",
        "kind": "Status",
        "metadata": {},
        "status": "Failure",
        "code": code,
        "reason": reason,
        "message": message,
    }


class Proxy:
    """A proxy between one controller and the API server; it runs until the context ends."""

    def __init__(self, playground: Playground) -> None:
        self.answer: Callable[[Request], Answer | None] = lambda _request: None
        self.event: Callable[[str, Event], Event | None] = lambda _path, event: event
        self.requests: list[Request] = []
        self.port = 0
        self._playground = playground
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self._open: dict[int, web.Request] = {}

    def __enter__(self) -> Proxy:
        self._thread.start()
        self._call(self._start())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._call(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_PATIENCE_S)
        self._loop.close()

    # For tests

    def kubeconfig(self, path: Path, user: User, **options: Any) -> Path:
        """A kubeconfig of the user with the address of this proxy."""
        change = {"server": f"http://127.0.0.1:{self.port}", "certificate-authority-data": ""}
        return write_kubeconfig(path, user, change=change, **options)

    def cut(self) -> None:
        """Stop listening and break all connections, like an API server that is down."""
        self._call(self._close())

    def mend(self) -> None:
        """Listen again, at the same port."""
        self._call(self._listen())

    def break_watches(self, part: str = "") -> None:
        """Break the watches whose path contains a text."""
        self._call(self._abort(lambda request: "watch" in request.query and part in request.path))

    def since(self, at: float) -> list[Request]:
        """The requests that arrived after a time of `time.monotonic`."""
        return [request for request in list(self.requests) if request.at >= at]

    # On the event loop of the proxy

    def _call(self, task: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(task, self._loop).result(_PATIENCE_S)

    async def _start(self) -> None:
        tls = ssl.create_default_context(cafile=str(self._playground.certificate))
        connector = aiohttp.TCPConnector(ssl=tls, limit=0)
        timeout = aiohttp.ClientTimeout(total=None)
        self._session = aiohttp.ClientSession(
            connector=connector, timeout=timeout, auto_decompress=True, read_bufsize=1 << 20
        )
        app = web.Application(client_max_size=_LIMIT)
        app.router.add_route("*", "/{path:.*}", self._handle)
        # The watches of a controller end with it.
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1, handler_cancellation=True)
        await self._runner.setup()
        await self._listen()

    async def _listen(self) -> None:
        self._site = web.TCPSite(self._runner, "127.0.0.1", self.port, reuse_address=True)
        await self._site.start()
        self.port = int(self._runner.addresses[0][1])

    async def _close(self) -> None:
        await self._site.stop()
        await self._abort(lambda _request: True)
        assert self._runner.server is not None
        for connection in list(self._runner.server.connections):
            if connection.transport is not None:
                connection.transport.abort()

    async def _abort(self, chosen: Callable[[web.Request], bool]) -> None:
        for request in list(self._open.values()):
            if chosen(request) and request.transport is not None:
                request.transport.abort()

    async def _stop(self) -> None:
        await self._abort(lambda _request: True)
        await self._runner.cleanup()
        await self._session.close()
        rest = asyncio.all_tasks() - {asyncio.current_task()}
        for task in rest:
            task.cancel()
        await asyncio.gather(*rest, return_exceptions=True)

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        asked = Request(
            method=request.method,
            path=request.path,
            query=dict(request.query),
            body=json.loads(body) if body[:1] == b"{" else {},
            at=time.monotonic(),
        )
        self.requests.append(asked)
        if (answer := self.answer(asked)) is not None:
            return web.json_response(answer.body, status=answer.status)
        self._open[id(request)] = request
        try:
            return await self._pass_on(request, asked, body)
        except (aiohttp.ClientError, OSError):
            # Behave like a server that breaks the connection.
            if request.transport is not None:
                request.transport.abort()
            return web.Response(status=502)
        finally:
            self._open.pop(id(request), None)

    async def _pass_on(self, request: web.Request, asked: Request, body: bytes) -> web.StreamResponse:
        headers = {key: value for key, value in request.headers.items() if key.lower() not in _HOP_BY_HOP}
        url = f"{self._playground.server}{request.rel_url}"
        async with self._session.request(request.method, url, headers=headers, data=body or None) as found:
            kept = {key: value for key, value in found.headers.items() if key.lower() not in _HOP_BY_HOP}
            if not asked.is_watch or found.status != 200:
                return web.Response(body=await found.read(), status=found.status, headers=kept)
            response = web.StreamResponse(status=found.status, headers=kept)
            await response.prepare(request)
            rest = b""
            async for chunk in found.content.iter_any():
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    event = self.event(asked.path, json.loads(line))
                    if event is not None:
                        await response.write(json.dumps(event).encode() + b"\n")
            with suppress(ConnectionError):
                await response.write_eof()
            return response
