"""The rules of a schema that look at a whole value: CEL (`x-kubernetes-validations`), sets, and lists with keys.

As in the API server, defaults are filled in first, and a value is judged only if its parts are valid. A rule that does
not compile with `self` alone is left to the API server: a rule that compares with `oldSelf` holds for a new object.
"""

import json
from collections.abc import Collection, Iterator, Mapping
from typing import Any, Final

from kroasync.cel import CelError, Env, EvalError, Program
from kroasync.cel.types import BOOL, DYN
from kroasync.model.objects import Obj
from kroasync.model.paths import Path
from kroasync.model.problems import Problem, Severity
from kroasync.schema.celtypes import SchemaTypes
from kroasync.schema.filling import defaulted
from kroasync.schema.markers import VALIDATIONS
from kroasync.schema.structural import LIST_MAP_KEYS, LIST_TYPE

_SELF: Final = "self"
_OLD_SELF: Final = "oldSelf"
# Characters of a value that a message quotes.
_SHOWN: Final = 60
# The message of the marker `validation`, which says no more than that there is a problem.
_SAYS_NOTHING: Final = "validation failed"


class InstanceRules:
    """The rules of one kind, compiled once; `schema` is the schema of the whole object."""

    def __init__(self, schema: Mapping[str, Any]) -> None:
        properties = schema.get("properties") or {}
        self._schema = {**schema, "properties": {k: v for k, v in properties.items() if k != "status"}}
        self._programs: dict[tuple[int, str], Program | None] = {}

    def broken(self, obj: Obj, invalid: Collection[Path] = ()) -> Iterator[Problem]:
        """The rules that an object breaks. Values that contain an invalid one are not judged."""
        unjudged = {path[:length] for path in invalid for length in range(len(path) + 1)}
        yield from self._check(defaulted(obj, self._schema), self._schema, (), unjudged)

    def _check(
        self, value: Any, schema: Mapping[str, Any], path: Path, unjudged: Collection[Path]
    ) -> Iterator[Problem]:
        if value is None:
            return
        for below, inner, part in _parts(value, schema):
            yield from self._check(below, inner, (*path, part), unjudged)
        if isinstance(value, list):
            yield from _duplicates(value, schema, path)
        if path in unjudged:
            return
        for rule in schema.get(VALIDATIONS) or ():
            if fault := self._fault(str(rule.get("rule")), value, schema):
                said = rule.get("message") or _SAYS_NOTHING
                message = fault if said == _SAYS_NOTHING else f"{said}: {fault}"
                yield Problem(code="instance-rule", message=message, path=path)

    def _fault(self, rule: str, value: Any, schema: Mapping[str, Any]) -> str | None:
        key = id(schema), rule
        if key not in self._programs:
            self._programs[key] = _compiled(rule, schema)
        program = self._programs[key]
        if program is None:
            return None
        try:
            holds = program.evaluate({_SELF: value})
        except EvalError as error:
            return f"expected {rule}, found an error: {error.message}"
        return None if holds is True else f"expected {rule}, found {_shown(value)}"


def _parts(value: Any, schema: Mapping[str, Any]) -> Iterator[tuple[Any, Mapping[str, Any], str | int]]:
    if isinstance(value, list) and isinstance(items := schema.get("items"), dict):
        for index, item in enumerate(value):
            yield item, items, index
    if isinstance(value, dict):
        properties = schema.get("properties") or {}
        others = schema.get("additionalProperties")
        for name, item in value.items():
            inner = properties.get(name, others)
            if isinstance(inner, dict):
                yield item, inner, name


def unusable_rules(schema: Mapping[str, Any], path: Path) -> Iterator[Problem]:
    """The rules of a schema for which the API server refuses the CRD. `path` is where the author wrote the schema;
    items and values of a field are written there, too.
    """
    for rule in schema.get(VALIDATIONS) or ():
        if fault := _rule_fault(str(rule.get("rule")), schema):
            message = f"the API server will refuse the rule {rule.get('rule')}: {fault}"
            yield Problem(code="validation-rule", message=message, path=path, severity=Severity.WARNING)
    for name, inner in (schema.get("properties") or {}).items():
        yield from unusable_rules(inner, (*path, name))
    for inner in (schema.get("items"), schema.get("additionalProperties")):
        if isinstance(inner, dict):
            yield from unusable_rules(inner, path)


def _rule_fault(rule: str, schema: Mapping[str, Any]) -> str | None:
    """A function that we do not know may be one that the API server does."""
    try:
        result = _program(rule, {_SELF: schema, _OLD_SELF: schema}).result_type
    except CelError as error:
        text = str(error).splitlines()[0]
        return None if "undeclared reference" in text else text
    return None if result in (BOOL, DYN) else f"expected a result of type bool, found {result}"


def _compiled(rule: str, schema: Mapping[str, Any]) -> Program | None:
    try:
        return _program(rule, {_SELF: schema})
    except CelError:
        return None


def _program(rule: str, variables: Mapping[str, Mapping[str, Any]]) -> Program:
    types = SchemaTypes(variables)
    return Env(variables=types.variables(), types=types).program(rule)


def _duplicates(items: list[Any], schema: Mapping[str, Any], path: Path) -> Iterator[Problem]:
    """The items of a set, or of a list with keys, that are there already."""
    if schema.get(LIST_TYPE) not in ("set", "map"):
        return
    keys = schema.get(LIST_MAP_KEYS) or () if schema[LIST_TYPE] == "map" else None
    first: dict[str, int] = {}
    for index, item in enumerate(items):
        if keys is not None and not isinstance(item, dict):
            continue
        identity = item if keys is None else {key: item.get(key) for key in keys}
        before = first.setdefault(json.dumps(identity, sort_keys=True), index)
        if before != index:
            text = f"expected no duplicates, found {_shown(identity)}, which is item {before}, too"
            yield Problem(code="instance-value", message=text, path=(*path, index))


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
