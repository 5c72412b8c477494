"""Label selectors: the API's string form, errors, and matching."""

import pytest

from kroasync.engine.selectors import SelectorError, matches, selector_text


@pytest.mark.parametrize(
    ("selector", "text"),
    [
        ({}, ""),
        ({"matchLabels": None, "matchExpressions": None}, ""),
        ({"matchLabels": {}, "matchExpressions": []}, ""),
        ({"matchLabels": {"b": "2", "a": "1"}}, "a=1,b=2"),
        ({"matchLabels": {"a": ""}}, "a="),
        ({"matchExpressions": [{"key": "x", "operator": "In", "values": ["b", "a"]}]}, "x in (a,b)"),
        ({"matchExpressions": [{"key": "x", "operator": "NotIn", "values": ["a"]}]}, "x notin (a)"),
        ({"matchExpressions": [{"key": "example.com/x", "operator": "Exists"}]}, "example.com/x"),
        ({"matchExpressions": [{"key": "x", "operator": "DoesNotExist"}]}, "!x"),
        (
            {"matchLabels": {"z": "1"}, "matchExpressions": [{"key": "a", "operator": "Exists"}]},
            "a,z=1",
        ),
    ],
)
def test_text_is_the_one_of_the_api(selector, text):
    assert selector_text(selector) == text


@pytest.mark.parametrize(
    ("selector", "message"),
    [
        ({"matchLabels": {"a b": "1"}}, "not a valid label key"),
        ({"matchLabels": {"/a": "1"}}, "not a valid label key"),
        ({"matchLabels": {"a": "b c"}}, "not a valid label value"),
        ({"matchLabels": {"a": 1}}, "not a valid label value"),
        ({"matchLabels": []}, "matchLabels: expected an object, found a list"),
        ({"matchLabels": ""}, "matchLabels: expected an object, found a string"),
        ({"matchLabels": False}, "matchLabels: expected an object, found a boolean"),
        ({"matchLabels": ["a"]}, "matchLabels: expected an object, found a list"),
        ({"matchExpressions": {}}, "matchExpressions: expected a list, found an object"),
        ({"matchExpressions": ["a"]}, "expected an object, found a string"),
        ({"matchLabel": {"a": "b"}}, 'unknown field "matchLabel", expected matchLabels or matchExpressions'),
        ({"matchLabels": {"a": "b"}, "extra": {}}, 'unknown field "extra"'),
        ({"app": "web"}, 'unknown field "app"'),
        (None, "expected an object with matchLabels or matchExpressions, found null"),
        ("", "found a string"),
        ("app=web", "found a string"),
        ([], "found a list"),
        (0, "found a number"),
        ({"matchExpressions": [{"key": "a", "operator": "Near", "values": ["x"]}]}, "not a valid label selector"),
        ({"matchExpressions": [{"key": "a", "operator": "In"}]}, "must not be empty"),
        (
            {"matchExpressions": [{"key": "a", "operator": "In", "values": "x"}]},
            "values: expected a list, found a string",
        ),
        ({"matchExpressions": [{"key": "a", "operator": "Exists", "values": ["x"]}]}, "must be empty"),
        ({"matchExpressions": [{"operator": "Exists"}]}, "not a valid label key"),
    ],
)
def test_bad_selectors_are_refused(selector, message):
    with pytest.raises(SelectorError, match=message):
        selector_text(selector)


@pytest.mark.parametrize(
    ("selector", "labels", "expected"),
    [
        ("", {}, True),
        ("a=1", {"a": "1"}, True),
        ("a=1", {"a": "2"}, False),
        ("a=1,b=2", {"a": "1"}, False),
        ("x in (a,b)", {"x": "b"}, True),
        ("x in (a,b)", {}, False),
        ("x notin (a,b)", {}, True),
        ("x notin (a,b)", {"x": "a"}, False),
        ("x", {"x": ""}, True),
        ("x", {}, False),
        ("!x", {}, True),
        ("!x,y=1", {"x": "1", "y": "1"}, False),
        ("a!=1", {"a": "2"}, True),
    ],
)
def test_matching(selector, labels, expected):
    assert matches(selector, labels) is expected


def test_text_that_is_no_selector_is_refused_by_matching():
    with pytest.raises(SelectorError):
        matches("(((", {})
