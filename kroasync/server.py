"""The HTTP server of the process: liveness, readiness and metrics, for the kubelet and Prometheus.

The server is read-only: GET and HEAD, no bodies, small headers. It closes the connection of a slow client, and the
oldest connection if there are too many, so that it always accepts a new probe. Both addresses may be the same. The
answers have the API server's format, so its documentation of `?verbose` and `?exclude` applies.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Final

from aiohttp import web

from kroasync.metrics import CONTENT_TYPE, Metrics

log = logging.getLogger("server")

DISABLED: Final = ("0", "")
_HEADER_LIMIT: Final = 8190
_BODY_LIMIT: Final = 1024
# Prometheus sends a request every minute and keeps its connection.
_IDLE_S: Final = 75.0
_CONNECTIONS: Final = 100


class AddressError(ValueError):
    """The text is not an address to listen on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """An address to listen on. An empty host means every interface; port 0 means any free port."""

    host: str
    port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """A named health check: `probe` returns what is wrong, or None; `details` returns lines for `?verbose`.

    Neither may block.
    """

    name: str
    probe: Callable[[], str | None]
    details: Callable[[], Sequence[str]] = tuple


def parse_address(text: str) -> Address | None:
    """Parse `:8079`, `127.0.0.1:8079`, `[::1]:8079`; `0` or an empty text means disabled. Raises AddressError."""
    if text.strip() in DISABLED:
        return None
    host, colon, port = text.strip().rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host or not colon:
        raise AddressError(f'"{text}" is not an address: expected ":port", "host:port", "[IPv6]:port", or "0"')
    if not (port.isascii() and port.isdigit() and int(port) <= 65535):
        raise AddressError(f'"{text}" is not an address: the port must be a number from 0 to 65535')
    return Address(host=host, port=int(port))


class Server:
    """Serves until closed. After the start, `ports` has the ports that were bound: `health`, `metrics`.

    `live` answers `/healthz` and `/livez`, and `ready` answers `/readyz`; each check has its own path, too. A check
    whose probe raises has failed. Without metrics, or with a disabled address, that part is left out.
    """

    def __init__(
        self,
        *,
        health_address: Address | None,
        metrics_address: Address | None,
        live: Sequence[Check] = (),
        ready: Sequence[Check] = (),
        metrics: Metrics | None = None,
        idle_s: float = _IDLE_S,
        connections: int = _CONNECTIONS,
    ) -> None:
        """`idle_s` is the time in which a whole request must arrive; `connections` is the limit of each address."""
        self.ports: Mapping[str, int] = {}
        self._health_address = health_address
        self._metrics_address = metrics_address if metrics is not None else None
        self._live = (Check(name="ping", probe=lambda: None), *live)
        self._ready = (Check(name="ping", probe=lambda: None), *ready)
        self._metrics = metrics
        self._idle_s = idle_s
        self._connections = connections
        self._runners: list[web.AppRunner] = []
        self._listeners: list[asyncio.Server] = []

    async def start(self) -> None:
        """Listen; raises OSError, which names the address, if it cannot be bound. Then nothing is left open."""
        ports: dict[str, int] = {}
        try:
            for address, parts in self._sites().items():
                port = await self._listen(address, parts)
                ports.update(dict.fromkeys(parts, port))
        except OSError:
            await self.close()
            raise
        self.ports = ports

    async def close(self) -> None:
        listeners, self._listeners = self._listeners, []
        for listener in listeners:
            listener.close()
        runners, self._runners = self._runners, []
        for runner in runners:
            await runner.cleanup()

    async def __aenter__(self) -> "Server":
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    def _sites(self) -> dict[Address, tuple[str, ...]]:
        """The routes of each address: one listener if both parts have the same address."""
        sites: dict[Address, tuple[str, ...]] = {}
        for part, address in (("health", self._health_address), ("metrics", self._metrics_address)):
            if address is not None:
                sites[address] = (*sites.get(address, ()), part)
        return sites

    async def _listen(self, address: Address, parts: Sequence[str]) -> int:
        app = web.Application(client_max_size=_BODY_LIMIT)
        if "health" in parts:
            for path in ("/healthz", "/livez"):
                app.router.add_get(path, _answer(path[1:], self._live))
                app.router.add_get(path + "/{name}", _answer(path[1:], self._live))
            app.router.add_get("/readyz", _answer("readyz", self._ready))
            app.router.add_get("/readyz/{name}", _answer("readyz", self._ready))
        if "metrics" in parts:
            app.router.add_get("/metrics", self._render)
        runner = web.AppRunner(
            app,
            access_log=None,
            max_line_size=_HEADER_LIMIT,
            max_field_size=_HEADER_LIMIT,
            keepalive_timeout=self._idle_s,
            lingering_time=1.0,
            shutdown_timeout=1.0,
        )
        await runner.setup()
        self._runners.append(runner)
        assert runner.server is not None
        listener = await asyncio.get_running_loop().create_server(
            self._acceptor(runner.server), address.host or None, address.port
        )
        self._listeners.append(listener)
        port = int(listener.sockets[0].getsockname()[1])
        log.info("serving %s on port %d", " and ".join(parts), port)
        return port

    def _acceptor(self, server: web.Server) -> Callable[[], asyncio.Protocol]:
        """Creates the protocol of a new connection, and closes the oldest connection if there are too many."""

        def accept() -> asyncio.Protocol:
            open_ = [c.transport for c in server.connections if c.transport is not None]
            for transport in open_[: max(0, len(open_) - self._connections + 1)]:
                transport.abort()
            return server()

        return accept

    async def _render(self, _request: web.Request) -> web.Response:
        if self._metrics is None:
            raise web.HTTPNotFound
        return web.Response(body=self._metrics.render(), headers={"Content-Type": CONTENT_TYPE})


def _answer(title: str, checks: Sequence[Check]) -> Callable[[web.Request], Awaitable[web.Response]]:
    """A handler in the format of the API server's health endpoints, 200 or 500."""

    async def handle(request: web.Request) -> web.Response:
        name = request.match_info.get("name")
        # controller-runtime gives its only check the name of the endpoint: `/healthz/healthz`.
        chosen = [check for check in checks if name in (None, title, check.name)]
        if not chosen:
            raise web.HTTPNotFound(text=f'no check "{name}"\n')
        excluded = set(request.query.getall("exclude", []))
        results = [(c, _probe(c)) for c in chosen if c.name not in excluded]
        failed = any(wrong is not None for _, wrong in results)
        verbose = "verbose" in request.query
        if not failed and not verbose:
            return web.Response(text="ok")
        lines: list[str] = []
        for check, wrong in results:
            lines.append(f"[+]{check.name} ok" if wrong is None else f"[-]{check.name} failed: {wrong}")
            lines += [f"    {line}" for line in check.details()] if verbose else []
        lines += [f"[+]{c.name} excluded: ok" for c in chosen if c.name in excluded]
        lines.append(f"{title} check {'failed' if failed else 'passed'}")
        return web.Response(text="\n".join(lines) + "\n", status=500 if failed else 200)

    return handle


def _probe(check: Check) -> str | None:
    try:
        return check.probe()
    except Exception as error:
        log.exception("the check %s failed to run", check.name)
        return f"the check failed to run: {error!r}"
