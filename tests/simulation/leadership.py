"""Several replicas of the real controller on one cluster, in virtual time: only the leader may write.

`python -m tests.simulation.leadership --schedules N --seed S`. In each schedule, two processes, whose clocks are days
apart and have different speeds, are paused, suspended with their machine, disconnected from the server, crashed and
stopped. Users continue to request work. Requests that a process has sent to its network continue without it. Every
write is checked: the server's Lease names the writer, and a Lease gets another holder only after a release, or after
its whole duration without a renewal. At the end, one process leads, all declared objects exist, and all processes stop
gracefully.
"""

import argparse
import asyncio
import os
import random
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from contextvars import Context
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp

from kroasync.controller.runtime import Runtime, RuntimeOptions
from kroasync.kube.api_errors import NotFoundError
from kroasync.kube.lease import Elector, LeaseLostError, lead
from kroasync.kube.watch import Sink, Watch
from kroasync.metrics import Metrics
from kroasync.model.kinds import LEASES
from tests.fakes import virtual
from tests.fakes.client import FakeClient, Fault, Network
from tests.fakes.kube import FakeServer, Stream, Write
from tests.samples import CONFIG_MAPS
from tests.simulation.family import Node, Shape, Spec, definition_key, instance_key, manifest, resource_of
from tests.simulation.seals import SEALED

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
NAME = "controller"
LEASE_S = 15.0
# How much faster or slower than the real clock a clock may run.
PACE = 1.1
OPTIONS = RuntimeOptions(max_delay_s=5.0, stop_after_s=40.0, workers=4, engine=SEALED)
SHAPE = Shape(nodes=(Node(id="a"), Node(id="b", needs=("a",))))
# Instances are created, and faults happen, between these times.
FIRST_S, STORY_S = 4.0, 40.0
INSTANCES = 2
CONVERGED_WITHIN_S = 120.0
# A process that must write, but may not, ends at once; a process that cannot renew ends with its lead.
HANDED_OVER_WITHIN_S = 2.0
# The deadline of a request.
REQUEST_S = 30.0
DEEDS = {"pause": 4, "suspend": 2, "cut": 4, "crash": 2, "stop": 2}
CUTS = ("lost-request", "lost-answer", "timeout", "timeout-done")
METHODS = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE"})
_METRICS = Metrics()


@dataclass(frozen=True, slots=True, kw_only=True)
class Deed:
    """A fault of the leader or the other process, `at_s` after the start, for some seconds."""

    at_s: float
    kind: str
    seconds: float
    to_leader: bool
    cut: str = ""

    def __str__(self) -> str:
        how = f" ({self.cut})" if self.cut else ""
        return f"{self.at_s:6.2f} s  {self.kind}{how} {'leader' if self.to_leader else 'standby'} {self.seconds:.2f} s"


def deeds_of(seed: int) -> tuple[Deed, ...]:
    """The schedule of a seed: always the same."""
    rng = random.Random(f"deeds {seed}")
    found = [
        Deed(
            at_s=rng.uniform(FIRST_S, STORY_S),
            kind=kind,
            seconds=rng.choice((rng.uniform(0.1, 3), rng.uniform(3, 20), rng.uniform(15, 40))),
            to_leader=rng.random() < 0.75,
            cut=rng.choice(CUTS) if kind == "cut" else "",
        )
        for kind in rng.choices(list(DEEDS), list(DEEDS.values()), k=rng.randint(1, 4))
    ]
    return tuple(sorted(found, key=lambda deed: deed.at_s))


class RemoteClient(FakeClient):
    """A client of a process that may be paused, or end: requests that it has sent arrive nevertheless."""

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self.streams: list[Stream] = []

    async def _exchange(
        self, method: str, target: str, data: bytes | None, content_type: str, timeout_s: float
    ) -> tuple[int, bytes, dict[str, str]]:
        travel = super()._exchange(method, target, data, content_type, timeout_s)
        task = asyncio.get_running_loop().create_task(travel, context=Context())
        task.add_done_callback(lambda done: done.cancelled() or done.exception())
        return await asyncio.shield(task)

    @asynccontextmanager
    async def stream(self, path: str, query: Mapping[str, str]) -> AsyncIterator[Any]:
        async with super().stream(path, query) as stream:
            self.streams.append(stream)
            try:
                yield stream
            finally:
                self.streams.remove(stream)


