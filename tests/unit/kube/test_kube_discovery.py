"""Discovery of the resources of kinds, with one request per group-version."""

import asyncio
from typing import Any

import pytest

from kroasync.kube.api_errors import ServerError
from kroasync.kube.discovery import Discovery
from kroasync.model.objects import GVK, Resource
from tests.samples import DEPLOYMENTS, NODES

APPS = {
    "kind": "APIResourceList",
    "resources": [
        {"name": "deployments", "kind": "Deployment", "namespaced": True},
        {"name": "deployments/scale", "kind": "Scale", "namespaced": True, "group": "autoscaling"},
        {"name": "deployments/status", "kind": "Deployment", "namespaced": True},
    ],
}
CORE = {"resources": [{"name": "nodes", "kind": "Node", "namespaced": False}]}


async def test_plural_and_scope(api: Any) -> None:
    api.on("GET", "/apis/apps/v1", api.json(APPS))
    api.on("GET", "/api/v1", api.json(CORE))
    discovery = Discovery(api.client())
    assert await discovery.resource(GVK("apps", "v1", "Deployment")) == DEPLOYMENTS
    assert await discovery.resource(GVK("", "v1", "Node")) == NODES


async def test_subresources_are_no_kinds(api: Any) -> None:
    api.on("GET", "/apis/apps/v1", api.json(APPS))
    assert await Discovery(api.client()).resource(GVK("apps", "v1", "Scale")) is None


async def test_a_known_kind_is_not_asked_for_again(api: Any) -> None:
    api.on("GET", "/apis/apps/v1", api.json(APPS))
    discovery = Discovery(api.client())
    for _ in range(3):
        await discovery.resource(GVK("apps", "v1", "Deployment"))
    assert len(api.seen) == 1


async def test_simultaneous_questions_ask_once(api: Any) -> None:
    api.on("GET", "/apis/apps/v1", api.json(APPS))
    discovery = Discovery(api.client())
    async with asyncio.TaskGroup() as tasks:
        found = [tasks.create_task(discovery.resource(GVK("apps", "v1", "Deployment"))) for _ in range(5)]
    assert len({t.result() for t in found}) == 1
    assert len(api.seen) == 1


async def test_a_kind_may_appear_later(api: Any) -> None:
    discovery = Discovery(api.client())
    kind = GVK("kro.run", "v1", "WebApp")
    assert await discovery.resource(kind) is None
    api.on("GET", "/apis/kro.run/v1", api.json({"resources": []}))
    assert await discovery.resource(kind) is None
    api.on("GET", "/apis/kro.run/v1", api.json({"resources": [{"name": "webapps", "kind": "WebApp"}]}))
    found = await discovery.resource(kind)
    assert found is not None
    assert found.plural == "webapps"


@pytest.mark.parametrize("api_version", ["apps/v1", None])
async def test_invalidate_forgets(api: Any, api_version: str | None) -> None:
    api.on("GET", "/apis/apps/v1", api.json(APPS), api.json({"resources": []}))
    discovery = Discovery(api.client())
    kind = GVK("apps", "v1", "Deployment")
    assert await discovery.resource(kind) is not None
    discovery.invalidate(api_version)
    assert await discovery.resource(kind) is None


async def test_a_failing_server_is_no_missing_kind(api: Any) -> None:
    api.on("GET", "/apis/apps/v1", api.json({}, 500))
    with pytest.raises(ServerError):
        await Discovery(api.client()).resource(GVK("apps", "v1", "Deployment"))


async def test_the_preferred_version_that_has_the_kind(api: Any) -> None:
    versions = [{"version": "v1"}, {"version": "v2"}, {"version": "v3"}]
    api.on("GET", "/apis/g.io", api.json({"versions": versions, "preferredVersion": {"version": "v2"}}))
    api.on("GET", "/apis/g.io/v2", api.json({"resources": []}))
    api.on("GET", "/apis/g.io/v1", api.json({"resources": [{"name": "ks", "kind": "K", "namespaced": True}]}))
    discovery = Discovery(api.client())
    assert await discovery.versions("g.io") == ["v2", "v1", "v3"]
    assert await discovery.resource_of_group_kind("g.io", "K") == Resource("g.io", "v1", "K", "ks")
    assert await discovery.resource_of_group_kind("g.io", "L") is None


async def test_the_core_group_and_groups_that_are_not(api: Any) -> None:
    api.on("GET", "/api/v1", api.json(CORE))
    discovery = Discovery(api.client())
    assert await discovery.resource_of_group_kind("", "Node") is not None
    assert await discovery.resource_of_group_kind("none.io", "K") is None
