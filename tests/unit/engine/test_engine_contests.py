"""Which declared fields other managers own, and declarations without some of their fields."""

import sys
from collections.abc import Callable
from typing import Any

import pytest

from kroasync.engine.contests import Contest, contests, owner_of, without
from kroasync.model.objects import Obj

OURS = "ours"


def entry(manager: str, fields: Any, **more: Any) -> Obj:
    return {"manager": manager, "operation": "Update", "fieldsV1": fields, **more}


def live(*entries: Any, **content: Any) -> Obj:
    return {"metadata": {"name": "x", "managedFields": list(entries)}, **content}


def calls_of(function: Callable[[], object]) -> int:
    """How many function calls it makes."""
    calls = 0

    def count(_frame: object, event: str, _arg: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    sys.setprofile(count)
    try:
        function()
    finally:
        sys.setprofile(None)
    return calls


def named(found: tuple[Contest, ...]) -> list[tuple[str, str]]:
    return [(contest.field, contest.manager) for contest in found]


def test_a_field_of_another_manager_is_contested_with_both_values() -> None:
    obj = live(entry("hpa", {"f:spec": {"f:replicas": {}}}), spec={"replicas": 5})
    found = contests(obj, {"spec": {"replicas": 3, "paused": True}}, OURS)
    assert found == (Contest(("spec", "replicas"), ".spec.replicas", "hpa", 3, 5, False, True),)


def test_a_field_of_both_says_so() -> None:
    fields = {"f:spec": {"f:replicas": {}}}
    found = contests(
        live(entry(OURS, fields), entry("hpa", fields), spec={"replicas": 3}), {"spec": {"replicas": 3}}, OURS
    )
    assert [(contest.is_ours, contest.differs) for contest in found] == [(True, False)]


@pytest.mark.parametrize(
    ("more", "count"), [({"subresource": "scale"}, 1), ({"subresource": "status"}, 0), ({"operation": "Apply"}, 1)]
)
def test_all_subresources_but_the_status_count(more: Obj, count: int) -> None:
    obj = live(entry("hpa", {"f:spec": {"f:replicas": {}}}, **more), spec={"replicas": 5})
    assert len(contests(obj, {"spec": {"replicas": 3}}, OURS)) == count


def test_a_manager_with_several_entries_is_named_once_and_two_managers_both() -> None:
    fields = {"f:spec": {"f:replicas": {}}}
    obj = live(entry("a", fields), entry("b", fields), entry("a", fields, subresource="scale"), spec={"replicas": 5})
    assert named(contests(obj, {"spec": {"replicas": 3}}, OURS)) == [(".spec.replicas", "a"), (".spec.replicas", "b")]


CONTAINERS = {
    "f:containers": {
        'k:{"name":"web"}': {
            ".": {},
            "f:name": {},
            "f:image": {},
            "f:ports": {'k:{"containerPort":80,"protocol":"TCP"}': {".": {}, "f:containerPort": {}, "f:hostPort": {}}},
        },
        'k:{"name":"sidecar"}': {".": {}, "f:name": {}, "f:image": {}},
    }
}


def test_elements_are_found_by_their_keys_with_defaults_and_their_keys_are_not_contested() -> None:
    obj = live(
        entry("ci", CONTAINERS),
        containers=[
            {"name": "sidecar", "image": "s"},
            {"name": "web", "image": "live", "ports": [{"containerPort": 80, "protocol": "TCP", "hostPort": 9}]},
        ],
    )
    declared = {
        "containers": [
            {"name": "first", "image": "f"},
            {"name": "web", "image": "declared", "ports": [{"containerPort": 80, "hostPort": 8}]},
        ]
    }
    found = contests(obj, declared, OURS)
    assert [(contest.path, contest.field, contest.live) for contest in found] == [
        (("containers", 1, "image"), '.containers[name="web"].image', "live"),
        (
            ("containers", 1, "ports", 0, "hostPort"),
            '.containers[name="web"].ports[containerPort=80,protocol="TCP"].hostPort',
            9,
        ),
    ]


def test_contests_are_in_the_order_of_the_declaration() -> None:
    fields = {"f:c": {'k:{"name":"b"}': {"f:v": {}}, 'k:{"name":"a"}': {"f:v": {}}}, "f:a": {}}
    declared = {"c": [{"name": "a", "v": 1}, {"name": "b", "v": 1}], "a": 1}
    found = contests(live(entry("x", fields)), declared, OURS)
    assert [contest.path for contest in found] == [("c", 0, "v"), ("c", 1, "v"), ("a",)]


@pytest.mark.parametrize(
    ("value", "declared", "fields", "found"),
    [
        # An atomic list or map is one field.
        (["x"], ["y"], {"f:v": {}}, [".v"]),
        ({"a": 1}, {"a": 2, "b": 1}, {"f:v": {}}, [".v"]),
        # Every manager may add to an empty object.
        ({}, {"medium": "Memory"}, {"f:v": {}}, []),
        ([], ["x"], {"f:v": {}}, []),
        # What is absent although somebody owns it is contested until it is given up.
        (None, ["x"], {"f:v": {}}, [".v"]),
        # The object itself, or what is not declared of it.
        ({"a": 1}, {"b": 2}, {"f:v": {".": {}, "f:a": {}}}, []),
        ({"a": 1}, {"a": 2}, {"f:v": {".": {}, "f:a": {}}}, [".v.a"]),
        # Values of sets are merged.
        (["x"], ["x", "y"], {"f:v": {'v:"x"': {}}}, []),
        (["x", "y"], ["x", "z"], {"f:v": {"i:1": {}}}, [".v[1]"]),
        # An atomic element, and one with nothing but its key.
        ([{"name": "a", "v": 1}], [{"name": "a", "v": 2}], {"f:v": {'k:{"name":"a"}': {}}}, ['.v[name="a"]']),
        ([{"name": "a"}], [{"name": "a"}], {"f:v": {'k:{"name":"a"}': {}}}, []),
    ],
)
def test_what_is_owned_as_a_whole(value: Any, declared: Any, fields: Obj, found: list[str]) -> None:
    obj = live(entry("other", fields)) if value is None else live(entry("other", fields), v=value)
    assert [contest.field for contest in contests(obj, {"v": declared}, OURS)] == found


def test_an_object_that_somebody_owns_in_parts_is_not_owned_as_a_whole() -> None:
    obj = live(entry(OURS, {"f:v": {"f:a": {}}}), entry("other", {"f:v": {}}), v={"a": 1})
    assert contests(obj, {"v": {"a": 2}}, OURS) == ()


@pytest.mark.parametrize(
    "entries",
    [
        None,
        7,
        "text",
        [None, "text", {}, {"manager": "x"}, {"manager": "x", "fieldsV1": None}, {"manager": "x", "fieldsV1": []}],
        [entry("x", {"f:v": {"k:no json": {}, "k:[1]": {}, 'k:{"name":[1]}': {}, "i:x": {}, "i:99999999999999": {}}})],
        [entry("x", {"f:v": {"i:-1": {}, "i:": {}, "i:²": {}, "z": {}, "": None, "v:x": 3}})],
        [entry("x", {"f:v": {"k:" + "[" * 5000: {}}})],
        [entry("x", {"f:": {}, "v": {}})],
    ],
)
def test_odd_managed_fields_contest_nothing(entries: Any) -> None:
    obj = {"metadata": {"managedFields": entries}, "v": [{"name": "a"}]}
    assert contests(obj, {"v": [{"name": "a", "w": 1}, {"w": 2}]}, OURS) == ()


def test_the_work_grows_with_the_size_of_the_object_only() -> None:
    def steps(count: int) -> int:
        items = [{"name": str(number), "value": "x"} for number in range(count)]
        # Every element claims other keys.
        odd = {f'k:{{"name":"{n}","k{n}":1}}': {"f:value": {}} for n in range(count)}
        plain = {f'k:{{"name":"{n}"}}': {"f:value": {}} for n in range(count)}
        obj = live(*(entry(m, {"f:items": {**fields}}) for m, fields in (("a", plain), ("b", odd))), items=items)
        return calls_of(lambda: contests(obj, {"items": items}, OURS))

    assert steps(2000) < 12 * steps(200)


@pytest.mark.parametrize(
    ("fields", "owner"),
    [
        ({"f:data": {"f:a": {}}}, "other"),
        ({"f:data": {"f:a": {".": {}, "f:b": {}}}}, "other"),
        ({"f:data": {"f:a": {"f:b": {}}}}, None),
        ({"f:data": {}}, None),
        ({"f:data": {"f:b": {}}}, None),
        ({"f:data": None}, None),
    ],
)
def test_who_owns_exactly_a_field(fields: Obj, owner: str | None) -> None:
    assert owner_of(live(entry(OURS, {"f:data": {"f:a": {}}}), entry("other", fields)), ("data", "a"), OURS) == owner


@pytest.mark.parametrize(
    ("paths", "left"),
    [
        ([], {"metadata": {"labels": {"a": "1"}}, "spec": {"n": 1, "list": [{"name": "a", "v": 1}, {"name": "b"}]}}),
        (
            [("spec", "n")],
            {"metadata": {"labels": {"a": "1"}}, "spec": {"list": [{"name": "a", "v": 1}, {"name": "b"}]}},
        ),
        (
            [("spec", "list", 0, "v"), ("metadata", "labels", "a")],
            {"metadata": {}, "spec": {"n": 1, "list": [{"name": "a"}, {"name": "b"}]}},
        ),
        ([("spec", "list", 0)], {"metadata": {"labels": {"a": "1"}}, "spec": {"n": 1, "list": [{"name": "b"}]}}),
        (
            [("spec", "n"), ("spec", "list"), ("spec", "list", 0, "v"), ("spec", "gone", "x")],
            {"metadata": {"labels": {"a": "1"}}},
        ),
    ],
)
def test_a_declaration_without_fields(paths: list[tuple[Any, ...]], left: Obj) -> None:
    declared = {"metadata": {"labels": {"a": "1"}}, "spec": {"n": 1, "list": [{"name": "a", "v": 1}, {"name": "b"}]}}
    before = repr(declared)
    assert without(declared, paths) == left
    assert repr(declared) == before


def test_what_was_empty_before_stays() -> None:
    declared = {"a": {}, "b": {"c": {}, "d": 1}}
    assert without(declared, [("b", "d"), ("a", "x")]) == {"a": {}, "b": {"c": {}}}
