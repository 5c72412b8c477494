"""Crashes, restarts and an unavailable API server: all work finishes, nothing happens twice, then nothing changes."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from tests.integration.cluster import Lab, Obj, audited, condition, config, eventually, for_a_while, node

pytestmark = pytest.mark.integration

CONTROLLER = "system:serviceaccount:kroasync-system:kroasync"


def family(lab: Lab, kind: str) -> None:
    chain = [config("a"), config("b", data={"x": "${a.metadata.uid}"}), config("c", data={"x": "${b.metadata.uid}"})]
    lab.define(kind, chain)


def children(lab: Lab) -> dict[str, str]:
    return {name: obj["metadata"]["uid"] for name, obj in lab.configs().items()}


def test_a_crash_while_fifty_instances_come_up_leaves_nothing_undone_or_doubled(lab: Lab) -> None:
    family(lab, "Crashing")
    log = Path(lab.cluster.playground.audit_log)
    offset = log.stat().st_size
    names = [f"i{n:02}" for n in range(50)]
    for name in names:
        lab.instance("Crashing", name)
        if name == "i30":
            lab.controller.kill()
    # During work: some objects exist, but not all.
    survivors = children(lab)
    assert len(survivors) < 150
    lab.controller.start()
    lab.controller.wait_ready()
    for name in names:
        lab.await_state("Crashing", name, timeout_s=40)
    found = children(lab)
    assert set(found) == {f"{name}-{id_}" for name in names for id_ in "abc"}
    assert survivors.items() <= found.items()
    created = [
        event["objectRef"]["name"]
        for event in audited(lab.cluster.playground, user=CONTROLLER, since=offset)
        if f"/namespaces/{lab.namespace}/configmaps/" in event["requestURI"] and event["responseStatus"]["code"] == 201
    ]
    assert len(created) == len(set(created))
    # A request that the crash cut off may have created its object without an answer to record: those few are older
    # than the restart.
    assert found.keys() - set(created) <= survivors.keys()


def test_a_restart_changes_nothing(lab: Lab) -> None:
    """No revision, condition or resourceVersion changes; after SIGTERM, the process ends with code 0."""
    family(lab, "Restarted")
    lab.instance("Restarted")
    lab.await_state("Restarted")
    definition = lab.definition_name("Restarted")

    def versions() -> list[str]:
        objs: list[Obj] = [lab.read_definition(definition), lab.read("Restarted"), *lab.configs().values()]
        crd = lab.cluster.call("GET", lab.cluster.path("CustomResourceDefinition", "", f"restarteds.{lab.group}"))
        return [obj["metadata"]["resourceVersion"] for obj in (*objs, crd)]

    for _ in for_a_while(lambda: None, seconds=0.3):
        pass
    before = versions()
    assert lab.controller.stop() == 0
    lab.controller.start()
    lab.controller.wait_ready()
    lab.cluster.delete(lab.child_path("ConfigMap", "one-c"))
    lab.await_child("ConfigMap", "one-c")
    lab.await_state("Restarted")
    after = versions()
    assert [old for old, new in zip(before, after, strict=True) if old != new] in ([before[4]], [before[1], before[4]])


def test_text_of_a_secret_is_healed_pruned_and_not_sent_again_after_a_restart(lab: Lab) -> None:
    """The API server stores `stringData` as `data`, and so does the desired state that it is compared with."""
    meta = {"name": "${schema.metadata.name}-s"}
    template = {"apiVersion": "v1", "kind": "Secret", "metadata": meta, "stringData": {"a": "1", "b": "2"}}
    lab.define("Texts", [node("s", template)])
    lab.instance("Texts")
    lab.await_state("Texts")
    path = lab.child_path("Secret", "one-s")
    lab.cluster.merge(path, {"stringData": {"a": "theirs"}})
    lab.await_child("Secret", "one-s", lambda obj: obj["data"] == {"a": "MQ==", "b": "Mg=="})

    lab.controller.stop()
    log = Path(lab.cluster.playground.audit_log)
    offset = log.stat().st_size
    lab.controller.start()
    lab.controller.wait_ready()
    # The pass over a second instance shows that the queue has handled the first one.
    lab.instance("Texts", "two")
    lab.await_state("Texts", "two")
    sent = [
        e["requestURI"] for e in audited(lab.cluster.playground, user=CONTROLLER, since=offset) if e["verb"] == "patch"
    ]
    assert [uri for uri in sent if f"/namespaces/{lab.namespace}/secrets/one-s" in uri] == []
    assert [uri for uri in sent if f"/namespaces/{lab.namespace}/secrets/two-s" in uri] != []

    lab.define("Texts", [node("s", {**template, "stringData": {"a": "1"}})])
    lab.await_child("Secret", "one-s", lambda obj: obj["data"] == {"a": "MQ=="})


def test_changes_made_while_it_was_away_are_made_good(lab: Lab) -> None:
    family(lab, "Absent")
    for name in ("deleted", "edited", "kept"):
        lab.instance("Absent", name)
        lab.await_state("Absent", name)
    lab.controller.stop()
    try:
        lab.cluster.delete(lab.path("Absent", "deleted"))
        lab.cluster.delete(lab.child_path("ConfigMap", "kept-c"))
        lab.cluster.merge(lab.child_path("ConfigMap", "edited-b"), {"data": {"x": "wrong"}})
        lab.instance("Absent", "new")
        definition = lab.read_definition(lab.definition_name("Absent"))
    finally:
        lab.controller.start()
    lab.controller.wait_ready()
    lab.await_gone(lab.path("Absent", "deleted"))
    lab.await_child("ConfigMap", "kept-c")
    uid = lab.child("ConfigMap", "edited-a")["metadata"]["uid"]
    lab.await_child("ConfigMap", "edited-b", lambda obj: obj["data"] == {"x": uid})
    lab.await_state("Absent", "new")
    again = lab.read_definition(lab.definition_name("Absent"))
    assert again["status"]["lastIssuedRevision"] == definition["status"]["lastIssuedRevision"] == 1


def test_sigterm_in_the_middle_of_work_ends_cleanly_and_the_rest_follows(lab: Lab) -> None:
    family(lab, "Stopped")
    names = [f"i{n:02}" for n in range(20)]
    for name in names:
        lab.instance("Stopped", name)
    try:
        assert lab.controller.stop(timeout_s=20) == 0
    finally:
        lab.controller.start()
    lab.controller.wait_ready()
    for name in names:
        lab.await_state("Stopped", name)
    assert len(lab.configs()) == 60


def test_an_api_server_that_goes_away_for_five_seconds(lab: Lab) -> None:
    """Readiness reports it, the process continues, and later objects are handled without a restart."""
    family(lab, "Cut")
    lab.instance("Cut")
    lab.await_state("Cut")
    playground, pid = lab.cluster.playground, lab.controller.pid
    playground.stop("kube-apiserver")
    try:
        eventually(lambda: lab.controller.get("/readyz")[0], lambda status: status == 500, timeout_s=15)
        assert lab.controller.get("/healthz")[0] == 200
        threading.Event().wait(5)
    finally:
        playground.start("kube-apiserver")
    lab.controller.wait_ready()
    assert lab.controller.pid == pid
    lab.cluster.delete(lab.child_path("ConfigMap", "one-c"))
    lab.await_child("ConfigMap", "one-c")
    lab.instance("Cut", "two")
    obj = lab.await_state("Cut", "two")
    assert condition(obj, "Ready")["status"] == "True"
    lab.define("AfterCut", [config("a")])


def test_a_frozen_controller_catches_up(lab: Lab) -> None:
    family(lab, "Frozen")
    lab.instance("Frozen")
    lab.await_state("Frozen")
    lab.controller.pause()
    try:
        lab.cluster.delete(lab.child_path("ConfigMap", "one-a"))
        lab.instance("Frozen", "two")
    finally:
        lab.controller.resume()
    lab.await_child("ConfigMap", "one-a")
    lab.await_state("Frozen", "two")


def test_a_definition_that_lost_a_whole_kind_while_the_controller_was_away(lab: Lab) -> None:
    """Only the instance's inventory shows that there are Secrets to prune."""
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "${schema.metadata.name}-s"}}
    lab.define("Lessened", [config("a"), {"id": "s", "template": secret}])
    lab.instance("Lessened")
    lab.instance("Lessened", "two")
    lab.await_state("Lessened")
    lab.await_state("Lessened", "two")
    lab.controller.stop()
    try:
        lab.submit(lab.definition("Lessened", [config("a")]))
        lab.cluster.delete(lab.path("Lessened", "two"))
    finally:
        lab.controller.start()
    lab.controller.wait_ready()
    lab.await_child("Secret", "one-s", lambda obj: obj == {})
    lab.await_gone(lab.path("Lessened", "two"))
    assert lab.child("Secret", "two-s") == {}
    key = "applyset.kubernetes.io/contains-group-kinds"
    eventually(lambda: lab.read("Lessened")["metadata"]["annotations"][key], lambda found: found == "ConfigMap")


def test_a_crash_while_thirty_instances_are_deleted(lab: Lab) -> None:
    family(lab, "Vanishing")
    names = [f"i{n:02}" for n in range(30)]
    for name in names:
        lab.instance("Vanishing", name)
    for name in names:
        lab.await_state("Vanishing", name)
    for name in names:
        lab.cluster.delete(lab.path("Vanishing", name))
        if name == "i20":
            lab.controller.kill()
    lab.controller.start()
    lab.controller.wait_ready()
    for name in names:
        lab.await_gone(lab.path("Vanishing", name))
    assert lab.configs() == {}
