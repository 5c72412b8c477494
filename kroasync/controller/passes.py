"""Passes over the keys of one queue: each behind a fence, timed, counted, logged, and settled with the queue.

A key waits for a worker, and for kro to be away. Whatever its pass raises is logged once, counted, and tried again
later: a pass that fails is one pass. The end of the file has what passes over instances and definitions differ in.
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
from kroasync.metrics import gvr_path
from kroasync.model.objects import Key, Obj

log = logging.getLogger("kroasync.runtime")


class Passes(ABC):
    """`begin` is told the key of each pass, in the task (and so the context) the pass runs in."""

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
            # Its first turn comes first: it tells what passes of this kind cost.
            await asyncio.sleep(0)

    async def _next(self) -> Key:
        """A key whose pass may begin: none does while kro acts."""
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
            self._parts.given.metrics.dynamic_controller_reconcile_panics_total.inc(_path_label(key))
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
        """What the watchdog tells of a pass over this key."""
        return partial(self._overran, key)

    def _overran(self, key: Key, computed_s: float) -> None:
        """A turn of a pass computed for longer than any should: nothing of the sort happens again soon."""
        pause_s = self.queue.quarantine(key, computed_s)
        extra = {"key": str(key), "computed_s": round(computed_s, 1), "pause_s": round(pause_s)}
        log.error("a pass held up all others", extra=extra)
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

    def _count(self, key: Key, verdict: Verdict, took_s: float, *, failed: bool) -> None:
        metrics, path = self._parts.given.metrics, _path_label(key)
        metrics.dynamic_controller_reconcile_total.inc(path)
        metrics.dynamic_controller_reconcile_duration_seconds.observe(took_s, path)
        metrics.dynamic_controller_requeue_total.inc(path, _follows(verdict))
        if failed:
            metrics.dynamic_controller_handler_errors_total.inc(path)

    # What instances and definitions differ in

    @abstractmethod
    def _lane(self, key: Key) -> Hashable:
        """Whom the requests of a pass hold up, if they hang."""

    @abstractmethod
    def _find(self, key: Key) -> Obj | None:
        """At least the head of what the key names."""

    def _paced(self, key: Key, work: Coroutine[Any, Any, Verdict]) -> Coroutine[Any, Any, Verdict]:
        """The work of a pass, which gives way to others."""
        return work

    def _rests_s(self, key: Key) -> float:
        """How long what the key names may be left alone after a pass; 0: until something changes."""
        return 0.0


class InstancePasses(Passes):
    """Passes share the loop by what they cost, and come again once in a long while."""

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
            return  # the last passes of a kind that is gone, and so are its series
        super()._count(key, verdict, took_s, failed=failed)
        metrics, gvr = self._parts.given.metrics, str(key.resource)
        metrics.instance_reconcile_total.inc(gvr)
        metrics.instance_reconcile_duration_seconds.observe(took_s, gvr)
        if failed:
            metrics.instance_reconcile_errors_total.inc(gvr)


class DefinitionPasses(Passes):
    """Each definition is a group of its own: none holds up another one."""

    def __init__(self, parts: Parts, begin: Callable[[str], object]) -> None:
        queues = parts.queues
        super().__init__(parts, queues.definitions, queues.definition_slots, parts.definitions.reconcile, begin)

    def _lane(self, key: Key) -> Hashable:
        return key

    def _find(self, key: Key) -> Obj | None:
        return self._parts.caches.registry.get(key)


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
