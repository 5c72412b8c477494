"""Run the whole controller: watch, wait for leadership, make passes, stop in order.

The runtime knows no signals, servers or settings files, and takes its client, clocks and randomness as arguments. So
the process (`kroasync.app`) and the simulation run the same code. `wiring` builds the parts.
"""

import asyncio
import logging
import random
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import datetime
from typing import Any

from kroasync.controller.gauges import let_metrics_read
from kroasync.controller.options import RuntimeOptions
from kroasync.controller.passes import DefinitionPasses, InstancePasses
from kroasync.controller.serving import is_behind
from kroasync.controller.watchdog import PassOverranError
from kroasync.controller.watches import synced
from kroasync.controller.wiring import Given, core_watches, lease_watch, wire
from kroasync.engine.verdict import AWAY_S
from kroasync.kube.api_errors import ApiError, UnreachableError
from kroasync.kube.client import Client
from kroasync.kube.watch import Watch
from kroasync.metrics import Metrics
from kroasync.model.objects import Key

__all__ = ["Runtime", "RuntimeOptions"]

log = logging.getLogger("kroasync.runtime")

# How long the passes in work may continue after the process is asked to stop. Most end sooner.
_ROUND_OFF_S = 1.0


class Runtime:
    """One controller, which runs once. `clock` is monotonic seconds, `now` the wall clock, `cpu` the CPU seconds (by
    default, the clock).

    `begin` is called with the key of each pass, in the task (and so the context) of the pass.
    """

    def __init__(
        self,
        client: Client,
        *,
        options: RuntimeOptions,
        metrics: Metrics,
        clock: Callable[[], float],
        now: Callable[[], datetime],
        rng: random.Random,
        cpu: Callable[[], float] | None = None,
        begin: Callable[[str], object] = str,
    ) -> None:
        given = Given(client=client, options=options, metrics=metrics, clock=clock, now=now, rng=rng, cpu=cpu or clock)
        self.parts = parts = wire(given)
        let_metrics_read(parts)
        self._options = options
        self._instances = InstancePasses(parts, begin)
        self._definitions = DefinitionPasses(parts, begin)
        self._core: list[tuple[str, Watch]] = []
        self._tasks: list[asyncio.Task[Any]] = []

    # Readiness

    def watch_states(self) -> Iterable[tuple[str, Watch]]:
        """Name and watch of every running watch."""
        return self.parts.watches.items()

    def core_watches(self) -> Iterable[tuple[str, Watch]]:
        """The watches of definitions, revisions and CRDs."""
        return self._core

    def dead_tasks(self) -> list[str]:
        """The names of long-lived tasks that ended."""
        return [task.get_name() for task in self._tasks if task.done()]

    # Running

    async def run(self, stop: asyncio.Event, *, lead: asyncio.Event | None = None) -> None:
        """Work until `stop` is set. This returns when all writes are answered, or `stop_after_s` later.

        With `lead`, only read until `lead` is set: the process is a warm standby.

        Raises the error of a long-lived task. Such an error is a bug, and the process must not continue without the
        task.
        """
        async with self.parts.group as group:
            self._core += core_watches(self.parts)
            leases = lease_watch(self.parts)
            self._tasks.append(group.create_task(self.parts.neighbour.run(), name="kro"))
            self._tasks.append(group.create_task(self._work(leases, lead), name="work"))
            await stop.wait()
            await self._drain()
            # The remaining tasks may wait for something that never happens.
            for task in (*self._tasks, *self._instances.tasks, *self._definitions.tasks):
                task.cancel()
            self.parts.watches.stop_all()

    async def _work(self, leases: Watch, lead: asyncio.Event | None) -> None:
        """Wait for the core watches, then make passes forever."""
        for _, watch in self._core:
            await watch.synced.wait()
        with suppress(UnreachableError):
            # If the controller may not list kro's Lease, it works as if there were none.
            await synced(leases)
        if lead is not None:
            await self._stand_by(lead)
        for name, run in (
            ("definitions", self._definitions.make()),
            ("instances", self._instances.make()),
            ("events", self.parts.recorder.run()),
            ("revisions", self._release_revisions()),
        ):
            self._tasks.append(self.parts.group.create_task(run, name=name))
        await asyncio.Event().wait()

    async def _stand_by(self, lead: asyncio.Event) -> None:
        """Until this process leads, compile definitions and watch the kinds of their graphs, as the leader does."""
        async with asyncio.TaskGroup() as group:
            preparing = [
                group.create_task(self._prepare(), name="prepare") for _ in range(self._options.definition_workers)
            ]
            await lead.wait()
            for task in preparing:
                task.cancel()
        for store in self.parts.caches.registry.stores.values():
            for key in store:
                self._definitions.queue.add(key)
        self._instances.queue.put_first(self._is_behind)

    async def _prepare(self) -> None:
        queue = self._definitions.queue
        while True:
            key = await queue.get()
            try:
                work = self.parts.definitions.prepare(key)
                await self.parts.watchdog.watch(key, work, self._definitions.overran_by(key))
                queue.forget(key)
            except (ApiError, TimeoutError, PassOverranError) as error:
                log.info("definition not prepared", extra={"definition": str(key), "error": str(error)})
                queue.retry(key, at_most_s=AWAY_S)
            except Exception:
                # The first pass of the leader reports the error.
                log.exception("definition not prepared", extra={"definition": str(key)})
            finally:
                queue.done(key)

    def _is_behind(self, key: Key) -> bool:
        return is_behind(self.parts.caches.kinds.head(key))

    async def _release_revisions(self) -> None:
        """Release revisions that are being deleted, at once; retry after a pause if that fails."""
        failures = 0
        while True:
            await self.parts.neighbour.away.wait()
            changed, wait_s = self.parts.caches.revisions.changed, None
            try:
                await self.parts.revisions.release()
                failures = 0
            except ApiError as error:
                log.info("revision not released", extra={"error": error.message})
                wait_s = min(self._options.min_delay_s * 2.0 ** min(failures, 16), AWAY_S)
                failures += 1
            with suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await changed.wait()

    # Stopping

    async def _drain(self) -> None:
        """Take no more keys; let the passes in work end, or at least the writes that they have sent.

        A pass that ends between two writes is as safe as a crash there: the next leader continues. But if the passes
        end first, the next leader has less to do, and the last Events are written.
        """
        for task in self._tasks:
            if task.get_name() in ("definitions", "instances"):
                task.cancel()
        round_off_s = min(_ROUND_OFF_S, self._options.stop_after_s)
        ending = self.parts.group.create_task(self._end_passes(), name="end passes")
        await asyncio.wait([ending], timeout=round_off_s)
        client = self.parts.given.client
        client.refuse_writes()
        with suppress(TimeoutError):
            async with asyncio.timeout(self._options.stop_after_s - round_off_s):
                await client.writes_answered()
        ending.cancel()

    async def _end_passes(self) -> None:
        instances, definitions = self._instances.queue, self._definitions.queue
        while instances.in_work or definitions.in_work:
            await instances.finished()
            await definitions.finished()
        await self.parts.recorder.flush()
