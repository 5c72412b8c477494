"""Drift that an apply alone cannot repair: somebody edited the key by which the API server merges a list.

For server-side apply an element with another key is another element. So the apply adds the declared element and leaves
the edited one beside it: a Deployment has one container more, or the API server refuses two ports with one name. The
repair sets the key of the edited element back. Then the apply meets its own element again, with the fields of others.

The same is true of an element that we declared and declare no more, if somebody else changed some of its fields: these
fields stay behind, so the element is removed.

An element counts as edited if nobody declares it, a declared element is missing, and the two resemble each other. Where
the API server refuses a value that occurs twice, an undeclared element with that value stands in the way: without a
missing partner it is removed. What another manager applied is never touched; the message then names the manager.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import orjson

from kroasync.engine.drift import KEY_DEFAULTS, fingerprint, project
from kroasync.model.objects import Obj, metadata, version_of

Place: TypeAlias = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class KeyEdit:
    """One repair of an element of the live object. `keys` are its declared key fields; empty to remove the element."""

    place: Place
    keys: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Mending:
    """The repairs of an object, and the lists with elements that stand in the way and that another manager applies."""

    edits: tuple[KeyEdit, ...] = ()
    # (path of the list, manager)
    held: tuple[tuple[str, str], ...] = ()

    @property
    def obstacle(self) -> str:
        """Who must act where no repair is possible; empty if nobody."""
        return "; ".join(
            f'{place} has another element with the same value, which manager "{manager}" applies: remove it there'
            for place, manager in self.held
        )


def mending(live: Obj, desired: Obj, manager: str, *, twice: frozenset[str] = frozenset()) -> Mending:
    """The repairs that an apply of `desired` by `manager` needs first. `twice` has the names of the fields whose values
    the API server refuses because they occur twice.
    """
    owners = [
        _Owner(str(entry.get("manager") or "unknown"), entry.get("operation") == "Apply", entry.get("fieldsV1") or {})
        for entry in metadata(live).get("managedFields") or ()
        if not entry.get("subresource")
    ]
    found = _Search(manager, twice)
    found.compare(live, desired, owners, ())
    return Mending(tuple(found.edits), tuple(dict.fromkeys(found.held)))


def may_have_leftovers(answer: Obj, manager: str) -> bool:
    """Whether somebody else changed fields of an object by an update, so that an apply may have left some behind."""
    entries = metadata(answer).get("managedFields") or ()
    return any(
        entry.get("operation") == "Update" and entry.get("manager") != manager and not entry.get("subresource")
        for entry in entries
    )


def key_patch(live: Obj, edits: Sequence[KeyEdit]) -> list[Obj]:
    """The JSON patch with these repairs, for exactly this version of the object."""
    version: Obj = {"op": "replace", "path": "/metadata/resourceVersion", "value": version_of(live)}
    restored = [
        {"op": "add", "path": _pointer((*edit.place, name)), "value": value}
        for edit in edits
        for name, value in edit.keys.items()
    ]
    removed = sorted((edit.place for edit in edits if not edit.keys), key=_by_index, reverse=True)
    return [version, *restored, *({"op": "remove", "path": _pointer(place)} for place in removed)]


def disowning_patch(before: Obj, repaired: Obj, manager: str) -> list[Obj]:
    """The JSON patch after which `manager` owns nothing by the repair itself, but only by what it applies; empty if it
    owns nothing by the repair.

    Otherwise a field would stay that the manager applied once and declares no more.
    """
    kept = [entry for entry in metadata(before).get("managedFields") or () if _is_update_by(entry, manager)]
    others = [entry for entry in metadata(repaired).get("managedFields") or () if not _is_update_by(entry, manager)]
    if len(others) + len(kept) == len(metadata(repaired).get("managedFields") or ()) and not kept:
        return []
    return [
        {"op": "replace", "path": "/metadata/resourceVersion", "value": version_of(repaired)},
        {"op": "replace", "path": "/metadata/managedFields", "value": [*others, *kept]},
    ]


def _is_update_by(entry: Obj, manager: str) -> bool:
    return (entry.get("manager"), entry.get("operation")) == (manager, "Update") and not entry.get("subresource")


def _by_index(place: Place) -> tuple[tuple[int, str], ...]:
    return tuple((part, "") if isinstance(part, int) else (-1, part) for part in place)


def _pointer(place: Place) -> str:
    """A JSON pointer (RFC 6901)."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in place)


@dataclass(frozen=True, slots=True)
class _Owner:
    """The fields of one manager at some place."""

    manager: str
    applies: bool
    fields: Obj

    def at(self, element: str) -> "_Owner | None":
        below = self.fields.get(element)
        return _Owner(self.manager, self.applies, below) if isinstance(below, dict) else None

    def elements(self) -> Iterator[tuple[Obj, "_Owner"]]:
        """The elements of a keyed list, by their keys."""
        for element, below in self.fields.items():
            if element.startswith("k:") and isinstance(below, dict):
                yield orjson.loads(element[2:]), _Owner(self.manager, self.applies, below)


