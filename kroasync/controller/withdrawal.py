"""Delete a definition: stop serving its kind, delete its revisions and, if allowed, its CRDs, remove the finalizer.

Instances stay and can still be deleted. The pass reads revisions and CRDs from the API server, not from a cache: after
the pass the definition is gone, so a stale cache would orphan a CRD or a revision forever.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from kroasync.controller.crds import CrdStore
from kroasync.controller.finalizers import set_finalizers
from kroasync.controller.options import RuntimeOptions
from kroasync.controller.registry import Registry
from kroasync.controller.revisions import Revisions
from kroasync.controller.serving import Serving
from kroasync.engine.labels import label_value
from kroasync.engine.verdict import AtRest, Summary, Verdict
from kroasync.kube.api_errors import NotFoundError
from kroasync.kube.client import Client
from kroasync.metrics import Metrics
from kroasync.model import names
from kroasync.model.definition import parse_definition
from kroasync.model.kinds import CRDS
from kroasync.model.objects import Key, Obj, finalizers_of, labels_of, name_of, uid_of
from kroasync.schema.crd import crd_name


@dataclass(frozen=True, slots=True)
class Withdrawal:
    """Deletes definitions of both kinds."""

    client: Client
    registry: Registry
    revisions: Revisions
    crds: CrdStore
    serving: Serving
    metrics: Metrics
    now: Callable[[], datetime]
    options: RuntimeOptions

    async def withdraw(self, key: Key, obj: Obj) -> Verdict:
        """Carry out the deletion of one definition."""
        if names.FINALIZER not in finalizers_of(obj):
            return AtRest()
        started = self.now()
        generated = self._generated(key, obj)
        await self.serving.retire(key)
        if self.options.allow_crd_deletion:
            for name in sorted(generated):
                await self._delete_crd(key, obj, name)
        if key.resource.namespaced:
            # Revisions are cluster-scoped, so a namespaced definition cannot be their owner.
            await self.revisions.delete_all(key)
        with suppress(NotFoundError):  # somebody else removed the finalizer
            await set_finalizers(self.client, key, obj, [f for f in finalizers_of(obj) if f != names.FINALIZER])
        self.registry.forget(key)
        self.metrics.rgd_deletions_total.inc(key.name)
        self.metrics.rgd_deletion_duration_seconds.observe((self.now() - started).total_seconds(), key.name)
        return AtRest(summary=Summary(outcome="deleted", changes={"deleted": 1}))

    def _generated(self, key: Key, obj: Obj) -> set[str]:
        """Names of the CRDs that the definition generated; found by label too, since a restart forgets served kinds."""
        found = {kind.name for kind in self.serving.kinds.of_definition(key)}
        found |= {crd.name for crd in self.crds.owned() if crd.labels.get(names.LABEL_DEFINITION_ID) == uid_of(obj)}
        definition, _ = parse_definition(obj)
        return found | ({crd_name(definition)} if definition is not None else set())

    async def _delete_crd(self, definition: Key, obj: Obj, name: str) -> None:
        key = Key(CRDS, "", name)
        try:
            crd = await self.client.get(key)
            is_ours = labels_of(crd).get(names.LABEL_DEFINITION_NAME) == label_value(name_of(obj))
            if is_ours and self.registry.rival_of(definition, crd) is None:
                await self.client.delete(key, uid=uid_of(crd))
        except NotFoundError:
            return
