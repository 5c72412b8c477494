"""Limits the requests in flight, so that requests without an answer do not block the others.

A webhook or an aggregated API that hangs holds each of its requests until the deadline, half a minute. A request that
has had no answer for a second no longer counts. But while a lane has several such requests, it may send no more.
Requests with a common cause share a lane: the passes over one definition's instances, or the watch of one kind.
"""

import asyncio
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import Final

# The lane of the current context.
LANE: Final[ContextVar[Hashable]] = ContextVar("lane", default=None)
# A request that has no answer after this time waits for something other than the API server.
LONG_S: Final = 1.0
# A lane has too many long requests if they reach the number of places divided by this.
_SHARE: Final = 4


class Lanes:
    """Allows `places` requests at a time, not counting requests that have lasted `long_s`."""

    def __init__(self, places: int, *, long_s: float = LONG_S) -> None:
        self._places = asyncio.Semaphore(places)
        self._few = max(1, places // _SHARE)
        self._long_s = long_s
        # The number of long requests of each lane, and the lanes that have too many.
        self._long: dict[Hashable, int] = {}
        self._closed: dict[Hashable, asyncio.Event] = {}

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """Encloses one request: waits until it may be sent."""
        lane = LANE.get()
        await self._enter(lane)
        is_long = False

        def lasts() -> None:
            nonlocal is_long
            is_long = True
            self._add(lane, 1)
            self._places.release()

        timer = asyncio.get_running_loop().call_later(self._long_s, lasts)
        try:
            yield
        finally:
            timer.cancel()
            if is_long:
                self._add(lane, -1)
            else:
                self._places.release()

    async def _enter(self, lane: Hashable) -> None:
        while True:
            while (closed := self._closed.get(lane)) is not None:
                await closed.wait()
            await self._places.acquire()
            if lane not in self._closed:
                return
            # The lane was closed while this request waited.
            self._places.release()

    def _add(self, lane: Hashable, difference: int) -> None:
        count = self._long.pop(lane, 0) + difference
        if count:
            self._long[lane] = count
        if count >= self._few:
            self._closed.setdefault(lane, asyncio.Event())
        elif lane in self._closed:
            self._closed.pop(lane).set()
