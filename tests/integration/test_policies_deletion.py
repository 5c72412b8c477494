"""`policy.deletion` and `policy.maxPrune` on the real control plane, also through crashes: claims outlive what declared
them, and a prune that is too big waits for a person.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.cluster import Lab, Obj, condition, config, config_map, eventually, for_a_while, node
from tests.integration.process import ControllerProcess

pytestmark = pytest.mark.integration

POLICY = "kro.run/deletion-policy"
ALLOW = "kroasync.io/allow-prune"
OURS = ("kro.run/", "internal.kro.run/", "kroasync.io/", "applyset.kubernetes.io/", "app.kubernetes.io/managed-by")
SPEC = {"owner": "string", "keep": "boolean | default=true", "some": "boolean | default=true"}


def claim(id_: str, deletion: str = "Orphan", **extra: Any) -> Obj:
    meta = {"name": f"${{schema.spec.owner}}-{id_}", "labels": {"tier": "data"}, "annotations": {"note": "author's"}}
    spec = {
        "accessModes": ["ReadWriteOnce"],
        "storageClassName": "none",
        "resources": {"requests": {"storage": "1Gi"}},
    }
    template = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": meta, "spec": spec}
    return node(id_, template, policy={"deletion": deletion}, **extra)


def resources() -> list[Obj]:
    """Claims that lose their instance in different ways, and a ConfigMap without a policy."""
    return [
        claim("data"),
        config("plain", data={"of": "${data.metadata.name}"}),
        claim("asked", '${schema.spec.keep ? "Orphan" : "Delete"}'),
        claim("some", includeWhen=["${schema.spec.some}"]),
        claim("dropped"),
    ]


def live(lab: Lab, name: str) -> Obj:
    return lab.child("PersistentVolumeClaim", name)


def released(lab: Lab, before: Obj) -> Obj:
    """The claim, once nothing shows that it belonged to an instance. It is the same, with what its author wrote."""

    def is_free(obj: Obj) -> bool:
        marks = {**obj["metadata"].get("labels", {}), **obj["metadata"].get("annotations", {})}
        return not any(key.startswith(OURS) for key in marks)

    obj = lab.await_child("PersistentVolumeClaim", before["metadata"]["name"], is_free)
    assert obj["metadata"]["uid"] == before["metadata"]["uid"]
    assert obj["spec"] == before["spec"]
    assert obj["metadata"]["annotations"]["note"] == "author's"
    assert obj["metadata"]["labels"] == {"tier": "data"}
    assert "deletionTimestamp" not in obj["metadata"]
    return obj


def adopted(lab: Lab, before: Obj, instance: str) -> None:
    """The claim belongs to the instance, and is the same."""

    def is_taken(obj: Obj) -> bool:
        return bool(obj["metadata"].get("labels", {}).get("kro.run/instance-name") == instance)

    name = before["metadata"]["name"]
    obj = lab.await_child("PersistentVolumeClaim", name, is_taken)
    assert obj["metadata"]["uid"] == before["metadata"]["uid"]
    assert eventually(lambda: lab.events(name, reason="Adopted"))


def test_a_claim_survives_whatever_takes_its_instance_away_and_is_adopted_again(lab: Lab) -> None:
    definition = lab.define("Keeper", resources(), spec=SPEC)["metadata"]["name"]
    lab.instance("Keeper", spec={"owner": "db"})
    lab.await_state("Keeper")
    before = {id_: live(lab, f"db-{id_}") for id_ in ("data", "asked", "some", "dropped")}
    assert {obj["metadata"]["annotations"][POLICY] for obj in before.values()} == {"Orphaned"}
    # The mark follows the policy.
    lab.edit("Keeper", spec={"keep": False})
    lab.await_child("PersistentVolumeClaim", "db-asked", lambda obj: POLICY not in obj["metadata"]["annotations"])
    lab.edit("Keeper", spec={"keep": True, "some": False})
    lab.await_child("PersistentVolumeClaim", "db-asked", lambda obj: POLICY in obj["metadata"]["annotations"])
    released(lab, before["some"])
    lab.define("Keeper", resources()[:-1], spec=SPEC)
    released(lab, before["dropped"])
    lab.await_state("Keeper")
    # The CRD goes with the definition, and the instance with its CRD.
    lab.cluster.delete(lab.cluster.path("ResourceGraphDefinition", "", definition))
    for id_ in ("data", "asked"):
        released(lab, before[id_])
    lab.await_child("ConfigMap", "one-plain", lambda obj: obj == {})
    for id_ in before:
        (event,) = eventually(lambda name=f"db-{id_}": lab.events(name, reason="Released"))  # type: ignore[misc]
        assert "Keeper" in event["note"]
    lab.await_gone(lab.cluster.path("CustomResourceDefinition", "", f"keepers.{lab.group}"))
    lab.define("Keeper", resources(), spec=SPEC)
    lab.instance("Keeper", "two", spec={"owner": "db"})
    lab.await_state("Keeper", "two")
    for obj in before.values():
        adopted(lab, obj, "two")


def test_a_policy_that_comes_with_the_exclusion_counts(lab: Lab) -> None:
    """Nothing is applied for a resource that is left out, so the claim does not say its policy."""
    on = {"includeWhen": ["${schema.spec.some}"]}
    lab.define("Turning", [claim("data", "Delete", **on), config("plain")], spec=SPEC)
    lab.instance("Turning", spec={"owner": "db"})
    lab.await_state("Turning")
    before = live(lab, "db-data")
    assert POLICY not in before["metadata"]["annotations"]
    lab.define("Turning", [claim("data", includeWhen=["${false && schema.spec.some}"]), config("plain")], spec=SPEC)
    released(lab, before)


@pytest.fixture
def keeping(controller: ControllerProcess, controller_kubeconfig: Path, tmp_path: Path) -> Iterator[ControllerProcess]:
    """A controller that leaves CRDs in place, instead of the session's."""
    controller.stop()
    process = ControllerProcess(kubeconfig=controller_kubeconfig, log=tmp_path / "controller.log", arguments=())
    process.start()
    try:
        process.wait_ready()
        yield process
    finally:
        process.stop()
        controller.start()
        controller.wait_ready()


