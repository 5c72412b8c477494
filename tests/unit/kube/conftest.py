"""A local HTTP server with canned answers. It records the requests, and knows nothing of Kubernetes."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import orjson
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from kroasync.kube.client import Client
from kroasync.kube.config import Connection

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass
class Seen:
    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes
    pairs: list[tuple[str, str]]

    def json(self) -> Any:
        return orjson.loads(self.body)


@dataclass
class Api:
    """`on` queues answers for a path; the last one is repeated. Other paths are answered with 404."""

    url: str = ""
    seen: list[Seen] = field(default_factory=list)
    answers: dict[tuple[str, str], list[Answer]] = field(default_factory=dict)
    connection: Any = None
    slept: list[float] = field(default_factory=list)

    def on(self, method: str, path: str, *answers: Answer) -> None:
        self.answers[method, path] = list(answers)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        pairs = list(request.headers.items())
        self.seen.append(Seen(request.method, request.path, dict(request.query), dict(request.headers), body, pairs))
        queue = self.answers.get((request.method, request.path))
        if queue is None:
            return web.json_response(
                {"kind": "Status", "reason": "NotFound", "message": f"no {request.path}", "code": 404},
                status=404,
            )
        answer = queue.pop(0) if len(queue) > 1 else queue[0]
        return await answer(request)

    async def sleep(self, seconds: float) -> None:
        """Replaces asyncio.sleep: records the delay, and only lets other tasks run."""
        self.slept.append(seconds)
        await asyncio.sleep(0)

    def client(self, **options: Any) -> Client:
        return Client(self.connection, sleep=self.sleep, **options)

    @staticmethod
    def json(body: Any, status: int = 200, headers: dict[str, str] | None = None) -> Answer:
        async def answer(_request: web.Request) -> web.StreamResponse:
            return web.Response(
                body=orjson.dumps(body), status=status, headers=headers, content_type="application/json"
            )

        return answer

    @staticmethod
    def text(body: str, status: int = 200, headers: dict[str, str] | None = None) -> Answer:
        async def answer(_request: web.Request) -> web.StreamResponse:
            return web.Response(text=body, status=status, headers=headers)

        return answer

    @staticmethod
    def stream(*chunks: bytes, then: str = "end", hold: asyncio.Event | None = None) -> Answer:
        """Send the chunks one by one, then `end`, `cut` the connection, or `hang` until `hold` or the client goes."""

        async def answer(request: web.Request) -> web.StreamResponse:
            response = web.StreamResponse()
            await response.prepare(request)
            for chunk in chunks:
                await response.write(chunk)
                await asyncio.sleep(0)
            if then == "cut" and request.transport is not None:
                request.transport.abort()
            if then == "hang":
                await (hold or asyncio.Event()).wait()
            return response

        return answer

    @staticmethod
    def cut() -> Answer:
        """Close the connection without an answer."""

        async def answer(request: web.Request) -> web.StreamResponse:
            if request.transport is not None:
                request.transport.abort()
            return web.Response()

        return answer

    @staticmethod
    def silent() -> Answer:
        """Never answer."""

        async def answer(_request: web.Request) -> web.StreamResponse:
            await asyncio.Event().wait()
            raise AssertionError

        return answer


@pytest.fixture
async def api() -> AsyncIterator[Api]:
    state = Api()
    app = web.Application(client_max_size=1 << 26)
    app.router.add_route("*", "/{tail:.*}", state.handle)
    server = TestServer(app, shutdown_timeout=0)
    await server.start_server()
    state.url = str(server.make_url("")).rstrip("/")
    state.connection = Connection(state.url)
    yield state
    await state.connection.close()
    await server.close()
