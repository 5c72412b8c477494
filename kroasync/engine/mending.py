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
from typing import Any, Final, TypeAlias

from kroasync.engine.contests import element_keys, merge_key
from kroasync.engine.drift import KEY_DEFAULTS, fingerprint, project
from kroasync.model.objects import Obj, metadata, version_of

Place: TypeAlias = tuple[str | int, ...]
# An ordered set of indexes.
_Indexes: TypeAlias = dict[int, None]
# So many comparisons of elements take some 50 ms, for all lists of an object together. In the lists for which none are
# left, an element counts as edited only in its place.
_PAIRS: Final = 4096


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
            if isinstance(below, dict) and (keys := element_keys(element)):
                yield keys, _Owner(self.manager, self.applies, below)


class _Keyed:
    """A keyed list of the live object beside the declared one, and the owners of each live element."""

    def __init__(self, live: list[Obj], desired: list[Obj], owners: Sequence[_Owner], names: tuple[str, ...]) -> None:
        self.live = live
        self.desired = desired
        self.names = names
        self.keys = [merge_key(item, names) for item in live]
        self.wanted = {key: item for item in desired if (key := merge_key(item, names)) is not None}
        # Without a repair, the API server reports a missing key, or one that is declared twice.
        self.is_sound = len(self.wanted) == len(desired)
        self._declared: dict[str, set[str]] = {}
        self._owners: dict[str, list[_Owner]] = {}
        for owner in owners:
            for keys, below in owner.elements():
                self._owners.setdefault(fingerprint(keys), []).append(below)

    def owners_of(self, index: int) -> list[_Owner]:
        """What each manager owns of a live element."""
        return self._owners.get(fingerprint({name: self.live[index].get(name) for name in self.names}), [])

    def declared(self, name: str) -> set[str]:
        """Fingerprints of the declared values of a field."""
        if name not in self._declared:
            self._declared[name] = {fingerprint(item[name]) for item in self.desired if name in item}
        return self._declared[name]

    def missing(self) -> dict[tuple[Any, ...], Obj]:
        """The declared elements that the live list lacks, by key."""
        there = set(self.keys)
        return {key: item for key, item in self.wanted.items() if key not in there}


class _Search:
    """Collects the repairs of one object."""

    def __init__(self, manager: str, twice: frozenset[str]) -> None:
        self.edits: list[KeyEdit] = []
        self.held: list[tuple[str, str]] = []
        self._manager = manager
        self._twice = twice
        self._comparisons = _PAIRS

    def compare(self, live: Any, desired: Any, owners: Sequence[_Owner], place: Place) -> None:
        if type(live) is dict and type(desired) is dict:
            for name, wanted in desired.items():
                below = [o for owner in owners if (o := owner.at(f"f:{name}")) is not None]
                if name in live and below and type(wanted) in (dict, list):
                    self.compare(live[name], wanted, below, (*place, name))
        elif type(live) is list and type(desired) is list:
            names = next((tuple(keys) for owner in owners for keys, _ in owner.elements()), ())
            if names and all(type(item) is dict for item in (*live, *desired)):
                found = _Keyed(live, desired, owners, names)
                if found.is_sound:
                    self._compare_lists(found, place)

    def _compare_lists(self, found: _Keyed, place: Place) -> None:
        strange = []
        for index, key in enumerate(found.keys):
            if key in found.wanted:
                self.compare(found.live[index], found.wanted[key], found.owners_of(index), (*place, index))
            else:
                strange.append(index)
        if strange:
            self._repair(found, strange, place)

    def _repair(self, found: _Keyed, strange: Sequence[int], place: Place) -> None:
        """Decide about the elements that nobody declares."""
        free, abandoned = self._sorted_out(found, strange, place)
        for key, index in self._pairs(found, free, abandoned):
            at = (*place, index)
            self.edits.append(KeyEdit(at, dict(zip(found.names, key, strict=True))))
            self.compare(found.live[index], found.wanted[key], found.owners_of(index), at)
        in_the_way = [index for index in free if self._is_in_the_way(found, index)]
        self.edits += [KeyEdit((*place, index)) for index in (*in_the_way, *abandoned)]

    def _sorted_out(self, found: _Keyed, strange: Sequence[int], place: Place) -> tuple[_Indexes, _Indexes]:
        """The elements that no manager applies, and those that we left behind, as ordered sets."""
        free: _Indexes = {}
        abandoned: _Indexes = {}
        for index in strange:
            below = found.owners_of(index)
            others = [o.manager for o in below if o.applies and o.manager != self._manager]
            if self._is_abandoned(below):
                abandoned[index] = None
            elif not any(o.applies for o in below):
                free[index] = None
            elif others and self._is_in_the_way(found, index):
                self.held += [(_shown(place), manager) for manager in others]
        return free, abandoned

    def _pairs(self, found: _Keyed, free: _Indexes, abandoned: _Indexes) -> Iterator[tuple[tuple[Any, ...], int]]:
        """Missing elements with the edited ones, which leave their lists."""
        missing = found.missing()
        places = {key: index for index, key in enumerate(found.wanted)}
        is_in_place = len(found.live) == len(found.desired)
        needed = len(missing) * (len(free) + len(abandoned))
        is_long = needed > self._comparisons
        self._comparisons -= 0 if is_long else needed
        for key, item in missing.items():
            place = places[key] if is_in_place else None
            # Who edits a key owns the element. What nobody owns was put there by an admission webhook.
            near = [index for index in (place,) if index in free or index in abandoned]
            candidates = [i for i in (near if is_long else (*free, *abandoned)) if found.owners_of(i)]
            edited = self._edited(found, candidates, item, place)
            if edited is None and len(abandoned) == len(found.live):
                edited = next(iter(abandoned))  # without it, the list would be empty, which is often invalid
            if edited is not None:
                del (free if edited in free else abandoned)[edited]
                yield key, edited

    def _edited(self, found: _Keyed, candidates: Sequence[int], item: Obj, place: int | None) -> int | None:
        """The index of the element that resembles a missing one most; None if none does.

        `place` is the index of the missing element in a list with as many elements as are declared.
        """
        best: tuple[int, bool, int] | None = None
        for i in candidates:
            alike, clashes = _resemblance(found.live[i], item, found.names), self._clashes(found.live[i], item)
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

    def _is_in_the_way(self, found: _Keyed, index: int) -> bool:
        live = found.live[index]
        return any(name in live and fingerprint(live[name]) in found.declared(name) for name in self._twice)

    def _clashes(self, one: Obj, other: Obj) -> bool:
        """Whether two elements have a value in common that the API server refuses."""
        return any(name in one and one[name] == other.get(name) for name in self._twice)


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
