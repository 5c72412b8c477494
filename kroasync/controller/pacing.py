"""Let passes share the event loop: measure each of their turns, and pause passes that compute for long.

A turn is the work of a pass between two awaits; nothing else runs during a turn. Every turn is charged to the queue,
which decides which pass continues. A heavy pass gives up its slot when it first pauses: `shares.HEAVY_AT_ONCE` limits
heavy passes instead.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Generator
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

from kroasync.controller.slots import Slots
from kroasync.controller.workqueue import WorkQueue
from kroasync.model.objects import Key
from kroasync.model.steps import Steps

T = TypeVar("T")
# A pass that has computed this long in one turn should pause as soon as it can.
SLICE_S: Final = 0.005


async def in_turns(
    steps: Steps[T], pause: Callable[[], Awaitable[object]], compute: Callable[[Callable[[], None]], None]
) -> T:
    """The result of the steps. `compute` runs one step, and other tasks run in the pauses between the steps."""
    while True:
        try:
            compute(lambda: next(steps))
        except StopIteration as end:
            value: T = end.value
            return value
        await pause()


class Pacing:
    """Measures the turns of one queue's passes, whose workers are `slots`. `clock` is monotonic seconds, `cpu` is CPU
    seconds.
    """

    def __init__(
        self,
        queue: WorkQueue[Key],
        *,
        clock: Callable[[], float],
        cpu: Callable[[], float],
        slots: Slots,
    ) -> None:
        self._queue = queue
        self._clock = clock
        self._cpu = cpu
        self._slots = slots
        # When the current or last turn of each pass began, on both clocks.
        self._began: dict[Key, tuple[float, float]] = {}

    async def run(self, key: Key, work: Coroutine[Any, Any, T]) -> T:
        """Do the work of a pass, and charge every turn."""
        try:
            return await Metered(work, lambda: self._begin(key), lambda: self._end(key))
        finally:
            del self._began[key]

    def tired(self, key: Key) -> bool:
        """Whether a pass should pause: its turn is long, or the pass is heavy and was not granted this turn."""
        return self._cpu() - self._began[key][1] >= SLICE_S or self._queue.is_held(key)

    async def pause(self, key: Key) -> None:
        """Let other tasks run; returns when the pass may continue."""
        # This ends the turn, which is then charged.
        await asyncio.sleep(0)
        if self._queue.is_heavy(key):
            self._slots.release(key)
            await self._queue.turn(key)

    def _begin(self, key: Key) -> None:
        self._began[key] = (self._clock(), self._cpu())

    def _end(self, key: Key) -> None:
        held, computed = self._began[key]
        self._queue.charge(key, self._cpu() - computed, self._clock() - held)


@dataclass(slots=True)
class Metered(Generic[T]):
    """A coroutine that calls `begin` before and `end` after each of its turns."""

    work: Coroutine[Any, Any, T]
    begin: Callable[[], None]
    end: Callable[[], None]

    def __await__(self) -> Generator[Any, Any, T]:
        answer: Any = None
        error: BaseException | None = None
        while True:
            self.begin()
            try:
                waited_for = self.work.send(answer) if error is None else self.work.throw(error)
            except StopIteration as stop:
                value: T = stop.value
                return value
            finally:
                self.end()
            answer = error = None
            try:
                answer = yield waited_for
            except BaseException as raised:
                # Pass a cancellation on to the work.
                error = raised
