"""How passes share the event loop: what each of their turns computes, and pauses for those that compute long.

A turn is what a pass does between two awaits; nothing else runs meanwhile. Every turn is charged to the queue, which
decides who may go on. A heavy pass gives its worker's slot away when it first has to wait: it is bounded otherwise.
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
    """What comes of the steps; what else is due runs in the pauses between them. `compute` does a step."""
    while True:
        try:
            compute(lambda: next(steps))
        except StopIteration as end:
            value: T = end.value
            return value
        await pause()


class Pacing:
    """Turns of the passes of one queue, whose workers are `slots`. `clock` is monotonic seconds, `cpu` seconds of
    computing.
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
        # When the turn of a pass began, on both clocks; during a turn, and until the next one.
        self._began: dict[Key, tuple[float, float]] = {}

    async def run(self, key: Key, work: Coroutine[Any, Any, T]) -> T:
        """Do the work of a pass; every turn is charged."""
        try:
            return await Metered(work, lambda: self._begin(key), lambda: self._end(key))
        finally:
            del self._began[key]

    def tired(self, key: Key) -> bool:
        """Whether a pass should pause: its turn has lasted long, or it is heavy and was not given this one."""
        return self._cpu() - self._began[key][1] >= SLICE_S or self._queue.is_held(key)

    async def pause(self, key: Key) -> None:
        """Let others run; comes back when it is this pass's turn."""
        # Ends the turn, which is charged then.
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
    """A coroutine with something to do before and after each of its turns."""

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
                # A cancellation belongs to the work.
                error = raised
