"""At most one candidate leads, on virtual time and an in-memory Lease with the server's conflict rule."""

import asyncio
import heapq
import itertools
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from kroasync.kube.errors import AlreadyExistsError, ConflictError, NotFoundError, UnreachableError
from kroasync.kube.lease import Elector, LeaseLostError
from kroasync.model.objects import Key, Obj


class Time:
    """A clock that moves only when everybody sleeps."""

    def __init__(self) -> None:
        self.now = 1000.0
        self._sleepers: list[tuple[float, int, asyncio.Event]] = []
        self._order = itertools.count()

    def clock(self) -> float:
        return self.now

    def wall(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=self.now)

    async def sleep(self, seconds: float) -> None:
        woken = asyncio.Event()
        heapq.heappush(self._sleepers, (self.now + seconds, next(self._order), woken))
        await woken.wait()

    async def run(self, seconds: float) -> None:
        end = self.now + seconds
        while True:
            for _ in range(20):
                await asyncio.sleep(0)
            if not self._sleepers or self._sleepers[0][0] > end:
                break
            due, _, woken = heapq.heappop(self._sleepers)
            self.now = max(self.now, due)
            woken.set()
        self.now = end


class Store:
    """One Lease; `fail` makes every call of a candidate raise."""

    def __init__(self) -> None:
        self.lease: Obj | None = None
        self.version = 0
        self.writes = 0

    def client(self) -> "StoreClient":
        return StoreClient(self)

    @property
    def holder(self) -> str:
        return str((self.lease or {}).get("spec", {}).get("holderIdentity", ""))

    def save(self, obj: Obj) -> Obj:
        self.version += 1
        self.writes += 1
        meta = {**obj["metadata"], "resourceVersion": str(self.version)}
        self.lease = {**obj, "metadata": meta}
        return self.lease


class StoreClient:
    def __init__(self, store: Store) -> None:
        self.store = store
        self.fail: Exception | None = None
        self.hang = False

    async def _call(self) -> None:
        await asyncio.sleep(0)
        if self.fail:
            raise self.fail
        if self.hang:
            await asyncio.Event().wait()

    async def get(self, key: Key) -> Obj:
        await self._call()
        if self.store.lease is None:
            raise NotFoundError("none", status=404)
        return self.store.lease

    async def create(self, key: Key, obj: Obj, *, manager: str = "") -> Obj:
        await self._call()
        if self.store.lease is not None:
            raise AlreadyExistsError("taken", status=409)
        return self.store.save(obj)

    async def put(self, key: Key, obj: Obj, *, manager: str, subresource: str | None = None) -> Obj:
        await self._call()
        if self.store.lease is None:
            raise NotFoundError("none", status=404)
        if obj["metadata"]["resourceVersion"] != self.store.lease["metadata"]["resourceVersion"]:
            raise ConflictError("changed", status=409)
        return self.store.save(obj)


class Candidate:
    """An elector in a task, with what became of it."""

    def __init__(self, time: Time, store: Store, name: str) -> None:
        self.client = store.client()
        self.elector = Elector(
            self.client, "ns", "lease", name, clock=time.clock, now=time.wall, sleep=time.sleep, uniform=max
        )
        self.leads = False
        self.lost: LeaseLostError | None = None
        self.task = asyncio.get_running_loop().create_task(self._run())

    async def _run(self) -> None:
        await self.elector.acquire()
        self.leads = True
        try:
            await self.elector.hold()
        except LeaseLostError as error:
            self.lost = error
        finally:
            self.leads = False

    async def stop(self) -> None:
        self.task.cancel()
        await asyncio.wait([self.task])


@pytest.fixture
async def world() -> Any:
    time, store = Time(), Store()
    made: list[Candidate] = []

    def make(name: str) -> Candidate:
        made.append(Candidate(time, store, name))
        return made[-1]

    yield time, store, make
    for candidate in made:
        await candidate.stop()


World = tuple[Time, Store, Callable[[str], Candidate]]


async def test_the_first_candidate_creates_the_lease(world: World) -> None:
    time, store, make = world
    one = make("one")
    await time.run(0.1)
    assert one.leads
    assert one.elector.is_leader
    assert store.lease is not None
    assert store.lease["spec"] == {
        "holderIdentity": "one",
        "leaseDurationSeconds": 15,
        "acquireTime": "2026-01-01T00:16:40.000000Z",
        "renewTime": "2026-01-01T00:16:40.000000Z",
        "leaseTransitions": 0,
    }


async def test_the_leader_renews_every_retry_period(world: World) -> None:
    time, store, make = world
    make("one")
    await time.run(20.1)
    assert store.writes == 11
    assert store.lease is not None
    assert store.lease["spec"]["acquireTime"] == "2026-01-01T00:16:40.000000Z"
    assert store.lease["spec"]["renewTime"] == "2026-01-01T00:17:00.000000Z"


async def test_a_second_candidate_waits_as_long_as_the_first_renews(world: World) -> None:
    time, store, make = world
    one = make("one")
    await time.run(0.1)
    two = make("two")
    await time.run(600)
    assert (one.leads, two.leads, store.holder) == (True, False, "one")


