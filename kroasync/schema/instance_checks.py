"""An instance against the schema of its kind: what the API server would refuse, with the place of each fault.

Rules in CEL are left to the API server; patterns are matched with RE2, as there.
"""

from collections.abc import Iterator
from typing import Any, Final

from kroasync.model.definition import Definition, type_name
from kroasync.model.objects import Obj
from kroasync.model.paths import Path
from kroasync.model.problems import Problem, Severity
from kroasync.model.suggest import did_you_mean
from kroasync.schema import name_rules

_PRESERVE: Final = "x-kubernetes-preserve-unknown-fields"
_TYPES: Final[dict[str, tuple[type, ...]]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "array": (list,),
    "object": (dict,),
}
# keyword, the types it speaks of, what the bound limits
_BOUNDS: Final[tuple[tuple[str, tuple[type, ...], str], ...]] = (
    ("minimum", (int, float), ""),
    ("maximum", (int, float), ""),
    ("minLength", (str,), "length "),
    ("maxLength", (str,), "length "),
    ("minItems", (list,), "items "),
    ("maxItems", (list,), "items "),
)


def check_instance(obj: Obj, definition: Definition, spec_schema: Obj) -> list[Problem]:
    """Every problem of an instance's metadata and spec."""
    problems = []
    metadata = obj.get("metadata")
    if not isinstance(metadata, dict) or not (metadata.get("name") or metadata.get("generateName")):
        problems.append(_problem("instance-required", "required field is missing", ("metadata", "name")))
    elif metadata.get("namespace") and not definition.namespaced:
        text = f"{definition.kind} is cluster-scoped and has no namespace"
        problems.append(_problem("instance-value", text, ("metadata", "namespace")))
    if isinstance(metadata, dict) and metadata.get("name"):
        rules, _ = name_rules.read(definition.name_validation)
        problems += _check(metadata["name"], rules, ("metadata", "name"))
    spec = obj.get("spec")
    # The API server fills in an absent spec if the schema has defaults for it.
    if spec is None and "default" in spec_schema:
        spec = {}
    if spec is None:
        if spec_schema.get("required"):
            problems.append(_problem("instance-required", "required field is missing", ("spec",)))
        return problems
    problems += _check(spec, spec_schema, ("spec",))
    for key in obj:
        if key not in ("apiVersion", "kind", "metadata", "spec", "status"):
            problems.append(_unknown(key, ("spec",), (key,)))
    return problems


def _problem(code: str, message: str, path: Path) -> Problem:
    return Problem(code=code, message=message, path=path)


def _unknown(name: str, known: Any, path: Path) -> Problem:
    # A warning: the API server drops such a field, it does not refuse the object.
    return Problem(
        code="instance-unknown-field",
        message=f'unknown field "{name}"',
        path=path,
        severity=Severity.WARNING,
        suggestion=did_you_mean(name, known),
    )


def _check(value: Any, schema: Obj, path: Path) -> Iterator[Problem]:
    if value is None and schema.get("nullable"):
        return
    if value is None and "default" in schema:
        return
    expected = schema.get("type")
    if expected is not None and not _is(value, expected):
        yield _problem("instance-type", f"expected {expected}, found {type_name(value)}", path)
        return
    yield from _check_value(value, schema, path)
    if isinstance(value, list) and isinstance(schema.get("items"), dict):
        for index, item in enumerate(value):
            yield from _check(item, schema["items"], (*path, index))
    if isinstance(value, dict):
        yield from _check_fields(value, schema, path)


def _is(value: Any, expected: str) -> bool:
    if isinstance(value, bool):
        return expected == "boolean"
    if expected == "integer" and isinstance(value, float):
        return value.is_integer()
    return isinstance(value, _TYPES.get(expected, (object,)))


def _check_value(value: Any, schema: Obj, path: Path) -> Iterator[Problem]:
    if "enum" in schema and value not in schema["enum"]:
        known = ", ".join(str(one) for one in schema["enum"])
        near = (
            did_you_mean(value, [one for one in schema["enum"] if isinstance(one, str)])
            if isinstance(value, str)
            else None
        )
        yield Problem(
            code="instance-value",
            message=f"expected one of {known}, found {value}",
            path=path,
            suggestion=near,
        )
    for keyword, types, what in _BOUNDS:
        bound = schema.get(keyword)
        if bound is None or not isinstance(value, types):
            continue
        found = len(value) if isinstance(value, str | list) else value
        if found < bound if keyword.startswith("min") else found > bound:
            more = "at least" if keyword.startswith("min") else "at most"
            yield _problem("instance-value", f"expected {what}{more} {bound}, found {found}", path)
    pattern = schema.get("pattern")
    if isinstance(pattern, str) and isinstance(value, str) and not _matches(pattern, value):
        yield _problem("instance-value", f"expected text that matches {pattern}, found {value!r}", path)


def _matches(pattern: str, text: str) -> bool:
    import re2

    try:
        return re2.search(pattern, text) is not None
    except re2.error:
        # Not a pattern RE2 knows: the definition's problem, not the instance's.
        return True


def _check_fields(value: Obj, schema: Obj, path: Path) -> Iterator[Problem]:
    properties: Obj = schema.get("properties") or {}
    additional = schema.get("additionalProperties")
    for name in schema.get("required") or ():
        if value.get(name) is None and "default" not in properties.get(name, {}):
            yield _problem("instance-required", "required field is missing", (*path, name))
    for name, item in value.items():
        if name in properties:
            if item is None and name in (schema.get("required") or ()):
                continue
            yield from _check(item, properties[name], (*path, name))
        elif isinstance(additional, dict):
            yield from _check(item, additional, (*path, name))
        elif not additional and not schema.get(_PRESERVE):
            yield _unknown(name, properties, (*path, name))
