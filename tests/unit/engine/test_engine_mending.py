"""Edited merge keys: which elements are set back, which are removed, and which are left alone."""

import json
from typing import Any

import pytest

from kroasync.engine.drift import Applied, is_in_effect, need
from kroasync.engine.mending import KeyEdit, disowning_patch, key_patch, may_have_leftovers, mending

US = "kro.run/applyset"
PORT_KEYS, NAME = ("port", "protocol"), ("name",)


def element(keys: tuple[str, ...], item: dict[str, Any], below: dict[str, Any] | None = None) -> dict[str, Any]:
    name = json.dumps({key: item[key] for key in keys})
    return {f"k:{name}": {".": {}, **{f"f:{field}": {} for field in item}, **(below or {})}}


def owner(manager: str, path: str, *elements: dict[str, Any], operation: str = "Update") -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for found in elements:
        fields |= found
    for part in reversed(path.split(".")):
        fields = {f"f:{part}": fields}
    return {"manager": manager, "operation": operation, "fieldsV1": fields}


def service(*ports: dict[str, Any], by: str = "person", operation: str = "Update") -> dict[str, Any]:
    """A live Service whose ports belong to one manager."""
    entries = [owner(by, "spec.ports", *(element(PORT_KEYS, port) for port in ports), operation=operation)]
    return {
        "kind": "Service",
        "metadata": {"resourceVersion": "7", "managedFields": entries},
        "spec": {"ports": list(ports)},
    }


def declared(*ports: dict[str, Any]) -> dict[str, Any]:
    return {"kind": "Service", "metadata": {}, "spec": {"ports": list(ports)}}


def port(name: str, number: int, protocol: str = "TCP", **more: Any) -> dict[str, Any]:
    return {"name": name, "port": number, "protocol": protocol, **more}


def set_back(index: int, number: int, protocol: str = "TCP") -> KeyEdit:
    return KeyEdit(("spec", "ports", index), {"port": number, "protocol": protocol})


HTTP, DNS = port("http", 80), port("dns", 53, "UDP")


@pytest.mark.parametrize(
    ("live", "desired", "edits"),
    [
        pytest.param([HTTP], [HTTP], [], id="nothing changed"),
        pytest.param([port("http", 80, "UDP")], [HTTP], [set_back(0, 80)], id="protocol"),
        pytest.param([port("http", 80, "UDP")], [{"name": "http", "port": 80}], [set_back(0, 80)], id="undeclared"),
        pytest.param([port("http", 80, "UDP")], [{"port": 80}], [set_back(0, 80)], id="only the key is declared"),
        pytest.param([port("http", 81)], [HTTP], [set_back(0, 80)], id="number"),
        pytest.param([port("web", 81)], [HTTP], [set_back(0, 80)], id="all of it, in its place"),
        pytest.param(
            [port("dns", 5353, "UDP"), port("http", 80, "UDP")], [HTTP, DNS], [set_back(1, 80), set_back(0, 53, "UDP")]
        ),
        pytest.param([HTTP, port("metrics", 9090)], [HTTP], [], id="added by somebody"),
        pytest.param([port("metrics", 9090)], [HTTP, DNS], [], id="another port, two are missing"),
        pytest.param([port("metrics", 9090), DNS], [DNS], [], id="nothing is missing"),
        pytest.param([port("http", 80, "UDP"), port("http", 81)], [HTTP, HTTP], [], id="declared twice"),
        pytest.param([port("http", 80, "UDP")], [{"name": "http"}], [], id="declared without its key"),
    ],
)
def test_which_elements_are_set_back(live: list[Any], desired: list[Any], edits: list[KeyEdit]) -> None:
    assert mending(service(*live), declared(*desired), US).edits == tuple(edits)


def test_an_element_that_nobody_owns_is_no_edited_one() -> None:
    """As one that an admission webhook adds: it may stand where the definition declares a new one now."""
    live = service(HTTP, by=US, operation="Apply")
    live["spec"]["ports"].append(port("metrics", 9090))
    assert mending(live, declared(HTTP, DNS), US).edits == ()


def test_an_element_in_the_way_of_a_declared_one_is_removed() -> None:
    live = service(port("other", 80), port("http", 8080), port("metrics", 9090))
    assert mending(live, declared(HTTP), US).edits == ()
    found = mending(live, declared(HTTP), US, twice=frozenset({"name"}))
    assert found.edits == (KeyEdit(("spec", "ports", 1)),)
    assert key_patch(live, found.edits) == [
        {"op": "replace", "path": "/metadata/resourceVersion", "value": "7"},
        {"op": "remove", "path": "/spec/ports/1"},
    ]


