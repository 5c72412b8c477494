"""Rules for the names of instances: which markers there are, and which instances do not fit."""

from dataclasses import replace

import pytest

from kroasync.model.definition import Definition
from kroasync.schema import name_rules
from kroasync.schema.instance_checks import check_instance

DEFINITION = Definition(api_kind="ResourceGraphDefinition", name="app", kind="App", api_version="v1")


def test_all_markers_of_a_name() -> None:
    text = r'minLength=3 maxLength=30 pattern="^[a-z]+$" enum="abc,def" validation="self != \"def\""'
    assert name_rules.read(text) == (
        {
            "type": "string",
            "minLength": 3,
            "maxLength": 30,
            "pattern": "^[a-z]+$",
            "enum": ["abc", "def"],
            "x-kubernetes-validations": [{"rule": 'self != "def"', "message": "validation failed"}],
        },
        (),
    )


@pytest.mark.parametrize("text", ["", "  "])
def test_without_markers_any_string_is_a_name(text: str) -> None:
    assert name_rules.read(text) == ({"type": "string"}, ())
    assert name_rules.metadata_schema(text) == {"type": "object"}


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("string | maxLength=30", "invalid marker key"),
        ("string | maxLength=30", "a type and markers other than minLength, maxLength, pattern, enum, validation"),
        ("string", "a type and markers other than"),
        ("required", "not supported"),
        ("longest=30", "invalid marker key"),
        ("longest=30", "not supported"),
        ("required=true", "not supported"),
        ('default="a"', "not supported"),
        ('description="a"', "not supported"),
        ("minimum=3", "not supported"),
        ("immutable=true", "not supported"),
        ("listType=set", "not supported"),
        ("maxLength=abc", "failed to parse maxLength"),
        ("minLength=1.5", "failed to parse minLength"),
        ("minLength=-1", "minLength must not be negative"),
        ("maxLength=-1", "maxLength must not be negative"),
        ("minLength=5 maxLength=4", "must not exceed"),
        ('pattern="["', "invalid pattern regex"),
        ('pattern=""', "cannot be empty"),
        ('enum=""', "empty enum values"),
        ('validation=" "', "the rule is empty"),
        ("maxLength", "without a value"),
        ('pattern="a', "unclosed quote"),
        ('pattern="' + "a" * 20_000 + '"', "expected at most 16384 characters"),
    ],
)
def test_wrong_markers(text: str, part: str) -> None:
    schema, errors = name_rules.read(text)
    assert [part in error for error in errors] == [True], errors
    assert schema == {"type": "string"}


@pytest.mark.parametrize(
    ("rules", "metadata", "where"),
    [
        ("minLength=3", {"name": "ab"}, ["metadata.name"]),
        ("maxLength=3", {"name": "abcd"}, ["metadata.name"]),
        ('pattern="^[a-z]+$"', {"name": "a1"}, ["metadata.name"]),
        ('enum="a,b"', {"name": "c"}, ["metadata.name"]),
        ('enum="a,b"', {"name": "b"}, []),
        # The API server makes the name.
        ('enum="a,b"', {"generateName": "c-"}, []),
        ("", {"name": "a"}, []),
    ],
)
def test_an_instance_with_a_name_that_does_not_fit(rules: str, metadata: dict[str, str], where: list[str]) -> None:
    definition = replace(DEFINITION, name_validation=rules)
    found = check_instance({"metadata": metadata, "spec": {}}, definition, {"type": "object"})
    assert [problem.where for problem in found] == where
