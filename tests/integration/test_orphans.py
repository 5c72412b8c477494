"""Deletion policy (next.md 5): a released object stays as its author made it, and belongs to nobody."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.cluster import Lab, Obj, config, config_map, eventually, node
from tests.integration.process import ControllerProcess

pytestmark = pytest.mark.integration

POLICY = "kro.run/deletion-policy"
OURS = ("kro.run/", "internal.kro.run/", "kroasync.io/", "applyset.kubernetes.io/", "app.kubernetes.io/managed-by")
KEEP: dict[str, Any] = {"annotations": {POLICY: "Orphaned", "note": "author's"}, "labels": {"tier": "data"}}


@pytest.fixture(scope="module")
def gated(
    controller: ControllerProcess,
    controller_kubeconfig: Path,
    controller_arguments: tuple[str, ...],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[None]:
    """A controller with the feature gate, in place of the session's."""
    controller.stop()
    process = ControllerProcess(
        kubeconfig=controller_kubeconfig,
        log=tmp_path_factory.mktemp("gated") / "controller.log",
        arguments=(*controller_arguments, "--feature-gates=DeletionPolicy=true"),
    )
    process.start()
    try:
        process.wait_ready()
        yield
    finally:
        process.stop()
        controller.start()
        controller.wait_ready()


def resources() -> list[Obj]:
    """What goes in each of the four ways; `plain` has no policy."""
    return [
        config("data", data={"v": "${schema.spec.v}"}, metadata=KEEP),
        config("plain", data={"v": "${data.metadata.name}"}),
        config("some", data={"v": "1"}, metadata=KEEP, includeWhen=["${schema.spec.some}"]),
        config(
            "many", "${schema.metadata.name}-${n}", {"v": "1"}, metadata=KEEP, forEach=[{"n": "${schema.spec.items}"}]
        ),
        config("dropped", data={"v": "1"}, metadata=KEEP),
    ]


SPEC = {"v": "string | default=a", "some": "boolean | default=true", "items": "[]string"}


def released(lab: Lab, name: str, before: Obj) -> Obj:
    """The object, once nothing shows that it belonged to an instance; it is the same, with what its author wrote."""

    def is_free(obj: Obj) -> bool:
        marks = {**obj["metadata"].get("labels", {}), **obj["metadata"].get("annotations", {})}
        return not any(key.startswith(OURS) for key in marks)

    obj = lab.await_child("ConfigMap", name, is_free)
    meta = obj["metadata"]
    assert (meta["uid"], obj["data"]) == (before["metadata"]["uid"], before["data"])
    assert (meta["annotations"], meta["labels"]) == ({"note": "author's"}, {"tier": "data"})
    assert meta.get("ownerReferences") == before["metadata"].get("ownerReferences")
    assert "deletionTimestamp" not in meta
    assert any(e["manager"] == "kro.run/applyset" and "f:data" in e["fieldsV1"] for e in meta["managedFields"])
    return obj


def told(lab: Lab, name: str) -> list[Obj]:
    return eventually(lambda: lab.events(name, reason="Released"))


