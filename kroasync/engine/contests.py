"""Find the declared fields of an object that other field managers own, and leave fields out of a declaration.

`managedFields` names the manager of each field in the notation of structured-merge-diff: `f:` is a field, `k:` an
element of a list by its keys, `i:` one by its index, `v:` a value of a set, and `.` the object, list or element itself.
Who owns a value of a set or `.` contests nothing, since server-side apply merges these; so are the keys of an element.

An element of `managedFields` without children owns everything below it. If the declaration has an object or a list
there, that is contested as a whole, unless another entry has children of it: then it is merged field by field.
An empty live value is no such whole: every manager may add to `emptyDir: {}`.

Other managers write `managedFields` as they like, so its content may be odd. What cannot be read is no contest, and the
work grows with the size of the object only.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson

from kroasync.engine.drift import KEY_DEFAULTS
from kroasync.model.objects import Obj, metadata
from kroasync.model.paths import Path

# The status belongs to the controllers of a kind; nobody declares it.
_STATUS: Final = "status"


@dataclass(frozen=True, slots=True)
class Contest:
    """One declared field that another manager has. A field of several managers has a contest for each."""

    path: Path
    """Map keys and, for elements of lists, their indexes in the declaration."""
    field: str
    """The field as the API server writes it: `.spec.template.spec.containers[name="web"].image`."""
    manager: str
    declared: Any
    live: Any
    is_ours: bool
    """Whether we own the field, too."""
    differs: bool
    """Whether the two values differ; compared once for all managers of the field."""


def contests(live: Obj, declared: Obj, manager: str) -> tuple[Contest, ...]:
    """The declared fields that managers other than `manager` own, in the order of the declaration."""
    owners = _owners(live)
    if all(owner.manager == manager for owner in owners):
        return ()  # as most objects are
    return tuple(_below(_Place(live, declared, owners, (), ""), manager))


def owner_of(live: Obj, path: Sequence[str], manager: str) -> str | None:
    """Another manager that owns exactly the field at this path of map keys; None if nobody does."""
    for owner in _owners(live):
        below: Any = owner.fields
        for name in path:
            below = below.get(f"f:{name}") if isinstance(below, dict) else None
        if owner.manager != manager and isinstance(below, dict) and (not below or "." in below):
            return owner.manager
    return None


def without(declared: Obj, paths: Iterable[Path]) -> Obj:
    """A copy without these fields, and without the objects and lists that only held them; `metadata` stays."""
    tree: dict[str | int, Any] = {}
    for path in paths:
        branch: Any = tree
        for part in path[:-1]:
            branch = branch.setdefault(part, {})
            if branch is None:
                break  # goes with what it is a part of
        else:
            branch[path[-1]] = None
    found: Obj = _without(declared, tree)
    return found if "metadata" in found or "metadata" not in declared else {**found, "metadata": {}}


def element_keys(element: str) -> Obj:
    """The keys of an element of a list, as a `k:` element of managedFields has them; empty if it is none."""
    if not element.startswith("k:"):
        return {}
    try:
        found = orjson.loads(element[2:])
    except orjson.JSONDecodeError:
        return {}
    return found if isinstance(found, dict) else {}


def merge_key(item: Any, names: Sequence[str]) -> tuple[Any, ...] | None:
    """The values of an element's key fields; None if one is missing or is no scalar."""
    if type(item) is not dict:
        return None
    values = tuple(item.get(name, KEY_DEFAULTS.get(name)) for name in names)
    return values if all(type(value) in (str, int, bool) for value in values) else None


@dataclass(frozen=True, slots=True)
class _Holder:
    """What one manager owns at some place."""

    manager: str
    fields: Mapping[str, Any]

    @property
    def has_children(self) -> bool:
        return len(self.fields) > ("." in self.fields)

    @property
    def owns_all(self) -> bool:
        return not self.has_children or "." in self.fields


@dataclass(frozen=True, slots=True)
class _Place:
    """A place in the live object and in the declaration, and who owns something there."""

    live: Any
    declared: Any
    holders: list[_Holder]
    path: Path
    text: str
    # The fields of an element that are its keys: nobody can change them.
    keys: Sequence[str] = ()

    def below(self) -> dict[str, list[_Holder]]:
        found: dict[str, list[_Holder]] = {}
        for holder in self.holders:
            for element, fields in holder.fields.items():
                inner = fields if isinstance(fields, dict) else {}
                found.setdefault(element, []).append(_Holder(holder.manager, inner))
        return found


