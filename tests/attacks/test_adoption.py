"""An instance declares an object of somebody else: the object stays unchanged, and the instance names its owner."""

from __future__ import annotations

from typing import Any

import pytest

from tests.attacks.people import People, User, rule
from tests.integration.cluster import Lab, Obj, config, config_map, eventually, for_a_while, node

pytestmark = pytest.mark.integration

OWNER = {"apiVersion": "v1", "kind": "ConfigMap", "name": "front", "controller": True}
# The owner of the object: its metadata, and a word of the message that names the owner.
MARKS: dict[str, tuple[Obj, str]] = {
    "a controller": ({"ownerReferences": [OWNER]}, "front"),
    "helm": (
        {
            "labels": {"app.kubernetes.io/managed-by": "Helm"},
            "annotations": {"meta.helm.sh/release-name": "shop", "meta.helm.sh/release-namespace": "prod"},
        },
        "helm",
    ),
    "argo by annotation": ({"annotations": {"argocd.argoproj.io/tracking-id": "shop:/ConfigMap:prod/x"}}, "argo"),
    "argo by label": ({"labels": {"argocd.argoproj.io/instance": "shop"}}, "argo"),
    "flux kustomization": (
        {"labels": {"kustomize.toolkit.fluxcd.io/name": "shop", "kustomize.toolkit.fluxcd.io/namespace": "flux"}},
        "flux",
    ),
    "flux helm release": (
        {"labels": {"helm.toolkit.fluxcd.io/name": "shop", "helm.toolkit.fluxcd.io/namespace": "flux"}},
        "flux",
    ),
    "another instance": (
        {"labels": {"kro.run/owned": "true", "kro.run/instance-id": "0f5ee0c4-0000-4000-8000-000000000002"}},
        "0f5ee0c4",
    ),
}


def marked(lab: Lab, mark: str, value: str) -> Obj:
    """An object with the mark; the garbage collector deletes objects whose owner does not exist."""
    meta, _ = MARKS[mark]
    if "ownerReferences" in meta:
        owner = lab.cluster.create(config_map("front", lab.namespace, {}))["metadata"]
        meta = {"ownerReferences": [{**OWNER, "uid": owner["uid"]}]}
    return lab.cluster.create(config_map("precious", lab.namespace, {"v": value}, **meta))


@pytest.fixture
def writer(lab: Lab, people: People) -> User:
    """A user who may only write instances, and may not even read the objects that they name."""
    return people.holding(lab.namespace, {lab.namespace: [rule("get create patch delete", "*", lab.group)]})


def put(lab: Lab, user: User, kind: str, target: str) -> None:
    """An instance with the same name as the object that it declares."""
    user.apply(
        {
            "apiVersion": f"{lab.group}/v1alpha1",
            "kind": kind,
            "metadata": {"name": target, "namespace": lab.namespace},
            "spec": {"target": target},
        }
    )


def everything_told(obj: Obj) -> str:
    return " ".join(c.get("message", "") for c in obj["status"].get("conditions", ()))


def events_at(lab: Lab, kind: str, name: str) -> list[Obj]:
    """The Events of the controller about one object."""
    found = lab.cluster.list(lab.cluster.path("Event", lab.namespace))
    return [e for e in found if (e["regarding"].get("kind"), e["regarding"].get("name")) == (kind, name)]


@pytest.mark.parametrize("mark", MARKS)
def test_an_instance_takes_over_what_is_anothers(lab: Lab, writer: User, mark: str) -> None:
    _, owner = MARKS[mark]
    lab.define("Taker", [config("c", "${schema.spec.target}", {"v": "stolen"})], spec={"target": "string"})
    before = marked(lab, mark, "gold")["metadata"]
    put(lab, writer, "Taker", "precious")
    found = lab.await_state("Taker", "precious", "ERROR")
    told = everything_told(found)
    assert "precious" in told
    assert owner in told.lower(), told
    eventually(lambda: events_at(lab, "ConfigMap", "precious"), what="an Event at the object")
    eventually(lambda: events_at(lab, "Taker", "precious"), what="an Event at the instance")
    writer.delete(lab.path("Taker", "precious"))
    lab.await_gone(lab.path("Taker", "precious"))
    for now in for_a_while(lambda: lab.child("ConfigMap", "precious").get("metadata", {}), seconds=0.3):
        assert (now.get("uid"), now.get("resourceVersion")) == (before["uid"], before["resourceVersion"])


def test_an_instance_takes_over_a_secret_of_helm_that_its_writer_may_not_read(lab: Lab, writer: User) -> None:
    template: dict[str, Any] = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "${schema.spec.target}"}}
    status = {"stolen": "${string(s.data.password)}"}
    lab.define("Reader", [node("s", template)], spec={"target": "string"}, status=status)
    secret: Obj = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "precious", "namespace": lab.namespace, **MARKS["helm"][0]},
        "stringData": {"password": "canary7190"},
    }
    before = lab.cluster.create(secret)["metadata"]
    assert not writer.may("get", "secrets", lab.namespace)
    put(lab, writer, "Reader", "precious")
    found = lab.await_state("Reader", "precious", "ERROR")
    assert "canary7190" not in str(found)
    writer.delete(lab.path("Reader", "precious"))
    lab.await_gone(lab.path("Reader", "precious"))
    assert lab.child("Secret", "precious")["metadata"]["resourceVersion"] == before["resourceVersion"]


def test_what_was_refused_is_taken_when_its_owner_lets_go(lab: Lab, writer: User) -> None:
    """An object without an owner is adopted, and the instance and the object report it."""
    lab.define("Later", [config("c", "${schema.spec.target}", {"v": "new"})], spec={"target": "string"})
    marked(lab, "a controller", "old")
    put(lab, writer, "Later", "precious")
    lab.await_state("Later", "precious", "ERROR")
    path = lab.child_path("ConfigMap", "precious")
    lab.cluster.merge(path, {"metadata": {"ownerReferences": None}})
    lab.edit("Later", "precious", metadata={"labels": {"try": "again"}})
    lab.await_state("Later", "precious")
    assert lab.child("ConfigMap", "precious")["data"] == {"v": "new"}
    eventually(lambda: events_at(lab, "ConfigMap", "precious"), what="an Event at the object")
