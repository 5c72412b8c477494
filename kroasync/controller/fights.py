"""Fights: somebody else keeps changing or deleting a child. The controller slows down but never gives up.

If the controller restores a child several times within a short time, it waits before the next attempt. The wait
doubles, up to a cap. When the other side stops, the next attempt is the last. `managedFields` names the manager that
changes a child; nothing names the one that deletes it.

A fight is about one object, by UID. If the object is deleted and recreated each time, the fight is about its key.
"""

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Final

from kroasync.engine.contests import contests
from kroasync.model.objects import Obj

# The first attempts are immediate; after that the wait doubles.
_PATIENCE: Final = 5
_FIRST_PAUSE_S: Final = 1.0
_LONGEST_PAUSE_S: Final = 300.0
# A fight is over if nothing happens for this long after its wait.
_CALM_S: Final = 60.0
_KEPT: Final = 1024


@dataclass(slots=True)
class _Fight:
    heals: int
    last_s: float

    @property
    def pause_s(self) -> float:
        if self.heals < _PATIENCE:
            return 0.0
        return min(_FIRST_PAUSE_S * 2.0 ** min(self.heals - _PATIENCE, 32), _LONGEST_PAUSE_S)


class Fights:
    """How often each subject was restored. `clock` is monotonic seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._fights: dict[Hashable, _Fight] = {}
        # At this number of fights, forget those that are over.
        self._many = _KEPT

    def __len__(self) -> int:
        return len(self._fights)

    def wait_s(self, subject: Hashable) -> float:
        """How many seconds to wait before the subject may be restored; 0 if it may be restored now."""
        fight = self._fights.get(subject)
        return max(0.0, fight.last_s + fight.pause_s - self._clock()) if fight else 0.0

    def healed(self, subject: Hashable) -> bool:
        """Note that the subject was restored; True if it must wait from now on."""
        now = self._clock()
        fight = self._fights.get(subject)
        if fight is None or now - fight.last_s > fight.pause_s + _CALM_S:
            self._forget_calm(now)
            fight = self._fights[subject] = _Fight(0, now)
        fight.heals += 1
        fight.last_s = now
        return fight.heals == _PATIENCE

    def settled(self, subject: Hashable) -> None:
        """End the fight over the subject: nobody else changed it this time."""
        self._fights.pop(subject, None)

    def _forget_calm(self, now: float) -> None:
        if len(self._fights) >= self._many:
            self._fights = {s: f for s, f in self._fights.items() if now - f.last_s <= f.pause_s + _CALM_S}
            self._many = max(_KEPT, 2 * len(self._fights))


def contenders(live: Obj, desired: Obj, ours: str) -> dict[str, tuple[str, ...]]:
    """The managers of fields that differ from `desired`, each with the paths of these fields (`.spec.replicas`)."""
    found: dict[str, tuple[str, ...]] = {}
    for contest in contests(live, desired, ours):
        if contest.differs:
            found[contest.manager] = (*found.get(contest.manager, ()), contest.field)
    return found
