"""What computes without end is named while it holds the loop, ended, and put behind all others."""

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from random import Random
from typing import Any

import pytest
import uvloop

from kroasync.controller.events import EVENTS
from kroasync.controller.runtime import Runtime, RuntimeOptions
from kroasync.controller.watchdog import PassOverranError, Watchdog
from kroasync.engine.plan import Options
from kroasync.metrics import Metrics
from kroasync.model.objects import Key, Obj
from tests.fakes.client import FakeClient
from tests.fakes.kube import FakeServer
from tests.unit.controller.samples import app_key
from tests.unit.controller.test_whole_runtime import APPS, DEFINITION, definition

LIMIT_S = 0.1
KEY = app_key("slow")
LOOPS = [asyncio.new_event_loop, uvloop.new_event_loop]


@pytest.fixture
def watchdog() -> Iterator[Watchdog]:
    found = Watchdog(limit_s=LIMIT_S)
    found.start()
    yield found
    found.stop()


def for_ever() -> None:
    while True:
        with suppress(Exception):
            "".join("x" for _ in range(100))


def busy(seconds: float) -> None:
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass


@pytest.mark.parametrize("loop", LOOPS)
def test_what_computes_without_end_is_ended_and_the_loop_goes_on(
    watchdog: Watchdog, loop: Callable[[], asyncio.AbstractEventLoop], caplog: pytest.LogCaptureFixture
) -> None:
    """Though it takes every exception for one of its own. The log has its key while it holds the loop."""
    overruns: list[float] = []

    async def work() -> None:
        await asyncio.sleep(0)
        watchdog.compute(for_ever)

    async def main() -> str:
        with pytest.raises(PassOverranError, match=r"more than 0\.1 s"):
            await watchdog.watch(KEY, work(), overruns.append)
        await asyncio.sleep(0.01)
        return "went on"

    with asyncio.Runner(loop_factory=loop) as runner:
        assert runner.run(main()) == "went on"
    assert len(overruns) == 1
    assert overruns[0] >= LIMIT_S
    (record,) = caplog.records
    assert (record.getMessage(), record.__dict__["key"]) == ("a pass holds the event loop", str(KEY))
    assert "for_ever" in record.__dict__["where"]


def test_nothing_is_interrupted_outside_of_what_computes(watchdog: Watchdog) -> None:
    """Where a connection or a cache might be left half changed. It is told all the same."""
    overruns: list[float] = []

    async def work() -> str:
        watchdog.compute(lambda: None)
        busy(6 * LIMIT_S)
        return "done"

    assert asyncio.run(watchdog.watch(KEY, work(), overruns.append)) == "done"
    assert len(overruns) == 1


def test_short_turns_are_none_of_its_business(watchdog: Watchdog) -> None:
    overruns: list[float] = []

    async def work() -> int:
        for _ in range(20):
            watchdog.compute(lambda: busy(LIMIT_S / 10))
            await asyncio.sleep(0)
        return 1

    assert asyncio.run(watchdog.watch(KEY, work(), overruns.append)) == 1
    assert overruns == []


def test_errors_of_what_computes_are_its_own(watchdog: Watchdog) -> None:
    with pytest.raises(ZeroDivisionError):
        watchdog.compute(lambda: 1 // 0)


def instance(name: str, size: str) -> Obj:
    return {"metadata": {"name": name, "namespace": "default"}, "spec": {"value": size}}


async def until(done: Callable[[], Any]) -> None:
    async with asyncio.timeout(20):
        while not done():  # noqa: ASYNC110
            await asyncio.sleep(0.05)


def test_an_evaluation_that_nothing_bounds_holds_up_the_others_once() -> None:
    """An expression that would take hours, on a controller without budgets: it is told, and the next one is served."""
    loop = "['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'i', 'j']"
    whole = "x"
    for level in range(12):
        whole = f"{loop}.map(v{level}, {whole if level else '1'}).size()"
    value = "${schema.spec.value == 'slow' ? string(" + whole + ") : 'quick'}"

    async def main() -> None:
        server, stop, metrics = FakeServer(), asyncio.Event(), Metrics()
        user = FakeClient(server, actor="user")
        runtime = Runtime(
            FakeClient(server, actor="controller"),
            options=RuntimeOptions(engine=Options(evaluation_steps=10**12, pass_steps=10**12)),
            metrics=metrics,
            clock=time.monotonic,
            cpu=time.thread_time,
            now=lambda: datetime.now(UTC),
            rng=Random(1),
        )
        runtime.parts.watchdog.start()

        def status(name: str) -> Obj:
            found = [o for o in server.objects(APPS) if o["metadata"]["name"] == name]
            return found[0].get("status") or {}

        async with asyncio.TaskGroup() as group:
            group.create_task(runtime.run(stop))
            await user.create(DEFINITION, definition(value=value))
            await until(lambda: APPS in server.served())
            await user.create(Key(APPS, "default", "slow"), instance("slow", "slow"))
            await until(lambda: status("slow"))
            await user.create(Key(APPS, "default", "quick"), instance("quick", "quick"))
            await until(lambda: status("quick").get("state") == "ACTIVE")
            await until(lambda: any(e["reason"] == "Overran" for e in server.objects(EVENTS)))
            stop.set()
        runtime.parts.watchdog.stop()
        assert status("slow")["state"] == "ERROR"
        assert "computed for more than 3 s without a pause" in str(status("slow")["conditions"])
        assert "kroasync_pass_overruns_total{gvr=" in metrics.render().decode()
        assert runtime.parts.queues.instances.in_work == 0

    asyncio.run(main())
