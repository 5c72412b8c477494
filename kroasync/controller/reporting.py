"""Write the status of an instance: once if nothing interferes, again after a conflict, never if it is the same.

Each write carries the resourceVersion that its difference was computed from. A refusal becomes a `Reported`, and the
engine decides what follows from that (`engine.verdict`). If somebody else keeps changing the status, the writes pause
(`fights`).
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from kroasync.controller.fights import Fights
from kroasync.controller.observing import Observing
from kroasync.controller.recording import Recording
from kroasync.controller.refusals import refusal_of
from kroasync.controller.served_kinds import Served
from kroasync.controller.status_writes import report, wait_s
from kroasync.engine.instance_status import compose_unresolved
from kroasync.engine.verdict import (
    Reported,
    Written,
    is_of_an_older_spec,
    is_of_another_object,
    may_have_been_written,
    unwritten,
)
from kroasync.kube.api_errors import ApiError, ConflictError, NotFoundError
from kroasync.kube.client import Client
from kroasync.model import timestamps
from kroasync.model.objects import Key, Obj, version_of

log = logging.getLogger("kroasync.instances")

_ATTEMPTS: Final = 5
_SAME: Final = Reported(written=Written.SAME)


@dataclass(frozen=True, slots=True)
class Reporting:
    """Writes the statuses of all instances."""

    client: Client
    observing: Observing
    recording: Recording
    fights: Fights
    now: Callable[[], datetime]

    def stamp(self) -> str:
        """The current time in the format of conditions."""
        return timestamps.seconds(self.now())

    def left_for_s(self, key: Key, served: Served) -> float:
        """How long to wait before the next write of a contested status; 0 if it may be written now."""
        return wait_s(served.instances, self.fights, key)

    async def unresolved(self, key: Key, served: Served, instance: Obj, message: str) -> Reported:
        """Report that the instance cannot be reconciled at all."""
        return await self.report(key, served, instance, compose_unresolved(instance, message, now=self.stamp()))

    async def report(self, key: Key, served: Served, seen: Obj, status: Obj) -> Reported:
        """Write the status if it differs. `seen` is the instance the status is about."""
        self.recording.conditions(key, status)
        for _ in range(_ATTEMPTS):
            current = await self._current(key, served, seen)
            if current is None:
                return _SAME
            try:
                return await self._write(key, served, current, status)
            except NotFoundError:
                return _SAME
            except ConflictError:
                fresh = await self.observing.fresh(key)
                if fresh is None:
                    return _SAME
                served.instances.fetched(fresh)
                if is_of_an_older_spec(seen, fresh):
                    return _SAME
            except ApiError as error:
                return self._unwritten(key, served, error)
        return Reported(written=Written.NO)

    async def _current(self, key: Key, served: Served, seen: Obj) -> Obj | None:
        """The whole instance, to compute the difference from; None if this pass must not write."""
        current = served.instances.get(key)
        if current is None or is_of_another_object(seen, current) or self.left_for_s(key, served) > 0:
            return None
        if served.instances.is_whole(key):
            return current
        if version_of(seen) == version_of(current):
            return seen
        return await self.observing.reread(key, served, current)

    async def _write(self, key: Key, served: Served, current: Obj, status: Obj) -> Reported:
        answer, contested = await report(self.client, served.instances, self.fights, key, current, status)
        if contested:
            self.recording.status_contested(current, contested)
        if answer is None:
            return _SAME
        self.recording.written(key, current, status)
        return Reported(written=Written.YES)

    def _unwritten(self, key: Key, served: Served, error: ApiError) -> Reported:
        confidential = served.plan is not None and served.plan.status_is_secret
        text = error.known_reason if confidential and error.quotes_body else error.message
        log.warning("status not written", extra={"error": text})
        refusal = refusal_of(error)
        if may_have_been_written(refusal):
            self.observing.doubt(key)
        return unwritten(refusal, text)
