"""External references (runtime.md 4): objects of others, by name and by selector; a change starts a pass at once."""

from __future__ import annotations

import pytest

from tests.integration.cluster import Lab, Obj, condition, config, config_map, eventually, for_a_while

pytestmark = pytest.mark.integration

# An instance that the change wakes follows within one pass; the periodic resync would take minutes.
AT_ONCE_S = 3.0


def external(id_: str, **meta: object) -> Obj:
    return {"id": id_, "externalRef": {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta}}


def test_by_name_it_is_waited_for_followed_and_waited_for_again(lab: Lab) -> None:
    spec = {"from": "string | default=ext"}
    reading = config("a", data={"x": "${ext.data.x}"})
    lab.define("Named", [external("ext", name="${schema.spec.from}"), reading, config("free")], spec=spec)
    lab.instance("Named")
    obj = lab.await_state("Named", state="IN_PROGRESS", message='waiting for external reference "ext": not found')
    assert '"a"' in condition(obj, "Ready")["message"]
    assert set(lab.configs()) == {"one-free"}

    made = lab.cluster.create(config_map("ext", lab.namespace, {"x": "1"}))
    makers = {m["manager"] for m in made["metadata"]["managedFields"]}
    lab.await_child("ConfigMap", "one-a", timeout_s=AT_ONCE_S)
    lab.await_state("Named")
    path = lab.child_path("ConfigMap", "ext")
    lab.cluster.merge(path, {"data": {"x": "2"}})
    lab.await_child("ConfigMap", "one-a", lambda obj: obj["data"] == {"x": "2"}, timeout_s=AT_ONCE_S)
    before = lab.child("ConfigMap", "ext")
    assert "labels" not in before["metadata"]
    # Only its author and the change above own fields of it.
    assert {m["manager"] for m in before["metadata"]["managedFields"]} == makers

    lab.cluster.delete(path)
    lab.await_state("Named", state="IN_PROGRESS", message="not found", timeout_s=AT_ONCE_S)
    assert all(obj["data"] == {"x": "2"} for obj in for_a_while(lambda: lab.child("ConfigMap", "one-a"), seconds=0.2))

    lab.cluster.create(config_map("other", lab.namespace, {"x": "3"}))
    lab.edit("Named", spec={"from": "other"})
    lab.await_child("ConfigMap", "one-a", lambda obj: obj["data"] == {"x": "3"})


def test_by_name_in_another_namespace_with_readiness(lab: Lab) -> None:
    name = f"{lab.namespace}-shared"
    ext = external("ext", name=name, namespace="default") | {"readyWhen": ['${ext.data.ready == "yes"}']}
    lab.define("Elsewhere", [ext, config("a", data={"x": "${ext.data.x}"})])
    lab.cluster.create(config_map(name, "default", {"x": "1", "ready": "no"}))
    lab.instance("Elsewhere")
    lab.await_state("Elsewhere", state="IN_PROGRESS", message='"no" == "yes" is false')
    lab.cluster.merge(lab.child_path("ConfigMap", name, "default"), {"data": {"ready": "yes"}})
    lab.await_state("Elsewhere", timeout_s=AT_ONCE_S)
    lab.cluster.delete(lab.path("Elsewhere"))
    lab.await_gone(lab.path("Elsewhere"))
    assert lab.child("ConfigMap", name, "default")["data"]["ready"] == "yes"
    lab.cluster.delete(lab.child_path("ConfigMap", name, "default"))


def test_by_selector_it_follows_every_object_that_comes_changes_or_goes(lab: Lab) -> None:
    found = external(
        "found", namespace="${schema.metadata.namespace}", selector={"matchLabels": {"team": "${schema.spec.team}"}}
    )
    names = config("names", data={"all": '${found.map(f, f.metadata.name).sort().join(",")}'})
    copies = config("copies", "copy-${f.metadata.name}", {"x": "${f.data.x}"}, forEach=[{"f": "${found}"}])
    lab.define("Selecting", [found, names, copies], spec={"team": "string"}, status={"count": "${size(found)}"})
    lab.instance("Selecting", spec={"team": "red"})
    assert lab.await_state("Selecting")["status"]["count"] == 0

    lab.cluster.create(config_map("r1", lab.namespace, {"x": "1"}, labels={"team": "red"}))
    lab.cluster.create(config_map("r2", lab.namespace, {"x": "2"}, labels={"team": "red"}))
    lab.cluster.create(config_map("b1", lab.namespace, {"x": "3"}, labels={"team": "blue"}))
    lab.await_child("ConfigMap", "one-names", lambda obj: obj["data"] == {"all": "r1,r2"}, timeout_s=AT_ONCE_S)
    lab.await_configs({"one-names", "copy-r1", "copy-r2"})
    lab.cluster.merge(lab.child_path("ConfigMap", "r1"), {"data": {"x": "9"}})
    lab.await_child("ConfigMap", "copy-r1", lambda obj: obj["data"] == {"x": "9"}, timeout_s=AT_ONCE_S)
    # Leaving the selector is going.
    lab.cluster.merge(lab.child_path("ConfigMap", "r1"), {"metadata": {"labels": {"team": "blue"}}})
    lab.await_configs({"one-names", "copy-r2"}, timeout_s=AT_ONCE_S)
    lab.edit("Selecting", spec={"team": "blue"})
    lab.await_configs({"one-names", "copy-b1", "copy-r1"})
    lab.cluster.delete(lab.child_path("ConfigMap", "b1"))
    lab.await_configs({"one-names", "copy-r1"}, timeout_s=AT_ONCE_S)


