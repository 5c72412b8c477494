"""The instance's own metadata: finalizer, labels, and the ApplySet inventory that finds its children without a graph.

The inventory lists all kinds and namespaces that may have children. It grows before the first child in a new kind or
namespace is applied, and shrinks only after a complete pass found no children there.
"""

from dataclasses import dataclass

from kroasync.engine.actions import PatchParent
from kroasync.engine.membership import repair_text
from kroasync.engine.plan import Plan
from kroasync.engine.resolve import Desired, Ownership
from kroasync.model import applyset, names
from kroasync.model.applyset import Inventory, InventoryError
from kroasync.model.objects import Obj, annotations_of, labels_of, metadata


class ManagementError(Exception):
    """The metadata of the instance has an error, so the controller must not change it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ParentMetadata:
    """The metadata of an instance."""

    recorded: Inventory
    # A text about unreadable entries, which the patch drops; empty if there are none.
    repair: str
    has_finalizer: bool
    # Whether labels, annotations and finalizer are all up to date.
    is_current: bool


def read_metadata(plan: Plan, instance: Obj, ownership: Ownership) -> ParentMetadata:
    """Inspect an instance.

    Raises ManagementError if a finalizer cannot be installed, InventoryError if the inventory is malformed or
    foreign.
    """
    finalizers = metadata(instance).get("finalizers") or ()
    has_finalizer = names.FINALIZER in finalizers
    if not has_finalizer and applyset.has_metadata(instance):
        _refuse_invalid(instance, ownership)
    annotations = annotations_of(instance)
    tooling = annotations.get(names.ANNOTATION_APPLYSET_TOOLING)
    if tooling is not None and not tooling.startswith(applyset.TOOLING_PREFIX):
        raise InventoryError(f'invalid {names.ANNOTATION_APPLYSET_TOOLING} annotation: "{tooling}" is not owned by kro')
    found = applyset.recorded(annotations, ownership.parent)
    if found.unreadable and not (found.vouched or ownership.seal_key):
        # Somebody else wrote the inventory, and without seals its former content is lost: raise the error in it.
        applyset.parse(annotations, ownership.parent.namespace)
    recorded = found.inventory
    labels, wanted = labels_of(instance), patch(plan, ownership, recorded)
    return ParentMetadata(
        recorded=recorded,
        repair=repair_text(found) if found.unreadable else "",
        has_finalizer=has_finalizer,
        is_current=has_finalizer
        and all(labels.get(key) == value for key, value in wanted.labels.items())
        and all(annotations.get(key) == value for key, value in wanted.annotations.items()),
    )


def _refuse_invalid(instance: Obj, ownership: Ownership) -> None:
    try:
        applyset.validate(instance, ownership.parent)
    except InventoryError as error:
        raise ManagementError(
            "cannot install finalizer with invalid ApplySet inventory; repair the metadata, or remove it "
            f"only after confirming no managed members remain: {error}"
        ) from None


def patch(plan: Plan, ownership: Ownership, inventory: Inventory, *, add_finalizer: bool = False) -> PatchParent:
    """The patch that makes the metadata current with this inventory."""
    return PatchParent(
        labels={**plan.instance_labels, names.LABEL_APPLYSET_ID: ownership.applyset_id},
        annotations=applyset.annotations(ownership.parent, inventory, version=plan.options.version),
        add_finalizer=add_finalizer,
    )


def place(desired: Desired) -> tuple[str, str]:
    """Group-kind and namespace of an object, in the form of the inventory."""
    return desired.key.resource.group_kind, desired.key.namespace


def covers(inventory: Inventory, desired: Desired, parent_namespace: str) -> bool:
    """Whether the inventory would find the object."""
    group_kind, namespace = place(desired)
    return group_kind in inventory.group_kinds and (
        namespace in ("", parent_namespace) or namespace in inventory.namespaces
    )
