"""Slots of the workers: one per key, and none for a key whose work continues in the background."""

import asyncio
from collections.abc import Coroutine
from typing import Any

from kroasync.controller.slots import Slots
from kroasync.controller.workqueue import WorkQueue
from kroasync.model.objects import Key
from tests.fakes import virtual
from tests.unit.controller.samples import app_key

LONG_S = 1.0


async def held(*names: str) -> tuple[Slots, WorkQueue[Key]]:
    """Two slots, held by keys with these names, each in its own group."""
    queue: WorkQueue[Key] = WorkQueue(
        clock=asyncio.get_running_loop().time, group_of=lambda key: key, lasting_at_once=1
    )
    slots = Slots(queue, 2, long_s=LONG_S)
    for name in names:
        queue.add(app_key(name))
        await slots.acquire()
        assert queue.get_nowait() == app_key(name)
        slots.hold(app_key(name))
    return slots, queue


def run(main: Coroutine[Any, Any, None]) -> None:
    virtual.run(main)


def test_there_is_no_slot_until_one_is_released_or_has_been_held_for_long() -> None:
    async def main() -> None:
        slots, _ = await held("a", "b")
        began = asyncio.get_running_loop().time()
        await slots.acquire()
        assert asyncio.get_running_loop().time() - began == LONG_S
        await slots.acquire()  # both were held for that long

    run(main())


def test_a_slot_is_released_once() -> None:
    async def main() -> None:
        slots, queue = await held("a", "b")
        for _ in range(2):
            slots.release(app_key("a"))
        queue.done(app_key("a"))
        await slots.acquire()
        acquiring = asyncio.create_task(slots.acquire())
        await asyncio.sleep(LONG_S / 2)
        assert not acquiring.done()
        await asyncio.sleep(LONG_S)
        assert acquiring.done()

    run(main())


def test_the_queue_is_told_of_what_lasts() -> None:
    async def main() -> None:
        slots, queue = await held("a", "b")
        slots.release(app_key("b"))
        await asyncio.sleep(2 * LONG_S)
        for name in ("a", "b"):
            queue.add(app_key(name))
            queue.done(app_key(name))
            queue.add(app_key(name))
        assert {queue.get_nowait(), queue.get_nowait()} == {app_key("a"), app_key("b")}

    run(main())
