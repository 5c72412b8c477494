"""Plays a story on the real controller in virtual time, and checks the invariants at every write and at the end."""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp

from kroasync.controller.runtime import Runtime, RuntimeOptions
from kroasync.kube.api_errors import ApiError, NotFoundError
from kroasync.metrics import Metrics
from kroasync.model.kinds import CRDS, GRAPH_DEFINITIONS, GROUPS, REVISIONS
from kroasync.model.names import (
    ANNOTATION_ALLOW_BREAKING,
    ANNOTATION_RECONCILE,
    LABEL_DEFINITION_ID,
    LABEL_DEFINITION_NAME,
    LABEL_INSTANCE_ID,
    LABEL_NODE_ID,
    LABEL_OWNED,
    MANAGER_CHILDREN,
)
from kroasync.model.objects import Key, Obj, Resource, labels_of
from tests.fakes import virtual
from tests.fakes.client import FakeClient, Fault, Network
from tests.fakes.kube import FakeServer, StatusError, Stream, Write
from tests.samples import CONFIG_MAPS, DEPLOYMENTS, NAMESPACES
from tests.simulation.family import (
    EXTERNAL,
    EXTERNAL_TOKEN,
    HOME,
    OTHER,
    Child,
    Shape,
    Spec,
    crd_of,
    expected,
    instance_key,
    manifest,
    resource_of,
    telling,
)
from tests.simulation.memory import remembered
from tests.simulation.seals import SEALED
from tests.simulation.story import Step, Story

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
# Longer than the longest backoff of the runs, and shorter than the resync, which would hide a lost wake-up.
CONVERGED_WITHIN_S = 150.0
# A contested child is restored once more after its own pause.
FIGHT_FORGOTTEN_S = 320.0
SILENCE_NOTICED_S = 200.0
# Longer than the resync of a pass that waits for an event.
QUIET_S = 700.0
REMEMBERED_S = 30.0
# The deadline of a request without an answer, and the pause before the retry.
UNANSWERED_S = 60.0
OPTIONS = RuntimeOptions(max_delay_s=20.0, stop_after_s=30.0, workers=8, engine=SEALED)
CHILD_KINDS = (CONFIG_MAPS, DEPLOYMENTS)
REFUSAL = "the policy forbids it"
_CONTROLLER = "controller"
_METRICS = Metrics()


@dataclass(slots=True)
class Report:
    """The result of one story."""

    violations: list[str] = field(default_factory=list)
    requests: int = 0
    injected: dict[str, int] = field(default_factory=dict)
    virtual_s: float = 0.0
    # The turns of the event loop at the start of each step, after convergence, and after the deletion.
    turns: list[int] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        return not self.violations


