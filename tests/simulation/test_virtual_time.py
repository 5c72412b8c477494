"""What takes minutes or hours in a cluster, measured in virtual time: fairness, retries, leadership, silence, bugs."""

import asyncio
import itertools
import logging
import random
from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest

from kroasync.controller.events import EVENTS
from kroasync.controller.runtime import Runtime, RuntimeOptions
from kroasync.kube.lease import Elector, LeaseLostError
from kroasync.metrics import Metrics
from kroasync.model.objects import Key, Obj, Resource
from tests.fakes import virtual
from tests.fakes.client import FakeClient, Network
from tests.fakes.kube import FakeServer, StatusError, Write
from tests.simulation.cluster import EPOCH, Cluster
from tests.simulation.family import (
    CONFIGMAPS,
    resource_of,
)

BAD, GOOD = 0, 1


def refuse(server: FakeServer, prefix: str, when: Callable[[], bool] = lambda: True) -> list[str]:
    """Let the server refuse ConfigMaps whose name contains `prefix`; the names that were refused."""
    refused: list[str] = []

    def check(resource: Resource, obj: Obj) -> None:
        name = obj["metadata"]["name"]
        if resource == CONFIGMAPS and prefix in name and when():
            refused.append(name)
            raise StatusError(422, "Invalid", f"{name}: no")

    server.admit(check)
    return refused


def test_a_definition_whose_instances_all_fail_delays_others_by_less_than_a_tenth() -> None:
    async def bring_up(failing: int) -> float:
        cluster = Cluster()
        refuse(cluster.server, "widget")
        await cluster.define(BAD)
        await cluster.define(GOOD)
        for number in range(failing):
            await cluster.make(BAD, number)
        await asyncio.sleep(0.5)
        for number in range(30):
            await cluster.make(GOOD, number)
        took_s = await cluster.until(lambda: cluster.active(GOOD) == 30, 60)
        assert cluster.active(BAD) == 0
        await cluster.stop()
        return took_s

    alone = virtual.run(bring_up(0))
    beside = virtual.run(bring_up(60))
    assert beside < 1.1 * alone


def test_a_failure_is_retried_for_ever_and_never_later_than_the_cap() -> None:
    async def main() -> None:
        cluster = Cluster(options=RuntimeOptions(max_delay_s=60.0))
        broken = True
        times: list[float] = []

        def note() -> bool:
            times.append(cluster.loop.time())
            return broken

        refuse(cluster.server, "widget", note)
        await cluster.define(BAD)
        await cluster.make(BAD, 0)
        await asyncio.sleep(7200)
        gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
        assert len(gaps) > 100
        assert max(gaps) < 60 * 1.1 + 1
        assert min(gaps[-50:]) > 60 * 0.8
        broken = False
        await cluster.until(lambda: cluster.active(BAD) == 1, 70)
        await cluster.stop()

    virtual.run(main())


class Exploding(FakeClient):
    """Raises what no client should when a name is in the path."""

    name = "i0-widget-b"
    armed = True

    async def _exchange(self, method: str, target: str, *rest: object) -> tuple[int, bytes, dict[str, str]]:
        if self.armed and method == "PATCH" and self.name in target:
            raise ZeroDivisionError("a bug")
        return await super()._exchange(method, target, *rest)  # type: ignore[arg-type]


def test_a_bug_in_one_pass_stops_neither_the_process_nor_other_instances(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        cluster = Cluster(client=lambda server, network: Exploding(server, network=network))
        await cluster.define(BAD)
        for number in range(3):
            await cluster.make(BAD, number)
        await cluster.until(lambda: cluster.active(BAD) == 2, 10)
        await asyncio.sleep(30)
        assert not cluster.task.done()
        assert cluster.runtime.dead_tasks() == []
        counted = [
            line
            for line in cluster.metrics.render().decode().splitlines()
            if line.startswith("dynamic_controller_reconcile_panics_total{")
        ]
        assert float(counted[0].split()[-1]) >= 3
        Exploding.armed = False
        try:
            await cluster.until(lambda: cluster.active(BAD) == 3, 120)
        finally:
            Exploding.armed = True
        await cluster.stop()

    with caplog.at_level(logging.ERROR):
        virtual.run(main())
    assert "pass raised" in caplog.text
    assert "ZeroDivisionError" in caplog.text


def test_a_silent_watch_is_noticed_by_the_idle_deadline() -> None:
    async def main() -> None:
        cluster = Cluster(options=RuntimeOptions(idle_deadline_s=90.0))
        await cluster.define(BAD)
        await cluster.make(BAD, 0)
        await cluster.until(lambda: cluster.active(BAD) == 1, 10)
        for stream in cluster.server.streams():
            stream.silent = True
        key = Key(CONFIGMAPS, "default", "i0-widget-a")
        await cluster.user.merge_patch(key, {"data": {"value": "edited"}}, manager="kubectl-edit")

        def value() -> str:
            stored = cluster.server.stored(CONFIGMAPS, key.namespace, key.name)
            return str(stored.obj["data"]["value"]) if stored else ""

        took_s = await cluster.until(lambda: value() == "a", 100)
        assert 60 < took_s < 91
        await cluster.stop()

    virtual.run(main())


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
    """Whatever the clocks of the two machines say."""

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


def test_a_fight_over_a_field_slows_down_names_the_other_and_ends_when_it_stops() -> None:
    async def main() -> None:
        cluster = Cluster()
        loop = cluster.loop
        await cluster.define(BAD)
        for number in range(2):
            await cluster.make(BAD, number)
        await cluster.until(lambda: cluster.active(BAD) == 2, 10)
        key = Key(CONFIGMAPS, "default", "i0-widget-a")
        fighting = True
        heals: list[float] = []

        def take() -> None:
            if fighting:
                body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": key.name}, "data": {"value": "z"}}
                tasks.add(loop.create_task(cluster.user.apply(key, body, manager="other-tool", force=True)))

        def notice(write: Write) -> None:
            if write.resource == CONFIGMAPS and write.actor != "user" and write.after is not None:
                obj = write.after.obj
                if obj["metadata"]["name"] == key.name and obj["data"]["value"] == "a":
                    heals.append(loop.time())
                    loop.call_later(0.05, take)

        tasks: set[asyncio.Task[Obj]] = set()
        cluster.server.observe(notice)
        take()
        await asyncio.sleep(3600)
        assert 10 < len(heals) < 30
        stored = cluster.server.stored(resource_of(BAD), "default", "i0")
        assert stored is not None
        assert 'manager "other-tool" keeps changing .data.value' in str(stored.obj["status"]["conditions"])
        assert cluster.active(BAD) == 1
        events = [e["note"] for e in cluster.server.objects(EVENTS) if e["reason"] == "Contested"]
        assert len(events) == 1
        assert "other-tool" in events[0]
        fighting = False
        await cluster.until(lambda: cluster.active(BAD) == 2, 310)
        await cluster.stop()

    virtual.run(main())


def test_a_standby_watches_but_writes_nothing_until_it_leads() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        cluster = Cluster()
        await cluster.define(BAD)
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
        await cluster.make(BAD, 0)
        await cluster.until(lambda: cluster.active(BAD) == 1, 10)
        await asyncio.sleep(100)
        assert wrote == []
        await cluster.stop()
        await cluster.make(BAD, 1)
        await asyncio.sleep(100)
        assert (wrote, cluster.active(BAD)) == ([], 1)
        lead.set()
        took_s = await cluster.until(lambda: cluster.active(BAD) == 2, 10)
        assert took_s < 2
        stop.set()
        await task

    virtual.run(main())
