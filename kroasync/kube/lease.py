"""Leader election over a Lease of coordination.k8s.io: at most one of several processes acts.

Clocks of other machines are never compared: a Lease counts as expired when it was seen unchanged for its
duration on the own monotonic clock. Writes carry the resourceVersion seen, so of two candidates one gets a
conflict. The leader stops by itself when it could not renew within `renew_deadline_s`, which is shorter
than the lease.
"""

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Final, Protocol

from kroasync.kube.errors import AlreadyExistsError, ApiError, ConflictError, NotFoundError
from kroasync.model.objects import Key, Obj, Resource

log = logging.getLogger("leader-election")

LEASES: Final = Resource("coordination.k8s.io", "v1", "Lease", "leases")
# Candidates that lost together should not come back together (client-go's JitterFactor).
_JITTER: Final = 1.2


class LeaseLostError(Exception):
    """This process may no longer act as the leader: end it."""


class LeaseClient(Protocol):
    """What the election needs of a client."""

    async def get(self, key: Key) -> Obj: ...
    async def create(self, key: Key, obj: Obj, *, manager: str = "") -> Obj: ...
    async def put(self, key: Key, obj: Obj, *, manager: str, subresource: str | None = None) -> Obj: ...


class Elector:
    """A candidate: `acquire()`, then `hold()` for as long as the leader acts, at last `release()`.

    `identity` must be unique among the candidates. `clock` is monotonic, `now` only labels the Lease for
    people. Raises ValueError unless lease > renew deadline > 1.2 times the retry period > 0.
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
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        uniform: Callable[[float, float], float] = random.uniform,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
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
        self._clock = clock
        self._now = now
        self._uniform = uniform
        self._sleep = sleep
        self._manager = manager
        self._seen: Obj | None = None
        self._seen_record: object = None
        self._seen_at = 0.0
        self._renewed_at = 0.0
        self._fresh = False

    @property
    def holder(self) -> str:
        """Who leads, as last seen; empty if nobody does."""
        spec = (self._seen or {}).get("spec") or {}
        return str(spec.get("holderIdentity") or "")

    async def acquire(self) -> None:
        """Returns once this process leads."""
        told = ""
        while not await self._attempt():
            if self.holder != told:
                told = self.holder
                log.info("waiting for the lease %s/%s, held by %s", self._key.namespace, self._key.name, told)
            await self._sleep(self._uniform(1.0, _JITTER) * self._retry_period_s)
        log.info("%s leads (lease %s/%s)", self.identity, self._key.namespace, self._key.name)

    async def hold(self) -> None:
        """Renews the lease; never returns. Raises LeaseLostError when the lead is over."""
        try:
            while True:
                await self._sleep(self._retry_period_s)
                await self._renew()
        finally:
            self.is_leader = False

    async def release(self) -> None:
        """Gives the lead away, so that the next candidate need not wait; does nothing without it.

        To be called when nothing acts any more. Failures are logged: the lease then runs out by itself.
        """
        lease = self._seen
        self.is_leader = False
        if lease is None or self.holder != self.identity:
            return
        spec = {**lease["spec"], "holderIdentity": "", "leaseDurationSeconds": 1, "renewTime": self._stamp()}
        try:
            self._observe(await self._put({**lease, "spec": spec}))
        except ApiError as error:
            log.warning("the lease could not be released: %s", error)

    async def _renew(self) -> None:
        """One renewal, repeated until the deadline."""
        while True:
            if await self._attempt(deadline=self._renewed_at + self._renew_deadline_s):
                return
            if self.holder != self.identity:
                raise LeaseLostError(f"{self.holder or 'nobody'} leads in place of {self.identity}")
            if self._clock() >= self._renewed_at + self._renew_deadline_s:
                raise LeaseLostError(f"the lease could not be renewed within {self._renew_deadline_s:g} s")
            await self._sleep(min(self._retry_period_s, 1.0))

    async def _attempt(self, deadline: float | None = None) -> bool:
        """Try once to get or keep the lead; False if someone else has it or the server does not answer.

        The lead counts from before the request: the server may have taken it as early as that.
        """
        started = self._clock()
        try:
            if deadline is None:
                won = await self._claim(started)
            else:
                # A hanging request must not outlast the lead.
                async with asyncio.timeout(max(0.0, deadline - started)):
                    won = await self._claim(started)
        except (AlreadyExistsError, ConflictError):
            # Somebody wrote first; what they wrote is read by the next attempt.
            self._fresh = False
            return False
        except (ApiError, TimeoutError) as error:
            log.warning("lease %s/%s: %s", self._key.namespace, self._key.name, str(error) or "no answer in time")
            self._fresh = False
            return False
        if won:
            self._renewed_at = started
            self.is_leader = True
        return won

    async def _claim(self, started: float) -> bool:
        # Who leads writes over the version of its own last write; others, and after any doubt, look first.
        if not (self.is_leader and self._fresh):
            try:
                self._observe(await self._client.get(self._key))
            except NotFoundError:
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
            # Lost while looking away: never taken back without having stopped.
            return False
        self._observe(await self._put({**lease, "spec": self._spec(spec)}))
        return True

    def _expired(self, now: float, spec: Obj) -> bool:
        duration = spec.get("leaseDurationSeconds")
        seconds = float(duration) if isinstance(duration, int) else self._lease_duration_s
        return now >= self._seen_at + seconds

    def _observe(self, lease: Obj) -> None:
        """Remember the lease; the time only when what it says changed."""
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
            "leaseDurationSeconds": max(1, round(self._lease_duration_s)),
            "acquireTime": before.get("acquireTime") or now if same else now,
            "renewTime": now,
            "leaseTransitions": count + (0 if same or not before else 1),
        }

    def _stamp(self) -> str:
        """metav1.MicroTime."""
        return self._now().astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
