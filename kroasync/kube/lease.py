"""Leader election by a Lease of coordination.k8s.io: at most one of several processes acts.

Clocks of different machines are never compared. A Lease has expired if, by this process's own clock, it has not changed
for its duration. Writes carry the resourceVersion that was read, so one of two candidates gets a conflict. The lead is
certain for `renew_deadline_s` from the start of the last successful renewal. That is shorter than the lease: a process
that checks `may_write` before each write stops before another one can start. A candidate that follows the Lease by a
watch sees a release immediately; without a watch, it reads the Lease once in a retry period.
"""

import asyncio
import logging
import math
import random
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Final, Protocol, TypeAlias

from kroasync.kube.api_errors import AlreadyExistsError, ApiError, ConflictError, NotFoundError
from kroasync.kube.watch import Sink
from kroasync.model import timestamps
from kroasync.model.kinds import LEASES
from kroasync.model.objects import Key, Obj

log = logging.getLogger("leader-election")

# Candidates that lost at the same time should not retry at the same time (client-go's JitterFactor).
_JITTER: Final = 1.2
# A release is retried for this long, with pauses. If it fails, others wait until the lease expires.
_RELEASE_S: Final = 3.0
_RELEASE_PAUSE_S: Final = 0.2


def sleepless_clock() -> float:
    """Monotonic seconds that include the time while the machine is suspended, if the system supports this.

    On Linux, `time.monotonic` stops while the machine is suspended. A leader that wakes up would believe that its lead
    is still valid.
    """
    return time.clock_gettime(time.CLOCK_BOOTTIME) if _HAS_BOOT_TIME else time.monotonic()


_HAS_BOOT_TIME: Final = hasattr(time, "CLOCK_BOOTTIME")


class LeaseLostError(Exception):
    """This process may no longer act as the leader, and must exit."""


class LeaseClient(Protocol):
    """The methods of a client that the election needs."""

    async def get(self, key: Key) -> Obj: ...
    async def create(self, key: Key, obj: Obj, *, manager: str = "") -> Obj: ...
    async def put(self, key: Key, obj: Obj, *, manager: str) -> Obj: ...


Follow: TypeAlias = Callable[[Sink], Coroutine[Any, Any, None]]
"""Delivers the state of the Lease to a sink, forever."""