class Replica:
    """One process from its start to its end: the sequence of `kroasync run` with leader election."""

    def __init__(self, story: "Story", name: str, *, fenced: bool) -> None:
        loop, seed = story.loop, story.seed
        self.name = name
        self.process = virtual.Process()
        self.network = Network(random.Random(f"network {seed} {name}"), latency_s=(0.005, 0.1))
        rng = random.Random(f"replica {seed} {name}")
        skew_s = rng.uniform(-1, 1) * 86400 * 30
        pace = rng.uniform(1 / PACE, PACE)
        elections = RemoteClient(story.server, actor=name, network=self.network)

        def follow(sink: Sink) -> Any:
            selector = f"metadata.name={NAME}"
            return Watch(
                elections, LEASES, namespace="default", field_selector=selector, sink=sink, clock=loop.time, rng=rng
            ).run()

        self.elector = Elector(
            elections,
            "default",
            NAME,
            name,
            lease_duration_s=LEASE_S,
            follow=follow,
            clock=lambda: loop.time() * pace + skew_s,
            now=lambda: EPOCH + timedelta(seconds=loop.time() + skew_s),
            uniform=rng.uniform,
        )
        client = RemoteClient(
            story.server,
            actor=name,
            network=self.network,
            metrics=_METRICS,
            may_write=self.elector.may_write if fenced else None,
        )
        self.clients = (elections, client)
        runtime = Runtime(
            client,
            options=replace(OPTIONS, identity=name),
            metrics=_METRICS,
            clock=loop.time,
            now=lambda: EPOCH + timedelta(seconds=loop.time() + skew_s),
            rng=rng,
        )
        self.stop = asyncio.Event()
        leading = lead(
            self.elector,
            lambda leads: runtime.run(self.stop, lead=leads),
            self.stop,
            warm=rng.random() < 0.7,
            began=lambda: story.began(self),
            settled=lambda: not client.left_unanswered,
        )
        self.task = loop.create_task(leading, name=name, context=self.process.context())

    @property
    def lives(self) -> bool:
        return not self.task.done()

    @property
    def leads(self) -> bool:
        return self.lives and self.elector.is_leader


@dataclass(slots=True)
class Report:
    """The result of one schedule."""

    violations: list[str] = field(default_factory=list)
    deposed: int = 0
    leaders: int = 0
    writes: int = 0
    refused: int = 0
    hand_overs_s: list[float] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        return not self.violations


