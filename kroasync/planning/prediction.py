"""What an apply makes of an object, predicted without the API server: no defaults, no admission, no validation.

Server-side apply merges by the schema of the kind, which is not asked for here. Lists of objects are merged by the
field that names their elements; other lists are replaced. A field that only we had, and declare no more, goes.
"""

import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

import orjson

from kroasync.engine.contests import element_keys
from kroasync.engine.difference import LAST_APPLIED
from kroasync.engine.drift import MERGE_KEYS, by_key
from kroasync.model.names import MANAGER_CHILDREN
from kroasync.model.objects import Obj, annotations_of, metadata

# The fields whose values are quantities, which the API server writes in its own form.
_QUANTITIES: Final = frozenset({"requests", "limits", "capacity", "hard", "overhead", "default", "defaultRequest"})
_SUFFIXES: Final = {
    "": Decimal(1),
    "n": Decimal("1e-9"),
    "u": Decimal("1e-6"),
    "m": Decimal("1e-3"),
    **{suffix: Decimal(1000) ** power for power, suffix in enumerate(("k", "M", "G", "T", "P", "E"), 1)},
    **{suffix: Decimal(1024) ** power for power, suffix in enumerate(("Ki", "Mi", "Gi", "Ti", "Pi", "Ei"), 1)},
}
_QUANTITY: Final = re.compile(r"([+-]?[0-9]{1,30}(?:\.[0-9]{0,30})?)([numkMGTPE]|[KMGTPE]i|)", re.ASCII)


def predicted(live: Obj | None, declared: Obj, *, manager: str = MANAGER_CHILDREN) -> Obj:
    """The object after a server-side apply of `declared` by a field manager."""
    if live is None:
        return declared
    ours, others = _owned(live, manager)
    kept: Obj = _without_ours(live, declared, ours, others)
    merged: Obj = _merged(kept, declared)
    return merged


def after_file(live: Obj, file: Obj) -> Obj:
    """A live object after somebody applied a file again, with kubectl or server-side.

    What an earlier state of the file set, and the file has no more, goes. The object says what that was: in the
    annotation of kubectl, or as the fields of the manager that applied it. Everything else stays.
    """
    last = annotations_of(live).get(LAST_APPLIED)
    if last:
        try:
            before = orjson.loads(last)
        except orjson.JSONDecodeError:
            before = {}
        kept: Obj = _without_dropped(live, before, file)
        merged: Obj = _merged(kept, file)
        return merged
    return predicted(live, file, manager=_applier(live))


def _without_dropped(live: Any, before: Any, now: Any) -> Any:
    """The live value without what was declared before and is not now."""
    if not (isinstance(live, dict) and isinstance(before, dict)):
        return live
    declared = now if isinstance(now, dict) else {}
    return {
        name: _without_dropped(value, before.get(name), declared.get(name))
        for name, value in live.items()
        if name not in before or name in declared
    }


def _applier(live: Obj) -> str:
    """The manager that applies the spec; empty if nobody does."""
    entries = metadata(live).get("managedFields") or ()
    found = (
        str(e.get("manager"))
        for e in entries
        if e.get("operation") == "Apply" and "f:spec" in (e.get("fieldsV1") or {})
    )
    return next(found, "")


def _owned(live: Obj, manager: str) -> tuple[Mapping[str, Any], Sequence[Mapping[str, Any]]]:
    """The field set of a manager's applies, and those of all other managers."""
    ours: Mapping[str, Any] = {}
    others: list[Mapping[str, Any]] = []
    for entry in metadata(live).get("managedFields") or ():
        fields = entry.get("fieldsV1") or {}
        if entry.get("manager") == manager and entry.get("operation") == "Apply":
            ours = fields
        else:
            others.append(fields)
    return ours, others


def _without_ours(live: Any, declared: Any, ours: Mapping[str, Any], others: Sequence[Mapping[str, Any]]) -> Any:
    """The live value without what only we own and declare no more."""
    if isinstance(live, dict):
        wanted = declared if isinstance(declared, dict) else {}
        found = {}
        for name, value in live.items():
            mine, theirs = ours.get(f"f:{name}"), [o[f"f:{name}"] for o in others if f"f:{name}" in o]
            if mine is None:
                found[name] = value
            elif name in wanted:
                found[name] = _without_ours(value, wanted[name], mine, theirs)
            elif theirs or _has_others(value, mine):
                found[name] = _without_ours(value, None, mine, theirs)
        return found
    if isinstance(live, list) and any(step.startswith("k:") for step in ours):
        return _elements_without_ours(live, declared, ours, others)
    return live


def _has_others(value: Any, mine: Mapping[str, Any]) -> bool:
    """Whether a value has parts that are not ours."""
    if not isinstance(value, dict):
        return isinstance(value, list) and bool(value) and bool(mine) and not _all_ours(value, mine)
    return bool(mine) and any(
        f"f:{name}" not in mine or _has_others(below, mine[f"f:{name}"]) for name, below in value.items()
    )


def _all_ours(items: Sequence[Any], mine: Mapping[str, Any]) -> bool:
    return len([step for step in mine if step.startswith(("k:", "v:"))]) >= len(items)


def _elements_without_ours(
    live: Sequence[Any], declared: Any, ours: Mapping[str, Any], others: Sequence[Mapping[str, Any]]
) -> list[Any]:
    wanted = [item for item in declared if isinstance(item, dict)] if isinstance(declared, list) else []
    kept = []
    for item in live:
        step = next((s for s in ours if _names(element_keys(s), item)), None)
        if step is None:
            kept.append(item)
            continue
        keys = element_keys(step)
        match = next((one for one in wanted if _names({k: v for k, v in keys.items() if k in one}, one)), None)
        theirs = [o[step] for o in others if step in o]
        if match is not None or theirs:
            kept.append(_without_ours(item, match, ours[step], theirs))
    return kept


def _names(keys: Mapping[str, Any], item: Any) -> bool:
    return isinstance(item, dict) and bool(keys) and all(item.get(name) == value for name, value in keys.items())


def _merged(live: Any, declared: Any, field: str = "") -> Any:
    if isinstance(live, dict) and isinstance(declared, dict):
        are_quantities = field in _QUANTITIES
        return {
            **live,
            **{
                name: _merged(live.get(name), value, name)
                if not (are_quantities and is_same_quantity(live.get(name), value))
                else live[name]
                for name, value in declared.items()
            },
        }
    if isinstance(live, list) and isinstance(declared, list):
        return _merged_lists(live, declared)
    return declared


def is_same_quantity(one: Any, other: Any) -> bool:
    """Whether two texts or numbers are the same resource quantity, as `1000m` and `1`."""
    found = [_quantity(value) for value in (one, other)]
    return found[0] is not None and found[0] == found[1]


def _quantity(value: Any) -> Decimal | None:
    match = _QUANTITY.fullmatch(str(value)) if isinstance(value, str | int) and not isinstance(value, bool) else None
    return Decimal(match.group(1)) * _SUFFIXES[match.group(2)] if match else None


def _merged_lists(live: Sequence[Any], declared: Sequence[Any]) -> Sequence[Any]:
    if not all(isinstance(item, dict) for item in (*live, *declared)):
        return declared
    for key in MERGE_KEYS:
        wanted = by_key(declared, key)
        if wanted is not None:
            merged = [_merged(item, wanted.pop(item.get(key), {})) for item in live]
            return [*merged, *wanted.values()]
    return declared
