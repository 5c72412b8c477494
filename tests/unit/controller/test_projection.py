"""The content of a cache: the identity of objects, and exactly the paths that expressions read."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kroasync.controller.projection import Projection

META = {"name": "a", "namespace": "n", "uid": "u", "generation": 3, "labels": {"x": "1"}, "managedFields": [1]}
POD = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": META,
    "spec": {"containers": [{"name": "c", "image": "i"}, {"name": "d"}], "node": "n1"},
    "status": {"phase": "Running", "ips": ["1", "2"]},
}
IDENTITY = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {k: META[k] for k in ("name", "namespace", "uid", "generation")},
}


def kept(*paths: tuple[str, ...]) -> Any:
    return Projection(paths).keep(POD)


def test_without_paths_only_the_identity_is_kept() -> None:
    assert kept() == IDENTITY


@pytest.mark.parametrize(
    ("path", "found"),
    [
        (("status", "phase"), {"status": {"phase": "Running"}}),
        (("status",), {"status": POD["status"]}),
        (("spec", "containers", "*", "image"), {"spec": {"containers": [{"image": "i"}, {}]}}),
        (("spec", "containers", "0"), {"spec": {"containers": POD["spec"]["containers"]}}),  # type: ignore[index]
        (("status", "*"), {"status": POD["status"]}),
        (("status", "missing", "deep"), {"status": {}}),
        (("status", "phase", "deeper"), {"status": {"phase": "Running"}}),
        (("nothing",), {}),
    ],
)
def test_a_path_keeps_what_is_below_it(path: tuple[str, ...], found: dict[str, Any]) -> None:
    assert kept(path) == {**IDENTITY, **found}


def test_an_empty_path_keeps_the_object_but_for_managed_fields() -> None:
    whole = kept(())
    assert whole == {**POD, "metadata": {k: v for k, v in META.items() if k != "managedFields"}}
    assert "managedFields" in META


def test_a_name_beside_a_star_keeps_both() -> None:
    projection = Projection([("spec", "*", "a"), ("spec", "x", "b")])
    obj = {"spec": {"x": {"a": 1, "b": 2, "c": 3}, "y": {"a": 4, "b": 5}}}
    assert projection.keep(obj) == {"spec": {"x": {"a": 1, "b": 2}, "y": {"a": 4}}}


def test_a_star_without_end_wins_over_names() -> None:
    projection = Projection([("spec", "*"), ("spec", "x", "b")])
    assert projection.keep({"spec": {"x": {"a": 1}, "y": 2}}) == {"spec": {"x": {"a": 1}, "y": 2}}


def test_widening_by_what_is_known_is_no_change() -> None:
    projection = Projection([("spec",)])
    assert projection.widened([("spec",)]) is projection
    wider = projection.widened([("status",)])
    assert wider == Projection([("status",), ("spec",)])
    assert hash(wider) == hash(Projection([("status",), ("spec",)]))


NAMES = st.sampled_from(["a", "b", "c"])
TREES = st.recursive(
    st.integers(0, 9),
    lambda below: st.dictionaries(NAMES, below, max_size=3) | st.lists(below, max_size=2),
    max_leaves=12,
)
PATHS = st.lists(st.lists(NAMES | st.just("*"), min_size=1, max_size=3).map(tuple), max_size=4)


def leaves(value: Any, at: tuple[str, ...] = ()) -> dict[tuple[str, ...], Any]:
    """Every scalar and empty container by its path; items of lists count as `*`-only steps by their number."""
    if isinstance(value, dict) and value:
        return {p: v for name, below in value.items() for p, v in leaves(below, (*at, name)).items()}
    if isinstance(value, list) and value:
        return {p: v for i, below in enumerate(value) for p, v in leaves(below, (*at, f"[{i}]")).items()}
    return {at: value}


def covers(path: tuple[str, ...], leaf: tuple[str, ...]) -> bool:
    """Whether the path reads the leaf: it ends above, at or below the leaf, or selects items of a list in between."""
    for step, real in zip(path, leaf, strict=False):
        if real.startswith("["):
            if step != "*":
                return True  # a constant index: the whole list is kept
        elif step not in ("*", real):
            return False
    return True


@given(st.dictionaries(NAMES, TREES, max_size=3), PATHS)
def test_exactly_the_paths_read_are_kept(obj: dict[str, Any], paths: list[tuple[str, ...]]) -> None:
    wanted = [("spec", *path) for path in paths]
    found = leaves(Projection(wanted).keep({"spec": obj}).get("spec", {}), ("spec",))
    read = {leaf: value for leaf, value in leaves(obj, ("spec",)).items() if any(covers(p, leaf) for p in wanted)}
    # Containers that the projection empties may stay; only values count.
    assert {k: v for k, v in found.items() if isinstance(v, int)} == {
        k: v for k, v in read.items() if isinstance(v, int)
    }


def test_of_managed_fields_only_named_parts_are_kept_also_of_whole_objects() -> None:
    obj = {"metadata": {"name": "a", "managedFields": [{"manager": "m", "time": "t", "fieldsV1": {"f:a": {}}}]}, "a": 1}
    paths = [("metadata", "managedFields", "*", "manager"), ("metadata", "managedFields", "*", "fieldsV1")]
    owners = [{"manager": "m", "fieldsV1": {"f:a": {}}}]
    assert Projection(paths).keep(obj)["metadata"]["managedFields"] == owners
    assert Projection([(), *paths]).keep(obj) == {"metadata": {"name": "a", "managedFields": owners}, "a": 1}
    assert Projection([(), *paths]).keep({"metadata": {"name": "a"}}) == {"metadata": {"name": "a"}}
