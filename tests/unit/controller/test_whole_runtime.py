"""One controller on the fake server in virtual time: its metrics, log lines and Events."""

import asyncio
import hashlib
import logging
import random
import re
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from kroasync.controller.runtime import Runtime, RuntimeOptions
from kroasync.kube.api_errors import NotFoundError
from kroasync.metrics import Metrics
from kroasync.model.kinds import EVENTS, GRAPH_DEFINITIONS, REVISIONS
from kroasync.model.objects import Key, Obj, Resource
from tests.fakes import virtual
from tests.fakes.client import Answer, FakeClient
from tests.fakes.kube import FakeServer, StatusError
from tests.samples import CONFIG_MAPS, NAMESPACES, config_map, definition

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
APPS = Resource("kro.run", "v1alpha1", "App", "apps")
APP = Key(APPS, "default", "one")
DEFINITION = Key(GRAPH_DEFINITIONS, "", "app")


def app_definition(
    *, namespace: str = "", value: str = "${schema.spec.value}", status: dict[str, str] | None = None
) -> Obj:
    placed = {"namespace": namespace} if namespace else {}
    template = config_map("${schema.metadata.name}", data={"value": value}, **placed)
    return definition(
        "App",
        [
            {"id": "config", "template": template},
            {
                "id": "many",
                "forEach": [{"letter": "${['a', 'b']}"}],
                "template": config_map("${schema.metadata.name}-${letter}"),
            },
            {"id": "never", "includeWhen": ["${false}"], "template": {**template, "metadata": {"name": "never"}}},
        ],
        spec={"value": 'string | default="x"', "secret": 'string | default="hidden"'},
        status=status or {},
    )


class World:
    def __init__(self, group: asyncio.TaskGroup, options: RuntimeOptions) -> None:
        self.loop = asyncio.get_running_loop()
        self.server = FakeServer(now=self.now)
        self.metrics = Metrics(now=lambda: self.now().timestamp())
        self.user = FakeClient(self.server, actor="user")
        self.client = FakeClient(self.server, actor="controller", metrics=self.metrics)
        self.stop = asyncio.Event()
        self.keys: list[str] = []
        self._group, self._options = group, options
        self.runtime = self._runtime()
        self.task = group.create_task(self.runtime.run(self.stop))

    def _runtime(self) -> Runtime:
        return Runtime(
            self.client,
            options=self._options,
            metrics=self.metrics,
            clock=self.loop.time,
            now=self.now,
            rng=random.Random(1),
            begin=self.keys.append,
        )

    async def restart(self, *, edit: Obj) -> None:
        """Another process, which finds the definition edited, and its revisions gone."""
        self.stop.set()
        await self.task
        await self.user.merge_patch(DEFINITION, edit, manager="user")
        for revision in self.server.objects(REVISIONS):
            key = Key(REVISIONS, "", revision["metadata"]["name"])
            await self.user.merge_patch(key, {"metadata": {"finalizers": None}}, manager="user")
            await self.user.delete(key)
        self.stop = asyncio.Event()
        self.client = FakeClient(self.server, actor="controller", metrics=self.metrics)
        self.runtime = self._runtime()
        self.task = self._group.create_task(self.runtime.run(self.stop))
        await asyncio.sleep(5)

    def now(self) -> datetime:
        return EPOCH + timedelta(seconds=self.loop.time())

    async def define(self, **more: Any) -> None:
        await self.user.create(DEFINITION, app_definition(**more))
        await asyncio.sleep(5)

    async def instance(self, **spec: str) -> None:
        await self.user.create(APP, {"metadata": {"name": "one", "namespace": "default"}, "spec": spec})
        await asyncio.sleep(2)

    async def state(self) -> str:
        return str((await self.user.get(APP)).get("status", {}).get("state"))

    def samples(self) -> dict[str, float]:
        """The value of every sample, by name with labels."""
        lines = [line for line in self.metrics.render().decode().splitlines() if not line.startswith("#")]
        return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}

    def value(self, metric: str, /, **labels: str) -> float:
        """The sum over all samples of a name with these labels."""
        found = 0.0
        for sample, value in self.samples().items():
            base, _, rest = sample.partition("{")
            if base == metric and all(f'{k}="{v}"' in rest for k, v in labels.items()):
                found += value
        return found

    def events(self) -> list[tuple[str, str, str]]:
        return [(e["type"], e["reason"], e["note"]) for e in self.server.objects(EVENTS)]


