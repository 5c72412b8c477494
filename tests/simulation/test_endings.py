"""Every way in which objects end: each leaves nothing behind, or reports what a person must decide."""

from dataclasses import replace

import aiohttp
import pytest

from kroasync.controller.runtime import RuntimeOptions
from kroasync.model.kinds import CRDS, GRAPH_DEFINITIONS, REVISIONS
from kroasync.model.names import ANNOTATION_APPLYSET_GROUP_KINDS, FINALIZER
from kroasync.model.objects import Key, Obj
from tests.fakes import virtual
from tests.fakes.client import Fault
from tests.samples import CONFIG_MAPS, NAMESPACES
from tests.simulation.cluster import Cluster
from tests.simulation.family import (
    EXTERNAL,
    EXTERNAL_TOKEN,
    OTHER,
    Node,
    Shape,
    definition_key,
    instance_key,
    resource_of,
)

WIDGET = instance_key(0, 0)
CRD = Key(CRDS, "", "widgets.kro.run")


async def served(shape: Shape | None = None, *, options: RuntimeOptions | None = None) -> Cluster:
    """A cluster with one definition and one ACTIVE instance."""
    cluster = Cluster(options=options)
    await cluster.user.create(Key(NAMESPACES, "", OTHER), {"metadata": {"name": OTHER}})
    body = {"metadata": {"name": EXTERNAL.name}, "data": {"token": EXTERNAL_TOKEN}}
    await cluster.user.create(EXTERNAL, body)
    await (cluster.define(0, shape) if shape else cluster.define(0))
    await cluster.make(0, 0)
    await cluster.until(lambda: cluster.active(0) == 1, 10)
    return cluster


def children(cluster: Cluster) -> list[str]:
    return [o["metadata"]["name"] for o in cluster.server.objects(CONFIG_MAPS) if o["metadata"]["name"].startswith("i")]


def instance(cluster: Cluster) -> Obj | None:
    stored = cluster.server.stored(resource_of(0), WIDGET.namespace, WIDGET.name)
    return stored.obj if stored else None


def gone(cluster: Cluster) -> bool:
    return instance(cluster) is None and children(cluster) == []


async def restarted_without_definition() -> Cluster:
    """A controller that knows the children of the instance by its inventory only."""
    cluster = await served(options=RuntimeOptions(allow_crd_deletion=False))
    await cluster.user.delete(definition_key(0))
    await cluster.until(lambda: not cluster.server.objects(GRAPH_DEFINITIONS), 5)
    await cluster.stop()
    return Cluster(server=cluster.server)


def test_an_instance_ends_with_its_children() -> None:
    async def main() -> None:
        cluster = await served()
        await cluster.user.delete(WIDGET)
        await cluster.until(lambda: gone(cluster), 5)
        await cluster.stop()

    virtual.run(main())


def test_instances_outlive_their_definition_and_still_end_clean() -> None:
    async def main() -> None:
        cluster = await served()
        await cluster.user.delete(definition_key(0))
        await cluster.until(lambda: not cluster.server.objects(GRAPH_DEFINITIONS), 5)
        await cluster.until(lambda: not cluster.server.objects(REVISIONS), 5)
        assert len(children(cluster)) == 2
        await cluster.user.delete(WIDGET)
        await cluster.until(lambda: gone(cluster), 5)
        await cluster.stop()

    virtual.run(main())


def test_with_leave_to_delete_crds_a_definition_takes_its_instances_along() -> None:
    async def main() -> None:
        cluster = await served(options=RuntimeOptions(allow_crd_deletion=True))
        await cluster.user.delete(definition_key(0))
        await cluster.until(lambda: gone(cluster) and not cluster.server.objects(CRDS), 10)
        await cluster.stop()

    virtual.run(main())


def test_a_crd_deleted_by_somebody_else_is_made_again_after_its_instances_ended() -> None:
    async def main() -> None:
        cluster = await served()
        before = cluster.server.objects(CRDS)[0]["metadata"]["uid"]
        await cluster.user.delete(CRD)
        await cluster.until(lambda: gone(cluster), 10)

        def again() -> bool:
            return [o["metadata"]["uid"] != before for o in cluster.server.objects(CRDS)] == [True]

        await cluster.until(again, 30)
        await cluster.until(lambda: "status" in cluster.server.objects(CRDS)[0], 10)
        await cluster.make(0, 0)
        await cluster.until(lambda: cluster.active(0) == 1, 10)
        await cluster.stop()

    virtual.run(main())


def test_a_definition_made_again_takes_over_the_instances_it_finds() -> None:
    async def main() -> None:
        cluster = await served()
        before = {o["metadata"]["name"]: o["metadata"]["uid"] for o in cluster.server.objects(CONFIG_MAPS)}
        await cluster.user.delete(definition_key(0))
        await cluster.until(lambda: not cluster.server.objects(GRAPH_DEFINITIONS), 5)
        await cluster.define(0)
        await cluster.user.merge_patch(WIDGET, {"spec": {"value": "z"}}, manager="kubectl-edit")

        def changed() -> bool:
            stored = cluster.server.stored(CONFIG_MAPS, "default", "i0-widget-b")
            return stored is not None and stored.obj["data"]["value"] == "z"

        await cluster.until(changed, 10)
        assert {o["metadata"]["name"]: o["metadata"]["uid"] for o in cluster.server.objects(CONFIG_MAPS)} == before
        await cluster.stop()

    virtual.run(main())


