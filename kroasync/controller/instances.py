"""Reconcile instances: look at an instance and hand its pass to the module that makes it.

`reconcile(key)` is level-triggered and safe to run twice. A pass observes (`observing`), then converges (`converging`)
or deletes (`deleting`), then reports (`reporting`) and records (`recording`). The engine decides; these modules wait.
"""

import asyncio
from dataclasses import dataclass, field

from kroasync.controller.converging import Converging
from kroasync.controller.deleting import Deleting
from kroasync.controller.observing import InstanceWorld, Observing
from kroasync.controller.recording import Recording
from kroasync.controller.reporting import Reporting
from kroasync.controller.served_kinds import Served
from kroasync.controller.serving import Serving
from kroasync.controller.watchdog import PassOverranError
from kroasync.engine.plan import MAX_DEPTH
from kroasync.engine.teardown import own_finalizers
from kroasync.engine.verdict import AtRest, Verdict, no_later
from kroasync.model.objects import Key, Obj, is_deleting
from kroasync.model.paths import nests_deeper

_LARGE_AT_ONCE = 4
# How soon a pass retries to list kinds of its inventory that could not be listed.
_OUT_OF_SIGHT_S = 60.0


@dataclass(frozen=True, slots=True)
class Instances:
    """The controller of all generated kinds."""

    serving: Serving
    observing: Observing
    converging: Converging
    deleting: Deleting
    reporting: Reporting
    recording: Recording
    # Limits how many passes over large instances run at the same time.
    _large: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_LARGE_AT_ONCE))

    async def reconcile(self, key: Key) -> Verdict:
        """Bring one instance up to date, or its deletion one step further."""
        verdict = await self._reconcile(key)
        served = self.serving.kinds.get(key.resource)
        left_for_s = self.reporting.left_for_s(key, served) if served is not None else 0.0
        return no_later(verdict, left_for_s, "the status is contested") if left_for_s > 0 else verdict

    async def _reconcile(self, key: Key) -> Verdict:
        served = self.serving.kinds.get(key.resource)
        if served is not None and key in served.dropped:
            verdict = await self.deleting.clear_away(key, served)
            if verdict is not None:
                return verdict
        if served is None or served.instances.head(key) is None:
            self.observing.forget(key)
            self.recording.forget(key)
            return AtRest()
        if not served.instances.is_large(key):
            return await self._pass(key, served)
        # A pass over a large instance holds the whole instance in memory.
        async with self._large:
            return await self._pass(key, served)

    async def _pass(self, key: Key, served: Served) -> Verdict:
        instance = await self.observing.instance(key, served)
        if instance is None:
            return AtRest()
        unseen = await self.observing.hold_inventory(key, instance)
        world = self.observing.world(key, instance, frozenset(unseen))
        if not is_deleting(instance):
            return await self._live(key, served, instance, world)
        if unseen and own_finalizers(instance):
            return await self.deleting.wait_for_sight(key, served, instance, unseen)
        return await self.deleting.tear_down(key, served, instance, world)

    async def _live(self, key: Key, served: Served, instance: Obj, world: InstanceWorld) -> Verdict:
        # The whole pass follows one graph, whatever happens to the definition meanwhile.
        plan = served.plan
        if plan is None:
            why = served.unresolved
            self.recording.unresolved(key, why)
            if why is not None:
                # The children stay, and the instance can still be deleted.
                await self.reporting.unresolved(key, served, instance, why.text)
            return AtRest()
        self.recording.resolved(key)
        try:
            verdict = await self.converging.converge(key, served, instance, world, plan)
        except RecursionError:
            if not nests_deeper(instance.get("spec"), MAX_DEPTH):
                raise
            text = f"spec is nested more than {MAX_DEPTH} levels"
            await self.reporting.unresolved(key, served, instance, text)
            return AtRest()
        except PassOverranError as error:
            await self.reporting.unresolved(key, served, instance, str(error))
            raise
        if not world.out_of_sight:
            return verdict
        # Kinds out of sight may have children to prune. No event tells when these kinds can be listed again.
        return no_later(verdict, _OUT_OF_SIGHT_S, "kinds of the inventory cannot be listed")