Story = Callable[[World], Awaitable[None]]


def play(story: Story, **options: Any) -> None:
    async def main() -> None:
        async with asyncio.TaskGroup() as group:
            world = World(group, RuntimeOptions(**options))
            try:
                await story(world)
            finally:
                world.stop.set()

    virtual.run(main())


def test_every_metric_a_life_touches_is_fed() -> None:
    async def story(world: World) -> None:
        await world.define()
        await world.instance(value="1")
        assert await world.state() == "ACTIVE"
        path, gvr = "kro.run/v1alpha1/apps", "kro.run/v1alpha1, Resource=apps"
        configs = "/v1, Resource=configmaps"
        for name, labels in (
            ("dynamic_controller_reconcile_total", {"gvr": path}),
            ("dynamic_controller_reconcile_duration_seconds_count", {"gvr": path}),
            ("dynamic_controller_requeue_total", {"gvr": path, "type": "no_requeue"}),
            ("dynamic_controller_informer_events_total", {"gvr": gvr, "event_type": "add"}),
            ("dynamic_controller_informer_sync_duration_seconds_count", {"gvr": configs}),
            ("dynamic_controller_route_total", {"gvr": configs}),
            ("instance_reconcile_total", {"gvr": gvr}),
            ("instance_graph_resolution_success_total", {"gvr": gvr}),
            ("runtime_collection_size_count", {}),
            ("runtime_node_eval_total", {}),
            ("runtime_node_ignored_total", {}),
            ("rgd_graph_build_total", {"name": "app"}),
            ("rgd_graph_build_duration_seconds_count", {"name": "app"}),
            ("rgd_graph_revision_issue_total", {"reason": "no_revision"}),
            ("rgd_graph_revision_resolution_total", {"result": "issue"}),
            ("schema_resolver_cache_misses_total", {}),
            ("schema_resolver_api_call_duration_seconds_count", {}),
            ("schema_resolver_cache_size", {}),
            ("workqueue_adds_total", {"name": "dynamic-controller-queue"}),
            ("workqueue_adds_total", {"name": "ResourceGraphDefinition"}),
            ("workqueue_queue_duration_seconds_count", {"name": "dynamic-controller-queue"}),
            ("workqueue_work_duration_seconds_count", {"name": "ResourceGraphDefinition"}),
            ("dynamic_controller_watch_count", {}),
            ("cel_expr_eval_total", {}),
            ("cel_expr_eval_duration_seconds_count", {}),
            ("runtime_creation_total", {}),
            ("runtime_node_ignored_check_total", {}),
            ("runtime_node_ready_check_total", {}),
            ("dynamic_controller_handler_attach_total", {"type": "parent"}),
            ("graph_revision_compile_total", {"result": "success"}),
            ("graph_revision_compile_duration_seconds_count", {"result": "success"}),
            ("controller_runtime_reconcile_total", {"controller": "ResourceGraphDefinition", "result": "success"}),
            ("controller_runtime_reconcile_time_seconds_count", {"controller": "ResourceGraphDefinition"}),
            ("controller_runtime_max_concurrent_reconciles", {"controller": "ResourceGraphDefinition"}),
        ):
            assert world.value(name, **labels) > 0, name
        assert world.value("dynamic_controller_gvr_count") == 1
        assert world.value("dynamic_controller_instance_watch_count", parent_gvr=gvr) == 1
        assert world.value("graph_revision_registry_entries", state="active") == 1
        assert world.value("dynamic_controller_queue_length") == 0
        assert world.value("kroasync_workqueue_depth", state="delayed") == 1
        assert world.value("runtime_node_eval_errors_total") == 0
        await asyncio.sleep(20)
        assert 15 < world.value("kroasync_watch_last_event_age_seconds", gvr=configs) < 60
        await world.user.delete(DEFINITION)
        await asyncio.sleep(2)
        assert world.value("rgd_deletions_total", name="app") == 1
        assert world.value("rgd_deletion_duration_seconds_count", name="app") == 1
        served, left = (world.value(f"dynamic_controller_handler_{n}_total") for n in ("attach", "detach"))
        assert world.value("dynamic_controller_handler_count_total", type="parent") == served - left

    play(story)


