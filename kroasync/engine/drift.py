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


def need(applied: Applied | None, desired: Obj, live: Obj | None) -> Need | None:
    """Why `desired` has to be sent; None if there is nothing to send. `live` is None if the object is not
    there.
    """
    if live is None:
        return Need.CREATE
    if applied is None or applied.desired != fingerprint(desired):
        return Need.UPDATE
    return None if applied.live == fingerprint(project(live, desired)) else Need.HEAL


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