class Elector:
    """A candidate: call `acquire()`, then `hold()` while the leader acts, and finally `release()`.

    `identity` must be unique among all candidates of all times. `clock` is monotonic and continues while the process
    or the machine is paused; `now` only labels the Lease for people. Raises ValueError unless lease > renew
    deadline > 1.2 times the retry period > 0.
    """

    def __init__(
        self,
        client: LeaseClient,
        namespace: str,
        name: str,
        identity: str,
        *,
        lease_duration_s: float = 15.0,
        renew_deadline_s: float = 10.0,
        retry_period_s: float = 2.0,
        follow: Follow | None = None,
        clock: Callable[[], float] = sleepless_clock,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        uniform: Callable[[float, float], float] = random.uniform,
        manager: str = "kroasync",
    ) -> None:
        if not lease_duration_s > renew_deadline_s > _JITTER * retry_period_s > 0:
            raise ValueError(
                "leader election: the lease duration must be longer than the renew deadline,"
                f" and that longer than {_JITTER} retry periods;"
                f" found {lease_duration_s:g} s, {renew_deadline_s:g} s, {retry_period_s:g} s"
            )
        self.identity = identity
        self.is_leader = False
        self._client = client
        self._key = Key(LEASES, namespace, name)
        self._lease_duration_s = lease_duration_s
        self._renew_deadline_s = renew_deadline_s
        self._retry_period_s = retry_period_s
        self._follow = follow
        self._clock = clock
        self._now = now
        self._uniform = uniform
        self._manager = manager
        self._seen: Obj | None = None
        self._seen_record: object = None
        self._seen_at = 0.0
        self._renewed_at = 0.0
        self._fresh = False
        self._maybe_ours = False
        self._refused = asyncio.Event()
        # The error of the last read or write of the Lease.
        self.trouble: str | None = "not read yet"

    @property
    def holder(self) -> str:
        """The current leader, as last read; empty if there is none."""
        spec = (self._seen or {}).get("spec") or {}
        return str(spec.get("holderIdentity") or "")

    def may_write(self) -> bool:
        """Whether it is certain that nobody else leads now. If it is not, the leader ends: `hold()` raises."""
        certain = self.is_leader and self._clock() < self._renewed_at + self._renew_deadline_s
        if self.is_leader and not certain:
            self._refused.set()
        return certain

    async def acquire(self) -> None:
        """Returns once this process leads."""
        free = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            following = group.create_task(self._follow(_Freed(free)), name="follow lease") if self._follow else None
            told = ""
            while not await self._attempt():
                if self.holder != told:
                    told = self.holder
                    log.info("waiting for the lease %s/%s, held by %s", self._key.namespace, self._key.name, told)
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._uniform(1.0, _JITTER) * self._retry_period_s):
                        await free.wait()
                free.clear()
            if following is not None:
                following.cancel()
        log.info("%s leads (lease %s/%s)", self.identity, self._key.namespace, self._key.name)

    async def hold(self) -> None:
        """Renews the lease; never returns. Raises LeaseLostError when the lead is over, or may be."""
        renewing = asyncio.create_task(self._keep(), name="renew lease")
        refused = asyncio.create_task(self._refused.wait(), name="refused write")
        try:
            await asyncio.wait((renewing, refused), return_when=asyncio.FIRST_COMPLETED)
            if renewing.done():
                renewing.result()
            raise LeaseLostError("a write was due, but it was no longer certain who leads")
        finally:
            self.is_leader = False
            renewing.cancel()
            refused.cancel()
            await asyncio.wait((renewing, refused))

    async def release(self) -> None:
        """Releases the lease, so that the next candidate need not wait; does nothing if this process does not hold it.

        Call it when nothing acts any more. Failures are logged; the lease then expires.
        """
        self.is_leader = False
        if not self._maybe_ours:
            return
        end = self._clock() + _RELEASE_S
        while True:
            try:
                async with asyncio.timeout(max(0.0, end - self._clock())):
                    await self._let_go()
                return
            except NotFoundError:
                return
            except (ApiError, TimeoutError) as error:
                # A write whose answer was not awaited may have changed the version.
                self._fresh = False
                if self._clock() + _RELEASE_PAUSE_S >= end:
                    log.warning("the lease could not be released: %s", str(error) or "no answer in time")
                    return
            await asyncio.sleep(_RELEASE_PAUSE_S)

    async def _let_go(self) -> None:
        if self._seen is None or not self._fresh:
            self._observe(await self._client.get(self._key))
        lease = self._seen
        if lease is None or self.holder != self.identity:
            return
        spec = {**lease["spec"], "holderIdentity": "", "leaseDurationSeconds": 1, "renewTime": self._stamp()}
        self._observe(await self._put({**lease, "spec": spec}))

    async def _keep(self) -> None:
        while True:
            await asyncio.sleep(self._retry_period_s)
            await self._renew()

    async def _renew(self) -> None:
        """One renewal, retried until the deadline."""
        while True:
            if await self._attempt(deadline=self._renewed_at + self._renew_deadline_s):
                return
            if self.holder != self.identity:
                raise LeaseLostError(f"{self.holder or 'nobody'} leads instead of {self.identity}")
            if self._clock() >= self._renewed_at + self._renew_deadline_s:
                raise LeaseLostError(f"the lease could not be renewed within {self._renew_deadline_s:g} s")
            await asyncio.sleep(min(self._retry_period_s, 1.0))

    async def _attempt(self, deadline: float | None = None) -> bool:
        """Try once to acquire or renew the lease; False if another process holds it, or the server does not answer.

        The lead counts from the start of the request, because the server may have processed it that early.
        """
        started = self._clock()
        end = started + self._renew_deadline_s if deadline is None else deadline
        try:
            # A request that hangs must not outlast the lead.
            async with asyncio.timeout(max(0.0, end - started)):
                won = await self._claim(started)
        except (AlreadyExistsError, ConflictError):
            # Another process wrote first. The next attempt reads what it wrote.
            self._fresh = False
            return False
        except (ApiError, TimeoutError) as error:
            self._note_trouble(str(error) or "no answer in time")
            self._fresh = False
            return False
        except asyncio.CancelledError:
            self._fresh = False
            raise
        self._note_trouble(None)
        if won:
            self._renewed_at = started
            # A process that was paused may read the answer too late; then the answer is outdated.
            won = self._clock() < started + self._renew_deadline_s
            self.is_leader = self.is_leader or won
        return won

    def _note_trouble(self, trouble: str | None) -> None:
        if trouble is not None and trouble != self.trouble:
            log.warning("lease %s/%s: %s", self._key.namespace, self._key.name, trouble)
        self.trouble = trouble

    async def _claim(self, started: float) -> bool:
        # A leader writes with the version of its own last write. Others, and a leader in doubt, read the Lease first.
        if not (self.is_leader and self._fresh):
            try:
                self._observe(await self._client.get(self._key))
            except NotFoundError:
                if self.holder not in ("", self.identity) and not self._expired(started, (self._seen or {})["spec"]):
                    # Somebody deleted the Lease of a leader that may not know it yet.
                    return False
                self._maybe_ours = True
                self._observe(await self._client.create(self._key, self._new(), manager=self._manager))
                return True
        lease = self._seen
        if lease is None:
            raise AssertionError("a lease was just read")
        spec = lease.get("spec") or {}
        holder = str(spec.get("holderIdentity") or "")
        if holder and holder != self.identity and not self._expired(started, spec):
            return False
        if self.is_leader and holder != self.identity:
            # Another process led meanwhile. This process must not take the lead back before it has stopped.
            return False
        self._maybe_ours = True
        self._observe(await self._put({**lease, "spec": self._spec(spec)}))
        return True

    def _expired(self, now: float, spec: Obj) -> bool:
        duration = spec.get("leaseDurationSeconds")
        seconds = float(duration) if isinstance(duration, int) else self._lease_duration_s
        return now >= self._seen_at + seconds

    def _observe(self, lease: Obj) -> None:
        """Remember the lease, and the current time if its content changed."""
        record = lease.get("spec")
        if self._seen is None or record != self._seen_record:
            self._seen_record = record
            self._seen_at = self._clock()
        self._seen = lease
        self._fresh = True

    async def _put(self, lease: Obj) -> Obj:
        return await self._client.put(self._key, lease, manager=self._manager)

    def _new(self) -> Obj:
        return {
            "apiVersion": LEASES.api_version,
            "kind": LEASES.kind,
            "metadata": {"name": self._key.name, "namespace": self._key.namespace},
            "spec": self._spec({}),
        }

    def _spec(self, before: Obj) -> Obj:
        now = self._stamp()
        same = before.get("holderIdentity") == self.identity
        transitions = before.get("leaseTransitions")
        count = transitions if isinstance(transitions, int) else 0
        return {
            **before,
            "holderIdentity": self.identity,
            "leaseDurationSeconds": max(1, math.ceil(self._lease_duration_s)),
            "acquireTime": before.get("acquireTime") or now if same else now,
            "renewTime": now,
            "leaseTransitions": count + (0 if same or not before else 1),
        }

    def _stamp(self) -> str:
        return timestamps.microseconds(self._now())