class _Errors(logging.Handler):
    """Collects the bugs that the controller logs."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.found: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        trace = ""
        if record.exc_info:
            trace = "\n" + logging.Formatter().formatException(record.exc_info)
        if record.name == "watch-manager" and "injected 403" in record.getMessage():
            return  # the log reports a missing permission to an operator
        self.found.append(f"{record.name}: {record.getMessage()}{trace}")


@contextmanager
def _logged_errors() -> Iterator[list[str]]:
    handler, root = _Errors(), logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.ERROR)
    try:
        yield handler.found
    finally:
        root.removeHandler(handler)
        root.setLevel(level)


class World:
    """One story in progress: the server, the controller, its users, and the record of what happened."""

    def __init__(self, story: Story, *, crash_at: int | None = None, quiet_s: float = QUIET_S) -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, virtual.VirtualLoop)
        self.loop = loop
        self.story = story
        self._quiet_s = quiet_s
        if crash_at is not None:
            loop.at_turn = (crash_at, self._crash_here)
        self.report = Report()
        self.server = FakeServer(now=self.now)
        self.server.deployment_ready_s = story.deployment_s
        self.server.observe(self._observe)
        self.network = Network(random.Random(f"network {story.seed}"))
        self.user = FakeClient(self.server, actor="user")
        self.options = replace(OPTIONS, allow_crd_deletion=story.deletes_crds)
        # The current definitions by number, all shapes so far by kind, and the desired instances by kind.
        self.defined: dict[int, Shape] = {}
        self.declared: dict[int, Shape] = {}
        self.shapes: dict[int, list[Shape]] = {}
        self.wanted: dict[tuple[int, int], Spec] = {}
        self.foreign: dict[Key, str] = {}
        kinds = {step.kind for step in story.steps}
        self.has_silence = "silence" in kinds
        self.within_s = CONVERGED_WITHIN_S + (FIGHT_FORGOTTEN_S if "fight" in kinds else 0.0)
        if story.refused:
            self.server.admit(self._refuse)
        self.network.page = story.page
        self.runtime: Runtime | None = None
        self._ours: set[str] = set()
        self._ready: set[tuple[str, str]] = set()
        self._runtime: asyncio.Task[None] | None = None
        self._stop = asyncio.Event()
        self._users: set[asyncio.Task[None]] = set()
        self._guests: set[asyncio.Task[None]] = set()
        self._external_seen = False
        self._epochs = 0
        self._writes: list[str] = []

    def now(self) -> datetime:
        return EPOCH + timedelta(seconds=self.loop.time())

    # The story

    async def play(self) -> Report:
        """Play everything: the steps, convergence, quiet, deletion, the end."""
        await self.user.create(Key(NAMESPACES, "", OTHER), {"metadata": {"name": OTHER}})
        began = self.loop.time()
        self.start()
        for step in self.story.steps:
            await asyncio.sleep(max(0.0, began + step.at_s - self.loop.time()))
            self.report.turns.append(self.loop.turns)
            await self._do(step)
        await self._settle()
        self.report.turns.append(self.loop.turns)
        if self.report.ok:
            await self._quiet()
        if self.report.ok:
            await self._end()
        self.report.turns.append(self.loop.turns)
        await self._shut_down()
        self.report.requests = self.network.requests
        self.report.injected = self.network.injected
        self.report.virtual_s = self.loop.time() - virtual.START_S
        return self.report

    def violated(self, text: str) -> None:
        self.report.violations.append(f"{self.loop.time() - virtual.START_S:.2f} s: {text}")

    def start(self) -> None:
        """A new process of the controller."""
        self._epochs += 1
        client = FakeClient(self.server, actor=_CONTROLLER, network=self.network, metrics=_METRICS)
        self._stop = asyncio.Event()
        self.network.floor = self.server.version
        self.runtime = runtime = Runtime(
            client,
            options=self.options,
            metrics=_METRICS,
            clock=self.loop.time,
            now=self.now,
            rng=random.Random(f"runtime {self.story.seed} {self._epochs}"),
        )
        self._runtime = self.loop.create_task(runtime.run(self._stop), name="runtime")

    async def crash(self) -> None:
        """The process ends at once; its requests in flight get no answer."""
        task, self._runtime = self._runtime, None
        if task is None:
            return
        if task.done():
            self._examine(task)
            return
        task.cancel()
        await asyncio.wait([task])
        if not task.cancelled():
            self._examine(task)

    def _crash_here(self) -> None:
        """The process ends during a turn of the event loop; another one starts after it."""
        task = self._runtime
        if task is not None and not task.done():
            task.cancel()
            task.add_done_callback(lambda _: self.start())

    def _examine(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and task.exception() is not None:
            self.violated(f"the runtime ended: {_flat(task.exception())}")

    async def stop(self) -> None:
        """The process is asked to stop."""
        task, self._runtime = self._runtime, None
        if task is None:
            return
        self._stop.set()
        done, _ = await asyncio.wait([task], timeout=self.options.stop_after_s + 10)
        if not done:
            self.violated("the runtime did not stop when asked to")
            task.cancel()
            await asyncio.wait([task])
        elif task.cancelled() or task.exception() is not None:
            self.violated(f"the runtime did not stop cleanly: {_flat(task.exception())}")

    def _some_streams(self, step: Step) -> list[Stream]:
        return self.server.streams()[step.pick % 3 :: 3]

    async def _do(self, step: Step) -> None:
        kind = self.story.place(step.definition).kind
        if self._runtime is not None and self._runtime.done():
            self._examine(self._runtime)
            self.start()
        match step.kind:
            case "define" | "redefine":
                assert step.shape is not None
                self.defined[step.definition] = self.declared[step.definition] = step.shape
                self.shapes.setdefault(kind, []).append(step.shape)
                self._spawn(self._define(step.definition))
            case "undefine":
                self.defined.pop(step.definition, None)
                if self.story.deletes_crds and not self._claimants(kind):
                    for known in [k for k in self.wanted if k[0] == kind]:
                        del self.wanted[known]
                self._spawn(self._undefine(step.definition))
            case "create" | "update":
                assert step.spec is not None
                self.wanted[kind, step.instance] = step.spec
                self._spawn(self._make(kind, step.instance))
            case "delete":
                self.wanted.pop((kind, step.instance), None)
                await self._try(self.user.delete(instance_key(kind, step.instance)))
            case "recreate":
                assert step.spec is not None
                await self._try(self.user.delete(instance_key(kind, step.instance)))
                self.wanted[kind, step.instance] = step.spec
                self._spawn(self._make(kind, step.instance))
            case "suspend":
                self._visit(self._suspend(instance_key(kind, step.instance), step.seconds))
            case "external":
                await self._external(present=step.seconds != 1.0)
            case "namespace":
                self._visit(self._without_namespace(step.seconds))
            case "crd":
                await self._try(self.user.delete(crd_of(kind)))
            case "fault" | "forbid" | "unserve" | "stale" | "expire":
                now = self.loop.time()
                self.network.faults.append(
                    Fault(
                        kind=step.fault,
                        begin_s=now,
                        end_s=now + step.seconds,
                        rate=step.rate,
                        methods=step.methods,
                        path=step.path,
                    )
                )
            case "cut":
                for stream in self._some_streams(step):
                    stream.cut(aiohttp.ClientPayloadError("cut"))
            case "delay":
                for stream in self._some_streams(step):
                    stream.hold(step.seconds)
            case "repeat":
                for stream in self._some_streams(step):
                    stream.repeat(1 + step.pick)
            case "refuse":
                code, reason = ((410, "Expired"), (500, "InternalError"), (504, "Timeout"))[
                    step.instance + step.pick % 2
                ]
                for stream in self._some_streams(step):
                    stream.fail(code, reason, "too old" if code == 410 else "etcdserver: request timed out")
            case "mark":
                for stream in self.server.streams():
                    stream.mark()
            case "silence":
                for stream in self.server.streams():
                    stream.silent = True
            case "compact":
                self.server.compact()
            case "crash":
                await self.crash()
                await asyncio.sleep(step.seconds)
                self.start()
            case "restart":
                await self.stop()
                self.start()
            case _:
                await self._meddle(step)

    async def _meddle(self, step: Step) -> None:
        """Somebody else changes or deletes a child."""
        children = self.children()
        if not children:
            return
        key, obj = children[step.pick % len(children)]
        if step.kind == "scale":
            await self._scale(key, obj, step)
            return
        field_path: Obj
        if key.resource == CONFIG_MAPS:
            field_path = {"data": {"value": "meddled"}}
        else:
            field_path = {"spec": {"replicas": 5}}
        match step.kind:
            case "edit":
                await self._try(self.user.merge_patch(key, field_path, manager="kubectl-edit"))
            case "kill":
                await self._try(self.user.delete(key))
            case "steal":
                body = {"apiVersion": obj["apiVersion"], "kind": obj["kind"], **field_path}
                body["metadata"] = {"name": key.name}
                await self._try(self.user.apply(key, body, manager="other-tool", force=True))
            case "copy":
                name = f"copy-{step.pick}-{key.name}"
                # Everybody may use our field manager, in another namespace, and block the deletion with a finalizer.
                place = OTHER if step.pick % 2 else HOME
                copy = Key(CONFIG_MAPS, place, name)
                meta: Obj = {"name": name, "namespace": place, "labels": dict(labels_of(obj))}
                meta["annotations"] = dict(obj["metadata"].get("annotations", {}))
                if place == HOME and step.pick % 3 == 0:
                    meta["finalizers"] = ["example.com/hold"]
                body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": {"mine": "yes"}}
                created = await self._try(self.user.create(copy, body, manager=MANAGER_CHILDREN))
                if created is not None:
                    self.foreign[copy] = created["metadata"]["uid"]
            case "fight":
                self._visit(self._fight(key, obj, field_path, step.seconds))
            case "hold":
                self._spawn(self._hold(key, step.seconds))

    # Users, who retry until they succeed

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = self.loop.create_task(work, name="user")
        self._users.add(task)
        task.add_done_callback(self._users.discard)

    def _visit(self, work: Coroutine[Any, Any, None]) -> None:
        """Somebody who stops before everything settles."""
        self._guests.add(self.loop.create_task(work, name="guest"))

    async def _try(self, work: Awaitable[Obj | None]) -> Obj | None:
        try:
            return await work
        except ApiError:
            return None

    async def _define(self, definition: int) -> None:
        place = self.story.place(definition)
        key = place.key
        while (shape := self.defined.get(definition)) is not None:
            try:
                found = await self._get(key)
                wanted = manifest(definition, shape, place)
                if found is None:
                    await self.user.create(key, wanted, manager="kubectl-create")
                    return
                if "deletionTimestamp" not in found["metadata"]:
                    annotations = {ANNOTATION_ALLOW_BREAKING: "true"}
                    patch = {"spec": wanted["spec"], "metadata": {"annotations": annotations}}
                    await self.user.merge_patch(key, patch, manager="kubectl-edit")
                    return
            except ApiError:
                pass
            await asyncio.sleep(0.3)

    async def _undefine(self, definition: int) -> None:
        await self._try(self.user.delete(self.story.place(definition).key))

    async def _make(self, kind: int, instance: int) -> None:
        key = instance_key(kind, instance)
        while (spec := self.wanted.get((kind, instance))) is not None:
            try:
                found = await self._get(key)
                if found is None:
                    meta = {"name": key.name, "namespace": key.namespace}
                    body = {"apiVersion": key.resource.api_version, "kind": key.resource.kind, "metadata": meta}
                    await self.user.create(key, {**body, "spec": spec.manifest()}, manager="kubectl-create")
                    return
                if "deletionTimestamp" not in found["metadata"]:
                    await self.user.merge_patch(key, {"spec": spec.manifest()}, manager="kubectl-edit")
                    return
            except ApiError:
                pass
            await asyncio.sleep(0.5)

    async def _suspend(self, key: Key, seconds: float) -> None:
        """Somebody suspends an instance for a while."""
        for value in ("disabled", None):
            patch = {"metadata": {"annotations": {ANNOTATION_RECONCILE: value}}}
            await self._try(self.user.merge_patch(key, patch, manager="kubectl-annotate"))
            await asyncio.sleep(seconds)

    async def _without_namespace(self, seconds: float) -> None:
        """The other namespace is deleted with everything in it, and created again."""
        key = Key(NAMESPACES, "", OTHER)
        await self._try(self.user.delete(key))
        self.foreign = {copy: uid for copy, uid in self.foreign.items() if copy.namespace != OTHER}
        for definition in [d for d in self.defined if self.story.place(d).namespace == OTHER]:
            del self.defined[definition]
        await asyncio.sleep(seconds)
        while True:
            found = await self._get(key)
            if found is None:
                await self._try(self.user.create(key, {"metadata": {"name": OTHER}}))
                return
            if "deletionTimestamp" not in found["metadata"]:
                return
            await asyncio.sleep(0.5)

    async def _scale(self, key: Key, obj: Obj, step: Step) -> None:
        """An autoscaler sets the replicas of a Deployment that does not declare them."""
        if key.resource != DEPLOYMENTS or not self._is_scaled(obj):
            return
        replicas = 2 + step.pick % 5
        await self._try(self.user.merge_patch(key, {"spec": {"replicas": replicas}}, manager="autoscaler"))

    def _is_scaled(self, obj: Obj) -> bool:
        """No definition ever declared the replicas of this Deployment."""
        node = labels_of(obj).get(LABEL_NODE_ID, "")
        known = (shape.node(node) for shapes in self.shapes.values() for shape in shapes)
        return all(found is None or found.scaled for found in known)

    async def _fight(self, key: Key, obj: Obj, content: Obj, seconds: float) -> None:
        """Another controller sets a field to another value, and gives up after a while."""
        body = {"apiVersion": obj["apiVersion"], "kind": obj["kind"], "metadata": {"name": key.name}, **content}
        end_s = self.loop.time() + seconds
        while self.loop.time() < end_s:
            if await self._get(key) is not None:
                await self._try(self.user.apply(key, body, manager="other-controller", force=True))
            await asyncio.sleep(0.3)

    async def _hold(self, key: Key, seconds: float) -> None:
        found = await self._get(key)
        if found is None or "deletionTimestamp" in found["metadata"]:
            return
        version = found["metadata"]["resourceVersion"]
        patch = {"metadata": {"finalizers": ["example.com/hold"], "resourceVersion": version}}
        if await self._try(self.user.merge_patch(key, patch, manager="holder")) is None:
            return
        await asyncio.sleep(seconds)
        await self._try(self.user.merge_patch(key, {"metadata": {"finalizers": None}}, manager="holder"))

    async def _get(self, key: Key) -> Obj | None:
        try:
            return await self.user.get(key)
        except NotFoundError:
            return None

    async def _external(self, *, present: bool) -> None:
        self._external_seen = self._external_seen or present
        if present:
            body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": EXTERNAL.name, "namespace": HOME}}
            await self._try(self.user.create(EXTERNAL, {**body, "data": {"token": EXTERNAL_TOKEN}}))
        else:
            await self._try(self.user.delete(EXTERNAL))

    def _refuse(self, resource: Resource, obj: Obj) -> None:
        """A webhook that always refuses the objects of a node; existing objects may be deleted."""
        node = labels_of(obj).get(LABEL_NODE_ID)
        if resource in CHILD_KINDS and node == self.story.refused and "deletionTimestamp" not in obj["metadata"]:
            raise StatusError(422, "Invalid", f"{obj['metadata']['name']}: {REFUSAL}")

    # Invariants of every write

    def children(self) -> list[tuple[Key, Obj]]:
        """Every object in the cluster with our labels that we created."""
        return [
            (Key(resource, obj["metadata"]["namespace"], obj["metadata"]["name"]), obj)
            for resource in CHILD_KINDS
            for obj in self.server.objects(resource)
            if labels_of(obj).get(LABEL_OWNED) == "true" and obj["metadata"]["uid"] in self._ours
        ]

    def _observe(self, write: Write) -> None:
        if write.actor == _CONTROLLER and write.resource.group != "events.k8s.io":
            self._writes.append(f"{write.verb} {_name_of(write)}")
        if write.resource not in CHILD_KINDS:
            return
        after = write.after
        if write.actor == _CONTROLLER:
            if write.verb == "delete":
                self._check_delete(write)
            elif write.verb == "apply" and after is not None:
                self._ours.add(after.uid)
                if write.before is None:
                    self._check_create(after.obj)
                    self._check_single(after.obj)
                else:
                    self._check_update(write.before.obj, after.obj)
        if after is not None:
            self._note_ready(after.obj)

    def _note_ready(self, obj: Obj) -> None:
        labels = labels_of(obj)
        uid, node = labels.get(LABEL_INSTANCE_ID), labels.get(LABEL_NODE_ID)
        if uid is None or node is None or obj["metadata"]["uid"] not in self._ours:
            return
        status = obj.get("status") or {}
        if obj["kind"] == "ConfigMap" or status.get("availableReplicas") == obj["spec"]["replicas"]:
            self._ready.add((uid, node))

    def _check_create(self, obj: Obj) -> None:
        labels = labels_of(obj)
        uid, node = labels[LABEL_INSTANCE_ID], labels[LABEL_NODE_ID]
        kind = self._kind_of(uid)
        if kind is None:
            self.violated(f"{obj['kind']} {obj['metadata']['name']} was created for an instance that is gone")
            return
        reasons = []
        for shape in self.shapes.get(kind, ()):
            made = shape.node(node)
            if made is None:
                continue
            missing = [n for n in made.needs if (uid, n) not in self._ready and not (shape.node(n) or made).each]
            if shape.external and made is shape.nodes[0] and not self._external_seen:
                missing.append("outside")
            if not missing:
                return
            reasons.append(f"{', '.join(missing)} never ready")
        self.violated(f"{obj['kind']} {obj['metadata']['name']} was created too early: {'; '.join(reasons)}")

    def _check_single(self, obj: Obj) -> None:
        """A node that never is a collection, moves or changes its name has at most one object."""
        uid, node = labels_of(obj)[LABEL_INSTANCE_ID], labels_of(obj)[LABEL_NODE_ID]
        kind = self._kind_of(uid)
        known = {shape.node(node) for shape in self.shapes.get(kind, ())} if kind is not None else set()
        if len(known) != 1 or any(found is None or found.each or found.renamed for found in known):
            return
        others = [
            key.name
            for key, other in self.children()
            if labels_of(other).get(LABEL_INSTANCE_ID) == uid
            and labels_of(other).get(LABEL_NODE_ID) == node
            and other["metadata"]["uid"] != obj["metadata"]["uid"]
        ]
        if others:
            self.violated(f"{obj['metadata']['name']} was created beside {', '.join(others)} for node {node}")

    def _check_update(self, before: Obj, after: Obj) -> None:
        if after["kind"] != "Deployment" or not self._is_scaled(after):
            return
        was, now = before["spec"]["replicas"], after["spec"]["replicas"]
        if was != now:
            self.violated(f"replicas of {after['metadata']['name']} went from {was} to {now}, which nobody declares")

    def _check_delete(self, write: Write) -> None:
        assert write.before is not None
        obj = write.before.obj
        name = f"{obj['kind']} {obj['metadata']['name']}"
        if write.before.uid not in self._ours:
            self.violated(f"{name} was deleted, which is not ours")
            return
        labels = labels_of(obj)
        uid, node = labels.get(LABEL_INSTANCE_ID, ""), labels.get(LABEL_NODE_ID, "")
        kind = self._kind_of(uid)
        if kind is None or len(set(self.shapes.get(kind, ()))) != 1:
            return
        instance = self._instance_of(uid)
        if instance is None or "deletionTimestamp" not in instance["metadata"]:
            return
        if any(
            labels_of(other).get(LABEL_INSTANCE_ID) == uid
            and labels_of(other).get(LABEL_NODE_ID) == node
            and other["metadata"]["uid"] != obj["metadata"]["uid"]
            for _, other in self.children()
        ):
            return  # its older name was pruned by a pass that began before the deletion: the newer one exists
        dependents = self.shapes[kind][0].dependents(node)
        left = [
            key.name
            for key, other in self.children()
            if labels_of(other).get(LABEL_INSTANCE_ID) == uid and labels_of(other).get(LABEL_NODE_ID) in dependents
        ]
        if left:
            self.violated(f"{name} was deleted before {', '.join(left)}, which need it")

    def _instance_of(self, uid: str) -> Obj | None:
        for kind in self.shapes:
            for obj in self.server.objects(resource_of(kind)):
                if obj["metadata"]["uid"] == uid:
                    return obj
        return None

    def _kind_of(self, uid: str) -> int | None:
        for kind in self.shapes:
            if any(obj["metadata"]["uid"] == uid for obj in self.server.objects(resource_of(kind))):
                return kind
        return None

    # Phases after the steps

    async def _settle(self) -> None:
        """The faults stop, and users apply their desired state; the controller must reach it."""
        self.network.faults.clear()
        if self._runtime is None:
            self.start()
        if self._guests:
            _, late = await asyncio.wait(self._guests, timeout=self.within_s)
            if late:
                self.violated(f"somebody waits in vain: {', '.join(sorted(task.get_name() for task in late))}")
        await self._external(present=not self.story.external_missing)
        for kind in sorted({self.story.place(d).kind for d in self.defined} | {k for k, _ in self.wanted}):
            missing = self._missing(kind)
            if missing is not None:
                self.defined[missing] = self.declared[missing]
            elif not self._claimants(kind):
                for known in [k for k in self.wanted if k[0] == kind]:
                    del self.wanted[known]
        for definition in sorted(self.defined):
            self._spawn(self._define(definition))
        for kind, instance in sorted(self.wanted):
            self._spawn(self._make(kind, instance))
        if self.has_silence:
            await asyncio.sleep(SILENCE_NOTICED_S)
        await self._until(self._unconverged, self.within_s, "not converged")
        self.server.compact()

    def _missing(self, kind: int) -> int | None:
        """The definition that must return before a kind is served: a CRD waits for the definition that created it."""
        declared = [d for d in sorted(self.declared) if self.story.place(d).kind == kind]
        crd = self.server.stored(*_place(crd_of(kind)))
        maker = labels_of(crd.obj).get(LABEL_DEFINITION_NAME) if crd else None
        makers = [d for d in declared if self.story.place(d).key.name == maker] or declared
        return None if not makers or set(makers) & self.defined.keys() else makers[-1]

    def _claimants(self, kind: int) -> list[int]:
        """The definitions of a kind."""
        return [definition for definition in sorted(self.defined) if self.story.place(definition).kind == kind]

    async def _until(self, wrong: Callable[[], list[str]], within_s: float, what: str) -> None:
        deadline = self.loop.time() + within_s
        while True:
            found = wrong()
            if not found and not self._users:
                return
            if self.loop.time() > deadline:
                users = [f"{len(self._users)} users still trying"] if self._users else []
                self.violated(f"{what} within {within_s:g} s: " + "; ".join(found + users))
                return
            await asyncio.sleep(1.0)

    def _unconverged(self) -> list[str]:
        """The differences between the declared and the actual state."""
        wrong: list[str] = []
        want: dict[Child, tuple[str, Obj]] = {}
        exact = True
        owners = {kind: self._owner(kind) for kind in sorted({self.story.place(d).kind for d in self.defined})}
        for defined in sorted(self.defined):
            owner = owners[self.story.place(defined).kind]
            wrong += self._unserved(defined) if defined == owner else self._outdone(defined, owner)
            wrong += self._unrecorded(defined)
        wrong += [
            f"{resource.kind} {obj['metadata']['name']} is still being deleted"
            for resource in (GROUPS, GRAPH_DEFINITIONS, REVISIONS, CRDS)
            for obj in self.server.objects(resource)
            if "deletionTimestamp" in obj["metadata"]
        ]
        for (kind, instance), spec in sorted(self.wanted.items()):
            definition = owners[kind]
            if definition is None:
                continue
            shape = self.defined[definition]
            key = instance_key(kind, instance)
            stored = self.server.stored(*_place(key))
            if stored is None:
                declared = self.server.stored(*_place(self.story.place(definition).key))
                why = _told(declared.obj.get("status") or {}) if declared else "which is not there"
                wrong.append(f"{key} is not there; its definition is {why}")
                if not self._users:
                    # The instance was deleted with its CRD after its creation: its user creates it again.
                    self._spawn(self._make(kind, instance))
                continue
            status = stored.obj.get("status") or {}
            if "deletionTimestamp" in stored.obj["metadata"]:
                wrong.append(f"{key} is still being deleted: {_told(status)}")
                if not self._users:
                    # Somebody deleted its CRD.
                    self._spawn(self._make(kind, instance))
                continue
            children = expected(kind, shape, instance, spec)
            obstacle = self._obstacle(shape, children)
            if obstacle is not None:
                exact = False
                state, *texts = obstacle
                told = str(status.get("conditions"))
                wrong += [f"{key} does not say {text!r}: {_told(status)}" for text in texts if text not in told]
                if status.get("state") != state:
                    wrong.append(f"{key} is not {state} but {_told(status)}")
                continue
            want.update(children)
            if status.get("state") != "ACTIVE":
                wrong.append(f"{key} is {_told(status)}")
            if status.get("observedGeneration", -1) != stored.obj["metadata"]["generation"]:
                wrong.append(f"{key} observed {status.get('observedGeneration')}")
        return wrong + self._differences(want, exact=exact)

    def _obstacle(self, shape: Shape, children: dict[Child, tuple[str, Obj]]) -> tuple[str, ...] | None:
        """A permanent reason for an instance not to be ACTIVE: the state and the message that it must have."""
        blocked: set[str] = set()
        missing, refused = [], []
        if shape.external and self.story.external_missing:
            missing.append('waiting for external reference "outside": not found')
            first = shape.nodes[0].id
            blocked |= {first} | shape.dependents(first)
        for (_, _, name), (node, _) in sorted(children.items()):
            if node == self.story.refused and node not in blocked:
                refused.append(f"{name}: {REFUSAL}")
        if refused:
            return "ERROR", *refused, *missing
        return ("IN_PROGRESS", *missing) if missing else None

    def _owner(self, kind: int) -> int | None:
        """The definition that owns a kind; if several have the kind, one of them has the CRD."""
        claimants = self._claimants(kind)
        if len(claimants) == 1:
            return claimants[0]
        crd = self.server.stored(*_place(crd_of(kind)))
        uid = labels_of(crd.obj).get(LABEL_DEFINITION_ID) if crd else None
        for definition in claimants:
            stored = self.server.stored(*_place(self.story.place(definition).key))
            if stored is not None and stored.uid == uid:
                return definition
        return None

    def _outdone(self, definition: int, owner: int | None) -> list[str]:
        """A definition whose kind belongs to another one must report it."""
        key = self.story.place(definition).key
        if owner is None:
            return [f"nobody has the kind of {key}"]
        stored = self.server.stored(*_place(key))
        status = (stored.obj.get("status") or {}) if stored else {}
        text = f"is owned by another {self.story.place(owner).key}"
        if status.get("state") == "Inactive" and text in str(status.get("conditions")):
            return []
        return [f"{key} does not say that its kind {text}: {_told(status)}"]

    def _unrecorded(self, definition: int) -> list[str]:
        """The newest revision of a definition must have its spec."""
        key = self.story.place(definition).key
        stored = self.server.stored(*_place(key))
        identity = f"{key.namespace}/{key.name}" if key.namespace else key.name
        specs = {
            revision["spec"]["revision"]: revision["spec"]["snapshot"]["spec"]
            for revision in self.server.objects(REVISIONS)
            if revision["spec"]["snapshot"]["name"] == identity
        }
        if stored is None or (specs and specs[max(specs)] == stored.obj["spec"]):
            return []
        return [f"no revision of the spec of {key}, only {sorted(specs)}"]

    def _unserved(self, definition: int) -> list[str]:
        key = self.story.place(definition).key
        declared = self.server.stored(*_place(key))
        if declared is None:
            return [f"{key} is not there"]
        status = declared.obj.get("status") or {}
        generation = declared.obj["metadata"]["generation"]
        observed = {c.get("observedGeneration") for c in status.get("conditions", ())}
        if status.get("state") != "Active" or observed != {generation}:
            return [f"{key} is {_told(status)}, observed {observed} of {generation}"]
        return []

    def _differences(self, want: dict[Child, tuple[str, Obj]], *, exact: bool) -> list[str]:
        have = {(key.resource.kind, key.namespace, key.name): obj for key, obj in self.children()}
        wrong = [f"{' '.join(child)} is missing" for child in want if child not in have]
        if exact:
            wrong += [f"{' '.join(child)} is left over" for child in have if child not in want]
        for child, (node, content) in want.items():
            obj = have.get(child)
            if obj is None:
                continue
            if labels_of(obj).get(LABEL_NODE_ID) != node:
                wrong.append(f"{' '.join(child)} is labelled {labels_of(obj).get(LABEL_NODE_ID)}")
            found = {name: value for name, value in telling(obj).items() if name in content}
            if found != content:
                wrong.append(f"{' '.join(child)} is {found}, not {content}")
            if "deletionTimestamp" in obj["metadata"]:
                wrong.append(f"{' '.join(child)} is being deleted")
        return wrong

    async def _quiet(self) -> None:
        """Once converged, nothing is written any more."""
        await asyncio.sleep(UNANSWERED_S)
        before = len(self._writes)
        await asyncio.sleep(self._quiet_s)
        if self._writes[before:]:
            self.violated(f"written after everything had converged: {', '.join(self._writes[before:][:5])}")
        self.report.violations += [f"after a quiet time: {text}" for text in self._unconverged()]

    async def _end(self) -> None:
        """Delete everything: nothing of ours remains, and nothing of others is deleted."""
        self.wanted.clear()
        for kind in sorted(self.shapes):
            for obj in list(self.server.objects(resource_of(kind))):
                meta = obj["metadata"]
                await self._try(self.user.delete(Key(resource_of(kind), meta["namespace"], meta["name"])))
        await self._until(self._left, CONVERGED_WITHIN_S, "something is left of deleted instances")
        self.defined.clear()
        for definition in sorted(self.declared):
            await self._undefine(definition)
        await self._until(self._left_of_definitions, CONVERGED_WITHIN_S, "something is left of deleted definitions")
        await self._until(self._remembered, REMEMBERED_S, "something is remembered of what is gone")
        for key, uid in self.foreign.items():
            stored = self.server.stored(*_place(key))
            if stored is None or stored.uid != uid:
                self.violated(f"{key}, which is not ours, is gone")

    def _left(self) -> list[str]:
        left = [str(key) for key, _ in self.children()]
        for kind in self.shapes:
            left += [
                f"instance {obj['metadata']['name']}, which is {_told(obj.get('status') or {})}"
                for obj in self.server.objects(resource_of(kind))
            ]
        return left

    def _left_of_definitions(self) -> list[str]:
        kinds = [GROUPS, GRAPH_DEFINITIONS, REVISIONS, *([CRDS] if self.story.deletes_crds else [])]
        return [f"{r.kind} {o['metadata']['name']}" for r in kinds for o in self.server.objects(r)]

    def _remembered(self) -> list[str]:
        assert self.runtime is not None
        return remembered(self.runtime, self.foreign)

    async def _shut_down(self) -> None:
        for task in list(self._users):
            task.cancel()
        if self._users:
            await asyncio.wait(list(self._users))
        await self.stop()
        left = [t.get_name() for t in asyncio.all_tasks() if t is not asyncio.current_task()]
        if left:
            self.violated(f"tasks are left: {', '.join(sorted(left))}")
        if self.server.streams():
            self.violated(f"{len(self.server.streams())} watches are left open")


def play(story: Story, *, crash_at: int | None = None, quiet_s: float = QUIET_S, world: type[World] = World) -> Report:
    """Run a whole story; the same story always gives the same report.

    `crash_at` is the turn of the event loop in which the controller crashes, in addition to the crashes of the story.
    """

    async def main() -> Report:
        return await world(story, crash_at=crash_at, quiet_s=quiet_s).play()

    with _logged_errors() as logged:
        try:
            report = virtual.run(main())
        except virtual.NothingToWaitForError:
            report = Report(violations=["everything waits for something that never happens"])
    report.violations += [f"logged as an error: {text}" for text in logged]
    return report


def _place(key: Key) -> tuple[Resource, str, str]:
    return key.resource, key.namespace, key.name


def _name_of(write: Write) -> str:
    stored = write.after or write.before
    assert stored is not None
    return f"{stored.obj['kind']} {stored.obj['metadata']['name']}"


def _told(status: Obj) -> str:
    texts = [f"{c['type']}: {c.get('message')}" for c in status.get("conditions", ()) if c.get("status") != "True"]
    return f"{status.get('state')} ({'; '.join(texts)})"


def _flat(error: BaseException | None) -> str:
    if isinstance(error, BaseExceptionGroup):
        return "; ".join(_flat(e) for e in error.exceptions)
    return f"{type(error).__name__}: {error}"
