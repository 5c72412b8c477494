"""ApplySet inventory: identity, annotations and the checks before a deletion."""

import pytest

from kroasync.model import applyset, names
from kroasync.model.applyset import Inventory, InventoryError, Parent

PARENT = Parent(name="web", namespace="prod", kind="App", group="kro.run")
INVENTORY = Inventory(group_kinds=frozenset({"Service", "Deployment.apps"}), namespaces=frozenset({"b", "a"}))


def parent_object(**changes: str | None) -> dict[str, object]:
    annotations = applyset.annotations(PARENT, INVENTORY, version="1.0")
    for key, value in changes.items():
        name = getattr(names, key)
        if value is None:
            del annotations[name]
        else:
            annotations[name] = value
    return {"metadata": {"labels": applyset.labels(PARENT), "annotations": annotations}}


def test_id_is_the_digest_of_name_namespace_kind_and_group() -> None:
    # Computed with: printf web.prod.App.kro.run | sha256sum | xxd -r -p | base64 | tr +/ -_ | tr -d =
    assert PARENT.applyset_id == "applyset-f2sZ9WKsrCwlKJiOmyD4ntIrKAJYrqCMNADoqvS-D0k-v1"
    assert Parent(name="web", namespace="", kind="App", group="kro.run").applyset_id != PARENT.applyset_id


def test_annotations_are_sorted_and_comma_joined() -> None:
    found = applyset.annotations(PARENT, INVENTORY, version="1.0")
    assert found[names.ANNOTATION_APPLYSET_TOOLING] == "kro/1.0"
    assert found[names.ANNOTATION_APPLYSET_GROUP_KINDS] == "Deployment.apps,Service"
    assert found[names.ANNOTATION_APPLYSET_NAMESPACES] == "a,b"
    assert found[names.ANNOTATION_INVENTORY_HASH].startswith("sha256:")


def test_validate_reads_back_what_annotations_wrote() -> None:
    assert applyset.validate(parent_object(), PARENT) == INVENTORY
    assert applyset.validate(parent_object(ANNOTATION_INVENTORY_HASH=None), PARENT) == INVENTORY


def test_an_empty_inventory_is_valid() -> None:
    empty = Inventory()
    obj = {
        "metadata": {
            "labels": applyset.labels(PARENT),
            "annotations": applyset.annotations(PARENT, empty, version="1"),
        }
    }
    assert applyset.validate(obj, PARENT) == empty


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ANNOTATION_APPLYSET_TOOLING": None}, "missing required applyset.kubernetes.io/tooling annotation"),
        (
            {"ANNOTATION_APPLYSET_TOOLING": "kubectl/v1"},
            'invalid applyset.kubernetes.io/tooling annotation: "kubectl/v1" is not owned by kro',
        ),
        (
            {"ANNOTATION_APPLYSET_GROUP_KINDS": None},
            "missing required applyset.kubernetes.io/contains-group-kinds annotation",
        ),
        (
            {"ANNOTATION_APPLYSET_GROUP_KINDS": "a,,b"},
            "invalid applyset.kubernetes.io/contains-group-kinds annotation: ",
        ),
        (
            {"ANNOTATION_APPLYSET_NAMESPACES": None},
            "missing required applyset.kubernetes.io/additional-namespaces annotation",
        ),
        (
            {"ANNOTATION_APPLYSET_NAMESPACES": "A_B"},
            "invalid applyset.kubernetes.io/additional-namespaces annotation: ",
        ),
        (
            {"ANNOTATION_APPLYSET_NAMESPACES": "a"},
            "invalid internal.kro.run/applyset-inventory-hash annotation: ",
        ),
    ],
)
def test_a_damaged_inventory_is_refused(changes: dict[str, str | None], message: str) -> None:
    with pytest.raises(InventoryError) as caught:
        applyset.validate(parent_object(**changes), PARENT)
    assert str(caught.value).startswith(message)


def test_a_foreign_id_is_refused() -> None:
    other = Parent(name="x", namespace="prod", kind="App", group="kro.run")
    with pytest.raises(InventoryError) as caught:
        applyset.validate(parent_object(), other)
    assert str(caught.value) == (
        f'invalid applyset.kubernetes.io/id label: got "{PARENT.applyset_id}", want "{other.applyset_id}"'
    )


def test_inventory_of_members_leaves_out_the_parents_namespace() -> None:
    members = [("Service", "prod"), ("Namespace", ""), ("Job.batch", "other")]
    found = Inventory.of(members, "prod")
    assert found.group_kinds == {"Service", "Namespace", "Job.batch"}
    assert found.namespaces == {"other"}


def test_union_has_everything_of_both() -> None:
    both = INVENTORY.union(Inventory(group_kinds=frozenset({"Job.batch"}), namespaces=frozenset({"c"})))
    assert both.group_kinds_text == "Deployment.apps,Job.batch,Service"
    assert both.namespaces_text == "a,b,c"


def test_any_applyset_metadata_is_seen() -> None:
    assert applyset.has_metadata(parent_object())
    assert applyset.has_metadata({"metadata": {"annotations": {names.ANNOTATION_INVENTORY_HASH: "x"}}})
    assert not applyset.has_metadata({"metadata": {"labels": {"app": "x"}}})