class Story:
    """One schedule in progress."""

    def __init__(self, seed: int, deeds: tuple[Deed, ...], *, fenced: bool = True) -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, virtual.VirtualLoop)
        self.loop = loop
        self.seed = seed
        self.report = Report()
        self.server = FakeServer(now=lambda: EPOCH + timedelta(seconds=loop.time()))
        self.server.observe(self._observe)
        self._deeds = deeds
        self._fenced = fenced
        self._rng = random.Random(f"story {seed}")
        self._user = FakeClient(self.server, actor="user")
        self._replicas: list[Replica] = []
        self._started = 0
        self._wanted: dict[int, Spec] = {}
        self._holder = ""
        self._renewed_at = 0.0
        self._released_at: float | None = None
        self._tasks: list[asyncio.Task[None]] = []

    async def play(self) -> Report:
        began = self.loop.time()
        for _ in range(2):
            self._start()
        await self._user.create(definition_key(0), manifest(0, SHAPE))
        self._tasks.append(self.loop.create_task(self._users(began), name="users"))
        for deed in self._deeds:
            await asyncio.sleep(max(0.0, began + deed.at_s - self.loop.time()))
            self._tasks.append(self.loop.create_task(self._do(deed), name=str(deed)))
        await asyncio.gather(*self._tasks)
        await self._settle()
        await self._end()
        return self.report

    def violated(self, text: str) -> None:
        self.report.violations.append(f"{self.loop.time() - virtual.START_S:.2f} s: {text}")

    # Processes

    def _start(self) -> None:
        self._started += 1
        replica = Replica(self, f"p{self._started}", fenced=self._fenced)
        self._replicas.append(replica)
        replica.task.add_done_callback(lambda task: self._ended(replica, task))

    def began(self, replica: Replica) -> None:
        self.report.leaders += 1
        if self._released_at is not None:
            self.report.hand_overs_s.append(self.loop.time() - self._released_at)

    def _ended(self, replica: Replica, task: asyncio.Task[None]) -> None:
        """A process ends because it was stopped, or lost the lead; then another one starts, as with a kubelet."""
        if not task.cancelled() and task.exception() is not None:
            failures = list(_leaves(task.exception()))
            if not all(isinstance(failure, LeaseLostError) for failure in failures):
                self.violated(f"{replica.name} failed: {failures!r}")
            self.report.deposed += 1
        if replica in self._replicas:
            self._replicas.remove(replica)
            self.loop.call_later(self._rng.uniform(0.5, 5.0), self._start, context=Context())

    def _pick(self, *, leader: bool) -> Replica | None:
        for replica in self._replicas:
            if replica.leads == leader and replica.lives and replica.process.paused_at is None:
                return replica
        return None

    async def _do(self, deed: Deed) -> None:
        replica = self._pick(leader=deed.to_leader)
        if replica is None:
            return
        match deed.kind:
            case "pause" | "suspend":
                self.loop.pause(replica.process)
                await asyncio.sleep(deed.seconds)
                self.loop.resume(replica.process, suspended=deed.kind == "suspend")
                await self._check_end(replica)
            case "cut":
                await self._cut(replica, deed)
            case "crash":
                replica.task.cancel()
            case "stop":
                replica.stop.set()
                done, _ = await asyncio.wait([replica.task], timeout=OPTIONS.stop_after_s + 60 + STORY_S)
                if not done:
                    self.violated(f"{replica.name} did not stop when asked to")

    async def _check_end(self, replica: Replica) -> None:
        """A process that lost the lead while it was paused ends: a renewal is due within the retry period."""
        if self._holder != replica.name and replica.elector.is_leader:
            await asyncio.sleep(15.0)
            if replica.lives and replica.process.paused_at is None and not replica.network.faults:
                self.violated(f"{replica.name} goes on although it was deposed")

    async def _cut(self, replica: Replica, deed: Deed) -> None:
        """Nothing passes, in one direction or both; watches fall silent, and finally break."""
        now = self.loop.time()
        fault = Fault(kind=deed.cut, begin_s=now, end_s=now + deed.seconds, rate=1.0, methods=METHODS)
        replica.network.faults.append(fault)
        silenced = [stream for client in replica.clients for stream in client.streams]
        for stream in silenced:
            stream.silent = True
        await asyncio.sleep(deed.seconds)
        replica.network.faults.remove(fault)
        for stream in silenced:
            stream.cut(aiohttp.ClientPayloadError("cut"))

    # Users

    async def _users(self, began: float) -> None:
        """Request work just before a fault of a process, and during the fault."""
        times = [began + 2.5]
        for deed in self._deeds:
            times += [
                began + deed.at_s - self._rng.uniform(0, 0.4),
                began + deed.at_s + deed.seconds * self._rng.random(),
            ]
        for at_s in sorted(times):
            await asyncio.sleep(max(0.0, at_s - self.loop.time()))
            for number in range(INSTANCES):
                self._wanted[number] = Spec(value=self._rng.choice("abcdefgh"))
                await self._ask(number, self._wanted[number])

    async def _ask(self, number: int, spec: Spec) -> None:
        key = instance_key(0, number)
        while True:
            try:
                if self.server.stored(key.resource, key.namespace, key.name) is not None:
                    await self._user.merge_patch(key, {"spec": spec.manifest()}, manager="kubectl-edit")
                else:
                    meta = {"name": key.name, "namespace": key.namespace}
                    await self._user.create(key, {"metadata": meta, "spec": spec.manifest()})
                return
            except NotFoundError:
                await asyncio.sleep(0.5)  # the CRD does not exist yet

    # Invariants

    def _observe(self, write: Write) -> None:
        if write.resource == LEASES:
            self._observe_lease(write)
        elif write.actor.startswith("p"):
            self.report.writes += 1
            if write.actor != self._holder:
                what = write.after or write.before
                assert what is not None
                name = f"{what.obj['kind']} {what.obj['metadata']['name']}"
                self.violated(f"{write.actor} wrote {name} while {self._holder or 'nobody'} leads")

    def _observe_lease(self, write: Write) -> None:
        now = self.loop.time()
        assert write.after is not None
        holder = str(write.after.obj["spec"]["holderIdentity"])
        if holder not in ("", write.actor):
            self.violated(f"{write.actor} made {holder} the leader")
        if self._holder not in ("", write.actor) and now < self._renewed_at + LEASE_S / PACE:
            self.violated(
                f"{write.actor} took the lease of {self._holder} {now - self._renewed_at:.2f} s after its renewal"
            )
        if not holder:
            self._released_at = now
        elif self._holder not in ("", holder):
            self._released_at = None
        self._holder, self._renewed_at = holder, now

    # The end

    async def _settle(self) -> None:
        """Without faults, one process leads, and everything that is declared gets created."""
        deadline = self.loop.time() + CONVERGED_WITHIN_S
        while wrong := self._unsettled():
            if self.loop.time() > deadline:
                self.violated(f"not settled within {CONVERGED_WITHIN_S:g} s: {'; '.join(wrong)}")
                return
            await asyncio.sleep(1.0)
        # A process may still wait for a request without an answer from the time of the faults.
        await asyncio.sleep(REQUEST_S)

    def _unsettled(self) -> list[str]:
        leaders = [replica.name for replica in self._replicas if replica.leads]
        wrong = [] if leaders == [self._holder] else [f"{leaders} lead, the lease names {self._holder!r}"]
        if len(self._replicas) != 2:
            wrong.append(f"{len(self._replicas)} processes")
        for number, spec in self._wanted.items():
            stored = self.server.stored(resource_of(0), "default", f"i{number}")
            state = (stored.obj.get("status") or {}).get("state") if stored else "not there"
            if state != "ACTIVE":
                wrong.append(f"i{number} is {state}")
            for node in ("a", "b"):
                child = self.server.stored(CONFIG_MAPS, "default", f"i{number}-widget-{node}")
                value = child.obj["data"]["value"] if child else None
                if value != spec.value:
                    wrong.append(f"{node} of i{number} is {value}, not {spec.value}")
        return wrong

    async def _end(self) -> None:
        """Stop the leader, then the standby that takes over."""
        replicas, self._replicas = sorted(self._replicas, key=lambda r: not r.leads), []
        for replica in replicas:
            replica.stop.set()
            began = self.loop.time()
            await asyncio.wait([replica.task])
            if self.loop.time() - began > HANDED_OVER_WITHIN_S:
                self.violated(f"{replica.name} took {self.loop.time() - began:.2f} s to stop")
            if replica is replicas[0] and len(replicas) > 1:
                await asyncio.sleep(HANDED_OVER_WITHIN_S - (self.loop.time() - began))
                if not replicas[1].leads:
                    self.violated(
                        f"{replicas[1].name} does not lead {HANDED_OVER_WITHIN_S:g} s after the other was stopped"
                    )
        if self._holder:
            self.violated(f"the lease still names {self._holder}")
        await asyncio.sleep(60.0)
        left = [t.get_name() for t in asyncio.all_tasks() if t is not asyncio.current_task()]
        if left:
            self.violated(f"tasks are left: {', '.join(sorted(left))}")


