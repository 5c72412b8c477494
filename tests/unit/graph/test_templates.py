"""Extraction of `${...}`, string templates, and literals against a schema."""

# ruff: noqa: E501  (a case is one line of its table)

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kroasync.graph.templates import (
    NESTED,
    NOT_STANDALONE,
    ExtractionError,
    UnterminatedError,
    extract,
    quoted,
    read_schemaless,
    read_standalone,
    read_string,
    read_template,
)
from kroasync.model import paths


@pytest.mark.parametrize(
    ("text", "found", "is_standalone"),
    [
        ("${resource.field}", ["resource.field"], True),
        ("prefix-${resource.field}", ["resource.field"], False),
        ("${resource.field}-suffix", ["resource.field"], False),
        ("${r1.field}-middle-${r2.field}", ["r1.field", "r2.field"], False),
        ("  ${a}  ${b}  ", ["a", "b"], False),
        ("${resource.map['key']}", ["resource.map['key']"], True),
        ("${list[0]}", ["list[0]"], True),
        ("${a == 'v' && b > 5}", ["a == 'v' && b > 5"], True),
        ("${a\n+\nb}", ["a\n+\nb"], True),
        (r'${a == "say \"hi\" }"}', [r'a == "say \"hi\" }"'], True),
        ("plain", [], None),
        ("", [], None),
        ('${outer("${inner}")}', ['outer("${inner}")'], True),
        ('${"text with }} inside"}', ['"text with }} inside"'], True),
        ('${"text with { inside"}', ['"text with { inside"'], True),
        (
            "${true ? {'key': 'value'} : {'key': 'value2'}}",
            ["true ? {'key': 'value'} : {'key': 'value2'}"],
            True,
        ),
        ("${c ? v : {}}", ["c ? v : {}"], True),
        ("${c ? {} : {}}", ["c ? {} : {}"], True),
        ("${hello + {pop}out-here}", ["hello + {pop}out-here"], True),
        ("${}", [""], True),
        ('${"${X}"}', ['"${X}"'], True),
        # Single quotes, where a parser that knows only double quotes finds no expression.
        ("${a == '}' ? 'x' : 'y'}", ["a == '}' ? 'x' : 'y'"], True),
        ("${a.split('\"')}", ["a.split('\"')"], True),
        ("${'{'}", ["'{'"], True),
        ("it's ${a} isn't it", ["a"], False),
    ],
)
def test_expressions_of_a_string(text, found, is_standalone):
    assert [match.text for match in extract(text)] == found
    source = read_string(text)
    assert (source and source.is_standalone) == is_standalone
    for match in extract(text):
        assert text[match.start : match.end] == f"${{{match.text}}}"


@pytest.mark.parametrize(
    "text",
    [
        "${outer(${inner})} ${outer}",
        "${incomplete1 ${incomplete2",
        "${incomplete ${complete}",
        "${outer(${inner})}",
    ],
)
def test_nested_expressions_are_refused(text):
    with pytest.raises(ExtractionError, match=NESTED):
        extract(text)


@pytest.mark.parametrize(
    ("text", "offset"),
    [
        ("${incomplete", 0),
        ("${", 0),
        ("text ${", 5),
        ("${complete} ${complete2} ${incomplete", 25),
        ('${"}"', 0),
        ("${ {'a': 1}", 0),
        ("$${a", 1),
        ("${a.b('x')", 0),
    ],
)
def test_an_expression_without_an_end_is_refused_at_its_place(text, offset):
    for read in (extract, read_standalone):
        with pytest.raises(UnterminatedError) as error:
            read(text)
        assert error.value.offset == offset
        assert 'expected a closing }, found only "${' in str(error.value)
        assert 'to write a literal ${, use ${"${"}' in str(error.value)


def test_of_a_long_text_without_an_end_the_beginning_is_shown():
    with pytest.raises(UnterminatedError) as error:
        extract("${" + "a" * 1_000)
    assert '"${' + "a" * 58 + '..."' in str(error.value)


def test_a_literal_opening_is_written_as_the_message_says():
    assert read_string('${"${"}NAME}').cel == '("${") + "NAME}"'


