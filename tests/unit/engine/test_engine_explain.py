"""Explains with values why an expression is false."""

import pytest

from kroasync.cel import Env
from kroasync.engine.explain import Explainer, described, shown
from kroasync.engine.scope import Compiled
from kroasync.graph.nodes import Expression

DATA = {"d": {"n": 1, "s": "x", "l": [1, 2], "m": {"a": 1}, "zero": 0}}


def why(text, *, secret=False):
    program = Env().program(text, check=False)
    return Explainer().why_false(Compiled.of(Expression(text=text, program=program), secret=secret), DATA)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("d.n == 3", "1 == 3 is false"),
        ("(d.n + 1) * 2 == 5", "4 == 5 is false"),
        ("((d.n)) > (d.n + 1)", "1 > 2 is false"),
        ("d.s != 'x'", '"x" != "x" is false'),
        ("size(d.l.filter(i, i > 1)) >= 2", "1 >= 2 is false"),
        ("d.?missing.orValue(0) <= -1", "0 <= -1 is false"),
        ("3 in d.l", "3 in [1,2] is false"),
        ("d.m == {}", '{"a":1} == {} is false'),
        ("d.n == 1 && d.s == 'y'", '"x" == "y" is false'),
        ("d.n == 1 && (d.s == 'x' && d.n < 0)", "1 < 0 is false"),
        ("d.n == 1 && d.missing.x == 2", "is false"),
        # Expressions without a comparison at the top.
        ("has(d.missing)", "is false"),
        ("d.n == 2 || d.n == 3", "is false"),
        ("!(d.n == 1)", "is false"),
        ("d.n == 1 ? false : true", "is false"),
        ("d.l.exists(i, i == 3)", "is false"),
    ],
)
def test_the_values_compared_are_shown(text, expected):
    assert why(text) == expected


def test_values_of_secrets_are_described():
    assert why("d.s == 'y'", secret=True) == '<string, 1 characters> == "y" is false'
    assert why("d.n == 3", secret=True) == "<int> == 3 is false"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("abc", "<string, 3 characters>"),
        (b"abc", "<bytes, 3>"),
        ([1], "<list, 1 items>"),
        ({}, "<map, 0 entries>"),
        (1.5, "<float>"),
        (None, "<NoneType>"),
    ],
)
def test_descriptions_have_type_and_length_only(value, text):
    assert described(value) == text


def test_long_values_are_cut_and_values_without_json_described():
    assert len(shown("x" * 500)) == 80
    assert shown(b"abc") == "<bytes, 3>"
    assert shown("ü") == '"ü"'
