"""Lost, altered and false messages between controller and API server neither end the process nor stay unnoticed.

Each test has its own controller behind a proxy, with the rights of the chart.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.attacks.gauges import FULL, repair_s
from tests.attacks.people import User
from tests.attacks.proxy import Answer, Event, Proxy, Request, failure
from tests.integration.cluster import Lab, Obj, condition, config, eventually, for_a_while

pytestmark = pytest.mark.integration


@pytest.fixture
def proxy(lab: Lab, deputy: Callable[..., tuple[User, list[str]]], stand_in: Any, tmp_path: Path) -> Iterator[Proxy]:
    """A lab whose controller is behind this proxy."""
    with Proxy(lab.cluster.playground) as made:
        user, _ = deputy()
        lab.controller = stand_in(kubeconfig=made.kubeconfig(tmp_path / "kubeconfig", user))
        lab.controller.wait_ready()
        yield made
        lab.controller.stop()


def child_events(kind: str, name: str) -> Callable[[str, Event], bool]:
    def is_one(_path: str, event: Event) -> bool:
        found = event.get("object", {})
        return found.get("kind") == kind and found.get("metadata", {}).get("name") == name

    return is_one


# How the metadata of an object may come: the API server leaves empty fields out, others write null.
NULLS: dict[str, Obj] = {
    "finalizers": {"finalizers": None},
    "labels": {"labels": None},
    "annotations": {"annotations": None},
    "ownerReferences": {"ownerReferences": None},
    "managedFields": {"managedFields": None},
    "all": dict.fromkeys(("finalizers", "labels", "annotations", "ownerReferences", "managedFields")),
    "deletion": {"deletionTimestamp": None, "deletionGracePeriodSeconds": None},
    "wrong types": {"finalizers": "x", "labels": [1], "annotations": "y", "ownerReferences": {"a": 1}},
}


def test_metadata_that_is_null_ends_no_process(lab: Lab, proxy: Proxy) -> None:
    """In events of instances, children, definitions and revisions alike."""
    lab.define("Nulls", [config("c", data={"v": "${schema.spec.v}"})], spec={"v": "string"})
    lab.instance("Nulls", spec={"v": "0"})
    lab.instance("Nulls", "bystander", spec={"v": "0"})
    lab.await_state("Nulls", "bystander")
    pid, name = lab.controller.pid, lab.definition_name("Nulls")
    revisions = lab.cluster.path("GraphRevision")
    kinds = {"Nulls", "ConfigMap", "ResourceGraphDefinition", "GraphRevision", "CustomResourceDefinition"}
    for turn, nulls in enumerate(NULLS.values(), start=1):

        def changed(_path: str, event: Event, nulls: Obj = nulls) -> Event:
            found = event.get("object", {})
            meta = found.get("metadata", {})
            if found.get("kind") in kinds and not meta.get("name", "").startswith("bystander"):
                event = {**event, "object": {**found, "metadata": {**meta, **nulls}}}
            return event

        proxy.event = changed
        lab.edit("Nulls", spec={"v": str(turn)})
        lab.instance("Nulls", f"short-{turn}", spec={"v": "0"})
        lab.cluster.delete(lab.path("Nulls", f"short-{turn}"))
        # The controller reads the finalizers of an object that is being deleted.
        for revision in lab.cluster.list(revisions, f"kro.run/resource-graph-definition-name={name}"):
            lab.cluster.delete(f"{revisions}/{revision['metadata']['name']}")
        lab.cluster.merge(
            lab.cluster.path("ResourceGraphDefinition", "", name), {"metadata": {"labels": {"turn": str(turn)}}}
        )
        assert repair_s(lab, "ConfigMap", "bystander-c", timeout_s=20) < 10.0
        assert lab.controller.is_running
    proxy.event = lambda _path, event: event
    lab.edit("Nulls", spec={"v": "last"})
    lab.await_child("ConfigMap", "one-c", lambda obj: obj.get("data") == {"v": "last"}, timeout_s=30)
    assert (lab.controller.pid, lab.controller.is_running) == (pid, True)


LIES = {
    "conflict": failure(409, "Conflict", "the object has been modified"),
    "denied": failure(403, "Forbidden", "admission webhook denied the request"),
    "quota": failure(403, "Forbidden", "exceeded quota"),
    "broken": failure(500, "InternalError", "etcdserver: request timed out"),
    "no code": {"apiVersion": "v1", "kind": "Status", "status": "Failure", "message": "something"},
}


@pytest.mark.parametrize("lie", LIES if FULL else ["denied", "no code"])
def test_a_write_answered_200_with_a_failure_in_it_failed(lab: Lab, proxy: Proxy, lie: str) -> None:
    lab.define("Told", [config("c", data={"v": "1"})])
    asked: list[Request] = []

    def answer(request: Request) -> Answer | None:
        if request.is_write and request.path.endswith("/configmaps/one-c"):
            asked.append(request)
            return Answer(body=LIES[lie])
        return None

    proxy.answer = answer
    lab.instance("Told")
    eventually(lambda: asked, what="the child is applied")

    def is_noticed() -> bool:
        return len(asked) > 1 or LIES[lie]["message"] in str(lab.read("Told").get("status", {}).get("conditions", ""))

    eventually(is_noticed, what="it is tried again, or the instance says what the server said")
    assert condition(lab.read("Told"), "Ready").get("status") != "True"
    proxy.answer = lambda _request: None
    lab.await_state("Told", timeout_s=30)
    assert lab.child("ConfigMap", "one-c")["data"] == {"v": "1"}


def test_a_list_answered_200_with_a_failure_in_it_is_no_empty_list(lab: Lab, proxy: Proxy) -> None:
    """An empty list would mean that all children are gone, and the controller would create all of them again."""
    lab.define("Listed", [config("c", data={"v": "1"})])
    lab.instance("Listed")
    lab.await_state("Listed")
    before = lab.child("ConfigMap", "one-c")["metadata"]
    path, asked = "/api/v1/configmaps", []

    def answer(request: Request) -> Answer | None:
        if request.path != path:
            return None
        asked.append(request)
        if request.is_watch:
            return Answer(body=failure(410, "Expired", "too old"), status=410)
        return Answer(body=failure(500, "InternalError", "no etcd"))

    proxy.answer = answer
    began = time.monotonic()
    proxy.break_watches(path)
    eventually(lambda: [r for r in asked if not r.is_watch], timeout_s=40, what="the kind is listed again")
    for _ in for_a_while(lambda: None, seconds=1.0):
        pass
    assert [r for r in proxy.since(began) if r.is_write and r.path.endswith("/configmaps/one-c")] == []
    proxy.answer = lambda _request: None
    assert repair_s(lab, "ConfigMap", "one-c", timeout_s=60) < 60
    assert lab.child("ConfigMap", "one-c")["metadata"]["uid"] != before["uid"]
    assert lab.controller.is_running


@pytest.mark.skipif(not FULL, reason="takes up to a quarter of an hour: full form only")
@pytest.mark.timeout(1200)
def test_a_deletion_that_nobody_told_is_noticed(lab: Lab, proxy: Proxy) -> None:
    """So are a change and a creation: an occasional list of names and versions finds them, with few calls."""
    lab.define("Lost", [config("c", data={"v": "1"})])
    names = ("gone", "changed", "kept")
    for name in names:
        lab.instance("Lost", name)
    for name in names:
        lab.await_state("Lost", name)
    is_lost = [child_events("ConfigMap", f"{name}-c") for name in ("gone", "changed")]
    proxy.event = lambda path, event: None if any(check(path, event) for check in is_lost) else event
    lab.cluster.merge(lab.child_path("ConfigMap", "changed-c"), {"data": {"v": "foreign"}})
    lab.cluster.delete(lab.child_path("ConfigMap", "gone-c"))
    began = time.monotonic()
    lab.await_child("ConfigMap", "gone-c", timeout_s=900)
    lab.await_child("ConfigMap", "changed-c", lambda obj: obj["data"] == {"v": "1"}, timeout_s=900)
    calls = len(proxy.since(began))
    assert calls / max(60.0, time.monotonic() - began) < 2.0


# An outage

KINDS = 40 if FULL else 8
TELLING = ("info", "warn", "warning", "error")


def test_an_outage_is_told_once_and_so_is_its_end(lab: Lab, proxy: Proxy) -> None:
    """However many watches there are."""
    for number in range(KINDS):
        lab.define(f"Away{number}", [config("c", data={"v": "1"})])
    lab.instance("Away0")
    lab.await_state("Away0")

    def told() -> list[Obj]:
        found = [line for line in lab.controller.lines() if line.get("level", "").lower() in TELLING]
        return [line for line in found if line.get("msg") != "pass"]

    # The last Events are written.
    for _ in for_a_while(lambda: None, seconds=2.0):
        pass
    before = len(told())
    proxy.cut()
    eventually(lambda: lab.controller.get("/readyz")[0] == 500, timeout_s=30, what="it is unready")
    for _ in for_a_while(lambda: None, seconds=20.0 if FULL else 8.0):
        pass
    during = told()[before:]
    assert len(during) == 1, [line.get("msg") for line in during]
    assert lab.controller.get("/healthz")[0] == 200
    before += len(during)
    proxy.mend()
    lab.controller.wait_ready(60)
    assert repair_s(lab, "ConfigMap", "one-c", timeout_s=60) < 60
    eventually(lambda: told()[before:], timeout_s=60, what="its end is told")
    for _ in for_a_while(lambda: None, seconds=2.0):
        pass
    after = told()[before:]
    assert len(after) == 1, [line.get("msg") for line in after]
