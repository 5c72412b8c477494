"""Discovery: the plural name and the scope of a kind, read for each group-version and cached.

Only kinds that exist are cached. A missing kind is requested again, because it appears when somebody creates its CRD.
`invalidate` is for the opposite: a CRD that was deleted or changed.
"""

import asyncio
from collections.abc import Mapping

from kroasync.kube.api_errors import NotFoundError
from kroasync.kube.client import Client
from kroasync.model.objects import GVK, Obj, Resource


class Discovery:
    """A cache of the server's API resource lists. Concurrent calls for one group-version send one request."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._known: dict[str, Mapping[str, Resource]] = {}
        self._locks: dict[str, asyncio.Lock] = {}

    async def resource(self, gvk: GVK) -> Resource | None:
        """The resource of a kind, None if the server does not serve it; raises ApiError if the request fails."""
        api_version = gvk.api_version
        before = self._known.get(api_version)
        if before is not None and gvk.kind in before:
            return before[gvk.kind]
        async with self._locks.setdefault(api_version, asyncio.Lock()):
            known = self._known.get(api_version)
            # Another caller may have read it while this one waited.
            if known is None or known is before:
                known = await self._fetch(gvk.group, gvk.version)
        if not known:
            self._locks.pop(api_version, None)
        return known.get(gvk.kind)

    async def resource_of_group_kind(self, group: str, kind: str) -> Resource | None:
        """The resource of a kind, in the version that the server prefers among those that serve it."""
        for version in await self.versions(group):
            found = await self.resource(GVK(group, version, kind))
            if found is not None:
                return found
        return None

    async def groups(self) -> frozenset[str]:
        """The names of all groups except the core group."""
        answer = await self._client.request("GET", "/apis")
        return frozenset(str(group.get("name") or "") for group in answer.get("groups") or ())

    async def kinds_of_group(self, group: str) -> dict[str, Resource]:
        """Every kind of a group, in the version that the server prefers among those that serve it."""
        found: dict[str, Resource] = {}
        for version in await self.versions(group):
            for kind, resource in (await self._fetch(group, version)).items():
                found.setdefault(kind, resource)
        return found

    async def versions(self, group: str) -> list[str]:
        """The group's versions, the preferred one first; empty if there is no such group."""
        if not group:
            return ["v1"]
        try:
            answer = await self._client.request("GET", f"/apis/{group}")
        except NotFoundError:
            return []
        preferred = (answer.get("preferredVersion") or {}).get("version")
        versions = [str(v["version"]) for v in answer.get("versions") or () if v.get("version")]
        return sorted(versions, key=lambda version: version != preferred)

    def invalidate(self, api_version: str | None = None) -> None:
        """Forget one group-version (`group/version`), or all of them."""
        if api_version is None:
            self._known.clear()
        else:
            self._known.pop(api_version, None)

    async def _fetch(self, group: str, version: str) -> Mapping[str, Resource]:
        api_version = f"{group}/{version}" if group else version
        path = f"/apis/{group}/{version}" if group else f"/api/{version}"
        try:
            answer = await self._client.request("GET", path)
        except NotFoundError:
            self._known.pop(api_version, None)
            return {}
        self._known[api_version] = found = _resources(answer, group, version)
        return found


def _resources(answer: Obj, group: str, version: str) -> dict[str, Resource]:
    """Kind to resource; subresources (`deployments/scale`) are left out, because they repeat the kinds of others."""
    found: dict[str, Resource] = {}
    for entry in answer.get("resources") or ():
        name, kind = str(entry.get("name") or ""), str(entry.get("kind") or "")
        if name and kind and "/" not in name:
            found.setdefault(kind, Resource(group, version, kind, name, bool(entry.get("namespaced"))))
    return found