def play(seed: int, *, fenced: bool = True, deeds: tuple[Deed, ...] | None = None) -> Report:
    """Run one schedule; without `fenced`, the controller writes without checking whether it may."""

    async def main() -> Report:
        return await Story(seed, deeds_of(seed) if deeds is None else deeds, fenced=fenced).play()

    return virtual.run(main())


def _leaves(error: BaseException | None) -> Any:
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error


def main() -> int:
    """0 if every invariant held in every schedule."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation.leadership", description=__doc__)
    parser.add_argument("--schedules", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0, help="of the first schedule; the others follow")
    parser.add_argument("--unfenced", action="store_true", help="let the controller write without asking")
    arguments = parser.parse_args()
    if os.environ.get("PYTHONHASHSEED") != "0":
        # The iteration order of sets of strings must be the same in every run of a seed.
        command = [sys.executable, "-m", "tests.simulation.leadership", *sys.argv[1:]]
        os.execve(sys.executable, command, {**os.environ, "PYTHONHASHSEED": "0"})
    began = time.perf_counter()
    counts: Counter[str] = Counter()
    slowest_s = 0.0
    for seed in range(arguments.seed, arguments.seed + arguments.schedules):
        report = play(seed, fenced=not arguments.unfenced)
        counts.update(leaders=report.leaders, deposed=report.deposed, writes=report.writes)
        slowest_s = max([slowest_s, *report.hand_overs_s])
        if not report.ok:
            counts.update(failed=1)
            told = [f"FAILED seed {seed}", *map(str, deeds_of(seed)), *(f"  => {text}" for text in report.violations)]
            print("\n".join(told), flush=True)
    took_s = time.perf_counter() - began
    print(
        f"{arguments.schedules} schedules from seed {arguments.seed}: {counts['failed']} failed, "
        f"{counts['leaders']} leaders, {counts['deposed']} deposed, {counts['writes']} writes, slowest take-over of a "
        f"released lease {slowest_s:.2f} s, {took_s:.1f} s",
        flush=True,
    )
    return 1 if counts["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
