"""An instance against the schema of its kind: what the API server would refuse, with the place of each fault.

`instance_rules` checks rules in CEL and duplicates in lists.
"""

from collections.abc import Iterable
from typing import Any, Final

from kroasync.model.definition import Definition, type_name
from kroasync.model.objects import Obj
from kroasync.model.paths import Path
from kroasync.model.problems import Problem, Severity
from kroasync.model.suggest import did_you_mean
from kroasync.schema import name_rules
from kroasync.schema.structural import UNKNOWN, Misfit, Validator

_VALIDATOR: Final = Validator(fills_in=True)
# What the bounds of text and lists limit.
_MEASURES: Final = {"minLength": "length ", "maxLength": "length ", "minItems": "items ", "maxItems": "items "}


def check_instance(obj: Obj, definition: Definition, spec_schema: Obj) -> list[Problem]:
    """Every problem of an instance's metadata and spec."""
    problems = []
    metadata = obj.get("metadata")
    if not isinstance(metadata, dict) or not (metadata.get("name") or metadata.get("generateName")):
        problems.append(_problem("instance-required", "required field is missing", ("metadata", "name")))
    elif metadata.get("namespace") and not definition.namespaced:
        text = f"{definition.kind} is cluster-scoped and has no namespace"
        problems.append(_problem("instance-value", text, ("metadata", "namespace")))
    if isinstance(metadata, dict) and isinstance(metadata.get("name"), str):
        rules, _ = name_rules.read(definition.name_validation)
        problems += map(_problem_of, _VALIDATOR.misfits(metadata["name"], rules, ("metadata", "name")))
    spec = obj.get("spec")
    # The API server fills in an absent spec if the schema has defaults for it.
    if spec is None and "default" in spec_schema:
        spec = {}
    if spec is None:
        if spec_schema.get("required"):
            problems.append(_problem("instance-required", "required field is missing", ("spec",)))
        return problems
    problems += map(_problem_of, _VALIDATOR.misfits(spec, spec_schema, ("spec",)))
    for key in obj:
        if key not in ("apiVersion", "kind", "metadata", "spec", "status"):
            problems.append(_unknown(key, ("spec",), (key,)))
    return problems


def _problem(code: str, message: str, path: Path) -> Problem:
    return Problem(code=code, message=message, path=path)


def _unknown(name: str, known: Iterable[str], path: Path) -> Problem:
    # A warning: the API server drops such a field, it does not refuse the object.
    return Problem(
        code="instance-unknown-field",
        message=f'unknown field "{name}"',
        path=path,
        severity=Severity.WARNING,
        suggestion=did_you_mean(name, known),
    )


def _problem_of(misfit: Misfit) -> Problem:
    expected, found = misfit.expected, misfit.found
    match misfit.keyword:
        case "required":
            return _problem("instance-required", "required field is missing", misfit.path)
        case "type":
            return _problem("instance-type", f"expected {expected}, found {type_name(found)}", misfit.path)
        case "enum":
            return _not_of_enum(expected, found, misfit.path)
        case "pattern":
            text = f"expected text that matches {expected}, found {found!r}"
        case keyword if keyword == UNKNOWN:
            return _unknown(str(misfit.path[-1]), expected, misfit.path)
        case keyword:
            more = "at least" if keyword.startswith("min") else "at most"
            text = f"expected {_MEASURES.get(keyword, '')}{more} {expected}, found {found}"
    return _problem("instance-value", text, misfit.path)


def _not_of_enum(allowed: list[Any], found: Any, path: Path) -> Problem:
    texts = [one for one in allowed if isinstance(one, str)]
    return Problem(
        code="instance-value",
        message=f"expected one of {', '.join(map(str, allowed))}, found {found}",
        path=path,
        suggestion=did_you_mean(found, texts) if isinstance(found, str) else None,
    )
