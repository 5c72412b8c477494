"""Decide by two hashes whether an object must be sent.

A declared object rarely equals the stored one: the API server adds defaults and normalises quantities (`1000m` becomes
`1`). A direct comparison would find a difference forever and send the object in every pass. So each apply remembers two
hashes (`Applied`):

- `desired` is the hash of the declared object. It changes if the template or the values of its expressions change.
- `live` is the hash of the declared fields as the server's answer has them. It changes if somebody else changes one of
  these fields.

While both hashes match, an apply would change nothing. Fields that the object does not declare are in neither hash, so
others may change them. This comparison runs for every event of a child. After a restart no hashes are known;
`is_in_effect` then judges an object by its `managedFields`.
"""

import base64
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson

from kroasync.engine.actions import Need
from kroasync.model.objects import Obj

# The fields by which the API server merges lists of objects (x-kubernetes-list-map-keys), the most specific first.
MERGE_KEYS: Final = (
    "name",
    "containerPort",
    "port",
    "key",
    "type",
    "ip",
    "mountPath",
    "devicePath",
    "uid",
    "topologyKey",
    "conditionType",
    "host",
)
# Merge keys that the API server sets if they are not declared.
KEY_DEFAULTS: Final[Mapping[str, Any]] = {"protocol": "TCP"}


@dataclass(frozen=True, slots=True)
class Applied:
    """The two hashes of the last apply of an object."""

    desired: str
    live: str

    @staticmethod
    def of(desired: Obj, answer: Obj) -> "Applied":
        return Applied(fingerprint(desired), fingerprint(project(answer, desired)))


def need(applied: Applied | None, desired: Obj, changed: Obj | None) -> Need | None:
    """Why an existing object must be sent; None if it need not be sent.

    `changed` is the object if it has changed since the last comparison, otherwise None.
    """
    if applied is None or applied.desired != fingerprint(desired):
        return Need.UPDATE
    if changed is None or applied.live == fingerprint(project(changed, desired)):
        return None
    return Need.HEAL


def fingerprint(obj: Any) -> str:
    """A digest of canonical JSON: the same for equal objects, whatever the order of their keys."""
    return hashlib.blake2b(orjson.dumps(obj, option=orjson.OPT_SORT_KEYS), digest_size=16).hexdigest()


def project(live: Any, desired: Any) -> Any:
    """The part of `live` at the field paths of `desired`.

    Items of two lists of objects are paired by a merge key, or else by position if the lists have the same length. Of
    an item that only `live` has, the result keeps only the key: so the hash changes if the item appears or disappears.
    Any other list is kept whole.
    """
    if type(desired) is dict:
        if type(live) is not dict:
            return live
        return {k: project(live[k], v) for k, v in desired.items() if k in live}
    if type(desired) is list and type(live) is list:
        return _project_list(live, desired)
    return live


def stored(desired: Obj) -> Obj:
    """The object as the API server would store it: a Secret's `stringData` becomes `data` and overrides it.

    The controller also sends this form: nobody owns fields of `stringData` once they are stored. Otherwise the
    controller would miss a change by somebody else, and could not remove a field that is no longer declared.
    """
    if desired.get("kind") != "Secret" or desired.get("apiVersion") != "v1" or "stringData" not in desired:
        return desired
    texts, data = desired["stringData"] or {}, desired.get("data") or {}
    if not (isinstance(texts, dict) and isinstance(data, dict) and all(isinstance(t, str) for t in texts.values())):
        return desired  # the server reports the error
    try:
        encoded = {key: base64.b64encode(text.encode()).decode() for key, text in texts.items()}
    except UnicodeEncodeError:
        return desired
    rest = {key: value for key, value in desired.items() if key not in ("data", "stringData")}
    return {**rest, "data": {**data, **encoded}}


def is_in_effect(live: Obj, desired: Obj, manager: str) -> bool:
    """Whether an apply of `desired` by `manager` would leave `live` unchanged, judged by the object alone.

    This is for objects of an earlier run of the controller, whose hashes are not known. It is True if `live` has every
    declared value and the manager owns exactly the declared fields (managedFields of server-side apply). If the server
    stores a value in another form than it was sent, the result is False, and one apply learns the hashes.
    """
    entries = [e for e in live.get("metadata", {}).get("managedFields") or () if e.get("manager") == manager]
    applied = [e for e in entries if e.get("operation") == "Apply" and not e.get("subresource")]
    if len(applied) != 1:
        return False
    if fingerprint(project(live, desired)) != fingerprint(desired):
        return False
    fields = applied[0].get("fieldsV1") or {}
    return _owns_all(fields, _ownable(desired)) and not _owns_more(fields, desired)


