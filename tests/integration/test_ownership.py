"""Objects of somebody else stay unchanged: forged members, objects that existed before, labels, places."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.integration.cluster import Lab, Obj, condition, config, config_map, eventually, node

pytestmark = pytest.mark.integration

SEAL = "kroasync.io/seal"


def forged(lab: Lab, child: Obj, name: str, namespace: str, **meta: object) -> Obj:
    """A copy of a child with another name, written by somebody with the controller's field manager."""
    copied = {"labels": child["metadata"]["labels"], "annotations": child["metadata"]["annotations"]}
    obj = config_map(name, namespace, {"v": "x"}, **copied, **meta)
    return lab.cluster.apply(obj, manager="kro.run/applyset")


@pytest.fixture
def victim(lab: Lab) -> Iterator[str]:
    name = f"{lab.namespace}-victim"
    lab.cluster.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    yield name
    lab.cluster.delete(lab.cluster.path("Namespace", "", name))


def test_forged_members_are_neither_deleted_nor_waited_for(lab: Lab, victim: str) -> None:
    lab.define(
        "Sealed", [config("a"), config("b", includeWhen=["${schema.spec.b}"])], spec={"b": "boolean | default=true"}
    )
    lab.instance("Sealed")
    lab.await_state("Sealed")
    child = lab.child("ConfigMap", "one-b")
    assert child["metadata"]["annotations"][SEAL].startswith("v1-")
    forged(lab, child, "parasite", lab.namespace, finalizers=["example.com/hold"])
    forged(lab, child, "precious", victim)
    lab.edit("Sealed", spec={"b": False})
    lab.await_child("ConfigMap", "one-b", lambda obj: obj == {})
    (event,) = eventually(lambda: lab.events(reason="NotAMember"))
    assert f"{lab.namespace}/parasite" in event["note"]
    lab.cluster.delete(lab.path("Sealed"))
    lab.await_gone(lab.path("Sealed"), timeout_s=5)
    assert lab.child("ConfigMap", "one-a") == {}
    assert "deletionTimestamp" not in lab.child("ConfigMap", "parasite")["metadata"]
    assert "deletionTimestamp" not in lab.child("ConfigMap", "precious", victim)["metadata"]
    lab.cluster.merge(lab.child_path("ConfigMap", "parasite"), {"metadata": {"finalizers": None}})


def test_a_seal_that_is_taken_off_is_put_back(lab: Lab) -> None:
    lab.define("Resealed", [config("a")])
    lab.instance("Resealed")
    lab.await_state("Resealed")
    seal = lab.child("ConfigMap", "one-a")["metadata"]["annotations"][SEAL]
    lab.cluster.merge(lab.child_path("ConfigMap", "one-a"), {"metadata": {"annotations": {SEAL: None}}})
    lab.await_child("ConfigMap", "one-a", lambda obj: obj["metadata"]["annotations"].get(SEAL) == seal)


OWNED = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web", "controller": True}


