"""The queue of keys to reconcile: every key at most once, never twice at the same time, fair between groups.

Sync core, async skin: all state changes are plain calls; only `get` and `turn` wait. A key added while it is being
worked on runs again afterwards. Failures back off per key up to a cap and are never dropped. Groups (one per
definition) take turns, so a definition with ten thousand waiting instances delays another one by one pass, not by ten
thousand. Groups whose passes compute much are heavy: while light ones are busy, all heavy ones together get a small
share of the time, never none; when no light one is busy they get all of it. A key whose pass held up all others rests
before it runs again. Keys whose work lasts, since they wait for something outside, are many only in groups of their
own: a group with as many of them as there are workers gets no turn.
"""

import asyncio
import heapq
import random
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable, Iterator
from typing import Final, Generic, TypeVar

K = TypeVar("K", bound=Hashable)

# A pass that computes this long is heavy; those of ordinary instances take a millisecond or two.
HEAVY_S: Final = 0.005
# What heavy passes get of the time while light ones are busy.
SHARE: Final = 0.05
# How much the last pass counts for what passes of its group usually compute.
_WEIGHT: Final = 0.3
# Heavy keys handed out at the same time; more would only wait for each other.
HEAVY_AT_ONCE: Final = 16
# A light pass that has not computed for so long is not held up by anybody: it waits for something outside.
_QUIET_S: Final = 0.25
# Where a light pass has just been there soon comes another one.
_LINGER_S: Final = 0.05
# How long a key rests whose pass held up all others: this, and twice as long each time, up to the other.
REST_S: Final = 30.0
LONGEST_REST_S: Final = 300.0
# So many timers without a meaning are no reason to tidy up.
_STALE_TIMERS: Final = 1024
# How often those that have to wait look whether the light ones are done.
_LOOK_S: Final = 0.01