def _ownable(desired: Obj) -> Obj:
    """The part of an object that managedFields cover: everything except its identity."""
    meta = {k: v for k, v in desired.get("metadata", {}).items() if k not in ("name", "namespace")}
    found = {k: v for k, v in desired.items() if k not in ("apiVersion", "kind", "metadata")}
    return {**found, "metadata": meta} if meta else found


def _owns_all(fields: Obj, desired: Any) -> bool:
    """Whether a fieldsV1 set has every field of `desired`. An element without children owns everything below it."""
    if type(desired) is dict:
        return all(_owns(fields.get(f"f:{name}"), value) for name, value in desired.items())
    values = {_hashable(orjson.loads(e[2:])) for e in fields if e.startswith("v:")}
    elements = _Items((orjson.loads(e[2:]), below) for e, below in fields.items() if e.startswith("k:"))
    for item in desired:
        if type(item) is dict:
            # A key with a default, such as a port's protocol, need not be declared.
            if not _owns(elements.like(item, [name for name in elements.names if name in item]), item):
                return False
        elif _hashable(item) not in values:
            return False
    return True


class _Items:
    """Finds values by any fields of their objects; fast for long lists, too."""

    def __init__(self, items: Iterable[tuple[Obj, Any]]) -> None:
        self._items = list(items)
        self._by: dict[tuple[str, ...], dict[tuple[Any, ...], Any]] = {}
        # All elements of one list have the same keys.
        self.names = tuple(sorted(self._items[0][0])) if self._items else ()

    def like(self, obj: Obj, names: Sequence[str]) -> Any:
        """The first value whose object has the same values in these fields; None if there is none."""
        place = tuple(names)
        if place not in self._by:
            by: dict[tuple[Any, ...], Any] = {}
            for item, value in self._items:
                by.setdefault(tuple(_hashable(item.get(name)) for name in place), value)
            self._by[place] = by
        return self._by[place].get(tuple(_hashable(obj.get(name)) for name in place))


def _hashable(value: Any) -> Any:
    return fingerprint(value) if type(value) in (dict, list) else value


def _owns(below: Obj | None, value: Any) -> bool:
    if below is None:
        return False
    inner = {element: b for element, b in below.items() if element != "."}
    return not inner or type(value) not in (dict, list) or _owns_all(inner, value)


def _owns_more(fields: Obj, desired: Any) -> bool:
    """Whether a fieldsV1 set has a field that `desired` lacks (structured-merge-diff's path element notation)."""
    items: list[_Items] | None = None
    values: set[Any] | None = None
    for element, below in fields.items():
        form, _, text = element.partition(":")
        if element == ".":
            continue
        if form == "f":
            if type(desired) is not dict or text not in desired:
                return True
            found = desired[text]
        elif form == "k":
            keys = orjson.loads(text)
            items = _by_declared(desired, tuple(keys)) if items is None else items
            found = next((i for i in (some.like(keys, some.names) for some in items) if i is not None), None)
            if found is None:
                return True
        elif form == "v":
            if values is None:
                values = {_hashable(item) for item in desired} if type(desired) is list else set()
            if _hashable(orjson.loads(text)) not in values:
                return True
            continue
        else:
            return True
        if below and _owns_more(below, found):
            return True
    return False


def _by_declared(desired: Any, keys: tuple[str, ...]) -> list[_Items]:
    """The objects of a list by their values of these keys; one `_Items` for each set of keys that objects declare."""
    apart: dict[tuple[str, ...], list[tuple[Obj, Obj]]] = {}
    for item in desired if type(desired) is list else ():
        if type(item) is dict:
            declared = {key: item[key] for key in keys if key in item}
            apart.setdefault(tuple(declared), []).append((declared, item))
    return [_Items(items) for items in apart.values()]


def _project_list(live: list[Any], desired: list[Any]) -> list[Any]:
    if not (_all_objects(desired) and _all_objects(live)):
        return live
    for key in MERGE_KEYS:
        wanted, found = by_key(desired, key), by_key(live, key)
        if wanted is not None and found is not None:
            return [_paired(item, wanted[value]) if value in wanted else {key: value} for value, item in found.items()]
    if len(live) == len(desired):
        return [_paired(a, b) for a, b in zip(live, desired, strict=True)]
    return live


def _paired(item: Obj, wanted: Obj) -> Obj:
    """The declared part of an element; with an undeclared part of its merge key that is no longer the default."""
    found: Obj = project(item, wanted)
    for name, default in KEY_DEFAULTS.items():
        if name not in wanted and item.get(name, default) != default:
            found[name] = item[name]
    return found


def _all_objects(items: list[Any]) -> bool:
    return all(type(item) is dict for item in items)


def by_key(items: Sequence[Any], key: str) -> dict[Any, Any] | None:
    """The objects of a list by the value of a key; None unless each has a scalar value for it and all values differ."""
    found: dict[Any, Any] = {}
    for item in items:
        value = item.get(key)
        if type(value) not in (str, int) or value in found:
            return None
        found[value] = item
    return found
