"""The adapters against a real API server: it behaves as the unit tests assume."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import orjson
import pytest

from kroasync.kube import openapi
from kroasync.kube.api_errors import (
    AlreadyExistsError,
    ConflictError,
    ForbiddenError,
    GoneError,
    InvalidError,
    NotFoundError,
    UnauthorizedError,
    UnreachableError,
    error_of_status,
)
from kroasync.kube.client import Client
from kroasync.kube.config import connect
from kroasync.kube.discovery import Discovery
from kroasync.kube.lease import Elector
from kroasync.kube.watch import LineSplitter, Watch
from kroasync.model.kinds import CRDS, LEASES, SECRETS
from kroasync.model.objects import GVK, Key, Obj, Resource
from tests.samples import CONFIG_MAPS, DEPLOYMENTS, NAMESPACES, config_map, crd
from tests.waiting import until

pytestmark = pytest.mark.integration


def configmap(name: str, **data: str) -> tuple[Key, Obj]:
    return Key(CONFIG_MAPS, "default", name), config_map(name, "default", data, labels={"test": name})


class World:
    """A sink that has the objects of the watch, and can wait for a state."""

    def __init__(self) -> None:
        self.objects: dict[str, Obj] = {}
        self.lists = 0
        self.changed = asyncio.Event()

    def keep(self, obj: Obj) -> Obj:
        return obj

    def replace(self, items: list[Obj], version: str) -> None:
        self.lists += 1
        self.objects = {i["metadata"]["name"]: i for i in items}
        self.changed.set()

    def event(self, type: str, obj: Obj) -> None:
        name = obj["metadata"]["name"]
        if type == "DELETED":
            self.objects.pop(name, None)
        else:
            self.objects[name] = obj
        self.changed.set()

    async def until(self, done: Callable[[], bool], within_s: float = 20) -> None:
        async with asyncio.timeout(within_s):
            while not done():
                self.changed.clear()
                await self.changed.wait()


@asynccontextmanager
async def watching(client: Client, resource: Resource, world: World, **options: Any) -> AsyncIterator[Watch]:
    watch = Watch(client, resource, sink=world, rng=random.Random(1), backoff_s=(0.05, 0.5), **options)
    task = asyncio.get_running_loop().create_task(watch.run())
    try:
        async with asyncio.timeout(20):
            await watch.synced.wait()
        yield watch
        assert not task.done()
    finally:
        task.cancel()
        await asyncio.wait([task])


async def first_event(client: Client, path: str, version: str) -> Obj:
    """The object of the first event of a watch from this version; raises the error of an ERROR event."""
    lines = LineSplitter()
    query = {"watch": "true", "resourceVersion": version}
    async with asyncio.timeout(20), client.stream(path, query) as response:
        async for chunk in response.content.iter_any():
            for line in lines.feed(chunk):
                event = orjson.loads(line)
                if event["type"] == "ERROR":
                    raise error_of_status(event["object"])
                return dict(event["object"])
    raise AssertionError("the watch ended without an event")


async def test_version(client: Client) -> None:
    assert (await client.request("GET", "/version"))["gitVersion"].startswith("v1.")


async def test_life_of_an_object(client: Client) -> None:
    key, obj = configmap("life", a="1")
    created = await client.create(key, obj, manager="m")
    assert created["data"] == {"a": "1"}
    with pytest.raises(AlreadyExistsError):
        await client.create(key, obj)
    patched = await client.merge_patch(key, {"data": {"a": None, "b": "2"}}, manager="m")
    assert patched["data"] == {"b": "2"}
    await client.merge_patch(key, {"data": {"c": "3"}}, manager="m")
    assert (await client.get(key))["data"] == {"b": "2", "c": "3"}
    with pytest.raises(ConflictError) as caught:
        await client.put(key, created, manager="m")
    assert caught.value.managers == ()
    with pytest.raises(ConflictError):
        await client.delete(key, uid="00000000-0000-0000-0000-000000000000")
    assert await client.delete(key, uid=created["metadata"]["uid"], propagation="Background") is None
    with pytest.raises(NotFoundError):
        await client.get(key)
    with pytest.raises(NotFoundError):
        await client.delete(key)


async def test_a_finalizer_keeps_a_deleted_object(client: Client) -> None:
    key, obj = configmap("finalized")
    obj["metadata"]["finalizers"] = ["kro.run/finalizer"]
    await client.create(key, obj)
    waiting = await client.delete(key)
    assert waiting is not None
    assert waiting["metadata"]["deletionTimestamp"]
    await client.merge_patch(key, {"metadata": {"finalizers": None}}, manager="m")
    with pytest.raises(NotFoundError):
        await client.get(key)


async def test_apply_conflicts_name_the_other_manager(client: Client) -> None:
    key, obj = configmap("applied", a="1")
    first = await client.apply(key, obj, manager="first", force=False)
    again = await client.apply(key, obj, manager="first", force=False)
    assert first["metadata"]["resourceVersion"] == again["metadata"]["resourceVersion"]
    obj["data"]["a"] = "2"
    with pytest.raises(ConflictError) as caught:
        await client.apply(key, obj, manager="second", force=False)
    assert (caught.value.managers, caught.value.fields) == (("first",), (".data.a",))
    assert (await client.apply(key, obj, manager="second", force=True))["data"] == {"a": "2"}


async def test_what_the_server_refuses(client: Client) -> None:
    key, obj = configmap("Not_A_Name")
    with pytest.raises(InvalidError) as caught:
        await client.create(key, obj)
    assert caught.value.status == 422
    assert caught.value.causes
    with pytest.raises(InvalidError):
        await client.create(key, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": []})
    with pytest.raises(NotFoundError):
        await client.list(Resource("none.example.com", "v1", "None", "nones"))


async def test_lists_in_pages(client: Client) -> None:
    for number in range(7):
        key, obj = configmap(f"page-{number}")
        obj["metadata"]["labels"]["set"] = "pages"
        await client.create(key, obj)
    items, version = await client.list(CONFIG_MAPS, "default", label_selector="set=pages", limit=3)
    assert [i["metadata"]["name"] for i in items] == [f"page-{n}" for n in range(7)]
    assert all((i["apiVersion"], i["kind"]) == ("v1", "ConfigMap") for i in items)
    assert int(version) > 0
    one, _ = await client.list(CONFIG_MAPS, field_selector="metadata.name=page-3,metadata.namespace=default")
    assert len(one) == 1


async def test_a_watch_follows(client: Client) -> None:
    world = World()
    key, obj = configmap("watched", a="1")
    async with watching(client, CONFIG_MAPS, world, label_selector="test=watched"):
        await client.create(key, obj)
        await world.until(lambda: "watched" in world.objects)
        await client.merge_patch(key, {"data": {"a": "2"}}, manager="m")
        await world.until(lambda: world.objects["watched"]["data"]["a"] == "2")
        # For a watch with a selector, an object that leaves the selection is deleted.
        await client.merge_patch(key, {"metadata": {"labels": None}}, manager="m")
        await world.until(lambda: world.objects == {})
        assert world.lists == 1


async def test_a_watch_carries_objects_of_a_megabyte(client: Client) -> None:
    world = World()
    key, obj = configmap("large", data="x" * 900_000)
    async with watching(client, CONFIG_MAPS, world, label_selector="test=large"):
        await client.create(key, obj)
        await world.until(lambda: "large" in world.objects)
        assert len(world.objects["large"]["data"]["data"]) == 900_000


async def test_a_watch_goes_on_after_the_servers_timeout(client: Client) -> None:
    world = World()
    key, obj = configmap("timeouts", a="0")
    await client.create(key, obj)
    async with watching(client, CONFIG_MAPS, world, label_selector="test=timeouts", server_timeout_s=(1, 1)) as watch:
        for number in range(1, 4):
            await asyncio.sleep(1)  # the server's timeout, which is what this is about
            await client.merge_patch(key, {"data": {"a": str(number)}}, manager="m")
            await world.until(lambda n=str(number): world.objects["timeouts"]["data"]["a"] == n)  # type: ignore[misc]
        assert (world.lists, watch.errors) == (1, 0)


async def test_a_kind_that_comes_goes_and_comes_again(client: Client) -> None:
    world = World()
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    definition = crd("Comet", group="contract.example.com", schema=schema, subresources={"status": {}})
    key = Key(CRDS, "", definition["metadata"]["name"])
    comets = Resource("contract.example.com", "v1", "Comet", "comets")
    comet = Key(comets, "default", "halley")
    body = {"apiVersion": "contract.example.com/v1", "kind": "Comet", "metadata": {"name": "halley"}}
    discovery = Discovery(client)

    async def appears() -> None:
        async with asyncio.timeout(20):
            while True:
                try:
                    await client.create(comet, body)
                    return
                except NotFoundError:
                    await asyncio.sleep(0.05)

    async with watching(client, comets, world) as watch:
        assert watch.missing
        assert await discovery.resource(comets.gvk) is None
        for _ in range(2):
            await client.create(key, definition)
            await appears()
            await world.until(lambda: "halley" in world.objects)
            assert not watch.missing
            assert await discovery.resource(comets.gvk) == comets
            status = {"status": {"seen": True}}
            answer = await client.merge_patch(comet, status, manager="m", subresource="status")
            assert answer["status"] == {"seen": True}
            await client.delete(key)
            discovery.invalidate("contract.example.com/v1")
            await world.until(lambda: world.objects == {})
            await until(lambda: watch.missing)


async def test_discovery_of_built_in_kinds(client: Client) -> None:
    discovery = Discovery(client)
    assert await discovery.resource(GVK("apps", "v1", "Deployment")) == DEPLOYMENTS
    assert await discovery.resource(GVK("", "v1", "Namespace")) == NAMESPACES
    scaler = await discovery.resource_of_group_kind("autoscaling", "HorizontalPodAutoscaler")
    assert scaler is not None
    assert scaler.version == "v2"
    assert await discovery.resource_of_group_kind("apps", "Nonsense") is None


async def test_openapi_documents(client: Client) -> None:
    documents = await openapi.index(client)
    assert {"v1", "apps/v1"} <= documents.keys()
    assert documents["apps/v1"].hash
    document = await openapi.fetch(client, "apps/v1", document=documents["apps/v1"])
    assert document is not None
    assert "io.k8s.api.apps.v1.Deployment" in document["components"]["schemas"]
    stale = openapi.GroupVersionDocument(path=documents["v1"].path.split("?")[0] + "?hash=OUTDATED", hash="OUTDATED")
    assert await openapi.fetch(client, "v1", document=stale) is not None
    assert await openapi.fetch(client, "none.example.com/v1") is None


async def test_a_limited_account_is_told_what_it_lacks(plane: Any, client: Client, tmp_path: Any) -> None:
    plane.kubectl("create", "serviceaccount", "limited", "--namespace=default")
    token = plane.kubectl("create", "token", "limited", "--namespace=default").strip()
    path = plane.kubeconfig_for_token(token, tmp_path / "limited")
    connection = await connect(kubeconfig=str(path))
    try:
        with pytest.raises(ForbiddenError, match='cannot list resource "secrets"'):
            await Client(connection).list(SECRETS)
    finally:
        await connection.close()


async def test_a_wrong_token_and_a_wrong_authority(plane: Any, tmp_path: Any) -> None:
    path = plane.kubeconfig_for_token("nonsense", tmp_path / "wrong")
    connection = await connect(kubeconfig=str(path))
    try:
        with pytest.raises(UnauthorizedError):
            await Client(connection).list(CONFIG_MAPS)
    finally:
        await connection.close()
    text = path.read_text()
    lines = [line for line in text.splitlines() if "certificate-authority-data" not in line]
    path.write_text("\n".join(lines))
    connection = await connect(kubeconfig=str(path))
    try:
        with pytest.raises(UnreachableError, match=r"(?i)certificate") as caught:
            await Client(connection).create(*configmap("never"))
        assert not caught.value.maybe_done
    finally:
        await connection.close()


async def test_two_candidates_and_one_lease(client: Client) -> None:
    one, two = (
        Elector(
            client,
            "default",
            "contract",
            name,
            lease_duration_s=2.0,
            renew_deadline_s=1.5,
            retry_period_s=0.2,
        )
        for name in ("one", "two")
    )
    await one.acquire()
    async with asyncio.TaskGroup() as tasks:
        holding = tasks.create_task(one.hold())
        waiting = tasks.create_task(two.acquire())
        await asyncio.sleep(1)
        assert (one.is_leader, two.is_leader) == (True, False)
        holding.cancel()
        await asyncio.wait([holding])
        await one.release()
        async with asyncio.timeout(1):
            await waiting
    lease = await client.get(Key(LEASES, "default", "contract"))
    assert lease["spec"]["holderIdentity"] == "two"
    assert lease["spec"]["leaseTransitions"] >= 1


async def test_a_server_that_goes_away_and_comes_back(plane: Any, client: Client) -> None:
    world = World()
    key, obj = configmap("survivor", a="1")
    await client.create(key, obj)
    async with watching(client, CONFIG_MAPS, world, label_selector="test=survivor") as watch:
        plane.stop("kube-apiserver")
        with pytest.raises(UnreachableError):
            await client.merge_patch(key, {"data": {"a": "2"}}, manager="m")
        await until(lambda: watch.error is not None)
        assert not watch.connected
        plane.start("kube-apiserver")
        await until(lambda: watch.connected)
        await client.merge_patch(key, {"data": {"a": "3"}}, manager="m")
        await world.until(lambda: world.objects["survivor"]["data"]["a"] == "3")
    # The new process knows nothing of earlier versions.
    with pytest.raises(GoneError):
        await first_event(client, "/api/v1/namespaces/default/configmaps", "1")


async def test_a_frozen_server_is_noticed(plane: Any, client: Client) -> None:
    """The sockets stay open, and the server refuses nothing: only the idle deadline shows the failure."""
    world = World()
    key, obj = configmap("frozen", a="1")
    await client.create(key, obj)
    async with watching(client, CONFIG_MAPS, world, label_selector="test=frozen", idle_deadline_s=1.0) as watch:
        plane.pause("kube-apiserver")
        try:
            with pytest.raises(UnreachableError) as caught:
                await client.request("GET", "/api/v1/namespaces/default", timeout_s=0.5)
            assert caught.value.reason == "Timeout"
            await until(lambda: watch.error is not None)
        finally:
            plane.resume("kube-apiserver")
        await client.merge_patch(key, {"data": {"a": "2"}}, manager="m")
        await world.until(lambda: world.objects["frozen"]["data"]["a"] == "2")
