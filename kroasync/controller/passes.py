"""Run the passes over the keys of one queue: time, count and log each pass, and return its key to the queue.

A key waits for a worker. It also waits while kro acts: no pass begins then. If a pass raises an error, the error is
logged once and counted, and the key is retried later: an error never stops other passes.

Two fences keep two controllers from writing at the same time. Before a pass, `Neighbour.away` says that kro does not
act. Before each write in a pass, the client asks the elector whether this process is certain to lead (`kube.lease`).
The second check is necessary because a pass may outlast the lease: a process that was suspended must not write when it
wakes up, because another replica may lead by then. A fenced write raises FencedError, and the pass fails.

The classes at the end of the file hold the differences between passes over instances and passes over definitions.
"""

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Coroutine, Hashable
from functools import partial
from typing import Any

from kroasync.controller.slots import Slots
from kroasync.controller.watchdog import PassOverranError
from kroasync.controller.wiring import Parts
from kroasync.controller.workqueue import WorkQueue
from kroasync.engine.verdict import AWAY_S, WAITING_S, AtRest, RetryAfter, Verdict
from kroasync.kube.api_errors import ApiError, ServerError, UnreachableError
from kroasync.kube.lanes import LANE
from kroasync.metrics import DEFINITION_QUEUE, gvr_path
from kroasync.model.objects import Key, Obj

log = logging.getLogger("kroasync.runtime")


class Passes(ABC):
    """Runs passes. It calls `begin` with the key of each pass, in the task (and so the context) of the pass."""

    def __init__(
        self,
        parts: Parts,
        queue: WorkQueue[Key],
        slots: Slots,
        reconcile: Callable[[Key], Awaitable[Verdict]],
        begin: Callable[[str], object],
    ) -> None:
        self.queue = queue
        # The passes in work.
        self.tasks: set[asyncio.Task[None]] = set()
        self._parts = parts
        self._slots = slots
        self._reconcile = reconcile
        self._begin = begin

    async def make(self) -> None:
        """Take keys from the queue forever."""
        while True:
            await self._slots.acquire()
            key = await self._next()
            self._slots.hold(key)
            task = self._parts.group.create_task(self._one(key), name=f"reconcile {key}")
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)
            # Let the first turn of the pass run: it shows how much passes of this group compute.
            await asyncio.sleep(0)

    async def _next(self) -> Key:
        """The next key whose pass may begin; no pass begins while kro acts."""
        away = self._parts.neighbour.away
        while True:
            await away.wait()
            key = await self.queue.get()
            if away.is_set():
                return key
            self.queue.done(key)
            self.queue.add(key)

    async def _one(self, key: Key) -> None:
        clock = self._parts.given.clock
        started = clock()
        failed = False
        verdict: Verdict
        try:
            verdict = await self._parts.watchdog.watch(key, self._paced(key, self._begun(key)), self.overran_by(key))
        except PassOverranError as error:
            failed = True
            verdict = RetryAfter(reason=str(error), at_most_s=None)
        except ApiError as error:
            failed = True
            away = isinstance(error, UnreachableError | ServerError)
            verdict = RetryAfter(reason=error.message, at_most_s=AWAY_S if away else WAITING_S)
        except Exception:
            failed = True
            log.exception("pass raised", extra={"key": str(key)})
            self._panicked(key)
            verdict = RetryAfter(reason="unexpected error", at_most_s=None)
        finally:
            self._slots.done(key)
            self.queue.done(key)
        self._settle(key, verdict)
        failed = failed or (isinstance(verdict, RetryAfter) and verdict.delay_s is None)
        took_s = clock() - started
        self._count(key, verdict, took_s, failed=failed)
        _log_pass(key, verdict, took_s, failed=failed)

    async def _begun(self, key: Key) -> Verdict:
        self._begin(str(key))
        LANE.set(self._lane(key))
        return await self._reconcile(key)

    def overran_by(self, key: Key) -> Callable[[float], None]:
        """The function that the watchdog calls when a pass over this key overruns."""
        return partial(self._overran, key)

    def _overran(self, key: Key, computed_s: float) -> None:
        """Let a key rest whose pass computed for too long in one turn, and report it."""
        pause_s = self.queue.quarantine(key, computed_s)
        extra = {"key": str(key), "computed_s": round(computed_s, 1), "pause_s": round(pause_s)}
        log.error("a pass computed for too long without a pause", extra=extra)
        self._parts.given.metrics.kroasync_pass_overruns_total.inc(_path_label(key))
        obj = self._find(key)
        if obj is not None:
            note = f"a pass computed for {computed_s:.0f} s without a pause; the next one is in {pause_s:.0f} s"
            self._parts.recorder.record(obj, reason="Overran", note=note, action="Reconcile", warning=True)

    def _settle(self, key: Key, verdict: Verdict) -> None:
        match verdict:
            case AtRest():
                self.queue.forget(key)
                if (rests_s := self._rests_s(key)) > 0:
                    self.queue.add_after(key, rests_s)
            case RetryAfter(delay_s=None, at_most_s=at_most_s):
                self.queue.retry(key, at_most_s=at_most_s)
            case RetryAfter(delay_s=float() as delay_s):
                self.queue.forget(key)
                self.queue.add_after(key, delay_s)

    def _panicked(self, key: Key) -> None:
        """Count a pass that a bug ended."""
        self._parts.given.metrics.dynamic_controller_reconcile_panics_total.inc(_path_label(key))

    def _count(self, key: Key, verdict: Verdict, took_s: float, *, failed: bool) -> None:
        metrics, path = self._parts.given.metrics, _path_label(key)
        metrics.dynamic_controller_reconcile_total.inc(path)
        metrics.dynamic_controller_reconcile_duration_seconds.observe(took_s, path)
        metrics.dynamic_controller_requeue_total.inc(path, _follows(verdict))
        if failed:
            metrics.dynamic_controller_handler_errors_total.inc(path)

    # The differences between instances and definitions

    @abstractmethod
    def _lane(self, key: Key) -> Hashable:
        """The lane of the pass's requests: requests that hang delay only their own lane."""

    @abstractmethod
    def _find(self, key: Key) -> Obj | None:
        """The object of a key, or at least its head."""

    def _paced(self, key: Key, work: Coroutine[Any, Any, Verdict]) -> Coroutine[Any, Any, Verdict]:
        """The work of a pass, wrapped so that it yields to other passes."""
        return work

    def _rests_s(self, key: Key) -> float:
        """How many seconds after a pass the next one is due; 0 for none until something changes."""
        return 0.0