@pytest.mark.parametrize(
    ("meta", "who"),
    [
        ({"labels": {"app.kubernetes.io/managed-by": "Helm"}}, "Helm"),
        ({"annotations": {"argocd.argoproj.io/tracking-id": "shop"}}, "Argo CD"),
        ({"labels": {"kustomize.toolkit.fluxcd.io/name": "shop"}}, "Flux"),
        ({"ownerReferences": [OWNED]}, 'Deployment "web", its controller'),
    ],
)
def test_what_is_somebodys_is_not_taken_over(lab: Lab, meta: Obj, who: str) -> None:
    if "ownerReferences" in meta:
        # The owner must exist, or the garbage collector deletes the object.
        owner = lab.cluster.create(config_map("owner", lab.namespace))
        reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner["metadata"]["uid"]}
        meta, who = {"ownerReferences": [{**reference, "controller": True}]}, 'ConfigMap "owner", its controller'
    before = lab.cluster.create(config_map("one-a", lab.namespace, {"x": "theirs"}, **meta))["metadata"]
    lab.define(
        "Refusing", [config("a", data={"y": "ours"}), config("b", data={"x": "${a.metadata.name}"}), config("c")]
    )
    lab.instance("Refusing")
    obj = lab.await_state("Refusing", state="ERROR", message="it is not adopted")
    message = condition(obj, "ResourcesReady")["message"]
    assert f"{lab.namespace}/one-a" in message
    assert who in message
    (event,) = eventually(lambda: lab.events(reason="AdoptionRefused"))
    assert who in event["note"]
    (at_object,) = eventually(lambda: lab.events("one-a", reason="AdoptionRefused"))
    assert at_object["regarding"]["uid"] == before["uid"]
    lab.edit("Refusing", metadata={"annotations": {"look": "again"}})
    lab.await_child("ConfigMap", "one-c")
    assert lab.child("ConfigMap", "one-b") == {}
    lab.cluster.delete(lab.path("Refusing"))
    lab.await_gone(lab.path("Refusing"))
    assert lab.child("ConfigMap", "one-a")["metadata"]["resourceVersion"] == before["resourceVersion"]
    assert len(lab.events(reason="AdoptionRefused")) == 1
    assert len(lab.events("one-a", reason="AdoptionRefused")) == 1


def test_what_is_taken_over_is_told_of_at_the_object_too(lab: Lab) -> None:
    lab.cluster.apply(config_map("one-a", lab.namespace, {"y": "kept"}), manager="somebody")
    lab.define("Taking", [config("a", data={"x": "ours"})])
    lab.instance("Taking")
    lab.await_state("Taking")
    (event,) = eventually(lambda: lab.events("one-a", reason="Adopted"))
    assert "somebody" in event["note"]
    assert "Taking" in event["note"]


def test_labels_of_an_instance_grant_and_configure_nothing(lab: Lab) -> None:
    space = {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": f"{lab.namespace}-${{schema.metadata.name}}"},
    }
    lab.define("Space", [node("ns", space), config("a")])
    labels = {
        "pod-security.kubernetes.io/enforce": "privileged",
        "istio-injection": "disabled",
        "rbac.authorization.k8s.io/aggregate-to-admin": "true",
        "rbac.kro.run/aggregate-to-controller": "true",
        "team": "x",
        "example.com/team": "y",
    }
    lab.instance("Space", labels=labels)
    lab.await_state("Space")
    child = lab.child("ConfigMap", "one-a")["metadata"]["labels"]
    assert {key: child.get(key) for key in labels if key in child} == {"team": "x", "example.com/team": "y"}
    made = lab.cluster.read(lab.cluster.path("Namespace", "", f"{lab.namespace}-one"))
    assert made is not None
    assert not labels.keys() & made["metadata"]["labels"].keys()


def test_a_mistyped_namespace_is_mended_by_mending_it(lab: Lab) -> None:
    lab.define("Placed", [config("a", metadata={"namespace": "${schema.spec.ns}"})], spec={"ns": "string"})
    lab.instance("Placed", spec={"ns": "Bob"})
    obj = lab.await_state("Placed", state="ERROR", message="metadata.namespace must be a DNS label")
    assert obj["metadata"]["annotations"]["applyset.kubernetes.io/additional-namespaces"] == ""
    lab.instance("Placed", "gone", spec={"ns": "a,b"})
    lab.await_state("Placed", "gone", state="ERROR", message="metadata.namespace must be a DNS label")
    lab.cluster.delete(lab.path("Placed", "gone"))
    lab.await_gone(lab.path("Placed", "gone"))
    # Somebody, or an older version, wrote it nevertheless.
    garbled = {"applyset.kubernetes.io/additional-namespaces": "Bob"}
    lab.edit("Placed", spec={"ns": lab.namespace}, metadata={"annotations": garbled})
    obj = lab.await_state("Placed")
    assert obj["metadata"]["annotations"]["applyset.kubernetes.io/additional-namespaces"] == ""
    lab.cluster.delete(lab.path("Placed"))
    lab.await_gone(lab.path("Placed"))
    assert lab.child("ConfigMap", "one-a") == {}
