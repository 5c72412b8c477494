"""Children that somebody else keeps changing or deleting: noticed, slowed down, never given up.

A child that was put back several times in a short while is put back less and less often, up to a cap. When the other
one stops, the next attempt is the last. Who changes it comes from `managedFields`; nothing tells who deletes it.

A fight is over one object, by UID; where it is made again each time, over its key.
"""

from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson

from kroasync.model.objects import Obj, metadata

# Put back at once so often; then with pauses that double.
_PATIENCE: Final = 5
_FIRST_PAUSE_S: Final = 1.0
_LONGEST_PAUSE_S: Final = 300.0
# An object left alone for this long, beyond its pause, starts afresh.
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
    """How often what was put back. `clock` is monotonic seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._fights: dict[Hashable, _Fight] = {}
        # With so many of them it is time to forget those that are over.
        self._many = _KEPT

    def __len__(self) -> int:
        return len(self._fights)

    def wait_s(self, subject: Hashable) -> float:
        """How long it is to be left as it is, in seconds; 0 if it may be put back now."""
        fight = self._fights.get(subject)
        return max(0.0, fight.last_s + fight.pause_s - self._clock()) if fight else 0.0

    def healed(self, subject: Hashable) -> bool:
        """It was put back; True if from now on it has to wait."""
        now = self._clock()
        fight = self._fights.get(subject)
        if fight is None or now - fight.last_s > fight.pause_s + _CALM_S:
            self._forget_calm(now)
            fight = self._fights[subject] = _Fight(0, now)
        fight.heals += 1
        fight.last_s = now
        return fight.heals == _PATIENCE

    def settled(self, subject: Hashable) -> None:
        """It was not somebody else this time."""
        self._fights.pop(subject, None)

    def _forget_calm(self, now: float) -> None:
        if len(self._fights) >= self._many:
            self._fights = {s: f for s, f in self._fights.items() if now - f.last_s <= f.pause_s + _CALM_S}
            self._many = max(_KEPT, 2 * len(self._fights))


def contenders(live: Obj, desired: Obj, ours: str) -> dict[str, tuple[str, ...]]:
    """Managers that hold fields `desired` declares with another value, and these fields (`.spec.replicas`)."""
    found: dict[str, tuple[str, ...]] = {}
    for entry in metadata(live).get("managedFields") or ():
        manager = str(entry.get("manager") or "unknown")
        if manager == ours or entry.get("subresource"):
            continue
        taken = tuple(dict.fromkeys(_taken(entry.get("fieldsV1") or {}, live, desired, "")))
        if taken:
            found[manager] = (*found.get(manager, ()), *taken)
    return found


def _taken(fields: Any, live: Any, desired: Any, at: str) -> Iterator[str]:
    for step, below in fields.items() if isinstance(fields, dict) else ():
        kind, _, name = step.partition(":")
        if kind == "f" and isinstance(desired, dict) and name in desired and isinstance(live, dict):
            if below:
                yield from _taken(below, live.get(name), desired[name], f"{at}.{name}")
            elif live.get(name) != desired[name]:
                yield f"{at}.{name}"
        elif kind == "k":
            keys = _keys(name)
            wanted, found = _item(desired, keys), _item(live, keys)
            if wanted is not None and found is not None:
                yield from _taken(below, found, wanted, f"{at}[]")


def _keys(text: str) -> Mapping[str, Any]:
    try:
        found = orjson.loads(text)
    except orjson.JSONDecodeError:
        return {}
    return found if isinstance(found, dict) else {}


def _item(items: Any, keys: Mapping[str, Any]) -> Any:
    if not isinstance(items, list) or not keys:
        return None
    return next((i for i in items if isinstance(i, dict) and all(i.get(k, v) == v for k, v in keys.items())), None)
