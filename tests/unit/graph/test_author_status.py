"""The schema of a status follows from the types of its expressions."""

# ruff: noqa: E501  (a case is one line of its table)

import pytest

from kroasync.graph.author_status import infer_schema

SPEC = "{name: string, count: integer, ratio: float, flag: boolean, names: '[]string', tags: 'map[string]integer', any: object, inner: {a: string, b: {c: integer}}}"
ANY = {"x-kubernetes-preserve-unknown-fields": True}


def obj(**properties):
    return {"type": "object", "properties": properties}


@pytest.mark.parametrize(
    ("status", "schema"),
    [
        ("'${schema.spec.flag}'", {"type": "boolean"}),
        ("'${schema.spec.count}'", {"type": "integer"}),
        ("'${schema.spec.ratio}'", {"type": "number"}),
        ("'${schema.spec.name}'", {"type": "string"}),
        ("'${schema.spec.name}-x'", {"type": "string"}),
        ("'${hash.md5(schema.spec.name)}'", {"type": "string", "format": "byte"}),
        ("'${schema.spec.names}'", {"type": "array", "items": {"type": "string"}}),
        ("'${schema.spec.tags}'", {"type": "object", "additionalProperties": {"type": "integer"}}),
        ("'${schema.spec.inner}'", obj(a={"type": "string"}, b=obj(c={"type": "integer"}))),
        ("'${schema.spec.any.x}'", ANY),
        ("{a: {b: ['${schema.spec.name}']}}", obj(a=obj(b={"type": "array", "items": {"type": "string"}}))),
        ("[{a: '${schema.spec.name}'}, {b: '${schema.spec.count}'}]", {"type": "array", "items": obj(a={"type": "string"}, b={"type": "integer"})}),
        ("['${schema.spec.name}', '${schema.spec.count}']", {"type": "array", "items": {"type": "integer"}}),
        ("{a: '${schema.spec.name}', empty: {}, none: []}", obj(a={"type": "string"})),
        ("{my-key: '${schema.spec.name}', a.b: '${schema.spec.count}'}", {"type": "object", "properties": {"my-key": {"type": "string"}, "a.b": {"type": "integer"}}}),
    ],
)  # fmt: skip
def test_the_schema_of_a_leaf(compile, status, schema):
    built = compile("[]", spec=SPEC, status=f"{{field: {status}}}")
    assert [str(p) for p in built.problems] == []
    root = built.crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["status"]["properties"]
    assert root["field"] == schema


def test_a_timestamp_is_text_with_a_format(compile):
    built = compile("[]", status="{since: '${schema.metadata.creationTimestamp}'}")
    root = built.crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["status"]["properties"]
    assert (root["since"]["type"], root["since"]["format"]) == ("string", "date-time")


def test_a_refused_leaf_is_left_open(compile):
    built = compile("[]", spec=SPEC, status="{good: '${schema.spec.name}', bad: '${schema.spec.nme}'}")
    root = built.crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["status"]["properties"]
    assert (root["good"], root["bad"]) == ({"type": "string"}, ANY)


def test_a_status_without_leaves_has_no_fields():
    assert infer_schema({}, lambda path: ANY) == obj()
    assert infer_schema({"a": {}, "b": [{}]}, lambda path: ANY) == obj()


def test_objects_in_a_list_share_the_fields_of_all():
    template = {"list": [{"a": {"x": "e"}}, {"a": {"y": "e"}, "b": "e"}]}
    schema = infer_schema(template, lambda path: {"type": path[-1]})
    assert schema["properties"]["list"]["items"] == obj(a=obj(x={"type": "x"}, y={"type": "y"}), b={"type": "b"})
