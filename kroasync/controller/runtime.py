"""The whole controller as one object: caches, watches, queues, both reconcilers, in one TaskGroup.

It knows neither signals nor servers nor settings files, and takes its client, clocks and randomness as arguments: the
process (`kroasync.app`) and the simulation run the same code.
"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any

from kroasync.controller.crds import CrdStore, SeenCrd
from kroasync.controller.definitions import Definitions
from kroasync.controller.events import Recorder
from kroasync.controller.fights import Fights
from kroasync.controller.instances import Instances
from kroasync.controller.inventories import InventoryKinds
from kroasync.controller.kinds import ClusterKinds
from kroasync.controller.neighbour import KRO_NAMESPACES, Neighbour
from kroasync.controller.outcomes import AWAY_S, Done, RetryAfter, Verdict
from kroasync.controller.pacing import Pacing
from kroasync.controller.revisions import RevisionStore
from kroasync.controller.room import EndlessRoom, Room
from kroasync.controller.served import ServedKinds, claims_of, wake_by_uid
from kroasync.controller.serving import Serving, is_behind
from kroasync.controller.slots import Slots
from kroasync.controller.store import ChildStore, InstanceStore
from kroasync.controller.watchdog import PassOverranError, Watchdog
from kroasync.controller.watches import InstanceSink, Watches, synced
from kroasync.controller.workqueue import WorkQueue
from kroasync.engine.plan import Options, Plan
from kroasync.graph.build import Limits
from kroasync.kube.client import Client
from kroasync.kube.errors import ApiError, ServerError, UnreachableError
from kroasync.kube.lanes import LANE
from kroasync.kube.watch import Watch
from kroasync.metrics import Metrics, gvr_path
from kroasync.model.kinds import CRDS, GRAPH_DEFINITIONS, GROUPS, LEASES, REVISIONS
from kroasync.model.names import KRO_LEASE_NAME
from kroasync.model.objects import Key, Obj, Resource, uid_of

log = logging.getLogger("kroasync.runtime")

# A watch that failed starts again within these; instances wait for it when the API server is back.
_RECONNECT_S = (0.2, 5.0)
# From when on a pass waits for something outside. Those over definitions compile, many of them at a start.
_LONG_S = 1.0
_LONG_DEFINITION_S = 5.0
# How long the passes in work may go on when the process is asked to stop: most end sooner.
_ROUND_OFF_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RuntimeOptions:
    """What an operator can set of the controller; durations in seconds."""

    version: str = "devel"
    identity: str = "kroasync"
    workers: int = 32
    definition_workers: int = 4
    min_delay_s: float = 0.2
    max_delay_s: float = 1000.0
    resync_s: float = 36000.0
    requeue_s: float = 3.0
    progress_s: float = 3.0
    stop_after_s: float = 60.0
    idle_deadline_s: float = 150.0
    events: bool = True
    allow_crd_deletion: bool = False
    max_revisions: int = 5
    limits: Limits = field(default_factory=Limits)
    engine: Options = field(default_factory=Options)
    features: frozenset[str] = frozenset()
    kro_namespaces: frozenset[str] = frozenset(KRO_NAMESPACES)


class Runtime:
    """One controller. `clock` is monotonic seconds, `now` the wall clock, `cpu` seconds of computing (not given: the
    clock).

    `begin` is told the key of each pass, in the task (and so the context) the pass runs in.
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
        self._client = client
        self._options = options
        self._metrics = metrics
        self._clock = clock
        self._now = now
        self._rng = rng
        self._begin = begin
        self.kinds = ServedKinds()
        self.queue: WorkQueue[Key] = WorkQueue(
            clock=clock,
            group_of=lambda key: key.resource,
            min_delay_s=options.min_delay_s,
            max_delay_s=options.max_delay_s,
            rng=rng,
            lasting_at_once=options.workers,
            waited=lambda seconds: metrics.workqueue_queue_duration_seconds.observe(seconds, "instances"),
            worked=lambda seconds: metrics.workqueue_work_duration_seconds.observe(seconds, "instances"),
        )
        self.definition_queue: WorkQueue[Key] = WorkQueue(
            clock=clock,
            group_of=lambda key: key,
            min_delay_s=options.min_delay_s,
            max_delay_s=options.max_delay_s,
            rng=rng,
            waited=lambda seconds: metrics.workqueue_queue_duration_seconds.observe(seconds, "definitions"),
            worked=lambda seconds: metrics.workqueue_work_duration_seconds.observe(seconds, "definitions"),
        )
        self._slots = {
            self.queue: Slots(self.queue, options.workers, long_s=_LONG_S),
            self.definition_queue: Slots(self.definition_queue, options.definition_workers, long_s=_LONG_DEFINITION_S),
        }
        self._pacing = Pacing(self.queue, clock=clock, cpu=cpu or clock, slots=self._slots[self.queue])
        self.watchdog = Watchdog(clock=clock, cpu=cpu or clock)
        self.room = Room()
        self.children = ChildStore(
            wake_by_uid(self.kinds, self.queue.add), claims=claims_of(self.kinds), room=self.room
        )
        self.crds = CrdStore(self._crd_changed)
        self.revisions = RevisionStore(self._revision_gone)
        self.stores = {
            resource: InstanceStore(resource, self.definition_queue.add, self._definition_gone, room=EndlessRoom())
            for resource in (GROUPS, GRAPH_DEFINITIONS)
        }
        self.recorder = Recorder(
            client, reporter="kro.run/kroasync", instance=options.identity, now=now, enabled=options.events
        )
        self.neighbour = Neighbour(clock=clock, namespaces=options.kro_namespaces, told=self._kro_acts)
        self._core: list[tuple[str, Watch]] = []
        self._tasks: list[asyncio.Task[Any]] = []
        self._passes: set[asyncio.Task[None]] = set()
        self.watches: Watches | None = None
        self._definitions: Definitions | None = None
        self._serving: Serving | None = None
        self._instances: Instances | None = None
        self._cluster: ClusterKinds | None = None
        self._let_metrics_read()

    # Readiness

    def watch_states(self) -> Iterable[tuple[str, Watch]]:
        """Name and watch of everything that is watched."""
        return self.watches.items() if self.watches is not None else ()

    def core_watches(self) -> Iterable[tuple[str, Watch]]:
        """The watches of definitions, revisions and CRDs."""
        return self._core

    def dead_tasks(self) -> list[str]:
        """Names of long-lived tasks that ended."""
        return [task.get_name() for task in self._tasks if task.done()]

    # Running

    async def run(self, stop: asyncio.Event, *, lead: asyncio.Event | None = None) -> None:
        """Work until `stop` is set; nothing is written any more when this returns, or `stop_after_s` later.

        With `lead`, only read until that is set: a warm standby.

        Raises what a long-lived task raised: that is a bug, and the process must not go on without it.
        """
        async with asyncio.TaskGroup() as group:
            self._wire(group)
            self._tasks.append(group.create_task(self._work(group, lead), name="work"))
            await stop.wait()
            await self._drain(group)
            # What is left may wait for something that never comes.
            for task in (*self._tasks, *self._passes):
                task.cancel()
            assert self.watches is not None
            self.watches.stop_all()

    def _wire(self, group: asyncio.TaskGroup) -> None:
        options, client = self._options, self._client
        self.watches = Watches(
            group=group,
            client=client,
            children=self.children,
            wake=self.queue.add,
            make=self._make_watch,
            metrics=self._metrics,
        )
        serving = Serving(
            kinds=self.kinds,
            watches=self.watches,
            children=self.children,
            wake=self.queue.add,
            gone=self._instance_gone,
            plan=lambda graph: Plan.of(graph, options.engine),
            metrics=self._metrics,
            room=self.room,
        )
        cluster = ClusterKinds(client, self.crds)
        fights = Fights(self._clock)
        self._serving = serving
        self._cluster = cluster
        self._definitions = Definitions(
            client=client,
            kinds=cluster,
            stores=self.stores,
            revisions=self.revisions,
            crds=self.crds,
            serving=serving,
            recorder=self.recorder,
            metrics=self._metrics,
            now=self._now,
            version=options.version,
            limits=options.limits,
            features=options.features,
            max_revisions=options.max_revisions,
            allow_crd_deletion=options.allow_crd_deletion,
            progress_s=options.progress_s,
            watchdog=self.watchdog,
            fights=fights,
        )
        self._instances = Instances(
            client=client,
            serving=serving,
            children=self.children,
            watches=self.watches,
            inventory_kinds=InventoryKinds(client, cluster, self.watches, self._clock, options.engine.seal_key),
            recorder=self.recorder,
            metrics=self._metrics,
            now=self._now,
            requeue_s=options.requeue_s,
            features=options.features,
            fights=fights,
            pacing=self._pacing,
            seal_key=options.engine.seal_key,
            watchdog=self.watchdog,
        )
        for resource in (GROUPS, GRAPH_DEFINITIONS):
            store = self.stores[resource]
            self._core_watch(resource, InstanceSink(store), known=store.versions)
        self._core_watch(REVISIONS, self.revisions, known=self.revisions.versions)
        self._core_watch(CRDS, self.crds, known=self.crds.versions)
        selector = f"metadata.name={KRO_LEASE_NAME}"
        self._leases = self.watches.start("kro", LEASES, self.neighbour, owner="kro", field_selector=selector)
        self._tasks.append(group.create_task(self.neighbour.run(), name="kro"))

    def _make_watch(self, client: Client, resource: Resource, **arguments: Any) -> Watch:
        return Watch(
            client,
            resource,
            clock=self._clock,
            rng=self._rng,
            idle_deadline_s=self._options.idle_deadline_s,
            backoff_s=_RECONNECT_S,
            **arguments,
        )

    def _core_watch(self, resource: Resource, sink: Any, known: Callable[[], Any]) -> None:
        assert self.watches is not None
        name = f"{resource.plural}.{resource.group}"
        self._core.append((name, self.watches.start(name, resource, sink, owner=resource, known=known)))

    async def _work(self, group: asyncio.TaskGroup, lead: asyncio.Event | None) -> None:
        """Wait for the core watches, then take keys from the queues for ever."""
        for _, watch in self._core:
            await watch.synced.wait()
        with suppress(UnreachableError):
            # Without the right to see kro's Lease the controller works as if there was none.
            await synced(self._leases)
        if lead is not None:
            await self._stand_by(lead)
        assert self._definitions is not None
        assert self._instances is not None
        for name, run in (
            ("definitions", self._consume(group, self.definition_queue, self._definitions.reconcile)),
            ("instances", self._consume(group, self.queue, self._instances.reconcile)),
            ("events", self.recorder.run()),
            ("revisions", self._release_revisions()),
        ):
            self._tasks.append(group.create_task(run, name=name))
        await asyncio.Event().wait()

    async def _stand_by(self, lead: asyncio.Event) -> None:
        """Until the lead is won, compile definitions and watch what their instances need, as the leader does."""
        async with asyncio.TaskGroup() as group:
            preparing = [
                group.create_task(self._prepare(), name="prepare") for _ in range(self._options.definition_workers)
            ]
            await lead.wait()
            for task in preparing:
                task.cancel()
        for store in self.stores.values():
            for key in store:
                self.definition_queue.add(key)
        self.queue.put_first(self._is_behind)

    async def _prepare(self) -> None:
        assert self._definitions is not None
        queue = self.definition_queue
        while True:
            key = await queue.get()
            try:
                work = self._definitions.prepare(key)
                await self.watchdog.watch(key, work, partial(self._overran, queue, key))
                queue.forget(key)
            except (ApiError, TimeoutError, PassOverranError) as error:
                log.info("definition not prepared", extra={"definition": str(key), "error": str(error)})
                queue.retry(key, at_most_s=AWAY_S)
            except Exception:
                # The first pass after the lead is won tells more.
                log.exception("definition not prepared", extra={"definition": str(key)})
            finally:
                queue.done(key)

    def _is_behind(self, key: Key) -> bool:
        served = self.kinds.get(key.resource)
        return is_behind(served.instances.head(key) if served is not None else None)

    async def _consume(
        self, group: asyncio.TaskGroup, queue: WorkQueue[Key], reconcile: Callable[[Key], Awaitable[Verdict]]
    ) -> None:
        slots = self._slots[queue]
        while True:
            await slots.acquire()
            key = await self._next(queue)
            slots.hold(key)
            task = group.create_task(self._one(queue, key, reconcile), name=f"reconcile {key}")
            self._passes.add(task)
            task.add_done_callback(self._passes.discard)
            # Its first turn comes first: it tells what passes of this kind cost.
            await asyncio.sleep(0)

    async def _next(self, queue: WorkQueue[Key]) -> Key:
        """A key whose pass may begin: none does while kro acts."""
        while True:
            await self.neighbour.away.wait()
            key = await queue.get()
            if self.neighbour.away.is_set():
                return key
            queue.done(key)
            queue.add(key)

    async def _one(self, queue: WorkQueue[Key], key: Key, reconcile: Callable[[Key], Awaitable[Verdict]]) -> None:
        """One pass behind a fence: whatever it raises is logged once, counted, and tried again later."""
        started = self._clock()
        failed = False
        verdict: Verdict
        try:
            work = self._begun(key, reconcile)
            if queue is self.queue:
                work = self._pacing.run(key, work)
            verdict = await self.watchdog.watch(key, work, partial(self._overran, queue, key))
        except PassOverranError as error:
            failed = True
            verdict = RetryAfter(reason=str(error))
        except ApiError as error:
            failed = True
            away = isinstance(error, UnreachableError | ServerError)
            verdict = RetryAfter(reason=error.message, at_most_s=AWAY_S if away else None)
        except Exception:
            failed = True
            log.exception("pass raised", extra={"key": str(key)})
            self._metrics.dynamic_controller_reconcile_panics_total.inc(_path_label(key))
            verdict = RetryAfter(reason="unexpected error")
        finally:
            self._slots[queue].done(key)
            queue.done(key)
        self._settle(queue, key, verdict)
        failed = failed or (isinstance(verdict, RetryAfter) and verdict.delay_s is None)
        took_s = self._clock() - started
        self._count(key, verdict, took_s, failed=failed, of_instance=queue is self.queue)
        _log_pass(key, verdict, took_s, failed=failed)

    def _overran(self, queue: WorkQueue[Key], key: Key, computed_s: float) -> None:
        """A turn of a pass computed for longer than any should: nothing of the sort happens again soon."""
        pause_s = queue.quarantine(key, computed_s)
        extra = {"key": str(key), "computed_s": round(computed_s, 1), "pause_s": round(pause_s)}
        log.error("a pass held up all others", extra=extra)
        self._metrics.kroasync_pass_overruns_total.inc(_path_label(key))
        obj = self.kinds.head(key) if queue is self.queue else self.stores[key.resource].get(key)
        if obj is not None:
            note = f"a pass computed for {computed_s:.0f} s without a pause; the next one is in {pause_s:.0f} s"
            self.recorder.record(obj, reason="Overran", note=note, action="Reconcile", warning=True)

    async def _begun(self, key: Key, reconcile: Callable[[Key], Awaitable[Verdict]]) -> Verdict:
        self._begin(str(key))
        # Its requests, if they hang, hold up those of its own kind only.
        LANE.set(key if key.resource in self.stores else key.resource)
        return await reconcile(key)

    def _count(self, key: Key, verdict: Verdict, took_s: float, *, failed: bool, of_instance: bool) -> None:
        if of_instance and self.kinds.get(key.resource) is None:
            return  # the last passes of a kind that is gone, and so are its series
        metrics, path = self._metrics, _path_label(key)
        metrics.dynamic_controller_reconcile_total.inc(path)
        metrics.dynamic_controller_reconcile_duration_seconds.observe(took_s, path)
        metrics.dynamic_controller_requeue_total.inc(path, _follows(verdict))
        if failed:
            metrics.dynamic_controller_handler_errors_total.inc(path)
        if of_instance:
            gvr = str(key.resource)
            metrics.instance_reconcile_total.inc(gvr)
            metrics.instance_reconcile_duration_seconds.observe(took_s, gvr)
            if failed:
                metrics.instance_reconcile_errors_total.inc(gvr)

    def _let_metrics_read(self) -> None:
        """Point the metrics that are read when they are asked for at what they are about."""
        metrics = self._metrics
        queues = {("definitions",): self.definition_queue, ("instances",): self.queue}
        metrics.workqueue_depth.read_from(lambda: {name: len(queue) for name, queue in queues.items()})
        metrics.workqueue_adds_total.read_from(lambda: {name: queue.adds for name, queue in queues.items()})
        metrics.workqueue_retries_total.read_from(lambda: {name: queue.retries for name, queue in queues.items()})
        metrics.kroasync_workqueue_depth.read_from(
            lambda: {
                ("ready",): len(self.queue),
                ("in-work",): self.queue.in_work,
                ("delayed",): self.queue.delayed,
            }
        )
        metrics.dynamic_controller_queue_length.read_from(lambda: {(): len(self.queue)})
        metrics.dynamic_controller_gvr_count.read_from(lambda: {(): len(self.kinds)})
        metrics.dynamic_controller_watch_count.read_from(lambda: {(): len(list(self.watch_states()))})
        metrics.dynamic_controller_instance_watch_count.read_from(
            lambda: {(str(served.resource),): len(served.instances) for served in self.kinds}
        )
        metrics.dynamic_controller_watch_request_count.read_from(
            lambda: self.watches.requested() if self.watches is not None else {}
        )
        metrics.kroasync_watch_last_event_age_seconds.read_from(self._watch_ages)
        metrics.kroasync_strangers.read_from(self.children.strangers)
        metrics.graph_revision_registry_entries.read_from(self.revisions.counts)
        metrics.schema_resolver_cache_size.read_from(
            lambda: {(): len(self._cluster) if self._cluster is not None else 0}
        )

    def _watch_ages(self) -> dict[tuple[str, ...], float]:
        now = self._clock()
        ages: dict[tuple[str, ...], float] = {}
        for _, watch in self.watch_states():
            gvr = (str(watch.resource),)
            ages[gvr] = max(ages.get(gvr, 0.0), watch.last_event_age_s(now))
        return ages

    def _settle(self, queue: WorkQueue[Key], key: Key, verdict: Verdict) -> None:
        match verdict:
            case Done():
                queue.forget(key)
                if self._options.resync_s > 0 and queue is self.queue and self.kinds.head(key) is not None:
                    queue.add_after(key, self._options.resync_s)
            case RetryAfter(delay_s=None, at_most_s=at_most_s):
                queue.retry(key, at_most_s=at_most_s)
            case RetryAfter(delay_s=float() as delay_s):
                queue.forget(key)
                queue.add_after(key, delay_s)

    async def _release_revisions(self) -> None:
        """Revisions that are being deleted let go of at once; again after a pause if that failed."""
        assert self._definitions is not None
        failures = 0
        while True:
            await self.neighbour.away.wait()
            changed, wait_s = self.revisions.changed, None
            try:
                await self._definitions.release_revisions()
                failures = 0
            except ApiError as error:
                log.info("revision not released", extra={"error": error.message})
                wait_s = min(self._options.min_delay_s * 2.0 ** min(failures, 16), AWAY_S)
                failures += 1
            with suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await changed.wait()

    async def _drain(self, group: asyncio.TaskGroup) -> None:
        """Take no more keys; let the passes in work end, or at least the writes they have sent.

        A pass that is cut off between two writes is as good as one that crashed there: the next leader goes on. It
        has less to wait for when the passes end first, and the last Events are told.
        """
        for task in self._tasks:
            if task.get_name() in ("definitions", "instances"):
                task.cancel()
        round_off_s = min(_ROUND_OFF_S, self._options.stop_after_s)
        ending = group.create_task(self._end_passes(), name="end passes")
        await asyncio.wait([ending], timeout=round_off_s)
        self._client.refuse_writes()
        with suppress(TimeoutError):
            async with asyncio.timeout(self._options.stop_after_s - round_off_s):
                await self._client.writes_answered()
        ending.cancel()

    async def _end_passes(self) -> None:
        while self.queue.in_work or self.definition_queue.in_work:
            await self._idle()
        await self.recorder.flush()

    async def _idle(self) -> None:
        await self.queue.finished()
        await self.definition_queue.finished()

    # What watches tell

    def _kro_acts(self, lease: Obj, text: str) -> None:
        self.recorder.record(lease, reason="KroActs", note=text, action="StandBy", warning=True)

    def _crd_changed(self, before: SeenCrd | None, after: SeenCrd | None) -> None:
        definitions, serving = self._definitions, self._serving
        assert definitions is not None
        assert serving is not None
        definitions.crd_event()
        crd = after or before
        assert crd is not None
        if after is None:
            for served in self.kinds:
                if served.name == crd.name:
                    serving.stop(served.resource)
        elif after.established and after.owned:
            # One in deletion, too: it waits for its instances, and those for us.
            serving.adopt(after.resource())
        if after is not None and after.established:
            for key in definitions.concerned_with(after.group_kind):
                self.definition_queue.add(key)
        for key in definitions.generating(crd.name):
            self.definition_queue.add(key)
        if crd.owned:
            owner = definitions.owner_of(crd)
            if owner is not None:
                self.definition_queue.add(owner)

    def _definition_gone(self, key: Key, obj: Obj) -> None:
        self.definition_queue.add(key)
        if self._definitions is not None:
            for rival in self._definitions.rivals(obj):
                # One of them may have the kind now.
                self.definition_queue.add(rival)
        self._metrics.forget_definition(key.name)

    def _revision_gone(self, identity: str) -> None:
        namespace, _, name = identity.rpartition("/")
        self.definition_queue.add(Key(GROUPS if namespace else GRAPH_DEFINITIONS, namespace, name))

    def _instance_gone(self, key: Key, obj: Obj) -> None:
        # One more pass releases what the instance held; a new object of that name gets its own.
        self.queue.discard(key)
        self.queue.add(key)
        served = self.kinds.get(key.resource)
        if served is None or key not in served.dropped:
            self.children.settle(uid_of(obj))
        self._metrics.instance_conditions.forget(str(key.resource), key.namespace, key.name)


def _path_label(key: Key) -> str:
    return gvr_path(key.resource.api_version, key.resource.plural)


def _follows(verdict: Verdict) -> str:
    match verdict:
        case Done():
            return "no_requeue"
        case RetryAfter(delay_s=None):
            return "rate_limited"
        case RetryAfter():
            return "requeue_after"


def _log_pass(key: Key, verdict: Verdict, took_s: float, *, failed: bool) -> None:
    """One line for every pass: of note are those that changed something or failed."""
    summary = verdict.summary
    level = logging.INFO if failed or summary.changes else logging.DEBUG
    if not log.isEnabledFor(level):
        return
    fields: dict[str, Any] = {
        "key": str(key),
        "outcome": summary.outcome,
        "changes": summary.changes,
        "took_ms": round(took_s * 1e3, 1),
        "verdict": _follows(verdict),
    }
    if summary.sent is not None:
        fields["sent"] = summary.sent
    if isinstance(verdict, RetryAfter) and verdict.reason:
        fields["reason"] = verdict.reason
    log.log(level, "pass failed" if failed else "pass", extra=fields)