class _Search:
    """Collects the repairs of one object."""

    def __init__(self, manager: str, twice: frozenset[str]) -> None:
        self.edits: list[KeyEdit] = []
        self.held: list[tuple[str, str]] = []
        self._manager = manager
        self._twice = twice

    def compare(self, live: Any, desired: Any, owners: Sequence[_Owner], place: Place) -> None:
        if type(live) is dict and type(desired) is dict:
            for name, wanted in desired.items():
                below = [o for owner in owners if (o := owner.at(f"f:{name}")) is not None]
                if name in live and below and type(wanted) in (dict, list):
                    self.compare(live[name], wanted, below, (*place, name))
        elif type(live) is list and type(desired) is list:
            names = next((tuple(keys) for owner in owners for keys, _ in owner.elements()), ())
            if names and all(type(item) is dict for item in (*live, *desired)):
                self._compare_lists(live, desired, owners, place, names)

    def _compare_lists(
        self, live: list[Obj], desired: list[Obj], owners: Sequence[_Owner], place: Place, names: tuple[str, ...]
    ) -> None:
        wanted = {key: item for item in desired if (key := _key(item, names)) is not None}
        if len(wanted) != len(desired):
            return  # the API server reports a missing key, or one that is declared twice
        keys = [_key(item, names) for item in live]
        missing = {key: item for key, item in wanted.items() if key not in keys}
        strange = [index for index, key in enumerate(keys) if key not in wanted]
        for index, item in enumerate(live):
            if (key := keys[index]) in wanted:
                self.compare(item, wanted[key], _below(owners, item, names), (*place, index))
        if not strange:
            return
        free, abandoned = [], []
        for index in strange:
            below = _below(owners, live[index], names)
            others = [o.manager for o in below if o.applies and o.manager != self._manager]
            if self._is_abandoned(below):
                abandoned.append(index)
            elif not any(o.applies for o in below):
                free.append(index)
            elif others and any(self._clashes(live[index], item) for item in desired):
                self.held += [(_shown(place), manager) for manager in others]
        places = {key: index for index, key in enumerate(wanted)}
        in_place = len(live) == len(desired)
        for key, item in missing.items():
            edited = self._edited(live, [*free, *abandoned], item, names, place=places[key] if in_place else None)
            if edited is None and len(abandoned) == len(live):
                edited = abandoned[0]  # without it, the list would be empty, which is often invalid
            if edited is not None:
                (free if edited in free else abandoned).remove(edited)
                at = (*place, edited)
                self.edits.append(KeyEdit(at, dict(zip(names, key, strict=True))))
                self.compare(live[edited], item, _below(owners, live[edited], names), at)
        in_the_way = [index for index in free if any(self._clashes(live[index], item) for item in desired)]
        self.edits += [KeyEdit((*place, index)) for index in (*in_the_way, *abandoned)]

    def _edited(
        self, live: list[Obj], free: Sequence[int], item: Obj, names: tuple[str, ...], *, place: int | None
    ) -> int | None:
        """The index of the element that resembles a missing one most; None if none does.

        `place` is the index of the missing element in a list with as many elements as are declared.
        """
        best: tuple[int, bool, int] | None = None
        for i in free:
            alike, clashes = _resemblance(live[i], item, names), self._clashes(live[i], item)
            if alike or clashes or i == place:
                rank = (alike + clashes, i == place, -i)
                best = rank if best is None else max(best, rank)
        return -best[2] if best is not None else None

    def _is_abandoned(self, below: Sequence[_Owner]) -> bool:
        """Whether nobody owns the element itself, except us who declare it no more: others only changed some of its
        fields. An apply leaves these fields behind.
        """
        others = [owner for owner in below if (owner.manager, owner.applies) != (self._manager, True)]
        return bool(others) and not any(owner.applies or "." in owner.fields for owner in others)

    def _clashes(self, one: Obj, other: Obj) -> bool:
        """Whether two elements have a value in common that the API server refuses."""
        return any(name in one and one[name] == other.get(name) for name in self._twice)


def _key(item: Obj, names: Sequence[str]) -> tuple[Any, ...] | None:
    """The values of the key fields; None if one is missing or is no scalar."""
    values = tuple(item.get(name, KEY_DEFAULTS.get(name)) for name in names)
    return values if all(type(value) in (str, int, bool) for value in values) else None


def _below(owners: Sequence[_Owner], item: Obj, names: Sequence[str]) -> list[_Owner]:
    """What each manager owns of an element."""
    own = {name: item.get(name) for name in names}
    return [below for owner in owners for keys, below in owner.elements() if keys == own]


def _resemblance(live: Obj, item: Obj, names: Sequence[str]) -> int:
    """How many declared fields of a missing element another element has; 0 unless these are most of them. If only the
    key is declared, the parts of the key count, except defaults.
    """
    rest = {name: value for name, value in item.items() if name not in names}
    told = rest or {name: value for name, value in item.items() if value != KEY_DEFAULTS.get(name)}
    alike = sum(
        name in live and fingerprint(project(live[name], value)) == fingerprint(value) for name, value in told.items()
    )
    return alike if 2 * alike > len(rest) else 0


def _shown(place: Place) -> str:
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in place)
    return text.removeprefix(".")
