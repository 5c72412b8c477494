"""Processes that take minutes or hours in a cluster, in virtual time: fairness, retries, silence, bugs."""

import asyncio
import gc
import itertools
import logging
from collections import Counter, defaultdict
from collections.abc import Callable
from datetime import timedelta

import pytest

from kroasync.controller.runtime import RuntimeOptions
from kroasync.model.kinds import CRDS, EVENTS, GRAPH_DEFINITIONS
from kroasync.model.objects import Key, Obj, Resource
from tests.fakes import virtual
from tests.fakes.client import FakeClient, Fault
from tests.fakes.kube import FakeServer, StatusError, Write
from tests.samples import CONFIG_MAPS
from tests.simulation.cluster import EPOCH, ONE, Cluster
from tests.simulation.family import Node, Shape, definition_key, instance_key, manifest, resource_of

BAD, GOOD = 0, 1


def refuse(server: FakeServer, prefix: str, when: Callable[[], bool] = lambda: True) -> list[str]:
    """Let the server refuse ConfigMaps whose name contains `prefix`; returns the refused names."""
    refused: list[str] = []

    def check(resource: Resource, obj: Obj) -> None:
        name = obj["metadata"]["name"]
        if resource == CONFIG_MAPS and prefix in name and when():
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


@pytest.mark.parametrize("kind", ["timeout", "timeout-done"])
def test_a_definition_whose_requests_hang_delays_others_by_less_than_a_tenth(kind: str) -> None:
    """As behind a webhook that does not answer: each request takes its maximum of half a minute."""

    async def bring_up(hanging: int) -> float:
        cluster = Cluster()
        await cluster.define(BAD)
        await cluster.define(GOOD)
        now, hours = cluster.loop.time(), 3600.0
        hang = Fault(kind=kind, begin_s=now, end_s=now + hours, rate=1.0, methods=frozenset({"PATCH"}), path="-widget-")
        cluster.network.faults.append(hang)
        for number in range(hanging):
            await cluster.make(BAD, number)
        await asyncio.sleep(5)
        for number in range(30):
            await cluster.make(GOOD, number)
        took_s = await cluster.until(lambda: cluster.active(GOOD) == 30, 60)
        cluster.network.faults.clear()
        await cluster.until(lambda: cluster.active(BAD) == hanging, 400)
        await cluster.stop()
        return took_s

    alone_s = virtual.run(bring_up(0))
    assert virtual.run(bring_up(100)) < 1.1 * alone_s


class Reluctant(FakeServer):
    """A server that establishes no CRD of a kind with the name `Blocked...`."""

    def _establish(self, name: str) -> None:
        if not name.startswith("blocked"):
            super()._establish(name)


