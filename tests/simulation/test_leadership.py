"""Only the leader writes: random schedules with paused, suspended, disconnected or crashed processes, and stories."""

import asyncio
import os
import random
import subprocess
import sys
from collections.abc import Awaitable
from datetime import timedelta
from pathlib import Path

import pytest

from kroasync.controller.runtime import Runtime, RuntimeOptions
from kroasync.kube.lease import Elector, LeaseLostError
from kroasync.metrics import Metrics
from tests.fakes import virtual
from tests.fakes.client import FakeClient, Network
from tests.fakes.kube import FakeServer
from tests.simulation.cluster import EPOCH, Cluster
from tests.simulation.leadership import Deed, deeds_of, play

ROOT = Path(__file__).resolve().parents[2]
SCHEDULES = 200
DEFINITION = 0


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_two_hundred_schedules_of_two_replicas_hold_every_invariant() -> None:
    """Run in another process: a run must not depend on the hash seed of this process."""
    command = [sys.executable, "-m", "tests.simulation.leadership", f"--schedules={SCHEDULES}"]
    ran = subprocess.run(command, cwd=ROOT, env=os.environ, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def deed(kind: str, at_s: float, seconds: float, **more: str) -> Deed:
    return Deed(at_s=at_s, kind=kind, seconds=seconds, to_leader=True, **more)


DEPOSING = {
    "paused": deed("pause", 10.0, 25.0),
    "suspended": deed("suspend", 10.0, 25.0),
    "paused just longer than the lease": deed("pause", 10.0, 17.5),
}


@pytest.mark.parametrize("name", DEPOSING)
def test_a_leader_that_was_held_up_writes_nothing_and_ends(name: str) -> None:
    report = play(1, deeds=(DEPOSING[name],))
    assert report.violations == []
    assert (report.deposed, report.leaders) == (1, 3)


@pytest.mark.parametrize("name", ["paused", "suspended"])
def test_the_checks_see_a_controller_that_writes_without_asking(name: str) -> None:
    found = [text for seed in range(4) for text in play(seed, fenced=False, deeds=(DEPOSING[name],)).violations]
    assert any(" wrote ConfigMap " in text and "leads" in text for text in found), found


@pytest.mark.parametrize("cut", ["lost-request", "lost-answer", "timeout", "timeout-done"])
def test_a_leader_that_was_cut_off_ends_before_another_begins(cut: str) -> None:
    report = play(1, deeds=(deed("cut", 10.0, 40.0, cut=cut),))
    assert report.violations == []
    assert (report.deposed, report.leaders) == (1, 3)


@pytest.mark.parametrize("kind", ["pause", "suspend"])
def test_a_leader_that_was_held_up_for_a_moment_goes_on(kind: str) -> None:
    report = play(1, deeds=(deed(kind, 10.0, 3.0),))
    assert report.violations == []
    assert (report.deposed, report.leaders) == (0, 2)


def test_a_seed_always_tells_the_same_story() -> None:
    assert deeds_of(7) == deeds_of(7) != deeds_of(8)
    first, second = play(7), play(7)
    assert (first.writes, first.leaders, first.deposed) == (second.writes, second.leaders, second.deposed)


# Stories


def elector(client: FakeClient, name: str, *, skew_s: float = 0.0) -> Elector:
    loop = asyncio.get_running_loop()
    return Elector(
        client,
        "default",
        "lease",
        name,
        clock=lambda: loop.time() + skew_s,
        now=lambda: EPOCH + timedelta(seconds=loop.time() + skew_s),
    )


def test_a_released_lead_passes_on_within_retry_period() -> None:
    async def main() -> None:
        server = FakeServer()
        first, second = (elector(FakeClient(server), name) for name in ("one", "two"))
        await first.acquire()
        waiting = asyncio.create_task(second.acquire())
        holding = asyncio.create_task(first.hold())
        await asyncio.sleep(100)
        assert (first.is_leader, second.is_leader) == (True, False)
        holding.cancel()
        await asyncio.wait([holding])
        began = asyncio.get_running_loop().time()
        await first.release()
        await waiting
        assert asyncio.get_running_loop().time() - began < 2.5
        assert (first.is_leader, second.is_leader) == (False, True)

    virtual.run(main())


@pytest.mark.parametrize("skew_s", [0.0, -86400.0, 86400.0])
def test_a_leader_cut_off_from_the_server_stops_before_another_starts(skew_s: float) -> None:
    """The result does not depend on the clocks of the two machines."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        server = FakeServer()
        network = Network(random.Random(1))
        first = elector(FakeClient(server, network=network), "one", skew_s=skew_s)
        second = elector(FakeClient(server), "two")
        await first.acquire()
        ended: dict[str, float] = {}

        async def hold() -> None:
            with pytest.raises(LeaseLostError):
                await first.hold()
            ended["one"] = loop.time()

        async def take_over() -> None:
            await second.acquire()
            ended["two"] = loop.time()

        tasks: list[Awaitable[None]] = [asyncio.create_task(hold()), asyncio.create_task(take_over())]
        await asyncio.sleep(60)
        network.latency_s = (3600.0, 3600.0)
        cut_s = loop.time()
        await asyncio.gather(*tasks)
        assert ended["one"] < ended["two"]
        assert ended["two"] - cut_s < 15 + 2.5 + 2.0
        assert not first.is_leader

    virtual.run(main())


def test_a_standby_watches_but_writes_nothing_until_it_leads() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        cluster = Cluster()
        await cluster.define(DEFINITION)
        standby = FakeClient(cluster.server, actor="standby", network=Network(random.Random(2)))
        wrote: list[str] = []
        cluster.server.observe(lambda write: wrote.append(write.verb) if write.actor == "standby" else None)
        runtime = Runtime(
            standby,
            options=RuntimeOptions(),
            metrics=Metrics(),
            clock=loop.time,
            now=cluster.now,
            rng=random.Random(2),
        )
        stop, lead = asyncio.Event(), asyncio.Event()
        task = loop.create_task(runtime.run(stop, lead=lead))
        await cluster.make(DEFINITION, 0)
        await cluster.until(lambda: cluster.active(DEFINITION) == 1, 10)
        await asyncio.sleep(100)
        assert wrote == []
        await cluster.stop()
        await cluster.make(DEFINITION, 1)
        await asyncio.sleep(100)
        assert (wrote, cluster.active(DEFINITION)) == ([], 1)
        # Everything is read and compiled: the new leader starts with the first waiting instance.
        assert [served.plan is not None for served in runtime.parts.caches.kinds] == [True]
        assert len(runtime.parts.queues.instances) == 2
        lead.set()
        took_s = await cluster.until(lambda: cluster.active(DEFINITION) == 2, 10)
        assert took_s < 2
        stop.set()
        await task

    virtual.run(main())
