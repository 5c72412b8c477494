"""Whether an object has to be sent, by two hashes: of what is declared, and of the same fields as the server
holds them.

After an apply both are kept; while both still match, sending would change nothing. Comparing the server's own
answer with itself absorbs defaulting and normalised quantities. This runs for every event of a child.
"""

import hashlib
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


def is_in_effect(live: Obj, desired: Obj, manager: str) -> bool:
    """Whether `live` is what an apply of `desired` by `manager` would leave, judged by the object alone.

    For objects of an earlier run of the controller, whose hashes are not known: every declared value is there, and the
    manager owns just the declared fields (managedFields of server-side apply). Where the server stores another form
    than was sent, such as Secrets' stringData, the answer is False and one apply finds out.
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
    by_key = [(orjson.loads(e[2:]), below) for e, below in fields.items() if e.startswith("k:")]
    values = [orjson.loads(e[2:]) for e in fields if e.startswith("v:")]
    for item in desired:
        if type(item) is dict:
            below = next((b for keys, b in by_key if all(item.get(k, v) == v for k, v in keys.items())), None)
            if not _owns(below, item):
                return False
        elif item not in values:
            return False
    return True


def _owns(below: Obj | None, value: Any) -> bool:
    if below is None:
        return False
    inner = {element: b for element, b in below.items() if element != "."}
    return not inner or type(value) not in (dict, list) or _owns_all(inner, value)


def _owns_more(fields: Obj, desired: Any) -> bool:
    """Whether a fieldsV1 set has a field that `desired` lacks (structured-merge-diff's path element notation)."""
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
            items = [i for i in desired if type(i) is dict] if type(desired) is list else []
            # A key with a default, such as a port's protocol, need not be declared.
            found = next((i for i in items if all(i.get(k, v) == v for k, v in keys.items())), None)
            if found is None:
                return True
        elif form == "v":
            if type(desired) is not list or orjson.loads(text) not in desired:
                return True
            continue
        else:
            return True
        if below and _owns_more(below, found):
            return True
    return False


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
