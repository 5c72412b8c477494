"""What the cluster serves, fetched only for kinds that are used: of CRDs, else of discovery and OpenAPI per version.

The graph builder is pure: `load` fetches what a definition names, and returns what answers without waiting. Documents
are reduced to the used kinds and the rest is dropped.
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
        # Of which version of its CRD a schema is that was taken from there.
        self._from_crd: dict[GVK, str] = {}
        # By apiVersion: one whose server hangs keeps no other from being loaded.
        self._loading: dict[str, asyncio.Lock] = {}

    def __len__(self) -> int:
        """Schemas kept."""
        return len(self._schemas)

    async def load(self, gvks: Iterable[GVK]) -> Kinds:
        """`gvks` as far as the cluster knows them now, and it stays at that; raises ApiError if the cluster cannot be
        asked.
        """
        wanted = {GVK.parse(gvk.api_version, gvk.kind) for gvk in gvks} | {OBJECT_META_OF}
        index: dict[str, GroupVersionDocument] | None = None
        resources: dict[GVK, Resource] = {}
        schemas: dict[GVK, Obj] = {}
        for api_version in sorted({gvk.api_version for gvk in wanted}):
            of_version = sorted(gvk for gvk in wanted if gvk.api_version == api_version)
            # What is loaded is taken before others may load it anew.
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
        """How a group-kind is served, in the preferred version."""
        found = await self._discovery.resource_of_group_kind(group, kind)
        if found is None and (seen := self._crds.of_kind(group, kind)) is not None:
            # Discovery follows a kind that is established with some delay.
            return seen.resource()
        return found

    def of_crd(self, group: str, kind: str) -> Resource | None:
        """How a kind is served by its CRD, without asking; None if it has none."""
        seen = self._crds.of_kind(group, kind)
        return seen.resource() if seen is not None else None

    async def groups(self) -> frozenset[str]:
        """Every group that is served, but for the core group."""
        return await self._discovery.groups()

    async def kinds_of_group(self, group: str) -> dict[str, Resource]:
        """The kinds of a group, each in the preferred version that has it."""
        return await self._discovery.kinds_of_group(group)

    async def _load_crd(self, gvk: GVK) -> bool:
        """Take the schema of the kind's CRD, which OpenAPI documents follow with some delay; False if it has none."""
        seen = self._crds.of_kind(gvk.group, gvk.kind)
        if seen is None or gvk.version not in seen.versions:
            return False
        if self._from_crd.get(gvk) == seen.version:
            return True
        try:
            crd = await self._client.get(Key(CRDS, "", seen.name))
            found = {resource.gvk: (resource, schema) for resource, schema in crd_kinds(crd)}
        except (NotFoundError, ValueError):
            # It has just gone, or is of a time when versions needed no schema.
            return False
        if gvk not in found:
            return False
        self._resources[gvk], self._schemas[gvk] = found[gvk]
        self._from_crd[gvk] = version_of(crd)
        return True

    def _forget(self, gvk: GVK) -> None:
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
                # Its CRD is gone, or tells nothing of it any more.
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