def test_what_another_manager_applies_is_not_touched_but_named() -> None:
    live = service(port("http", 80, "UDP"), by="gitops", operation="Apply")
    found = mending(live, declared(HTTP), US, twice=frozenset({"name"}))
    assert found.edits == ()
    assert found.obstacle == (
        'spec.ports has another element with the same value, which manager "gitops" applies: remove it there'
    )
    assert mending(live, declared(HTTP), US).obstacle == ""


def test_an_element_that_we_applied_goes_by_the_apply_itself() -> None:
    live = service(port("http", 80, "UDP"), by=US, operation="Apply")
    assert mending(live, declared(HTTP), US, twice=frozenset({"name"})).edits == ()


def touched(*ports: dict[str, Any], ours: bool, field: str = "f:targetPort") -> dict[str, Any]:
    """A live Service whose ports we applied, until now or no longer, and somebody changed a field of each."""
    live = service(*ports, by=US, operation="Apply")
    changed = {name: {field: {}} for found in ports for name in element(PORT_KEYS, found)}
    if not ours:
        live["metadata"]["managedFields"] = []
    live["metadata"]["managedFields"].append(owner("person", "spec.ports", changed))
    return live


@pytest.mark.parametrize("ours", [True, False], ids=["before the apply", "after it"])
def test_an_element_that_we_declare_no_more_is_removed_although_somebody_changed_it(ours: bool) -> None:
    live = touched(HTTP, port("old", 81), ours=ours)
    assert mending(live, declared(HTTP), US).edits == (KeyEdit(("spec", "ports", 1)),)
    assert may_have_leftovers(live, US)


def test_an_element_that_somebody_made_stays_although_we_applied_it_once() -> None:
    live = touched(HTTP, port("old", 81), ours=True, field=".")
    assert mending(live, declared(HTTP), US).edits == ()


def test_the_only_element_is_not_removed_but_takes_the_declared_key() -> None:
    live = touched(port("old", 81), ours=True)
    assert mending(live, declared(port("new", 82)), US).edits == (set_back(0, 82),)


def test_nobody_leaves_anything_behind_in_an_object_that_only_we_and_its_controller_write() -> None:
    live = service(HTTP, by=US, operation="Apply")
    live["metadata"]["managedFields"].append({"manager": "x", "operation": "Update", "subresource": "status"})
    assert not may_have_leftovers(live, US)


def test_keys_are_set_back_at_every_depth() -> None:
    port_fields = {"f:ports": element(("containerPort", "protocol"), {"containerPort": 9090, "protocol": "TCP"})}
    containers = element(NAME, {"name": "web2", "image": "nginx"}, port_fields)
    live = {
        "metadata": {"managedFields": [owner("person", "spec.containers", containers)]},
        "spec": {
            "containers": [
                {"name": "web2", "image": "nginx", "ports": [{"name": "a", "containerPort": 9090, "protocol": "TCP"}]}
            ]
        },
    }
    desired = {
        "metadata": {},
        "spec": {
            "containers": [{"name": "web", "image": "nginx", "ports": [{"name": "a", "containerPort": 8080}]}],
        },
    }
    assert set(map(str, mending(live, desired, US).edits)) == {
        str(KeyEdit(("spec", "containers", 0), {"name": "web"})),
        str(
            KeyEdit(("spec", "containers", 0, "ports", 0), {"containerPort": 8080, "protocol": "TCP"}),
        ),
    }


def test_an_injected_container_is_not_made_into_one_that_was_taken_away() -> None:
    """They have in common what most containers have."""
    sidecar = {"name": "proxy", "image": "proxy", "imagePullPolicy": "Always"}
    other = {"name": "log", "image": "log"}
    elements = [element(NAME, sidecar), element(NAME, other)]
    live = {
        "metadata": {"managedFields": [owner("injector", "spec.containers", *elements)]},
        "spec": {"containers": [other, sidecar]},
    }
    web = {"name": "web", "image": "nginx", "imagePullPolicy": "Always"}
    assert mending(live, {"metadata": {}, "spec": {"containers": [web]}}, US).edits == ()


