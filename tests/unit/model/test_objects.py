"""Facts about objects that every layer reads."""

from typing import Any

import pytest

from kroasync.model.objects import is_same


def nested(depth: int) -> Any:
    found: Any = 1
    for _ in range(depth):
        found = [found]
    return found


@pytest.mark.parametrize(
    ("a", "b", "same"),
    [
        (3, 3.0, True),
        (1, True, False),
        (0, False, False),
        ({"a": [1, {"b": None}]}, {"a": [1.0, {"b": None}]}, True),
        ([1], [1, 2], False),
        ({"a": 1}, {"b": 1}, False),
        ("1", 1, False),
        ({}, [], False),
        (None, {}, False),
        ([{"a": [0]}], [{"a": [False]}], False),
        ({"a": {"b": True}}, {"a": {"b": 1}}, False),
        ({"a": None, "b": "1"}, {"b": "1", "a": None}, True),
    ],
)
def test_equality_is_that_of_json(a: Any, b: Any, same: bool) -> None:
    assert is_same(a, b) is same


def test_data_too_deep_to_compare_is_different() -> None:
    assert not is_same(nested(100_000), nested(100_000))