def test_no_series_is_of_an_instance() -> None:
    async def story(world: World) -> None:
        await world.define()
        await world.instance()
        before = len(world.samples())
        for number in range(30):
            key = Key(APPS, "default", f"more-{number}")
            await world.user.create(key, {"metadata": {"name": key.name, "namespace": "default"}})
        await asyncio.sleep(5)
        assert len(world.samples()) - before < 10
        assert not [name for name in world.samples() if "more-" in name]

    play(story)


def test_a_kind_that_is_gone_leaves_no_series() -> None:
    """Its CRD is deleted while it has instances, whose last passes run afterwards."""

    async def story(world: World) -> None:
        await world.define()
        for number in range(5):
            key = Key(APPS, "default", f"more-{number}")
            await world.user.create(key, {"metadata": {"name": key.name, "namespace": "default"}})
        await asyncio.sleep(5)
        assert [name for name in world.samples() if "apps" in name or "Kind=App" in name]
        await world.user.delete(DEFINITION)
        await asyncio.sleep(30)
        assert [name for name in world.samples() if "apps" in name or "Kind=App" in name] == []
        assert world.value("rgd_deletions_total", name="app") == 1

    play(story, allow_crd_deletion=True)


def test_old_revisions_deleted_are_counted() -> None:
    async def story(world: World) -> None:
        await world.define()
        for value in ("a", "b"):
            spec = app_definition(value=value)["spec"]
            await world.user.merge_patch(DEFINITION, {"spec": spec}, manager="user")
            await asyncio.sleep(2)
        assert world.value("rgd_graph_revision_issue_total", reason="spec_changed") == 2
        assert world.value("rgd_graph_revision_gc_deleted_total") == 2

    play(story, max_revisions=1)


def test_a_refused_definition_is_counted() -> None:
    async def story(world: World) -> None:
        await world.define(value="${nobody.spec}")
        assert world.value("rgd_graph_build_errors_total", name="app") == 1
        assert world.value("rgd_graph_revision_resolution_total", result="failed") >= 1

    play(story)


def test_passes_that_change_something_are_one_line_of_the_log(caplog: pytest.LogCaptureFixture) -> None:
    async def story(world: World) -> None:
        await world.define()
        caplog.clear()
        await world.instance(value="1", secret="hunter2")
        lines = [r for r in caplog.records if r.name == "kroasync.runtime" and r.levelno == logging.INFO]
        [line] = [r for r in lines if r.__dict__["key"] == str(APP)]
        found = line.__dict__
        assert (line.getMessage(), found["outcome"], found["verdict"]) == ("pass", "ACTIVE", "no_requeue")
        assert found["changes"] == {"created": 3, "status written": 1}
        assert found["sent"] == 5  # metadata, three children, status
        assert found["took_ms"] >= 0
        assert "hunter2" not in caplog.text
        assert set(world.keys) == {str(DEFINITION), str(APP)}

    with caplog.at_level(logging.DEBUG, logger="kroasync"):
        play(story)