class InstancePasses(Passes):
    """Passes over instances: they share the loop by their cost, and each instance is resynced now and then."""

    def __init__(self, parts: Parts, begin: Callable[[str], object]) -> None:
        queues = parts.queues
        super().__init__(parts, queues.instances, queues.instance_slots, parts.instances.reconcile, begin)

    def _lane(self, key: Key) -> Hashable:
        return key.resource

    def _find(self, key: Key) -> Obj | None:
        return self._parts.caches.kinds.head(key)

    def _paced(self, key: Key, work: Coroutine[Any, Any, Verdict]) -> Coroutine[Any, Any, Verdict]:
        return self._parts.queues.pacing.run(key, work)

    def _rests_s(self, key: Key) -> float:
        return self._parts.given.options.resync_s if self._find(key) is not None else 0.0

    def _count(self, key: Key, verdict: Verdict, took_s: float, *, failed: bool) -> None:
        if self._parts.caches.kinds.get(key.resource) is None:
            return  # the kind is gone, and so are its series
        super()._count(key, verdict, took_s, failed=failed)
        metrics, gvr = self._parts.given.metrics, str(key.resource)
        metrics.instance_reconcile_total.inc(gvr)
        metrics.instance_reconcile_duration_seconds.observe(took_s, gvr)
        if failed:
            metrics.instance_reconcile_errors_total.inc(gvr)


class DefinitionPasses(Passes):
    """Passes over definitions: each definition is a group of its own, so none delays another."""

    def __init__(self, parts: Parts, begin: Callable[[str], object]) -> None:
        queues = parts.queues
        super().__init__(parts, queues.definitions, queues.definition_slots, parts.definitions.reconcile, begin)

    def _lane(self, key: Key) -> Hashable:
        return key

    def _find(self, key: Key) -> Obj | None:
        return self._parts.caches.registry.get(key)

    def _overran(self, key: Key, computed_s: float) -> None:
        super()._overran(key, computed_s)
        self._parts.given.metrics.controller_runtime_reconcile_timeouts_total.inc(DEFINITION_QUEUE)

    def _panicked(self, key: Key) -> None:
        super()._panicked(key)
        self._parts.given.metrics.controller_runtime_reconcile_panics_total.inc(DEFINITION_QUEUE)

    def _count(self, key: Key, verdict: Verdict, took_s: float, *, failed: bool) -> None:
        super()._count(key, verdict, took_s, failed=failed)
        metrics, done = self._parts.given.metrics, "success" if isinstance(verdict, AtRest) else "requeue_after"
        metrics.controller_runtime_reconcile_total.inc(DEFINITION_QUEUE, "error" if failed else done)
        metrics.controller_runtime_reconcile_time_seconds.observe(took_s, DEFINITION_QUEUE)
        if failed:
            metrics.controller_runtime_reconcile_errors_total.inc(DEFINITION_QUEUE)


def _path_label(key: Key) -> str:
    return gvr_path(key.resource.api_version, key.resource.plural)


def _follows(verdict: Verdict) -> str:
    match verdict:
        case AtRest():
            return "no_requeue"
        case RetryAfter(delay_s=None):
            return "rate_limited"
        case RetryAfter():
            return "requeue_after"


def _log_pass(key: Key, verdict: Verdict, took_s: float, *, failed: bool) -> None:
    """Log one line for every pass; at a higher level if it changed something or failed."""
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
