"""Status writes: the smallest merge patch, bound to the resourceVersion that was read."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kroasync.controller.status_writes import difference, write_status
from kroasync.kube.api_errors import ConflictError
from kroasync.model.names import MANAGER_STATUS
from tests.unit.controller.samples import StubClient, app, app_key

SCALARS = st.none() | st.booleans() | st.integers(-2, 2) | st.sampled_from(["", "a"])
# A merge patch cannot set a field to null, and a status has no such fields.
SOLID = SCALARS.filter(lambda value: value is not None)
JSON = st.recursive(
    SOLID, lambda below: st.lists(below, max_size=2) | st.dictionaries(st.sampled_from("abc"), below, max_size=3)
)
OBJECTS = st.dictionaries(st.sampled_from("abc"), JSON, max_size=3)


def merged(target: Any, patch: Any) -> Any:
    """RFC 7386, section 2."""
    if not isinstance(patch, dict):
        return patch
    found = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            found.pop(key, None)
        else:
            found[key] = merged(found.get(key), value)
    return found


def same(one: Any, other: Any) -> bool:
    """Equal as JSON: 1 and true differ."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[k], other[k]) for k in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


@given(OBJECTS, OBJECTS)
def test_the_patch_turns_the_old_into_the_new(old: dict[str, Any], new: dict[str, Any]) -> None:
    assert same(merged(old, difference(old, new)), new)


@given(OBJECTS)
def test_equal_objects_need_no_patch(obj: dict[str, Any]) -> None:
    assert difference(obj, obj) == {}


@pytest.mark.parametrize(
    ("old", "new", "patch"),
    [
        ({"a": 1, "b": {"c": 1, "d": 2}}, {"a": 1, "b": {"c": 1, "d": 3}}, {"b": {"d": 3}}),
        ({"a": 1, "b": 2}, {"a": 1}, {"b": None}),
        ({"a": [1, 2]}, {"a": [1]}, {"a": [1]}),
        ({"a": {"x": 1}}, {"a": {}}, {"a": {"x": None}}),
        ({"a": True}, {"a": 1}, {"a": 1}),
        ({"a": [True]}, {"a": [1]}, {"a": [1]}),
        ({"a": "x"}, {"a": {}}, {"a": {}}),
        ({"a": None}, {}, {}),
        ({"a": [1.0]}, {"a": [1]}, {}),
        ({}, {"a": {}}, {"a": {}}),
    ],
)
def test_patches_are_small(old: dict[str, Any], new: dict[str, Any], patch: dict[str, Any]) -> None:
    assert same(difference(old, new), patch)


async def test_a_status_is_written_with_the_version_it_was_taken_from() -> None:
    client = StubClient({"merge_patch": [app(version=8)]})
    seen = app(version=7, status={"state": "IN_PROGRESS"})
    answer = await write_status(client, app_key(), seen, {"state": "ACTIVE"})  # type: ignore[arg-type]
    assert answer == app(version=8)
    body = {"metadata": {"resourceVersion": "7"}, "status": {"state": "ACTIVE"}}
    assert client.asked == [("merge_patch", app_key(), body, MANAGER_STATUS, "status")]


async def test_an_unchanged_status_is_not_written() -> None:
    client = StubClient()
    seen = app(version=7, status={"state": "ACTIVE"})
    assert await write_status(client, app_key(), seen, {"state": "ACTIVE"}) is None  # type: ignore[arg-type]
    assert client.asked == []


async def test_a_conflict_is_the_callers_business() -> None:
    client = StubClient({"merge_patch": [ConflictError("changed", status=409)]})
    with pytest.raises(ConflictError):
        await write_status(client, app_key(), app(version=7), {"state": "ACTIVE"})  # type: ignore[arg-type]
