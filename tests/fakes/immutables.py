"""The changes that the API server refuses because a field is immutable, in its words.

Only the kinds and fields that tests change: a table of rules over the object before and after.
"""

from collections.abc import Callable, Iterator

import orjson

from kroasync.model.objects import Obj

# The reason, the field and the text of a cause.
Cause = tuple[str, str, str]

_SEALED = "Forbidden: field is immutable when `immutable` is set"
_CLAIM = (
    "Forbidden: spec is immutable after creation except resources.requests and volumeAttributesClassName for bound "
    "claims\n@@ the difference of both specs @@"
)


def causes(before: Obj, after: Obj) -> list[Cause]:
    """Why the change is refused; nothing if it is not."""
    rule = _RULES.get(before["kind"])
    return list(rule(before, after)) if rule is not None else []


def _of_data(before: Obj, after: Obj) -> Iterator[Cause]:
    """ConfigMaps and Secrets: what is immutable stays so, with its data."""
    if not before.get("immutable"):
        return
    if not after.get("immutable"):
        yield "FieldValueForbidden", "immutable", _SEALED
    for name in ("data", "binaryData"):
        if (before.get(name) or {}) != (after.get(name) or {}):
            yield "FieldValueForbidden", name, _SEALED


def _of_job(before: Obj, after: Obj) -> Iterator[Cause]:
    yield from _fixed(before, after, "completions")
    was, now = before["spec"].get("template"), after["spec"].get("template")
    if was != now:
        yield "FieldValueInvalid", "spec.template", f"Invalid value: {_written(now)}: field is immutable"


def _of_deployment(before: Obj, after: Obj) -> Iterator[Cause]:
    yield from _fixed(before, after, "selector")


def _of_claim(before: Obj, after: Obj) -> Iterator[Cause]:
    if before.get("spec") != after.get("spec"):
        yield "FieldValueForbidden", "spec", _CLAIM


def _fixed(before: Obj, after: Obj, name: str) -> Iterator[Cause]:
    was, now = before["spec"].get(name), after["spec"].get(name)
    if was != now:
        yield "FieldValueInvalid", f"spec.{name}", f"Invalid value: {_written(now)}: field is immutable"


def _written(value: object) -> str:
    return orjson.dumps(value).decode()


_RULES: dict[str, Callable[[Obj, Obj], Iterator[Cause]]] = {
    "ConfigMap": _of_data,
    "Secret": _of_data,
    "Job": _of_job,
    "Deployment": _of_deployment,
    "PersistentVolumeClaim": _of_claim,
}
