"""The real client on the fake server: retries, errors and JSON are those of production; the network follows a plan.

A `Network` decides the duration and the fault of every request; without a network, requests take no time.
"""

import asyncio
import builtins
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import aiohttp
import orjson
from yarl import URL

from kroasync.kube.api_errors import AnswerTooLongError, error_of
from kroasync.kube.client import Client, unreachable
from kroasync.metrics import Metrics
from kroasync.model.objects import Obj
from tests.fakes.kube import FakeServer, StatusError, Stream

LATENCY_S = (0.001, 0.02)
# The status, the body and the headers.
Answer = tuple[int, bytes, dict[str, str]]


class _Connection:
    """The methods of a Connection that the client uses besides its sessions."""

    base_url = "https://kubernetes.test"

    async def headers(self) -> Mapping[str, str]:
        return {}

    async def renew(self, stale: Mapping[str, str]) -> bool:
        return False


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """A fault with a probability, from one time to another (of the loop's clock).

    Kinds: an HTTP status ("403", "404", "409", "410", "422", "429", "500", "503"), "500-leader" (as etcd fails while
    it elects), "504-done" (the write made), "lost-request", "lost-answer", "slow", "timeout" (no answer until the
    client's deadline, the write not made), "timeout-done" (the write made), "stale" (a list of some versions ago).
    """

    kind: str
    begin_s: float
    end_s: float
    rate: float
    methods: frozenset[str] = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE"})
    path: str = ""

    def hits(self, method: str, path: str, now_s: float, rng: random.Random) -> bool:
        return (
            self.begin_s <= now_s < self.end_s
            and method in self.methods
            and self.path in path
            and rng.random() < self.rate
        )


@dataclass(slots=True)
class Network:
    """The network between one client and the server."""

    rng: random.Random
    faults: list[Fault] = field(default_factory=list)
    latency_s: tuple[float, float] = LATENCY_S
    requests: int = 0
    injected: dict[str, int] = field(default_factory=dict)
    watch_delay_s: tuple[float, float] = (0.0, 0.01)
    # Objects in a page of a list, at most; lists are never older than the `floor`.
    page: int = 500
    floor: int = 0

    def fault(self, method: str, path: str, now_s: float) -> str:
        for fault in self.faults:
            if fault.hits(method, path, now_s, self.rng):
                self.injected[fault.kind] = self.injected.get(fault.kind, 0) + 1
                return fault.kind
        return ""


_REASONS = {
    403: "Forbidden",
    404: "NotFound",
    409: "Conflict",
    410: "Expired",
    422: "Invalid",
    429: "TooManyRequests",
    500: "InternalError",
    503: "ServiceUnavailable",
    504: "Timeout",
}