@pytest.mark.parametrize("text", ["${hello}${goodbye}", "${hello}-world", "hello-${world}", "plain", " ${a}", "${a}\n"])
def test_a_condition_is_exactly_one_expression(text):
    with pytest.raises(ExtractionError) as error:
        read_standalone(text)
    assert str(error.value) == NOT_STANDALONE


def test_many_openings_without_end_finish_with_an_error():
    with pytest.raises(ExtractionError, match="too many"):
        extract('${"' * 60_000)


def test_a_short_text_is_not_looked_at_again_and_again():
    """A definition has room for a thousand of them, each of which would take 50 ms."""
    with pytest.raises(ExtractionError, match="too many"):
        extract('"' + "${'}'{'''{'" * 100 + '"')


@pytest.mark.parametrize(
    ("text", "cel"),
    [
        ("prefix-${expr}", '"prefix-" + (expr)'),
        ("${expr}-suffix", '(expr) + "-suffix"'),
        ("a-${expr1}-b-${expr2}-c", '"a-" + (expr1) + "-b-" + (expr2) + "-c"'),
        ("${expr1}${expr2}", "(expr1) + (expr2)"),
        ('say "hello" ${expr}', '"say \\"hello\\" " + (expr)'),
        ("tab\t\x01\u200b${e}", '"tab\\t\\x01\\u200b" + (e)'),
    ],
)
def test_a_string_template_is_one_concatenation(text, cel):
    source = read_string(text)
    assert source.cel == cel
    assert source.text == text


def test_positions_lead_back_to_the_author():
    text = 'say "x" ${first} and ${second + 1}'
    source = read_string(text)
    assert source.author_offset(source.cel.index("first") + 2) == text.index("first") + 2
    assert source.author_offset(source.cel.index("second")) == text.index("second")
    assert source.author_offset(source.cel.index('" and')) == text.index("second")
    assert source.author_offset(0) == text.index("first")
    assert read_string("${abc}").author_offset(1) == 3


@given(st.text())
def test_a_quoted_text_is_one_line_of_printable_characters(text):
    literal = quoted(text)
    assert literal.isprintable()
    assert literal.startswith('"')
    assert literal.endswith('"')


# Texts without an expression, and possible parts of an expression: words, quoted texts with braces, maps.
_AROUND = st.text(alphabet="ab{}\"'\\ \n", max_size=8)
_INSIDE = st.lists(
    st.sampled_from(["a", " + ", "b.c[0]", '"}"', "'x'", "{'k': 1}", r'"\"}"', '"${x}"', "\n"]), max_size=5
).map("".join)


@given(_AROUND, st.lists(st.tuples(_INSIDE, _AROUND), max_size=4))
def test_extraction_finds_what_was_put_in(before, parts):
    text = before + "".join(f"${{{expression}}}{after}" for expression, after in parts)
    assert [match.text for match in extract(text)] == [expression for expression, _ in parts]


@given(st.text(alphabet="ab${}\"'\\ \n", max_size=60))
def test_extraction_of_any_text_ends_and_says_where_it_found_what(text):
    try:
        found = extract(text)
    except ExtractionError:
        return
    end = 0
    for match in found:
        assert match.start >= end
        assert text[match.start : match.end] == f"${{{match.text}}}"
        end = match.end


_TREES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(alphabet='ab.[]"', max_size=4)
    | st.just("x-${e}")
    | st.just("${e}"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(alphabet="ab.", max_size=3), inner, max_size=3),
    max_leaves=15,
)


@given(_TREES)
def test_every_expression_of_a_tree_is_found_at_its_path(tree):
    found = {field.path: field.source.text for field in read_schemaless(tree).fields}
    leaves = dict(paths.leaves(tree))
    assert found == {
        path: "e" if value == "${e}" else value
        for path, value in leaves.items()
        if isinstance(value, str) and "${e}" in value
    }
    assert all(paths.get(tree, path) == leaves[path] for path in found)


STRING, INTEGER, NUMBER, BOOLEAN = ({"type": name} for name in ("string", "integer", "number", "boolean"))
PRESERVE = {"x-kubernetes-preserve-unknown-fields": True}
INT_OR_STRING = {"x-kubernetes-int-or-string": True}


def obj(**properties):
    return {"type": "object", "properties": properties}


def arr(items):
    return {"type": "array", "items": items}


