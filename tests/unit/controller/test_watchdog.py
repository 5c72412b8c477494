"""A pass that computes forever is reported while it blocks the event loop, stopped, and queued behind all others."""

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest
import uvloop

from kroasync.controller.watchdog import PassOverranError, Watchdog
from tests.unit.controller.samples import app_key

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
    """The pass ends although it catches every exception. The log has its key while it blocks the loop."""
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
    assert (record.getMessage(), record.__dict__["key"]) == ("a pass blocks the event loop", str(KEY))
    assert "for_ever" in record.__dict__["where"]


def test_nothing_is_interrupted_outside_of_what_computes(watchdog: Watchdog) -> None:
    """Code outside may be changing a connection or a cache. The overrun is reported nevertheless."""
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
