"""Objects whose policy is Orphaned outlive their instance: without a definition, after a crash, and until adopted."""

import asyncio
from copy import deepcopy

import pytest

from kroasync.controller.runtime import RuntimeOptions
from kroasync.model import names
from kroasync.model.kinds import GRAPH_DEFINITIONS, REVISIONS
from kroasync.model.objects import Key, Obj, annotations_of, labels_of
from tests.fakes import virtual
from tests.samples import CONFIG_MAPS
from tests.simulation.cluster import ONE, Cluster
from tests.simulation.family import HOME, definition_key, instance_key, manifest, resource_of

OPTIONS = RuntimeOptions(features=frozenset({"DeletionPolicy"}))
WIDGET = instance_key(0, 0)
KEPT = "i0-widget-a"


def keeping(policy: str = "Orphaned") -> Obj:
    """a <- b; a has the policy."""
    obj = deepcopy(manifest(0, ONE))
    meta = obj["spec"]["resources"][0]["template"]["metadata"]
    meta["annotations"] = {names.ANNOTATION_DELETION_POLICY: policy, "note": "author's"}
    meta["labels"] = {"app": "shop"}
    return obj


async def served(policy: str = "Orphaned") -> Cluster:
    cluster = Cluster(options=OPTIONS)
    await cluster.user.create(definition_key(0), keeping(policy))
    await asyncio.sleep(5)
    await cluster.make(0, 0)
    await cluster.until(lambda: cluster.active(0) == 1, 20)
    return cluster


def configs(cluster: Cluster) -> dict[str, Obj]:
    found = cluster.server.objects(CONFIG_MAPS)
    return {obj["metadata"]["name"]: obj for obj in found if obj["metadata"]["namespace"] == HOME}


def gone(cluster: Cluster) -> bool:
    return cluster.server.stored(resource_of(0), WIDGET.namespace, WIDGET.name) is None


def check_kept(cluster: Cluster, uid: str) -> None:
    """Only the object with the policy is left: the same object, with its data, and nobody's."""
    assert set(configs(cluster)) == {KEPT}
    obj = configs(cluster)[KEPT]
    assert obj["metadata"]["uid"] == uid
    assert "deletionTimestamp" not in obj["metadata"]
    assert obj["data"] == {"value": "a"}
    assert labels_of(obj) == {"app": "shop"}
    assert annotations_of(obj) == {"note": "author's"}


def test_an_orphan_outlives_its_instance_and_the_next_one_adopts_it() -> None:
    async def main() -> None:
        cluster = await served()
        uid = configs(cluster)[KEPT]["metadata"]["uid"]
        await cluster.user.delete(WIDGET)
        await cluster.until(lambda: gone(cluster), 5)
        check_kept(cluster, uid)
        await cluster.user.merge_patch(Key(CONFIG_MAPS, HOME, KEPT), {"data": {"more": "x"}}, manager="kubectl-edit")
        await cluster.make(0, 0)
        await cluster.until(lambda: cluster.active(0) == 1, 10)
        obj = configs(cluster)[KEPT]
        assert obj["metadata"]["uid"] == uid
        assert obj["data"] == {"value": "a", "more": "x"}
        assert annotations_of(obj)[names.ANNOTATION_DELETION_POLICY] == "Orphaned"
        assert names.LABEL_APPLYSET_PART_OF in labels_of(obj)
        await cluster.stop()

    virtual.run(main())


def test_an_orphan_needs_no_definition() -> None:
    async def main() -> None:
        cluster = await served()
        uid = configs(cluster)[KEPT]["metadata"]["uid"]
        await cluster.user.delete(definition_key(0))
        await cluster.until(lambda: not cluster.server.objects(GRAPH_DEFINITIONS), 5)
        await cluster.until(lambda: not cluster.server.objects(REVISIONS), 5)
        await cluster.user.delete(WIDGET)
        await cluster.until(lambda: gone(cluster), 5)
        check_kept(cluster, uid)
        await cluster.stop()

    virtual.run(main())


