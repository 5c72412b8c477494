"""The policy `conflicts` and external fields on the real control plane: whose each field is, and who writes it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.integration.cluster import Lab, Obj, audited, config, config_map, eventually, for_a_while, node

pytestmark = pytest.mark.integration

CONTROLLER = "system:serviceaccount:kroasync-system:kroasync"
YIELD, FAIL = {"conflicts": "Yield"}, {"conflicts": "Fail"}
JSON_PATCH = "application/json-patch+json"


def deployment(replicas: int) -> Obj:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "${schema.metadata.name}"},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"a": "b"}},
            "template": {
                "metadata": {"labels": {"a": "b"}},
                "spec": {"containers": [{"name": "web", "image": "${schema.spec.image}"}]},
            },
        },
    }


AUTOSCALER: Obj = {
    "apiVersion": "autoscaling/v2",
    "kind": "HorizontalPodAutoscaler",
    "metadata": {"name": "${schema.metadata.name}"},
    "spec": {
        "minReplicas": 3,
        "maxReplicas": 5,
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "${deployment.metadata.name}"},
    },
}


def offset(lab: Lab) -> int:
    return Path(lab.cluster.playground.audit_log).stat().st_size


def written(lab: Lab, since: int, plural: str = "deployments") -> list[str]:
    """The controller's writes of objects of the lab's namespace."""
    return [
        f"{event['verb']} {event['requestURI']}"
        for event in audited(lab.cluster.playground, user=CONTROLLER, since=since)
        if event["verb"] not in ("get", "list") and f"/namespaces/{lab.namespace}/{plural}/" in event["requestURI"]
    ]


def scale(lab: Lab, replicas: int) -> None:
    path = lab.child_path("Deployment", "one") + "/scale?fieldManager=scaler"
    lab.cluster.merge(path, {"spec": {"replicas": replicas}})


def image(obj: Obj) -> Any:
    return obj["spec"]["template"]["spec"]["containers"][0]["image"]


def looked_at(lab: Lab, kind: str, *, by: str = "two") -> None:
    """The pass over another instance shows that the queue has handled the first one, too."""
    lab.instance(kind, by, spec={"image": "a:1"})
    lab.await_state(kind, by)


def disown(lab: Lab, kind: str, name: str, manager: str) -> None:
    """Take an entry off the managed fields of an object."""
    entries = lab.child(kind, name)["metadata"]["managedFields"]
    left = [entry for entry in entries if entry["manager"] != manager]
    patch = [{"op": "replace", "path": "/metadata/managedFields", "value": left}]
    lab.cluster.call("PATCH", lab.child_path(kind, name), patch, content_type=JSON_PATCH)


def test_a_scaler_keeps_the_replicas_while_images_roll_out(lab: Lab) -> None:
    """Also if it passes through the declared number, and through a crash. Without it, the number is declared again."""
    lab.define("Scaled", [node("d", deployment(2), policy=YIELD)], spec={"image": "string"})
    lab.instance("Scaled", spec={"image": "a:1"})
    lab.await_state("Scaled")
    since = offset(lab)
    for replicas in (3, 2, 5, 2, 4):
        scale(lab, replicas)
        for _ in for_a_while(lambda: None, seconds=0.2):
            pass
    assert written(lab, since) == []
    lab.edit("Scaled", spec={"image": "a:2"})
    found = lab.await_child("Deployment", "one", lambda obj: image(obj) == "a:2")
    assert found["spec"]["replicas"] == 4
    lab.await_state("Scaled")
    assert len(written(lab, since)) == 1
    [event] = eventually(lambda: lab.events(reason="Yielded"), lambda events: len(events) == 2)[:1]
    assert '.spec.replicas is 3 by manager "scaler", declared is 2' in event["note"]

    since = offset(lab)
    lab.controller.kill()
    scale(lab, 2)
    lab.controller.start()
    lab.controller.wait_ready()
    looked_at(lab, "Scaled")
    scale(lab, 5)
    assert [line for line in written(lab, since) if "/one" in line] == []
    lab.edit("Scaled", spec={"image": "a:3"})
    found = lab.await_child("Deployment", "one", lambda obj: image(obj) == "a:3")
    assert found["spec"]["replicas"] == 5

    disown(lab, "Deployment", "one", "scaler")
    lab.await_child("Deployment", "one", lambda obj: obj["spec"]["replicas"] == 2)


def test_a_scaler_may_scale_to_zero_and_starts_from_the_declared_number(lab: Lab) -> None:
    """The API server records no manager of a zero, nor of the next number."""
    lab.define("Sleeping", [node("d", deployment(2), policy=YIELD)], spec={"image": "string"})
    lab.instance("Sleeping", spec={"image": "a:1"})
    lab.await_state("Sleeping")
    since = offset(lab)
    scale(lab, 3)
    scale(lab, 0)
    looked_at(lab, "Sleeping")
    assert [line for line in written(lab, since) if "/one" in line] == []
    assert lab.child("Deployment", "one")["spec"]["replicas"] == 0
    scale(lab, 4)
    lab.await_child("Deployment", "one", lambda obj: obj["spec"]["replicas"] == 2)
    since = offset(lab)
    scale(lab, 4)
    looked_at(lab, "Sleeping", by="three")
    assert [line for line in written(lab, since) if "/one" in line] == []
    assert lab.child("Deployment", "one")["spec"]["replicas"] == 4


def test_an_autoscaler_of_the_same_definition_scales(lab: Lab) -> None:
    resources = [node("deployment", deployment(1), policy=YIELD), node("autoscaler", AUTOSCALER)]
    lab.define("Autoscaled", resources, spec={"image": "string"})
    lab.instance("Autoscaled", spec={"image": "a:1"})
    lab.await_state("Autoscaled")
    since = offset(lab)
    lab.await_child("Deployment", "one", lambda obj: obj["spec"]["replicas"] == 3, timeout_s=60)
    lab.edit("Autoscaled", spec={"image": "a:2"})
    found = lab.await_child("Deployment", "one", lambda obj: image(obj) == "a:2")
    assert found["spec"]["replicas"] == 3
    lab.await_state("Autoscaled")
    assert len(written(lab, since)) == 1


def theirs(lab: Lab, name: str, **data: str) -> None:
    """As `kubectl apply --server-side --force-conflicts`."""
    lab.cluster.apply(config_map(name=name, namespace=lab.namespace, data=data), manager="human")


def test_under_fail_nothing_is_written_and_the_condition_says_who_has_what(lab: Lab) -> None:
    lab.define("Strict", [config("a", data={"x": "${schema.spec.x}", "y": "1"}, policy=FAIL)], spec={"x": "string"})
    lab.instance("Strict", spec={"x": "ours"})
    lab.await_state("Strict")
    theirs(lab, "one-a", x="theirs")
    text = '.data.x is "theirs" by manager "human", declared is "ours"'
    lab.await_state("Strict", state="ERROR", message=text)
    version = lab.child("ConfigMap", "one-a")["metadata"]["resourceVersion"]
    lab.edit("Strict", spec={"x": "other"})
    lab.await_state("Strict", state="ERROR", message='declared is "other"')
    assert lab.child("ConfigMap", "one-a")["metadata"]["resourceVersion"] == version
    theirs(lab, "one-a")
    lab.await_state("Strict")
    assert lab.child("ConfigMap", "one-a")["data"] == {"x": "other", "y": "1"}


def test_under_fail_a_field_of_both_stays_until_the_other_manager_gives_it_up(lab: Lab) -> None:
    """The declaration changes: only the API server's conflict tells that somebody else has the field, too."""
    lab.define("Shared", [config("a", data={"x": "${schema.spec.x}"}, policy=FAIL)], spec={"x": "string"})
    lab.instance("Shared", spec={"x": "1"})
    lab.await_state("Shared")
    theirs(lab, "one-a", x="1")
    version = lab.child("ConfigMap", "one-a")["metadata"]["resourceVersion"]
    lab.edit("Shared", spec={"x": "2"})
    lab.await_state("Shared", state="ERROR", message='.data.x is "1" by manager "human", declared is "2"')
    assert lab.child("ConfigMap", "one-a")["metadata"]["resourceVersion"] == version
    theirs(lab, "one-a")
    lab.await_state("Shared")
    assert lab.child("ConfigMap", "one-a")["data"] == {"x": "2"}


