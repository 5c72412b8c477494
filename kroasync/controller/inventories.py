"""Which kinds that inventories name are worth a watch, beyond those of the graphs.

Children may be of kinds a definition had once, and after a restart only the inventories of its instances tell. But
anybody who may write an instance may write into its inventory what they like, in thousands. So nothing is asked for
one instance or one entry: groups, the kinds of a group that is there, and whether there is any child of such a kind
are asked once for all, whoever names them, and kept for a while. What is watched already, and what CRDs tell, costs
nothing. A watch is opened only for a kind of which a child was found that a seal shows to be ours.
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

# How long an answer is good; a CRD that comes is known at once. In between children are of kinds of some graph.
_KEPT_S: Final = 600.0
_FAILED_S: Final = 30.0
# Children looked at: they may be as large as an object can be. Where there are more, the watch has to tell.
_LOOKED_AT: Final = 20


@dataclass(frozen=True, slots=True)
class _Answer:
    value: Any
    error: str
    until_s: float


@dataclass(slots=True)
class InventoryKinds:
    """Answers for all instances. `clock` is monotonic seconds."""

    client: Client
    cluster: ClusterKinds
    watches: Watches
    clock: Callable[[], float]
    seal_key: bytes
    _answers: dict[str, _Answer] = field(default_factory=dict)
    _locks: dict[str, asyncio.Lock] = field(default_factory=dict)

    async def watched(self, group_kinds: Iterable[str]) -> tuple[list[Resource], dict[str, str]]:
        """Those of the kinds that have, or had when this was asked, children; and why others cannot be listed."""
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
        """The first ones of what is labelled as a child."""
        try:
            found, _ = await self.client.list(
                resource,
                label_selector=CHILD_SELECTOR,
                keep=lambda obj: self._is_ours(resource, obj),
                most=_LOOKED_AT,
            )
        except NotFoundError:
            # Either the kind has just gone or it is not there for a moment only: discovery has to say which.
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
        """The answer to a question, asked by one for all; `what` is of the cluster, never a text of an inventory."""
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
