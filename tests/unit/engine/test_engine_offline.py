"""The world of plain objects behaves like a server, as far as the engine can see."""

import pytest

from kroasync.engine.actions import Apply, Delete, Done, Need, Refusal, WatchExternal
from kroasync.engine.offline import OfflineWorld, defaulted, overlaid
from tests.samples import config_map


def world(instance_of, catalog, objects=(), **rest):
    return OfflineWorld(instance_of(), objects, catalog.resource, **rest)


def config(name, namespace="team", **data):
    return config_map(name, namespace, data, uid=f"uid-{name}")


def test_a_delete_is_bound_to_the_uid(instance_of, catalog, key_of):
    found = world(instance_of, catalog, [config("a")])
    key = key_of("ConfigMap", "a")
    stale = found.perform(Delete(node="a", key=key, uid="older"))
    assert stale.refusal is Refusal.CONFLICT
    assert found.get(key) is not None
    assert isinstance(found.perform(Delete(node="a", key=key, uid="uid-a")), Done)
    assert found.perform(Delete(node="a", key=key, uid="uid-a")).refusal is Refusal.MISSING


def test_an_apply_leaves_what_others_set_and_changes_no_input(instance_of, catalog, key_of):
    live = config("a", mine="1", theirs="2")
    found = world(instance_of, catalog, [live])
    key = key_of("ConfigMap", "a")
    wanted = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"mine": "3"}}
    assert found.compare(key, wanted) is Need.UPDATE
    action = Apply(node="a", index=None, key=key, obj=wanted, need=Need.UPDATE, force=True)
    answer = found.perform(action).obj
    assert answer["data"] == {"mine": "3", "theirs": "2"}
    assert answer["metadata"]["uid"] == "uid-a"
    assert live["data"] == {"mine": "1", "theirs": "2"}
    assert "uid" not in wanted["metadata"]
    assert found.compare(key, wanted) is None


def test_a_created_object_gets_a_uid_of_its_own(instance_of, catalog, key_of):
    found = world(instance_of, catalog)
    uids = set()
    for name in ("a", "b"):
        obj = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}}
        key = key_of("ConfigMap", name)
        action = Apply(node=name, index=None, key=key, obj=obj, need=Need.CREATE, force=False)
        uids.add(found.perform(action).obj["metadata"]["uid"])
    assert len(uids) == 2


def test_kinds_nobody_knows_are_left_out(instance_of, catalog):
    stranger = {"apiVersion": "x/v1", "kind": "Y", "metadata": {"name": "z"}}
    assert world(instance_of, catalog, [stranger]).objects == {}


def test_externals_are_filtered_by_namespace_and_selector(instance_of, catalog, key_of):
    objects = [config("a", "one"), config("b", "two"), config("c", "two")]
    found = world(instance_of, catalog, objects)
    resource = key_of("ConfigMap", "a").resource
    everywhere = WatchExternal(node="x", resource=resource, namespace="", selector="")
    assert [o["metadata"]["name"] for o in found.external(everywhere)] == ["a", "b", "c"]
    two = WatchExternal(node="x", resource=resource, namespace="two", selector="")
    assert [o["metadata"]["name"] for o in found.external(two)] == ["b", "c"]
    named = WatchExternal(node="x", resource=resource, namespace="two", name="a")
    assert found.external(named) == []
    assert found.unseen() == frozenset()


@pytest.mark.parametrize(
    ("value", "schema", "expected"),
    [
        ({}, {"properties": {"a": {"default": 1}, "b": {}}}, {"a": 1}),
        ({"a": 2}, {"properties": {"a": {"default": 1}}}, {"a": 2}),
        ({"a": None}, {"properties": {"a": {"default": 1}}}, {"a": 1}),
        ({"a": None}, {"properties": {"a": {}}}, {"a": None}),
        ({}, {"properties": {"o": {"default": {}, "properties": {"x": {"default": 3}}}}}, {"o": {"x": 3}}),
        ({}, {"properties": {"o": {"properties": {"x": {"default": 3}}}}}, {}),
        ({"l": [{}]}, {"properties": {"l": {"items": {"properties": {"x": {"default": 3}}}}}}, {"l": [{"x": 3}]}),
        ({"k": {}}, {"additionalProperties": {"properties": {"x": {"default": 3}}}}, {"k": {"x": 3}}),
        ("text", {"default": "other"}, "text"),
    ],
)
def test_defaults_are_those_of_a_structural_schema(value, schema, expected):
    assert defaulted(value, schema) == expected


def test_laying_over_replaces_lists_and_scalars():
    assert overlaid({"a": [1, 2], "b": {"c": 1}}, {"a": [3], "b": {"d": 2}}) == {"a": [3], "b": {"c": 1, "d": 2}}
    assert overlaid({"a": 1}, {"a": {"b": 1}}) == {"a": {"b": 1}}
