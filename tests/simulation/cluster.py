"""A fake server with one running controller, for tests that write their own story."""

import asyncio
import random
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from kroasync.controller.runtime import Runtime, RuntimeOptions
from kroasync.metrics import Metrics
from tests.fakes.client import FakeClient, Network
from tests.fakes.kube import FakeServer
from tests.fakes.virtual import running
from tests.simulation.family import Node, Shape, Spec, definition_key, instance_key, manifest, resource_of
from tests.simulation.seals import SEALED

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
ONE = Shape(nodes=(Node(id="a"), Node(id="b", needs=("a",))))


class Cluster:
    """A server and one running controller."""

    def __init__(
        self,
        *,
        options: RuntimeOptions | None = None,
        server: FakeServer | None = None,
        client: Callable[[FakeServer, Network], FakeClient] | None = None,
        begin: Callable[[str], object] = str,
    ) -> None:
        self.loop = running()
        self.server = server or FakeServer(now=self.now)
        self.network = Network(random.Random(1))
        self.metrics = Metrics()
        self.user = FakeClient(self.server, actor="user")
        made = client(self.server, self.network) if client else FakeClient(self.server, network=self.network)
        self.runtime = Runtime(
            made,
            options=replace(options or RuntimeOptions(), engine=SEALED),
            metrics=self.metrics,
            clock=self.loop.time,
            now=self.now,
            rng=random.Random(1),
            begin=begin,
        )
        self._stop = asyncio.Event()
        self.task = self.loop.create_task(self.runtime.run(self._stop))

    def now(self) -> datetime:
        return EPOCH + timedelta(seconds=self.loop.time())

    async def stop(self) -> None:
        self._stop.set()
        await self.task

    async def define(self, definition: int, shape: Shape = ONE) -> None:
        await self.user.create(definition_key(definition), manifest(definition, shape))
        await asyncio.sleep(5)

    async def make(self, definition: int, instance: int) -> None:
        key = instance_key(definition, instance)
        meta = {"name": key.name, "namespace": key.namespace}
        await self.user.create(key, {"metadata": meta, "spec": Spec().manifest()})

    def active(self, definition: int) -> int:
        objs = self.server.objects(resource_of(definition))
        return sum(1 for obj in objs if (obj.get("status") or {}).get("state") == "ACTIVE")

    async def until(self, done: Callable[[], bool], within_s: float) -> float:
        """The virtual seconds that it took."""
        began = self.loop.time()
        while not done():
            assert self.loop.time() - began < within_s, "not in time"
            await asyncio.sleep(0.01)
        return self.loop.time() - began
