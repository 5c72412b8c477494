"""Forged members: only marks that the controller itself wrote, in a place that it allows, make an object a member.

Everybody can copy labels, annotations and the field manager, but not the name and namespace that they were made for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.attacks.people import People, User, rule
from tests.integration.cluster import (
    APPLY,
    Cluster,
    Lab,
    Obj,
    applyset_id,
    config,
    config_map,
    eventually,
    for_a_while,
    inventory_hash,
)

pytestmark = pytest.mark.integration

HOLD = "example.com/hold"


@pytest.fixture
def victim(lab: Lab, neighbour: Callable[[str], Lab]) -> Iterator[Lab]:
    """Bob's namespace, with an instance of the lab's kind `App`."""
    lab.define("App", [config("cm", data={"v": "1"})])
    bob = neighbour("bob")
    bob.instance("App", "b1")
    bob.await_state("App", "b1")
    yield bob
    for place in (lab, bob):
        let_go(lab.cluster, place.namespace)


def let_go(cluster: Cluster, namespace: str) -> None:
    """Remove the remaining finalizers, so that the namespace can be deleted."""
    for obj in cluster.list(cluster.path("ConfigMap", namespace)):
        if obj["metadata"].get("finalizers"):
            cluster.merge(
                cluster.path_of({**obj, "apiVersion": "v1", "kind": "ConfigMap"}), {"metadata": {"finalizers": None}}
            )


def forged(child: Obj, name: str, namespace: str, **meta: object) -> Obj:
    """A ConfigMap with every label and annotation of a child, and the last apply-order."""
    found = child["metadata"]
    annotations = {**found.get("annotations", {}), "internal.kro.run/apply-order": "9"}
    return config_map(name, namespace, {"v": "x"}, labels=found["labels"], annotations=annotations, **meta)


def is_left_alone(lab: Lab, made: Obj) -> bool:
    """The object exists, and is not being deleted."""
    found = lab.cluster.read(lab.cluster.path_of({**made, "apiVersion": "v1", "kind": "ConfigMap"})) or {}
    meta = found.get("metadata", {})
    return meta.get("uid") == made["metadata"]["uid"] and "deletionTimestamp" not in meta


def apply_as_controller(user: User, obj: Obj) -> Obj:
    """Server-side apply with the controller's own field manager: everybody may use that name."""
    path = f"{user.path_of(obj)}?fieldManager=kro.run/applyset&force=true"
    return dict(user.call("PATCH", path, obj, content_type=APPLY))


def test_a_parasite_elsewhere_blocks_no_deletion(lab: Lab, victim: Lab, people: People) -> None:
    """Alice knows the UID of Bob's instance, and puts an object that looks like its child into her namespace."""
    alice = people.editor(lab.namespace)
    child = victim.child("ConfigMap", "b1-cm")
    made = apply_as_controller(alice, forged(child, "parasite", lab.namespace, finalizers=[HOLD]))
    lab.cluster.delete(victim.path("App", "b1"))
    victim.await_gone(victim.path("App", "b1"))
    assert victim.child("ConfigMap", "b1-cm") == {}
    assert is_left_alone(lab, made)


def test_a_parasite_of_the_same_name_elsewhere_blocks_no_deletion(lab: Lab, victim: Lab, people: People) -> None:
    alice = people.editor(lab.namespace)
    child = victim.child("ConfigMap", "b1-cm")
    made = apply_as_controller(alice, forged(child, "b1-cm", lab.namespace, finalizers=[HOLD]))
    lab.cluster.delete(victim.path("App", "b1"))
    victim.await_gone(victim.path("App", "b1"))
    assert is_left_alone(lab, made)


def test_a_parasite_beside_the_children_blocks_no_deletion(lab: Lab, victim: Lab, people: People) -> None:
    """Mallory may create and change ConfigMaps in Bob's namespace, and no more."""
    mallory = people.holding(lab.namespace, {victim.namespace: [rule("get create patch", "configmaps")]})
    child = victim.child("ConfigMap", "b1-cm")
    made = apply_as_controller(mallory, forged(child, "parasite", victim.namespace, finalizers=[HOLD]))
    lab.cluster.delete(victim.path("App", "b1"))
    victim.await_gone(victim.path("App", "b1"))
    assert is_left_alone(lab, made)


