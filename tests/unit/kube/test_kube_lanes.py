"""The limit of requests at a time: a lane without answers delays only itself."""

import asyncio
from collections.abc import Coroutine, Hashable
from contextlib import suppress
from typing import Any

import pytest

from kroasync.kube.lanes import LANE, Lanes
from tests.fakes import virtual

LONG_S = 1.0
NEVER_S = 1000.0
# With eight places, two long requests are too many for one lane.
PLACES, FEW = 8, 2


class Bench:
    """Requests in lanes: those that are being sent, and their maximum number."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.lanes = Lanes(PLACES, long_s=LONG_S)
        self.sent: list[Hashable] = []
        self.under_way = 0
        self.most = 0
        self.tasks: list[asyncio.Task[None]] = []

    async def _request(self, lane: Hashable, seconds: float) -> None:
        LANE.set(lane)
        async with self.lanes.place():
            self.sent.append(lane)
            self.under_way += 1
            self.most = max(self.most, self.under_way)
            try:
                await asyncio.sleep(seconds)
            finally:
                self.under_way -= 1

    def send(self, lane: Hashable, seconds: float, times: int = 1) -> list[asyncio.Task[None]]:
        made = [self.loop.create_task(self._request(lane, seconds)) for _ in range(times)]
        self.tasks += made
        return made

    async def end(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.wait(self.tasks)
        # Every place is free again.
        assert self.under_way == 0
        await asyncio.wait(self.send("end", 0.0, 3 * PLACES))


def run(main: Coroutine[Any, Any, None]) -> None:
    virtual.run(main)


def test_so_many_are_sent_at_a_time() -> None:
    async def main() -> None:
        bench = Bench()
        await asyncio.wait(bench.send("a", 0.01, 5 * PLACES))
        assert bench.most == PLACES
        await bench.end()

    run(main())


def test_a_lane_without_answers_holds_up_others_for_no_longer_than_a_second() -> None:
    """The lane has no more requests in flight than before, however many wait."""

    async def main() -> None:
        bench = Bench()
        bench.send("stuck", NEVER_S, 10 * PLACES)
        await asyncio.sleep(0)
        began = bench.loop.time()
        await asyncio.wait(bench.send("fine", 0.01))
        assert bench.loop.time() - began == pytest.approx(LONG_S, abs=0.1)
        began = bench.loop.time()
        await asyncio.wait(bench.send("fine", 0.01, PLACES))
        assert bench.loop.time() - began == pytest.approx(0.01)
        await asyncio.sleep(100)
        assert bench.sent.count("stuck") == PLACES
        await bench.end()

    run(main())


def test_a_lane_goes_on_when_few_of_its_requests_last() -> None:
    async def main() -> None:
        bench = Bench()
        bench.send("slow", 10.0, FEW)
        await asyncio.sleep(2 * LONG_S)
        bench.send("slow", 10.0, PLACES)
        await asyncio.sleep(LONG_S)
        assert bench.sent.count("slow") == FEW
        await asyncio.sleep(10.0)
        assert bench.sent.count("slow") == FEW + PLACES
        await bench.end()

    run(main())


def test_who_waits_may_give_up() -> None:
    async def main() -> None:
        bench = Bench()
        bench.send("stuck", NEVER_S, PLACES)
        await asyncio.sleep(2 * LONG_S)
        (waiting,) = bench.send("stuck", NEVER_S)
        await asyncio.sleep(1)
        waiting.cancel()
        with suppress(asyncio.CancelledError):
            await waiting
        assert bench.sent == ["stuck"] * PLACES
        await bench.end()

    run(main())
