"""`is_in_effect`: a restarted controller learns from a live object that it need not send the object again."""

from typing import Any

import pytest

from kroasync.engine.drift import is_in_effect

MANAGER = "kro.run/applyset"


def live(fields: dict[str, Any], spec: dict[str, Any], *, manager: str = MANAGER) -> dict[str, Any]:
    entry = {"manager": manager, "operation": "Apply", "fieldsV1": fields}
    return {
        "metadata": {"name": "x", "managedFields": [entry, {"manager": "kubectl", "operation": "Update"}]},
        "spec": spec,
    }


PORTS = {"f:spec": {"f:ports": {'k:{"port":80,"protocol":"TCP"}': {".": {}, "f:port": {}}}}}
CASES = [
    ("equal values, same fields", {"f:spec": {"f:a": {}}}, {"a": 1}, {"a": 1}, True),
    ("the server defaulted another field", {"f:spec": {"f:a": {}}}, {"a": 1, "b": 2}, {"a": 1}, True),
    ("a value differs", {"f:spec": {"f:a": {}}}, {"a": 2}, {"a": 1}, False),
    ("a declared field is missing", {"f:spec": {"f:a": {}}}, {"a": 1}, {"a": 1, "b": 2}, False),
    ("a field is no longer declared", {"f:spec": {"f:a": {}, "f:b": {}}}, {"a": 1, "b": 2}, {"a": 1}, False),
    (
        "list item by key, its default not declared",
        PORTS,
        {"ports": [{"port": 80, "protocol": "TCP"}]},
        {"ports": [{"port": 80}]},
        True,
    ),
    ("list item no longer declared", PORTS, {"ports": [{"port": 80}, {"port": 81}]}, {"ports": [{"port": 81}]}, False),
    ("set value", {"f:spec": {"f:s": {'v:"a"': {}}}}, {"s": ["a"]}, {"s": ["a"]}, True),
    (
        "set value no longer declared",
        {"f:spec": {"f:s": {'v:"a"': {}, 'v:"b"': {}}}},
        {"s": ["a", "b"]},
        {"s": ["a"]},
        False,
    ),
    ("a declared field belongs to somebody else", {"f:spec": {"f:b": {}}}, {"a": 1, "b": 2}, {"a": 1, "b": 2}, False),
    ("an atomic list is owned as one", {"f:spec": {"f:l": {}}}, {"l": [{"x": 1}]}, {"l": [{"x": 1}]}, True),
    ("an index says nothing certain", {"f:spec": {"f:s": {"i:0": {}}}}, {"s": ["a"]}, {"s": ["a"]}, False),
]


@pytest.mark.parametrize(("fields", "spec", "declared", "expected"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_in_effect(fields: dict[str, Any], spec: dict[str, Any], declared: dict[str, Any], expected: bool) -> None:
    desired = {"metadata": {"name": "x"}, "spec": declared}
    assert is_in_effect(live(fields, spec), desired, MANAGER) is expected


def test_an_object_of_another_manager_is_not_in_effect() -> None:
    """
    Equal values alone do not make an object ours.
    """
    found = live({"f:spec": {"f:a": {}}}, {"a": 1}, manager="helm")
    assert not is_in_effect(found, {"metadata": {"name": "x"}, "spec": {"a": 1}}, MANAGER)
