"""A pass that computes forever delays the others once."""

import asyncio
import time
from datetime import UTC, datetime
from random import Random

from kroasync.controller.runtime import Runtime, RuntimeOptions
from kroasync.engine.plan import Options
from kroasync.metrics import Metrics
from kroasync.model.kinds import EVENTS
from kroasync.model.objects import Key, Obj
from tests.fakes.client import FakeClient
from tests.fakes.kube import FakeServer
from tests.unit.controller.test_whole_runtime import APPS, DEFINITION, app_definition
from tests.waiting import until


def instance(name: str, size: str) -> Obj:
    return {"metadata": {"name": name, "namespace": "default"}, "spec": {"value": size}}


def test_an_evaluation_that_nothing_bounds_holds_up_the_others_once() -> None:
    """An expression that takes hours, without budgets: the controller reports it, and serves the next instance."""
    loop = "['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'i', 'j']"
    whole = "x"
    for level in range(12):
        whole = f"{loop}.map(v{level}, {whole if level else '1'}).size()"
    value = "${schema.spec.value == 'slow' ? string(" + whole + ") : 'quick'}"

    async def main() -> None:
        server, stop, metrics = FakeServer(), asyncio.Event(), Metrics()
        user = FakeClient(server, actor="user")
        runtime = Runtime(
            FakeClient(server, actor="controller"),
            options=RuntimeOptions(engine=Options(evaluation_steps=10**12, pass_steps=10**12)),
            metrics=metrics,
            clock=time.monotonic,
            cpu=time.thread_time,
            now=lambda: datetime.now(UTC),
            rng=Random(1),
        )
        runtime.parts.watchdog.start()

        def status(name: str) -> Obj:
            found = [o for o in server.objects(APPS) if o["metadata"]["name"] == name]
            return found[0].get("status") or {}

        async with asyncio.TaskGroup() as group:
            group.create_task(runtime.run(stop))
            await user.create(DEFINITION, app_definition(value=value))
            await until(lambda: APPS in server.served())
            await user.create(Key(APPS, "default", "slow"), instance("slow", "slow"))
            await until(lambda: status("slow"))
            await user.create(Key(APPS, "default", "quick"), instance("quick", "quick"))
            await until(lambda: status("quick").get("state") == "ACTIVE")
            await until(lambda: any(e["reason"] == "Overran" for e in server.objects(EVENTS)))
            stop.set()
        runtime.parts.watchdog.stop()
        assert status("slow")["state"] == "ERROR"
        assert "computed for more than 3 s without a pause" in str(status("slow")["conditions"])
        assert "kroasync_pass_overruns_total{gvr=" in metrics.render().decode()
        assert runtime.parts.queues.instances.in_work == 0

    asyncio.run(main())