def test_an_instance_deleted_and_made_again_under_its_name_gets_new_children() -> None:
    async def main() -> None:
        cluster = await served()
        before = {o["metadata"]["uid"] for o in cluster.server.objects(CONFIG_MAPS)}
        await cluster.user.delete(WIDGET)
        await cluster.until(lambda: instance(cluster) is None, 5)
        await cluster.make(0, 0)
        await cluster.until(lambda: cluster.active(0) == 1, 10)
        after = {o["metadata"]["uid"] for o in cluster.server.objects(CONFIG_MAPS)}
        assert len(after - before) == 2
        await cluster.stop()

    virtual.run(main())


def test_a_deleted_namespace_takes_the_instance_and_all_children_in_it_along() -> None:
    """The result does not depend on the object that the namespace controller deletes first."""
    elsewhere = Shape(nodes=(Node(id="a"), Node(id="b", needs=("a",), elsewhere=True)))

    async def main() -> None:
        cluster = await served(elsewhere)
        await cluster.user.delete(Key(NAMESPACES, "", "default"))
        await cluster.until(lambda: gone(cluster), 30)
        await cluster.until(lambda: cluster.server.stored(NAMESPACES, "", "default") is None, 30)
        assert cluster.server.stored(NAMESPACES, "", OTHER) is not None
        await cluster.stop()

    virtual.run(main())


def test_an_external_object_that_is_gone_does_not_hold_up_a_deletion() -> None:
    async def main() -> None:
        cluster = await served(Shape(nodes=(Node(id="a"),), external=True))
        await cluster.user.delete(EXTERNAL)
        await cluster.user.delete(WIDGET)
        await cluster.until(lambda: gone(cluster), 5)
        await cluster.stop()

    virtual.run(main())


def test_the_finalizer_of_early_kro_is_taken_off() -> None:
    async def main() -> None:
        cluster = await served()
        found = instance(cluster)
        assert found is not None
        legacy = f"{found['metadata']['uid']}.kro.run/finalizer"
        await cluster.user.merge_patch(WIDGET, {"metadata": {"finalizers": [FINALIZER, legacy]}}, manager="kro")
        await cluster.user.delete(WIDGET)
        await cluster.until(lambda: gone(cluster), 5)
        await cluster.stop()

    virtual.run(main())


@pytest.mark.parametrize("annotation", ["ConfigMap,Secret", ""])
def test_an_altered_inventory_stops_the_deletion_and_says_so(annotation: str) -> None:
    """Children that the controller may not see are not left behind silently; a person decides."""

    async def main() -> None:
        cluster = await served()
        await cluster.user.delete(definition_key(0))
        await cluster.until(lambda: not cluster.server.objects(GRAPH_DEFINITIONS), 5)
        patch = {"metadata": {"annotations": {ANNOTATION_APPLYSET_GROUP_KINDS: annotation}}}
        await cluster.user.merge_patch(WIDGET, patch, manager="kubectl-edit")
        await cluster.user.delete(WIDGET)

        def told() -> bool:
            found = instance(cluster)
            return found is not None and "deletion blocked" in str(found["status"]["conditions"])

        await cluster.until(told, 10)
        assert len(children(cluster)) == 2
        await cluster.user.merge_patch(WIDGET, {"metadata": {"finalizers": None}}, manager="kubectl-edit")
        await cluster.until(lambda: instance(cluster) is None, 5)
        await cluster.stop()

    virtual.run(main())


def test_a_foreign_finalizer_on_a_child_is_waited_for_and_named() -> None:
    async def main() -> None:
        cluster = await served()
        child = Key(CONFIG_MAPS, "default", "i0-widget-b")
        patch = {"metadata": {"finalizers": ["example.com/backup"]}}
        await cluster.user.merge_patch(child, patch, manager="backup")
        await cluster.user.delete(WIDGET)

        def told() -> bool:
            found = instance(cluster)
            return found is not None and "example.com/backup" in str(found["status"]["conditions"])

        await cluster.until(told, 10)
        assert sorted(children(cluster)) == ["i0-widget-a", "i0-widget-b"]
        await cluster.user.merge_patch(child, {"metadata": {"finalizers": None}}, manager="backup")
        await cluster.until(lambda: gone(cluster), 5)
        await cluster.stop()

    virtual.run(main())


