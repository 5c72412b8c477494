"""Map literals for objects: each key and each value is compared with the fields, whatever is around the literal."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kroasync.cel import Env
from kroasync.cel.syntax import MAX_DEPTH
from kroasync.cel.types import INT, STRING, list_of, map_of
from kroasync.graph.build import build
from kroasync.graph.field_results import MAX_MISMATCHES, compare
from kroasync.model.definition import parse_definition
from kroasync.model.problems import Severity
from kroasync.schema.catalog import bundled
from kroasync.schema.celtypes import SchemaTypes
from tests.samples import crd, definition

# Fields of every kind of value; `size` has no type, as a Quantity.
PART = {
    "type": "object",
    "properties": {
        "name": {"type": "string"},
        "count": {"type": "integer"},
        "on": {"type": "boolean"},
        "size": {},
        "my-key": {"type": "string"},
        "labels": {"type": "object", "additionalProperties": {"type": "string"}},
        "tags": {"type": "array", "items": {"type": "string"}},
        "inner": {
            "type": "object",
            "properties": {"deep": {"type": "integer"}, "parts": {"type": "array", "items": {"type": "object"}}},
        },
        "open": {
            "type": "object",
            "properties": {"known": {"type": "string"}},
            "x-kubernetes-preserve-unknown-fields": True,
        },
    },
}
SCHEMA = {
    "type": "object",
    "properties": {
        "part": PART,
        "parts": {"type": "array", "items": PART},
        "byName": {"type": "object", "additionalProperties": PART},
    },
}
KINDS = bundled().with_crds([crd("Whole", group="example.com", schema=SCHEMA)])
SPEC = {"s": "string", "i": "integer", "b": "boolean", "o": "object", "ls": "[]string", "ms": "map[string]string"}


def problems(field, expression, text=None):
    """Of a definition that gives an expression to a field."""
    template = {
        "apiVersion": "example.com/v1",
        "kind": "Whole",
        "metadata": {"name": "w"},
        field: text or f"${{{expression}}}",
    }
    parsed, _ = parse_definition(definition("Thing", [{"id": "w", "template": template}], spec=SPEC))
    assert parsed is not None
    return build(parsed, KINDS)


def found(field, expression):
    return [(one.severity.value, one.code, one.message) for one in problems(field, expression).problems]


GOOD = [
    ("part", "{}"),
    ("part", '{"name": schema.spec.s}'),
    ("part", '{"name": schema.spec.s, "count": 1, "on": true, "labels": {"a": "b"}, "tags": schema.spec.ls}'),
    ("part", '{"count": schema.spec.i}'),
    ("part", '{"name": null, "count": 1}'),
    ("part", '{"size": "1Gi"}'),
    ("part", '{"size": 1}'),
    ("part", '{"my-key": "a"}'),
    ("part", '{"inner": {"deep": 1, "parts": [{"anything": 1}]}}'),
    ("part", '{"inner": schema.spec.o}'),
    ("part", '{"open": {"known": "a", "other": [1]}}'),
    ("part", '{?"name": schema.spec.?s, "count": 1}'),
    ("part", "{schema.spec.s: schema.spec.s}"),
    ("part", 'schema.spec.b ? {"count": 1} : {"count": 2}'),
    ("part", 'schema.spec.b ? {"count": 1} : {}'),
    ("part", 'optional.of({"count": 1})'),
    ("part", 'optional.none().orValue({"count": 1})'),
    ("part", 'cel.bind(x, 1, {"count": x})'),
    ("part", 'schema.spec.?s.optMap(x, {"name": x, "count": 2})'),
    ("part", 'dyn({"nmae": 1})'),
    ("parts", '[{"count": 1}, {"count": 2}]'),
    ("parts", '[{"name": "a"}, {"count": 2}]'),
    ("parts", '[{"name": "a", "count": 1}] + [{"name": "b", "count": 2}]'),
    ("parts", 'schema.spec.ls.map(x, {"name": x})'),
    ("parts", 'schema.spec.ls.map(x, x != "", {"name": x, "tags": [x]})'),
    ("parts", 'schema.spec.ms.map(k, {"name": k, "labels": {k: schema.spec.ms[k]}})'),
    ("parts", 'schema.spec.ls.transformList(i, v, {"name": v, "count": i})'),
    ("parts", 'schema.spec.ls.map(x, schema.spec.b ? {"count": 1} : {"count": 2})'),
    ("parts", '[{"count": 1}].distinct()'),
    ("byName", '{"a": {"count": 1}, schema.spec.s: {"count": 2}}'),
    ("byName", 'schema.spec.ms.transformMap(k, v, {"name": v, "count": 1})'),
]


@pytest.mark.parametrize(("field", "expression"), GOOD)
def test_literals_that_suit_their_fields(field, expression):
    assert found(field, expression) == []


# What kro lets through, and why the API server will not.
UNKNOWN = 'field "{}" exists in output but not in expected type'
DOUBTFUL = [
    ("part", '{"nmae": "a", "count": 1}', "result-key", UNKNOWN.format("nmae"), "name"),
    ("part", '{"name": "a", "namespace": 1}', "result-key", UNKNOWN.format("namespace"), None),
    (
        "part",
        '{"name": 1, "on": true}',
        "result-type",
        'field "name" has incompatible type: expected string, found',
        None,
    ),
    ("part", '{"labels": {"a": 1, "b": "c"}, "count": 1}', "result-type", "expected string, found integer", None),
    ("part", '{"labels": ["a"], "count": 1}', "result-type", "expected object, found list of strings", None),
    ("part", '{"inner": {"depe": 1}, "count": 1}', "result-key", UNKNOWN.format("depe"), "deep"),
    ("part", '{"inner": "a", "count": 1}', "result-type", "expected object, found string", None),
    ("part", '{"tags": [1, "a"], "count": 1}', "result-type", "list element type incompatible: expected string", None),
    ("part", '{"tags": "a", "count": 1}', "result-type", "expected list of strings, found string", None),
    ("part", '{?"nmae": schema.spec.?s, "count": 1}', "result-key", UNKNOWN.format("nmae"), "name"),
    ("part", 'cel.bind(x, 1, {"coutn": x, "name": "a"})', "result-key", UNKNOWN.format("coutn"), "count"),
    ("part", 'schema.spec.?s.optMap(x, {"nmae": x, "count": 1})', "result-key", UNKNOWN.format("nmae"), "name"),
    ("part", "schema.spec.s", "result-type", "expected object, found string", None),
    ("part", '[{"name": "a"}]', "result-type", "expected object, found list of objects", None),
    ("parts", '[{"name": "a", "count": 1}, {"nmae": "a", "count": 1}]', "result-key", UNKNOWN.format("nmae"), "name"),
    ("parts", 'schema.spec.ls.map(x, {"nmae": x, "count": 1})', "result-key", UNKNOWN.format("nmae"), "name"),
    ("parts", '{"name": "a"}', "result-type", "expected list of objects, found object", None),
    ("parts", "schema.spec.ls", "result-type", "list element type incompatible: expected object, found string", None),
    ("byName", '{"a": {"nmae": "b", "count": 1}}', "result-key", UNKNOWN.format("nmae"), "name"),
    ("byName", '{"a": "b"}', "result-type", "map value type incompatible: expected object, found string", None),
]


@pytest.mark.parametrize(("field", "expression", "code", "cause", "suggestion"), DOUBTFUL)
def test_what_only_the_api_server_refuses_is_a_warning(field, expression, code, cause, suggestion):
    built = problems(field, expression)
    (problem,) = built.problems
    assert (problem.severity, problem.code, problem.suggestion) == (Severity.WARNING, code, suggestion)
    assert problem.message.startswith(
        f'the API server will refuse the result in resource "w" at path "{field}": expression "{expression}": '
    )
    assert cause in problem.message
    assert "__type_" not in problem.message
    assert built.graph is not None


# What kro refuses too.
REFUSED = [
    ("part", '{"nmae": "a"}', UNKNOWN.format("nmae")),
    ("part", '{"count": "a"}', 'field "count" has incompatible type: expected integer, found string'),
    ("part", "{1: 2}", "map keys must be strings to assign to struct"),
    ("part", "schema.spec.ms", 'map value incompatible with struct field "count"'),
    ("parts", "schema.spec.s", 'type kind mismatch: got "string", expected "list('),
    ("byName", '{1: {"count": 1}}', "map key type incompatible: expected string, found integer"),
    ("byName", 'schema.spec.ms.transformMap(k, v, {"nmae": v})', UNKNOWN.format("nmae")),
]


@pytest.mark.parametrize(("field", "expression", "cause"), REFUSED)
def test_what_kro_refuses_is_an_error(field, expression, cause):
    ((severity, code, message),) = found(field, expression)
    assert (severity, code) == ("error", "type-mismatch")
    assert message.startswith(
        f'failed to validate resource "w": type mismatch in resource "w" at path "{field}": expression "{expression}" '
    )
    assert cause in message


def test_every_mismatch_is_reported_with_its_place():
    expression = '{"nmae": "a", "count": "b", "on": true}'
    built = problems("part", expression)
    assert [built.offsets[problem] for problem in built.problems] == [
        len("${") + expression.index('"nmae"'),
        len("${") + expression.index('"b"'),
    ]


def test_equal_mismatches_are_reported_once_and_not_all_of_them():
    assert len(found("parts", "[1, 2, 3]")) == 1
    many = ", ".join(f'"k{number}": 1' for number in range(100))
    assert len(found("part", f"{{{many}, 'name': 'a'}}")) == MAX_MISMATCHES


def test_the_deepest_literals_are_compared():
    """Neither depth nor the length of a sum is a matter of the stack."""
    depth = MAX_DEPTH - 10
    nested = '{"a": ' * depth + "1" + "}" * depth
    assert [code for _, code, _ in found("part", f'{{"inner": {nested}, "name": "a"}}')] == ["result-key"]
    assert found("parts", " + ".join(['[{"count": 1}]'] * 500)) == []


def test_the_work_of_comparing_is_limited():
    """A map fills an object if it suits every field: 1,000 fields in 2,000 places are too many."""
    wide = {"type": "object", "properties": {f"f{number}": {"type": "string"} for number in range(1_000)}}
    schema = {"type": "object", "properties": {"all": {"type": "object", "additionalProperties": wide}}}
    kinds = bundled().with_crds([crd("Wide", group="example.com", schema=schema)])
    template = {"apiVersion": "example.com/v1", "kind": "Wide", "metadata": {"name": "w"}}
    template["all"] = {f"n{number}": "${schema.spec.ms}" for number in range(2_000)}
    parsed, _ = parse_definition(definition("Thing", [{"id": "w", "template": template}], spec=SPEC))
    assert parsed is not None
    assert [problem.code for problem in build(parsed, kinds).problems] == ["definition-size"]


def test_one_expression_stops_no_turn():
    """40 maps of other types, each for an object with 1,000 fields."""
    wide = {"type": "object", "properties": {f"f{number}": {"type": "object"} for number in range(1_000)}}
    types = SchemaTypes({"w": {"type": "array", "items": wide}})
    nested = [INT]
    for _ in range(39):
        nested.append(list_of(nested[-1]))
    env = Env(variables={f"m{number}": map_of(STRING, one) for number, one in enumerate(nested)})
    checked = env.check(env.parse(f"[{', '.join(env.variables)}]"))
    assert compare(checked, types.type_for("w"), types).work > 40_000
    assert compare(checked, types.type_for("w"), types, max_work=5_000).work < 10_000


scalars = st.sampled_from(
    ["1", "1u", "2.5", "true", "null", '"a"', "b'a'", "dyn(1)", "optional.none()"]
) | st.sampled_from([f"schema.spec.{name}" for name in SPEC])
keys = st.sampled_from([*PART["properties"], "known", "deep", "nope", "", "a.b", "a/b", "ü"]).map(json.dumps)


def around(inner):
    pairs = st.lists(st.tuples(keys | st.sampled_from(["1", "schema.spec.s"]), inner), max_size=4)
    return (
        pairs.map(lambda found: "{" + ", ".join(f"{key}: {value}" for key, value in found) + "}")
        | st.lists(inner, max_size=3).map(lambda found: "[" + ", ".join(found) + "]")
        | inner.map("schema.spec.ls.map(x, {})".format)
        | inner.map("schema.spec.ms.transformMap(k, v, {})".format)
        | inner.map("schema.spec.b ? {0} : {0}".format)
        | inner.map("optional.of({})".format)
        | inner.map("cel.bind(x, {0}, x)".format)
        | st.tuples(inner, inner).map(" + ".join)
    )


@given(st.sampled_from([*SCHEMA["properties"]]), st.recursive(scalars, around, max_leaves=12))
def test_a_literal_of_any_form_is_compared(field, expression):
    """It never raises; what is no error has a graph; what is a warning is no error."""
    built = problems(field, expression)
    errors = [problem for problem in built.problems if problem.severity is Severity.ERROR]
    assert (built.graph is None) == bool(errors)
    assert {problem.code for problem in errors} <= {"type-mismatch", "expression-type", "expression-syntax"}