async def test_a_dead_leader_is_followed_after_the_lease_duration(world: World) -> None:
    time, store, make = world
    one = make("one")
    await time.run(0.1)
    two = make("two")
    await time.run(5)
    await one.stop()
    await time.run(10)
    assert not two.leads
    await time.run(10)
    assert two.leads
    assert store.lease is not None
    assert store.lease["spec"]["leaseTransitions"] == 1


async def test_clocks_of_others_do_not_matter(world: World) -> None:
    """A Lease dated in the past is not expired, one dated in the future does expire."""
    time, store, make = world
    for year in ("1999", "2999"):
        store.save(
            {
                "metadata": {"name": "lease"},
                "spec": {
                    "holderIdentity": "ghost",
                    "leaseDurationSeconds": 15,
                    "renewTime": f"{year}-01-01T00:00:00.000000Z",
                },
            }
        )
        candidate = make(f"after {year}")
        await time.run(14.9)
        assert not candidate.leads
        await time.run(4)
        assert candidate.leads
        await candidate.stop()


async def test_a_released_lease_is_taken_at_once(world: World) -> None:
    time, store, make = world
    one = make("one")
    await time.run(0.1)
    two = make("two")
    await time.run(3)
    await one.stop()
    await one.elector.release()
    assert store.holder == ""
    await time.run(3)
    assert two.leads


async def test_who_does_not_lead_releases_nothing(world: World) -> None:
    time, store, make = world
    make("one")
    await time.run(0.1)
    two = make("two")
    await time.run(3)
    await two.elector.release()
    assert store.holder == "one"


async def test_a_release_that_fails_is_no_error(world: World) -> None:
    time, store, make = world
    one = make("one")
    await time.run(0.1)
    await one.stop()
    one.client.fail = UnreachableError("down")
    await one.elector.release()
    assert store.holder == "one"


async def test_a_leader_without_a_server_stops_before_another_can_start(world: World) -> None:
    time, _, make = world
    one = make("one")
    await time.run(0.1)
    two = make("two")
    await time.run(4)
    one.client.fail = UnreachableError("down")
    at_once = [False]
    for _ in range(400):
        await time.run(0.1)
        at_once.append(one.leads and two.leads)
    assert not any(at_once)
    assert two.leads
    assert one.lost is not None
    assert "within 10 s" in str(one.lost)


async def test_a_short_outage_is_survived(world: World) -> None:
    time, _, make = world
    one = make("one")
    await time.run(0.1)
    one.client.fail = UnreachableError("down")
    await time.run(7)
    one.client.fail = None
    await time.run(30)
    assert one.leads


async def test_a_leader_that_finds_another_stops(world: World) -> None:
    time, store, make = world
    one = make("one")
    await time.run(0.1)
    assert store.lease is not None
    store.save({**store.lease, "spec": {**store.lease["spec"], "holderIdentity": "usurper"}})
    await time.run(5)
    assert one.lost is not None
    assert "usurper leads" in str(one.lost)


async def test_a_deleted_lease_is_made_again(world: World) -> None:
    time, store, make = world
    one = make("one")
    await time.run(0.1)
    store.lease = None
    await time.run(5)
    assert one.leads
    assert store.holder == "one"


async def test_a_foreign_write_that_leaves_the_holder_is_no_loss(world: World) -> None:
    time, store, make = world
    one = make("one")
    await time.run(0.1)
    assert store.lease is not None
    store.save({**store.lease, "metadata": {**store.lease["metadata"], "labels": {"a": "b"}}})
    await time.run(5)
    assert one.leads
    assert store.lease["metadata"]["labels"] == {"a": "b"}


async def test_many_candidates_one_leader(world: World) -> None:
    time, _, make = world
    candidates = [make(f"c{i}") for i in range(5)]
    await time.run(1)
    for _ in range(4):
        leading = [c for c in candidates if c.leads]
        assert len(leading) == 1
        await leading[0].stop()
        candidates.remove(leading[0])
        await time.run(25)


async def test_a_hanging_renewal_does_not_outlast_the_lead() -> None:
    """On the real clock: the deadline has to cut off a request that never ends."""
    store = Store()
    client = store.client()
    elector = Elector(client, "ns", "l", "one", lease_duration_s=0.2, renew_deadline_s=0.05, retry_period_s=0.01)
    await elector.acquire()
    client.hang = True
    async with asyncio.timeout(4):
        with pytest.raises(LeaseLostError):
            await elector.hold()
    assert not elector.is_leader


@pytest.mark.parametrize(("lease", "renew", "retry"), [(10, 10, 2), (15, 10, 9), (15, 10, 0), (5, 10, 2)])
def test_impossible_times_are_refused(lease: float, renew: float, retry: float) -> None:
    with pytest.raises(ValueError, match="leader election"):
        Elector(
            Store().client(),
            "ns",
            "l",
            "one",
            lease_duration_s=lease,
            renew_deadline_s=renew,
            retry_period_s=retry,
        )