def test_definitions_whose_crds_are_not_established_do_not_hold_up_another() -> None:
    """As if another CRD had the names; the controller waits two minutes for each CRD."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        cluster = Cluster(server=Reluctant(now=lambda: EPOCH + timedelta(seconds=loop.time())))
        for number in range(10):
            obj = manifest(BAD, ONE)
            obj["metadata"]["name"] = f"blocked{number}"
            obj["spec"]["schema"]["kind"] = f"Blocked{number}"
            await cluster.user.create(Key(GRAPH_DEFINITIONS, "", f"blocked{number}"), obj)
        await asyncio.sleep(10)
        began = loop.time()
        await cluster.define(GOOD)
        await cluster.make(GOOD, 0)
        await cluster.until(lambda: cluster.active(GOOD) == 1, 60)
        assert loop.time() - began < 10
        for number in range(10):
            stored = cluster.server.stored(GRAPH_DEFINITIONS, "", f"blocked{number}")
            assert stored is not None
            assert stored.obj["metadata"]["finalizers"]
            assert "status" not in stored.obj or stored.obj["status"]["state"] == "Inactive"
        await cluster.stop()

    virtual.run(main())


class Lagging(FakeServer):
    """The schema documents are some seconds behind the CRDs, as on a real server."""

    def __init__(self, behind_s: float) -> None:
        self._loop = asyncio.get_running_loop()
        super().__init__(now=lambda: EPOCH + timedelta(seconds=self._loop.time()))
        self._behind_s = behind_s
        self._told: dict[str, tuple[bytes, float, bytes]] = {}

    def _openapi(self, path: str) -> bytes:
        new, now = super()._openapi(path), self._loop.time()
        told, since, coming = self._told.get(path, (new, now, new))
        if coming != new:
            since, coming = now, new
        if now - since >= self._behind_s:
            told = coming
        self._told[path] = (told, since, coming)
        return told


@pytest.mark.parametrize("after_s", [0.0, 0.02, 0.05, 0.1, 0.3, 3.0])
@pytest.mark.parametrize("behind_s", [0.0, 6.0])
def test_a_definition_is_looked_at_again_when_a_kind_it_uses_has_changed(behind_s: float, after_s: float) -> None:
    """One `kubectl apply` adds a field to one definition and uses it in another one, at any time of a compilation."""

    async def main() -> None:
        cluster = Cluster(server=Lagging(behind_s))
        await cluster.define(BAD)
        widget = {
            "apiVersion": "kro.run/v1alpha1",
            "kind": "Widget",
            "metadata": {"name": "inner"},
            "spec": {"value": "${schema.spec.value}", "more": "x"},
        }
        outer = manifest(GOOD, ONE)
        outer["spec"]["resources"] = [{"id": "inner", "template": widget}]
        await cluster.user.create(definition_key(GOOD), outer)
        key = definition_key(GOOD)

        def state() -> str:
            stored = cluster.server.stored(key.resource, "", key.name)
            return str((stored.obj.get("status") or {}).get("state")) if stored else ""

        await asyncio.sleep(after_s)
        assert state() != "Active"
        inner = manifest(BAD, ONE)
        inner["spec"]["schema"]["spec"]["more"] = "string"
        await cluster.user.merge_patch(definition_key(BAD), {"spec": inner["spec"]}, manager="user")
        await cluster.until(lambda: state() == "Active", 20)
        await cluster.stop()

    virtual.run(main())


class Taken(FakeServer):
    """Another CRD has the names of every new CRD, until the names change."""

    def _establish(self, name: str) -> None:
        found = self._table(CRDS).objects.get(("", name))
        if found is not None and found.obj["spec"]["names"]["plural"].startswith("widget"):
            taken = {"type": "NamesAccepted", "status": "False", "reason": "ListKindConflict", "message": "in use"}
            self._replace(
                found.kind, found, {**found.obj, "status": {"conditions": [taken]}}, ("x", "Update", "status")
            )
        else:
            super()._establish(name)


def test_a_crd_whose_names_are_taken_is_told_at_once_and_its_definition_can_go() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        cluster = Cluster(server=Taken(now=lambda: EPOCH + timedelta(seconds=loop.time())))
        await cluster.define(BAD)
        key = definition_key(BAD)
        stored = cluster.server.stored(key.resource, "", key.name)
        assert stored is not None
        assert "its names are not accepted: in use" in str(stored.obj["status"]["conditions"])
        await cluster.user.delete(key)
        await cluster.until(lambda: cluster.server.stored(key.resource, "", key.name) is None, 5)
        await cluster.stop()

    virtual.run(main())


@pytest.mark.parametrize("pass_s", [0.006, 0.05])
def test_a_definition_whose_passes_compute_long_delays_others_by_less_than_a_tenth(pass_s: float) -> None:
    """The definition is finally served. Each of its passes blocks the event loop for this time."""

    async def bring_up(slow: int) -> float:
        """The seconds from the first pass over one of 150 ordinary instances until all are ACTIVE."""
        loop = asyncio.get_running_loop()
        assert isinstance(loop, virtual.VirtualLoop)
        began: dict[str, list[float]] = defaultdict(list)

        def begin(key: str) -> None:
            kind = key.split()[0]
            began[kind].append(loop.time())
            if kind == resource_of(BAD).kind:
                loop.compute(pass_s)

        cluster = Cluster(begin=begin)
        await cluster.define(BAD)
        await cluster.define(GOOD)
        for number in range(slow):
            await cluster.make(BAD, number)
        await asyncio.sleep(0.1)
        await asyncio.gather(*(cluster.make(GOOD, number) for number in range(150)))
        await cluster.until(lambda: cluster.active(GOOD) == 150, 60)
        took_s = loop.time() - began[resource_of(GOOD).kind][0]
        await cluster.until(lambda: cluster.active(BAD) == slow, 120)
        await cluster.stop()
        return took_s

    alone_s = virtual.run(bring_up(0))
    assert virtual.run(bring_up(200)) < 1.1 * alone_s


def test_a_definition_that_is_compiled_for_long_holds_up_no_instance() -> None:
    """The event loop turns after each resource is read, linked and compiled; this takes no virtual time."""
    count = 200

    async def main() -> None:
        cluster = Cluster()
        loop = asyncio.get_running_loop()
        assert isinstance(loop, virtual.VirtualLoop)
        turns: list[int] = []

        def notice(write: Write) -> None:
            if write.resource == CRDS and write.after is not None and write.before is None:
                turns.append(loop.turns)

        cluster.server.observe(notice)
        await asyncio.sleep(5)
        before = loop.turns
        many = Shape(nodes=tuple(Node(id=f"n{number}") for number in range(count)))
        await cluster.define(BAD, many)
        assert turns[0] - before > 3 * count
        await cluster.stop()

    virtual.run(main())


def test_expressions_are_compiled_with_pauses_between_them() -> None:
    """Each large expression of a resource takes four turns: parse, inspect, check and compile."""
    count = 14

    async def main() -> None:
        cluster = Cluster()
        turns: list[int] = []

        def notice(write: Write) -> None:
            if write.resource == CRDS and write.after is not None and write.before is None:
                turns.append(cluster.loop.turns)

        cluster.server.observe(notice)
        await asyncio.sleep(5)
        definition = manifest(BAD, ONE)
        expressions = {f"k{place}": "${" + "+".join(["'a'"] * 1_200) + f"+'{place}'}}" for place in range(count)}
        meta = {"name": "${schema.metadata.name}-large"}
        large = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": expressions}
        definition["spec"]["resources"].append({"id": "large", "template": large})
        before = cluster.loop.turns
        await cluster.user.create(definition_key(BAD), definition)
        await asyncio.sleep(5)
        assert turns[0] - before > 4 * count
        await cluster.stop()

    virtual.run(main())


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
    """A server that raises an unexpected error if a name is in the path."""

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
        key = Key(CONFIG_MAPS, "default", "i0-widget-a")
        await cluster.user.merge_patch(key, {"data": {"value": "edited"}}, manager="kubectl-edit")

        def value() -> str:
            stored = cluster.server.stored(CONFIG_MAPS, key.namespace, key.name)
            return str(stored.obj["data"]["value"]) if stored else ""

        took_s = await cluster.until(lambda: value() == "a", 100)
        assert 60 < took_s < 91
        await cluster.stop()

    virtual.run(main())


def test_a_fight_over_a_field_slows_down_names_the_other_and_ends_when_it_stops() -> None:
    async def main() -> None:
        cluster = Cluster()
        loop = cluster.loop
        await cluster.define(BAD)
        for number in range(2):
            await cluster.make(BAD, number)
        await cluster.until(lambda: cluster.active(BAD) == 2, 10)
        key = Key(CONFIG_MAPS, "default", "i0-widget-a")
        fighting = True
        heals: list[float] = []

        def take() -> None:
            if fighting:
                body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": key.name}, "data": {"value": "z"}}
                tasks.add(loop.create_task(cluster.user.apply(key, body, manager="other-tool", force=True)))

        def notice(write: Write) -> None:
            if write.resource == CONFIG_MAPS and write.actor != "user" and write.after is not None:
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


def test_a_child_that_is_deleted_again_and_again_is_made_less_and_less_often() -> None:
    async def main() -> None:
        cluster = Cluster()
        await cluster.define(BAD)
        await cluster.make(BAD, 0)
        await cluster.until(lambda: cluster.active(BAD) == 1, 10)
        key = Key(CONFIG_MAPS, "default", "i0-widget-a")
        deleting = True
        made: list[float] = []
        tasks: set[asyncio.Task[Obj | None]] = set()

        def take() -> None:
            if deleting:
                tasks.add(cluster.loop.create_task(cluster.user.delete(key)))

        def notice(write: Write) -> None:
            if write.after is not None and write.after.obj["metadata"]["name"] == key.name and write.before is None:
                made.append(cluster.loop.time())
                cluster.loop.call_later(0.05, take)

        cluster.server.observe(notice)
        take()
        await asyncio.sleep(3600)
        assert 10 < len(made) < 30
        pauses = [later - earlier for earlier, later in itertools.pairwise(made)]
        assert max(pauses[:4]) < 1
        assert min(pauses[-5:]) > 250
        stored = cluster.server.stored(resource_of(BAD), "default", "i0")
        assert stored is not None
        assert "somebody keeps deleting it" in str(stored.obj["status"]["conditions"])
        events = [e["note"] for e in cluster.server.objects(EVENTS) if e["reason"] == "Contested"]
        assert len(events) == 1
        assert key.name in events[0]
        deleting = False
        await cluster.until(lambda: cluster.active(BAD) == 1, 310)
        await cluster.stop()

    virtual.run(main())


def test_instances_that_came_and_went_leave_nothing_in_memory() -> None:
    """Only the keys of the last few thousand children are kept on purpose."""

    async def main() -> Counter[str]:
        cluster = Cluster(options=RuntimeOptions(events=False))
        await cluster.define(BAD)
        numbers = itertools.count()

        async def live(times: int) -> Counter[str]:
            for _ in range(times):
                number = next(numbers)
                await cluster.make(BAD, number)
                await cluster.until(lambda: cluster.active(BAD) == 1, 10)
                await cluster.user.merge_patch(instance_key(BAD, number), {"spec": {"value": "b"}}, manager="user")
                await asyncio.sleep(0.5)
                await cluster.user.delete(instance_key(BAD, number))
                await cluster.until(lambda: not cluster.server.objects(resource_of(BAD)), 10)
            await asyncio.sleep(30)
            # Ignore the memory of the server itself.
            cluster.server.compact()
            gc.collect()
            return Counter(type(obj).__name__ for obj in gc.get_objects() if not isinstance(obj, Key))

        before = await live(30)
        grown = await live(60) - before
        await cluster.stop()
        return grown

    grown = virtual.run(main())
    assert {name: count for name, count in grown.items() if count >= 20} == {}


def test_a_deletion_nobody_told_is_noticed() -> None:
    """Names and versions are compared from time to time, with at most one list of a kind in eight minutes."""

    async def main() -> None:
        cluster = Cluster()
        await cluster.define(GOOD)
        await cluster.make(GOOD, 0)
        await cluster.until(lambda: cluster.active(GOOD) == 1, 10)
        child = cluster.server.objects(CONFIG_MAPS)[0]["metadata"]
        await asyncio.sleep(1)
        await cluster.user.delete(Key(CONFIG_MAPS, child["namespace"], child["name"]))
        for stream in cluster.server.streams():
            stream.lose()

        def is_back() -> bool:
            found = cluster.server.stored(CONFIG_MAPS, child["namespace"], child["name"])
            return found is not None and found.uid != child["uid"]

        assert await cluster.until(is_back, 1200) > 60
        await cluster.stop()

    virtual.run(main())