@pytest.mark.usefixtures("keeping")
def test_a_claim_survives_an_instance_whose_definition_is_gone(lab: Lab) -> None:
    definition = lab.define("Loose", [claim("data"), config("plain")], spec={"owner": "string"})
    lab.instance("Loose", spec={"owner": "db"})
    lab.await_state("Loose")
    before = live(lab, "db-data")
    path = lab.cluster.path("ResourceGraphDefinition", "", definition["metadata"]["name"])
    lab.cluster.delete(path)
    lab.await_gone(path)
    lab.cluster.delete(lab.path("Loose"))
    lab.await_gone(lab.path("Loose"))
    released(lab, before)
    assert lab.child("ConfigMap", "one-plain") == {}
    lab.cluster.delete(lab.cluster.path("CustomResourceDefinition", "", f"looses.{lab.group}"))


def test_claims_survive_a_crash_while_they_are_released_and_while_they_are_adopted(lab: Lab) -> None:
    lab.define("Crashing", [claim("data"), config("plain", data={"of": "${data.metadata.uid}"})], spec=SPEC)
    names = [f"i{n}" for n in range(12)]
    for name in names:
        lab.instance("Crashing", name, spec={"owner": name})
    for name in names:
        lab.await_state("Crashing", name)
    before = [live(lab, f"{name}-data") for name in names]
    for name in names:
        lab.cluster.delete(lab.path("Crashing", name))
        if name == "i7":
            lab.controller.kill()
    lab.controller.start()
    lab.controller.wait_ready()
    for name in names:
        lab.await_gone(lab.path("Crashing", name))
    for obj in before:
        released(lab, obj)
    assert lab.configs() == {}
    for name in names:
        lab.instance("Crashing", f"next-{name}", spec={"owner": name})
        if name == "i7":
            lab.controller.kill()
    lab.controller.start()
    lab.controller.wait_ready()
    for name, obj in zip(names, before, strict=True):
        lab.await_state("Crashing", f"next-{name}")
        assert live(lab, f"{name}-data")["metadata"]["uid"] == obj["metadata"]["uid"]
        assert live(lab, f"{name}-data")["metadata"]["labels"]["kro.run/instance-name"] == f"next-{name}"


