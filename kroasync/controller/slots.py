"""The workers of a queue: how many passes run at the same time.

A pass that lasts waits for something outside: a webhook that hangs, a CRD that is not established, a kind that cannot
be listed. The pass continues but gives up its slot, so another pass can run. The queue limits how many of these passes
a group may have.
"""

import asyncio

from kroasync.controller.workqueue import WorkQueue
from kroasync.model.objects import Key


class Slots:
    """`count` slots for the keys of one queue. A key that holds a slot for `long_s` gives it up."""

    def __init__(self, queue: WorkQueue[Key], count: int, *, long_s: float) -> None:
        self._queue = queue
        self._free = asyncio.Semaphore(count)
        self._long_s = long_s
        # Keys that hold a slot, and the timers after which their work lasts.
        self._holders: set[Key] = set()
        self._timers: dict[Key, asyncio.TimerHandle] = {}

    async def acquire(self) -> None:
        """Wait for a slot; `hold` then assigns it to a key."""
        await self._free.acquire()

    def hold(self, key: Key) -> None:
        """Assign the slot just acquired to this key, which is in work."""
        self._holders.add(key)
        self._timers[key] = asyncio.get_running_loop().call_later(self._long_s, self._lasts, key)

    def release(self, key: Key) -> None:
        """Give up the slot of a key, if it still holds one. The work on the key continues."""
        if key in self._holders:
            self._holders.discard(key)
            self._free.release()

    def done(self, key: Key) -> None:
        """End the work on a key."""
        self._timers.pop(key).cancel()
        self.release(key)

    def _lasts(self, key: Key) -> None:
        self._queue.lasts(key)
        self.release(key)
