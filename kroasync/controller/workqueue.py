"""The queue of keys to reconcile: every key at most once, never twice at the same time, fair between groups.

The queue holds keys, not events: the pass over a key reads the current objects. A key is in one of these states; a dash
means that the event cannot happen or changes nothing.

    state              add         add_after          due         get       done      discard
    idle               ready       delayed            -           -         -         -
    delayed            ready       the earlier one    ready       -         -         idle
    ready              -           -                  -           in work   -         -
    in work            in work +   in work, delayed   -           -         idle      -
    in work, delayed   in work +   the earlier one    in work +   -         delayed   in work
    in work +          -           -                  -           -         ready     -

`in work +` is a key that runs again after its pass, because an object may have changed after the pass read it. `retry`
is `add_after` with the key's backoff, which doubles up to a cap; the queue never drops a key. A key that rests
(`shares.Rests`) becomes ready when its rest is over, even if it is added earlier.

Groups (one per definition) take turns. So a definition with ten thousand waiting instances delays another definition by
one pass, not by ten thousand. `shares.Shares` decides which group is next and which pass may compute; callers reach its
methods through this class.

All state changes are plain calls; only `get`, `turn` and `finished` wait.
"""

import asyncio
import heapq
import random
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable
from typing import Final, Generic, TypeVar

from kroasync.controller.shares import LOOK_S, Rests, Shares

K = TypeVar("K", bound=Hashable)

# The heap may hold this many stale timers before it is rebuilt.
_STALE_TIMERS: Final = 1024