class WorkQueue(Generic[K]):
    """Keys waiting, due later, and in work. `clock` is monotonic seconds; `group_of` says whose turn a key takes.

    A group that has `lasting_at_once` keys whose work lasts gets no turn. `waited` and `worked` are told the seconds
    each key was ready and in work.
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
        self._lasting_at_once = lasting_at_once
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
        # Keys in work whose work lasts, and how many each group has.
        self._lasting: set[K] = set()
        self._lasting_in: dict[Hashable, int] = {}
        # Seconds a key in work has computed.
        self._computed: dict[K, float] = {}
        self._heavy_in_work: set[K] = set()
        # What a pass usually computes, of the heavy groups only.
        self._usual: dict[Hashable, float] = {}
        # When a light pass last began or computed, and from when heavy ones may again though others are busy.
        self._light_at = float("-inf")
        self._heavy_from = float("-inf")
        # Heavy passes that wait to go on, in the order of their turns, and the one that may compute now.
        self._paused: deque[asyncio.Event] = deque()
        self._granted: K | None = None
        # Keys whose passes held up all others: how often in a row, and until when they rest; those it happened to in
        # the pass under way; and from when on one of them may run.
        self._overruns: dict[K, int] = {}
        self._rests: dict[K, float] = {}
        self._overran: set[K] = set()
        self._rested_from = float("-inf")
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
        """Run the key as soon as its turn comes; cancels a delay it may have, unless it rests."""
        if key in self._in_work:
            self._due.pop(key, None)
            self._again.add(key)
            return
        if key in self._rests and self._rests[key] > self._clock():
            self.add_after(key, self._rests[key] - self._clock())
            return
        self._due.pop(key, None)
        if key not in self._waiting:
            self.adds += 1
            self._waiting[key] = self._clock()
            self._ready.setdefault(self._group_of(key), deque()).append(key)
            self._changed.set()

    def put_first(self, chosen: Callable[[K], bool]) -> None:
        """Let the chosen ones of the keys that wait run before the others of their group."""
        for keys in self._ready.values():
            ordered = sorted(keys, key=lambda key: not chosen(key))
            keys.clear()
            keys.extend(ordered)

    def add_after(self, key: K, delay_s: float) -> None:
        """Run the key after a delay, unless it runs or is due earlier anyway."""
        if delay_s <= 0:
            self.add(key)
            return
        if key in self._waiting:
            return
        when = max(self._clock() + delay_s, self._rests.get(key, float("-inf")))
        if self._due.get(key, float("inf")) <= when:
            return
        self._due[key] = when
        self._count += 1
        if len(self._timers) > 2 * len(self._due) + _STALE_TIMERS:
            # Those that were overtaken stay behind an older one that is due much later.
            self._timers = [timer for timer in self._timers if self._due.get(timer[2]) == timer[0]]
            heapq.heapify(self._timers)
        heapq.heappush(self._timers, (when, self._count, key))
        self._changed.set()

    def retry(self, key: K, *, at_most_s: float | None = None) -> float:
        """Run the key again after its backoff: exponential, capped, with jitter; returns the delay in seconds.

        Failures beyond `at_most_s` do not count: what follows a long outage must not wait as long as that lasted.
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

    def failures(self, key: K) -> int:
        """Consecutive failures of a key since it last succeeded."""
        return self._failures.get(key, 0)

    def forget(self, key: K) -> None:
        """The key succeeded: its next failure starts with the smallest delay again."""
        self._failures.pop(key, None)

    def discard(self, key: K) -> None:
        """The key's object is gone: forget failures and delays."""
        self._failures.pop(key, None)
        self._overruns.pop(key, None)
        self._rests.pop(key, None)
        self._due.pop(key, None)

    def quarantine(self, key: K, held_s: float) -> float:
        """The pass over a key in work held up all others: it rests, whatever happens to it; returns for how long.

        Such keys run one by one, the next one when the others have had their share of the time.
        """
        now = self._clock()
        count = self._overruns[key] = self._overruns.get(key, 0) + 1
        self._rested_from = max(now, self._rested_from) + held_s / SHARE
        rest_s = min(REST_S * 2.0 ** min(count - 1, 16), LONGEST_REST_S)
        self._rests[key] = max(now + rest_s, self._rested_from)
        self._overran.add(key)
        return self._rests[key] - now

    def charge(self, key: K, computed_s: float, held_s: float) -> None:
        """A key in work has computed for `computed_s`, which took `held_s`; nothing else could run meanwhile.

        The first says how heavy it is, the second, longer on a busy machine, what it has had of its share.
        """
        now = self._clock()
        computed = self._computed[key] = self._computed.get(key, 0.0) + computed_s
        if self._granted == key:
            self._granted = None
        if computed >= HEAVY_S:
            self._is_heavy(self._group_of(key), computed)
        if key not in self._heavy_in_work:
            self._light_at = now
            return
        since = max(now, self._heavy_from) if self._is_light_busy(now) else now
        self._heavy_from = since + held_s * (1.0 / SHARE - 1.0)

    def _is_heavy(self, group: Hashable, computed: float) -> None:
        if group not in self._usual:
            self._heavy_in_work.update(key for key in self._in_work if self._group_of(key) == group)
        self._usual[group] = max(computed, self._usual.get(group, 0.0))

    def lasts(self, key: K) -> None:
        """The work on a key has lasted, and gave its worker away."""
        if key in self._in_work and key not in self._lasting:
            self._lasting.add(key)
            group = self._group_of(key)
            self._lasting_in[group] = self._lasting_in.get(group, 0) + 1

    def _lasts_no_more(self, key: K) -> None:
        if key in self._lasting:
            self._lasting.discard(key)
            group = self._group_of(key)
            left = self._lasting_in.pop(group) - 1
            if left:
                self._lasting_in[group] = left

    def is_heavy(self, key: K) -> bool:
        """Whether passes over a key in work compute long; such a one computes only when it is its turn."""
        return key in self._heavy_in_work

    def is_held(self, key: K) -> bool:
        """Whether a key in work is heavy and it is not its turn."""
        return key in self._heavy_in_work and self._granted != key

    async def turn(self, key: K) -> None:
        """Wait until a heavy key in work may compute: one at a time, and whatever else is due runs in between."""
        ticket = asyncio.Event()
        self._paused.append(ticket)
        try:
            await asyncio.sleep(0)
            if self._paused[0] is not ticket:
                await ticket.wait()
            while (hold_s := self._hold_s()) > 0:  # noqa: ASYNC110 - it depends on the time
                await asyncio.sleep(hold_s)
            self._granted = key
        finally:
            self._paused.remove(ticket)
            if self._paused:
                self._paused[0].set()

    def _hold_s(self) -> float:
        """How long to wait before looking again whether a heavy pass may compute; 0 if it may."""
        now = self._clock()
        return min(self._heavy_from - now, _LOOK_S) if self._is_light_busy(now) else 0.0

    def _is_light_busy(self, now: float) -> bool:
        if any(group not in self._usual for group in self._open()):
            return True
        is_in_work = len(self._in_work) > len(self._heavy_in_work)
        return now - self._light_at < (_QUIET_S if is_in_work else _LINGER_S)

    def _learn(self, key: K) -> None:
        """What passes of the key's group usually compute, now that one is over."""
        computed, group = self._computed.pop(key, 0.0), self._group_of(key)
        self._heavy_in_work.discard(key)
        usual = self._usual.get(group)
        if usual is not None:
            usual += _WEIGHT * (computed - usual)
            if usual >= HEAVY_S:
                self._usual[group] = usual
            else:
                del self._usual[group]

    def done(self, key: K) -> None:
        """The key is no longer in work; if it was added meanwhile it is ready again."""
        since = self._in_work.pop(key, None)
        self._lasts_no_more(key)
        self._learn(key)
        if key not in self._overran:
            self._overruns.pop(key, None)
            self._rests.pop(key, None)
        self._overran.discard(key)
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
        """The next key, now in work; None if no key is ready."""
        self._release_due()
        group = self._next_group()
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
        if group in self._usual:
            self._heavy_in_work.add(key)
        else:
            self._light_at = now
        if self._waited is not None:
            self._waited(now - since)
        self._finished.clear()
        return key

    def _next_group(self) -> Hashable | None:
        """Whose turn it is: the first group, but heavy ones wait while light ones are busy and their share is used."""
        first = next(self._open(), None)
        if first is None or first not in self._usual:
            return first
        at_once = sum(key not in self._lasting for key in self._heavy_in_work)
        if not self._paused and at_once < HEAVY_AT_ONCE and self._hold_s() <= 0:
            return first
        return next((group for group in self._open() if group not in self._usual), None)

    def _open(self) -> Iterator[Hashable]:
        """The groups with waiting keys that may have a turn, in the order of their turns."""
        return (group for group in self._ready if self._lasting_in.get(group, 0) < self._lasting_at_once)

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
        until = max(0.0, self._timers[0][0] - self._clock()) if self._timers else None
        if next(self._open(), None) is not None:
            # Only heavy ones are ready, and have to wait.
            return _LOOK_S if until is None else min(until, _LOOK_S)
        return until