def test_the_patch_names_the_version_it_was_made_for_and_escapes_names() -> None:
    live = {"metadata": {"resourceVersion": "7"}}
    edits = (KeyEdit(("spec", "a/b~c", 2), {"id": 1}), KeyEdit(("spec", "x", 2)), KeyEdit(("spec", "x", 10)))
    assert key_patch(live, edits) == [
        {"op": "replace", "path": "/metadata/resourceVersion", "value": "7"},
        {"op": "add", "path": "/spec/a~1b~0c/2/id", "value": 1},
        {"op": "remove", "path": "/spec/x/10"},
        {"op": "remove", "path": "/spec/x/2"},
    ]


def test_after_a_repair_nothing_is_ours_by_the_repair() -> None:
    """Except what a webhook had changed before in our name."""
    by_webhook = owner(US, "spec.ports", operation="Update")
    applied, person = owner(US, "spec.ports", operation="Apply"), owner("person", "spec.ports")
    by_repair = owner(US, "spec.ports", element(PORT_KEYS, HTTP), operation="Update")
    before = {"metadata": {"resourceVersion": "7", "managedFields": [applied, by_webhook]}}
    repaired = {"metadata": {"resourceVersion": "8", "managedFields": [applied, person, by_repair]}}
    assert disowning_patch(before, repaired, US) == [
        {"op": "replace", "path": "/metadata/resourceVersion", "value": "8"},
        {"op": "replace", "path": "/metadata/managedFields", "value": [applied, person, by_webhook]},
    ]
    assert disowning_patch({"metadata": {}}, {"metadata": {"managedFields": [applied, person]}}, US) == []


@pytest.mark.parametrize("named", [True, False])
def test_an_undeclared_protocol_is_drift_once_it_is_not_the_default(named: bool) -> None:
    wanted = {"name": "http", "port": 80} if named else {"port": 80}
    desired, plain = declared(wanted), service({**wanted, "protocol": "TCP"}, by=US, operation="Apply")
    applied = Applied.of(desired, plain)
    assert need(applied, desired, plain) is None
    assert need(applied, desired, service({**wanted, "protocol": "UDP"})) is not None


def test_a_default_protocol_is_in_effect_after_a_restart() -> None:
    live = service({"name": "http", "port": 80, "protocol": "TCP"}, by=US, operation="Apply")
    live["metadata"]["managedFields"][0]["fieldsV1"]["f:spec"]["f:ports"] = {
        'k:{"port":80,"protocol":"TCP"}': {".": {}, "f:name": {}, "f:port": {}}
    }
    assert is_in_effect(live, declared({"name": "http", "port": 80}), US)


def test_a_long_list_whose_keys_were_all_edited_takes_no_long_time() -> None:
    """Ten thousand variables; comparing each one with each other one would take minutes."""
    names = [f"v{number}" for number in range(10_000)]
    live_items = [{"name": f"{name}x", "value": "1"} for name in names]
    entry = owner("person", "items", *(element(NAME, item) for item in live_items))
    live = {"metadata": {"managedFields": [entry]}, "items": live_items}
    desired = {"metadata": {}, "items": [{"name": name, "value": "1"} for name in names]}
    assert [edit.keys["name"] for edit in mending(live, desired, US).edits] == names


@pytest.mark.parametrize("element_name", ["k:", "k:{", "k:[1]", "k:1", "k:null"])
def test_keys_that_cannot_be_read_are_passed_over(element_name: str) -> None:
    live = service(port("http", 81))
    live["metadata"]["managedFields"].insert(0, owner("odd", "spec.ports", {element_name: {}}))
    assert mending(live, declared(HTTP), US).edits == (set_back(0, 80),)


def test_the_comparisons_of_elements_are_limited_for_all_lists_of_an_object_together() -> None:
    """Two lists in which nothing is in its place: the first one takes all comparisons."""
    live = [{"name": f"old-{number}", "value": number} for number in range(64)]
    wanted = [{"name": f"new-{number}", "value": number} for number in (*range(1, 64), 0)]
    entry: dict[str, Any] = {"manager": "person", "operation": "Update"}
    fields: dict[str, Any] = {}
    for item in live:
        fields |= element(NAME, item)
    entry["fieldsV1"] = {"f:spec": {"f:first": fields, "f:second": fields}}
    found = mending(
        {"metadata": {"managedFields": [entry]}, "spec": {"first": live, "second": live}},
        {"metadata": {}, "spec": {"first": wanted, "second": wanted}},
        US,
    )
    names = {edit.place: edit.keys["name"] for edit in found.edits}
    assert names["spec", "first", 5] == "new-5"
    assert names["spec", "second", 5] == "new-6"
