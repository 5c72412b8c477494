"""The composition root: build every part of the controller once, and connect the parts.

Each part is complete when it is built: no field is filled later. So `wire` builds the receivers of events before their
sources. The TaskGroup of all tasks also exists from the beginning; the runtime enters it.
"""

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from kroasync.controller.child_store import ChildStore
from kroasync.controller.cluster_kinds import ClusterKinds
from kroasync.controller.compilation import Compilation
from kroasync.controller.converging import Converging
from kroasync.controller.crd_events import CrdEvents
from kroasync.controller.crd_stage import CrdStage
from kroasync.controller.crds import CrdStore
from kroasync.controller.definitions import Definitions
from kroasync.controller.deleting import Deleting
from kroasync.controller.events import Recorder
from kroasync.controller.fights import Fights
from kroasync.controller.instances import Instances
from kroasync.controller.inventories import InventoryKinds
from kroasync.controller.neighbour import Neighbour
from kroasync.controller.observing import Observing
from kroasync.controller.options import RuntimeOptions
from kroasync.controller.pacing import Pacing
from kroasync.controller.perform import Performers
from kroasync.controller.recording import Recording
from kroasync.controller.registry import Registry, key_of_identity
from kroasync.controller.releases import Releases
from kroasync.controller.reporting import Reporting
from kroasync.controller.revisions import Revisions, RevisionStore
from kroasync.controller.room import Room
from kroasync.controller.served_kinds import ServedKinds, claims_of, wake_by_uid
from kroasync.controller.serving import Serving
from kroasync.controller.slots import Slots
from kroasync.controller.watchdog import Watchdog
from kroasync.controller.watches import InstanceSink, Watches
from kroasync.controller.withdrawal import Withdrawal
from kroasync.controller.workqueue import WorkQueue
from kroasync.engine.plan import Plan
from kroasync.kube.client import Client
from kroasync.kube.watch import Watch
from kroasync.metrics import DEFINITION_QUEUE, INSTANCE_QUEUE, Metrics
from kroasync.model.kinds import CRDS, LEASES, REVISIONS
from kroasync.model.names import KRO_LEASE_NAME
from kroasync.model.objects import Key, Obj, Resource

