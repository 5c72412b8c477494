"""Health endpoints in the API server's format, and metrics."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from kroasync.metrics import Metrics
from kroasync.server import Address, AddressError, Check, Server, parse_address

LOCAL = Address(host="127.0.0.1", port=0)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (":8079", Address(host="", port=8079)),
        ("127.0.0.1:0", LOCAL),
        ("localhost:80", Address(host="localhost", port=80)),
        ("[::1]:8078", Address(host="::1", port=8078)),
        ("0", None),
        ("", None),
    ],
)
def test_addresses(text: str, expected: Address | None) -> None:
    assert parse_address(text) == expected


@pytest.mark.parametrize("text", ["8079", "host", ":", "a:b", ":65536", ":-1", "::1:80", "a:8 0", ":٣", "1"])
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(AddressError):
        parse_address(text)


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


async def fetch(http: aiohttp.ClientSession, port: int, path: str, method: str = "GET") -> tuple[int, str]:
    async with http.request(method, f"http://127.0.0.1:{port}{path}") as response:
        return response.status, await response.text()


def server(**options: Any) -> Server:
    return Server(**{"health_address": LOCAL, "metrics_address": None, **options})


async def test_every_check_is_listed_in_the_servers_format(http: aiohttp.ClientSession) -> None:
    wrong: list[str | None] = ["watch of Node is silent"]
    checks = [Check(name="watches", probe=lambda: wrong[0]), Check(name="leader", probe=lambda: None)]
    async with server(ready=checks) as running:
        port = running.ports["health"]
        assert await fetch(http, port, "/readyz") == (
            500,
            "[+]ping ok\n[-]watches failed: watch of Node is silent\n[+]leader ok\nreadyz check failed\n",
        )
        assert await fetch(http, port, "/healthz") == (200, "ok")
        wrong[0] = None
        assert await fetch(http, port, "/readyz") == (200, "ok")
        assert await fetch(http, port, "/readyz?verbose") == (
            200,
            "[+]ping ok\n[+]watches ok\n[+]leader ok\nreadyz check passed\n",
        )


async def test_details_of_a_check_are_told_when_asked_for(http: aiohttp.ClientSession) -> None:
    check = Check(name="kinds", probe=lambda: None, details=lambda: ["a: synced, 3 s", "b: synced, 4 s"])
    async with server(ready=[check]) as running:
        port = running.ports["health"]
        assert await fetch(http, port, "/readyz") == (200, "ok")
        assert await fetch(http, port, "/readyz/kinds?verbose") == (
            200,
            "[+]kinds ok\n    a: synced, 3 s\n    b: synced, 4 s\nreadyz check passed\n",
        )


async def test_one_check_alone(http: aiohttp.ClientSession) -> None:
    checks = [Check(name="a", probe=lambda: "bad"), Check(name="b", probe=lambda: None)]
    async with server(live=checks) as running:
        port = running.ports["health"]
        assert (await fetch(http, port, "/healthz/a"))[0] == 500
        assert await fetch(http, port, "/livez/b") == (200, "ok")
        assert await fetch(http, port, "/healthz/ping") == (200, "ok")
        assert (await fetch(http, port, "/healthz/healthz"))[0] == 500
        assert await fetch(http, port, "/readyz/readyz") == (200, "ok")
        assert (await fetch(http, port, "/healthz/none"))[0] == 404
        assert (await fetch(http, port, "/readyz/a"))[0] == 404


async def test_a_check_can_be_excluded(http: aiohttp.ClientSession) -> None:
    async with server(live=[Check(name="a", probe=lambda: "bad")]) as running:
        port = running.ports["health"]
        assert await fetch(http, port, "/livez?exclude=a") == (200, "ok")
        assert await fetch(http, port, "/livez?exclude=a&verbose") == (
            200,
            "[+]ping ok\n[+]a excluded: ok\nlivez check passed\n",
        )


async def test_a_probe_that_raises_is_a_failed_check(http: aiohttp.ClientSession) -> None:
    def broken() -> str | None:
        raise RuntimeError("bug")

    async with server(live=[Check(name="a", probe=broken)]) as running:
        status, text = await fetch(http, running.ports["health"], "/healthz")
        assert status == 500
        assert "[-]a failed: the check failed to run: RuntimeError('bug')" in text


async def test_metrics_on_an_address_of_their_own(http: aiohttp.ClientSession) -> None:
    metrics = Metrics()
    metrics.runtime_node_eval_total.inc(by=3)
    other = Address(host="localhost", port=0)
    async with server(metrics_address=other, metrics=metrics) as running:
        health, port = running.ports["health"], running.ports["metrics"]
        assert health != port
        async with http.get(f"http://localhost:{port}/metrics") as response:
            assert response.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
            assert "runtime_node_eval_total 3.0" in await response.text()
        assert (await fetch(http, health, "/metrics"))[0] == 404


async def test_one_address_for_both(http: aiohttp.ClientSession) -> None:
    async with server(metrics_address=LOCAL, metrics=Metrics()) as running:
        assert running.ports["health"] == running.ports["metrics"]
        assert (await fetch(http, running.ports["health"], "/metrics"))[0] == 200
        assert (await fetch(http, running.ports["health"], "/readyz"))[0] == 200


async def test_disabled_parts_listen_nowhere() -> None:
    async with server(health_address=None, metrics_address=LOCAL) as running:
        assert running.ports == {}


async def test_a_taken_port_is_an_error_and_leaves_nothing_open() -> None:
    async with server() as first:
        taken = Address(host="127.0.0.1", port=first.ports["health"])
        second = server(metrics_address=taken, metrics=Metrics())
        with pytest.raises(OSError, match=str(taken.port)):
            await second.start()
        assert second.ports == {}


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
async def test_only_reading_is_allowed(http: aiohttp.ClientSession, method: str) -> None:
    async with server() as running:
        assert (await fetch(http, running.ports["health"], "/healthz", method))[0] == 405
        assert await fetch(http, running.ports["health"], "/healthz", "HEAD") == (200, "")


async def test_headers_beyond_the_limit_are_refused() -> None:
    async with server() as running:
        reader, writer = await asyncio.open_connection("127.0.0.1", running.ports["health"])
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Long: " + b"a" * 20_000 + b"\r\n\r\n")
        await writer.drain()
        assert b" 400 " in await reader.readline()
        writer.close()


async def test_many_small_headers_are_refused() -> None:
    async with server() as running:
        reader, writer = await asyncio.open_connection("127.0.0.1", running.ports["health"])
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\n" + b"X-A: b\r\n" * 5_000 + b"\r\n")
        assert b" 400 " in await reader.readline()
        writer.close()


async def test_a_long_request_line_is_refused() -> None:
    async with server() as running:
        reader, writer = await asyncio.open_connection("127.0.0.1", running.ports["health"])
        writer.write(b"GET /healthz?" + b"a" * 20_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b" 400 " in await reader.readline()
        writer.close()


async def test_a_body_is_not_waited_for() -> None:
    """The answer comes at once, and the connection ends although the body never does."""
    async with server() as running, asyncio.timeout(20):
        reader, writer = await asyncio.open_connection("127.0.0.1", running.ports["health"])
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\nabc")
        assert b" 200 " in await reader.readline()
        assert (await reader.read()).endswith(b"ok")
        writer.close()


@pytest.mark.parametrize("begun", [b"", b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Slow: a"])
async def test_a_client_that_does_not_finish_its_request_loses_the_connection(begun: bytes) -> None:
    async with server(idle_s=0.2) as running, asyncio.timeout(20):
        reader, writer = await asyncio.open_connection("127.0.0.1", running.ports["health"])
        writer.write(begun)
        assert await reader.read() == b""
        writer.close()


async def test_a_client_that_sends_byte_by_byte_loses_the_connection() -> None:
    async with server(idle_s=0.2) as running, asyncio.timeout(20):
        reader, writer = await asyncio.open_connection("127.0.0.1", running.ports["health"])
        ended = asyncio.create_task(reader.read())
        writer.write(b"GET /healthz HTTP/1.1\r\nX-Slow: ")
        while not ended.done():
            writer.write(b"a")
            await asyncio.wait([ended], timeout=0.02)
        assert await ended == b""
        writer.close()


async def test_a_new_connection_is_served_however_many_are_held_open(http: aiohttp.ClientSession) -> None:
    async with server(connections=3) as running, asyncio.timeout(20):
        port = running.ports["health"]
        held = [await asyncio.open_connection("127.0.0.1", port) for _ in range(6)]
        assert await fetch(http, port, "/healthz") == (200, "ok")
        for reader, _ in held[:3]:
            with contextlib.suppress(ConnectionResetError):
                assert await reader.read() == b""
        for _, writer in held:
            writer.close()


async def test_nothing_is_served_after_close(http: aiohttp.ClientSession) -> None:
    running = server()
    await running.start()
    port = running.ports["health"]
    await running.close()
    with pytest.raises(aiohttp.ClientConnectorError):
        await fetch(http, port, "/healthz")
