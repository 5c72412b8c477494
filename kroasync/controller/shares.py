"""Decide which pass may compute: the passes of one queue share the event loop, and keys that overran rest.

The process has one event loop, so a pass that computes blocks all others. Most passes compute for a millisecond or two;
a few compute for seconds. Three rules keep those few from delaying the others. Each rule has its own states:

A group (one definition) is light or heavy. A key in work is light, held or granted. A light key computes freely.

    state            what happens                              next state
    group light      one of its passes computes for HEAVY_S    heavy, and its keys in work are held
    group heavy      its passes usually compute less again     light
    key light        its group becomes heavy                   held
    key held         `turn`: it is the first that waits, and   granted
                     the share of the heavy keys allows it
    key granted      `charge`: it has computed                 held

One heavy key is granted at a time. While light groups are busy, all heavy groups together get SHARE of the time: after
a heavy pass has held the loop for t seconds, no heavy pass computes for t * (1 / SHARE - 1) seconds. While no light
group is busy, the heavy groups get all the time. So a heavy pass is slow but never starves.

A group is open or closed. The work on a key lasts if its pass waits long for something outside; the key then gives up
its worker. A group with as many lasting keys as there are workers is closed: it gets no turn until one of them ends.

    group open       `lasts`: it now has `lasting_at_once` such keys    closed
    group closed     one of those keys ends                             open

A key is well or rests. A pass overruns if it blocks the loop in one turn, where nothing can pause it; the watchdog
reports it.

    key well         `quarantine`: its pass overran            rests for REST_S, then twice as long each time
    key rests        its rest is over; it runs, and overruns   rests longer
    key rests        its rest is over; it runs, and does not   well
    any              its object is gone                        well

Only `turn` waits. The queue of keys (`workqueue`) asks this module whose turn it is.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Collection, Hashable, Iterator
from typing import Final, Generic, TypeVar

K = TypeVar("K", bound=Hashable)

# A pass that computes for this long is heavy. A pass over an ordinary instance takes a millisecond or two.
HEAVY_S: Final = 0.005
# The share of the time for heavy passes while light passes are busy.
SHARE: Final = 0.05
# The weight of the last pass in the moving average of its group.
_WEIGHT: Final = 0.3
# How many heavy keys may be in work at the same time; more would only wait for each other.
HEAVY_AT_ONCE: Final = 16
# A light pass that has not computed for this long does not count as busy: it waits for something outside.
_QUIET_S: Final = 0.25
# After a light pass, another one is likely to follow within this time.
_LINGER_S: Final = 0.05
# The first and the longest rest of a key whose pass overran.
REST_S: Final = 30.0
LONGEST_REST_S: Final = 300.0
# How often a waiting heavy pass checks whether the light passes are done.
LOOK_S: Final = 0.01

_NEVER: Final = float("-inf")


class Shares(Generic[K]):
    """Decides whose turn it is. `groups` are the groups with ready keys, in the order of their turns; `in_work` are the
    keys in work. Both are live views of the queue.
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
        # Keys whose work lasts, and how many of them each group has.
        self._lasting: set[K] = set()
        self._lasting_in: dict[Hashable, int] = {}
        # How many seconds each key in work has computed.
        self._computed: dict[K, float] = {}
        self._heavy_in_work: set[K] = set()
        # How many seconds a pass usually computes, for heavy groups only.
        self._usual: dict[Hashable, float] = {}
        # When a light pass last began or computed; when heavy passes may compute again while light ones are busy.
        self._light_at = _NEVER
        self._heavy_from = _NEVER
        # Heavy passes that wait for a turn, in order, and the key that has the turn now.
        self._paused: deque[asyncio.Event] = deque()
        self._granted: K | None = None

    # Groups

    def open(self) -> Iterator[Hashable]:
        """The groups with ready keys that may have a turn, in the order of their turns."""
        return (group for group in self._groups if self._lasting_in.get(group, 0) < self._lasting_at_once)

    def next_group(self) -> Hashable | None:
        """The group whose turn it is. Heavy groups wait while light groups are busy and the heavy share is used."""
        first = next(self.open(), None)
        if first is None or first not in self._usual:
            return first
        at_once = sum(key not in self._lasting for key in self._heavy_in_work)
        if not self._paused and at_once < HEAVY_AT_ONCE and self._hold_s() <= 0:
            return first
        return next((group for group in self.open() if group not in self._usual), None)

    # Keys in work

    def began(self, key: K, group: Hashable, now: float) -> None:
        """Note that a key of this group is in work."""
        if group in self._usual:
            self._heavy_in_work.add(key)
        else:
            self._light_at = now

    def ended(self, key: K) -> None:
        """Note that a key is no longer in work."""
        self._lasts_no_more(key)
        self._learn(key)

    def charge(self, key: K, computed_s: float, held_s: float) -> None:
        """Charge a key in work for a turn: it computed for `computed_s` and held the event loop for `held_s`.

        The first decides how heavy the key is. The second is longer on a busy machine, and is taken from its share.
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
        """Update the average of the key's group at the end of a pass."""
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
        """Whether a key in work is heavy: it computes only after `turn` granted it a turn."""
        return key in self._heavy_in_work

    def is_held(self, key: K) -> bool:
        """Whether a key in work is heavy and has no turn now."""
        return key in self._heavy_in_work and self._granted != key

    async def turn(self, key: K) -> None:
        """Wait until a heavy key in work may compute. One heavy key computes at a time; other tasks run in between."""
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
        """How long to wait before the next check whether a heavy pass may compute; 0 if it may compute now."""
        now = self._clock()
        return min(self._heavy_from - now, LOOK_S) if self._is_light_busy(now) else 0.0

    def _is_light_busy(self, now: float) -> bool:
        if any(group not in self._usual for group in self.open()):
            return True
        is_in_work = len(self._in_work) > len(self._heavy_in_work)
        return now - self._light_at < (_QUIET_S if is_in_work else _LINGER_S)

    # Lasting work

    def lasts(self, key: K) -> None:
        """The work on a key lasts: the key gave up its worker."""
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
    """The rests of keys whose passes overran. These keys run one at a time, and all other keys get their share of the
    time before the next one runs.
    """

    def __init__(self) -> None:
        # How many times in a row each key overran, and when its rest ends.
        self._overruns: dict[K, int] = {}
        self._until: dict[K, float] = {}
        # Keys that overran in their current pass.
        self._now: set[K] = set()
        # When the next of these keys may run.
        self._free_from = _NEVER

    def until(self, key: K) -> float:
        """When the rest of a key ends; minus infinity if the key does not rest."""
        return self._until.get(key, _NEVER)

    def begin(self, key: K, held_s: float, now: float) -> float:
        """Begin the rest of a key whose pass blocked the loop for `held_s`; returns how long the key rests."""
        count = self._overruns[key] = self._overruns.get(key, 0) + 1
        self._free_from = max(now, self._free_from) + held_s / SHARE
        rest_s = min(REST_S * 2.0 ** min(count - 1, 16), LONGEST_REST_S)
        self._until[key] = max(now + rest_s, self._free_from)
        self._now.add(key)
        return self._until[key] - now

    def ended(self, key: K) -> None:
        """End a pass over a key. If the pass did not overrun, the key is well."""
        if key not in self._now:
            self.forget(key)
        self._now.discard(key)

    def forget(self, key: K) -> None:
        """Forget a key that is well or whose object is gone."""
        self._overruns.pop(key, None)
        self._until.pop(key, None)
