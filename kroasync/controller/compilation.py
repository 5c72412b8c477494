"""Compile definitions in turns, so that passes over the instances of other definitions run in between."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from kroasync.controller.cluster_kinds import ClusterKinds
from kroasync.controller.options import RuntimeOptions
from kroasync.controller.pacing import in_turns
from kroasync.controller.registry import Remembered
from kroasync.controller.watchdog import Watchdog
from kroasync.graph.build import Built, building, needed_kinds
from kroasync.metrics import Metrics
from kroasync.model.definition import Definition


@dataclass(frozen=True, slots=True)
class Compilation:
    """Compiles definitions against the kinds of the cluster."""

    kinds: ClusterKinds
    options: RuntimeOptions
    watchdog: Watchdog
    metrics: Metrics
    now: Callable[[], datetime]

    async def built(self, definition: Definition, known: Remembered) -> Built:
        """The compiled definition; compiled again only for a new generation or while it waits or fails."""
        fresh = known.uid == definition.uid and known.generation == definition.generation
        if fresh and known.built is not None and known.built.graph is not None:
            return known.built
        known.built = await self.compiled(definition)
        known.uid, known.generation = definition.uid, definition.generation
        return known.built

    async def compiled(self, definition: Definition) -> Built:
        started = self.now()
        kinds = await self.kinds.load(needed_kinds(definition))
        # A large definition takes seconds.
        steps = building(definition, kinds, limits=self.options.limits, features=self.options.features)
        built = await in_turns(steps, lambda: asyncio.sleep(0), self.watchdog.compute)
        took_s = (self.now() - started).total_seconds()
        metrics, result = self.metrics, "failed" if built.graph is None else "success"
        metrics.rgd_graph_build_total.inc(definition.name)
        metrics.rgd_graph_build_duration_seconds.observe(took_s, definition.name)
        metrics.graph_revision_compile_total.inc(result)
        metrics.graph_revision_compile_duration_seconds.observe(took_s, result)
        if built.graph is None:
            metrics.rgd_graph_build_errors_total.inc(definition.name)
        return built
