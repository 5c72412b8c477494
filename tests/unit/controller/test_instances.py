"""Passes over instances: the kind of pass, the writes, and the time of the next pass."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any, cast

from kroasync.controller.child_store import ChildStore
from kroasync.controller.converging import Converging
from kroasync.controller.deleting import Deleting
from kroasync.controller.events import Recorder
from kroasync.controller.fights import Fights
from kroasync.controller.instance_store import InstanceStore
from kroasync.controller.instances import Instances
from kroasync.controller.observing import Observing
from kroasync.controller.options import RuntimeOptions
from kroasync.controller.perform import Performers
from kroasync.controller.recording import Recording
from kroasync.controller.reporting import Reporting
from kroasync.controller.served_kinds import Served, ServedKinds, Unresolved
from kroasync.controller.watchdog import Watchdog
from kroasync.engine.plan import Plan
from kroasync.engine.verdict import AWAY_S, SAFETY_NET_S, AtRest, RetryAfter
from kroasync.graph.build import build
from kroasync.graph.nodes import Graph
from kroasync.metrics import Metrics
from kroasync.model import names
from kroasync.model.definition import parse_definition
from kroasync.model.kinds import CRDS, EVENTS
from kroasync.model.objects import Key, Obj, Resource, key_of, labels_of, uid_of
from kroasync.schema.catalog import bundled
from tests.fakes import virtual
from tests.fakes.client import FakeClient
from tests.fakes.kube import FakeServer, StatusError
from tests.samples import CONFIG_MAPS

NOW = datetime(2026, 1, 1, tzinfo=UTC)
APPS = Resource("kro.run", "v1alpha1", "App", "apps")
APP, CONFIG = Key(APPS, "default", "one"), Key(CONFIG_MAPS, "default", "one")


def graph() -> Graph:
    template = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "${schema.metadata.name}"},
        "data": {"value": "${schema.spec.value}"},
    }
    schema = {"apiVersion": "v1alpha1", "kind": "App", "spec": {"value": "string"}}
    definition, problems = parse_definition(
        {
            "apiVersion": names.KRO_API_VERSION,
            "kind": names.RESOURCE_GRAPH_DEFINITION,
            "metadata": {"name": "app", "uid": "d1"},
            "spec": {"schema": schema, "resources": [{"id": "config", "template": template}]},
        }
    )
    assert definition is not None, problems
    built = build(definition, bundled())
    assert built.graph is not None, built.problems
    return built.graph


class Kinds:
    """Replaces the serving and the watches: all kinds are watched, except those in `unseen`, which has the reasons."""

    def __init__(self) -> None:
        self.kinds = ServedKinds()
        self.unseen: dict[str, str] = {}
        self.released: list[Key] = []

    async def watched(self, group_kinds: Any) -> tuple[list[Resource], dict[str, str]]:
        return [], dict(self.unseen)

    def hold_inventory(self, instance: Key, resources: list[Resource]) -> list[Any]:
        return []

    def await_releases(self, *args: Any, **more: Any) -> None:
        pass

    def keep_externals(self, instance: Key, watches: Any) -> None:
        pass

    def release(self, instance: Key) -> None:
        self.released.append(instance)

    async def hold_external(self, instance: Key, watch: Any) -> None:
        pass


class Calm:
    """Replaces the pacing: there is only one pass."""

    def tired(self, key: Key) -> bool:
        return False

    async def pause(self, key: Key) -> None:
        pass


class Bench:
    """The controller of instances, with the fake API server; there are no watches: `see` fills the caches."""

    def __init__(self) -> None:
        clock = asyncio.get_running_loop().time
        self.server = FakeServer(now=lambda: NOW)
        self.user = FakeClient(self.server, actor="user")
        self.writes: list[tuple[str, str, str]] = []
        client = FakeClient(self.server, actor="controller")
        self.stub = Kinds()
        stub, calm, metrics, options = cast(Any, self.stub), cast(Any, Calm()), Metrics(), RuntimeOptions()
        self.children = ChildStore(lambda uid: None, claims=lambda key, obj: True)
        self.recorder = Recorder(client, reporter="test", instance="test", now=lambda: NOW)
        fights, watchdog = Fights(clock), Watchdog(clock=clock, cpu=clock)
        observing = Observing(client, stub, self.children, stub, stub)
        recording = Recording(self.recorder, metrics, options)
        reporting = Reporting(client, observing, recording, fights, lambda: NOW)
        performers = Performers(client, self.children, stub.hold_external, calm.pause, fights)
        self.instances = Instances(
            serving=stub,
            observing=observing,
            converging=Converging(stub, stub, observing, performers, reporting, recording, calm, watchdog, options),
            deleting=Deleting(client, self.children, stub, observing, performers, reporting, recording, options),
            reporting=reporting,
            recording=recording,
        )
        self.observing = observing
        self.graph = graph()
        store = InstanceStore(APPS, lambda key: None, lambda key, obj: None)
        self.served = Served(APPS, store, cast(Any, None), graph=self.graph, plan=Plan.of(self.graph))
        self.stub.kinds.add(self.served)

    async def start(self) -> None:
        """Create the kind and one instance of it."""
        await self.user.create(Key(CRDS, "", "apps.kro.run"), self.graph.crd)
        await asyncio.sleep(5)
        await self.user.create(APP, {"metadata": {"name": "one", "namespace": "default"}, "spec": {"value": "1"}})
        self.see()
        self.server.observe(
            lambda write: (
                self.writes.append((write.verb, write.resource.plural, write.actor))
                if write.actor == "controller"
                else None
            )
        )

    def see(self) -> None:
        """Deliver what a watch of the instances would deliver."""
        for obj in self.server.objects(APPS):
            self.served.instances.put(obj)

    def status(self) -> Obj:
        [instance] = self.server.objects(APPS)
        return instance["status"]

    def message(self, type_: str = "Ready") -> str:
        return next(str(c["message"]) for c in self.status()["conditions"] if c["type"] == type_)

    def written(self) -> list[str]:
        """The kinds of the objects written since the last call."""
        found, self.writes = [plural for _, plural, _ in self.writes], []
        return found

    async def events(self) -> list[str]:
        await self.recorder.flush()
        return [event["reason"] for event in self.server.objects(EVENTS)]


def play(story: Callable[[Bench], Awaitable[None]]) -> None:
    async def main() -> None:
        bench = Bench()
        await bench.start()
        await story(bench)

    virtual.run(main())


def test_a_new_instance_is_managed_applied_and_reported_in_one_pass() -> None:
    async def story(bench: Bench) -> None:
        verdict = await bench.instances.reconcile(APP)
        assert verdict == AtRest()
        assert verdict.summary.changes == {"created": 1, "status written": 1}
        assert bench.written() == ["apps", "configmaps", "apps"]
        assert bench.status()["state"] == "ACTIVE"
        assert await bench.events() == ["Ready"]

    play(story)


def test_an_instance_at_rest_costs_nothing() -> None:
    async def story(bench: Bench) -> None:
        await bench.instances.reconcile(APP)
        bench.see()
        bench.written()
        verdict = await bench.instances.reconcile(APP)
        assert (verdict, verdict.summary.sent, bench.written()) == (AtRest(), 0, [])

    play(story)


def test_a_refused_child_is_reported_and_tried_again() -> None:
    async def story(bench: Bench) -> None:
        def refuse(resource: Resource, obj: Obj) -> None:
            if resource == CONFIG_MAPS:
                raise StatusError(403, "Forbidden", "not here")

        bench.server.admit(refuse)
        verdict = await bench.instances.reconcile(APP)
        assert isinstance(verdict, RetryAfter)
        assert verdict.delay_s is None
        assert "not here" in verdict.reason
        assert "not here" in bench.message("ResourcesReady")
        assert await bench.events() == ["Failed"]

    play(story)


def test_an_instance_without_a_definition_stays_and_says_so() -> None:
    async def story(bench: Bench) -> None:
        bench.served.graph = bench.served.plan = None
        bench.served.unresolved = Unresolved("nobody defines this")
        assert await bench.instances.reconcile(APP) == AtRest()
        assert bench.written() == ["apps"]
        assert "nobody defines this" in bench.message("GraphResolved")

    play(story)


def test_an_instance_whose_definition_is_not_known_yet_is_left_alone() -> None:
    async def story(bench: Bench) -> None:
        bench.served.graph = bench.served.plan = None
        assert await bench.instances.reconcile(APP) == AtRest()
        assert bench.written() == []

    play(story)


def test_kinds_out_of_sight_bring_a_living_instance_back() -> None:
    async def story(bench: Bench) -> None:
        bench.stub.unseen = {"Widget.example.com": "no answer"}
        verdict = await bench.instances.reconcile(APP)
        assert isinstance(verdict, RetryAfter)
        assert (verdict.delay_s, bench.status()["state"]) == (60.0, "ACTIVE")

    play(story)


def test_a_deletion_takes_the_children_and_then_the_finalizer() -> None:
    async def story(bench: Bench) -> None:
        await bench.instances.reconcile(APP)
        await bench.user.delete(APP)
        bench.see()
        bench.written()
        verdict = await bench.instances.reconcile(APP)
        assert verdict == AtRest()
        assert verdict.summary.outcome == "deleted"
        assert (bench.server.objects(CONFIG_MAPS), bench.server.objects(APPS)) == ([], [])
        assert bench.stub.released == [APP]
        assert "Deleted" in await bench.events()

    play(story)


def test_a_deletion_waits_for_a_child_that_is_on_its_way_out() -> None:
    async def story(bench: Bench) -> None:
        await bench.instances.reconcile(APP)
        await bench.user.merge_patch(CONFIG, {"metadata": {"finalizers": ["example.com/held"]}}, manager="user")
        await bench.user.delete(APP)
        bench.see()
        verdict = await bench.instances.reconcile(APP)
        assert isinstance(verdict, RetryAfter)
        assert verdict.delay_s == SAFETY_NET_S
        assert bench.status()["state"] == "DELETING"
        assert "Deleting" in await bench.events()

    play(story)


def test_nothing_is_deleted_while_a_kind_of_the_inventory_cannot_be_listed() -> None:
    async def story(bench: Bench) -> None:
        await bench.instances.reconcile(APP)
        await bench.user.delete(APP)
        bench.see()
        bench.stub.unseen = {"Widget.example.com": "no answer"}
        assert await bench.instances.reconcile(APP) == RetryAfter(reason="no answer", at_most_s=AWAY_S)
        assert len(bench.server.objects(CONFIG_MAPS)) == 1
        assert "list deletion inventory: no answer" in bench.message("ResourcesReady")

    play(story)


def test_what_an_instance_left_that_went_in_spite_of_the_finalizer_is_deleted() -> None:
    async def story(bench: Bench) -> None:
        await bench.instances.reconcile(APP)
        bench.see()
        [gone] = bench.server.objects(APPS)
        bench.served.dropped[APP] = gone
        bench.served.instances.remove(gone)
        assert await bench.instances.reconcile(APP) == AtRest()
        assert (bench.server.objects(CONFIG_MAPS), bench.served.dropped) == ([], {})

    play(story)


def test_what_such_an_instance_left_is_kept_if_its_policy_says_so() -> None:
    async def story(bench: Bench) -> None:
        await bench.instances.reconcile(APP)
        [child] = bench.server.objects(CONFIG_MAPS)
        patch = {"metadata": {"annotations": {names.ANNOTATION_DELETION_POLICY: names.POLICY_ORPHANED}}}
        await bench.user.merge_patch(key_of(CONFIG_MAPS, child), patch, manager="kubectl-annotate")
        bench.children.put(CONFIG_MAPS, await bench.user.get(key_of(CONFIG_MAPS, child)))
        bench.see()
        [gone] = bench.server.objects(APPS)
        bench.served.dropped[APP] = gone
        bench.served.instances.remove(gone)
        assert await bench.instances.reconcile(APP) == AtRest()
        [kept] = bench.server.objects(CONFIG_MAPS)
        assert uid_of(kept) == uid_of(child)
        assert labels_of(kept).keys() & {names.LABEL_APPLYSET_PART_OF, names.LABEL_INSTANCE_ID} == set()
        assert bench.served.dropped == {}

    play(story)


def test_what_such_an_instance_kept_is_told_while_something_else_hangs_in_deletion() -> None:
    async def story(bench: Bench) -> None:
        await bench.instances.reconcile(APP)
        [child] = bench.server.objects(CONFIG_MAPS)
        meta = {field: child["metadata"][field] for field in ("namespace", "labels", "annotations")}
        policy = {names.ANNOTATION_DELETION_POLICY: names.POLICY_ORPHANED}
        for name, more in (
            ("kept", {"annotations": {**meta["annotations"], **policy}}),
            ("hangs", {"finalizers": ["example.com/hold"]}),
        ):
            obj = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {**meta, **more, "name": name}}
            key = Key(CONFIG_MAPS, meta["namespace"], name)
            await bench.user.apply(key, obj, manager=names.MANAGER_CHILDREN, force=True)
            bench.children.put(CONFIG_MAPS, await bench.user.get(key))
        bench.see()
        [gone] = bench.server.objects(APPS)
        bench.served.dropped[APP] = gone
        bench.served.instances.remove(gone)
        assert isinstance(await bench.instances.reconcile(APP), RetryAfter)
        assert (await bench.events()).count("Released") == 2

    play(story)


def test_an_instance_that_is_gone_is_forgotten() -> None:
    async def story(bench: Bench) -> None:
        [gone] = bench.server.objects(APPS)
        bench.served.instances.remove(gone)
        bench.observing.doubt(APP)
        assert await bench.instances.reconcile(APP) == AtRest()
        assert (bench.stub.released, bench.observing.unsure) == ([APP], set())

    play(story)


def test_a_doubtful_status_is_read_before_the_next_pass() -> None:
    async def story(bench: Bench) -> None:
        await bench.instances.reconcile(APP)
        bench.written()
        # No watch has delivered the stored status.
        bench.observing.doubt(APP)
        assert await bench.instances.reconcile(APP) == AtRest()
        assert (bench.written(), bench.observing.unsure) == ([], set())

    play(story)