def test_a_parasite_is_pruned_by_nobody(lab: Lab, victim: Lab, people: People) -> None:
    """It does not replace the child either: a change or loss of the child does not affect the parasite."""
    alice = people.editor(lab.namespace)
    child = victim.child("ConfigMap", "b1-cm")
    made = apply_as_controller(alice, forged(child, "parasite", lab.namespace))
    lab.define("App", [config("other", data={"v": "2"})])
    eventually(lambda: victim.child("ConfigMap", "b1-other"), what="the new child")
    victim.await_gone(victim.child_path("ConfigMap", "b1-cm"))
    assert is_left_alone(lab, made)


class Precious:
    """Something of value in a namespace where Alice may only read and patch ConfigMaps."""

    def __init__(self, people: People, alice_at: Lab, place: Lab) -> None:
        self.place = place
        group = alice_at.group
        rights = {
            alice_at.namespace: [rule("get create patch delete", "*", group)],
            place.namespace: [rule("get patch", "configmaps")],
        }
        self.alice = people.holding(alice_at.namespace, rights)
        self.made = place.cluster.create(config_map("precious", place.namespace, {"v": "gold"}))

    def claim(self, child: Obj) -> None:
        """Make the object look like a child."""
        apply_as_controller(self.alice, forged(child, "precious", self.place.namespace))

    def is_safe(self) -> bool:
        return is_left_alone(self.place, self.made)


def test_a_patch_makes_the_controller_delete_a_strangers_object(lab: Lab, victim: Lab, people: People) -> None:
    """In a namespace that no inventory of Alice names."""
    precious = Precious(people, lab, victim)
    lab.instance("App", "a1")
    lab.await_state("App", "a1")
    precious.claim(lab.child("ConfigMap", "a1-cm"))
    precious.alice.delete(lab.path("App", "a1"))
    lab.await_gone(lab.path("App", "a1"))
    assert all(for_a_while(precious.is_safe))


def test_a_patch_makes_the_controller_delete_a_strangers_object_where_it_has_children(
    lab: Lab, neighbour: Callable[[str], Lab], people: People
) -> None:
    """In a namespace where the definition puts a child of Alice's instance, so that the inventory names it."""
    shared = neighbour("victim")
    meta = {"name": "${schema.metadata.name}", "namespace": shared.namespace}
    lab.define("Shared", [config("cm", data={"v": "1"}, metadata=meta)])
    precious = Precious(people, lab, shared)
    lab.instance("Shared", "a1")
    lab.await_state("Shared", "a1")
    precious.claim(shared.child("ConfigMap", "a1"))
    precious.alice.delete(lab.path("Shared", "a1"))
    lab.await_gone(lab.path("Shared", "a1"))
    assert shared.child("ConfigMap", "a1") == {}
    assert all(for_a_while(precious.is_safe))


def test_an_inventory_that_names_a_strangers_namespace_deletes_nothing_there(
    lab: Lab, victim: Lab, people: People
) -> None:
    """The inventory is on Alice's own instance: she adds the namespace, with a matching hash."""
    precious = Precious(people, lab, victim)
    lab.instance("App", "a1")
    obj = lab.await_state("App", "a1")
    precious.claim(lab.child("ConfigMap", "a1-cm"))
    annotations = {
        "applyset.kubernetes.io/contains-group-kinds": "ConfigMap",
        "applyset.kubernetes.io/additional-namespaces": victim.namespace,
        "internal.kro.run/applyset-inventory-hash": inventory_hash(applyset_id(obj), "ConfigMap", victim.namespace),
    }
    precious.alice.merge(lab.path("App", "a1"), {"metadata": {"annotations": annotations}})
    precious.alice.delete(lab.path("App", "a1"))
    lab.await_gone(lab.path("App", "a1"))
    assert all(for_a_while(precious.is_safe))


def test_a_child_without_its_seal_is_sealed_again_and_goes_with_its_instance(lab: Lab, victim: Lab) -> None:
    """Bob removes the seal, or sets the seal of another object: the controller restores it like any other field."""
    path = victim.child_path("ConfigMap", "b1-cm")
    seal = victim.child("ConfigMap", "b1-cm")["metadata"]["annotations"]["kroasync.io/seal"]
    for other in (None, "forged", seal[::-1]):
        lab.cluster.merge(path, {"metadata": {"annotations": {"kroasync.io/seal": other}}})
        victim.await_child(
            "ConfigMap",
            "b1-cm",
            lambda obj: obj["metadata"].get("annotations", {}).get("kroasync.io/seal") == seal,
        )
    lab.cluster.delete(victim.path("App", "b1"))
    victim.await_gone(victim.path("App", "b1"))
    assert victim.child("ConfigMap", "b1-cm") == {}