def test_an_orphan_is_released_by_the_next_process() -> None:
    async def main() -> None:
        cluster = await served()
        uid = configs(cluster)[KEPT]["metadata"]["uid"]
        await cluster.stop()
        await cluster.user.delete(WIDGET)
        again = Cluster(options=OPTIONS, server=cluster.server)
        await again.until(lambda: gone(again), 20)
        check_kept(again, uid)
        await again.stop()

    virtual.run(main())


@pytest.mark.parametrize(("first", "then", "kept"), [("Orphaned", "Delete", set()), ("Delete", "Orphaned", {KEPT})])
def test_a_changed_policy_counts_once_it_is_applied(first: str, then: str, kept: set[str]) -> None:
    async def main() -> None:
        cluster = await served(first)
        await cluster.user.merge_patch(definition_key(0), {"spec": keeping(then)["spec"]}, manager="kubectl-edit")

        def is_applied() -> bool:
            return annotations_of(configs(cluster)[KEPT])[names.ANNOTATION_DELETION_POLICY] == then

        await cluster.until(is_applied, 20)
        await cluster.user.delete(WIDGET)
        await cluster.until(lambda: gone(cluster), 5)
        assert set(configs(cluster)) == kept
        await cluster.stop()

    virtual.run(main())


def test_a_policy_that_a_person_sets_on_the_live_object_counts() -> None:
    """Whatever the template says, and also without the gate: a child that a person wants to keep is not deleted."""

    async def main() -> None:
        cluster = Cluster()
        await cluster.define(0)
        await cluster.make(0, 0)
        await cluster.until(lambda: cluster.active(0) == 1, 20)
        patch = {"metadata": {"annotations": {names.ANNOTATION_DELETION_POLICY: "Orphaned"}}}
        await cluster.user.merge_patch(Key(CONFIG_MAPS, HOME, KEPT), patch, manager="kubectl-annotate")
        await cluster.until(lambda: cluster.active(0) == 1, 5)
        await cluster.user.delete(WIDGET)
        await cluster.until(lambda: gone(cluster), 5)
        assert set(configs(cluster)) == {KEPT}
        await cluster.stop()

    virtual.run(main())


def test_a_policy_that_the_watch_has_not_reported_yet_counts_too() -> None:
    """`kubectl annotate` and `kubectl delete` on the heels of each other, while the watch of children is silent."""

    async def main() -> None:
        cluster = Cluster()
        await cluster.define(0)
        await cluster.make(0, 0)
        await cluster.until(lambda: cluster.active(0) == 1, 20)
        silent = [stream for stream in cluster.server.streams() if stream.resource == CONFIG_MAPS]
        assert silent
        for stream in silent:
            stream.silent = True
        patch = {"metadata": {"annotations": {names.ANNOTATION_DELETION_POLICY: "Orphaned"}}}
        await cluster.user.merge_patch(Key(CONFIG_MAPS, HOME, KEPT), patch, manager="kubectl-annotate")
        await cluster.user.delete(WIDGET)
        await cluster.until(lambda: gone(cluster), 20)
        assert set(configs(cluster)) == {KEPT}
        await cluster.stop()

    virtual.run(main())


def deletion(crash_at: int | None) -> tuple[int, int]:
    """Delete an instance, and crash in this turn of the event loop; returns the turns in which the deletion ran."""

    async def main() -> tuple[int, int]:
        cluster = await served()
        uid = configs(cluster)[KEPT]["metadata"]["uid"]
        restarted: list[Cluster] = []

        def crash() -> None:
            task = cluster.task
            task.cancel()
            task.add_done_callback(lambda _: restarted.append(Cluster(options=OPTIONS, server=cluster.server)))

        first = cluster.loop.turns
        if crash_at is not None:
            cluster.loop.at_turn = (first + crash_at, crash)
        await cluster.user.delete(WIDGET)
        await cluster.until(lambda: gone(cluster), 60)
        last = cluster.loop.turns
        check_kept(cluster, uid)
        for running in restarted or [cluster]:
            await running.stop()
        return first, last

    return virtual.run(main())


def test_a_crash_at_any_turn_of_the_deletion_keeps_the_orphan_and_ends_the_rest() -> None:
    first, last = deletion(None)
    assert last - first > 20
    for turn in range(1, last - first):
        deletion(turn)