class _Freed:
    """Sets an event when nobody holds the Lease."""

    def __init__(self, free: asyncio.Event) -> None:
        self._free = free

    def keep(self, obj: Obj) -> Obj:
        return obj

    def replace(self, items: list[Obj], version: str = "") -> None:
        for item in items:
            self.event("ADDED", item)

    def event(self, type: str, obj: Obj) -> None:
        if type != "DELETED" and not (obj.get("spec") or {}).get("holderIdentity"):
            self._free.set()


async def lead(
    elector: Elector,
    act: Callable[[asyncio.Event], Coroutine[Any, Any, None]],
    stop: asyncio.Event,
    *,
    warm: bool,
    began: Callable[[], None],
    settled: Callable[[], bool],
) -> None:
    """Be a candidate until `stop`, act while leading, and release the lease at the end.

    `act` gets an event that is set when this process leads, and returns when it was stopped. With `warm`, `act` starts
    earlier, to prepare; otherwise it starts when this process leads. `began` is called when this process leads.
    `settled` says whether no write can still arrive. If one can, and after a failure, the lease is not released but
    expires.

    Raises an ExceptionGroup: with LeaseLostError if the lead was lost, otherwise with the failure.
    """
    leads = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        acting = group.create_task(act(leads), name="standby") if warm else None
        acquiring = group.create_task(elector.acquire(), name="acquire")
        stopping = group.create_task(stop.wait(), name="stop")
        await asyncio.wait((acquiring, stopping), return_when=asyncio.FIRST_COMPLETED)
        if acquiring.done():
            began()
            leads.set()
            holding = group.create_task(elector.hold(), name="lease")
            await (act(leads) if acting is None else acting)
            holding.cancel()
        acquiring.cancel()
        stopping.cancel()
    if settled():
        await elector.release()
    else:
        log.warning("not every write was answered: the lease is not released, and expires")