def test_a_kind_that_may_not_be_listed_is_named_and_holds_up_only_who_needs_it() -> None:
    """Without permission for an external object, the instance reports it, and can be deleted; with it, it recovers."""

    async def main() -> None:
        cluster = Cluster()
        await cluster.user.create(EXTERNAL, {"metadata": {"name": EXTERNAL.name}, "data": {"token": EXTERNAL_TOKEN}})
        await cluster.define(0, Shape(nodes=(Node(id="a"),), external=True))
        forbidden = Fault(kind="403", begin_s=0, end_s=1e9, rate=1.0, path="fieldSelector=metadata.name")
        cluster.network.faults.append(forbidden)
        for number in range(2):
            await cluster.make(0, number)

        def told() -> bool:
            found = instance(cluster)
            return found is not None and "configmaps could not be listed: injected 403" in str(found.get("status"))

        await cluster.until(told, 30)
        await cluster.user.delete(WIDGET)
        await cluster.until(lambda: instance(cluster) is None, 30)
        cluster.network.faults.clear()
        await cluster.until(lambda: cluster.active(0) == 1, 60)
        await cluster.stop()

    virtual.run(main())


def test_a_kind_that_is_not_found_for_a_moment_leaves_no_child_behind() -> None:
    """A 404 for a list says nothing about children while discovery has the kind."""

    async def main() -> None:
        cluster = await restarted_without_definition()
        cluster.network.faults.append(Fault(kind="404", begin_s=0, end_s=1e9, rate=1.0, path="/configmaps"))
        await cluster.user.delete(WIDGET)
        await cluster.until(lambda: "deletion blocked" in str(instance(cluster)), 30)
        cluster.network.faults.clear()
        await cluster.until(lambda: gone(cluster), 60)
        await cluster.stop()

    virtual.run(main())


def test_a_deletion_that_may_not_list_a_kind_of_its_inventory_says_so() -> None:
    async def main() -> None:
        cluster = await restarted_without_definition()
        cluster.network.faults.append(Fault(kind="403", begin_s=0, end_s=1e9, rate=1.0, path="/configmaps"))
        await cluster.user.delete(WIDGET)

        def told() -> bool:
            found = instance(cluster)
            return found is not None and "deletion blocked: list deletion inventory" in str(found["status"])

        await cluster.until(told, 30)
        assert len(children(cluster)) == 2
        cluster.network.faults.clear()
        await cluster.until(lambda: gone(cluster), 60)
        await cluster.stop()

    virtual.run(main())


def test_a_child_made_without_an_answer_does_not_outlive_its_instance() -> None:
    """Its watch cannot be opened either: only a GET shows that the object exists."""

    async def main() -> None:
        cluster = Cluster()
        await cluster.define(0)
        now = cluster.loop.time()
        lost = Fault(kind="lost-answer", begin_s=now, end_s=now + 60, rate=1.0, methods=frozenset({"PATCH"}))
        blind = Fault(
            kind="503", begin_s=now, end_s=now + 60, rate=1.0, methods=frozenset({"GET"}), path="/configmaps?"
        )
        cluster.network.faults = [replace(lost, path="/configmaps/i0-widget-a"), blind]
        for stream in cluster.server.streams():
            if stream.resource == CONFIG_MAPS:
                stream.cut(aiohttp.ClientPayloadError("cut"))
        await cluster.make(0, 0)
        await cluster.until(lambda: children(cluster) == ["i0-widget-a"], 5)
        await cluster.user.delete(WIDGET)
        await cluster.until(lambda: instance(cluster) is None, 30)
        assert children(cluster) == []
        await cluster.stop()

    virtual.run(main())


def test_a_definition_made_again_waits_for_its_old_revision_to_go() -> None:
    async def main() -> None:
        cluster = await served()
        [revision] = cluster.server.objects(REVISIONS)
        key = Key(REVISIONS, "", revision["metadata"]["name"])
        finalizers = [*revision["metadata"]["finalizers"], "example.com/hold"]
        await cluster.user.merge_patch(key, {"metadata": {"finalizers": finalizers}}, manager="holder")
        await cluster.user.delete(definition_key(0))
        await cluster.until(lambda: not cluster.server.objects(GRAPH_DEFINITIONS), 5)
        await cluster.user.delete(key)
        await cluster.define(0)
        waiting = resolved(cluster)
        assert (waiting["status"], waiting["reason"]) == ("Unknown", "WaitingForGraphRevisionSettlement")
        assert waiting["message"] == "waiting for terminating graph revisions to settle"
        await cluster.user.merge_patch(key, {"metadata": {"finalizers": None}}, manager="holder")
        await cluster.until(lambda: resolved(cluster)["status"] == "True", 5)
        assert [obj["metadata"]["name"] for obj in cluster.server.objects(REVISIONS)] == [key.name]
        await cluster.stop()

    virtual.run(main())


def resolved(cluster: Cluster) -> Obj:
    """The condition GraphRevisionsResolved of the definition."""
    [definition] = cluster.server.objects(GRAPH_DEFINITIONS)
    conditions = definition["status"]["conditions"]
    return next(c for c in conditions if c["type"] == "GraphRevisionsResolved")