def test_passes_that_change_nothing_are_debug_lines(caplog: pytest.LogCaptureFixture) -> None:
    async def story(world: World) -> None:
        await world.define()
        await world.instance()
        caplog.clear()
        world.runtime.parts.queues.instances.add(APP)
        await asyncio.sleep(1)
        [line] = [r for r in caplog.records if r.name == "kroasync.runtime"]
        assert (line.levelno, line.__dict__["changes"], line.__dict__["sent"]) == (logging.DEBUG, {}, 0)

    with caplog.at_level(logging.DEBUG, logger="kroasync"):
        play(story)


def test_an_instance_without_a_graph_says_why_and_the_reason_is_counted() -> None:
    async def story(world: World) -> None:
        await world.define()
        await world.instance()
        await world.restart(edit={"spec": {"resources": [{"id": "config", "template": {"kind": "ConfigMap"}}]}})
        found = (await world.user.get(APP))["status"]
        assert found["state"] == "ERROR"
        resolved = next(c for c in found["conditions"] if c["type"] == "GraphResolved")
        assert (resolved["status"], resolved["reason"]) == ("False", "ResolutionFailed")
        assert resolved["message"].startswith("graph-engine build failed: ")
        assert world.value("instance_graph_resolution_failures_total", reason="build_failed") == 1

    play(story)


def test_a_pruned_child_that_hangs_is_named_and_what_it_reads_stays() -> None:
    async def story(world: World) -> None:
        included = {"includeWhen": ["${schema.spec.deep}"]}
        resources: list[Obj] = [
            {"id": "base", "template": config_map("base")},
            {"id": "mid", "template": config_map("mid", data={"b": "${base.metadata.name}"}), **included},
            {"id": "top", "template": config_map("top", data={"m": "${mid.metadata.name}"})},
        ]
        resources[-1]["template"]["metadata"]["finalizers"] = ["example.com/hold"]
        await world.user.create(DEFINITION, definition("App", resources, spec={"deep": "boolean | default=true"}))
        await asyncio.sleep(5)
        await world.instance()
        assert await world.state() == "ACTIVE"
        await world.user.merge_patch(APP, {"spec": {"deep": False}}, manager="user")
        await asyncio.sleep(2)
        found = (await world.user.get(APP))["status"]
        ready = next(c for c in found["conditions"] if c["type"] == "Ready")
        assert (found["state"], ready["status"]) == ("IN_PROGRESS", "False")
        assert "default/top (finalizers: example.com/hold)" in ready["message"]
        mid = Key(CONFIG_MAPS, "default", "mid")
        assert "deletionTimestamp" not in (await world.user.get(mid))["metadata"]
        top = Key(CONFIG_MAPS, "default", "top")
        await world.user.merge_patch(top, {"metadata": {"finalizers": None}}, manager="user")
        await asyncio.sleep(2)
        assert await world.state() == "ACTIVE"
        with pytest.raises(NotFoundError):
            await world.user.get(mid)

    play(story)


def test_the_loser_of_a_conflict_over_a_name_has_it_when_the_winner_is_gone() -> None:
    async def story(world: World) -> None:
        template = config_map("${schema.spec.target}", data={"by": "${schema.metadata.name}"})
        shared = definition("App", [{"id": "config", "template": template}], spec={"target": "string"})
        await world.user.create(DEFINITION, shared)
        await asyncio.sleep(5)
        keys = [replace(APP, name=name) for name in ("winner", "loser")]
        for key in keys:
            meta = {"name": key.name, "namespace": "default"}
            await world.user.create(key, {"metadata": meta, "spec": {"target": "shared"}})
            await asyncio.sleep(2)
        winner, loser = keys
        assert (await world.user.get(loser))["status"]["state"] == "ERROR"
        # By then its attempts are minutes apart.
        await asyncio.sleep(2000)
        await world.user.delete(winner)
        await asyncio.sleep(2)
        assert (await world.user.get(loser))["status"]["state"] == "ACTIVE"
        assert (await world.user.get(Key(CONFIG_MAPS, "default", "shared")))["data"] == {"by": "loser"}

    play(story)


