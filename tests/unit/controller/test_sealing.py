"""The key of the seals: created once, shared by all replicas; without permission for its Secret, there are no seals."""

import asyncio
import logging
import random

import pytest

from kroasync.controller.sealing import load_key
from kroasync.model.kinds import SECRETS
from kroasync.model.objects import Key
from tests.fakes import virtual
from tests.fakes.client import FakeClient, Fault, Network
from tests.fakes.kube import FakeServer

NAMESPACE = "default"


def loaded(server: FakeServer, *faults: Fault, byte: bytes = b"a", stop_after_s: float = 60.0) -> bytes:
    async def main() -> bytes:
        client = FakeClient(server, network=Network(random.Random(1), faults=list(faults)))
        stop = asyncio.Event()
        asyncio.get_running_loop().call_later(stop_after_s, stop.set)
        return await load_key(client, NAMESPACE, stop, random=lambda count: byte * count)

    return virtual.run(main())


def fault(kind: str, *, seconds: float, method: str = "GET") -> Fault:
    end_s = virtual.START_S + seconds
    return Fault(kind=kind, begin_s=0, end_s=end_s, rate=1.0, methods=frozenset({method}))


def test_it_is_made_once_and_the_same_for_all() -> None:
    server = FakeServer()
    assert loaded(server) == b"a" * 32
    assert loaded(server, byte=b"b") == b"a" * 32


def test_whoever_comes_second_takes_the_key_of_the_first() -> None:
    async def main() -> list[bytes]:
        server, stop = FakeServer(), asyncio.Event()
        clients = [FakeClient(server, network=Network(random.Random(seed))) for seed in (1, 2)]
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(load_key(client, NAMESPACE, stop, random=lambda count, b=byte: b * count))  # type: ignore[misc]
                for client, byte in zip(clients, (b"a", b"b"), strict=True)
            ]
        return [task.result() for task in tasks]

    first, second = virtual.run(main())
    assert first == second != b""


@pytest.mark.parametrize("kind", ["500", "503", "429", "lost-request", "timeout"])
def test_while_the_server_cannot_be_asked_it_waits(kind: str) -> None:
    assert loaded(FakeServer(), fault(kind, seconds=30), stop_after_s=300.0) == b"a" * 32


def test_a_refusal_that_passes_is_none() -> None:
    assert loaded(FakeServer(), fault("403", seconds=0.5)) == b"a" * 32


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_without_a_right_to_it_there_are_no_seals_and_one_warning(
    method: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert loaded(FakeServer(), fault("403", seconds=1e6, method=method)) == b""
    assert [r.message for r in caplog.records if r.levelno == logging.WARNING] == [
        "children are not sealed: whoever may write an object can make it look like a child of an instance"
    ]


def test_a_secret_that_holds_no_key_is_not_used() -> None:
    server = FakeServer()
    key = Key(SECRETS, NAMESPACE, "kroasync-seal")
    body = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": key.name}, "data": {"key": "c2hvcnQ="}}
    asyncio.run(FakeClient(server).create(key, body))
    assert loaded(server) == b""


def test_it_ends_when_the_process_is_to_stop() -> None:
    assert loaded(FakeServer(), fault("500", seconds=1e6), stop_after_s=5.0) == b""
