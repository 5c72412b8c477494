"""Deletion of an instance, without its graph and without CEL: identity and order are stored on the children.

The highest apply-order wave goes first; the next follows when every object of it is gone. Only members are
deleted (`engine.membership`); others with copied labels neither are deleted nor keep the instance.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from kroasync.engine.actions import Delete, Observed, Refusal, Refused, Result
from kroasync.engine.membership import Membership, repair_text
from kroasync.engine.outcome import Retry
from kroasync.model import applyset, names
from kroasync.model.applyset import InventoryError, Parent
from kroasync.model.objects import GVK, Obj, annotations_of, metadata, name_of, namespace_of, uid_of

# Members named in a message; more are counted.
_NAMED: Final = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Teardown:
    """What the deletion of an instance needs next."""

    message: str
    deletes: tuple[Delete, ...] = ()
    # Members of the current wave that are already on their way out.
    waiting_for: tuple[Observed, ...] = ()
    # Nothing is left: take these off the instance's finalizers.
    remove_finalizers: tuple[str, ...] = ()
    # What looks like a member and is none; it stays.
    strangers: tuple[Observed, ...] = ()
    # What the recorded inventory had and could not be read, for people; empty if there is nothing of that kind.
    repair: str = ""
    # The metadata that finds the children cannot be trusted, or a delete was refused: people have to look.
    blocked: bool = False
    retry: Retry = Retry.EVENT

    @property
    def finalizer_removal(self) -> bool:
        return bool(self.remove_finalizers)


def plan_teardown(instance: Obj, labelled: Sequence[Observed], *, seal_key: bytes = b"") -> Teardown:
    """The next step. `labelled` are all objects with the label of the instance."""
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
    going = tuple(m for m in wave if m.deleting)
    return Teardown(
        message=_progress(top, going),
        deletes=tuple(Delete(node=m.node, key=m.key, uid=m.uid) for m in wave if not m.deleting),
        waiting_for=going,
        strangers=strangers,
        repair=repair,
    )


def membership_of(instance: Obj, labelled: Sequence[Observed], *, seal_key: bytes) -> Membership:
    """Which objects are the instance's: by what it records, and where a part of that could not be read, by seals."""
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
    """The step with the refusals of its deletes worked in."""
    refused = [r for r in results if isinstance(r, Refused) and r.refusal is not Refusal.MISSING]
    if not refused:
        return teardown
    failed = next((r for r in refused if r.refusal is not Refusal.CONFLICT), None)
    if failed is None:
        text = "deletion blocked: deletion encountered UID conflicts; retrying"
        return replace(teardown, message=text, retry=Retry.BACKOFF)
    key = failed.action.key if isinstance(failed.action, Delete) else None
    text = f"deletion blocked: delete {key}: {failed.message}"
    return replace(teardown, message=text, blocked=True, retry=Retry.BACKOFF)


def own_finalizers(instance: Obj) -> tuple[str, ...]:
    """Those of the instance's finalizers that are ours, kro v0.1.0's `<uid>.kro.run/finalizer` included."""
    legacy = uid_of(instance) + names.LEGACY_FINALIZER_SUFFIX
    found = metadata(instance).get("finalizers") or ()
    return tuple(f for f in found if f in (names.FINALIZER, legacy))


def parent_of(instance: Obj) -> Parent:
    """The ApplySet parent an instance is."""
    gvk = GVK.of(instance)
    return Parent(name=name_of(instance), namespace=namespace_of(instance), kind=gvk.kind, group=gvk.group)


def _order(member: Observed) -> int:
    # Without a usable order an object goes with the last wave.
    return max(member.apply_order, 0)


def _progress(wave: int, going: Sequence[Observed]) -> str:
    text = f"deleting apply-order wave {wave}"
    held = [m for m in going if metadata(m.obj).get("finalizers")]
    if not held:
        return text
    named = [f"{m.key} (finalizers: {', '.join(metadata(m.obj)['finalizers'])})" for m in held[:_NAMED]]
    more = f" and {len(held) - _NAMED} more" if len(held) > _NAMED else ""
    return f"{text}: waiting for {', '.join(named)}{more}"
