"""The results of the checker hold at run time.

The tests build random expressions of a known type from random parts. The checker must accept them with that type.
On data of the declared schema, they must return a value of that type, or fail for a reason that is not a type.
"""

import re
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kroasync.cel.env import Env
from kroasync.cel.errors import EvalError, OverloadError
from kroasync.cel.lib import ALL_LIBRARIES
from kroasync.cel.types import Type
from kroasync.cel.values import TypeValue, type_of_value
from kroasync.schema.celtypes import SchemaTypes

STRING = {"type": "string"}
INTEGER = {"type": "integer"}
SCHEMA = {
    "type": "object",
    "properties": {
        "name": STRING,
        "size": INTEGER,
        "ratio": {"type": "number"},
        "ready": {"type": "boolean"},
        "born": {"type": "string", "format": "date-time"},
        "age": {"type": "string", "format": "duration"},
        "names": {"type": "array", "items": STRING},
        "sizes": {"type": "array", "items": INTEGER},
        "labels": {"type": "object", "additionalProperties": STRING},
        "parts": {
            "type": "array",
            "items": {"type": "object", "properties": {"name": STRING, "size": INTEGER}},
        },
    },
}
TYPES = SchemaTypes({"x": SCHEMA})
ENV = Env(libraries=ALL_LIBRARIES, types=TYPES, variables=TYPES.variables())

texts = st.sampled_from(["", "a", "bc", "12", "ä", "a.b"])
numbers = st.integers(-5, 5)
DATA = st.fixed_dictionaries(
    {
        "size": numbers,
        "ratio": st.sampled_from([0, 1, 1.5, -2.25]),
        "ready": st.booleans(),
        "born": st.sampled_from(["2020-01-01T00:00:00Z", "1999-12-31T23:59:59.5Z"]),
        "age": st.sampled_from(["1s", "1h30m", "-5ms"]),
        "names": st.lists(texts, max_size=3),
        "sizes": st.lists(numbers, max_size=3),
        "labels": st.dictionaries(texts, texts, max_size=3),
        "parts": st.lists(st.fixed_dictionaries({"name": texts, "size": numbers}), max_size=3),
    },
    optional={"name": texts},
)

# Templates by their result type; `{int}` stands for any expression of type int, `@` for a new loop variable.
PRODUCTIONS: dict[str, list[str]] = {
    "int": [
        "1",
        "x.size",
        "({int} + {int})",
        "({int} / {int})",
        "(-{int})",
        "size({string})",
        "{list(string)}.size()",
        "({bool} ? {int} : {int})",
        "{list(int)}[{int}]",
        "int({string})",
        "x.?size.orValue({int})",
        "cel.bind(@, {int}, @ * {int})",
        "{list(int)}.sum()",
        "{duration}.getSeconds()",
        "{timestamp}.getFullYear()",
        "{string}.indexOf({string})",
        "{list(int)}.max()",
        "x.parts[{int}].size",
        "quantity({string}).compareTo(quantity({string}))",
    ],
    "double": ["1.5", "x.ratio", "({double} * {double})", "double({int})", "math.ceil({double})"],
    "string": [
        "'a'",
        "x.name",
        "({string} + {string})",
        "string({int})",
        "string({double})",
        "string({timestamp})",
        "{list(string)}.join({string})",
        "{map}[{string}]",
        "({bool} ? {string} : {string})",
        "{string}.upperAscii()",
        "{string}.substring({int})",
        "x.parts.map(@, @.name).join('-')",
        "'%s %d'.format([{string}, {int}])",
        "{optional(string)}.orValue({string})",
        "json.marshal({list(int)})",
    ],
    "bool": [
        "true",
        "x.ready",
        "({int} < {int})",
        "({string} == {string})",
        "({bool} && {bool})",
        "({bool} || !{bool})",
        "({string} in {map})",
        "({int} in {list(int)})",
        "has(x.name)",
        "{list(int)}.all(@, @ > {int})",
        "{list(string)}.exists(@, @ == {string})",
        "x.parts.exists_one(@, @.size == {int})",
        "{map}.all(@, @ != {string})",
        "({timestamp} < {timestamp})",
        "{optional(string)}.hasValue()",
        "isQuantity({string})",
        "{string}.startsWith({string})",
        "{list(int)}.isSorted()",
    ],
    "list(int)": [
        "[{int}, {int}]",
        "x.sizes",
        "({list(int)} + {list(int)})",
        "{list(int)}.filter(@, @ != {int})",
        "{list(int)}.map(@, @ + {int})",
        "{list(string)}.map(@, size(@))",
        "{list(int)}.sortBy(@, -@)",
        "{list(int)}.slice(0, {int})",
        "x.parts.map(@, @.size)",
        "lists.setAtIndex({list(int)}, {int}, {int})",
        "{list(int)}.distinct()",
    ],
    "list(string)": ["[{string}]", "x.names", "{string}.split({string})", "{map}.map(@, @)", "{list(string)}.sort()"],
    "map": ["{{string}: {string}}", "x.labels", "{map}.merge({map})", "{map}.transformMap(@, @w, @ + @w)"],
    "timestamp": ["x.born", "({timestamp} + {duration})", "timestamp('2020-02-02T00:00:00Z')"],
    "duration": ["x.age", "({timestamp} - {timestamp})", "duration('90s')", "({duration} + {duration})"],
    "optional(string)": [
        "x.?name",
        "optional.of({string})",
        "x.labels[?{string}]",
        "{optional(string)}.or({optional(string)})",
        "{optional(string)}.optMap(@, @ + {string})",
        "x.?labels[?'a']",
        "{list(string)}.first()",
    ],
}
PRINTED = {
    "map": "map(string, string)",
    "timestamp": "google.protobuf.Timestamp",
    "duration": "google.protobuf.Duration",
    "optional(string)": "optional_type(string)",
}

HOLE = re.compile("{(" + "|".join(map(re.escape, PRODUCTIONS)) + ")}")


@st.composite
def expressions(draw: st.DrawFn, kind: str, depth: int = 4) -> str:
    """The text of an expression of a kind."""
    options = PRODUCTIONS[kind]
    leaves = [option for option in options if not HOLE.search(option)]
    template = draw(st.sampled_from(leaves if depth == 0 and leaves else options))
    below = max(depth - 1, 0)
    return HOLE.sub(lambda hole: draw(expressions(hole[1], below)), template.replace("@", f"v{depth}"))


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(kind=st.sampled_from(sorted(PRODUCTIONS)), data=st.data())
def test_an_expression_gives_what_the_checker_promised(kind: str, data: st.DataObject) -> None:
    expression = data.draw(expressions(kind))
    program = ENV.program(expression)
    promised = program.result_type
    assert str(promised) == PRINTED.get(kind, kind)
    try:
        value = program.evaluate({"x": data.draw(DATA)})
    except OverloadError:
        raise
    except EvalError:
        return
    assert fits(value, promised), f"{expression} gave {value!r}"


def fits(value: Any, promised: Type) -> bool:
    if promised.kind == "list":
        return isinstance(value, list) and all(fits(item, promised.element) for item in value)
    if promised.kind == "map":
        return isinstance(value, dict) and all(fits(item, promised.element) for item in value.values())
    if promised.kind == "optional":
        return not value.present or fits(value.value, promised.element)
    return promised.kind == "dyn" or TypeValue(type_of_value(value)) == TypeValue(promised)
