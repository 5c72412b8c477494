"""Plan the deletion of an instance without its graph and without CEL: the children store their identity and order.

The wave with the highest apply order is deleted first. The next wave follows when all its objects are gone. Only
members are deleted (`engine.membership`). Objects with copied labels are not deleted, and the deletion does not wait
for them. A member whose policy is Orphaned is released in its wave instead (`engine.orphans`).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from kroasync.engine.actions import Delete, Observed, Refusal, Refused, Release, Result
from kroasync.engine.membership import Membership, repair_text
from kroasync.engine.orphans import removal
from kroasync.engine.outcome import Retry
from kroasync.model import applyset, names
from kroasync.model.applyset import InventoryError, Parent
from kroasync.model.objects import GVK, Obj, annotations_of, metadata, name_of, namespace_of, uid_of

# A message names this many members and counts the rest.
_NAMED: Final = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Teardown:
    """The next step in the deletion of an instance."""

    message: str
    # The members of the current wave to delete or release.
    deletes: tuple[Delete | Release, ...] = ()
    # The members of the current wave that are already being deleted.
    waiting_for: tuple[Observed, ...] = ()
    # The finalizers to remove from the instance, if no members are left.
    remove_finalizers: tuple[str, ...] = ()
    # Objects that look like members but are not; they stay.
    strangers: tuple[Observed, ...] = ()
    # A text about unreadable entries of the recorded inventory; empty if there are none.
    repair: str = ""
    # A person must act: the metadata that finds the children cannot be trusted, or a delete was refused.
    blocked: bool = False
    retry: Retry = Retry.EVENT

    @property
    def finalizer_removal(self) -> bool:
        return bool(self.remove_finalizers)


def plan_teardown(instance: Obj, labelled: Sequence[Observed], *, seal_key: bytes = b"") -> Teardown:
    """The next step. `labelled` are all objects that carry the label of the instance."""
    finalizers = own_finalizers(instance)
    parent = parent_of(instance)
    repair = ""
    if names.FINALIZER in finalizers:
        try:
            found = applyset.salvage(instance, parent, sealed=bool(seal_key))
        except InventoryError as error:
            return blocked(f"validate deletion inventory: {error}")
        repair = repair_text(found) if found.unreadable else ""
    membership = membership_of(instance, labelled, seal_key=seal_key)
    left, strangers = membership.members(labelled), tuple(membership.strangers(labelled))
    if not left:
        return Teardown(
            message="deleting resources",
            remove_finalizers=finalizers,
            strangers=strangers,
            repair=repair,
            retry=Retry.NONE,
        )
    top = max(_order(m) for m in left)
    wave = sorted((m for m in left if _order(m) == top), key=lambda m: m.key)
    going = tuple(m for m in wave if m.deleting and not m.orphaned)
    return Teardown(
        message=_progress(top, going),
        deletes=tuple(action for m in wave if (action := removal(m)) is not None),
        waiting_for=going,
        strangers=strangers,
        repair=repair,
    )


def membership_of(instance: Obj, labelled: Sequence[Observed], *, seal_key: bytes) -> Membership:
    """The rule for the instance's members: its recorded inventory, and seals for the parts that cannot be read."""
    parent = parent_of(instance)
    found = applyset.recorded(annotations_of(instance), parent)
    membership = Membership(
        instance_uid=uid_of(instance),
        applyset_id=parent.applyset_id,
        namespace=parent.namespace,
        inventory=found.inventory,
        seal_key=seal_key,
    )
    if not found.unreadable:
        return membership
    return replace(membership, inventory=found.inventory.union(membership.places(labelled)))


def blocked(text: str) -> Teardown:
    """A deletion that cannot go on: `deletion blocked: ...`."""
    return Teardown(message=f"deletion blocked: {text}", blocked=True, retry=Retry.BACKOFF)


def after(teardown: Teardown, results: Sequence[Result]) -> Teardown:
    """The step after the results of its deletes."""
    refused = [r for r in results if isinstance(r, Refused) and r.refusal is not Refusal.MISSING]
    if not refused:
        return teardown
    failed = next((r for r in refused if r.refusal is not Refusal.CONFLICT), None)
    if failed is None:
        text = "deletion blocked: deletion encountered UID conflicts; retrying"
        return replace(teardown, message=text, retry=Retry.BACKOFF)
    text = f"deletion blocked: {_named(failed)}: {failed.message}"
    return replace(teardown, message=text, blocked=True, retry=Retry.BACKOFF)


def _named(refused: Refused) -> str:
    action = refused.action
    assert isinstance(action, Delete | Release)
    return f"{'release' if isinstance(action, Release) else 'delete'} {action.key}"


def own_finalizers(instance: Obj) -> tuple[str, ...]:
    """Our finalizers on the instance, including `<uid>.kro.run/finalizer` of kro v0.1.0."""
    legacy = uid_of(instance) + names.LEGACY_FINALIZER_SUFFIX
    found = metadata(instance).get("finalizers") or ()
    return tuple(f for f in found if f in (names.FINALIZER, legacy))


def parent_of(instance: Obj) -> Parent:
    """The instance as the parent of its ApplySet."""
    gvk = GVK.of(instance)
    return Parent(name=name_of(instance), namespace=namespace_of(instance), kind=gvk.kind, group=gvk.group)


def _order(member: Observed) -> int:
    # An object without a valid order is deleted in the last wave.
    return max(member.apply_order, 0)


def _progress(wave: int, going: Sequence[Observed]) -> str:
    text = f"deleting apply-order wave {wave}"
    held = [m for m in going if metadata(m.obj).get("finalizers")]
    if not held:
        return text
    named = [f"{m.key} (finalizers: {', '.join(metadata(m.obj)['finalizers'])})" for m in held[:_NAMED]]
    more = f" and {len(held) - _NAMED} more" if len(held) > _NAMED else ""
    return f"{text}: waiting for {', '.join(named)}{more}"
