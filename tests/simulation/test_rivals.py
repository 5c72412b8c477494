"""Several definitions of one kind, or of one name: the owner of the kind, those that wait, and what they delete."""

from kroasync.controller.runtime import RuntimeOptions
from kroasync.model.kinds import CRDS, REVISIONS
from kroasync.model.objects import Key, Obj, labels_of
from tests.fakes import virtual
from tests.fakes.client import Fault
from tests.samples import NAMESPACES
from tests.simulation.cluster import ONE, Cluster
from tests.simulation.family import HOME, OTHER, Place, crd_of, kind_of, manifest

FIRST = Place(kind=0, name=0, namespace=HOME)
NAMESAKE = Place(kind=0, name=0, namespace=OTHER)
OF_ANOTHER_KIND = Place(kind=1, name=0, namespace=OTHER)


async def two(second: Place, *, options: RuntimeOptions | None = None) -> Cluster:
    """A cluster with two definitions; the first one was created before the second one."""
    cluster = Cluster(options=options)
    await cluster.user.create(Key(NAMESPACES, "", OTHER), {"metadata": {"name": OTHER}})
    for place in (FIRST, second):
        await cluster.user.create(place.key, manifest(place.kind, ONE, place))
        await cluster.until(lambda key=place.key: state(cluster, key) != "", 10)  # type: ignore[misc]
    return cluster


def status(cluster: Cluster, key: Key) -> Obj:
    stored = cluster.server.stored(key.resource, key.namespace, key.name)
    found: Obj = (stored.obj.get("status") or {}) if stored is not None else {}
    return found


def state(cluster: Cluster, key: Key) -> str:
    return str(status(cluster, key).get("state", ""))


def revisions(cluster: Cluster) -> list[str]:
    return [str(revision["spec"]["snapshot"]["name"]) for revision in cluster.server.objects(REVISIONS)]


def test_the_second_definition_of_a_kind_names_the_first_and_takes_over_when_that_goes() -> None:
    async def main() -> None:
        cluster = await two(NAMESAKE)
        assert (state(cluster, FIRST.key), state(cluster, NAMESAKE.key)) == ("Active", "Inactive")
        told = str(status(cluster, NAMESAKE.key)["conditions"])
        assert f"CRD is owned by another {FIRST.key}" in told
        await cluster.make(0, 0)
        await cluster.until(lambda: cluster.active(0) == 1, 10)
        await cluster.user.delete(FIRST.key)
        await cluster.until(lambda: state(cluster, NAMESAKE.key) == "Active", 5)
        await cluster.stop()

    virtual.run(main())


def test_who_does_not_have_the_kind_leaves_its_crd_alone_when_it_goes() -> None:
    async def main() -> None:
        cluster = await two(NAMESAKE, options=RuntimeOptions(allow_crd_deletion=True))
        before = cluster.server.objects(CRDS)[0]["metadata"]["uid"]
        await cluster.user.delete(NAMESAKE.key)
        await cluster.until(lambda: state(cluster, NAMESAKE.key) == "", 5)
        await cluster.make(0, 0)
        await cluster.until(lambda: cluster.active(0) == 1, 10)
        assert [crd["metadata"]["uid"] for crd in cluster.server.objects(CRDS)] == [before]
        await cluster.stop()

    virtual.run(main())


def test_a_definition_takes_its_own_revisions_along_and_not_those_of_its_namesake() -> None:
    """All revisions are deleted, although the watch of revisions is silent."""

    async def main() -> None:
        cluster = Cluster()
        await cluster.user.create(Key(NAMESPACES, "", OTHER), {"metadata": {"name": OTHER}})
        await cluster.until(lambda: bool(cluster.server.streams()), 5)
        for place in (FIRST, OF_ANOTHER_KIND):
            await cluster.user.create(place.key, manifest(place.kind, ONE, place))
            await cluster.until(lambda key=place.key: state(cluster, key) == "Active", 10)  # type: ignore[misc]
        stray = dict(cluster.server.objects(REVISIONS)[0])
        for stream in cluster.server.streams():
            if stream.resource == REVISIONS:
                stream.silent = True
        meta = {"name": "unseen", "labels": dict(labels_of(stray))}
        await cluster.user.create(Key(REVISIONS, "", "unseen"), {"metadata": meta, "spec": stray["spec"]})
        assert revisions(cluster) == [f"{HOME}/{kind_of(0).lower()}", f"{OTHER}/{kind_of(0).lower()}", f"{HOME}/widget"]
        await cluster.user.delete(FIRST.key)
        await cluster.until(lambda: state(cluster, FIRST.key) == "", 5)
        await cluster.until(lambda: revisions(cluster) == [f"{OTHER}/widget"], 200)
        assert cluster.server.stored(CRDS, "", crd_of(1).name) is not None
        assert state(cluster, OF_ANOTHER_KIND.key) == "Active"
        await cluster.stop()

    virtual.run(main())


def test_a_definition_deleted_while_its_pass_waited_makes_no_crd() -> None:
    """Otherwise the CRD would keep the kind for a definition that is gone."""

    async def main() -> None:
        cluster = Cluster()
        now = cluster.loop.time()
        path = f"/customresourcedefinitions/{crd_of(0).name}"
        slow = Fault(kind="slow", begin_s=now, end_s=now + 30, rate=1.0, methods=frozenset({"GET"}), path=path)
        cluster.network.faults = [slow]
        await cluster.user.create(FIRST.key, manifest(0, ONE, FIRST))
        await cluster.until(lambda: revisions(cluster) != [], 4)
        await cluster.user.delete(FIRST.key)
        await cluster.until(lambda: state(cluster, FIRST.key) == "" and not revisions(cluster), 60)
        assert cluster.server.objects(CRDS) == []
        await cluster.stop()

    virtual.run(main())