def _below(at: _Place, manager: str) -> Iterator[Contest]:
    """The contests below an object or a list, wherever somebody owns something of it."""
    children = _fields if type(at.declared) is dict else _elements if type(at.declared) is list else _none
    for child in children(at):
        is_container = type(child.declared) in (dict, list)
        if is_container and any(holder.has_children for holder in child.holders):
            yield from _below(child, manager)
        elif not (is_container and (child.live in ({}, []) or _is_key(child))):
            yield from _contested(child, manager)


def _contested(at: _Place, manager: str) -> Iterator[Contest]:
    managers = dict.fromkeys(holder.manager for holder in at.holders if holder.owns_all)
    others = [other for other in managers if other != manager]
    differs = bool(others) and at.live != at.declared
    for other in others:
        yield Contest(at.path, at.text, other, at.declared, at.live, manager in managers, differs)


def _owners(live: Obj) -> list[_Holder]:
    entries = metadata(live).get("managedFields")
    return [
        _Holder(str(entry.get("manager") or "unknown"), entry["fieldsV1"])
        for entry in (entries if isinstance(entries, list) else ())
        if isinstance(entry, dict) and entry.get("subresource") != _STATUS and isinstance(entry.get("fieldsV1"), dict)
    ]


def _none(_at: _Place) -> Iterator[_Place]:
    return iter(())


def _fields(at: _Place) -> Iterator[_Place]:
    owned, live = at.below(), at.live if type(at.live) is dict else {}
    for name, wanted in at.declared.items():
        holders = owned.get(f"f:{name}")
        if holders and name not in at.keys:
            yield _Place(live.get(name), wanted, holders, (*at.path, name), f"{at.text}.{name}")


def _elements(at: _Place) -> Iterator[_Place]:
    """The elements of a declared list that somebody owns. All elements of one list have the same keys."""
    owned, live = at.below(), at.live if type(at.live) is list else []
    keyed = {element: keys for element in owned if (keys := element_keys(element))}
    names = next((tuple(keys) for keys in keyed.values()), ())
    places, there = _by_key(at.declared, names), _by_key(live, names)
    found: list[_Place] = []
    for element, holders in owned.items():
        if element in keyed:
            key = merge_key(keyed[element], names)
            index, other, shown = places.get(key), there.get(key), _shown(keyed[element])
        else:
            index = other = _index(element, len(at.declared))
            shown = f"[{index}]"
        if index is not None:
            value = live[other] if other is not None and other < len(live) else None
            found.append(_Place(value, at.declared[index], holders, (*at.path, index), at.text + shown, names))
    return iter(sorted(found, key=lambda place: place.path))


def _by_key(items: list[Any], names: Sequence[str]) -> dict[tuple[Any, ...] | None, int]:
    """The indexes of the elements with keys; the first one of each key."""
    found: dict[tuple[Any, ...] | None, int] = {}
    for index, item in enumerate(items if names else ()):
        key = merge_key(item, names)
        if key is not None:
            found.setdefault(key, index)
    return found


def _index(element: str, length: int) -> int | None:
    text = element.removeprefix("i:")
    if text == element or not (text.isascii() and text.isdigit()) or len(text) > len(str(length)):
        return None
    return int(text) if int(text) < length else None


def _is_key(at: _Place) -> bool:
    """Whether an element has no more fields than its keys."""
    return bool(at.keys) and type(at.declared) is dict and set(at.declared) <= set(at.keys)


def _shown(keys: Mapping[str, Any]) -> str:
    return "[" + ",".join(f"{name}={orjson.dumps(keys[name]).decode()}" for name in sorted(keys)) + "]"


def _without(value: Any, tree: Mapping[str | int, Any]) -> Any:
    """The value without what the tree marks with None, down to what is empty only because of that."""
    if type(value) not in (dict, list):
        return value
    pairs: Iterable[tuple[Any, Any]] = value.items() if type(value) is dict else enumerate(value)
    kept: list[tuple[Any, Any]] = []
    for key, item in pairs:
        inner = item
        if key in tree:
            if tree[key] is None:
                continue
            inner = _without(item, tree[key])
            if inner != item and inner in ({}, []):
                continue
        kept.append((key, inner))
    return dict(kept) if type(value) is dict else [item for _, item in kept]
