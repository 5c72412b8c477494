"""What the cluster serves: discovery and OpenAPI, fetched per group-version and only for kinds that are used.

The graph builder is pure: `load` fetches what a definition names, and returns what answers without waiting. Documents
are reduced to the used kinds and the rest is dropped.
"""

import asyncio
import time
from collections.abc import Iterable

from kroasync.controller.crds import CRDS, CrdStore
from kroasync.graph.nodes import Kinds
from kroasync.kube import openapi
from kroasync.kube.client import Client
from kroasync.kube.discovery import Discovery
from kroasync.kube.openapi import Document
from kroasync.model.objects import GVK, Key, Obj, Resource
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
        self._loading = asyncio.Lock()

    def __len__(self) -> int:
        """Schemas kept."""
        return len(self._schemas)

    async def load(self, gvks: Iterable[GVK]) -> Kinds:
        """`gvks` as far as the cluster knows them now, and it stays at that; raises ApiError if the cluster cannot be
        asked.
        """
        wanted = {GVK.parse(gvk.api_version, gvk.kind) for gvk in gvks} | {OBJECT_META_OF}
        async with self._loading:
            index = await openapi.index(self._client)
            for api_version in sorted({gvk.api_version for gvk in wanted}):
                await self._load_version(api_version, [g for g in wanted if g.api_version == api_version], index)
            for gvk in sorted(wanted - self._schemas.keys()):
                await self._load_crd(gvk)
            if self._client.metrics:
                self._client.metrics.schema_resolver_errors_total.inc(by=len(wanted - self._schemas.keys()))
            known = wanted & self._resources.keys()
            schemas = {gvk: self._schemas.get(gvk) for gvk in known}
            return Catalog({gvk: self._resources[gvk] for gvk in known}, schemas.get)

    async def resource_of_group_kind(self, group: str, kind: str) -> Resource | None:
        """How a group-kind is served, in the preferred version."""
        found = await self._discovery.resource_of_group_kind(group, kind)
        if found is None and (seen := self._crds.of_kind(group, kind)) is not None:
            # Discovery follows a kind that is established with some delay.
            return seen.resource()
        return found

    async def _load_crd(self, gvk: GVK) -> None:
        """A CRD just established is served before the OpenAPI documents know it: take its own schema."""
        seen = self._crds.of_kind(gvk.group, gvk.kind)
        if seen is None or gvk.version not in seen.versions:
            return
        for resource, schema in crd_kinds(await self._client.get(Key(CRDS, "", seen.name))):
            if resource.gvk == gvk:
                self._resources[gvk], self._schemas[gvk] = resource, schema

    async def _load_version(self, api_version: str, gvks: list[GVK], index: dict[str, Document]) -> None:
        document = index.get(api_version)
        current = document.hash if document is not None else ""
        if current != self._hashes.get(api_version):
            self._discovery.invalidate(api_version)
            for gvk in [g for g in self._schemas if g.api_version == api_version]:
                del self._schemas[gvk]
                self._resources.pop(gvk, None)
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
