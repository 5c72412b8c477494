"""The process: every setting has an effect, every option has a reader, and readiness shows the watches."""

import ast
import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import pytest

import kroasync.app
import kroasync.controller.runtime
from kroasync.app import DEPOSED, FAILED, STOPPED, Process, api_problem, kinds_problem, runtime_options, watch_lines
from kroasync.controller.runtime import RuntimeOptions
from kroasync.engine.plan import Options
from kroasync.kube.api_errors import UnauthorizedError, UnreachableError
from kroasync.kube.lease import Elector
from kroasync.kube.standing import Standing
from kroasync.model.kinds import CRDS, REVISIONS
from kroasync.model.objects import Key, Obj, Resource
from kroasync.model.policies import FORMS, Adoption, Conflicts, Deletion, Policies, Update
from kroasync.settings import Settings
from tests.fakes.client import FakeClient
from tests.fakes.kube import FakeServer
from tests.simulation.family import Node, Shape, Spec, definition_key, instance_key, manifest

SETTINGS = [entry.name for entry in fields(Settings)]


def other(name: str) -> Any:
    """A valid value that is not the default."""
    value = getattr(Settings(), name)
    match value:
        case bool():
            return not value
        case float() | int():
            return value + 7
        case frozenset():
            return frozenset({"InstanceConditionEvents"})
        case tuple():
            return ("example.com/",)
        case str() if name.endswith("_policy"):
            return list(FORMS[name.split("_")[1]])[-1].value
        case _:
            return "other"


def read_in(module: Path, *holders: str) -> set[str]:
    """The names of the attributes that a module reads from these variables (`settings` or `self._settings`)."""
    tree = ast.parse(module.read_text(encoding="utf-8"))
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
            holder = node.value
            name = holder.attr if isinstance(holder, ast.Attribute) else getattr(holder, "id", "")
            if name in holders:
                found.add(node.attr)
    return found


@pytest.mark.parametrize("name", SETTINGS)
def test_every_setting_is_read(name: str) -> None:
    assert name in read_in(Path(kroasync.app.__file__), "settings", "_settings")


@pytest.mark.parametrize("name", [entry.name for entry in fields(RuntimeOptions)])
def test_every_option_of_the_controller_is_read_by_it(name: str) -> None:
    folder = Path(kroasync.controller.runtime.__file__).parent
    assert any(name in read_in(path, "options", "_options") for path in sorted(folder.glob("*.py")))


CONTROLLER = [
    "workers",
    "resource_graph_definition_concurrent_reconciles",
    "dynamic_controller_rate_limiter_min_delay_s",
    "dynamic_controller_rate_limiter_max_delay_s",
    "dynamic_controller_default_resync_period_s",
    "instance_requeue_interval_s",
    "rgd_progress_requeue_delay_s",
    "idle_watch_deadline_s",
    "graceful_shutdown_timeout_s",
    "allow_crd_deletion",
    "rgd_max_collection_size",
    "rgd_max_collection_dimension_size",
    "max_evaluation_steps",
    "max_pass_steps",
    "max_object_bytes",
    "rgd_max_graph_revisions",
    "label_propagation_exclude",
    "kro_namespaces",
    "default_adoption_policy",
    "default_deletion_policy",
    "default_update_policy",
    "default_conflicts_policy",
    "version_label",
    "events",
    "feature_gates",
]


@pytest.mark.parametrize("name", CONTROLLER)
def test_what_the_controller_is_told_follows_the_setting(name: str) -> None:
    usual = runtime_options(Settings(), identity="i")
    assert runtime_options(replace(Settings(), **{name: other(name)}), identity="i") != usual


def test_the_default_policies_are_those_of_a_definition_without_any() -> None:
    """The offline commands use `Policies()`, as a controller without flags does."""
    assert runtime_options(Settings(), identity="i").engine.policies == Options().policies == Policies()
    names = ("default_adoption_policy", "default_deletion_policy", "default_update_policy", "default_conflicts_policy")
    changed = replace(Settings(), **{name: other(name) for name in names})
    assert runtime_options(changed, identity="i").engine.policies == Policies(
        adoption=Adoption.NEVER, deletion=Deletion.ORPHAN, update=Update.RECREATE, conflicts=Conflicts.FAIL
    )


async def test_how_long_a_watch_is_silent_is_told_by_the_clock_of_the_process() -> None:
    now = 5.0
    on = stage(clock=lambda: now)
    running = asyncio.create_task(on.process.control(on.client, None))
    await asyncio.sleep(0.1)
    assert on.process._kinds_check() is None
    now += 2 * Settings().idle_watch_deadline_s + 1
    silent = f"silent for {now - 5.0:.0f} s"
    assert silent in str(on.process._kinds_check())
    assert all(f"{now - 5.0:.0f} s" in line for line in on.process._watch_lines())
    on.process.stop()
    await running


