"""Unified diffs of a step's object as YAML.

A diff shows exactly the fields of the step: they are set in a copy of the object, whose keys stand in one order. So a
diff never shows that the API server sorts keys or lists in another way.
"""

from collections.abc import Iterable, Mapping, Sequence
from difflib import unified_diff
from typing import Any, Final

from kroasync.engine.difference import Absent, Route
from kroasync.model.manifests import dump
from kroasync.model.names import APPLYSET_PREFIX, INTERNAL_GROUP, RESERVED_PREFIXES
from kroasync.model.objects import Obj, metadata
from kroasync.planning.forecast import PlannedStep, Verb

_CONTEXT: Final = 3
_FIRST: Final = ("apiVersion", "kind", "metadata", "name", "namespace")
_MARKS: Final = {
    "labels": (*RESERVED_PREFIXES, APPLYSET_PREFIX),
    # Authors write annotations with the prefix of kro.
    "annotations": (f"{INTERNAL_GROUP}/",),
}
_NOTHING: Final = "/dev/null"
# difflib needs a second for so many lines that all differ.
_MOST_LINES: Final = 20_000


def states(step: PlannedStep) -> tuple[Obj | None, Obj | None]:
    """The object before and after the step, different in nothing but the step's fields.

    A whole object is shown without the marks by which it belongs to its instance: they say nothing about the edit.
    """
    if not step.fields:
        return _unmarked(step.before), _unmarked(step.after)
    before = step.before
    if before is None:
        before = _with(None, ((change.route, change.before) for change in step.fields))
    return before, _with(before, ((change.route, change.after) for change in step.fields))


def _unmarked(obj: Obj | None) -> Obj | None:
    if obj is None:
        return None
    meta = {**metadata(obj)}
    for field, prefixes in _MARKS.items():
        kept = {key: value for key, value in (meta.pop(field, None) or {}).items() if not key.startswith(prefixes)}
        meta |= {field: kept} if kept else {}
    return {**obj, "metadata": meta} if meta else obj


def _with(obj: Obj | None, values: Iterable[tuple[Route, Any]]) -> Obj:
    """A copy of the object with other values."""
    found: Any = obj or {}
    for route, value in values:
        found = _set(found, route, value)
    return dict(found)


def _set(container: Any, route: Route, value: Any) -> Any:
    if not route:
        return value
    step, rest = route[0], route[1:]
    if isinstance(step, tuple):
        return _set_element(container if isinstance(container, list) else [], step, rest, value)
    items = dict(container) if isinstance(container, dict) else {}
    found = _set(items.get(step), rest, value)
    if isinstance(found, Absent):
        items.pop(step, None)
    else:
        items[step] = found
    return items


def _set_element(items: Sequence[Any], step: tuple[str, Any], rest: Route, value: Any) -> list[Any]:
    field, name = step
    changed, is_there = [], False
    for item in items:
        if isinstance(item, dict) and item.get(field) == name:
            item, is_there = _set(item, rest, value), True
        changed.append(item)
    if not is_there:
        changed.append(_set({field: name}, rest, value))
    return [item for item in changed if not isinstance(item, Absent)]


def diff_lines(step: PlannedStep) -> list[str]:
    """The lines of the diff without its two header lines; none if the step changes no known field."""
    before, after = states(step)
    old, new = _yaml(before), _yaml(after)
    if len(old) + len(new) > _MOST_LINES:
        return [f"@@ -1,{len(old)} +1,{len(new)} @@", *(f"-{line}" for line in old), *(f"+{line}" for line in new)]
    return list(unified_diff(old, new, n=_CONTEXT, lineterm=""))[2:]


def is_worth_reading(step: PlannedStep) -> bool:
    """Whether the diff says more than the step itself. Of an object that goes, it does not."""
    return step.verb is not Verb.RELEASE and (bool(step.fields) or step.after is not None)


def headers(step: PlannedStep) -> tuple[str, str]:
    """The header lines of a diff, as `diff -u` writes them."""
    before, after = states(step)
    name = _file_of(step)
    old = f"live/{name}" if before is not None else _NOTHING
    new = f"planned/{name}" if after is not None else _NOTHING
    return f"--- {old}", f"+++ {new}"


def _file_of(step: PlannedStep) -> str:
    if step.key is None:
        return step.node or "object"
    parts = (step.key.resource.group_kind, step.key.namespace, step.key.name)
    return "/".join(part for part in parts if part)


def _yaml(obj: Obj | None) -> list[str]:
    return [] if obj is None else dump(_in_order(obj)).split("\n")[:-1]


def _in_order(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _in_order(value[key]) for key in sorted(value, key=_rank)}
    if isinstance(value, list | tuple):
        return [_in_order(item) for item in value]
    return value


def _rank(key: str) -> tuple[int, str]:
    return (_FIRST.index(key) if key in _FIRST else len(_FIRST)), key