def test_conditions_are_events_when_asked_for() -> None:
    async def story(world: World) -> None:
        await world.define()
        await world.instance()
        found = [event for event in world.events() if "->" in event[2]]
        assert ("Normal", "Ready") in [(type_, reason) for type_, reason, _ in found]
        assert all(re.fullmatch(r"(none|Unknown|True|False) -> (True|False|Unknown): \w*", note) for *_, note in found)
        count = len(found)
        world.runtime.parts.queues.instances.add(APP)
        await asyncio.sleep(2)
        assert len([event for event in world.events() if "->" in event[2]]) == count

    play(story, features=frozenset({"InstanceConditionEvents"}))


def test_conditions_are_no_events_by_default() -> None:
    async def story(world: World) -> None:
        await world.define()
        await world.instance()
        assert not [event for event in world.events() if "->" in event[2]]
        assert "Ready" in [reason for _, reason, _ in world.events()]

    play(story)


def test_what_is_too_long_for_a_label_is_told_once() -> None:
    async def story(world: World) -> None:
        long_id, long_name = "a" * 64, "n" * 64
        template = config_map("${schema.metadata.name}")
        reference = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "other"}}
        resources = [{"id": long_id, "template": template}, {"id": "b" * 64, "externalRef": reference}]
        await world.user.create(DEFINITION, definition("App", resources))
        await asyncio.sleep(5)
        key = replace(APP, name=long_name)
        await world.user.create(key, {"metadata": {"name": long_name, "namespace": "default"}, "spec": {}})
        await asyncio.sleep(2)
        world.runtime.parts.queues.instances.add(key)
        await asyncio.sleep(2)
        told = [(reason, note) for _, reason, note in world.events() if reason.endswith("Encoded")]
        assert sorted(reason for reason, _ in told) == ["InstanceLabelEncoded", "NodeIDEncoded"]
        for text, label in ((long_id, "node-id=h-"), (long_name, "instance-name=h-")):
            digest = hashlib.sha256(text.encode()).hexdigest()[:40]
            [note] = [note for _, note in told if f'"{text}" exceeds the 63 character label value limit' in note]
            assert f"kro.run/{label}{digest}" in note
        assert "internal.kro.run/node-path" in dict(told)["NodeIDEncoded"]
        assert "internal.kro.run/instance-name" in dict(told)["InstanceLabelEncoded"]

    play(story)


@pytest.mark.parametrize("gate", [True, False])
def test_ages_of_conditions_are_a_metric_when_asked_for(gate: bool) -> None:
    async def story(world: World) -> None:
        await world.define()
        await world.instance()
        await asyncio.sleep(100)
        name, labels = "instance_condition_current_status_seconds", {"name": "one", "condition_type": "Ready"}
        assert (95 < world.value(name, **labels) < 110) is gate
        await world.user.delete(APP)
        await asyncio.sleep(5)
        assert world.value(name, **labels) == 0

    play(story, features=frozenset({"InstanceConditionMetrics"} if gate else ()))


def test_a_namespace_nobody_announces_is_looked_for_within_the_requeue_interval() -> None:
    async def story(world: World) -> None:
        await world.define(namespace="later")
        await world.instance()
        await asyncio.sleep(120)
        assert await world.state() == "ERROR"
        await world.user.create(Key(NAMESPACES, "", "later"), {"metadata": {"name": "later"}})
        await asyncio.sleep(3.5)
        assert await world.state() == "ACTIVE"

    play(story, requeue_s=3.0)


def test_without_a_requeue_interval_the_backoff_grows() -> None:
    async def story(world: World) -> None:
        await world.define(namespace="later")
        await world.instance()
        await asyncio.sleep(120)
        await world.user.create(Key(NAMESPACES, "", "later"), {"metadata": {"name": "later"}})
        await asyncio.sleep(3.5)
        assert await world.state() == "ERROR"
        await asyncio.sleep(200)
        assert await world.state() == "ACTIVE"
        assert world.value("workqueue_retries_total", name="dynamic-controller-queue") < 15
        assert world.value("instance_reconcile_errors_total") > 5

    play(story, requeue_s=0.0)