def test_other_settings_do_not_reach_the_controller() -> None:
    usual = runtime_options(Settings(), identity="i")
    for name in set(SETTINGS) - set(CONTROLLER):
        assert runtime_options(replace(Settings(), **{name: other(name)}), identity="i") == usual


def test_kros_single_worker_for_definitions_does_not_make_them_wait_for_each_other() -> None:
    few = replace(Settings(), resource_graph_definition_concurrent_reconciles=1)
    assert runtime_options(few, identity="i").definition_workers == 4


NOW = 1000.0


@dataclass
class FakeWatch:
    age_s: float
    synced: asyncio.Event = field(default_factory=asyncio.Event)
    error: str | None = None

    def last_event_age_s(self, now: float) -> float:
        assert now == NOW
        return self.age_s


def synced(age_s: float, error: str | None = None) -> FakeWatch:
    watch = FakeWatch(age_s, error=error)
    watch.synced.set()
    return watch


def test_readiness_lists_every_watch_with_its_age() -> None:
    watches = {"b": synced(3.2), "a": FakeWatch(70.0), "c": FakeWatch(1.0, error="forbidden")}
    assert watch_lines(watches.items(), NOW) == [
        "a: not synced, 70 s",
        "b: synced, 3 s",
        "c: not synced, 1 s (forbidden)",
    ]
    assert Process(Settings())._watch_lines() == []


@pytest.mark.parametrize(
    ("watch", "problem"),
    [
        (synced(299.0), None),
        (synced(301.0), "w silent for 301 s"),
        (FakeWatch(0.0), "w not synced"),
        (FakeWatch(0.0, error="forbidden"), None),
        (synced(301.0, error="forbidden"), None),
    ],
)
def test_when_the_kinds_are_ready(watch: FakeWatch, problem: str | None) -> None:
    """A watch is late after twice the idle deadline; the definition that needs a forbidden kind reports the kind."""
    limit_s = 2 * Settings().idle_watch_deadline_s
    assert kinds_problem([("w", watch)], NOW, limit_s) == problem


async def test_a_candidate_that_cannot_have_the_lease_is_not_ready() -> None:
    """A standby reports that it is one, and who leads."""
    on = stage(replace(Settings(), leader_elect=True))
    refusing = Breaking(on.server)
    one = Elector(FakeClient(on.server), "default", "lease", "one")
    two = Elector(refusing, "default", "lease", "two", retry_period_s=0.05)
    await one.acquire()
    refusing.refuse = True
    async with asyncio.timeout(ENDS_WITHIN_S), asyncio.TaskGroup() as group:
        running = group.create_task(on.process.control(on.client, two))
        while "cannot get" not in (on.process._lease_check() or ""):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        refusing.refuse = False
        while on.process._lease_check() is not None:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        assert on.process._lease_lines() == ["standby; the leader is one"]
        on.process.stop()
        assert await running == STOPPED


def test_a_process_whose_token_is_refused_is_not_ready() -> None:
    now = 0.0
    standing = Standing(lambda: now)
    assert api_problem([], standing.problem()) is None
    for _ in range(3):
        standing.answered(UnauthorizedError("revoked", status=401))
    now += 11
    assert "revoked" in str(api_problem([], standing.problem()))
    assert api_problem([("w", FakeWatch(0.0, error="forbidden"))], None) == "w: forbidden"


# The end of a process

ENDS_WITHIN_S = 10.0


class BrokenMetric:
    """Raises at every use."""

    def __call__(self, *_values: object) -> None:
        raise ZeroDivisionError

    observe = set = inc = __call__


@dataclass
class Stage:
    """A running process with a cluster in memory, and its user."""

    process: Process
    server: FakeServer
    client: FakeClient
    user: FakeClient

    async def define(self) -> None:
        await self.user.create(definition_key(0), manifest(0, Shape(nodes=(Node(id="a"),))))

    async def make(self) -> None:
        key = instance_key(0, 0)
        while not any(resource == key.resource for resource in self.server.served()):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        meta = {"name": key.name, "namespace": key.namespace}
        await self.user.create(key, {"metadata": meta, "spec": Spec().manifest()})


