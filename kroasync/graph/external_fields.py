"""Reads `externalFields`: the fields of a template that another field manager may take over.

A path is a text as in `model.paths`: `spec.replicas`, or `metadata.annotations["example.com/size"]` for a key with
dots. It leads through maps to a field that the template contains, and not to what identifies the object.
"""

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from kroasync.graph.budget import Budget
from kroasync.graph.problem_report import Report
from kroasync.graph.resources import Entry
from kroasync.model import paths
from kroasync.model.paths import Path
from kroasync.model.steps import Steps
from kroasync.model.suggest import MAX_CANDIDATES, did_you_mean

_IDENTITY: Final = (("apiVersion",), ("kind",), ("metadata",), ("metadata", "name"), ("metadata", "namespace"))
_MARKED: Final = (("metadata", "labels"), ("metadata", "annotations"))
_QUOTING: Final = 'expected keys with dots between them; a key that contains a dot is written ["example.com/key"]'


class _PathFault(NamedTuple):
    code: str
    message: str
    suggestion: str | None = None


def reading_external_fields(entry: Entry, report: Report, budget: Budget) -> Steps[tuple[tuple[str, ...], ...]]:
    """The paths of a resource's external fields, without rejected ones, which are reported."""
    if entry.is_external:
        return ()
    found: dict[tuple[str, ...], None] = {}
    known: dict[str, str] | None = None
    for place, text in enumerate(entry.spec.external_fields):
        path, fault = _read(text, entry.obj)
        if fault is None and path in found:
            fault = _PathFault("external-field-duplicate", "is there twice")
        if fault is None:
            found[path] = None
        else:
            if fault.code == "external-field-absent" and report.suggests:
                known = _known(entry.obj) if known is None else known
                fault = fault._replace(suggestion=known.get(text) or did_you_mean(text, known.values()))
            at = (*entry.spec.path, "externalFields", place)
            message = f'resource "{entry.id}" externalFields: "{_shown(text)}" {fault.message}'
            report.add(fault.code, message, at, suggestion=fault.suggestion)
        if budget.pause_after(1 + len(path)):
            yield
    return tuple(found)


def _read(text: str, template: Any) -> tuple[tuple[str, ...], _PathFault | None]:
    """The path of a text, and what is wrong with it."""
    if "${" in text:
        return (), _PathFault("external-field-syntax", "is no field path: expressions are not allowed here")
    try:
        path = paths.parse(text)
    except paths.PathError as error:
        listed = _list_above((*_beginning(text), "*"), template)
        return (), listed or _PathFault("external-field-syntax", f"is no field path: {error}; {_QUOTING}")
    if not path or text.endswith("."):
        return (), _PathFault("external-field-syntax", f"is no field path: {_QUOTING}", text.rstrip(".") or None)
    names = tuple(str(part) for part in path)
    if path in _IDENTITY:
        return names, _PathFault("external-field-identity", "identifies the object, so it cannot be left to others")
    if path in _MARKED:
        message = "has marks of the controller: name single keys of it"
        return names, _PathFault("external-field-identity", message)
    listed = _list_above(path, template)
    if listed is None and names != path:
        listed = _PathFault("external-field-list", "goes through a list: expected maps on the way")
    if listed is None and not paths.has(template, path):
        return names, _PathFault("external-field-absent", "is not in the template")
    return names, listed


def _beginning(text: str) -> Path:
    """The path before the first bracket, which is well-formed on its own or empty."""
    try:
        return paths.parse(text.partition("[")[0])
    except paths.PathError:
        return ()


def _list_above(path: Path, template: Any) -> _PathFault | None:
    """The fault of a path that leads into a list."""
    value = template
    for place, part in enumerate(path):
        if isinstance(value, list):
            whole = paths.build(path[:place])
            message = f"goes through the list {whole}: name the whole list, because its items have no fixed place"
            return _PathFault("external-field-list", message, whole)
        value = paths.get(value, (part,))
    return None


def _known(template: Any) -> dict[str, str]:
    """The texts of the paths that may be external fields, by the text without quotes."""
    found: dict[str, str] = {}
    for path in _maps(template, ()):
        if path not in _IDENTITY and path not in _MARKED:
            found.setdefault(".".join(path), paths.build(path))
        if len(found) >= MAX_CANDIDATES:
            break
    return found


def _maps(value: Any, path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """The paths to all fields that no list contains, in document order."""
    waiting = [(value, path)]
    while waiting:
        value, path = waiting.pop()
        if path:
            yield path
        if isinstance(value, dict):
            waiting += [(item, (*path, key)) for key, item in reversed(value.items())]


def _shown(text: str) -> str:
    return text if len(text) <= 80 else f"{text[:77]}..."