@pytest.mark.parametrize(("held_s", "took_s"), [(0.2, 0.2), (3.0, 3.0), (60.0, 7.0)])
def test_stopping_waits_for_writes_that_were_sent_but_not_for_ever(held_s: float, took_s: float) -> None:
    """It sends no other request after the first second."""

    async def story(world: World) -> None:
        await world.define()
        sent: list[float] = []
        held = asyncio.Event()

        async def slow(method: str, _target: str) -> None:
            if method != "GET":
                sent.append(world.loop.time())
                await held.wait()

        world.client.meanwhile = slow
        await world.instance()
        began = world.loop.time()
        world.loop.call_later(held_s, held.set)
        world.stop.set()
        await asyncio.wait([world.task])
        assert world.loop.time() - began == pytest.approx(took_s, abs=0.1)
        assert sent
        assert max(sent) <= began + 1.0

    play(story, stop_after_s=7.0)


def test_stopping_does_not_wait_for_passes_that_only_read_or_are_told_to_come_back_later() -> None:
    async def story(world: World) -> None:
        await world.define()

        async def busy(method: str, _target: str) -> Answer:
            if method == "GET":
                await asyncio.Event().wait()
            return 429, b"{}", {"Retry-After": "20"}

        world.client.meanwhile = busy
        await world.instance()
        await asyncio.sleep(0.5)
        began = world.loop.time()
        world.stop.set()
        await asyncio.wait([world.task])
        assert world.loop.time() - began == pytest.approx(1.0, abs=0.1)

    play(story, stop_after_s=60.0)


def test_an_instance_the_server_refuses_is_counted_as_an_error() -> None:
    async def story(world: World) -> None:
        def refuse(resource: Resource, obj: Obj) -> None:
            if resource == CONFIG_MAPS:
                raise StatusError(403, "Forbidden", "not allowed")

        world.server.admit(refuse)
        await world.define()
        await world.instance()
        assert world.value("runtime_node_eval_errors_total") >= 1
        assert world.value("dynamic_controller_requeue_total", type="rate_limited") >= 1
        assert world.value("dynamic_controller_handler_errors_total") >= 1

    play(story)


def test_failed_passes_over_definitions_are_counted_as_controller_runtime_counts_them() -> None:
    async def story(world: World) -> None:
        async def broken(method: str, target: str) -> Answer | None:
            if method != "GET" and "customresourcedefinitions" in target:
                raise RuntimeError("a bug")
            return None

        def count(name: str, **labels: str) -> float:
            return world.value(f"controller_runtime_{name}", controller="ResourceGraphDefinition", **labels)

        world.client.meanwhile = broken
        await world.define()
        failures = count("reconcile_panics_total")
        assert failures >= 1
        assert count("reconcile_errors_total") == count("reconcile_total", result="error") == failures
        assert count("reconcile_total", result="success") == 0
        world.client.meanwhile = None
        await asyncio.sleep(20)
        assert count("reconcile_total", result="success") >= 1
        assert count("reconcile_panics_total") == failures
        assert count("reconcile_time_seconds_count") == count("reconcile_total")
        assert count("active_workers") == 0

    play(story)


def test_instances_say_that_their_definition_is_gone_and_recover_with_a_new_one() -> None:
    """
    Nothing heals an instance without a definition: its status says so, until there is one again.
    """

    async def story(world: World) -> None:
        await world.define()
        await world.instance(value="one")
        assert await world.state() == "ACTIVE"
        await world.user.delete(DEFINITION)
        await asyncio.sleep(5)
        assert await world.state() == "ERROR"
        conditions = {c["type"]: c for c in (await world.user.get(APP))["status"]["conditions"]}
        assert conditions["GraphResolved"]["status"] == "False"
        assert "the definition of this kind is gone" in conditions["GraphResolved"]["message"]
        await world.define()
        assert await world.state() == "ACTIVE"

    play(story)


