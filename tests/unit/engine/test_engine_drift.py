"""Hashes of the declared fields, and of the same fields in the live object."""

import copy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kroasync.engine.actions import Need
from kroasync.engine.drift import Applied, fingerprint, need, project, stored
from kroasync.model.objects import Obj

DEPLOYMENT: Obj = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "web", "namespace": "team"},
    "spec": {
        "replicas": 2,
        "template": {
            "spec": {
                "containers": [{"name": "web", "image": "nginx", "ports": [{"containerPort": 80}]}],
                "tolerations": [{"key": "a", "operator": "Exists"}],
            }
        },
    },
}


def answered(obj):
    """The object with the fields that a server adds."""
    live = copy.deepcopy(obj)
    live["metadata"] |= {"uid": "u", "resourceVersion": "7", "generation": 1}
    live["spec"]["strategy"] = {"type": "RollingUpdate"}
    container = live["spec"]["template"]["spec"]["containers"][0]
    container["imagePullPolicy"] = "Always"
    container["ports"][0]["protocol"] = "TCP"
    live["status"] = {"replicas": 2}
    return live


def test_what_was_applied_need_not_be_sent_again():
    live = answered(DEPLOYMENT)
    assert need(Applied.of(DEPLOYMENT, live), DEPLOYMENT, live) is None


def test_server_side_changes_elsewhere_are_no_drift():
    live = answered(DEPLOYMENT)
    applied = Applied.of(DEPLOYMENT, live)
    live["status"] = {"replicas": 5}
    live["metadata"]["resourceVersion"] = "8"
    live["spec"]["paused"] = True
    assert need(applied, DEPLOYMENT, live) is None


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda live: live["spec"].update(replicas=9), Need.HEAL),
        (lambda live: live["spec"].pop("replicas"), Need.HEAL),
        (lambda live: live["spec"]["template"]["spec"]["containers"][0].update(image="evil"), Need.HEAL),
        (lambda live: live["spec"]["template"]["spec"]["containers"].append({"name": "side"}), Need.HEAL),
        (lambda live: live["spec"]["template"]["spec"]["containers"].clear(), Need.HEAL),
        (lambda live: live["spec"]["template"]["spec"]["tolerations"].append({"key": "b"}), Need.HEAL),
        (lambda live: live["spec"].update(replicas=True), Need.HEAL),
        (lambda live: live["metadata"].pop("namespace"), Need.HEAL),
    ],
)
def test_drift_in_declared_fields_is_seen(change, expected):
    live = answered(DEPLOYMENT)
    applied = Applied.of(DEPLOYMENT, live)
    change(live)
    assert need(applied, DEPLOYMENT, live) is expected


def test_a_changed_declaration_is_an_update_and_an_unchanged_object_needs_nothing():
    live = answered(DEPLOYMENT)
    applied = Applied.of(DEPLOYMENT, live)
    wanted = copy.deepcopy(DEPLOYMENT)
    wanted["spec"]["replicas"] = 3
    assert need(applied, wanted, live) is Need.UPDATE
    assert need(None, DEPLOYMENT, live) is Need.UPDATE
    assert need(applied, DEPLOYMENT, None) is None


def test_normalised_quantities_are_absorbed_by_the_hash_of_the_answer():
    wanted = {"spec": {"memory": "1024Mi"}}
    live = {"spec": {"memory": "1Gi"}}
    assert need(Applied.of(wanted, live), wanted, live) is None


@pytest.mark.parametrize(
    ("live", "desired", "expected"),
    [
        ({"a": 1, "b": 2}, {"a": 0}, {"a": 1}),
        ({}, {"a": 0}, {}),
        ([1, 2, 3], [1], [1, 2, 3]),
        ({"x": "text"}, {"x": {"y": 1}}, {"x": "text"}),
        # Items are paired by name in any order; foreign items only by their key.
        (
            [{"name": "b", "v": 2, "z": 0}, {"name": "a", "v": 1}, {"name": "c", "v": 9}],
            [{"name": "a", "v": 0}, {"name": "b", "v": 0}],
            [{"name": "b", "v": 2}, {"name": "a", "v": 1}, {"name": "c"}],
        ),
        # Without names, by port.
        ([{"port": 80, "protocol": "TCP"}], [{"port": 80}], [{"port": 80}]),
        # Without a usable key, items are paired by position while the lists have the same length.
        ([{"a": 1, "b": 2}], [{"a": 3}], [{"a": 1}]),
        ([{"a": 1, "b": 2}, {"a": 4}], [{"a": 3}], [{"a": 1, "b": 2}, {"a": 4}]),
        # port is not unique.
        (
            [{"port": 53, "protocol": "TCP", "x": 1}, {"port": 53, "protocol": "UDP"}],
            [{"port": 53, "protocol": "TCP"}, {"port": 53, "protocol": "UDP"}],
            [{"port": 53, "protocol": "TCP"}, {"port": 53, "protocol": "UDP"}],
        ),
    ],
)
def test_projection(live, desired, expected):
    assert project(live, desired) == expected


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abn"), inner, max_size=3),
    max_leaves=12,
)


@given(JSON)
def test_an_object_projects_to_itself(value):
    assert fingerprint(project(value, value)) == fingerprint(value)


@given(JSON, JSON)
def test_projection_never_fails_and_is_stable(live, desired):
    projected = project(live, desired)
    assert fingerprint(project(projected, desired)) == fingerprint(projected)


def test_fingerprints_ignore_the_order_of_keys_and_nothing_else():
    assert fingerprint({"a": 1, "b": 2}) == fingerprint({"b": 2, "a": 1})
    assert fingerprint([1, 2]) != fingerprint([2, 1])
    assert fingerprint({"a": 1}) != fingerprint({"a": "1"})
    assert fingerprint({"a": True}) != fingerprint({"a": 1})


SECRET = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}}


@pytest.mark.parametrize(
    ("declared", "data"),
    [
        ({"stringData": {"a": "1", "é": "ü"}}, {"a": "MQ==", "é": "w7w="}),
        ({"data": {"a": "MA==", "b": "Mg=="}, "stringData": {"a": "1"}}, {"a": "MQ==", "b": "Mg=="}),
        ({"data": None, "stringData": {"a": ""}}, {"a": ""}),
        ({"data": {"a": "MA=="}, "stringData": None}, {"a": "MA=="}),
        ({"stringData": {}}, {}),
    ],
)
def test_text_of_a_secret_is_compared_as_the_server_keeps_it(declared, data):
    assert stored({**SECRET, **declared}) == {**SECRET, "data": data}
    assert stored(stored({**SECRET, **declared})) == {**SECRET, "data": data}


@pytest.mark.parametrize(
    "obj",
    [
        {**SECRET, "data": {"a": "MQ=="}},
        # The server reports the errors of these.
        {**SECRET, "stringData": {"a": 1}},
        {**SECRET, "stringData": "a"},
        {**SECRET, "data": "a", "stringData": {"a": "1"}},
        {**SECRET, "stringData": {"a": "\ud800"}},
        {**SECRET, "apiVersion": "example.com/v1", "stringData": {"a": "1"}},
        {**SECRET, "kind": "ConfigMap", "stringData": {"a": "1"}},
    ],
)
def test_other_objects_are_compared_as_they_are_declared(obj):
    assert stored(obj) is obj
