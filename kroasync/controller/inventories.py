"""Decide which kinds of inventories need a watch, beyond the kinds of the graphs.

A definition may have had a kind that its graph no longer has. Children of that kind may still exist, and after a
restart only the inventories of the instances name the kind. But anybody who may write an instance may put thousands of
entries into its inventory. So no request is made for a single instance or a single entry. All instances share three
answers: which groups exist, which kinds an existing group has, and whether a kind has any children. Each answer is
cached for a while. Kinds that are watched already, and kinds of known CRDs, need no request. A watch starts only for a
kind of which one child has a valid seal.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from kroasync.controller.cluster_kinds import ClusterKinds
from kroasync.controller.watches import CHILD_SELECTOR, Watches
from kroasync.kube.api_errors import ApiError, NotFoundError, UnreachableError
from kroasync.kube.client import Client
from kroasync.model.names import LABEL_INSTANCE_ID, MANAGER_CHILDREN
from kroasync.model.objects import Obj, Resource, key_of, labels_of, metadata
from kroasync.model.seal import is_sealed, seal_of

# How long an answer is cached. A new CRD is known at once, and new children are of kinds of some graph.
_KEPT_S: Final = 600.0
_FAILED_S: Final = 30.0
# How many children are read: each may be as large as an object can be. If there are more, the watch decides.
_LOOKED_AT: Final = 20


@dataclass(frozen=True, slots=True)
class _Answer:
    value: Any
    error: str
    until_s: float


@dataclass(slots=True)
class InventoryKinds:
    """The answers that all instances share. `clock` is monotonic seconds."""

    client: Client
    cluster: ClusterKinds
    watches: Watches
    clock: Callable[[], float]
    seal_key: bytes
    _answers: dict[str, _Answer] = field(default_factory=dict)
    _locks: dict[str, asyncio.Lock] = field(default_factory=dict)

    async def watched(self, group_kinds: Iterable[str]) -> tuple[list[Resource], dict[str, str]]:
        """The kinds that have children, or had some when the answer was cached; why other kinds cannot be listed."""
        found: list[Resource] = []
        unseen: dict[str, str] = {}
        for group_kind in sorted(group_kinds):
            try:
                resource = await self._with_children(group_kind)
            except UnreachableError as error:
                unseen[group_kind] = error.message
                continue
            if resource is not None:
                found.append(resource)
        return found, unseen

    async def _with_children(self, group_kind: str) -> Resource | None:
        resource = self.watches.children_kind(group_kind)
        if resource is not None:
            return resource
        resource = await self._served(group_kind)
        return resource if resource is not None and await self._has_children(resource) else None

    async def _served(self, group_kind: str) -> Resource | None:
        kind, _, group = group_kind.partition(".")
        of_crd = self.cluster.of_crd(group, kind)
        if of_crd is not None:
            return of_crd
        if group and group not in await self._answer("groups", self.cluster.groups):
            return None
        kinds: dict[str, Resource] = await self._answer(f"kinds {group}", lambda: self.cluster.kinds_of_group(group))
        return kinds.get(kind)

    async def _has_children(self, resource: Resource) -> bool:
        return bool(await self._answer(f"children {resource}", lambda: self._look(resource)))

    async def _look(self, resource: Resource) -> bool:
        """Whether one of the first objects that are labelled as children is ours."""
        try:
            found, _ = await self.client.list(
                resource,
                label_selector=CHILD_SELECTOR,
                keep=lambda obj: self._is_ours(resource, obj),
                most=_LOOKED_AT,
            )
        except NotFoundError:
            # The kind is gone, or it is missing for a moment only. Discovery tells which.
            self._forget(resource.group)
            raise
        return any(found) or len(found) >= _LOOKED_AT

    def _forget(self, group: str) -> None:
        self._answers.pop("groups", None)
        self._answers.pop(f"kinds {group}", None)

    def _is_ours(self, resource: Resource, obj: Obj) -> bool:
        if not self.seal_key:
            entries = metadata(obj).get("managedFields") or ()
            return any(entry.get("manager") == MANAGER_CHILDREN for entry in entries)
        uid = labels_of(obj).get(LABEL_INSTANCE_ID, "")
        return is_sealed(self.seal_key, uid, key_of(resource, obj), seal_of(obj))

    async def _answer(self, what: str, ask: Callable[[], Awaitable[Any]]) -> Any:
        """The cached answer to a question. `what` names something of the cluster, never a text of an inventory."""
        async with self._locks.setdefault(what, asyncio.Lock()):
            known = self._answers.get(what)
            if known is None or known.until_s <= self.clock():
                known = self._answers[what] = await self._asked(ask)
        if known.error:
            raise UnreachableError(f"{what} could not be listed: {known.error}", reason="NotListed")
        return known.value

    async def _asked(self, ask: Callable[[], Awaitable[Any]]) -> _Answer:
        try:
            return _Answer(await ask(), "", self.clock() + _KEPT_S)
        except ApiError as error:
            return _Answer(None, error.message or str(error.status), self.clock() + _FAILED_S)
