"""kro on the same cluster: this controller waits while kro renews its Lease, and continues when kro stops."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from kroasync.controller.neighbour import left_s
from kroasync.model.kinds import EVENTS, LEASES
from kroasync.model.names import KRO_LEASE_NAME
from kroasync.model.objects import Key, Obj
from tests.fakes import virtual
from tests.samples import NAMESPACES
from tests.simulation.cluster import Cluster

KRO = "kro-system"


def lease(holder: object, duration: object = 15) -> Obj:
    return {"spec": {"holderIdentity": holder, "leaseDurationSeconds": duration}}


@pytest.mark.parametrize(
    ("found", "unchanged_s", "left"),
    [
        (lease("kro-1"), 0, 15),
        (lease("kro-1"), 14, 1),
        (lease("kro-1"), 16, 0),
        (lease(""), 0, 0),
        (lease(None), 0, 0),
        ({}, 0, 0),
        ({"spec": None}, 0, 0),
        (lease("kro-1", None), 5, 10),
        (lease("kro-1", "x"), 5, 10),
        (lease("kro-1", 10**9), 0, 120),
    ],
)
def test_how_long_a_lease_is_believed(found: Obj, unchanged_s: float, left: float) -> None:
    assert left_s(found, unchanged_s) == left


async def renew(cluster: Cluster, namespace: str, *, every_s: float = 2.0) -> None:
    """The writes of a running kro, whose clock is a year behind."""
    key = Key(LEASES, namespace, KRO_LEASE_NAME)
    meta = {"name": KRO_LEASE_NAME, "namespace": namespace}
    for turn in range(10**6):
        spec = {"holderIdentity": "kro-1", "leaseDurationSeconds": 15, "renewTime": f"2025-01-01T00:{turn:06}Z"}
        obj = {"metadata": meta, "spec": spec}
        await (cluster.user.merge_patch(key, obj, manager="kro") if turn else cluster.user.create(key, obj))
        await asyncio.sleep(every_s)


@asynccontextmanager
async def beside_kro(namespace: str = KRO) -> AsyncIterator[tuple[Cluster, asyncio.Task[None]]]:
    """A cluster with a served definition, before kro starts."""
    cluster = Cluster()
    await cluster.user.create(Key(NAMESPACES, "", namespace), {"metadata": {"name": namespace}})
    await cluster.define(0)
    kro = asyncio.create_task(renew(cluster, namespace))
    await asyncio.sleep(1)
    try:
        yield cluster, kro
    finally:
        kro.cancel()
        await cluster.stop()


def played(story: Callable[[], Awaitable[None]]) -> None:
    async def main() -> None:
        await story()

    virtual.run(main())


def test_nothing_is_done_while_kro_acts_and_all_of_it_afterwards() -> None:
    async def story() -> None:
        async with beside_kro() as (cluster, kro):
            writes: list[str] = []
            cluster.server.observe(lambda write: writes.append(write.actor))
            await cluster.make(0, 0)
            await asyncio.sleep(120)
            assert cluster.active(0) == 0
            assert set(writes) == {"user"}
            assert "kro-1 holds the Lease kro-system/controller.kro.run" in str(
                cluster.runtime.parts.neighbour.problem()
            )
            (event,) = [e for e in cluster.server.objects(EVENTS) if e["reason"] == "KroActs"]
            assert event["regarding"]["name"] == KRO_LEASE_NAME
            kro.cancel()
            took_s = await cluster.until(lambda: cluster.active(0) == 1, 30)
            assert 10 < took_s < 17
            assert cluster.runtime.parts.neighbour.problem() is None

    played(story)


def test_a_lease_that_kro_released_or_that_is_deleted_is_of_nobody() -> None:
    async def story() -> None:
        async with beside_kro() as (cluster, kro):
            await cluster.make(0, 0)
            kro.cancel()
            await cluster.user.delete(Key(LEASES, KRO, KRO_LEASE_NAME))
            await cluster.until(lambda: cluster.active(0) == 1, 2)

    played(story)


def test_a_lease_in_anybodys_namespace_stops_nobody(caplog: pytest.LogCaptureFixture) -> None:
    """An editor of a namespace can create one; the controller reports it once."""

    async def story() -> None:
        async with beside_kro("default-2") as (cluster, _kro):
            await cluster.make(0, 0)
            await cluster.until(lambda: cluster.active(0) == 1, 5)
            await asyncio.sleep(30)

    played(story)
    assert len([r for r in caplog.records if "ignoring a Lease" in r.getMessage()]) == 1