@pytest.mark.parametrize(
    ("schema", "value", "messages"),
    [
        (obj(f=INTEGER), {"f": "a"}, ["expected integer type for path f, got string"]),
        (obj(f=STRING), {"f": 1}, ["expected string type for path f, got integer"]),
        (obj(f=NUMBER), {"f": True}, ["expected number type for path f, got boolean"]),
        (obj(f=arr(STRING)), {"f": {"a": 1}}, ["expected array type for path f, got object"]),
        (obj(f=obj(a=STRING)), {"f": ["a"]}, ["expected object type for path f, got array"]),
        (obj(a=obj(b=obj(c=arr(INTEGER)))), {"a": {"b": {"c": [1, "x"]}}}, ["expected integer type for path a.b.c[1], got string"]),
        (obj(f=INTEGER), {"f": 1.0}, ["expected integer type for path f, got float64"]),
        (obj(f=NUMBER), {"f": 1}, []),
        (obj(f=NUMBER), {"f": 1.5}, []),
        (obj(myField=INT_OR_STRING), {"myField": True}, ["expected string or integer type for path myField, got boolean"]),
        (obj(myField={"oneOf": [STRING, INTEGER]}), {"myField": True}, ["expected string or integer type for path myField, got boolean"]),
        (obj(myField={"anyOf": [STRING, INTEGER]}), {"myField": True}, ["expected string or integer type for path myField, got boolean"]),
        (obj(f={"format": "int-or-string", "oneOf": [INTEGER, STRING]}), {"f": "80%"}, []),
        (obj(f={"oneOf": [STRING, NUMBER]}), {"f": 2}, []),
        (obj(f={"oneOf": [{"type": "string", "required": ["x"]}, {"type": "string"}, {}]}), {"f": {}}, []),
        (obj(name=STRING), {"surname": "x"}, ["error getting field schema for path .surname: schema not found for field surname"]),
        (obj(a=obj(name=STRING)), {"a": {"nam": "x"}}, ["error getting field schema for path a.nam: schema not found for field nam"]),
        ({}, {"name": "x"}, ["schema at path  has no valid type, OneOf, AnyOf, or AdditionalProperties"]),
        (obj(name={"description": "?"}), {"name": "x"}, ["schema at path name has no valid type, OneOf, AnyOf, or AdditionalProperties"]),
        ({"type": "array"}, ["a"], ["invalid array schema for path : neither Items.Schema nor Properties are defined"]),
        (PRESERVE, {"a": {"b": [1, "${x}"]}}, []),
        ({**obj(a=INTEGER), **PRESERVE}, {"a": "no matter", "b": 2}, []),
        (obj(a={**PRESERVE, "oneOf": [STRING, {"type": "object"}]}), {"a": {"b": 1}}, []),
        (obj(f=INTEGER, g=BOOLEAN, h=arr(INTEGER), i=obj()), {"f": "${a}", "g": "${b}", "h": "${c}", "i": "${d}"}, []),
        (obj(f=INTEGER), {"f": "x${a}"}, ["expected integer type for path f, got string"]),
        (obj(f=INT_OR_STRING), {"f": "x${a}"}, []),
        (obj(f=INTEGER), {"f": None}, []),
        # Untyped fields and values accept anything.
        ({"type": "object", "additionalProperties": True}, {"a": {"b": 1}}, []),
        (obj(f={}), {"f": {"b": 1}}, []),
        ({"type": "object", "additionalProperties": STRING}, {"a": 1, "b": "x"}, ["expected string type for path a, got integer"]),
        # Every error is found, not only the first.
        (obj(f=INTEGER, g=STRING), {"f": "a", "g": 1, "h": 2}, ["expected integer type for path f, got string", "expected string type for path g, got integer", "error getting field schema for path .h: schema not found for field h"]),
    ],
)  # fmt: skip
def test_literals_against_a_schema(schema, value, messages):
    assert [fault.message for fault in read_template(value, schema).faults] == messages


def test_expressions_below_an_unknown_field_are_still_found():
    found = read_template({"spce": {"a": "${x.y}"}}, obj(spec=obj()))
    assert [field.path for field in found.fields] == [("spce", "a")]
    assert found.faults[0].suggestion == "spec"