class FakeClient(Client):
    """A Client whose requests go to a FakeServer. Observers of the server get the name `actor`."""

    def __init__(
        self,
        server: FakeServer,
        *,
        actor: str = "",
        network: Network | None = None,
        metrics: Metrics | None = None,
        concurrency: int = 32,
        may_write: Callable[[], bool] | None = None,
    ) -> None:
        connection: Any = _Connection()
        super().__init__(connection, metrics=metrics, concurrency=concurrency, may_write=may_write)
        self.server = server
        self.actor = actor
        self.network = network
        # Awaited before every request, with its method and target; a result replaces the server's answer.
        self.meanwhile: Callable[[str, str], Awaitable[Answer | None]] | None = None

    async def request(self, method: str, path: str, **options: Any) -> Obj:
        """Parse each schema document once: they are large, many and the same in every run. Do not change the result."""
        if path.startswith("/openapi/v3/"):
            return _document(await self.raw(method, path, **options))
        return await super().request(method, path, **options)

    async def list(self, *args: Any, limit: int = 500, **options: Any) -> tuple[builtins.list[Obj], str]:
        """Use pages that are as small as the network's."""
        if self.network is not None:
            limit = min(limit, self.network.page)
        return await super().list(*args, limit=limit, **options)

    async def _send(
        self,
        method: str,
        url: URL,
        headers: Mapping[str, str],
        data: bytes | None,
        content_type: str,
        timeout_s: float,
        most_bytes: int | None,
    ) -> bytes:
        target = url.raw_path_qs
        try:
            with self._sending(method):
                status, content, answer_headers = await self._exchange(method, target, data, content_type, timeout_s)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise unreachable(method, url, error) from error
        finally:
            if self.metrics:
                self.metrics.request_done(method, 0, 0.0, len(data or b""), 0)
        if most_bytes is not None and len(content) > most_bytes:
            raise AnswerTooLongError(f"{method} {url.path}: the answer has more than {most_bytes} bytes")
        if 200 <= status < 300:
            return content
        raise error_of(status, content, answer_headers)

    async def _exchange(
        self, method: str, target: str, data: bytes | None, content_type: str, timeout_s: float
    ) -> Answer:
        if self.meanwhile is not None and (told := await self.meanwhile(method, target)) is not None:
            return told
        network = self.network
        if network is None:
            return self.server.handle(method, target, data, content_type, actor=self.actor)
        network.requests += 1
        rng = network.rng
        way_s, back_s = rng.uniform(*network.latency_s), rng.uniform(*network.latency_s)
        kind = network.fault(method, target, asyncio.get_running_loop().time())
        if kind == "slow":
            way_s, back_s = way_s + rng.uniform(0, 5), back_s + rng.uniform(0, 5)
        await asyncio.sleep(way_s)
        if kind.isdecimal() or kind == "500-leader":
            await asyncio.sleep(back_s)
            return _refusal(kind, rng)
        if kind == "lost-request":
            raise aiohttp.ServerDisconnectedError
        if kind == "timeout":
            await asyncio.sleep(timeout_s)
            raise TimeoutError
        stale = min(rng.randint(1, 30), max(0, self.server.version - network.floor)) if kind == "stale" else 0
        answer = self.server.handle(method, target, data, content_type, actor=self.actor, stale=stale)
        if kind == "504-done":
            return _refusal("504", rng)
        if kind == "timeout-done":
            await asyncio.sleep(timeout_s)
            raise TimeoutError
        await asyncio.sleep(back_s)
        if kind == "lost-answer":
            raise aiohttp.ServerDisconnectedError
        return answer

    @asynccontextmanager
    async def stream(self, path: str, query: Mapping[str, str]) -> AsyncIterator[Any]:
        url = self._url(path, query)
        network = self.network
        if network is not None:
            await asyncio.sleep(network.rng.uniform(*network.latency_s))
            kind = network.fault("GET", url.raw_path_qs, asyncio.get_running_loop().time())
            if kind.isdecimal() or kind == "500-leader":
                status, content, headers = _refusal(kind, network.rng)
                raise error_of(status, content, headers)
            if kind and kind not in ("slow", "stale"):
                raise unreachable("GET", url, aiohttp.ServerDisconnectedError())
        try:
            stream: Stream = self.server.open_watch(url.raw_path_qs)
        except StatusError as error:
            raise error_of(error.code, orjson.dumps(error.body), {}) from error
        if network is not None:
            stream.delay_s = lambda: network.rng.uniform(*network.watch_delay_s)
        try:
            yield stream
        finally:
            stream.close()


@lru_cache(maxsize=32)
def _document(content: bytes) -> Obj:
    found: Obj = orjson.loads(content)
    return found


def _refusal(kind: str, rng: random.Random) -> Answer:
    status = int(kind[:3])
    text = "etcdserver: leader changed" if kind == "500-leader" else f"injected {status}"
    body = StatusError(status, _REASONS[status], text).body
    headers = {"Retry-After": "1"} if status == 429 and rng.random() < 0.7 else {}
    return status, orjson.dumps(body), headers