def test_a_status_the_server_finds_too_big_is_written_without_the_authors_fields() -> None:
    async def story(world: World) -> None:
        def refuse(resource: Resource, obj: Obj) -> None:
            if resource == APPS and "echo" in (obj.get("status") or {}) and len(obj["status"]["echo"]) > 3:
                raise StatusError(500, "InternalError", "etcdserver: request is too large")

        world.server.admit(refuse)
        await world.define(status={"echo": "${config.data.value}"})
        await world.instance(value="long")
        assert await world.state() == "ACTIVE"
        found = (await world.user.get(APP))["status"]
        conditions = {c["type"]: c for c in found["conditions"]}
        assert "echo" not in found
        assert conditions["Error"]["reason"] == "StatusTooLarge"
        assert conditions["Error"]["message"] == "the API server refuses the status as too big; left out: echo"
        passes = len(world.keys)
        await asyncio.sleep(500)
        assert len(world.keys) == passes
        await world.user.merge_patch(APP, {"spec": {"value": "ok"}}, manager="user")
        await asyncio.sleep(2)
        found = (await world.user.get(APP))["status"]
        assert found["echo"] == "ok"
        assert "Error" not in {c["type"] for c in found["conditions"]}

    play(story)


def test_an_instance_too_big_for_any_status_is_not_tried_again_and_again() -> None:
    async def story(world: World) -> None:
        def refuse(resource: Resource, obj: Obj) -> None:
            if resource == APPS and "status" in obj:
                raise StatusError(413, "RequestEntityTooLarge", "the request is too large")

        world.server.admit(refuse)
        await world.define()
        await world.instance()
        assert len(world.server.objects(CONFIG_MAPS)) == 3
        passes = len(world.keys)
        await asyncio.sleep(300)
        assert len(world.keys) == passes

    play(story)


def test_without_room_for_anything_all_is_done_as_usual() -> None:
    """Instances are read and children applied again, but no existing object is written."""

    async def story(world: World) -> None:
        room = world.runtime.parts.caches.room
        room.loose = room.packed = 0
        await world.define(status={"value": "${config.data.value}"})
        await world.instance(value="one")
        served, config = world.runtime.parts.caches.kinds.get(APPS), Key(CONFIG_MAPS, "default", "one")
        assert served is not None
        assert not served.instances.is_whole(APP)
        assert await world.state() == "ACTIVE"
        assert (await world.user.get(config))["data"] == {"value": "one"}
        await world.user.merge_patch(APP, {"spec": {"value": "two"}}, manager="user")
        await asyncio.sleep(2)
        assert (await world.user.get(APP))["status"]["value"] == "two"
        await world.user.merge_patch(config, {"data": {"value": "three"}}, manager="user")
        await asyncio.sleep(2)
        assert (await world.user.get(config))["data"] == {"value": "two"}
        before, asked = world.server.version, world.value("rest_client_requests_total")
        await asyncio.sleep(300)
        assert world.server.version == before
        assert world.value("rest_client_requests_total") - asked < 10
        await world.user.delete(APP)
        await asyncio.sleep(2)
        assert world.server.objects(CONFIG_MAPS) == []
        assert world.server.objects(APPS) == []

    play(story)


def test_objects_labelled_like_children_are_counted_and_forgotten() -> None:
    async def story(world: World) -> None:
        labels = {"kro.run/owned": "true", "kro.run/node-id": "x", "kro.run/instance-id": "nobody"}
        await world.define()
        await world.instance(value="one")
        assert world.value("kroasync_strangers") == 0
        stranger = Key(CONFIG_MAPS, "default", "stranger")
        await world.user.create(stranger, {"metadata": {"name": "stranger", "namespace": "default", "labels": labels}})
        await asyncio.sleep(1)
        assert world.value("kroasync_strangers", gvr="/v1, Resource=configmaps") == 1
        await world.user.delete(stranger)
        await asyncio.sleep(1)
        assert world.value("kroasync_strangers") == 0

    play(story)