class Breaking(FakeClient):
    """A client that raises an unexpected error for requests with this method and path."""

    method = ""
    path = ""
    refuse = False

    async def _exchange(
        self, method: str, target: str, data: bytes | None, content_type: str, timeout_s: float
    ) -> tuple[int, bytes, dict[str, str]]:
        if self.refuse:
            return 403, b'{"kind":"Status","reason":"Forbidden","message":"leases is forbidden: cannot get"}', {}
        if self.path and method == self.method and self.path in target:
            raise ZeroDivisionError
        return await super()._exchange(method, target, data, content_type, timeout_s)

    async def list(self, resource: Resource, namespace: str = "", **more: Any) -> tuple[list[Obj], str]:  # type: ignore[override]
        if self.method == "LIST" and resource == CRDS:
            raise UnreachableError("away")
        return await super().list(resource, namespace, **more)


async def break_watch(stage: Stage) -> None:
    assert isinstance(stage.client, Breaking)
    stage.client.method, stage.client.metrics = "LIST", stage.process._metrics
    stage.process._metrics.kroasync_watch_errors_total = BrokenMetric()  # type: ignore[assignment]


async def break_consumer(stage: Stage) -> None:
    stage.process._metrics.workqueue_queue_duration_seconds = BrokenMetric()  # type: ignore[assignment]
    await stage.define()


async def break_recorder(stage: Stage) -> None:
    assert isinstance(stage.client, Breaking)
    stage.client.method, stage.client.path = "POST", "/events"
    await stage.define()
    await stage.make()


async def break_pulse(stage: Stage) -> None:
    stage.process._metrics.kroasync_event_loop_lag_seconds = BrokenMetric()  # type: ignore[assignment]


async def break_revisions(stage: Stage) -> None:
    assert isinstance(stage.client, Breaking)
    await stage.define()
    while not (revisions := stage.server.objects(REVISIONS)):  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.5)
    stage.client.method, stage.client.path = "PATCH", "/graphrevisions/"
    await stage.user.delete(Key(REVISIONS, "", revisions[0]["metadata"]["name"]))


def stage(settings: Settings | None = None, *, clock: Callable[[], float] = time.monotonic) -> Stage:
    server = FakeServer()
    return Stage(
        Process(settings or Settings(), clock=clock), server, Breaking(server), FakeClient(server, actor="user")
    )


@pytest.mark.parametrize("fail", [break_watch, break_consumer, break_recorder, break_pulse, break_revisions])
async def test_an_exception_in_a_long_lived_task_ends_the_process(
    fail: Callable[[Stage], Any], caplog: pytest.LogCaptureFixture
) -> None:
    on = stage()
    async with asyncio.timeout(ENDS_WITHIN_S), asyncio.TaskGroup() as group:
        group.create_task(fail(on))
        assert await on.process.control(on.client, None) == FAILED
    assert "a long-lived task failed; exiting" in caplog.text


async def test_a_process_that_is_asked_to_stop_ends_well() -> None:
    on = stage()
    asyncio.get_running_loop().call_later(0.3, on.process.stop)
    async with asyncio.timeout(ENDS_WITHIN_S):
        assert await on.process.control(on.client, None) == STOPPED


@pytest.mark.parametrize("warm", [True, False])
async def test_a_process_ends_as_deposed_at_the_first_write_after_its_lead(
    warm: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """Long before the next renewal. The process no longer writes statuses and Events."""
    on = stage(replace(Settings(), leader_elect=True, enable_controller_warmup=warm))
    late_s = 0.0
    elector = Elector(
        FakeClient(on.server, actor="elections"), "default", "lease", "one", clock=lambda: time.monotonic() + late_s
    )
    client = FakeClient(on.server, actor="controller", may_write=elector.may_write)
    writes: list[str] = []
    with caplog.at_level(logging.ERROR):
        async with asyncio.timeout(ENDS_WITHIN_S), asyncio.TaskGroup() as group:
            running = group.create_task(on.process.control(client, elector))
            await on.define()
            await on.make()
            await asyncio.sleep(0.2)
            on.server.observe(lambda write: writes.append(write.actor))
            late_s = 60.0
            await on.user.merge_patch(instance_key(0, 0), {"spec": {"value": "b"}}, manager="kubectl-edit")
            assert await running == DEPOSED
    assert "the lead is lost; exiting" in caplog.text
    assert writes == ["user"]


async def test_an_event_loop_that_does_not_turn_is_not_alive() -> None:
    """If it answers at all: the health server uses the same event loop, and a probe has a deadline."""
    now = 0.0
    on = stage(clock=lambda: now)
    running = asyncio.create_task(on.process.control(on.client, None))
    await asyncio.sleep(0.1)
    assert on.process._loop_check() is None
    now += 10.5
    assert "has not turned for" in str(on.process._loop_check())
    on.process.stop()
    await running
