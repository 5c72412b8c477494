"""What differs between two states of an object."""

from typing import Any

import pytest

from kroasync.engine.difference import ABSENT, difference, shown, without
from kroasync.model.objects import Obj


def obj(spec: Any = None, **meta: Any) -> Obj:
    return {"apiVersion": "v1", "kind": "Thing", "metadata": {"name": "a", **meta}, "spec": spec}


def told(before: Obj, after: Obj, **options: Any) -> list[tuple[str, Any, Any]]:
    return [(one.path, one.before, one.after) for one in difference(before, after, **options)]


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ({"a": 1}, {"a": 1}, []),
        ({"a": 1}, {"a": 2}, [("spec.a", 1, 2)]),
        ({"a": 1}, {}, [("spec.a", 1, ABSENT)]),
        ({}, {"a": None}, [("spec.a", ABSENT, None)]),
        # In Python these are equal.
        ({"a": 1}, {"a": True}, [("spec.a", 1, True)]),
        ({"a": 1}, {"a": 1.0}, [("spec.a", 1, 1.0)]),
        ({"a": {"b": {"c": 1}}}, {"a": {"b": {"c": 2}}}, [("spec.a.b.c", 1, 2)]),
        ({"a": {"b": 1}}, {"a": 1}, [("spec.a", {"b": 1}, 1)]),
        # Elements are found by their names, wherever they are.
        (
            {"c": [{"name": "x", "v": 1}, {"name": "y", "v": 1}]},
            {"c": [{"name": "y", "v": 2}, {"name": "x", "v": 1}]},
            [("spec.c[name=y].v", 1, 2)],
        ),
        ({"c": [{"name": "x"}]}, {"c": []}, [("spec.c[name=x]", {"name": "x"}, ABSENT)]),
        (
            {"p": [{"port": 80}]},
            {"p": [{"port": 81}]},
            [("spec.p[port=80]", {"port": 80}, ABSENT), ("spec.p[port=81]", ABSENT, {"port": 81})],
        ),
        # Without names, or with one twice, a list is one value.
        ({"c": [1, 2]}, {"c": [2, 1]}, [("spec.c", [1, 2], [2, 1])]),
        (
            {"c": [{"name": "x"}, {"name": "x"}]},
            {"c": [{"name": "x"}]},
            [("spec.c", [{"name": "x"}] * 2, [{"name": "x"}])],
        ),
    ],
)
def test_fields_differ(before: Any, after: Any, expected: list[Any]) -> None:
    assert told(obj(before), obj(after)) == expected


def test_what_the_server_and_the_controller_keep_is_no_difference() -> None:
    labels = {"kro.run/kro-version": "1", "a": "b"}
    notes = {"kubectl.kubernetes.io/last-applied-configuration": "{}"}
    before = {**obj(resourceVersion="1", uid="u", generation=1, managedFields=[{}], labels=labels), "status": {"a": 1}}
    after = {**obj(resourceVersion="2", generation=2, labels={**labels, "kro.run/kro-version": "2"}, annotations=notes)}
    assert told(before, after) == []


def test_ignored_paths_are_left_out_with_all_below() -> None:
    before = obj({"a": {"b": 1}, "ab": 1}, annotations={"deploy/time": "1"})
    after = obj({"a": {"b": 2}, "ab": 2}, annotations={"deploy/time": "2"})
    ignored = ("spec.a", "metadata.annotations[deploy/time]")
    assert [path for path, *_ in told(before, after, ignored=ignored)] == ["spec.ab"]
    assert without(before, ignored) == {**obj({"ab": 1}), "metadata": {"name": "a", "annotations": {}}}


def test_a_route_is_written_as_people_write_it() -> None:
    route = ("metadata", "annotations", "a.b/c", "", ("name", "x"))
    assert shown(route) == "metadata.annotations[a.b/c][][name=x]"