def container(**fields: Any) -> Obj:
    found = deployment(0)
    found["metadata"]["name"] = "one"
    found["spec"]["template"]["spec"]["containers"] = [{"name": "web", **fields}]
    return found


def test_a_field_of_an_element_that_both_declared_is_yielded_when_it_changes(lab: Lab) -> None:
    """The API server names the field by the keys of its elements; what was sent without it is not sent again."""
    lab.define("Tagged", [node("d", deployment(0), policy=YIELD)], spec={"image": "string"})
    lab.instance("Tagged", spec={"image": "a:1"})
    lab.await_state("Tagged")
    other = container(image="a:1")
    other["metadata"]["namespace"] = lab.namespace
    lab.cluster.apply(other, manager="ci")
    since = offset(lab)
    lab.edit("Tagged", spec={"image": "a:2"})
    text = '.spec.template.spec.containers[name="web"].image is "a:1" by manager "ci", declared is "a:2"'
    eventually(
        lambda: lab.events(reason="Yielded"), lambda events: any(text in event["note"] for event in events), what=text
    )
    lab.await_state("Tagged")
    assert image(lab.child("Deployment", "one")) == "a:1"
    assert len(written(lab, since)) == 2
    lab.edit("Tagged", metadata={"labels": {"look": "again"}})
    for _ in for_a_while(lambda: None):
        pass
    assert len(written(lab, since)) <= 3

    disown(lab, "Deployment", "one", "ci")
    lab.await_child("Deployment", "one", lambda obj: image(obj) == "a:2")


