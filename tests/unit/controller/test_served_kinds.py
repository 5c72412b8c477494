"""The generated kinds that are served, their graphs, and the watches that they need."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from kroasync.controller.child_store import ChildStore
from kroasync.controller.instance_store import InstanceStore
from kroasync.controller.served_kinds import Served, ServedKinds, claims_of, wake_by_uid
from kroasync.controller.serving import Serving
from kroasync.controller.watches import Watches
from kroasync.engine.actions import WatchExternal as WatchExternal
from kroasync.kube.api_errors import NotFoundError, TooBigError
from kroasync.kube.watch import Watch
from kroasync.metrics import Metrics
from kroasync.model.kinds import GRAPH_DEFINITIONS, SECRETS
from kroasync.model.names import ANNOTATION_APPLYSET_GROUP_KINDS, ANNOTATION_APPLYSET_NAMESPACES
from kroasync.model.objects import Key, Obj, Resource
from tests.fakes import virtual
from tests.samples import CONFIG_MAPS
from tests.unit.controller.samples import APPS, OWNER, StubClient, app, app_key, config, config_key

DEFINITION = Key(GRAPH_DEFINITIONS, "", "d")
ITEMS = Resource("example.com", "v1", "Item", "items")

# The part of a generated CRD that serving reads: the schema of `spec`.
CRD = {"spec": {"versions": [{"schema": {"openAPIV3Schema": {"properties": {"spec": {"type": "object"}}}}}]}}


@dataclass
class FakeWatch:
    """A watch that does nothing; `synced` is set by the test, or at once."""

    resource: Resource
    sink: Any
    selectors: dict[str, str]
    synced: asyncio.Event = field(default_factory=asyncio.Event)
    ended: bool = False
    error: str | None = "forbidden"
    missing: bool = False
    is_refused: bool = False

    async def run(self) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            self.ended = True


@dataclass
class FakeNode:
    id: str
    resource: Resource
    is_external: bool = False


@dataclass(eq=False)
class FakeGraph:
    resource: Resource
    nodes: dict[str, FakeNode]
    reads: dict[str, frozenset[tuple[str, ...]]] = field(default_factory=dict)
    crd: Obj = field(default_factory=lambda: CRD)


@dataclass
class FakeNodePlan:
    node: FakeNode
    reads: frozenset[tuple[str, ...]]


class FakePlan:
    def __init__(self, graph: FakeGraph) -> None:
        self.graph = graph
        self.nodes = [FakeNodePlan(node, graph.reads.get(node.id, frozenset())) for node in graph.nodes.values()]


class Bench:
    """Watches and Serving, with watches that the test controls."""

    def __init__(self, group: asyncio.TaskGroup) -> None:
        self.made: list[FakeWatch] = []
        self.woken: list[Key] = []
        self.auto = True
        self.error: str | None = "forbidden"
        self.client = StubClient()
        self.metrics = Metrics()
        self.kinds = ServedKinds()
        self.children = ChildStore(wake_by_uid(self.kinds, self.woken.append), claims=lambda key, obj: True)
        self.watches = Watches(
            group=group,
            client=self.client,  # type: ignore[arg-type]
            children=self.children,
            wake=self.woken.append,
            make=self.make,  # type: ignore[arg-type]
            metrics=self.metrics,
        )
        self.serving = Serving(
            kinds=self.kinds,
            watches=self.watches,
            children=self.children,
            wake=self.woken.append,
            discard=lambda key: None,
            plan=FakePlan,  # type: ignore[arg-type]
            metrics=self.metrics,
        )

    def make(
        self, client: object, resource: Resource, *, sink: Any, known: Callable[[], object], **selectors: str
    ) -> FakeWatch:
        assert isinstance(known(), dict)
        watch = FakeWatch(resource, sink, selectors, error=self.error)
        if self.auto:
            watch.synced.set()
        self.made.append(watch)
        return watch

    def of(self, resource: Resource) -> list[FakeWatch]:
        return [watch for watch in self.made if watch.resource == resource]

    async def serve(self, *nodes: FakeNode, resource: Resource = APPS, **reads: set[tuple[str, ...]]) -> FakeGraph:
        graph = FakeGraph(resource, {n.id: n for n in nodes}, {k: frozenset(v) for k, v in reads.items()})
        await self.serving.serve(DEFINITION, graph)  # type: ignore[arg-type]
        await turns()
        return graph

    def metric(self, name: str) -> list[str]:
        return [line for line in self.metrics.render().decode().splitlines() if line.startswith(name)]


def listed(watch: FakeWatch, *objs: Obj) -> None:
    """The watch has listed its kind."""
    watch.sink.replace([watch.sink.keep(obj) for obj in objs])


def watch_of_children(bench: Bench) -> Watch | None:
    """The running watch of the ConfigMaps that are children."""
    running = [watch for name, watch in bench.watches.items() if name.startswith("watch children configmaps.")]
    return running[0] if running else None


async def turns() -> None:
    """Let started and cancelled tasks run."""
    for _ in range(3):
        await asyncio.sleep(0)


def play(story: Any) -> None:
    """Run an async story with a Bench; the watch tasks of the Bench end with it."""

    async def main() -> None:
        async with asyncio.TaskGroup() as group:
            bench = Bench(group)
            try:
                await story(bench)
            finally:
                bench.watches.stop_all()

    virtual.run(main())


CONFIG, SECRET = FakeNode("config", CONFIG_MAPS), FakeNode("secret", SECRETS)


def test_a_kind_is_served_with_its_instances_and_the_kinds_it_manages() -> None:
    async def story(bench: Bench) -> None:
        graph = await bench.serve(CONFIG, SECRET)
        served = bench.kinds.get(APPS)
        assert served is not None
        assert served.plan is not None
        assert (served.graph, served.definition, served.plan.graph) == (graph, DEFINITION, graph)
        assert [w.resource for w in bench.made] == [APPS, CONFIG_MAPS, SECRETS]
        assert bench.of(APPS)[0].selectors == {}
        assert "kro.run/owned=true" in bench.of(CONFIG_MAPS)[0].selectors["label_selector"]

    play(story)


def test_a_new_graph_wakes_those_first_that_wait_for_it() -> None:
    """After a restart, most instances need no change."""

    async def story(bench: Bench) -> None:
        await bench.serve(CONFIG)
        seen = {"observedGeneration": 2}
        instances: dict[str, Obj] = {
            "settled": {"status": seen},
            "new": {},
            "calm": {"status": seen},
            "edited": {"status": {"observedGeneration": 1}},
            "going": {"status": seen, "deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": ["x"]},
        }
        for number, (name, more) in enumerate(instances.items()):
            bench.of(APPS)[0].sink.event("ADDED", app(name, version=number + 1, uid=name, generation=2, **more))
        bench.woken.clear()
        await bench.serve(CONFIG)
        assert [key.name for key in bench.woken] == ["new", "edited", "going", "settled", "calm"]

    play(story)


def test_a_new_graph_wakes_every_instance_and_the_same_one_none() -> None:
    async def story(bench: Bench) -> None:
        graph = await bench.serve(CONFIG)
        bench.of(APPS)[0].sink.event("ADDED", app(version=1))
        bench.woken.clear()
        await bench.serving.serve(DEFINITION, graph)  # type: ignore[arg-type]
        assert bench.woken == []
        await bench.serve(CONFIG)
        assert bench.woken == [app_key()]
        assert len(bench.of(CONFIG_MAPS)) == 1

    play(story)


def test_watches_that_do_not_sync_in_time_leave_what_was_served() -> None:
    async def story(bench: Bench) -> None:
        before = await bench.serve(CONFIG)
        bench.auto = False
        with pytest.raises(TimeoutError, match="Resource=secrets: forbidden"):
            await bench.serve(CONFIG, SECRET)
        served = bench.kinds.get(APPS)
        assert served is not None
        assert served.graph is before

    play(story)


def test_a_kind_that_may_not_be_watched_is_told_before_the_time_of_slow_lists_is_over() -> None:
    async def story(bench: Bench) -> None:
        bench.auto, bench.error = False, None
        clock = asyncio.get_running_loop()
        started = clock.time()

        async def refuse() -> None:
            await turns()
            (watch,) = bench.of(APPS)
            watch.error, watch.is_refused = "forbidden", True

        async with asyncio.TaskGroup() as group:
            group.create_task(refuse())
            with pytest.raises(TimeoutError, match="Resource=apps: forbidden"):
                await bench.serve(CONFIG)
        assert clock.time() < started + 20
        # A right that is granted in the meantime counts.
        before = clock.time()
        for one in bench.made:
            one.synced.set()
        await bench.serve(CONFIG)
        assert clock.time() == before

    play(story)


def test_a_definition_that_changes_its_kind_retires_the_old_one() -> None:
    async def story(bench: Bench) -> None:
        await bench.serve(CONFIG)
        await bench.serve(CONFIG, resource=ITEMS)
        old = bench.kinds.get(APPS)
        assert old is not None
        assert (old.plan, old.graph, old.definition) == (None, None, None)
        assert [s.resource for s in bench.kinds.of_definition(DEFINITION)] == [ITEMS]
        assert not bench.of(APPS)[0].ended

    play(story)


def test_a_kind_without_crd_is_gone_with_its_watches() -> None:
    async def story(bench: Bench) -> None:
        await bench.serve(CONFIG)
        bench.of(APPS)[0].sink.event("ADDED", app(version=1))
        bench.serving.stop(APPS)
        await turns()
        assert bench.kinds.get(APPS) is None
        assert bench.kinds.by_uid == {}
        assert all(watch.ended for watch in bench.made)
        bench.serving.stop(APPS)

    play(story)


def test_a_generated_kind_without_definition_is_watched_for_deletions() -> None:
    async def story(bench: Bench) -> None:
        bench.serving.adopt(APPS)
        bench.serving.adopt(APPS)
        assert len(bench.of(APPS)) == 1
        assert bench.kinds.head(app_key()) is None
        bench.of(APPS)[0].sink.event("ADDED", app(version=1))
        assert bench.kinds.head(app_key()) == app(version=1)

    play(story)


def test_wider_reads_of_a_kind_list_it_again() -> None:
    async def story(bench: Bench) -> None:
        await bench.serve(CONFIG, config={("data", "a")})
        bench.of(CONFIG_MAPS)[0].sink.event("ADDED", config(version=1, data={"a": "1", "b": "2"}))
        await bench.serve(CONFIG, config={("data", "b")})
        await turns()
        _, second = bench.of(CONFIG_MAPS)
        listed(second, config(version=1, data={"a": "1", "b": "2"}))
        found = bench.children.find(config_key())
        assert found is not None
        assert found.obj["data"] == {"a": "1", "b": "2"}
        assert watch_of_children(bench) is second

    play(story)


def test_one_watch_of_children_serves_all_owners_until_the_last_leaves() -> None:
    async def story(bench: Bench) -> None:
        one = bench.watches.hold_children(CONFIG_MAPS, owner="a")
        assert bench.watches.hold_children(CONFIG_MAPS, owner="b") is one
        bench.of(CONFIG_MAPS)[0].sink.event("ADDED", config(version=1))
        await turns()
        bench.watches.release("a")
        assert watch_of_children(bench) is one
        bench.watches.keep_children("b", [CONFIG_MAPS])
        assert watch_of_children(bench) is one
        bench.watches.keep_children("b", [])
        await turns()
        assert watch_of_children(bench) is None
        assert bench.of(CONFIG_MAPS)[0].ended
        assert len(bench.children) == 0
        bench.watches.keep_children("b", [])

    play(story)


def test_a_kind_the_graph_no_longer_has_is_watched_until_no_inventory_names_it() -> None:
    def inventoried(group_kinds: str) -> Obj:
        annotations = {"applyset.kubernetes.io/contains-group-kinds": group_kinds}
        return app(version=3, annotations=annotations)

    async def story(bench: Bench) -> None:
        await bench.serve(CONFIG, SECRET)
        bench.of(APPS)[0].sink.event("ADDED", inventoried("ConfigMap,Secret"))
        await bench.serve(CONFIG)
        await turns()
        # The instance still has Secrets, which must be pruned.
        assert bench.watches.children_of(APPS) == {CONFIG_MAPS}
        assert bench.watches.children_of(app_key()) == {SECRETS}
        assert not bench.of(SECRETS)[0].ended
        bench.serving.hold_inventory(app_key(), [SECRETS])
        assert not bench.of(SECRETS)[0].ended
        bench.serving.hold_inventory(app_key(), [])
        await turns()
        assert bench.of(SECRETS)[0].ended
        assert not bench.of(CONFIG_MAPS)[0].ended

    play(story)


def test_a_kind_the_graph_no_longer_has_is_left_at_once_if_no_instance_has_one() -> None:
    async def story(bench: Bench) -> None:
        await bench.serve(CONFIG, SECRET)
        await bench.serve(SECRET)
        await turns()
        assert bench.of(CONFIG_MAPS)[0].ended
        assert not bench.of(SECRETS)[0].ended

    play(story)


def test_kinds_of_an_inventory_are_held_once() -> None:
    async def story(bench: Bench) -> None:
        await bench.serve(CONFIG)
        held = bench.serving.hold_inventory(app_key(), [CONFIG_MAPS, SECRETS])
        assert [watch.resource for watch in held] == [CONFIG_MAPS, SECRETS]
        assert [w.resource for w in bench.made] == [APPS, CONFIG_MAPS, SECRETS]

    play(story)


def external(name: str | None = "ext", *, namespace: str = "default", selector: str | None = None) -> WatchExternal:
    return WatchExternal(node="ext", resource=CONFIG_MAPS, namespace=namespace, name=name, selector=selector)


def test_an_external_object_is_known_once_synced_and_wakes_its_holders() -> None:
    async def story(bench: Bench) -> None:
        action = external()
        assert bench.watches.external(action, holder=app_key()) is None
        await bench.watches.hold_external(app_key(), action)
        assert bench.watches.external(action, holder=app_key()) == []
        [watch] = bench.made
        assert watch.selectors == {
            "namespace": "default",
            "label_selector": "",
            "field_selector": "metadata.name=ext",
        }
        watch.sink.event("ADDED", config("ext", version=1))
        watch.sink.event("MODIFIED", config("ext", version=1))
        assert bench.woken == [app_key()]
        found = bench.watches.external(action, holder=app_key())
        assert found is not None
        assert [obj["metadata"]["name"] for obj in found] == ["ext"]
        watch.sink.event("DELETED", config("ext", version=2))
        watch.sink.event("DELETED", config("ext", version=2))
        assert bench.woken == [app_key()] * 2
        assert bench.watches.external(action, holder=app_key()) == []

    play(story)


def test_an_external_watch_keeps_what_is_read_and_is_silent_about_the_rest() -> None:
    async def story(bench: Bench) -> None:
        bench.watches.read_externals(CONFIG_MAPS, [("data", "a")])
        await bench.watches.hold_external(app_key(), external())
        sink = bench.made[0].sink
        listed(bench.made[0], config("ext", version=1, data={"a": "1", "b": "1"}))
        bench.woken.clear()
        sink.event("MODIFIED", config("ext", version=2, data={"a": "1", "b": "2"}))
        assert bench.woken == []
        sink.event("MODIFIED", config("ext", version=3, data={"a": "2", "b": "2"}))
        assert bench.woken == [app_key()]

    play(story)


def test_a_running_external_watch_lists_again_when_more_is_read() -> None:
    """Another definition, or a new revision, reads a field that the cache does not keep yet."""

    async def story(bench: Bench) -> None:
        bench.watches.read_externals(CONFIG_MAPS, [("data", "a")])
        await bench.watches.hold_external(app_key(), external())
        listed(bench.made[0], config("ext", version=1, data={"a": "1", "b": "1"}))
        bench.watches.read_externals(CONFIG_MAPS, [("data", "a")])
        await turns()
        assert len(bench.made) == 1
        bench.woken.clear()
        bench.watches.read_externals(CONFIG_MAPS, [("data", "b")])
        await turns()
        assert [watch.ended for watch in bench.made] == [True, False]
        assert bench.made[1].selectors == bench.made[0].selectors
        listed(bench.made[1], config("ext", version=1, data={"a": "1", "b": "1"}))
        assert bench.woken == [app_key()]
        await bench.watches.hold_external(app_key(), external())
        found = bench.watches.external(external(), holder=app_key())
        assert found is not None
        assert [obj["data"] for obj in found] == [{"a": "1", "b": "1"}]

    play(story)


def test_a_selector_is_watched_as_such_and_sorted() -> None:
    async def story(bench: Bench) -> None:
        action = external(None, selector="app=x")
        await bench.watches.hold_external(app_key(), action)
        [watch] = bench.made
        assert watch.selectors["label_selector"] == "app=x"
        listed(watch, config("b", version=2, uid="b"), config("a", version=1, uid="a"))
        found = bench.watches.external(action, holder=app_key())
        assert found is not None
        assert [obj["metadata"]["name"] for obj in found] == ["a", "b"]
        assert bench.watches.requested() == {("/v1, Resource=configmaps", "collection"): 1}

    play(story)


def test_a_kind_that_is_not_served_is_no_empty_collection() -> None:
    """Otherwise, the children created for each of its objects would be deleted."""

    async def story(bench: Bench) -> None:
        action = external(None, selector="app=x")
        await bench.watches.hold_external(app_key(), action)
        [watch] = bench.made
        watch.missing = True
        listed(watch)
        assert bench.watches.external(action, holder=app_key()) is None
        with pytest.raises(NotFoundError):
            await bench.watches.hold_external(app_key(), action)
        watch.missing = False
        assert bench.watches.external(action, holder=app_key()) == []

    play(story)


def test_external_watches_that_are_no_longer_used_end() -> None:
    async def story(bench: Bench) -> None:
        one, two = external("one"), external("two")
        for action in (one, two):
            await bench.watches.hold_external(app_key(), action)
        await bench.watches.hold_external(app_key("other"), two)
        await turns()
        bench.watches.keep_externals(app_key(), [])
        await turns()
        assert [watch.ended for watch in bench.made] == [True, False]
        bench.made[1].sink.event("ADDED", config("two", version=1))
        assert bench.woken == [app_key("other")]
        bench.watches.release(app_key("other"))
        await turns()
        assert bench.made[1].ended

    play(story)


def test_many_narrow_watches_of_a_kind_become_one_wide_watch() -> None:
    async def story(bench: Bench) -> None:
        for number in range(40):
            await bench.watches.hold_external(app_key(f"app-{number}"), external(f"ext-{number}"))
        assert len(bench.made) == 33
        assert bench.made[32].selectors == {"namespace": "", "label_selector": "", "field_selector": ""}
        listed(bench.made[32], config("ext-39", version=1), config("ext-38", version=2, uid="x"))
        found = bench.watches.external(external("ext-39"), holder=app_key("app-39"))
        assert found is not None
        assert [obj["metadata"]["name"] for obj in found] == ["ext-39"]
        assert bench.watches.requested() == {("/v1, Resource=configmaps", "scalar"): 40}

    play(story)


def test_many_objects_of_somebody_else_that_one_instance_wants_share_a_watch() -> None:
    """An instance may want a whole collection that belongs to others."""

    async def story(bench: Bench) -> None:
        wanted = [config_key(f"theirs-{number}") for number in range(200)]
        bench.watches.await_releases(app_key(), wanted)
        assert len(bench.made) == 33
        bench.watches.await_releases(app_key(), wanted)
        assert len(bench.made) == 33
        await turns()
        bench.watches.await_releases(app_key(), ())
        await turns()
        assert all(watch.ended for watch in bench.made)

    play(story)


# More than the limit of external objects, as one object and as many objects.
HUGE = {f"key-{number}": "x" * 100 for number in range(20_000)}


def test_a_named_external_object_there_is_no_room_for_is_asked_for_by_each_pass() -> None:
    async def story(bench: Bench) -> None:
        action = external()
        await bench.watches.hold_external(app_key(), action)
        listed(bench.made[0], config("ext", version=1, data=HUGE))
        for _ in range(2):
            assert bench.watches.external(action, holder=app_key()) is None
            bench.client.answers["get"] = [config("ext", version=1, data=HUGE)]
            await bench.watches.hold_external(app_key(), action)
            assert bench.watches.external(action, holder=app_key("other")) is None
            found = bench.watches.external(action, holder=app_key())
            assert found is not None
            assert [obj["data"] for obj in found] == [HUGE]

    play(story)


def test_a_collection_of_external_objects_there_is_no_room_for_is_refused_until_there_is() -> None:
    async def story(bench: Bench) -> None:
        action = external(None, selector="a=b")
        await bench.watches.hold_external(app_key(), action)
        listed(bench.made[0], config("a", version=1), config("b", version=2, uid="b", data=HUGE))
        assert bench.watches.external(action, holder=app_key()) is None
        with pytest.raises(TooBigError, match="2 objects of /v1, Resource=configmaps"):
            await bench.watches.hold_external(app_key(), action)
        bench.woken.clear()
        bench.made[0].sink.event("DELETED", config("b", version=3, uid="b"))
        assert bench.woken == [app_key()]
        await bench.watches.hold_external(app_key(), action)
        found = bench.watches.external(action, holder=app_key())
        assert found is not None
        assert [obj["metadata"]["name"] for obj in found] == ["a"]

    play(story)


def test_an_instance_claims_what_has_its_uid_and_is_in_its_inventory() -> None:
    kinds = ServedKinds()
    store = InstanceStore(APPS, lambda key: None, lambda key, obj: None, by_uid=kinds.by_uid)
    kinds.add(Served(APPS, store, FakeWatch(APPS, None, {})))  # type: ignore[arg-type]
    recorded = {ANNOTATION_APPLYSET_GROUP_KINDS: "ConfigMap", ANNOTATION_APPLYSET_NAMESPACES: "team"}
    store.put(app(version=1, uid=OWNER, annotations=recorded))
    claims = claims_of(kinds)

    def is_claimed(resource: Resource = CONFIG_MAPS, namespace: str = "default", instance: str = OWNER) -> bool:
        return claims(Key(resource, namespace, "a"), config(version=1, instance=instance))

    assert is_claimed()
    assert is_claimed(namespace="team")
    assert not is_claimed(namespace="elsewhere")
    assert not is_claimed(SECRETS)
    assert not is_claimed(instance="unknown")
    store.put(app(version=2, uid=OWNER, annotations={ANNOTATION_APPLYSET_GROUP_KINDS: "no kind!"}))
    assert not is_claimed()


def test_children_are_listed_once_all_instances_are_known() -> None:
    """Otherwise, they would count as foreign, and be applied again."""

    async def story(bench: Bench) -> None:
        bench.auto, bench.error = False, None
        bench.serving.adopt(ITEMS)
        task = asyncio.create_task(bench.serve(CONFIG))
        await turns()
        assert [w.resource for w in bench.made] == [ITEMS, APPS]
        bench.made[0].synced.set()
        await asyncio.sleep(1)
        assert [w.resource for w in bench.made] == [ITEMS, APPS]
        bench.made[1].synced.set()
        await turns()
        assert [w.resource for w in bench.made] == [ITEMS, APPS, CONFIG_MAPS]
        bench.made[2].synced.set()
        await task

    play(story)


def test_events_are_counted_by_kind() -> None:
    async def story(bench: Bench) -> None:
        await bench.serve(CONFIG)
        instances, children = bench.of(APPS)[0].sink, bench.of(CONFIG_MAPS)[0].sink
        instances.event("ADDED", app(version=1, uid=OWNER))
        instances.event("DELETED", app(version=2, uid=OWNER))
        children.event("ADDED", config(version=1))
        children.event("MODIFIED", config(version=1))
        events = bench.metric("dynamic_controller_informer_events_total{")
        assert 'event_type="add",gvr="example.com/v1, Resource=apps"} 1.0' in events[0]
        assert 'event_type="delete"' in events[1]
        assert bench.metric("dynamic_controller_route_total{")[0].endswith(" 2.0")
        assert bench.metric("dynamic_controller_route_match_total{")[0].endswith(" 1.0")

    play(story)


def test_children_wake_the_instance_of_their_label_and_nobody_else() -> None:
    kinds, woken = ServedKinds(), list[Key]()
    store = InstanceStore(APPS, lambda key: None, lambda key, obj: None, by_uid=kinds.by_uid)
    store.put(app(version=1))
    wake = wake_by_uid(kinds, woken.append)
    wake("i1")
    wake("unknown")
    assert woken == [app_key()]
