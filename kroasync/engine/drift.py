"""Whether an object has to be sent, by two hashes: of what is declared, and of the same fields as the server
holds them.

After an apply both are kept; while both still match, sending would change nothing. Comparing the server's own
answer with itself absorbs defaulting and normalised quantities. This runs for every event of a child.
"""

import base64
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson

from kroasync.engine.actions import Need
from kroasync.model.objects import Obj

# Fields by which the API server merges lists of objects (x-kubernetes-list-map-keys), the telling ones first.
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


@dataclass(frozen=True, slots=True)
class Applied:
    """What is remembered of the last apply of an object."""

    desired: str
    live: str

    @staticmethod
    def of(desired: Obj, answer: Obj) -> "Applied":
        return Applied(fingerprint(desired), fingerprint(project(answer, desired)))


def need(applied: Applied | None, desired: Obj, changed: Obj | None) -> Need | None:
    """Why an object that is there has to be sent; None if there is nothing to send.

    `changed` is the object if anything happened to it since it was last compared, otherwise None.
    """
    if applied is None or applied.desired != fingerprint(desired):
        return Need.UPDATE
    if changed is None or applied.live == fingerprint(project(changed, desired)):
        return None
    return Need.HEAL


def fingerprint(obj: Any) -> str:
    """A digest of canonical JSON: equal exactly for equal objects, whatever the order of their keys."""
    return hashlib.blake2b(orjson.dumps(obj, option=orjson.OPT_SORT_KEYS), digest_size=16).hexdigest()


def project(live: Any, desired: Any) -> Any:
    """The part of `live` at the field paths of `desired`.

    Lists of objects are paired by a merge key, else by place if they are equally long; items only `live` has
    are kept by their key alone, so that they are noticed when they come or go. Any other list is taken whole.
    """
    if type(desired) is dict:
        if type(live) is not dict:
            return live
        return {k: project(live[k], v) for k, v in desired.items() if k in live}
    if type(desired) is list and type(live) is list:
        return _project_list(live, desired)
    return live


def stored(desired: Obj) -> Obj:
    """The object as the API server would keep it: a Secret's `stringData` as `data`, which it wins over.

    Sent like this, too: fields of `stringData` are owned by nobody once they are stored, so that neither a change of
    one by somebody else nor its removal from the declaration would have an effect.
    """
    if desired.get("kind") != "Secret" or desired.get("apiVersion") != "v1" or "stringData" not in desired:
        return desired
    texts, data = desired["stringData"] or {}, desired.get("data") or {}
    if not (isinstance(texts, dict) and isinstance(data, dict) and all(isinstance(t, str) for t in texts.values())):
        return desired  # the server says what is wrong with it
    try:
        encoded = {key: base64.b64encode(text.encode()).decode() for key, text in texts.items()}
    except UnicodeEncodeError:
        return desired
    rest = {key: value for key, value in desired.items() if key not in ("data", "stringData")}
    return {**rest, "data": {**data, **encoded}}


def is_in_effect(live: Obj, desired: Obj, manager: str) -> bool:
    """Whether `live` is what an apply of `desired` by `manager` would leave, judged by the object alone.

    For objects of an earlier run of the controller, whose hashes are not known: every declared value is there, and the
    manager owns just the declared fields (managedFields of server-side apply). Where the server stores another form
    than was sent, the answer is False and one apply finds out.
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
    """What of an object managedFields speak of: not its identity."""
    meta = {k: v for k, v in desired.get("metadata", {}).items() if k not in ("name", "namespace")}
    found = {k: v for k, v in desired.items() if k not in ("apiVersion", "kind", "metadata")}
    return {**found, "metadata": meta} if meta else found


def _owns_all(fields: Obj, desired: Any) -> bool:
    """Whether a fieldsV1 set has every field of `desired`; an element without children owns all below it."""
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
    """Values by the fields of an object, found whichever of those are asked for, in long lists too."""

    def __init__(self, items: Iterable[tuple[Obj, Any]]) -> None:
        self._items = list(items)
        self._by: dict[tuple[str, ...], dict[tuple[Any, ...], Any]] = {}
        # Elements of one list have the same keys.
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
    """The objects of a list by their values of these keys, apart by which of them they declare at all."""
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
        wanted, found = _by(desired, key), _by(live, key)
        if wanted is not None and found is not None:
            return [project(item, wanted[value]) if value in wanted else {key: value} for value, item in found.items()]
    if len(live) == len(desired):
        return [project(a, b) for a, b in zip(live, desired, strict=True)]
    return live


def _all_objects(items: list[Any]) -> bool:
    return all(type(item) is dict for item in items)


def _by(items: list[Any], key: str) -> dict[Any, Any] | None:
    """The items by the value of a key; None unless every item has it, as a scalar, and no two the same."""
    found: dict[Any, Any] = {}
    for item in items:
        value = item.get(key)
        if type(value) not in (str, int) or value in found:
            return None
        found[value] = item
    return found
