"""The kinds and schemas of the cluster, fetched only for kinds that definitions use.

They come from CRDs, or else from discovery and from the OpenAPI document of the version. The graph builder is pure:
`load` fetches everything that a definition names, and returns `Kinds` that answer without waiting. The cache keeps the
schemas of used kinds and drops the rest of each document.
"""

import asyncio
import time
from collections.abc import Iterable

from kroasync.controller.crds import CrdStore
from kroasync.graph.nodes import Kinds
from kroasync.kube import openapi
from kroasync.kube.api_errors import NotFoundError
from kroasync.kube.client import Client
from kroasync.kube.discovery import Discovery
from kroasync.kube.openapi import GroupVersionDocument
from kroasync.model.kinds import CRDS
from kroasync.model.objects import GVK, Key, Obj, Resource, version_of
from kroasync.schema.catalog import Catalog, crd_kinds, document_path, from_openapi

OBJECT_META_OF = GVK("", "v1", "ConfigMap")


class ClusterKinds:
    """The kinds of a live cluster."""

    def __init__(self, client: Client, crds: CrdStore) -> None:
        self._crds = crds
        self._discovery = Discovery(client)
        self._client = client
        self._resources: dict[GVK, Resource] = {}
        self._schemas: dict[GVK, Obj] = {}
        self._hashes: dict[str, str] = {}
        # For a schema from a CRD: the resourceVersion of that CRD.
        self._from_crd: dict[GVK, str] = {}
        # One lock for each apiVersion: a server that hangs blocks only its own versions.
        self._loading: dict[str, asyncio.Lock] = {}

    def __len__(self) -> int:
        """Schemas kept."""
        return len(self._schemas)

    async def load(self, gvks: Iterable[GVK]) -> Kinds:
        """A fixed snapshot of those `gvks` that the cluster serves now; raises ApiError if a request fails."""
        wanted = {GVK.parse(gvk.api_version, gvk.kind) for gvk in gvks} | {OBJECT_META_OF}
        index: dict[str, GroupVersionDocument] | None = None
        resources: dict[GVK, Resource] = {}
        schemas: dict[GVK, Obj] = {}
        for api_version in sorted({gvk.api_version for gvk in wanted}):
            of_version = sorted(gvk for gvk in wanted if gvk.api_version == api_version)
            # Take the loaded schemas under the lock: another task may load them anew.
            async with self._loading.setdefault(api_version, asyncio.Lock()):
                left = [gvk for gvk in of_version if not await self._load_crd(gvk)]
                if left:
                    index = index if index is not None else await openapi.index(self._client)
                    await self._load_version(api_version, left, index)
                for gvk in of_version:
                    if gvk in self._schemas:
                        resources[gvk], schemas[gvk] = self._resources[gvk], self._schemas[gvk]
        if self._client.metrics:
            self._client.metrics.schema_resolver_errors_total.inc(by=len(wanted - schemas.keys()))
        return Catalog(resources, schemas.get)

    async def resource_of_group_kind(self, group: str, kind: str) -> Resource | None:
        """The resource of a group-kind in its preferred version."""
        found = await self._discovery.resource_of_group_kind(group, kind)
        if found is None and (seen := self._crds.of_kind(group, kind)) is not None:
            # Discovery shows an established kind only after some delay.
            return seen.resource()
        return found

    def of_crd(self, group: str, kind: str) -> Resource | None:
        """The resource of a kind by its cached CRD, without a request; None if the kind has no CRD."""
        seen = self._crds.of_kind(group, kind)
        return seen.resource() if seen is not None else None

    async def groups(self) -> frozenset[str]:
        """All groups that the cluster serves, except the core group."""
        return await self._discovery.groups()

    async def kinds_of_group(self, group: str) -> dict[str, Resource]:
        """The kinds of a group, each in the most preferred version that has the kind."""
        return await self._discovery.kinds_of_group(group)

    async def _load_crd(self, gvk: GVK) -> bool:
        """Take the schema from the kind's CRD, because OpenAPI lags behind; False if the kind has no CRD."""
        seen = self._crds.of_kind(gvk.group, gvk.kind)
        if seen is None or gvk.version not in seen.versions:
            return False
        if self._from_crd.get(gvk) == seen.version:
            return True
        try:
            crd = await self._client.get(Key(CRDS, "", seen.name))
            found = {resource.gvk: (resource, schema) for resource, schema in crd_kinds(crd)}
        except (NotFoundError, ValueError):
            # The CRD was just deleted, or it is so old that this version has no schema.
            return False
        if gvk not in found:
            return False
        self._resources[gvk], self._schemas[gvk] = found[gvk]
        self._from_crd[gvk] = version_of(crd)
        return True

    def _forget(self, gvk: GVK) -> None:
        if self._client.metrics and gvk in self._schemas:
            self._client.metrics.schema_resolver_cache_evictions_total.inc()
        for known in (self._schemas, self._resources, self._from_crd):
            known.pop(gvk, None)

    async def _load_version(self, api_version: str, gvks: list[GVK], index: dict[str, GroupVersionDocument]) -> None:
        document = index.get(api_version)
        current = document.hash if document is not None else ""
        if current != self._hashes.get(api_version):
            self._discovery.invalidate(api_version)
            for gvk in [g for g in self._schemas if g.api_version == api_version and g not in self._from_crd]:
                self._forget(gvk)
        for gvk in gvks:
            if gvk in self._from_crd:
                # The CRD of the kind is gone, or it no longer has this version.
                self._forget(gvk)
        missing = [gvk for gvk in gvks if gvk not in self._schemas]
        if self._client.metrics:
            self._client.metrics.schema_resolver_cache_hits_total.inc(by=len(gvks) - len(missing))
            self._client.metrics.schema_resolver_cache_misses_total.inc(by=len(missing))
        if not missing or document is None:
            return
        self._hashes[api_version] = current
        started = time.perf_counter()
        resources = [r for r in [await self._discovery.resource(gvk) for gvk in missing] if r is not None]
        fetched = await openapi.fetch(self._client, api_version, document=document) if resources else None
        if fetched is None:
            return
        if self._client.metrics:
            took_s = time.perf_counter() - started
            self._client.metrics.schema_resolver_api_call_duration_seconds.observe(took_s)
        found = from_openapi({document_path(missing[0]): fetched}, resources)
        for resource in resources:
            schema = found.schema(resource.gvk)
            if schema is not None:
                self._resources[resource.gvk], self._schemas[resource.gvk] = resource, schema
