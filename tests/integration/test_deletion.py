"""Deletion of instances (runtime.md 2.8): in waves of reverse order, only from the data that the children store."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.integration.cluster import (
    Lab,
    Obj,
    applyset_id,
    condition,
    config,
    config_map,
    eventually,
    for_a_while,
)

pytestmark = pytest.mark.integration

BLOCK = {"metadata": {"finalizers": ["example.com/block"]}}
FREE = {"metadata": {"finalizers": None}}


def chain() -> list[Obj]:
    """Three ConfigMaps, each of which reads the previous one."""
    return [
        config("a"),
        config("b", data={"x": "${a.metadata.name}"}),
        config("c", data={"x": "${b.metadata.name}"}),
    ]


def test_a_wave_starts_when_the_one_above_is_gone_and_the_message_names_what_blocks(lab: Lab) -> None:
    lab.define("Waves", chain())
    lab.instance("Waves")
    lab.await_state("Waves")
    lab.cluster.merge(lab.child_path("ConfigMap", "one-b"), BLOCK)
    lab.cluster.delete(lab.path("Waves"))
    obj = lab.await_state("Waves", state="DELETING", message="example.com/block")
    message = condition(obj, "ResourcesReady")["message"]
    assert message.startswith("deleting apply-order wave 2: waiting for ")
    assert "one-b" in message
    assert condition(obj, "ResourcesReady")["status"] == "Unknown"
    assert condition(obj, "ResourcesReady")["reason"] == "UnderDeletion"
    assert obj["status"]["phase"] == "Terminating"
    assert all(set(found) == {"one-a", "one-b"} for found in for_a_while(lab.configs, seconds=0.3))
    lab.cluster.merge(lab.child_path("ConfigMap", "one-b"), FREE)
    lab.await_gone(lab.path("Waves"), timeout_s=5)
    assert lab.configs() == {}


def test_deletion_needs_no_definition(lab: Lab) -> None:
    """The definition is deleted while instances exist; each of them can still be deleted, in order."""
    definition = lab.define("Orphaned", [*chain(), config("other", metadata={"namespace": "default"})])
    lab.instance("Orphaned", lab.namespace)
    lab.instance("Orphaned", "stays")
    lab.await_state("Orphaned", lab.namespace)
    lab.await_state("Orphaned", "stays")
    crd = lab.cluster.path("CustomResourceDefinition", "", f"orphaneds.{lab.group}")
    # The finalizer only shows that the deletion continues while the kind is deleted.
    lab.cluster.merge(lab.child_path("ConfigMap", "stays-c"), BLOCK)
    lab.cluster.delete(lab.cluster.path_of(definition))
    lab.await_gone(lab.cluster.path_of(definition))
    lab.await_gone(lab.path("Orphaned", lab.namespace))
    assert lab.child("ConfigMap", f"{lab.namespace}-other", "default") == {}
    lab.await_state("Orphaned", "stays", "DELETING")
    lab.cluster.merge(lab.child_path("ConfigMap", "stays-c"), FREE)
    lab.await_gone(crd)
    assert lab.configs() == {}


def test_children_of_nodes_that_were_removed_from_the_graph_go_too(lab: Lab) -> None:
    """A pass that cannot finish prunes nothing; the deletion of the instance deletes the rest."""
    lab.define("Leftover", [config("a"), config("b")])
    lab.instance("Leftover")
    lab.await_state("Leftover")
    lab.cluster.merge(lab.child_path("ConfigMap", "one-b"), BLOCK)
    missing = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "missing"}}
    waits = config("c", data={"x": "${ext.metadata.name}"})
    lab.define("Leftover", [config("a"), {"id": "ext", "externalRef": missing}, waits])
    lab.await_state("Leftover", state="IN_PROGRESS", message='external reference "ext": not found')
    lab.cluster.delete(lab.path("Leftover"))
    lab.await_state("Leftover", state="DELETING", message="one-b")
    lab.cluster.merge(lab.child_path("ConfigMap", "one-b"), FREE)
    lab.await_gone(lab.path("Leftover"))
    assert lab.configs() == {}


def test_a_child_on_its_way_out_is_waited_for(lab: Lab) -> None:
    lab.define("Terminating", [config("a"), config("b", data={"x": "${a.metadata.name}"})])
    lab.instance("Terminating")
    lab.await_state("Terminating")
    path = lab.child_path("ConfigMap", "one-a")
    lab.cluster.merge(path, BLOCK)
    lab.cluster.delete(path)
    obj = lab.await_state(
        "Terminating",
        state="IN_PROGRESS",
        message=(
            f'resource "{lab.namespace}/one-a" for node "a" is currently being deleted; '
            "waiting for deletion to complete before continuing reconciliation"
        ),
    )
    assert condition(obj, "ResourcesReady")["reason"] == "ResourceDeleting"
    uid = lab.child("ConfigMap", "one-a")["metadata"]["uid"]
    lab.cluster.merge(path, FREE)
    lab.await_child("ConfigMap", "one-a", lambda obj: obj and obj["metadata"]["uid"] != uid)
    lab.await_state("Terminating")


@pytest.mark.parametrize(
    ("patch", "text"),
    [
        ({"labels": {"applyset.kubernetes.io/id": "applyset-x-v1"}}, "invalid applyset.kubernetes.io/id label"),
        (
            {"annotations": {"applyset.kubernetes.io/contains-group-kinds": "Secret"}},
            "invalid internal.kro.run/applyset-inventory-hash annotation",
        ),
        (
            {"annotations": {"applyset.kubernetes.io/tooling": "helm/v3"}},
            'invalid applyset.kubernetes.io/tooling annotation: "helm/v3" is not owned by kro',
        ),
    ],
)
def test_a_tampered_inventory_blocks_the_deletion_and_says_so(lab: Lab, patch: Obj, text: str) -> None:
    """Without a trusted inventory, children could remain forever."""
    lab.define("Tampered", [config("a")])
    lab.instance("Tampered")
    obj = lab.await_state("Tampered")
    kept = {field: obj["metadata"][field] for field in ("labels", "annotations")}
    # A second finalizer keeps the object while the test changes it.
    lab.edit("Tampered", metadata={"finalizers": ["kro.run/finalizer", "example.com/block"]})
    lab.edit("Tampered", metadata={"annotations": {"kro.run/reconcile": "suspended"}})
    lab.await_status("Tampered", check=lambda s: "ReconciliationSuspended" in str(s))
    lab.cluster.merge(lab.child_path("ConfigMap", "one-a"), BLOCK)
    lab.cluster.delete(lab.path("Tampered"))
    lab.await_state("Tampered", state="DELETING", message="one-a")
    lab.edit("Tampered", metadata=patch)
    lab.await_state("Tampered", state="DELETING", message="deletion blocked: validate deletion inventory: " + text)
    eventually(lambda: lab.events(reason="DeletionBlocked"))
    lab.edit("Tampered", metadata=kept)
    lab.cluster.merge(lab.child_path("ConfigMap", "one-a"), FREE)
    lab.await_child("ConfigMap", "one-a", lambda obj: obj == {})
    eventually(lambda: lab.read("Tampered"), lambda obj: obj["metadata"]["finalizers"] == ["example.com/block"])
    lab.edit("Tampered", metadata={"finalizers": None})
    lab.await_gone(lab.path("Tampered"))


def test_finalizers_of_the_first_kro_are_released(lab: Lab) -> None:
    lab.define("Legacy", [config("a")])
    obj = lab.instance("Legacy")
    lab.await_state("Legacy")
    legacy = f"{obj['metadata']['uid']}.kro.run/finalizer"
    lab.edit("Legacy", metadata={"finalizers": [legacy, "kro.run/finalizer"]})
    lab.cluster.delete(lab.path("Legacy"))
    lab.await_gone(lab.path("Legacy"))
    assert lab.configs() == {}


def test_an_instance_that_never_had_children_deletes(lab: Lab) -> None:
    missing = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "missing"}}
    waits = config("a", data={"x": "${ext.metadata.name}"})
    lab.define("Childless", [{"id": "ext", "externalRef": missing}, waits])
    lab.instance("Childless")
    lab.await_state("Childless", state="IN_PROGRESS")
    lab.cluster.delete(lab.path("Childless"))
    lab.await_gone(lab.path("Childless"))


def test_a_namespace_goes_with_everything_in_it(lab: Lab) -> None:
    lab.define("Spaced", chain())
    lab.instance("Spaced")
    lab.await_state("Spaced")
    lab.cluster.delete(lab.cluster.path("Namespace", "", lab.namespace))
    lab.await_gone(lab.cluster.path("Namespace", "", lab.namespace), timeout_s=30)


def test_external_objects_and_objects_of_others_survive(lab: Lab) -> None:
    lab.cluster.create(config_map("ext", lab.namespace, {"x": "1"}))
    theirs = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "ext"}}
    lab.define("Reading", [{"id": "ext", "externalRef": theirs}, config("a", data={"x": "${ext.data.x}"})])
    obj = lab.instance("Reading")
    lab.await_state("Reading")
    # A label alone does not make an object a member.
    part = {"applyset.kubernetes.io/part-of": applyset_id(obj), "kro.run/instance-id": obj["metadata"]["uid"]}
    labels = {**part, "kro.run/owned": "true", "kro.run/node-id": "a"}
    lab.cluster.merge(lab.child_path("ConfigMap", "ext"), {"metadata": {"labels": labels}})
    lab.cluster.delete(lab.path("Reading"))
    lab.await_gone(lab.path("Reading"))
    assert set(lab.configs("")) == {"ext", "kube-root-ca.crt"}


def test_1_6_without_leave_to_delete_crds_the_kind_and_its_instances_stay(
    lab: Lab, controller_process: Any, controller_kubeconfig: Path, tmp_path: Path
) -> None:
    """Nobody reconciles the instances until a definition of that name exists again; they can be deleted at any time."""
    lab.controller.stop()
    careful = controller_process(kubeconfig=controller_kubeconfig, log=tmp_path / "controller.log")
    careful.start()
    try:
        careful.wait_ready()
        definition = lab.define("Kept", [config("a", data={"x": "1"})])
        for name in ("one", "two"):
            lab.instance("Kept", name)
            lab.await_state("Kept", name)
        lab.cluster.delete(lab.cluster.path_of(definition))
        lab.await_gone(lab.cluster.path_of(definition))
        lab.cluster.delete(lab.path("Kept", "one"))
        lab.await_gone(lab.path("Kept", "one"))
        lab.await_configs({"two-a"})
        lab.instance("Kept", "three")
        assert all(set(found) == {"two-a"} for found in for_a_while(lab.configs, seconds=0.3))
        lab.define("Kept", [config("a", data={"x": "2"})])
        lab.await_state("Kept", "three")
        lab.await_child("ConfigMap", "two-a", lambda obj: obj["data"] == {"x": "2"})
    finally:
        careful.stop()
        lab.controller.start()
        lab.controller.wait_ready()


def test_a_pruned_child_that_hangs_in_its_deletion_is_named_and_waited_for(lab: Lab) -> None:
    deep, held = ["${schema.spec.deep}"], {"finalizers": ["example.com/block"]}
    lab.define(
        "Pruned",
        [
            config("base"),
            config("mid", data={"b": "${base.metadata.uid}"}, includeWhen=deep),
            config("top", data={"m": "${mid.metadata.uid}"}, includeWhen=deep, metadata=held),
        ],
        spec={"deep": "boolean | default=true"},
    )
    lab.instance("Pruned")
    lab.await_state("Pruned")
    lab.edit("Pruned", spec={"deep": False})
    obj = lab.await_state("Pruned", state="IN_PROGRESS", message="example.com/block")
    assert "one-top" in condition(obj, "Ready")["message"]
    assert all(set(found) == {"one-base", "one-mid", "one-top"} for found in for_a_while(lab.configs, seconds=0.3))
    lab.cluster.merge(lab.child_path("ConfigMap", "one-top"), FREE)
    lab.await_state("Pruned")
    assert set(lab.configs()) == {"one-base"}
