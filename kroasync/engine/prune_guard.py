"""The guard of `policy.maxPrune`: a pass that would delete too many objects of a collection deletes none of them.

An object counts to the collection that it was applied for, as it says itself (`labels.node_of`). The objects that the
collection declares in this pass count by their identity, so nobody makes a prune pass by relabelling objects that stay.
Nor do new objects: if a pass replaces all objects by others, they are all deleted, and the collection never had more
than the old objects say.
A held prune goes on by itself once the collection declares the objects again, or once, if the annotation `allow-prune`
of the instance has the instance's generation.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from kroasync.engine.actions import Delete, Observed, Release
from kroasync.engine.labels import names_of_node
from kroasync.model import names
from kroasync.model.objects import Key, Obj, annotations_of, metadata
from kroasync.model.policies import MaxPrune

# A message names this many objects and counts the rest.
_NAMED: Final = 5
# A message shows this many characters of an annotation.
_SHOWN: Final = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitedCollection:
    """A collection with a limit, and how many objects it declares in this pass: all of them exist."""

    node: str
    limit: MaxPrune
    declared: int


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldPrune:
    """The objects of a collection that a pass would delete, and does not: they are too many."""

    node: str
    limit: MaxPrune
    # How many objects the collection had, without those that are being deleted or released.
    existing: int
    objects: tuple[Key, ...]

    def __str__(self) -> str:
        more = f" and {len(self.objects) - _NAMED} more" if len(self.objects) > _NAMED else ""
        return (
            f'node "{self.node}" no longer declares {len(self.objects)} of its {self.existing} objects, and '
            f"policy.maxPrune is {self.limit}: {', '.join(map(str, self.objects[:_NAMED]))}{more}"
        )


def held_prunes(
    collections: Sequence[LimitedCollection], removals: Iterable[tuple[Observed, Delete | Release | None]]
) -> tuple[HeldPrune, ...]:
    """The prunes that go beyond the limit of their collection, in the order of `collections`.

    `removals` has all undeclared members, each with what a pass would do with it.
    """
    # An object may name its collection in several ways.
    ids = {name: one.node for one in collections for name in names_of_node(one.node)}
    deleted: dict[str, list[Observed]] = {}
    for member, action in removals:
        id_ = ids.get(member.node)
        if id_ is not None and isinstance(action, Delete):
            deleted.setdefault(id_, []).append(member)
    found = (_held(one, deleted.get(one.node, [])) for one in collections)
    return tuple(one for one in found if one is not None)


def _held(collection: LimitedCollection, deleted: Sequence[Observed]) -> HeldPrune | None:
    existing = _existing(collection.declared, deleted)
    if collection.limit.allows(len(deleted), existing):
        return None
    objects = tuple(sorted(member.key for member in deleted))
    return HeldPrune(node=collection.node, limit=collection.limit, existing=existing, objects=objects)


def _existing(declared: int, deleted: Sequence[Observed]) -> int:
    """How many objects the collection had: some of the declared ones may be new."""
    had = max((member.collection_size for member in deleted), default=0)
    whole = declared + len(deleted)
    return max(min(whole, had), len(deleted)) if had else whole


def is_released(instance: Obj) -> bool:
    """Whether somebody allowed the held prunes of this generation of the instance."""
    return annotations_of(instance).get(names.ANNOTATION_ALLOW_PRUNE) == _generation(instance)


def held_text(held: Sequence[HeldPrune], instance: Obj) -> str:
    """The message about held prunes: what is held, and how to release it."""
    given = annotations_of(instance).get(names.ANNOTATION_ALLOW_PRUNE)
    wrong = f' (it is "{str(given)[:_SHOWN]}", which is not the generation of the instance)' if given else ""
    return (
        f"prune is held: {'; '.join(map(str, held))}; to delete them once, set the annotation "
        f'{names.ANNOTATION_ALLOW_PRUNE}: "{_generation(instance)}" on the instance{wrong}'
    )


def _generation(instance: Obj) -> str:
    return str(metadata(instance).get("generation", ""))
