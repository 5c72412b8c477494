"""Whatever somebody writes into inventories costs the API server little, however much it is and on many instances."""

import asyncio

from kroasync.model.names import (
    ANNOTATION_APPLYSET_GROUP_KINDS,
    ANNOTATION_RECONCILE,
    LABEL_INSTANCE_ID,
    MANAGER_CHILDREN,
)
from kroasync.model.objects import Key, Obj, Resource, annotations_of, labels_of, metadata
from tests.fakes import virtual
from tests.samples import CONFIG_MAPS, DEPLOYMENTS
from tests.simulation.cluster import Cluster
from tests.simulation.family import Node, Shape, definition_key, instance_key, manifest

INSTANCES = 20
UNKNOWN = [f"Kind{number}.group{number}.example.com" for number in range(1000)]
NONSENSE = [f"Nonsense{number}.apps" for number in range(1000)]


def placed(key: Key) -> tuple[Resource, str, str]:
    return key.resource, key.namespace, key.name


def real(cluster: Cluster) -> list[str]:
    return [resource.group_kind for resource in cluster.server.served()]


async def forge(cluster: Cluster, instance: int, group_kinds: list[str]) -> None:
    """Somebody writes an inventory, and prevents the pass from restoring it."""
    meta = {
        "annotations": {
            ANNOTATION_APPLYSET_GROUP_KINDS: ",".join(group_kinds),
            ANNOTATION_RECONCILE: "suspended",
        }
    }
    await cluster.user.merge_patch(instance_key(0, instance), {"metadata": meta}, manager="somebody")


def test_forged_inventories_cost_a_few_calls_for_all_instances_together() -> None:
    async def main() -> None:
        cluster = Cluster()
        await cluster.define(0)
        for instance in range(INSTANCES):
            await cluster.make(0, instance)
        await cluster.until(lambda: cluster.active(0) == INSTANCES, 30)
        kinds, watches = real(cluster), len(list(cluster.runtime.watch_states()))
        before = cluster.network.requests
        for round_ in range(3):
            for instance in range(INSTANCES):
                await forge(cluster, instance, [f"{kind}{round_}" for kind in UNKNOWN + NONSENSE] + kinds)
            await asyncio.sleep(60)
        asked = cluster.network.requests - before
        # A patch and a status write per instance and round; requests for groups, kinds and children only once.
        groups = {kind.partition(".")[2] for kind in kinds}
        assert asked <= 3 * 3 * INSTANCES + 1 + 4 * len(groups) + len(kinds)
        assert len(list(cluster.runtime.watch_states())) == watches
        await cluster.stop()

    virtual.run(main())


def test_forged_children_open_no_watch() -> None:
    async def main() -> None:
        cluster = Cluster()
        await cluster.define(0)
        await cluster.make(0, 0)
        await cluster.until(lambda: cluster.active(0) == 1, 30)
        (child, *_) = (o for o in cluster.server.objects(CONFIG_MAPS) if LABEL_INSTANCE_ID in labels_of(o))
        meta = {"name": "forged", "namespace": "default", "labels": labels_of(child)}
        body: Obj = {"metadata": {**meta, "annotations": annotations_of(child)}, "spec": {}}
        await cluster.user.apply(
            Key(DEPLOYMENTS, "default", "forged"),
            {"apiVersion": "apps/v1", "kind": "Deployment", **body},
            manager=MANAGER_CHILDREN,
            force=True,
        )
        watches = len(list(cluster.runtime.watch_states()))
        await forge(cluster, 0, ["ConfigMap", "Deployment.apps"])
        await asyncio.sleep(10)
        assert len(list(cluster.runtime.watch_states())) == watches
        await cluster.user.delete(instance_key(0, 0))
        await cluster.until(lambda: cluster.server.stored(*placed(instance_key(0, 0))) is None, 30)
        assert cluster.server.stored(DEPLOYMENTS, "default", "forged") is not None
        await cluster.stop()

    virtual.run(main())


def test_children_of_a_kind_no_graph_has_any_more_are_found_after_a_restart() -> None:
    async def main() -> None:
        first = Cluster()
        first.server.deployment_ready_s = 0.1
        await first.define(0, Shape(nodes=(Node(id="a"), Node(id="b", kind="Deployment"))))
        await first.make(0, 0)
        await first.until(lambda: first.active(0) == 1, 30)
        await forge(first, 0, ["ConfigMap", "Deployment.apps"])
        await asyncio.sleep(5)
        await first.stop()
        declared = await first.user.get(definition_key(0))
        spec = {**manifest(0, Shape(nodes=(Node(id="a"),))), "metadata": metadata(declared)}
        await first.user.put(definition_key(0), spec, manager="user")
        second = Cluster(server=first.server)
        await asyncio.sleep(10)
        await second.user.delete(instance_key(0, 0))
        await second.until(lambda: second.server.stored(*placed(instance_key(0, 0))) is None, 30)
        assert second.server.objects(DEPLOYMENTS) == []
        await second.stop()

    virtual.run(main())
