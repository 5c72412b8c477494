"""The queue of keys to reconcile: every key at most once, never twice at the same time, fair between groups.

Sync core, async skin: all state changes are plain calls; only `get` waits. A key added while it is being worked on
runs again afterwards. Failures back off per key up to a cap and are never dropped. Groups (one per definition) take
turns, so a definition with ten thousand waiting instances delays another one by one pass, not by ten thousand.
"""

import asyncio
import heapq
import random
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)


class WorkQueue(Generic[K]):
    """Keys waiting, due later, and in work. `clock` is monotonic seconds; `group_of` says whose turn a key takes.

    `waited` and `worked` are told the seconds each key was ready and in work.
    """

    def __init__(
        self,
        *,
        clock: Callable[[], float],
        group_of: Callable[[K], Hashable],
        min_delay_s: float = 0.2,
        max_delay_s: float = 60.0,
        rng: random.Random | None = None,
        waited: Callable[[float], None] | None = None,
        worked: Callable[[float], None] | None = None,
    ) -> None:
        self._clock = clock
        self._group_of = group_of
        self._min_delay_s = min_delay_s
        self._max_delay_s = max_delay_s
        self._rng = rng or random.Random(0)
        self._waited = waited
        self._worked = worked
        self.adds = 0
        self.retries = 0
        # Groups with waiting keys in the order of their turns; each holds its keys first come, first served.
        self._ready: OrderedDict[Hashable, deque[K]] = OrderedDict()
        # Since when a key is ready, or in work.
        self._waiting: dict[K, float] = {}
        self._in_work: dict[K, float] = {}
        self._again: set[K] = set()
        self._due: dict[K, float] = {}
        self._timers: list[tuple[float, int, K]] = []
        self._count = 0
        self._failures: dict[K, int] = {}
        self._changed = asyncio.Event()
        self._finished = asyncio.Event()
        self._finished.set()

    def __len__(self) -> int:
        """Keys ready to run now (neither delayed nor in work)."""
        return len(self._waiting)

    @property
    def idle(self) -> bool:
        """True when nothing is ready and nothing is in work (delayed keys may exist)."""
        return not self._waiting and not self._in_work

    @property
    def in_work(self) -> int:
        return len(self._in_work)

    @property
    def delayed(self) -> int:
        return len(self._due)

    def add(self, key: K) -> None:
        """Run the key as soon as its turn comes; cancels a delay it may have."""
        self._due.pop(key, None)
        if key in self._in_work:
            self._again.add(key)
        elif key not in self._waiting:
            self.adds += 1
            self._waiting[key] = self._clock()
            self._ready.setdefault(self._group_of(key), deque()).append(key)
            self._changed.set()

    def add_after(self, key: K, delay_s: float) -> None:
        """Run the key after a delay, unless it runs or is due earlier anyway."""
        if delay_s <= 0:
            self.add(key)
            return
        if key in self._waiting:
            return
        when = self._clock() + delay_s
        if self._due.get(key, float("inf")) <= when:
            return
        self._due[key] = when
        self._count += 1
        heapq.heappush(self._timers, (when, self._count, key))
        self._changed.set()

    def retry(self, key: K, *, at_most_s: float | None = None) -> float:
        """Run the key again after its backoff: exponential, capped, with jitter; returns the delay in seconds."""
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        self.retries += 1
        delay = min(self._min_delay_s * 2.0 ** min(failures, 32), self._max_delay_s)
        delay = min(delay, delay if at_most_s is None else at_most_s) * (0.9 + 0.2 * self._rng.random())
        self.add_after(key, delay)
        return delay

    def failures(self, key: K) -> int:
        """Consecutive failures of a key since it last succeeded."""
        return self._failures.get(key, 0)

    def forget(self, key: K) -> None:
        """The key succeeded: its next failure starts with the smallest delay again."""
        self._failures.pop(key, None)

    def discard(self, key: K) -> None:
        """The key's object is gone: forget failures and delays."""
        self._failures.pop(key, None)
        self._due.pop(key, None)

    def done(self, key: K) -> None:
        """The key is no longer in work; if it was added meanwhile it is ready again."""
        since = self._in_work.pop(key, None)
        if since is not None and self._worked is not None:
            self._worked(self._clock() - since)
        if not self._in_work:
            self._finished.set()
        if key in self._again:
            self._again.discard(key)
            self.add(key)

    def get_nowait(self) -> K | None:
        """The next key, now in work; None if no key is ready."""
        self._release_due()
        if not self._ready:
            return None
        group, keys = next(iter(self._ready.items()))
        key = keys.popleft()
        if keys:
            self._ready.move_to_end(group)
        else:
            del self._ready[group]
        now = self._clock()
        since = self._waiting.pop(key)
        self._in_work[key] = now
        if self._waited is not None:
            self._waited(now - since)
        self._finished.clear()
        return key

    async def get(self) -> K:
        """The next key, now in work; waits until there is one."""
        while (key := self.get_nowait()) is None:
            self._changed.clear()
            try:
                async with asyncio.timeout(self._until_next()):
                    await self._changed.wait()
            except TimeoutError:
                continue
        return key

    async def finished(self) -> None:
        """Wait until no key is in work."""
        await self._finished.wait()

    def _release_due(self) -> None:
        now = self._clock()
        while self._timers and self._timers[0][0] <= now:
            when, _, key = heapq.heappop(self._timers)
            if self._due.get(key) == when:
                self.add(key)

    def _until_next(self) -> float | None:
        while self._timers and self._due.get(self._timers[0][2]) != self._timers[0][0]:
            heapq.heappop(self._timers)
        return max(0.0, self._timers[0][0] - self._clock()) if self._timers else None