class WorkQueue(Generic[K]):
    """Keys ready, delayed, and in work. `clock` is monotonic seconds; `group_of` returns the group of a key.

    A group with `lasting_at_once` keys whose work lasts gets no turn. The queue reports to `waited` and `worked` how
    many seconds each key was ready and in work.
    """

    def __init__(
        self,
        *,
        clock: Callable[[], float],
        group_of: Callable[[K], Hashable],
        min_delay_s: float = 0.2,
        max_delay_s: float = 60.0,
        rng: random.Random | None = None,
        lasting_at_once: int = 32,
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
        # Groups with ready keys, in the order of their turns; each holds its keys first in, first out.
        self._ready: OrderedDict[Hashable, deque[K]] = OrderedDict()
        # When each key became ready, and when its work began.
        self._waiting: dict[K, float] = {}
        self._in_work: dict[K, float] = {}
        self._again: set[K] = set()
        # When each key is due, and the heap of these times. A timer is stale if it differs from `_due`.
        self._due: dict[K, float] = {}
        self._timers: list[tuple[float, int, K]] = []
        self._count = 0
        self._failures: dict[K, int] = {}
        self._shares = Shares[K](
            clock=clock,
            group_of=group_of,
            lasting_at_once=lasting_at_once,
            groups=self._ready.keys(),
            in_work=self._in_work.keys(),
        )
        self._rests = Rests[K]()
        self._changed = asyncio.Event()
        self._finished = asyncio.Event()
        self._finished.set()

    def __len__(self) -> int:
        """Keys ready to run now (neither delayed nor in work)."""
        return len(self._waiting)

    @property
    def in_work(self) -> int:
        return len(self._in_work)

    @property
    def delayed(self) -> int:
        return len(self._due)

    def work_ages(self) -> list[float]:
        """For how many seconds each key has been in work."""
        now = self._clock()
        return [now - since for since in self._in_work.values()]

    def add(self, key: K) -> None:
        """Run the key as soon as its turn comes. This cancels its delay, unless the key rests."""
        if key in self._in_work:
            self._due.pop(key, None)
            self._again.add(key)
            return
        rest_s = self._rests.until(key) - self._clock()
        if rest_s > 0:
            self.add_after(key, rest_s)
            return
        self._due.pop(key, None)
        if key not in self._waiting:
            self.adds += 1
            self._waiting[key] = self._clock()
            self._ready.setdefault(self._group_of(key), deque()).append(key)
            self._changed.set()

    def put_first(self, chosen: Callable[[K], bool]) -> None:
        """Move the chosen ready keys before the other keys of their group."""
        for keys in self._ready.values():
            ordered = sorted(keys, key=lambda key: not chosen(key))
            keys.clear()
            keys.extend(ordered)

    def add_after(self, key: K, delay_s: float) -> None:
        """Run the key after a delay, unless it is ready or due earlier anyway."""
        if delay_s <= 0:
            self.add(key)
            return
        if key in self._waiting:
            return
        when = max(self._clock() + delay_s, self._rests.until(key))
        if self._due.get(key, float("inf")) <= when:
            return
        self._due[key] = when
        self._count += 1
        if len(self._timers) > 2 * len(self._due) + _STALE_TIMERS:
            # Stale timers stay in the heap until they are due, which may be much later.
            self._timers = [timer for timer in self._timers if self._due.get(timer[2]) == timer[0]]
            heapq.heapify(self._timers)
        heapq.heappush(self._timers, (when, self._count, key))
        self._changed.set()

    def retry(self, key: K, *, at_most_s: float | None = None) -> float:
        """Run the key again after its backoff: exponential, capped, with jitter; returns the delay in seconds.

        Failures do not raise the backoff beyond `at_most_s`: after a long outage the next failure must not wait for as
        long as the outage lasted.
        """
        failures = self._failures.get(key, 0)
        self.retries += 1
        delay = min(self._min_delay_s * 2.0 ** min(failures, 32), self._max_delay_s)
        if at_most_s is None or delay < at_most_s:
            self._failures[key] = failures + 1
        else:
            delay = at_most_s
        delay *= 0.9 + 0.2 * self._rng.random()
        self.add_after(key, delay)
        return delay

    def forget(self, key: K) -> None:
        """Reset the backoff of a key that succeeded."""
        self._failures.pop(key, None)

    def discard(self, key: K) -> None:
        """Forget the failures and the delay of a key whose object is gone."""
        self._failures.pop(key, None)
        self._due.pop(key, None)
        self._rests.forget(key)

    def quarantine(self, key: K, held_s: float) -> float:
        """Let a key in work rest after this pass, because the pass blocked the event loop; returns for how long."""
        return self._rests.begin(key, held_s, self._clock())

    def charge(self, key: K, computed_s: float, held_s: float) -> None:
        """Charge a key in work for a turn: it computed for `computed_s` and held the event loop for `held_s`."""
        self._shares.charge(key, computed_s, held_s)

    def lasts(self, key: K) -> None:
        """The work on a key lasts: the key gave up its worker."""
        self._shares.lasts(key)

    def is_heavy(self, key: K) -> bool:
        """Whether a key in work is heavy: it computes only after `turn` granted it a turn."""
        return self._shares.is_heavy(key)

    def is_held(self, key: K) -> bool:
        """Whether a key in work is heavy and has no turn now."""
        return self._shares.is_held(key)

    async def turn(self, key: K) -> None:
        """Wait until a heavy key in work may compute."""
        await self._shares.turn(key)

    def done(self, key: K) -> None:
        """End the work on a key. If the key was added meanwhile, it is ready again."""
        since = self._in_work.pop(key, None)
        self._shares.ended(key)
        self._rests.ended(key)
        if since is not None and self._worked is not None:
            self._worked(self._clock() - since)
        if not self._in_work:
            self._finished.set()
        if self._ready:
            self._changed.set()
        if key in self._again:
            self._again.discard(key)
            self.add(key)

    def get_nowait(self) -> K | None:
        """Take the next ready key into work; None if there is none."""
        self._release_due()
        group = self._shares.next_group()
        if group is None:
            return None
        keys = self._ready[group]
        key = keys.popleft()
        if keys:
            self._ready.move_to_end(group)
        else:
            del self._ready[group]
        now = self._clock()
        since = self._waiting.pop(key)
        self._in_work[key] = now
        self._shares.began(key, group, now)
        if self._waited is not None:
            self._waited(now - since)
        self._finished.clear()
        return key

    async def get(self) -> K:
        """Take the next ready key into work; waits until there is one."""
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
                del self._due[key]
                self.add(key)

    def _until_next(self) -> float | None:
        while self._timers and self._due.get(self._timers[0][2]) != self._timers[0][0]:
            heapq.heappop(self._timers)
        until = max(0.0, self._timers[0][0] - self._clock()) if self._timers else None
        if next(self._shares.open(), None) is not None:
            # All ready keys are heavy and must wait for their share.
            return LOOK_S if until is None else min(until, LOOK_S)
        return until
