"""At most one candidate leads, on virtual time and an in-memory Lease with the server's conflict rule."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

import pytest

from kroasync.kube.api_errors import AlreadyExistsError, ConflictError, NotFoundError, ServerError, UnreachableError
from kroasync.kube.lease import Elector, LeaseLostError, lead, sleepless_clock
from kroasync.kube.watch import Sink
from kroasync.model.objects import Key, Obj
from tests.fakes import virtual


class Time:
    """The clock of the loop, plus the time while the machine was suspended."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.slept_s = 0.0

    def clock(self) -> float:
        return self._loop.time() + self.slept_s

    def wall(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=self.clock())

    async def run(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class Store:
    """One Lease; `fail` makes every call of a candidate raise."""

    def __init__(self) -> None:
        self.lease: Obj | None = None
        self.version = 0
        self.writes = 0
        self.sinks: list[Sink] = []

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
        for sink in self.sinks:
            sink.event("MODIFIED", self.lease)
        return self.lease

    async def follow(self, sink: Sink) -> None:
        """Replaces a watch."""
        sink.replace([self.lease] if self.lease else [], "")
        self.sinks.append(sink)
        try:
            await asyncio.Event().wait()
        finally:
            self.sinks.remove(sink)


class StoreClient:
    def __init__(self, store: Store) -> None:
        self.store = store
        self.fail: Exception | None = None
        self.hang = False
        # The latency of the request, and of the answer.
        self.there_s = 0.0
        self.back_s = 0.0
        self.calls = 0

    async def _call(self) -> None:
        self.calls += 1
        await asyncio.sleep(self.there_s)
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
        saved = self.store.save(obj)
        await asyncio.sleep(self.back_s)
        return saved

    async def put(self, key: Key, obj: Obj, *, manager: str) -> Obj:
        await self._call()
        if self.store.lease is None:
            raise NotFoundError("none", status=404)
        if obj["metadata"]["resourceVersion"] != self.store.lease["metadata"]["resourceVersion"]:
            raise ConflictError("changed", status=409)
        saved = self.store.save(obj)
        await asyncio.sleep(self.back_s)
        return saved


class Candidate:
    """An elector in a task, with its result."""

    def __init__(self, time: Time, store: Store, name: str, *, follows: bool = False) -> None:
        self.client = store.client()
        self.elector = Elector(
            self.client,
            "ns",
            "lease",
            name,
            clock=time.clock,
            now=time.wall,
            uniform=max,
            follow=store.follow if follows else None,
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


World = tuple[Time, Store, Callable[..., Candidate]]


def timeless(test: Callable[[World], Awaitable[None]]) -> Callable[[], None]:
    """A test in virtual time, with an empty store."""

    async def main() -> None:
        time, store = Time(), Store()
        made: list[Candidate] = []

        def make(name: str, *, follows: bool = False) -> Candidate:
            made.append(Candidate(time, store, name, follows=follows))
            return made[-1]

        await test((time, store, make))
        for candidate in made:
            await candidate.stop()
        assert len(asyncio.all_tasks()) == 1

    def run() -> None:
        virtual.run(main())

    run.__doc__ = test.__doc__
    return run


@timeless
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


@timeless
async def test_the_leader_renews_every_retry_period(world: World) -> None:
    time, store, make = world
    make("one")
    await time.run(20.1)
    assert store.writes == 11
    assert store.lease is not None
    assert store.lease["spec"]["acquireTime"] == "2026-01-01T00:16:40.000000Z"
    assert store.lease["spec"]["renewTime"] == "2026-01-01T00:17:00.000000Z"


@timeless
async def test_a_second_candidate_waits_as_long_as_the_first_renews(world: World) -> None:
    time, store, make = world
    one = make("one")
    await time.run(0.1)
    two = make("two")
    await time.run(600)
    assert (one.leads, two.leads, store.holder) == (True, False, "one")


@timeless
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


@timeless
async def test_clocks_of_others_do_not_matter(world: World) -> None:
    """A Lease with a date in the past has not expired; a Lease with a date in the future does expire."""
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


@timeless
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


@timeless
async def test_who_does_not_lead_releases_nothing(world: World) -> None:
    time, store, make = world
    make("one")
    await time.run(0.1)
    two = make("two")
    await time.run(3)
    await two.elector.release()
    assert store.holder == "one"


@timeless
async def test_a_release_that_fails_is_no_error(world: World) -> None:
    time, store, make = world
    one = make("one")
    await time.run(0.1)
    await one.stop()
    one.client.fail = UnreachableError("down")
    await one.elector.release()
    assert store.holder == "one"


@timeless
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


@timeless
async def test_a_short_outage_is_survived(world: World) -> None:
    time, _, make = world
    one = make("one")
    await time.run(0.1)
    one.client.fail = UnreachableError("down")
    await time.run(7)
    one.client.fail = None
    await time.run(30)
    assert one.leads


@timeless
async def test_a_leader_that_finds_another_stops(world: World) -> None:
    time, store, make = world
    one = make("one")
    await time.run(0.1)
    assert store.lease is not None
    store.save({**store.lease, "spec": {**store.lease["spec"], "holderIdentity": "usurper"}})
    await time.run(5)
    assert one.lost is not None
    assert "usurper leads" in str(one.lost)


@timeless
async def test_a_deleted_lease_is_made_again(world: World) -> None:
    time, store, make = world
    one = make("one")
    await time.run(0.1)
    store.lease = None
    await time.run(5)
    assert one.leads
    assert store.holder == "one"


@timeless
async def test_a_foreign_write_that_leaves_the_holder_is_no_loss(world: World) -> None:
    time, store, make = world
    one = make("one")
    await time.run(0.1)
    assert store.lease is not None
    store.save({**store.lease, "metadata": {**store.lease["metadata"], "labels": {"a": "b"}}})
    await time.run(5)
    assert one.leads
    assert store.lease["metadata"]["labels"] == {"a": "b"}


@timeless
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


@timeless
async def test_a_hanging_renewal_does_not_outlast_the_lead(world: World) -> None:
    time, _, make = world
    one = make("one")
    await time.run(0.1)
    one.client.hang = True
    await time.run(9.8)
    assert one.leads
    await time.run(0.3)
    assert one.lost is not None


@timeless
async def test_a_hanging_candidate_tries_again(world: World) -> None:
    time, _, make = world
    one = make("one")
    one.client.hang = True
    await time.run(1)
    one.client.hang = False
    await time.run(12)
    assert one.leads


# Who may write


@timeless
async def test_who_leads_may_write_until_the_deadline_of_the_last_renewal(world: World) -> None:
    """The lead counts from the start of the request, because the server may count from there."""
    time, _, make = world
    one = make("one")
    assert not one.elector.may_write()
    one.client.back_s = 3.0
    await time.run(3.1)
    assert one.elector.may_write()
    one.client.fail = UnreachableError("down")
    await time.run(6.8)
    assert one.elector.may_write()
    await time.run(0.2)
    assert not one.elector.may_write()


@timeless
async def test_a_write_refused_ends_the_lead_at_once(world: World) -> None:
    """The machine was suspended: its timers have not expired, but its lead has."""
    time, store, make = world
    one = make("one")
    await time.run(0.1)
    assert one.elector.may_write()
    time.slept_s += 10.0
    assert one.leads
    assert not one.elector.may_write()
    await asyncio.sleep(0)
    await time.run(0.001)
    assert one.lost is not None
    assert "no longer certain" in str(one.lost)
    assert not one.elector.may_write()
    assert store.writes == 1


@timeless
async def test_an_answer_that_is_read_too_late_makes_nobody_a_leader(world: World) -> None:
    time, store, make = world
    one = make("one")
    one.client.back_s = 1.0
    await time.run(0.5)
    assert store.holder == "one"
    time.slept_s += 10.0
    await time.run(0.6)
    assert not one.leads
    assert not one.elector.may_write()


@timeless
async def test_a_deposed_leader_never_takes_the_lease_back(world: World) -> None:
    """Even if it finds the lease free again."""
    time, store, make = world
    one = make("one")
    await time.run(0.1)
    assert store.lease is not None
    store.save({**store.lease, "spec": {**store.lease["spec"], "holderIdentity": ""}})
    await time.run(5)
    assert one.lost is not None
    assert store.holder == ""


@timeless
async def test_who_is_asked_while_it_is_no_leader_does_not_end_for_that(world: World) -> None:
    time, _, make = world
    one = make("one")
    assert not one.elector.may_write()
    await time.run(20)
    assert one.leads


@timeless
async def test_a_lease_deleted_under_its_leader_is_not_taken_before_it_would_have_expired(world: World) -> None:
    time, store, make = world
    one = make("one")
    await time.run(0.1)
    two = make("two", follows=True)
    await time.run(3)
    one.client.hang = True
    store.lease = None
    at_once = False
    for _ in range(300):
        await time.run(0.1)
        at_once = at_once or (one.elector.may_write() and two.leads)
    assert not at_once
    assert two.leads


# Handing over


@timeless
async def test_who_follows_the_lease_takes_a_released_one_at_once(world: World) -> None:
    time, _, make = world
    one = make("one")
    await time.run(0.1)
    two = make("two", follows=True)
    await time.run(3.3)
    await one.stop()
    await one.elector.release()
    await time.run(0.001)
    assert two.leads


@timeless
async def test_who_follows_asks_no_more_often_while_another_leads(world: World) -> None:
    time, _, make = world
    make("one")
    await time.run(0.1)
    two = make("two", follows=True)
    await time.run(24)
    assert two.client.calls == 10 + 1


@timeless
async def test_who_leads_no_longer_follows(world: World) -> None:
    time, store, make = world
    make("one", follows=True)
    await time.run(0.1)
    assert store.sinks == []


@timeless
async def test_a_release_after_a_renewal_whose_answer_nobody_read(world: World) -> None:
    time, store, make = world
    one = make("one")
    await time.run(0.1)
    one.client.back_s = 1.0
    await time.run(2.1)
    assert store.writes == 2
    await one.stop()
    await one.elector.release()
    assert store.holder == ""


@timeless
async def test_a_release_is_tried_again_for_a_while(world: World) -> None:
    time, store, make = world
    one = make("one")
    await time.run(0.1)
    await one.stop()
    one.client.fail = ServerError("etcd leader changed", status=500)
    releasing = asyncio.create_task(one.elector.release())
    await time.run(1)
    one.client.fail = None
    await releasing
    assert store.holder == ""


@timeless
async def test_a_release_gives_up_when_nobody_answers(world: World) -> None:
    time, store, make = world
    one = make("one")
    await time.run(0.1)
    await one.stop()
    one.client.hang = True
    began = time.clock()
    await one.elector.release()
    assert time.clock() - began < 3.1
    assert store.holder == "one"


@timeless
async def test_a_lease_won_while_being_stopped_is_released(world: World) -> None:
    """The request that acquired the lease was in flight; nobody received its answer."""
    time, store, make = world
    one = make("one")
    one.client.back_s = 1.0
    await time.run(0.5)
    assert (one.leads, store.holder) == (False, "one")
    await one.stop()
    await one.elector.release()
    assert store.holder == ""


# The whole sequence


class Work:
    """The work of a process: it prepares, then acts while it leads."""

    def __init__(self, stop: asyncio.Event) -> None:
        self.stop = stop
        self.told: list[str] = []
        self.settled = True
        self.failure: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def act(self, leads: asyncio.Event) -> None:
        self.told.append("prepares")
        try:
            async with asyncio.TaskGroup() as group:
                acting = group.create_task(self._act(leads))
                await self.stop.wait()
                acting.cancel()
        finally:
            self.told.append("is done")

    async def _act(self, leads: asyncio.Event) -> None:
        await leads.wait()
        self.told.append("acts")
        await self.failure


def process(store: Store, time: Time, name: str, *, warm: bool) -> tuple[StoreClient, Work, asyncio.Task[None]]:
    client = store.client()
    elector = Elector(client, "ns", "lease", name, clock=time.clock, now=time.wall, follow=store.follow)
    work = Work(asyncio.Event())
    leading = lead(
        elector,
        work.act,
        work.stop,
        warm=warm,
        began=lambda: work.told.append("leads"),
        settled=lambda: work.settled,
    )
    return client, work, asyncio.get_running_loop().create_task(leading)


@timeless
async def test_a_warm_standby_prepares_and_acts_when_the_other_is_stopped(world: World) -> None:
    time, store, _ = world
    _, first, first_task = process(store, time, "one", warm=True)
    await time.run(1)
    _, second, second_task = process(store, time, "two", warm=True)
    _, third, third_task = process(store, time, "three", warm=False)
    await time.run(30)
    assert (first.told, second.told, third.told) == (["prepares", "leads", "acts"], ["prepares"], [])
    third.stop.set()
    await third_task
    first.stop.set()
    await first_task
    await time.run(0.01)
    assert first.told[3:] == ["is done"]
    assert second.told == ["prepares", "leads", "acts"]
    assert store.holder == "two"
    second.stop.set()
    await second_task
    assert (third.told, store.holder) == ([], "")


@timeless
async def test_a_lost_lead_ends_the_work_and_leaves_the_lease(world: World) -> None:
    time, store, _ = world
    _, work, task = process(store, time, "one", warm=False)
    await time.run(1)
    assert store.lease is not None
    store.save({**store.lease, "spec": {**store.lease["spec"], "holderIdentity": "usurper"}})
    writes = store.writes
    await asyncio.wait([task])
    with pytest.raises(ExceptionGroup) as raised:
        task.result()
    assert raised.value.subgroup(LeaseLostError) is not None
    assert work.told[-1] == "is done"
    assert (store.writes, store.holder) == (writes, "usurper")


@timeless
async def test_after_a_bug_the_lease_runs_out(world: World) -> None:
    """A request whose answer was not awaited may still arrive."""
    time, store, _ = world
    _, work, task = process(store, time, "one", warm=True)
    await time.run(1)
    work.failure.set_exception(ZeroDivisionError())
    await asyncio.wait([task])
    with pytest.raises(ExceptionGroup) as raised:
        task.result()
    assert raised.value.subgroup(ZeroDivisionError) is not None
    assert store.holder == "one"


@timeless
async def test_a_lease_is_not_given_away_while_something_may_still_arrive(world: World) -> None:
    time, store, _ = world
    _, work, task = process(store, time, "one", warm=True)
    await time.run(1)
    work.settled = False
    work.stop.set()
    await task
    assert store.holder == "one"


def test_the_clock_goes_on() -> None:
    first = sleepless_clock()
    assert 0 <= sleepless_clock() - first < 60


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
