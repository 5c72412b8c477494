"""Field paths in text and data."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kroasync.model import paths

NAMES = st.text(alphabet=st.characters(codec="utf-8", exclude_characters='"['), max_size=8)


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("", ()),
        ("data.A", ("data", "A")),
        ("spec.containers[0]", ("spec", "containers", 0)),
        ('spec["my.field"].items[0]["other.field"]', ("spec", "my.field", "items", 0, "other.field")),
        ("3dmatrix[0][1][2]", ("3dmatrix", 0, 1, 2)),
        ('["my.field"].salut', ("my.field", "salut")),
        ('a[42][""][""]', ("a", 42, "", "")),
        ("metadata.labels.app/x", ("metadata", "labels", "app/x")),
        ("[3]", (3,)),
    ],
)
def test_text_and_path_are_each_others_inverse(text: str, path: paths.Path) -> None:
    assert paths.parse(text) == path
    assert paths.build(path) == text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a..b", "empty field name at position 2"),
        (".a", "empty field name at position 0"),
        ("a[x]", "invalid array index 'x' at position 1"),
        ("a[-1]", "invalid array index '-1' at position 1"),
        ("a[" + "9" * 5000 + "]", "invalid array index"),
        ("a[1", "unterminated array index at position 1"),
        ('a["b', "unterminated quoted string starting at position 1"),
        ('a["b"', "expected closing bracket after quote at position 5"),
    ],
)
def test_bad_text_is_refused_with_its_position(text: str, message: str) -> None:
    with pytest.raises(paths.PathError) as caught:
        paths.parse(text)
    assert message in str(caught.value)


@given(st.lists(NAMES | st.integers(0, 1000), max_size=6))
def test_parse_undoes_build(path: list[str | int]) -> None:
    assert paths.parse(paths.build(path)) == tuple(path)


@given(st.text(max_size=40))
def test_any_text_parses_or_raises_path_error(text: str) -> None:
    try:
        parsed = paths.parse(text)
    except paths.PathError:
        return
    assert paths.parse(paths.build(parsed)) == parsed


def test_get_and_has_tell_null_from_missing() -> None:
    obj = {"a": [{"b": None}]}
    assert paths.get(obj, ("a", 0, "b"), "x") is None
    assert paths.get(obj, ("a", 1, "b"), "x") == "x"
    assert paths.has(obj, ("a", 0, "b"))
    assert not paths.has(obj, ("a", -1))
    assert not paths.has(obj, ("a", "b"))


def test_set_at_copies_only_the_way_to_the_change() -> None:
    obj = {"a": {"b": [1, 2]}, "c": {"d": 1}}
    changed = paths.set_at(obj, ("a", "b", 1), 9)
    assert changed == {"a": {"b": [1, 9]}, "c": {"d": 1}}
    assert obj == {"a": {"b": [1, 2]}, "c": {"d": 1}}
    assert changed["c"] is obj["c"]


def test_set_at_makes_parents_and_appends() -> None:
    assert paths.set_at({}, ("a", "b", 0, "c"), 1) == {"a": {"b": [{"c": 1}]}}
    assert paths.set_at({"a": [1]}, ("a", 1), 2) == {"a": [1, 2]}


@pytest.mark.parametrize("path", [("a", "b"), ("l", 5), ("l", "x")])
def test_set_at_refuses_a_path_that_does_not_fit(path: paths.Path) -> None:
    with pytest.raises(paths.PathError):
        paths.set_at({"a": 1, "l": []}, path, 1)


def test_delete_at_removes_from_a_copy() -> None:
    obj = {"a": [{"b": 1, "c": 2}, 3]}
    assert paths.delete_at(obj, ("a", 0, "b")) == {"a": [{"c": 2}, 3]}
    assert paths.delete_at(obj, ("a", 1)) == {"a": [{"b": 1, "c": 2}]}
    assert paths.delete_at(obj, ("x", "y")) is obj
    assert obj == {"a": [{"b": 1, "c": 2}, 3]}


def test_leaves_come_in_document_order() -> None:
    obj = {"b": [1, {"c": []}], "a": {}}
    assert list(paths.leaves(obj)) == [(("b", 0), 1), (("b", 1, "c"), []), (("a",), {})]


def test_depth_is_measured_without_recursion() -> None:
    deep: object = 1
    for _ in range(50_000):
        deep = [deep]
    assert paths.nests_deeper(deep, 100)
    assert not paths.nests_deeper([[1]], 2)
    assert paths.nests_deeper([[1]], 1)