@pytest.mark.usefixtures("gated")
def test_an_orphan_stays_in_each_of_the_four_ways_and_is_adopted_again(lab: Lab) -> None:
    lab.define("Keeper", resources(), spec=SPEC)
    lab.instance("Keeper", spec={"items": ["x", "y"]})
    lab.await_state("Keeper")
    before = lab.await_configs({"one-data", "one-plain", "one-some", "one-x", "one-y", "one-dropped"})
    lab.edit("Keeper", spec={"items": ["x"], "some": False})
    released(lab, "one-y", before["one-y"])
    released(lab, "one-some", before["one-some"])
    lab.define("Keeper", resources()[:-1], spec=SPEC)
    released(lab, "one-dropped", before["one-dropped"])
    lab.await_state("Keeper")
    owner = lab.cluster.create(config_map("owner", lab.namespace))["metadata"]
    reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner["uid"]}
    lab.cluster.merge(lab.child_path("ConfigMap", "one-data"), {"metadata": {"ownerReferences": [reference]}})
    before["one-data"] = lab.child("ConfigMap", "one-data")
    lab.cluster.delete(lab.path("Keeper"))
    lab.await_gone(lab.path("Keeper"), timeout_s=5)
    released(lab, "one-data", before["one-data"])
    released(lab, "one-x", before["one-x"])
    assert lab.child("ConfigMap", "one-plain") == {}
    for name in ("data", "some", "x", "y", "dropped"):
        (event,) = told(lab, f"one-{name}")
        assert "Keeper" in event["note"]
    assert told(lab, "one")
    # The next instance finds everything that the first one left.
    lab.instance("Keeper", spec={"items": ["x", "y"]})
    lab.await_state("Keeper")
    after = lab.configs()
    assert set(after) == {"one-data", "one-plain", "one-some", "one-x", "one-y"}
    assert all(
        after[name]["metadata"]["uid"] == before[name]["metadata"]["uid"] for name in after if name != "one-plain"
    )
    assert eventually(lambda: lab.events("one-data", reason="Adopted"))
    lab.cluster.delete(lab.path("Keeper"))
    lab.await_gone(lab.path("Keeper"), timeout_s=5)
    released(lab, "one-y", before["one-y"])


@pytest.mark.usefixtures("gated")
def test_an_orphan_needs_no_definition_and_holds_up_nothing(lab: Lab) -> None:
    """Not even if somebody else deletes it, and a finalizer holds it."""
    definition = lab.define("Loose", [config("data", data={"v": "1"}, metadata=KEEP), config("held", metadata=KEEP)])
    lab.instance("Loose")
    lab.await_state("Loose")
    before = lab.child("ConfigMap", "one-data")
    lab.cluster.delete(lab.cluster.path("ResourceGraphDefinition", "", definition["metadata"]["name"]))
    held = lab.child_path("ConfigMap", "one-held")
    lab.cluster.merge(held, {"metadata": {"finalizers": ["example.com/hold"]}})
    lab.cluster.delete(held)
    lab.cluster.delete(lab.path("Loose"))
    lab.await_gone(lab.path("Loose"), timeout_s=5)
    released(lab, "one-data", before)
    assert "deletionTimestamp" in lab.child("ConfigMap", "one-held")["metadata"]
    lab.cluster.merge(held, {"metadata": {"finalizers": None}})


@pytest.mark.usefixtures("gated")
def test_a_released_instance_goes_on_as_one(lab: Lab) -> None:
    lab.define("Inner", [config("leaf", data={"v": "${schema.spec.v}"})], spec={"v": "string"})
    inner = {
        "apiVersion": f"{lab.group}/v1alpha1",
        "kind": "Inner",
        "metadata": {"name": "in", **KEEP},
        "spec": {"v": "1"},
    }
    lab.define("Outer", [node("inner", inner, readyWhen=["${inner.status.state == 'ACTIVE'}"])])
    lab.instance("Outer")
    lab.await_state("Outer")
    leaf = lab.child("ConfigMap", "in-leaf")["metadata"]["uid"]
    lab.cluster.delete(lab.path("Outer"))
    lab.await_gone(lab.path("Outer"), timeout_s=5)
    assert "kro.run/node-id" not in lab.await_state("Inner", "in")["metadata"]["labels"]
    lab.edit("Inner", "in", spec={"v": "2"})
    lab.await_child("ConfigMap", "in-leaf", lambda obj: obj["data"] == {"v": "2"})
    assert lab.child("ConfigMap", "in-leaf")["metadata"]["uid"] == leaf
    lab.cluster.delete(lab.path("Inner", "in"))
    lab.await_gone(lab.path("Inner", "in"), timeout_s=5)
    assert lab.child("ConfigMap", "in-leaf") == {}
