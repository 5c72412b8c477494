"""The policies `adoption` and `update` on the real API server, with its garbage collector and its Job controller."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.integration.cluster import Lab, Obj, audited, condition, config, config_map, eventually, for_a_while, node

pytestmark = pytest.mark.integration

CONTROLLER = "system:serviceaccount:kroasync-system:kroasync"
RECREATED = "kroasync.io/recreated"


def adoption(word: str) -> dict[str, Any]:
    return {"policy": {"adoption": word}}


def version_of(lab: Lab, kind: str, name: str) -> str:
    return str(lab.child(kind, name)["metadata"]["resourceVersion"])


def message_of(obj: Obj) -> str:
    return str(condition(obj, "ResourcesReady")["message"])


def deployment(name: str) -> Obj:
    labels = {"app": "web"}
    containers = [{"name": "web", "image": "registry.example.com/web:1"}]
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "replicas": 0,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": containers}},
        },
    }


# Adoption


def test_what_helm_has_is_not_adopted_under_if_unowned_until_its_marks_go(lab: Lab) -> None:
    theirs = deployment("one-web")
    marks = {
        "labels": {"app.kubernetes.io/managed-by": "Helm"},
        "annotations": {"meta.helm.sh/release-name": "shop", "meta.helm.sh/release-namespace": lab.namespace},
    }
    theirs["metadata"] |= {"namespace": lab.namespace, **marks}
    lab.cluster.apply(theirs, manager="helm")
    # Its controller writes the status.
    before = lab.await_child("Deployment", "one-web", lambda obj: obj.get("status", {}).get("observedGeneration"))
    web = node("web", deployment("${schema.metadata.name}-web"), readyWhen=["${true}"], **adoption("IfUnowned"))
    lab.define("Unowned", [web, config("after", data={"x": "${web.metadata.name}"})])
    lab.instance("Unowned")
    message = message_of(lab.await_state("Unowned", state="ERROR", message="it is not adopted"))
    assert f"{lab.namespace}/one-web" in message
    assert 'Helm release "shop"' in message
    for found in for_a_while(lambda: lab.child("Deployment", "one-web")):
        assert found["metadata"]["resourceVersion"] == before["metadata"]["resourceVersion"]
    assert lab.child("ConfigMap", "one-after") == {}
    gone = {"labels": dict.fromkeys(marks["labels"]), "annotations": dict.fromkeys(marks["annotations"])}
    lab.cluster.merge(lab.child_path("Deployment", "one-web"), {"metadata": gone})
    lab.await_state("Unowned")
    assert lab.child("Deployment", "one-web")["metadata"]["uid"] == before["metadata"]["uid"]
    assert len(eventually(lambda: lab.events(reason="Adopted"))) == 1


def test_a_field_of_another_manager_with_another_value_hinders_if_unowned_and_an_equal_one_does_not(lab: Lab) -> None:
    for name, value in (("one-a", "theirs"), ("one-b", "1")):
        lab.cluster.apply(config_map(name, lab.namespace, {"v": value}), manager="somebody")
    before = version_of(lab, "ConfigMap", "one-a")
    lab.define("Shared", [config(id_, data={"v": "1"}, **adoption("IfUnowned")) for id_ in "ab"])
    lab.instance("Shared")
    message = message_of(lab.await_state("Shared", state="ERROR", message="it is not adopted"))
    assert '.data.v is "theirs" by manager "somebody", declared is "1"' in message
    lab.await_child("ConfigMap", "one-b", lambda obj: "kro.run/owned" in obj["metadata"].get("labels", {}))
    assert version_of(lab, "ConfigMap", "one-a") == before
    # The other manager gives in.
    lab.cluster.apply(config_map("one-a", lab.namespace, {"v": "1"}), manager="somebody")
    lab.await_state("Shared")
    notes = [event["note"] for event in eventually(lambda: lab.events(reason="Adopted"))]
    assert all("somebody" in note for note in notes)


def test_never_sends_nothing_but_a_create_and_a_read(lab: Lab) -> None:
    lab.cluster.apply(config_map("one-a", lab.namespace, {"v": "theirs"}), manager="somebody")
    before = version_of(lab, "ConfigMap", "one-a")
    log = Path(lab.cluster.playground.audit_log)
    offset = log.stat().st_size
    lab.define("Aloof", [config("a", data={"v": "1"}, **adoption("Never"))])
    lab.instance("Aloof")
    message = message_of(lab.await_state("Aloof", state="ERROR", message="it is not adopted"))
    assert "is managed by somebody" in message
    for _ in for_a_while(lambda: None):
        pass
    assert version_of(lab, "ConfigMap", "one-a") == before
    path = lab.child_path("ConfigMap", "one-a")
    sent = [
        (event["verb"], event["responseStatus"]["code"])
        for event in audited(lab.cluster.playground, user=CONTROLLER, since=offset)
        if event["requestURI"].split("?")[0] == path
    ]
    assert set(sent) == {("patch", 409), ("get", 200)}
    assert "force=true" not in str(audited(lab.cluster.playground, user=CONTROLLER, since=offset))
    lab.cluster.delete(path)
    lab.await_state("Aloof")
    assert lab.child("ConfigMap", "one-a")["data"] == {"v": "1"}


def test_always_takes_what_helm_has_and_every_adoption_is_told(lab: Lab) -> None:
    helm = {"labels": {"app.kubernetes.io/managed-by": "Helm"}}
    lab.cluster.apply(config_map("one-a", lab.namespace, {"v": "theirs"}, **helm), manager="helm")
    # No field of it conflicts.
    lab.cluster.apply(config_map("one-b", lab.namespace, {"other": "kept"}), manager="somebody")
    lab.define("Taking", [config("a", data={"v": "1"}, **adoption("Always")), config("b", data={"v": "1"})])
    lab.instance("Taking")
    lab.await_state("Taking")
    assert lab.child("ConfigMap", "one-a")["data"] == {"v": "1"}
    assert lab.child("ConfigMap", "one-b")["data"] == {"v": "1", "other": "kept"}
    assert len(eventually(lambda: lab.events(reason="Adopted"), lambda found: len(found) == 2)) == 2
    assert not any("one-a" in event["note"] or "one-b" in event["note"] for event in lab.events(reason="Created"))


# Once


def test_what_is_applied_once_is_left_alone_and_created_again_when_it_is_gone(lab: Lab) -> None:
    once: dict[str, Any] = {"policy": {"update": "Once"}}
    entries = [config("a", data={"v": "${schema.spec.v}"}, **once), config("b", data={"v": "${a.data.v}"})]
    lab.define("Sown", entries, spec={"v": "string"})
    lab.instance("Sown", spec={"v": "1"})
    lab.await_state("Sown")
    lab.cluster.merge(lab.child_path("ConfigMap", "one-a"), {"data": {"v": "drifted"}})
    lab.await_child("ConfigMap", "one-b", lambda obj: obj["data"] == {"v": "drifted"})
    before = version_of(lab, "ConfigMap", "one-a")
    lab.edit("Sown", spec={"v": "2"})
    lab.await_state("Sown")
    lab.controller.kill()
    lab.controller.start()
    lab.controller.wait_ready()
    lab.edit("Sown", spec={"v": "3"})
    lab.await_state("Sown")
    assert version_of(lab, "ConfigMap", "one-a") == before
    lab.cluster.delete(lab.child_path("ConfigMap", "one-a"))
    lab.await_child("ConfigMap", "one-b", lambda obj: obj["data"] == {"v": "3"})


def test_an_object_that_is_applied_once_is_adopted_and_keeps_what_it_is(lab: Lab) -> None:
    """Also one whose fields are all those of our manager: a former instance released it."""
    for name, manager in (("one-a", "somebody"), ("one-b", "kro.run/applyset")):
        lab.cluster.apply(config_map(name, lab.namespace, {"v": "theirs", "w": "kept"}), manager=manager)
    once: dict[str, Any] = {"policy": {"update": "Once"}}
    lab.define("Inherited", [config(id_, data={"v": "1"}, **once) for id_ in "ab"])
    lab.instance("Inherited")
    lab.await_state("Inherited")
    for name in ("one-a", "one-b"):
        found = lab.child("ConfigMap", name)
        assert found["data"] == {"v": "theirs", "w": "kept"}
        assert "kroasync.io/seal" in found["metadata"]["annotations"]
    assert len(eventually(lambda: lab.events(reason="Adopted"), lambda found: len(found) == 2)) == 2
    lab.cluster.delete(lab.path("Inherited"))
    lab.await_gone(lab.path("Inherited"))
    assert lab.child("ConfigMap", "one-a") == {}


# Recreate


def job(image: Any) -> Obj:
    pod = {"restartPolicy": "Never", "containers": [{"name": "main", "image": image}]}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "${schema.metadata.name}-job"},
        "spec": {"template": {"spec": pod}},
    }


def test_a_job_whose_image_changes_is_recreated_once_and_its_pods_go(lab: Lab) -> None:
    main = node("main", job("${schema.spec.image}"), readyWhen=["${true}"], policy={"update": "Recreate"})
    after = config("after", data={"uid": "${main.metadata.uid}"})
    lab.define("Batch", [main, after], spec={"image": "string"})
    lab.instance("Batch", spec={"image": "registry.example.com/job:1"})
    lab.await_state("Batch")
    before = lab.child("Job", "one-job")
    owner = {"apiVersion": "batch/v1", "kind": "Job", "name": "one-job", "uid": before["metadata"]["uid"]}
    pod: Obj = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "one-pod", "namespace": lab.namespace, "ownerReferences": [owner]},
        "spec": {"containers": [{"name": "main", "image": "registry.example.com/job:1"}]},
    }
    lab.cluster.create(pod)
    lab.edit("Batch", spec={"image": "registry.example.com/job:2"})
    found = lab.await_child("Job", "one-job", lambda obj: obj and obj["metadata"]["uid"] != before["metadata"]["uid"])
    assert found["spec"]["template"]["spec"]["containers"][0]["image"] == "registry.example.com/job:2"
    lab.await_child("ConfigMap", "one-after", lambda obj: obj["data"] == {"uid": found["metadata"]["uid"]})
    lab.await_state("Batch")
    lab.await_child("Pod", "one-pod", lambda obj: obj == {})
    (event,) = eventually(lambda: lab.events(reason="Recreated"))
    assert f"{lab.namespace}/one-job" in event["note"]
    assert "spec.template: field is immutable" in event["note"]
    assert RECREATED in lab.read("Batch")["metadata"]["annotations"]
    assert RECREATED not in found["metadata"]["annotations"]


def immutable(id_: str, value: str, **more: Any) -> Obj:
    entry = config(id_, data={"v": value}, **more)
    entry["template"]["immutable"] = True
    return entry


def deletes_of(lab: Lab, name: str, offset: int) -> list[int]:
    path = lab.child_path("ConfigMap", name)
    events = audited(lab.cluster.playground, user=CONTROLLER, since=offset)
    return [e["responseStatus"]["code"] for e in events if e["verb"] == "delete" and e["requestURI"].startswith(path)]


def test_a_second_refusal_in_the_same_generation_is_an_error(lab: Lab) -> None:
    lab.define("Sealed", [immutable("a", "${schema.spec.v}", policy={"update": "Recreate"})], spec={"v": "string"})
    lab.instance("Sealed", spec={"v": "1"})
    lab.await_state("Sealed")
    lab.edit("Sealed", spec={"v": "2"})
    lab.await_child("ConfigMap", "one-a", lambda obj: obj and obj["data"] == {"v": "2"})
    lab.await_state("Sealed")
    # Somebody puts another object in its place, which cannot be made as declared.
    log = Path(lab.cluster.playground.audit_log)
    offset = log.stat().st_size
    mine = lab.child("ConfigMap", "one-a")
    lab.controller.stop()
    lab.cluster.delete(lab.child_path("ConfigMap", "one-a"))
    meta = {key: mine["metadata"][key] for key in ("labels", "annotations")}
    other = {**config_map("one-a", lab.namespace, {"v": "9"}, **meta), "immutable": True}
    lab.cluster.apply(other, manager="kro.run/applyset")
    lab.controller.start()
    lab.controller.wait_ready()
    message = message_of(lab.await_state("Sealed", state="ERROR"))
    assert "it was recreated for this generation already" in message
    assert "immutable" in message
    assert deletes_of(lab, "one-a", offset) == []
    lab.edit("Sealed", spec={"v": "3"})
    lab.await_state("Sealed")
    assert lab.child("ConfigMap", "one-a")["data"] == {"v": "3"}


def test_a_crash_while_the_old_object_goes_leaves_one_recreation(lab: Lab) -> None:
    """A finalizer holds the old object; meanwhile the dependents wait, and the message names it."""
    after = config("after", data={"v": "${a.data.v}"})
    first = immutable("a", "${schema.spec.v}", policy={"update": "Recreate"})
    lab.define("Crashed", [first, after], spec={"v": "string"})
    lab.instance("Crashed", spec={"v": "1"})
    lab.await_state("Crashed")
    path = lab.child_path("ConfigMap", "one-a")
    held = lab.cluster.merge(path, {"metadata": {"finalizers": ["example.com/hold"]}})
    log = Path(lab.cluster.playground.audit_log)
    offset = log.stat().st_size
    lab.edit("Crashed", spec={"v": "2"})
    lab.await_child("ConfigMap", "one-a", lambda obj: "deletionTimestamp" in obj["metadata"])
    obj = lab.await_state("Crashed", state="IN_PROGRESS", message="is currently being deleted")
    assert f"{lab.namespace}/one-a" in condition(obj, "Ready")["message"]
    lab.controller.kill()
    lab.cluster.merge(path, {"metadata": {"finalizers": None}})
    lab.await_child("ConfigMap", "one-a", lambda found: found == {})
    assert lab.child("ConfigMap", "one-after")["data"] == {"v": "1"}
    lab.controller.start()
    lab.controller.wait_ready()
    lab.await_state("Crashed")
    found = lab.child("ConfigMap", "one-a")
    assert found["data"] == {"v": "2"}
    assert found["metadata"]["uid"] != held["metadata"]["uid"]
    assert lab.child("ConfigMap", "one-after")["data"] == {"v": "2"}
    assert deletes_of(lab, "one-a", offset) == [200]


def test_an_object_that_somebody_keeps_is_not_recreated(lab: Lab) -> None:
    lab.define("Kept", [immutable("a", "${schema.spec.v}", policy={"update": "Recreate"})], spec={"v": "string"})
    lab.instance("Kept", spec={"v": "1"})
    lab.await_state("Kept")
    keep = {"metadata": {"annotations": {"kro.run/deletion-policy": "Orphaned"}}}
    before = lab.cluster.merge(lab.child_path("ConfigMap", "one-a"), keep)["metadata"]
    lab.edit("Kept", spec={"v": "2"})
    assert "its deletion policy is Orphaned" in message_of(lab.await_state("Kept", state="ERROR"))
    assert lab.child("ConfigMap", "one-a")["metadata"]["resourceVersion"] == before["resourceVersion"]
