"""The workers of a queue: how many passes run at the same time.

A pass that lasts waits for something outside: for a webhook that hangs, a CRD that is not established, a kind that
cannot be listed. It goes on, but gives its slot away, so that it keeps nobody else from working; the queue bounds how
many of those a group may have.
"""

import asyncio

from kroasync.controller.workqueue import WorkQueue
from kroasync.model.objects import Key


class Slots:
    """`count` slots for the keys of one queue; one that has been held for `long_s` is free again."""

    def __init__(self, queue: WorkQueue[Key], count: int, *, long_s: float) -> None:
        self._queue = queue
        self._free = asyncio.Semaphore(count)
        self._long_s = long_s
        # Keys that have a slot, and when the work on a key lasts.
        self._holders: set[Key] = set()
        self._timers: dict[Key, asyncio.TimerHandle] = {}

    async def acquire(self) -> None:
        """Wait for a slot, for a key that is not known yet."""
        await self._free.acquire()

    def hold(self, key: Key) -> None:
        """The slot just acquired is for this key, which is in work."""
        self._holders.add(key)
        self._timers[key] = asyncio.get_running_loop().call_later(self._long_s, self._lasts, key)

    def release(self, key: Key) -> None:
        """Give the slot of a key away, unless it has been already; the work on it goes on."""
        if key in self._holders:
            self._holders.discard(key)
            self._free.release()

    def done(self, key: Key) -> None:
        """The work on a key is over."""
        self._timers.pop(key).cancel()
        self.release(key)

    def _lasts(self, key: Key) -> None:
        self._queue.lasts(key)
        self.release(key)
