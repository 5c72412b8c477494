"""Turns of passes: each turn is charged, long passes pause, and a pass that waits releases its slot."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

import pytest

from kroasync.controller.pacing import SLICE_S, Pacing
from kroasync.controller.slots import Slots
from kroasync.controller.workqueue import WorkQueue
from kroasync.model.objects import Key
from tests.fakes import virtual
from tests.unit.controller.samples import app_key

SLOW = 0.05


class Bench:
    """Two keys in work, of the groups `slow` and `quick`; computing moves the loop's clock."""

    def __init__(self, *, slots: int = 2) -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, virtual.VirtualLoop)
        self.compute = loop.compute
        self.clock = loop.time
        self.slow, self.quick = app_key("slow"), app_key("quick")
        self.queue: WorkQueue[Key] = WorkQueue(clock=loop.time, group_of=lambda key: key.name)
        self.slots = Slots(self.queue, slots, long_s=1.0)
        self.pacing = Pacing(self.queue, clock=loop.time, cpu=loop.time, slots=self.slots)
        for key in (self.slow, self.quick):
            self.queue.add(key)
            assert self.queue.get_nowait() == key


def in_virtual_time(main: Callable[[], Awaitable[None]]) -> None:
    async def run() -> None:
        await main()

    virtual.run(run())


def test_the_value_of_the_work_is_returned_and_its_exception_raised() -> None:
    async def main() -> None:
        bench = Bench()

        async def fine() -> str:
            await asyncio.sleep(1)
            return "value"

        async def broken() -> None:
            await asyncio.sleep(1)
            raise ZeroDivisionError

        assert await bench.pacing.run(bench.slow, fine()) == "value"
        with pytest.raises(ZeroDivisionError):
            await bench.pacing.run(bench.slow, broken())

    in_virtual_time(main)


def test_a_cancellation_reaches_the_work() -> None:
    async def main() -> None:
        bench, seen = Bench(), []

        async def work() -> None:
            try:
                await asyncio.sleep(100)
            except asyncio.CancelledError:
                seen.append("cancelled")
                raise

        task = asyncio.create_task(bench.pacing.run(bench.slow, work()))
        await asyncio.sleep(1)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        assert (seen, task.cancelled()) == (["cancelled"], True)

    in_virtual_time(main)


def test_a_deadline_inside_the_work_holds() -> None:
    async def main() -> None:
        bench = Bench()

        async def work() -> None:
            async with asyncio.timeout(1):
                await asyncio.sleep(100)

        with pytest.raises(TimeoutError):
            await bench.pacing.run(bench.slow, work())

    in_virtual_time(main)


def test_a_pass_is_tired_when_one_turn_lasts_long_and_not_by_waiting() -> None:
    async def main() -> None:
        bench, tired = Bench(), []

        async def work() -> None:
            await asyncio.sleep(10)
            tired.append(bench.pacing.tired(bench.slow))
            bench.compute(SLICE_S * 0.9)
            tired.append(bench.pacing.tired(bench.slow))
            bench.compute(SLICE_S * 0.2)
            tired.append(bench.pacing.tired(bench.slow))

        await bench.pacing.run(bench.slow, work())
        assert tired == [False, False, True]

    in_virtual_time(main)


def test_a_pass_that_computes_long_waits_without_its_slot_while_others_are_busy() -> None:
    async def main() -> None:
        bench = Bench(slots=2)
        for key in (bench.slow, bench.quick):
            await bench.slots.acquire()
            bench.slots.hold(key)
        resumed: list[float] = []

        async def slow() -> None:
            bench.compute(SLOW)
            await bench.pacing.pause(bench.slow)
            resumed.append(bench.clock())

        async def quick() -> None:
            for _ in range(200):
                await asyncio.sleep(0.001)
                bench.compute(0.00001)

        began = bench.clock()
        task = asyncio.create_task(bench.pacing.run(bench.slow, slow()))
        busy = asyncio.create_task(bench.pacing.run(bench.quick, quick()))
        await asyncio.sleep(0.01)
        async with asyncio.timeout(0.01):
            await bench.slots.acquire()
        await busy
        bench.queue.done(bench.quick)
        await task
        # As soon as no other pass is busy, long before its share of the time.
        assert resumed[0] - began == pytest.approx(SLOW + 200 * 0.001, abs=0.08)

    in_virtual_time(main)


def test_a_heavy_pass_is_tired_whenever_it_was_not_given_its_turn() -> None:
    """An answer that a pass waited for does not allow the pass to compute."""

    async def main() -> None:
        bench, tired = Bench(), []

        async def slow() -> None:
            bench.compute(SLOW)
            await asyncio.sleep(0.1)
            tired.append(bench.pacing.tired(bench.slow))
            await bench.pacing.pause(bench.slow)
            tired.append(bench.pacing.tired(bench.slow))
            await asyncio.sleep(0.1)
            tired.append(bench.pacing.tired(bench.slow))

        async def quick() -> None:
            await asyncio.sleep(0.1)
            bench.queue.done(bench.quick)

        busy = asyncio.create_task(bench.pacing.run(bench.quick, quick()))
        await bench.pacing.run(bench.slow, slow())
        await busy
        assert tired == [True, False, True]

    in_virtual_time(main)


def test_a_pause_of_an_ordinary_pass_only_lets_others_run() -> None:
    async def main() -> None:
        bench, order = Bench(), []

        async def work() -> None:
            order.append("before")
            await bench.pacing.pause(bench.quick)
            order.append("after")

        task = asyncio.create_task(bench.pacing.run(bench.quick, work()))
        asyncio.get_running_loop().call_soon(order.append, "other")
        began = bench.clock()
        await task
        assert (order, bench.clock() - began) == (["before", "other", "after"], 0)

    in_virtual_time(main)