def test_a_selected_item_that_is_not_ready_is_named(lab: Lab) -> None:
    ready = {"readyWhen": ['${each.data.ready == "yes"}']}
    found = external("found", namespace=lab.namespace, selector={"matchLabels": {"pick": "me"}}) | ready
    lab.define("Picky", [found, config("after", data={"n": "${string(size(found))}"})])
    lab.cluster.create(config_map("p1", lab.namespace, {"ready": "no"}, labels={"pick": "me"}))
    lab.instance("Picky")
    lab.await_state("Picky", state="IN_PROGRESS", message='node "found" not ready: item 0')
    lab.cluster.merge(lab.child_path("ConfigMap", "p1"), {"data": {"ready": "yes"}})
    lab.await_state("Picky", timeout_s=AT_ONCE_S)


def test_one_object_wakes_every_instance_that_reads_it(lab: Lab) -> None:
    lab.cluster.create(config_map("ext", lab.namespace, {"x": "1"}))
    lab.define("Sharing", [external("ext", name="ext"), config("a", data={"x": "${ext.data.x}"})])
    names = [f"i{n}" for n in range(5)]
    for name in names:
        lab.instance("Sharing", name)
    for name in names:
        lab.await_state("Sharing", name)
    lab.cluster.delete(lab.path("Sharing", "i0"))
    lab.await_gone(lab.path("Sharing", "i0"))
    lab.cluster.merge(lab.child_path("ConfigMap", "ext"), {"data": {"x": "2"}})
    eventually(
        lab.configs,
        lambda found: len(found) == 4 and all(obj["data"] == {"x": "2"} for obj in found.values()),
        timeout_s=AT_ONCE_S,
    )


def test_an_excluded_reference_is_not_waited_for(lab: Lab) -> None:
    ext = external("ext", name="missing") | {"includeWhen": ["${schema.spec.on}"]}
    reading = config("a", data={"x": "${ext.data.x}"})
    lab.define("Skipping", [ext, reading, config("free")], spec={"on": "boolean | default=false"})
    lab.instance("Skipping")
    lab.await_state("Skipping")
    assert set(lab.configs()) == {"one-free"}


def test_a_child_of_one_instance_may_be_read_by_another(lab: Lab) -> None:
    made = config("a", data={"x": "${schema.spec.x}"})
    lab.define("Writing", [made], spec={"x": "string"})
    ext = external("ext", name="writer-a")
    lab.define("Reading", [ext, config("b", data={"x": "${ext.data.x}"})])
    lab.instance("Reading", "reader")
    lab.await_state("Reading", "reader", "IN_PROGRESS")
    lab.instance("Writing", "writer", {"x": "1"})
    lab.await_child("ConfigMap", "reader-b", lambda obj: obj.get("data") == {"x": "1"}, timeout_s=AT_ONCE_S)
    lab.edit("Writing", "writer", spec={"x": "2"})
    lab.await_child("ConfigMap", "reader-b", lambda obj: obj["data"] == {"x": "2"}, timeout_s=AT_ONCE_S)
    lab.cluster.delete(lab.path("Reading", "reader"))
    lab.await_gone(lab.path("Reading", "reader"))
    assert set(lab.configs()) == {"writer-a"}


def test_a_reference_to_a_secret_shows_no_value(lab: Lab) -> None:
    """Values of Secrets reach the children that use them, but no condition, log line or Event."""
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "key"}}
    ready = {"readyWhen": ['${string(key.data.word) == "open"}']}
    lab.define(
        "Hiding", [{"id": "key", "externalRef": secret, **ready}, config("a", data={"w": "${string(key.data.word)}"})]
    )
    data = {"stringData": {"word": "swordfish"}}
    lab.cluster.create(
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "key", "namespace": lab.namespace}, **data}
    )
    lab.instance("Hiding")
    obj = lab.await_state("Hiding", state="IN_PROGRESS", message='node "key" not ready')
    assert "swordfish" not in str(obj)
    assert "swordfish" not in lab.controller.log.read_text()
    assert all("swordfish" not in str(event) for event in lab.events())
    lab.cluster.merge(lab.child_path("Secret", "key"), {"stringData": {"word": "open"}})
    lab.await_state("Hiding", timeout_s=AT_ONCE_S)
    assert lab.child("ConfigMap", "one-a")["data"] == {"w": "open"}
