"""The difference of two states of an object, field by field.

Lists of objects are compared by the field that names their elements, as in server-side apply; other lists as a whole.
What only the API server keeps (versions, times, managed fields, the status) is no difference.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from kroasync.engine.drift import MERGE_KEYS, by_key
from kroasync.model.names import ANNOTATION_SEAL, LABEL_KRO_VERSION
from kroasync.model.objects import Obj

Step: TypeAlias = str | tuple[str, Any]
"""A map key, or the key field and its value that name an element of a list."""
Route: TypeAlias = tuple[Step, ...]

_KEPT_BY_SERVER: Final = frozenset(
    {"managedFields", "resourceVersion", "generation", "uid", "creationTimestamp", "selfLink", "deletionTimestamp"}
)
LAST_APPLIED: Final = "kubectl.kubernetes.io/last-applied-configuration"
_HIDDEN_ANNOTATIONS: Final = frozenset({ANNOTATION_SEAL, LAST_APPLIED})


class Absent:
    """The value of a field that does not exist."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "(absent)"


ABSENT: Final = Absent()


@dataclass(frozen=True, slots=True)
class FieldChange:
    """One field with its value before and after; `ABSENT` where it does not exist."""

    route: Route
    before: Any
    after: Any

    @property
    def path(self) -> str:
        """The field path as people write it: `spec.template.spec.containers[name=web].image`."""
        return shown(self.route)


def shown(route: Route) -> str:
    """The text of a route."""
    text = ""
    for step in route:
        if isinstance(step, tuple):
            text += f"[{step[0]}={step[1]}]"
        elif "." in step or "/" in step or not step:
            text += f"[{step}]"
        else:
            text += f".{step}" if text else step
    return text


def plain(obj: Obj) -> Obj:
    """The object without what only the API server keeps, and without our seal and the version of our program."""
    meta = {key: value for key, value in obj.get("metadata", {}).items() if key not in _KEPT_BY_SERVER}
    labels = {k: v for k, v in (meta.get("labels") or {}).items() if k != LABEL_KRO_VERSION}
    annotations = {k: v for k, v in (meta.get("annotations") or {}).items() if k not in _HIDDEN_ANNOTATIONS}
    for name, kept in (("labels", labels), ("annotations", annotations)):
        meta.pop(name, None)
        if kept:
            meta[name] = kept
    return {**{key: value for key, value in obj.items() if key not in ("metadata", "status")}, "metadata": meta}


def difference(before: Obj, after: Obj, *, ignored: Iterable[str] = ()) -> tuple[FieldChange, ...]:
    """The fields in which two states differ, without those at or below an `ignored` path."""
    skipped = tuple(ignored)
    found = _differing(plain(before), plain(after), ())
    return tuple(change for change in found if not _is_below(change.path, skipped))


def _is_below(path: str, ignored: Sequence[str]) -> bool:
    return any(path == one or path.startswith((f"{one}.", f"{one}[")) for one in ignored)


def without(obj: Obj, ignored: Iterable[str]) -> Obj:
    """A copy of the object without the fields at the ignored paths."""
    paths = tuple(ignored)
    if not paths:
        return obj
    found: Obj = _without(obj, (), paths)
    return found


def _without(value: Any, route: Route, ignored: Sequence[str]) -> Any:
    if isinstance(value, dict):
        kept = ((key, (*route, key), item) for key, item in value.items())
        return {key: _without(item, at, ignored) for key, at, item in kept if not _is_below(shown(at), ignored)}
    return value


def _differing(before: Any, after: Any, route: Route) -> Iterator[FieldChange]:
    if type(before) is dict and type(after) is dict:
        for key in dict.fromkeys((*before, *after)):
            yield from _differing(before.get(key, ABSENT), after.get(key, ABSENT), (*route, key))
        return
    if type(before) is list and type(after) is list:
        by_name = _by_name(before, after)
        if by_name is not None:
            field, old, new = by_name
            for name in dict.fromkeys((*old, *new)):
                yield from _differing(old.get(name, ABSENT), new.get(name, ABSENT), (*route, (field, name)))
            return
    if not _is_same(before, after):
        yield FieldChange(route, before, after)


def _by_name(before: Sequence[Any], after: Sequence[Any]) -> tuple[str, dict[Any, Any], dict[Any, Any]] | None:
    """The field that names the elements of both lists, and the elements by their names; None if there is none."""
    if not all(type(item) is dict for item in (*before, *after)):
        return None
    for key in MERGE_KEYS:
        old, new = by_key(before, key), by_key(after, key)
        if old is not None and new is not None:
            return key, old, new
    return None


def _is_same(before: Any, after: Any) -> bool:
    # In Python, True equals 1.
    return type(before) is type(after) and bool(before == after)
