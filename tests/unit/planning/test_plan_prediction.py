"""What applies make of objects, predicted without the API server."""

from typing import Any

import orjson
import pytest

from kroasync.engine.offline import patched_by
from kroasync.model.names import MANAGER_CHILDREN
from kroasync.model.objects import Obj
from kroasync.planning.prediction import after_file, is_same_quantity, predicted


def live(spec: Any, ours: Any = None, others: Any = None, **meta: Any) -> Obj:
    """An object with the fields that we applied, and those that another manager has."""
    entries = [(MANAGER_CHILDREN, ours), ("rival", others)]
    fields = [
        {"manager": name, "operation": "Apply", "fieldsV1": {"f:spec": owned}} for name, owned in entries if owned
    ]
    return {"metadata": {"name": "a", "managedFields": fields, **meta}, "spec": spec}


@pytest.mark.parametrize(
    ("found", "declared", "expected"),
    [
        # Undeclared fields of others stay; what only we had goes.
        (live({"a": 1, "b": 2, "c": 3}, {"f:a": {}, "f:b": {}}), {"a": 5}, {"a": 5, "c": 3}),
        (live({"a": 1, "b": 2}, {"f:a": {}, "f:b": {}}, {"f:b": {}}), {"a": 1}, {"a": 1, "b": 2}),
        # The same below a map.
        (live({"m": {"x": 1, "y": 2}}, {"f:m": {"f:x": {}, "f:y": {}}}), {"m": {"x": 1}}, {"m": {"x": 1}}),
        (live({"m": {"x": 1, "z": 2}}, {"f:m": {"f:x": {}}}), {}, {"m": {"z": 2}}),
        # Elements by their keys.
        (
            live(
                {"c": [{"name": "a", "v": 1}, {"name": "b", "v": 1}]},
                {"f:c": {'k:{"name":"a"}': {"f:name": {}, "f:v": {}}, 'k:{"name":"b"}': {"f:name": {}, "f:v": {}}}},
            ),
            {"c": [{"name": "a", "v": 2}]},
            {"c": [{"name": "a", "v": 2}]},
        ),
        (
            live({"c": [{"name": "a"}, {"name": "sidecar"}]}, {"f:c": {'k:{"name":"a"}': {"f:name": {}}}}),
            {"c": [{"name": "a", "v": 2}]},
            {"c": [{"name": "a", "v": 2}, {"name": "sidecar"}]},
        ),
        # Quantities are the same in another form, and only where quantities are.
        (live({"requests": {"cpu": "1"}}), {"requests": {"cpu": "1000m"}}, {"requests": {"cpu": "1"}}),
        (live({"other": {"cpu": "1"}}), {"other": {"cpu": "1000m"}}, {"other": {"cpu": "1000m"}}),
        (live({"l": [1, 2]}), {"l": [3]}, {"l": [3]}),
    ],
)
def test_an_apply_merges_as_the_server_does(found: Obj, declared: Any, expected: Any) -> None:
    assert predicted(found, {"metadata": {"name": "a"}, "spec": declared})["spec"] == expected


def test_a_new_object_is_as_declared() -> None:
    assert predicted(None, {"metadata": {}, "spec": 1}) == {"metadata": {}, "spec": 1}


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("1", "1000m", True),
        (1, "1", True),
        ("1Gi", "1024Mi", True),
        ("1G", "1Gi", False),
        ("x", "x", False),
        (True, "1", False),
    ],
)
def test_quantities(one: Any, other: Any, same: bool) -> None:
    assert is_same_quantity(one, other) is same


def test_a_file_keeps_stored_defaults_and_fields_of_others() -> None:
    file = {"metadata": {}, "spec": {"a": 1}}
    stored = {"metadata": {"name": "x"}, "spec": {"a": 0, "default": "d"}}
    assert after_file(stored, file)["spec"] == {"a": 1, "default": "d"}


def test_a_file_takes_away_what_it_had_before() -> None:
    file = {"metadata": {}, "spec": {"a": 1}}
    last = orjson.dumps({"spec": {"a": 0, "gone": 1}}).decode()
    notes = {"kubectl.kubernetes.io/last-applied-configuration": last}
    by_kubectl = {"metadata": {"name": "x", "annotations": notes}, "spec": {"a": 0, "gone": 1, "other": 2}}
    assert after_file(by_kubectl, file)["spec"] == {"a": 1, "other": 2}
    server_side = live({"a": 0, "gone": 1, "other": 2}, None, {"f:a": {}, "f:gone": {}})
    assert after_file(server_side, file)["spec"] == {"a": 1, "other": 2}


def test_an_unreadable_annotation_takes_nothing_away() -> None:
    notes = {"kubectl.kubernetes.io/last-applied-configuration": "{"}
    found = after_file({"metadata": {"annotations": notes}, "spec": {"b": 1}}, {"metadata": {}, "spec": {"a": 1}})
    assert found["spec"] == {"a": 1, "b": 1}


def test_a_patch_takes_labels_away_and_adds_some() -> None:
    patch = {"metadata": {"uid": "u", "labels": {"a": None, "c": "1"}, "annotations": {"x": None}}}
    found = patched_by({"metadata": {"labels": {"a": "1", "b": "1"}, "annotations": {"x": "1"}}}, patch)
    assert found["metadata"] == {"labels": {"b": "1", "c": "1"}, "annotations": {}}
