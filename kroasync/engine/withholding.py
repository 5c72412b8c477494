"""Withhold values of Secrets from what a forecast shows.

Paths are those of the engine: places in the declaration of an object, with the indexes of elements. An object on the
API server may have other elements, so any index stands for all. What is below such a place is withheld, and so are the
names of fields there, and the keys of elements if they are such values.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Final

from kroasync.engine.difference import ABSENT, FieldChange, Route
from kroasync.model.kinds import SECRETS
from kroasync.model.objects import Key, Obj
from kroasync.model.paths import Path

WITHHELD: Final = "(withheld: a value of a Secret)"
CHANGED: Final = "(withheld: another value of a Secret)"
_CONTENT: Final[tuple[Path, ...]] = (("data",), ("stringData",))


def places(key: Key, secrets: Iterable[Path]) -> tuple[Path, ...]:
    """The places of an object that are withheld; all content of a Secret, whoever wrote it."""
    content = _CONTENT if key.resource.group_kind == SECRETS.group_kind else ()
    return tuple(dict.fromkeys((*content, *secrets)))


def without_secrets(obj: Obj, paths: Sequence[Path]) -> Obj:
    """A copy of the object without the values at these places. The content of a Secret keeps the names of its keys."""
    found: Any = obj
    for path in paths:
        found = _masked(found, path, keeps_names=path in _CONTENT)
    masked: Obj = found
    return masked


def _masked(value: Any, path: Path, *, keeps_names: bool) -> Any:
    if not path:
        return dict.fromkeys(value, WITHHELD) if keeps_names and isinstance(value, dict) else WITHHELD
    step, rest = path[0], path[1:]
    if isinstance(step, int) and isinstance(value, list):
        return [_masked(item, rest, keeps_names=keeps_names) for item in value]
    if isinstance(step, str) and isinstance(value, dict) and step in value:
        return {**value, step: _masked(value[step], rest, keeps_names=keeps_names)}
    # An expression may set a whole list or object elsewhere; nothing of the value is here.
    return value


def withheld(change: FieldChange, paths: Sequence[Path]) -> FieldChange:
    """The change without values of Secrets."""
    route, is_secret = change.route, False
    for path in paths:
        route, overlaps = _route(route, path)
        is_secret = is_secret or overlaps
    if not is_secret:
        return change if route == change.route else FieldChange(route, change.before, change.after)
    before = ABSENT if change.before is ABSENT else WITHHELD
    after = ABSENT if change.after is ABSENT else CHANGED if before is not ABSENT else WITHHELD
    return FieldChange(route, before, after)


def _route(route: Route, path: Path) -> tuple[Route, bool]:
    """The route as far as it may be shown, and whether the place is on, above or below it."""
    for index, step in enumerate(route):
        if index == len(path):
            # Names below the place may be part of the value; the keys of a Secret's content are not.
            return (route if path in _CONTENT else route[:index]), True
        if isinstance(step, tuple):
            if not isinstance(path[index], int):
                return route, False
            if path[index + 1 :] in ((step[0],), ()):
                route = (*route[:index], (step[0], "(withheld)"), *route[index + 1 :])
        elif path[index] != step:
            return route, False
    return route, True
