"""OpenAPI documents by group-version."""

from typing import Any

import pytest

from kroasync.kube import openapi
from kroasync.kube.api_errors import ServerError

INDEX = {
    "paths": {
        "api": {"serverRelativeURL": "/openapi/v3/api?hash=0"},
        "api/v1": {"serverRelativeURL": "/openapi/v3/api/v1?hash=AB%2B1"},
        "apis/apps": {"serverRelativeURL": "/openapi/v3/apis/apps?hash=2"},
        "apis/apps/v1": {"serverRelativeURL": "/openapi/v3/apis/apps/v1?hash=3"},
        "apis/kro.run/v1": {"serverRelativeURL": "/openapi/v3/apis/kro.run/v1"},
        "version": {"serverRelativeURL": "/openapi/v3/version?hash=4"},
        "apis/evil.io/v1": {"serverRelativeURL": "http://elsewhere/x"},
        "apis/odd.io/v1": 7,
    }
}


async def test_index_has_the_group_versions_and_their_hashes(api: Any) -> None:
    api.on("GET", "/openapi/v3", api.json(INDEX))
    found = await openapi.index(api.client())
    assert {name: doc.hash for name, doc in found.items()} == {"v1": "AB+1", "apps/v1": "3", "kro.run/v1": ""}


async def test_fetch_by_api_version(api: Any) -> None:
    api.on("GET", "/openapi/v3", api.json(INDEX))
    api.on("GET", "/openapi/v3/apis/apps/v1", api.json({"components": {}}))
    assert await openapi.fetch(api.client(), "apps/v1") == {"components": {}}
    assert api.seen[-1].query == {}


async def test_fetch_with_an_index_at_hand_asks_once(api: Any) -> None:
    api.on("GET", "/openapi/v3/api/v1", api.json({"a": 1}))
    document = openapi.GroupVersionDocument(path="/openapi/v3/api/v1?hash=1", hash="1")
    assert await openapi.fetch(api.client(), "v1", document=document) == {"a": 1}
    assert len(api.seen) == 1


async def test_no_such_group_version(api: Any) -> None:
    api.on("GET", "/openapi/v3", api.json(INDEX))
    assert await openapi.fetch(api.client(), "none/v1") is None
    assert await openapi.fetch(api.client(), "kro.run/v1") is None


@pytest.mark.parametrize("paths", [None, [], "x"])
async def test_an_index_of_another_form_is_empty(api: Any, paths: Any) -> None:
    api.on("GET", "/openapi/v3", api.json({"paths": paths}))
    assert await openapi.index(api.client()) == {}


async def test_failures_surface(api: Any) -> None:
    api.on("GET", "/openapi/v3", api.json({}, 503))
    with pytest.raises(ServerError):
        await openapi.fetch(api.client(), "v1")