# The shortest and the longest pause before a failed watch restarts. Instances wait that long when the API server is
# back.
_RECONNECT_S: Final = (0.2, 5.0)
# After this time the work of a pass lasts: it gives up its worker. Definitions get longer, because many of them compile
# at a start.
_LONG_S: Final = 1.0
_LONG_DEFINITION_S: Final = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """The inputs of the controller. `clock` is monotonic seconds, `now` the wall clock, `cpu` the CPU seconds."""

    client: Client
    options: RuntimeOptions
    metrics: Metrics
    clock: Callable[[], float]
    now: Callable[[], datetime]
    rng: random.Random
    cpu: Callable[[], float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Queues:
    """The keys that wait for a pass, and the workers that make the passes."""

    instances: WorkQueue[Key]
    definitions: WorkQueue[Key]
    instance_slots: Slots
    definition_slots: Slots
    pacing: Pacing


@dataclass(frozen=True, slots=True, kw_only=True)
class Caches:
    """The caches of the cluster: the sinks of watches."""

    kinds: ServedKinds
    room: Room
    children: ChildStore
    registry: Registry
    revisions: RevisionStore
    crds: CrdStore
    cluster: ClusterKinds


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """The whole controller, ready to run in `group`."""

    given: Given
    group: asyncio.TaskGroup
    queues: Queues
    caches: Caches
    watches: Watches
    watchdog: Watchdog
    recorder: Recorder
    neighbour: Neighbour
    revisions: Revisions
    definitions: Definitions
    instances: Instances


@dataclass(frozen=True, slots=True, kw_only=True)
class Common:
    """What the passes over definitions and the passes over instances both have."""

    given: Given
    caches: Caches
    serving: Serving
    recorder: Recorder
    fights: Fights
    watchdog: Watchdog


def wire(given: Given) -> Parts:
    """Build the controller. Nothing runs yet, and no request is sent."""
    group = asyncio.TaskGroup()
    options, metrics, client = given.options, given.metrics, given.client
    queues = _queues(given)
    watchdog = Watchdog(clock=given.clock, cpu=given.cpu)
    kinds, room, wake = ServedKinds(), Room(), queues.instances.add
    releases = Releases(wake)
    children = ChildStore(wake_by_uid(kinds, wake), claims=claims_of(kinds), room=room, released=releases.released)
    watches = Watches(
        group=group,
        client=client,
        children=children,
        wake=wake,
        make=_watch_maker(given),
        metrics=metrics,
        releases=releases,
    )
    serving = Serving(
        kinds=kinds,
        watches=watches,
        children=children,
        wake=wake,
        discard=queues.instances.discard,
        plan=lambda graph: Plan.of(graph, options.engine),
        metrics=metrics,
        room=room,
    )
    wake_definition = queues.definitions.add
    registry = Registry(wake_definition, metrics.forget_definition)
    crds = CrdStore(CrdEvents(registry, serving, wake_definition).changed)
    caches = Caches(
        kinds=kinds,
        room=room,
        children=children,
        registry=registry,
        revisions=RevisionStore(lambda identity: wake_definition(key_of_identity(identity))),
        crds=crds,
        cluster=ClusterKinds(client, crds),
    )
    recorder = Recorder(
        client, reporter="kro.run/kroasync", instance=options.identity, now=given.now, enabled=options.events
    )
    revisions = Revisions(client, caches.revisions, metrics, options)
    common = Common(
        given=given,
        caches=caches,
        serving=serving,
        recorder=recorder,
        fights=Fights(given.clock),
        watchdog=watchdog,
    )
    return Parts(
        given=given,
        group=group,
        queues=queues,
        caches=caches,
        watches=watches,
        watchdog=watchdog,
        recorder=recorder,
        neighbour=_neighbour(given, recorder),
        revisions=revisions,
        definitions=_definitions(common, revisions),
        instances=_instances(common, watches, queues.pacing),
    )


def core_watches(parts: Parts) -> list[tuple[str, Watch]]:
    """Start the watches of definitions, revisions and CRDs. The TaskGroup must have been entered."""
    caches = parts.caches
    sinks: list[tuple[Resource, Any, Callable[[], Any]]] = [
        (resource, InstanceSink(store), store.versions) for resource, store in caches.registry.stores.items()
    ]
    sinks.append((REVISIONS, caches.revisions, caches.revisions.versions))
    sinks.append((CRDS, caches.crds, caches.crds.versions))
    found = []
    for resource, sink, known in sinks:
        name = f"{resource.plural}.{resource.group}"
        found.append((name, parts.watches.start(name, resource, sink, owner=resource, known=known)))
    return found


def lease_watch(parts: Parts) -> Watch:
    """Start the watch of kro's Lease."""
    selector = f"metadata.name={KRO_LEASE_NAME}"
    return parts.watches.start("kro", LEASES, parts.neighbour, owner="kro", field_selector=selector)


def _queues(given: Given) -> Queues:
    options, metrics = given.options, given.metrics

    def queue(name: str, **arguments: Any) -> WorkQueue[Key]:
        return WorkQueue(
            clock=given.clock,
            min_delay_s=options.min_delay_s,
            max_delay_s=options.max_delay_s,
            rng=given.rng,
            waited=lambda seconds: metrics.workqueue_queue_duration_seconds.observe(seconds, name, name),
            worked=lambda seconds: metrics.workqueue_work_duration_seconds.observe(seconds, name, name),
            **arguments,
        )

    instances = queue(INSTANCE_QUEUE, group_of=lambda key: key.resource, lasting_at_once=options.workers)
    definitions = queue(DEFINITION_QUEUE, group_of=lambda key: key)
    slots = Slots(instances, options.workers, long_s=_LONG_S)
    return Queues(
        instances=instances,
        definitions=definitions,
        instance_slots=slots,
        definition_slots=Slots(definitions, options.definition_workers, long_s=_LONG_DEFINITION_S),
        pacing=Pacing(instances, clock=given.clock, cpu=given.cpu, slots=slots),
    )


def _watch_maker(given: Given) -> Callable[..., Watch]:
    def make(client: Client, resource: Resource, **arguments: Any) -> Watch:
        return Watch(
            client,
            resource,
            clock=given.clock,
            rng=given.rng,
            idle_deadline_s=given.options.idle_deadline_s,
            backoff_s=_RECONNECT_S,
            **arguments,
        )

    return make


def _neighbour(given: Given, recorder: Recorder) -> Neighbour:
    def kro_acts(lease: Obj, text: str) -> None:
        recorder.record(lease, reason="KroActs", note=text, action="StandBy", warning=True)

    return Neighbour(clock=given.clock, namespaces=given.options.kro_namespaces, told=kro_acts)


def _definitions(common: Common, revisions: Revisions) -> Definitions:
    given, serving, registry, crds = common.given, common.serving, common.caches.registry, common.caches.crds
    client, options, metrics = given.client, given.options, given.metrics
    return Definitions(
        client=client,
        registry=registry,
        compilation=Compilation(common.caches.cluster, options, common.watchdog, metrics, given.now),
        revisions=revisions,
        crds=crds,
        crd_stage=CrdStage(client, crds, registry, serving, common.watchdog, options),
        serving=serving,
        withdrawal=Withdrawal(client, registry, revisions, crds, serving, metrics, given.now, options),
        recorder=common.recorder,
        metrics=metrics,
        fights=common.fights,
        now=given.now,
    )


def _instances(common: Common, watches: Watches, pacing: Pacing) -> Instances:
    given, caches, serving = common.given, common.caches, common.serving
    client, options, children = given.client, given.options, caches.children
    inventory_kinds = InventoryKinds(client, caches.cluster, watches, given.clock, options.engine.seal_key)
    observing = Observing(client, serving, children, watches, inventory_kinds)
    recording = Recording(common.recorder, given.metrics, options)
    reporting = Reporting(client, observing, recording, common.fights, given.now)
    performers = Performers(client, children, watches.hold_external, pacing.pause, common.fights)
    return Instances(
        serving=serving,
        observing=observing,
        converging=Converging(
            serving=serving,
            watches=watches,
            observing=observing,
            performers=performers,
            reporting=reporting,
            recording=recording,
            pacing=pacing,
            watchdog=common.watchdog,
            options=options,
        ),
        deleting=Deleting(
            client=client,
            children=children,
            watches=watches,
            observing=observing,
            performers=performers,
            reporting=reporting,
            recording=recording,
            options=options,
        ),
        reporting=reporting,
        recording=recording,
    )