# A collection over a list that empties

COPIES = {"copy-r1", "copy-r2", "copy-r3", "copy-r4"}


def guarded(lab: Lab) -> None:
    """Copies of the ConfigMaps of a team, of which a pass may delete a tenth."""
    meta = {"namespace": "${schema.metadata.namespace}", "selector": {"matchLabels": {"team": "red"}}}
    found = {"id": "found", "externalRef": {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta}}
    copies = config("copies", "copy-${f.metadata.name}", forEach=[{"f": "${found}"}], policy={"maxPrune": "10%"})
    for n in range(1, 5):
        lab.cluster.create(config_map(f"r{n}", lab.namespace, labels={"team": "red"}))
    lab.define("Copying", [found, copies], status={"count": "${size(found)}"})
    lab.instance("Copying")
    lab.await_configs(COPIES)
    lab.await_state("Copying")


def paint(lab: Lab, team: str) -> None:
    for n in range(1, 5):
        lab.cluster.merge(lab.child_path("ConfigMap", f"r{n}"), {"metadata": {"labels": {"team": team}}})


def await_held(lab: Lab, message: str = "no longer declares 4 of its 4 objects") -> Obj:
    obj = lab.await_state("Copying", state="ERROR", message=message)
    held = condition(obj, "ResourcesReady")
    assert (held["status"], held["reason"]) == ("False", "PruneHeld")
    assert set(lab.configs()) == COPIES
    return obj


def uids(lab: Lab) -> dict[str, str]:
    return {name: obj["metadata"]["uid"] for name, obj in lab.configs().items()}


def test_a_collection_whose_list_empties_is_held_and_goes_on_by_itself(lab: Lab) -> None:
    guarded(lab)
    before = uids(lab)
    paint(lab, "blue")
    await_held(lab)
    assert eventually(lambda: lab.events(reason="PruneHeld"))
    lab.controller.kill()
    lab.controller.start()
    lab.controller.wait_ready()
    lab.edit("Copying", metadata={"annotations": {"wake": "up"}})
    for _ in for_a_while(lambda: await_held(lab)):
        pass
    paint(lab, "red")
    lab.await_state("Copying")
    assert uids(lab) == before


def test_the_annotation_of_the_generation_releases_a_held_prune_once(lab: Lab) -> None:
    guarded(lab)
    paint(lab, "blue")
    generation = await_held(lab)["metadata"]["generation"]
    lab.edit("Copying", metadata={"annotations": {ALLOW: str(generation + 1)}})
    await_held(lab, message=f'it is "{generation + 1}", which is not the generation of the instance')
    lab.edit("Copying", metadata={"annotations": {ALLOW: str(generation)}})
    lab.await_configs(set())
    obj = lab.await_state("Copying")
    assert ALLOW not in obj["metadata"].get("annotations", {})
    paint(lab, "red")
    lab.await_configs(COPIES)
    lab.await_state("Copying")
    paint(lab, "blue")
    await_held(lab)


def test_a_crash_right_after_the_release_deletes_all_or_holds_again(lab: Lab) -> None:
    guarded(lab)
    paint(lab, "blue")
    generation = await_held(lab)["metadata"]["generation"]
    allowed = {"annotations": {ALLOW: str(generation)}}

    def is_decided(obj: Obj) -> bool:
        """Nothing is left, or what is left is held; the annotation is used up in either case."""
        left = len(lab.configs())
        is_held = f"no longer declares {left} of its {left} objects" in condition(obj, "Ready").get("message", "")
        return ALLOW not in obj["metadata"]["annotations"] and (is_held or not left)

    lab.edit("Copying", metadata=allowed)
    lab.controller.kill()
    lab.controller.start()
    lab.controller.wait_ready()
    eventually(lambda: lab.read("Copying"), is_decided)
    if lab.configs():
        lab.edit("Copying", metadata=allowed)
    lab.await_configs(set())
    lab.await_state("Copying")


def test_an_instance_that_is_held_can_be_deleted(lab: Lab) -> None:
    guarded(lab)
    paint(lab, "blue")
    await_held(lab)
    lab.cluster.delete(lab.path("Copying"))
    lab.await_gone(lab.path("Copying"))
    assert lab.configs() == {}
