"""Compiles the policies of a resource or of the definition: words, and expressions over `schema`."""

from collections.abc import Mapping
from typing import Final

from kroasync.cel.types import DYN, ERROR, STRING, Type
from kroasync.graph.declarations import Declarations
from kroasync.graph.nodes import Expression
from kroasync.graph.references import SCHEMA, NameScope, Place
from kroasync.graph.templates import ExtractionError, read_standalone
from kroasync.model.objects import Obj
from kroasync.model.paths import Path
from kroasync.model.policies import FORMS
from kroasync.model.steps import Steps

_SCOPE: Final = NameScope(place=Place.POLICY, allowed=frozenset({SCHEMA}))


def compiling_policies(
    written: Obj, path: Path, declared: Declarations, *, label: str
) -> Steps[Mapping[str, str | Expression]]:
    """The policies that are set at this path of the definition, without rejected ones; reports these."""
    found: dict[str, str | Expression] = {}
    for name, values in FORMS.items():
        value = written.get(name)
        if not isinstance(value, str):
            continue
        if value in list(values):
            found[name] = value
        elif "${" in value:
            expression = yield from _compiled(value, (*path, name), declared, what=f"{label} policy.{name}")
            if expression is not None:
                found[name] = expression
    return found


def _compiled(text: str, path: Path, declared: Declarations, *, what: str) -> Steps[Expression | None]:
    try:
        source = read_standalone(text)
    except ExtractionError as error:
        declared.report.add("not-standalone", f"{what}: {error}", path)
        return None
    parsed = yield from declared.parse_in(_SCOPE, source, path, label=what)
    if parsed is None:
        return None
    compiled = yield from declared.compile(parsed, path, what=f'{what}: failed to type-check "{source.text}"')
    if compiled is None:
        return None
    if not _is_text(compiled.result_type):
        message = f'{what}: expression "{source.text}" must return string, but returns "{compiled.result_type}"'
        declared.report.add("policy-type", message, path)
        return None
    return declared.expression(parsed, compiled)


def _is_text(result: Type) -> bool:
    return (result.element if result.kind == "optional" else result) in (STRING, DYN, ERROR)
