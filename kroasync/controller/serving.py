"""Start and stop serving generated kinds: one watch task per kind, and the watches of the kinds in its graph.

A kind is served as soon as its watches are synced. When a definition is deleted, its kind is retired: the controller
still watches the kind until its CRD is gone too, so that deletions of its instances end cleanly.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress

from kroasync.controller.child_store import ChildStore
from kroasync.controller.instance_store import InstanceStore
from kroasync.controller.room import Room
from kroasync.controller.served_kinds import Served, ServedKinds, Unresolved
from kroasync.controller.watches import InstanceSink, Watches
from kroasync.engine.plan import Plan
from kroasync.graph.nodes import Graph
from kroasync.kube.watch import Watch
from kroasync.metrics import Metrics
from kroasync.model.names import ANNOTATION_APPLYSET_GROUP_KINDS
from kroasync.model.objects import Key, Obj, Resource, annotations_of, is_deleting, metadata, uid_of
from kroasync.schema.crd import instance_schema

_SYNC_S = 30.0
# How long the first list of children waits for the first lists of instances.
_INSTANCES_S = 5.0
_RETIRED = Unresolved(
    "the definition of this kind is gone: nothing is created, changed or repaired until it exists again; "
    "deleting the instance still removes its resources"
)
# The event types of a watch, and their names in kro's metric.
_EVENT_TYPES = {"ADDED": "add", "MODIFIED": "update", "DELETED": "delete"}


class Serving:
    """Owns the served kinds. `wake` puts an instance into the queue, `discard` removes it from the queue."""

    def __init__(
        self,
        *,
        kinds: ServedKinds,
        watches: Watches,
        children: ChildStore,
        wake: Callable[[Key], None],
        discard: Callable[[Key], None],
        plan: Callable[[Graph], Plan],
        metrics: Metrics,
        room: Room | None = None,
    ) -> None:
        self.kinds = kinds
        self._room = room or Room()
        # Kinds whose first list of instances did not arrive in time.
        self._late: set[Resource] = set()
        self.watches = watches
        self._children = children
        self._wake = wake
        self._discard = discard
        self._plan = plan
        self._metrics = metrics

    async def serve(self, definition: Key, graph: Graph) -> None:
        """Follow a graph from now on; returns when every watch that it needs is synced.

        Raises TimeoutError, with the kinds and the server's answers, if the watches do not sync within 30 s, or at once
        if the controller may not watch the instances. The previous graph then stays in force.
        """
        served = self._served(graph.resource)
        await self._know_instances()
        plan = served.plan if served.plan is not None and served.graph is graph else self._plan(graph)
        waiting = [served.watch, *self._hold_children(plan, served)]
        is_refused = served.watch.is_refused and not served.watch.synced.is_set()
        try:
            async with asyncio.timeout(0 if is_refused else _SYNC_S):
                for watch in waiting:
                    await watch.synced.wait()
        except TimeoutError:
            late = [f"{w.resource}: {w.error or 'no answer'}" for w in waiting if not w.synced.is_set()]
            raise TimeoutError("cannot watch " + "; ".join(late)) from None
        changed = served.graph is not graph or served.definition != definition
        for other in self.kinds.of_definition(definition):
            if other.resource != graph.resource:
                self._retire(other)
        served.definition, served.graph, served.unresolved = definition, graph, None
        self._release_children(graph, served)
        if changed:
            served.plan = plan
            served.spec_schema = instance_schema(graph.crd)["properties"].get("spec", {})
            # After a restart most instances are up to date, so those that need work come first.
            for key in sorted(served.instances, key=lambda key: not is_behind(served.instances.head(key))):
                self._wake(key)

    async def _know_instances(self) -> None:
        """Wait until all instances are listed, because the cache drops children that no instance claims.

        A kind that cannot be listed is skipped after a time limit. All callers wait together, once per kind.
        """
        late = [s for s in self.kinds if not s.watch.synced.is_set() and s.resource not in self._late]
        with suppress(TimeoutError):
            async with asyncio.timeout(_INSTANCES_S):
                for served in late:
                    if served.watch.error is None:
                        await served.watch.synced.wait()
        self._late.update(served.resource for served in late if not served.watch.synced.is_set())

    def adopt(self, resource: Resource) -> None:
        """Watch a generated kind that has no definition, so that its instances can be deleted."""
        self._served(resource)

    def leave_unresolved(self, resource: Resource, why: Unresolved) -> None:
        """There is no graph for a kind; what follows an earlier one goes on."""
        served = self.kinds.get(resource)
        if served is None or served.plan is not None or served.unresolved == why:
            return
        served.unresolved = why
        for key in served.instances:
            self._wake(key)

    async def retire(self, definition: Key) -> None:
        """Retire the kinds of a definition that is gone: serve them only for deletions."""
        for served in self.kinds.of_definition(definition):
            self._retire(served)

    def stop(self, resource: Resource) -> None:
        """Stop serving a kind whose CRD is gone."""
        served = self.kinds.get(resource)
        if served is None:
            return
        served.instances.replace([])
        self.kinds.remove(resource)
        self._late.discard(resource)
        self.watches.release(resource)
        self._metrics.dynamic_controller_handler_detach_total.inc("parent")
        self._metrics.forget_kind(resource)

    def hold_inventory(self, instance: Key, resources: list[Resource]) -> list[Watch]:
        """Watch the kinds of an instance's inventory that its graph lacks, and leave those that it no longer names.

        The caller must wait until these watches are synced, even if another owner started them.
        """
        self.watches.keep_children(instance, resources)
        return [self.watches.hold_children(resource, owner=instance) for resource in resources]

    def _served(self, resource: Resource) -> Served:
        served = self.kinds.get(resource)
        if served is None:
            instances = InstanceStore(resource, self._wake, self._gone, by_uid=self.kinds.by_uid, room=self._room)
            sink = InstanceSink(instances, self._counter(resource))
            name = f"{resource.plural}.{resource.group}"
            watch = self.watches.start(name, resource, sink, owner=resource, known=instances.versions)
            served = Served(resource, instances, watch, dropped=sink.dropped)
            self.kinds.add(served)
            self._metrics.dynamic_controller_handler_attach_total.inc("parent")
            self._metrics.instance_graph_resolution_pending_total.start(str(resource))
        return served

    def _gone(self, key: Key, obj: Obj) -> None:
        # One more pass releases the watches of the instance. A new object of that name gets its own pass.
        self._discard(key)
        self._wake(key)
        served = self.kinds.get(key.resource)
        if served is None or key not in served.dropped:
            self._children.settle(uid_of(obj))
        self._metrics.instance_conditions.forget(str(key.resource), key.namespace, key.name)

    def _counter(self, resource: Resource) -> Callable[[str], None]:
        gvr, metrics = str(resource), self._metrics
        return lambda kind: metrics.dynamic_controller_informer_events_total.inc(gvr, _EVENT_TYPES[kind])

    def _hold_children(self, plan: Plan, served: Served) -> list[Watch]:
        found = []
        for prepared in plan.nodes:
            node = prepared.node
            if node.is_external:
                self.watches.read_externals(node.resource, prepared.reads)
                continue
            if self._children.widen(node.resource, prepared.reads):
                self.watches.relist_children(node.resource)
            found.append(self.watches.hold_children(node.resource, owner=served.resource))
        return found

    def _release_children(self, graph: Graph, served: Served) -> None:
        """Leave the watches of kinds that the graph lost. Instances with such children hold them until prune."""
        managed = {node.resource for node in graph.nodes.values() if not node.is_external}
        left = self.watches.children_of(served.resource) - managed
        group_kinds = {resource.group_kind: resource for resource in left}
        for resource in managed:
            # Any version of a kind shows the same objects.
            group_kinds.pop(resource.group_kind, None)
        if group_kinds:
            known = ((key, served.instances.head(key)) for key in served.instances)
            for key, instance in (*known, *served.dropped.items()):
                recorded = annotations_of(instance or {}).get(ANNOTATION_APPLYSET_GROUP_KINDS, "").split(",")
                for group_kind in group_kinds.keys() & set(recorded):
                    self.watches.hold_children(group_kinds[group_kind], owner=key)
        self.watches.keep_children(served.resource, managed)

    def _retire(self, served: Served) -> None:
        served.definition, served.graph, served.plan = None, None, None
        served.unresolved = _RETIRED
        for key in served.instances:
            self._wake(key)


def is_behind(instance: Obj | None) -> bool:
    """Whether an instance is gone, is being deleted, or has a status of an older generation."""
    if instance is None or is_deleting(instance):
        return True
    observed = (instance.get("status") or {}).get("observedGeneration")
    return bool(observed != metadata(instance).get("generation"))
