"""Who may compute: the shares that the passes of one queue have of the event loop, and the rests of keys that overran.

The process has one event loop, and a pass that computes holds up all others. Most passes compute for a millisecond or
two; a few compute for seconds. Three rules keep those few from hurting the others. Each rule has its own states:

A group (one definition) is light or heavy. A key in work is light, held or granted. A light key computes freely.

    state            what happens                              next state
    group light      a pass has computed for HEAVY_S           heavy, and its keys in work are held
    group heavy      its passes usually compute less again     light
    key light        its group becomes heavy                   held
    key held         `turn`: it is first of those that wait,   granted
                     and the share of the heavy allows it
    key granted      `charge`: it has computed                 held

One heavy key is granted at a time. While light groups are busy, all heavy ones together get SHARE of the time: after a
heavy pass has held the loop for t seconds, no other one computes for t * (1 / SHARE - 1) seconds. While no light group
is busy, the heavy ones get all the time. So a heavy pass is slow, and never starves.

A group is open or closed. A pass that waits for something outside lasts, and gives its worker away. A group with as
many lasting keys as there are workers is closed: it gets no turn until one of those keys ends.

    group open       `lasts`: it now has `lasting_at_once` such keys    closed
    group closed     one of those keys ends                             open

A key is well or rests. A pass that held up all others in one go could not be paused; the watchdog reports it.

    key well         `quarantine`: its pass overran            rests for REST_S, then twice as long each time
    key rests        its rest is over; it runs, and overruns   rests longer
    key rests        its rest is over; it runs, and does not   well
    any              its object is gone                        well

Nothing here waits but `turn`. The queue of keys is `workqueue`, which asks here whose turn it is.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Collection, Hashable, Iterator
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
# A light pass that has not computed for so long holds nobody up: it waits for something outside.
_QUIET_S: Final = 0.25
# After a light pass, another one is likely to follow within this time.
_LINGER_S: Final = 0.05
# The first rest of a key whose pass held up all others, and the longest.
REST_S: Final = 30.0
LONGEST_REST_S: Final = 300.0
# How often heavy passes that wait check whether the light ones are done.
LOOK_S: Final = 0.01

_NEVER: Final = float("-inf")


class Shares(Generic[K]):
    """Whose turn it is. `groups` are those with ready keys, in the order of their turns, and `in_work` the keys in
    work; both are live views of the queue.
    """

    def __init__(
        self,
        *,
        clock: Callable[[], float],
        group_of: Callable[[K], Hashable],
        lasting_at_once: int,
        groups: Collection[Hashable],
        in_work: Collection[K],
    ) -> None:
        self._clock = clock
        self._group_of = group_of
        self._lasting_at_once = lasting_at_once
        self._groups = groups
        self._in_work = in_work
        # Keys in work whose work lasts, and how many each group has.
        self._lasting: set[K] = set()
        self._lasting_in: dict[Hashable, int] = {}
        # Seconds a key in work has computed.
        self._computed: dict[K, float] = {}
        self._heavy_in_work: set[K] = set()
        # What a pass usually computes, of the heavy groups only.
        self._usual: dict[Hashable, float] = {}
        # When a light pass last began or computed, and from when on heavy ones may again though others are busy.
        self._light_at = _NEVER
        self._heavy_from = _NEVER
        # Heavy passes that wait to go on, in the order of their turns, and the one that may compute now.
        self._paused: deque[asyncio.Event] = deque()
        self._granted: K | None = None

    # Groups

    def open(self) -> Iterator[Hashable]:
        """The groups with ready keys that may have a turn, in the order of their turns."""
        return (group for group in self._groups if self._lasting_in.get(group, 0) < self._lasting_at_once)

    def next_group(self) -> Hashable | None:
        """Whose turn it is: the first group, but heavy ones wait while light ones are busy and their share is used."""
        first = next(self.open(), None)
        if first is None or first not in self._usual:
            return first
        at_once = sum(key not in self._lasting for key in self._heavy_in_work)
        if not self._paused and at_once < HEAVY_AT_ONCE and self._hold_s() <= 0:
            return first
        return next((group for group in self.open() if group not in self._usual), None)

    # Keys in work

    def began(self, key: K, group: Hashable, now: float) -> None:
        """A key of this group is in work from now on."""
        if group in self._usual:
            self._heavy_in_work.add(key)
        else:
            self._light_at = now

    def ended(self, key: K) -> None:
        """The key is no longer in work."""
        self._lasts_no_more(key)
        self._learn(key)

    def charge(self, key: K, computed_s: float, held_s: float) -> None:
        """A key in work has computed for `computed_s`, which took `held_s`; nothing else could run meanwhile.

        The first says how heavy the key is. The second, longer on a busy machine, says what it has had of its share.
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

    def is_heavy(self, key: K) -> bool:
        """Whether passes over a key in work compute long; such a key computes only when it is its turn."""
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
        """How long to wait before the next look whether a heavy pass may compute; 0 if it may."""
        now = self._clock()
        return min(self._heavy_from - now, LOOK_S) if self._is_light_busy(now) else 0.0

    def _is_light_busy(self, now: float) -> bool:
        if any(group not in self._usual for group in self.open()):
            return True
        is_in_work = len(self._in_work) > len(self._heavy_in_work)
        return now - self._light_at < (_QUIET_S if is_in_work else _LINGER_S)

    # Lasting work

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


class Rests(Generic[K]):
    """Until when keys rest whose passes held up all others. They run one by one: the next one runs when the others
    have had their share of the time.
    """

    def __init__(self) -> None:
        # How often in a row each key overran, and until when it rests.
        self._overruns: dict[K, int] = {}
        self._until: dict[K, float] = {}
        # Keys that overran in the pass under way.
        self._now: set[K] = set()
        # From when on one of them may run.
        self._free_from = _NEVER

    def until(self, key: K) -> float:
        """When the rest of a key ends; long ago if it does not rest."""
        return self._until.get(key, _NEVER)

    def begin(self, key: K, held_s: float, now: float) -> float:
        """The pass over a key in work held up all others for `held_s`; returns how long the key rests."""
        count = self._overruns[key] = self._overruns.get(key, 0) + 1
        self._free_from = max(now, self._free_from) + held_s / SHARE
        rest_s = min(REST_S * 2.0 ** min(count - 1, 16), LONGEST_REST_S)
        self._until[key] = max(now + rest_s, self._free_from)
        self._now.add(key)
        return self._until[key] - now

    def ended(self, key: K) -> None:
        """A pass over the key is over: unless it held up all others, the key is well."""
        if key not in self._now:
            self.forget(key)
        self._now.discard(key)

    def forget(self, key: K) -> None:
        """The key is well, or its object is gone."""
        self._overruns.pop(key, None)
        self._until.pop(key, None)