def taken_over(lab: Lab, kind: str, resource: Obj) -> None:
    theirs(lab, "one-a", x="theirs", y="1")
    lab.define(kind, [resource])
    lab.instance(kind)


@pytest.mark.parametrize(
    ("policy", "external", "data"),
    [
        (YIELD, [], {"x": "theirs", "y": "1", "z": "1"}),
        ({}, ["data.x"], {"x": "theirs", "y": "1", "z": "1"}),
        ({}, [], {"x": "ours", "y": "1", "z": "1"}),
    ],
)
def test_an_adopted_object_keeps_the_fields_that_are_left_to_others(
    lab: Lab, policy: Obj, external: Sequence[str], data: Obj
) -> None:
    fields: Obj = {"policy": policy} if policy else {}
    fields |= {"externalFields": external} if external else {}
    taken_over(lab, "Taking", config("a", data={"x": "ours", "y": "1", "z": "1"}, **fields))
    lab.await_state("Taking")
    assert lab.child("ConfigMap", "one-a")["data"] == data


def test_an_object_with_fields_of_others_is_not_adopted_under_fail(lab: Lab) -> None:
    taken_over(lab, "Refusing", config("a", data={"x": "ours"}, policy=FAIL))
    version = lab.child("ConfigMap", "one-a")["metadata"]["resourceVersion"]
    lab.await_state("Refusing", state="ERROR", message='.data.x is "theirs" by manager "human"')
    eventually(lambda: lab.events(reason="AdoptionRefused"), lambda events: len(events) == 1)
    assert lab.child("ConfigMap", "one-a")["metadata"]["resourceVersion"] == version
    theirs(lab, "one-a", y="1")
    lab.await_state("Refusing")
    assert lab.child("ConfigMap", "one-a")["data"] == {"x": "ours", "y": "1"}


def test_external_fields_stay_and_all_others_revert(lab: Lab) -> None:
    """kro's own example: one update of another manager changes a field of each sort."""
    resource = config("a", data={"owned": "1", "released": "1"}, externalFields=["data.released"])
    lab.define("Partly", [resource])
    lab.instance("Partly")
    lab.await_state("Partly")
    path = lab.child_path("ConfigMap", "one-a")
    lab.cluster.merge(f"{path}?fieldManager=editor", {"data": {"owned": "2", "released": "2"}})
    lab.await_child("ConfigMap", "one-a", lambda obj: obj["data"] == {"owned": "1", "released": "2"})
    lab.await_state("Partly")
    lab.controller.kill()
    lab.controller.start()
    lab.controller.wait_ready()
    lab.cluster.merge(f"{path}?fieldManager=editor", {"data": {"owned": "3", "released": "3"}})
    lab.await_child("ConfigMap", "one-a", lambda obj: obj["data"] == {"owned": "1", "released": "3"})
    lab.cluster.delete(lab.path("Partly"))
    lab.await_gone(path)
