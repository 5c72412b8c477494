"""An API server in memory, with the behaviour that the contract tests show of the real one, but without waiting.

It answers a request (method, path, query, body bytes) with (status, bytes, headers) at once; the client adds latency
and faults. The caller owns the time: the controllers inside (CRD establishment, garbage collection, Deployments) use
`later`.
"""

import asyncio
import gzip
import hashlib
import json
import re
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache, lru_cache, partial
from importlib import resources as package_data
from typing import Any
from urllib.parse import parse_qsl, unquote

import orjson

from kroasync.model.kinds import CRDS, REVISIONS
from kroasync.model.objects import GVK, Obj, Resource
from kroasync.schema.catalog import Catalog, bundled, crd_kinds, document_path, file_of
from tests.fakes import fields, immutables
from tests.fakes.fields import Path
from tests.samples import DEPLOYMENTS, NAMESPACES

_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?")
_LOOSE_NAMES = frozenset({"clusterroles", "clusterrolebindings", "roles", "rolebindings", "flowschemas"})
_CLEANUP = "customresourcecleanup.apiextensions.k8s.io"
_FOREGROUND = "foregroundDeletion"
_SCALED = frozenset({"deployments", "statefulsets", "replicasets"})
_SYSTEM_META = ("uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "generation")
_COUNTED_GROUPS = frozenset({"apps", "batch", "apiextensions.k8s.io", "networking.k8s.io", "policy", "kro.run"})
_WITH_STATUS = frozenset({"apps", "batch", "apiextensions.k8s.io", "autoscaling", "kro.run", "internal.kro.run"})


class StatusError(Exception):
    """A refusal, as the `Status` object that the server answers."""

    def __init__(self, code: int, reason: str, message: str, **details: Any) -> None:
        super().__init__(message)
        self.code = code
        self.body: Obj = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": message,
            "reason": reason,
            "details": details,
            "code": code,
        }


@dataclass(slots=True)
class Kind:
    """A served kind. `schema` is None for those whose schema is not checked."""

    resource: Resource
    schema: Obj | None
    status: bool
    counted: bool
    crd: str = ""


Managers = dict[tuple[str, str, str], tuple[frozenset[Path], str]]


@dataclass(slots=True)
class Stored:
    """One version of an object; never changed."""

    obj: Obj
    managers: Managers
    kind: Kind
    _bytes: bytes | None = None
    _leaves: dict[Path, Any] | None = None

    @property
    def meta(self) -> Obj:
        return dict(self.obj["metadata"])

    @property
    def uid(self) -> str:
        return str(self.obj["metadata"]["uid"])

    @property
    def version(self) -> int:
        return int(self.obj["metadata"]["resourceVersion"])

    @property
    def deleting(self) -> bool:
        return "deletionTimestamp" in self.obj["metadata"]

    def leaves(self) -> dict[Path, Any]:
        if self._leaves is None:
            self._leaves = fields.of_object(self.obj, self.kind.schema)
        return self._leaves

    def content(self) -> bytes:
        if self._bytes is None:
            managed = [
                {
                    "manager": manager,
                    "operation": operation,
                    "apiVersion": self.kind.resource.api_version,
                    "time": time,
                    "fieldsType": "FieldsV1",
                    "fieldsV1": fields.encoded(paths),
                    **({"subresource": subresource} if subresource else {}),
                }
                for (manager, operation, subresource), (paths, time) in self.managers.items()
                if paths
            ]
            obj = {**self.obj, "metadata": {**self.obj["metadata"], "managedFields": managed}}
            self._bytes = orjson.dumps(obj)
        return self._bytes


@dataclass(frozen=True, slots=True)
class Change:
    """One entry of a kind's history: ADDED, MODIFIED or DELETED, with the state before and after."""

    version: int
    type: str
    before: Stored | None
    after: Stored


@dataclass(frozen=True, slots=True)
class Write:
    """An event for observers of the server: who did what to which object."""

    actor: str
    verb: str
    resource: Resource
    before: Stored | None
    after: Stored | None


@dataclass(slots=True)
class _Table:
    objects: dict[tuple[str, str], Stored] = field(default_factory=dict)
    history: list[Change] = field(default_factory=list)
    compacted: int = 0
    streams: set["Stream"] = field(default_factory=set)

    def at(self, version: int) -> dict[tuple[str, str], Stored]:
        """The objects as they were at a version since the last compaction."""
        if not self.history or self.history[-1].version <= version:
            return self.objects
        found = dict(self.objects)
        for change in reversed(self.history):
            if change.version <= version:
                break
            meta = change.after.obj["metadata"]
            key = (meta.get("namespace", ""), meta["name"])
            if change.before is None:
                del found[key]
            else:
                found[key] = change.before
        return found


class FakeServer:
    """`now` is the wall clock; `later(seconds, call)` runs the controllers inside."""

    def __init__(
        self,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        later: Callable[[float, Callable[[], None]], object] | None = None,
        establish_s: float = 0.05,
    ) -> None:
        self._now = now
        self._later = later or (lambda delay, call: asyncio.get_running_loop().call_later(delay, call))
        self._establish_s = establish_s
        self._version = 1000
        self._uids = 0
        self._kinds: dict[tuple[str, str, str], Kind] = {}
        self._tables: dict[tuple[str, str], _Table] = {}
        self._observers: list[Callable[[Write], None]] = []
        self._admission: list[Callable[[Resource, Obj], None]] = []
        self.deployment_ready_s: float | None = None
        self._actor = ""
        self._stale = 0
        # The index of OpenAPI documents, cached until a kind is added, deleted or changed.
        self._openapi_index: bytes | None = None
        self.bookmark_s = 60.0
        for gvk, kind in _builtin().items():
            self._kinds[gvk.group, gvk.version, kind.resource.plural] = kind
        for name in ("default", "kube-system"):
            self._insert(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})

    # For tests

    def observe(self, call: Callable[[Write], None]) -> None:
        """Call `call` for every write that changes something, in order, when it happens."""
        self._observers.append(call)

    def admit(self, check: Callable[[Resource, Obj], None]) -> None:
        """Call `check` before every write; it may raise a StatusError."""
        self._admission.append(check)

    def objects(self, resource: Resource) -> list[Obj]:
        """Every live object of a kind; do not change them."""
        return [s.obj for _, s in sorted(self._table(resource).objects.items())]

    def stored(self, resource: Resource, namespace: str, name: str) -> Stored | None:
        return self._table(resource).objects.get((namespace, name))

    def served(self) -> list[Resource]:
        """Every kind with objects or with a CRD."""
        return [k.resource for k in self._kinds.values() if k.crd or self._table(k.resource).objects]

    @property
    def version(self) -> int:
        """The version of the last write."""
        return self._version

    def compact(self) -> None:
        """Forget the history of every kind: older watches must list again."""
        for table in self._tables.values():
            table.history.clear()
            table.compacted = self._version

    def streams(self) -> list["Stream"]:
        """Every open watch, in a stable order."""
        return sorted((s for t in self._tables.values() for s in t.streams), key=lambda s: s.number)

    # Requests

    def handle(
        self, method: str, url: str, body: bytes | None, content_type: str, *, actor: str = "", stale: int = 0
    ) -> tuple[int, bytes, dict[str, str]]:
        """Answer one request other than a watch; a list is of a state `stale` versions ago."""
        path, _, text = url.partition("?")
        self._actor = actor
        self._stale = stale
        try:
            code, answer = self._route(method, unquote(path), _query(text), body, content_type)
        except StatusError as error:
            return error.code, orjson.dumps(error.body), {}
        return code, answer, {}

    def open_watch(self, url: str) -> "Stream":
        """A stream of the changes after `resourceVersion`; raises StatusError."""
        path, _, text = url.partition("?")
        kind, namespace, _, _ = self._target(unquote(path))
        return Stream(self, kind, self._table(kind.resource), namespace, _query(text))

    def _route(
        self, method: str, path: str, query: Mapping[str, str], body: bytes | None, content_type: str
    ) -> tuple[int, bytes]:
        if method == "GET":
            static = self._static(path)
            if static is not None:
                return 200, static
        kind, namespace, name, subresource = self._target(path)
        is_scale = subresource == "scale" and kind.resource.group == "apps" and kind.resource.plural in _SCALED
        if subresource and not is_scale and not (subresource == "status" and kind.status):
            raise StatusError(404, "NotFound", "the server could not find the requested resource")
        manager = query.get("fieldManager") or "kroasync"
        if is_scale:
            return self._scale(method, kind, namespace, name, _parsed(body), manager, content_type)
        if method == "GET":
            return (200, self._find(kind, namespace, name).content()) if name else self._list(kind, namespace, query)
        data = _parsed(body)
        if method == "POST":
            return self._create(kind, namespace, data, manager)
        if method == "PUT":
            return self._put(kind, namespace, name, subresource, data, manager)
        if method == "PATCH":
            if content_type.startswith("application/apply-patch"):
                return self._apply(kind, namespace, name, subresource, data, manager, query.get("force") == "true")
            return self._patch(kind, namespace, name, subresource, data, manager, content_type)
        if method == "DELETE":
            return self._delete(kind, namespace, name, data or {})
        raise StatusError(405, "MethodNotAllowed", f"the server does not allow {method}")

    def _target(self, path: str) -> tuple[Kind, str, str, str]:
        parts = path.strip("/").split("/")
        if parts[0] == "api" and len(parts) > 2:
            group, version, rest = "", parts[1], parts[2:]
        elif parts[0] == "apis" and len(parts) > 3:
            group, version, rest = parts[1], parts[2], parts[3:]
        else:
            raise StatusError(404, "NotFound", "the server could not find the requested resource")
        namespace = ""
        if rest[0] == "namespaces" and len(rest) > 2:
            namespace, rest = rest[1], rest[2:]
        kind = self._kinds.get((group, version, rest[0]))
        if kind is None:
            raise StatusError(404, "NotFound", "the server could not find the requested resource")
        return kind, namespace, rest[1] if len(rest) > 1 else "", rest[2] if len(rest) > 2 else ""

    # Reading

    def _find(self, kind: Kind, namespace: str, name: str) -> Stored:
        found = self._table(kind.resource).objects.get((namespace, name))
        if found is None:
            plural = kind.resource.plural + (f".{kind.resource.group}" if kind.resource.group else "")
            raise StatusError(404, "NotFound", f'{plural} "{name}" not found', name=name, kind=kind.resource.plural)
        return found

    def _list(self, kind: Kind, namespace: str, query: Mapping[str, str]) -> tuple[int, bytes]:
        table = self._table(kind.resource)
        matches = selection(namespace, query.get("labelSelector", ""), query.get("fieldSelector", ""))
        start, version = ("", ""), max(table.compacted, self._version - self._stale)
        if query.get("continue"):
            token = json.loads(query["continue"])
            start, version = (token["ns"], token["name"]), token["rv"]
            if version < table.compacted:
                raise StatusError(410, "Expired", "The provided continue parameter is too old")
        objects = table.at(version)
        found = [(key, stored) for key, stored in sorted(objects.items()) if key > start and matches(stored.obj)]
        limit = int(query.get("limit") or 0)
        meta: Obj = {"resourceVersion": str(version)}
        if limit and len(found) > limit:
            found = found[:limit]
            (last_namespace, last_name), _ = found[-1]
            meta["continue"] = json.dumps({"ns": last_namespace, "name": last_name, "rv": version})
        head = orjson.dumps(
            {"kind": kind.resource.kind + "List", "apiVersion": kind.resource.api_version, "metadata": meta}
        )
        return 200, head[:-1] + b',"items":[' + b",".join(stored.content() for _, stored in found) + b"]}"

    # Writing

    def _create(self, kind: Kind, namespace: str, body: Any, manager: str) -> tuple[int, bytes]:
        obj = self._decoded(kind, body)
        meta = obj["metadata"]
        if not meta.get("name") and meta.get("generateName"):
            self._uids += 1
            meta["name"] = f"{meta['generateName']}{self._uids:05x}"
        if kind.resource.namespaced:
            if meta.get("namespace", namespace) != namespace:
                raise StatusError(400, "BadRequest", "the namespace of the object does not match the namespace")
            meta["namespace"] = namespace
        if (namespace, meta.get("name", "")) in self._table(kind.resource).objects:
            raise StatusError(409, "AlreadyExists", f'{kind.resource.plural} "{meta["name"]}" already exists')
        if kind.status:
            obj.pop("status", None)
        return 201, self._new(kind, namespace, obj, (manager, "Update", ""), verb="create").content()

    def _new(self, kind: Kind, namespace: str, obj: Obj, by: tuple[str, str, str], *, verb: str) -> Stored:
        meta = obj["metadata"]
        name = str(meta.get("name", ""))
        self._check_name(kind, name)
        if kind.resource.namespaced:
            home = self._table(NAMESPACES).objects.get(("", namespace))
            if home is None:
                raise StatusError(404, "NotFound", f'namespaces "{namespace}" not found', name=namespace)
            if home.deleting:
                raise StatusError(
                    403,
                    "Forbidden",
                    f'{kind.resource.plural} "{name}" is forbidden: unable to create new content in namespace '
                    f"{namespace} because it is being terminated",
                    causes=[{"reason": "NamespaceTerminating", "field": "metadata.namespace"}],
                )
        for key in (*_SYSTEM_META, "resourceVersion", "managedFields", "selfLink"):
            meta.pop(key, None)
        self._uids += 1
        meta["uid"] = f"00000000-0000-4000-8000-{self._uids:012x}"
        meta["creationTimestamp"] = self._stamp()
        if kind.counted:
            meta["generation"] = 1
        obj = self._completed(kind, obj)
        leaves = fields.of_object(obj, kind.schema)
        declared = frozenset(leaves)
        return self._save(kind, verb, None, obj, {by: (declared, self._stamp())}, leaves=leaves)

    def _put(
        self, kind: Kind, namespace: str, name: str, subresource: str, body: Any, manager: str
    ) -> tuple[int, bytes]:
        obj = self._decoded(kind, body)
        before = self._find(kind, namespace, name)
        if not obj["metadata"].get("resourceVersion") and kind.crd:
            raise _invalid(kind, name, "metadata.resourceVersion", "must be specified for an update")
        return 200, self._update(kind, before, obj, subresource, (manager, "Update", subresource)).content()

    def _patch(
        self, kind: Kind, namespace: str, name: str, subresource: str, patch: Any, manager: str, content_type: str
    ) -> tuple[int, bytes]:
        before = self._find(kind, namespace, name)
        current: Obj = orjson.loads(before.content())
        if content_type.startswith("application/json-patch"):
            obj = json_patched(current, patch)
        elif content_type.startswith("application/merge-patch"):
            obj = merge_patched(current, patch)
        else:
            raise StatusError(
                415, "UnsupportedMediaType", f"the body of the request was in an unknown format {content_type}"
            )
        obj = self._decoded(kind, obj)
        if obj["metadata"].get("uid") != before.uid:
            raise _invalid(kind, name, "metadata.uid", "field is immutable")
        return 200, self._update(kind, before, obj, subresource, (manager, "Update", subresource)).content()

    def _scale(
        self, method: str, kind: Kind, namespace: str, name: str, body: Any, manager: str, content_type: str
    ) -> tuple[int, bytes]:
        """The replicas of an object as a Scale; an update of it owns only them."""
        found = self._find(kind, namespace, name)
        if method == "GET":
            return 200, orjson.dumps(_scale_of(found))
        if method == "PATCH" and content_type.startswith("application/merge-patch"):
            scale = merge_patched(_scale_of(found), body)
        elif method == "PUT":
            scale = body
        else:
            raise StatusError(405, "MethodNotAllowed", f"the scale of this server does not allow {method}")
        meta = scale.get("metadata") or {}
        self._check_preconditions(kind, found, meta.get("uid"), meta.get("resourceVersion"))
        obj = {**found.obj, "spec": {**found.obj["spec"], "replicas": scale["spec"]["replicas"]}}
        return 200, orjson.dumps(_scale_of(self._replace(kind, found, obj, (manager, "Update", "scale"))))

    def _update(self, kind: Kind, before: Stored, obj: Obj, subresource: str, by: tuple[str, str, str]) -> Stored:
        meta = obj["metadata"]
        name = before.meta["name"]
        if meta.get("name", name) != name:
            raise StatusError(400, "BadRequest", "the name of the object does not match the name on the URL")
        self._check_preconditions(kind, before, meta.get("uid"), meta.get("resourceVersion"))
        obj = self._framed(kind, before, obj, subresource)
        return self._replace(kind, before, obj, by)

    def _framed(self, kind: Kind, before: Stored, obj: Obj, subresource: str) -> Obj:
        """The object, with the fields that this endpoint may not change taken from the old object."""
        meta = {k: v for k, v in obj["metadata"].items() if k not in ("managedFields", "selfLink", *_SYSTEM_META)}
        if subresource == "status":
            obj = {**before.obj, "status": obj.get("status")}
            if obj["status"] is None:
                del obj["status"]
            meta = {k: v for k, v in before.obj["metadata"].items() if k not in _SYSTEM_META}
        elif kind.status:
            obj = {k: v for k, v in obj.items() if k != "status"}
            if "status" in before.obj:
                obj["status"] = before.obj["status"]
        for key in _SYSTEM_META:
            if key in before.obj["metadata"]:
                meta[key] = before.obj["metadata"][key]
        meta["name"] = before.obj["metadata"]["name"]
        if kind.resource.namespaced:
            meta["namespace"] = before.obj["metadata"]["namespace"]
        for key in ("labels", "annotations", "finalizers", "ownerReferences"):
            if not meta.get(key):
                meta.pop(key, None)
        added = set(meta.get("finalizers", ())) - set(before.obj["metadata"].get("finalizers", ()))
        if before.deleting and added:
            raise StatusError(
                422,
                "Invalid",
                "metadata.finalizers: Forbidden: no new finalizers can be added if the object is being deleted, "
                f"found new finalizers {sorted(added)}",
            )
        return {**obj, "metadata": meta}

    def _replace(self, kind: Kind, before: Stored, obj: Obj, by: tuple[str, str, str]) -> Stored:
        """Store an update, and the fields that its manager now owns."""
        obj = self._completed(kind, obj)
        _check_immutable(kind, before, obj)
        was = before.leaves()
        now = fields.of_object(obj, kind.schema)
        changed = frozenset(path for path, value in now.items() if path not in was or was[path] != value)
        gone = was.keys() - now.keys()
        if not changed and not gone:
            return before
        managers: Managers = {}
        for key, (paths, time) in before.managers.items():
            kept = paths - gone - (changed if key != by else frozenset())
            if kept:
                managers[key] = (kept, time)
        own = managers.get(by, (frozenset(), ""))[0] | changed
        if own:
            managers[by] = (own, self._stamp())
        return self._save(kind, "update", before, obj, managers, leaves=now)

    def _apply(
        self, kind: Kind, namespace: str, name: str, subresource: str, body: Any, manager: str, force: bool
    ) -> tuple[int, bytes]:
        sent = self._decoded(kind, body)
        meta = sent["metadata"]
        if meta.get("managedFields"):
            raise StatusError(400, "BadRequest", "metadata.managedFields must be nil")
        by = (manager, "Apply", subresource)
        before = self._table(kind.resource).objects.get((namespace, name))
        if before is None:
            if meta.get("uid"):
                raise StatusError(409, "Conflict", "uid mismatch: a uid is given, and no existing object was found")
            if subresource:
                raise StatusError(404, "NotFound", f'{kind.resource.plural} "{name}" not found')
            meta["name"] = name
            if kind.resource.namespaced:
                meta["namespace"] = namespace
            applied = {k: v for k, v in sent.items() if k != "status" or not kind.status}
            declared = frozenset(fields.of_object(applied, kind.schema))
            made = self._new(kind, namespace, applied, by, verb="apply")
            # Nobody owns defaults.
            made.managers[by] = (declared, made.managers[by][1])
            made._bytes = None
            return 201, made.content()
        version = meta.get("resourceVersion")
        if subresource == "status":
            sent = {k: v for k, v in sent.items() if k in ("apiVersion", "kind", "status")} | {"metadata": {}}
        elif kind.status:
            sent = {k: v for k, v in sent.items() if k != "status"}
        self._check_preconditions(kind, before, meta.get("uid"), None)
        return 200, self._applied(kind, before, sent, subresource, by, force, version).content()

    def _applied(
        self,
        kind: Kind,
        before: Stored,
        sent: Obj,
        subresource: str,
        by: tuple[str, str, str],
        force: bool,
        version: Any,
    ) -> Stored:
        declared = fields.of_object(sent, kind.schema)
        was = before.leaves()
        taken = frozenset(p for p, value in declared.items() if p in was and was[p] != value)
        conflicts = [
            (_written(kind, key), path)
            for key, (paths, _) in before.managers.items()
            if key != by
            for path in sorted(paths & taken)
        ]
        if conflicts and not force:
            raise _conflict(conflicts)
        # Conflicts of field managers come first.
        self._check_preconditions(kind, before, None, version)
        merged = fields.merge_object(before.obj, sent, kind.schema)
        dropped = before.managers.get(by, (frozenset(), ""))[0] - declared.keys()
        for key, (paths, _) in before.managers.items():
            if key != by:
                dropped -= paths
        merged = self._framed(kind, before, fields.remove(merged, dropped), subresource)
        obj = self._completed(kind, merged)
        _check_immutable(kind, before, obj)
        managers: Managers = {}
        leaves = fields.of_object(obj, kind.schema)
        present = leaves.keys()
        for key, (paths, time) in before.managers.items():
            kept = (paths - taken if key != by else paths) & present
            if key != by and kept:
                managers[key] = (kept, time)
        own = frozenset(declared)
        known = before.managers.get(by, (frozenset(), ""))
        if own:
            managers[by] = (own, known[1] if known[0] == own else self._stamp())
        if _same(obj, before.obj) and managers == before.managers:
            return before
        return self._save(kind, "apply", before, obj, managers, leaves=leaves)

    def _delete(self, kind: Kind, namespace: str, name: str, options: Obj) -> tuple[int, bytes]:
        before = self._find(kind, namespace, name)
        wanted = options.get("preconditions") or {}
        self._check_preconditions(kind, before, wanted.get("uid"), wanted.get("resourceVersion"))
        finalizers = list(before.obj["metadata"].get("finalizers", ()))
        policy = options.get("propagationPolicy")
        if policy == "Foreground" and _FOREGROUND not in finalizers:
            finalizers.append(_FOREGROUND)
        if policy == "Background" and _FOREGROUND in finalizers:
            finalizers.remove(_FOREGROUND)
        if kind.resource == CRDS and _CLEANUP not in finalizers and not before.deleting:
            finalizers.append(_CLEANUP)
        if kind.resource == NAMESPACES and not before.deleting:
            finalizers.append("kubernetes")
        if not finalizers:
            self._remove(before, "delete")
            return 200, orjson.dumps(
                {
                    "kind": "Status",
                    "apiVersion": "v1",
                    "metadata": {},
                    "status": "Success",
                    "details": {"name": name, "kind": kind.resource.plural, "uid": before.uid},
                }
            )
        if _FOREGROUND in finalizers:
            self._later(0.02, lambda: self._end_foreground(before.uid))
        if before.deleting:
            if finalizers == list(before.obj["metadata"].get("finalizers", ())):
                return 200, before.content()
            meta = {**before.obj["metadata"], "finalizers": finalizers}
            return 200, self._save(kind, "delete", before, {**before.obj, "metadata": meta}, before.managers).content()
        meta = {**before.obj["metadata"], "deletionTimestamp": self._stamp(), "deletionGracePeriodSeconds": 0}
        meta["finalizers"] = finalizers
        if "generation" in meta:
            meta["generation"] += 1
        obj = {**before.obj, "metadata": meta}
        if kind.resource == NAMESPACES:
            obj["status"] = {"phase": "Terminating"}
        after = self._save(kind, "delete", before, obj, before.managers, counted=False)
        if kind.resource == CRDS:
            self._later(self._establish_s, lambda: self._clean_up(name))
        if kind.resource == NAMESPACES:
            self._later(0.05, lambda: self._empty(name))
        return 200, after.content()

    # Storage

    def _table(self, resource: Resource) -> _Table:
        found = self._tables.get((resource.group, resource.plural))
        if found is None:
            found = self._tables[resource.group, resource.plural] = _Table(compacted=self._version)
        return found

    def _insert(self, resource: Resource, obj: Obj) -> None:
        kind = self._kinds[resource.group, resource.version, resource.plural]
        self._new(kind, "", self._decoded(kind, obj), ("server", "Update", ""), verb="create")

    def _save(
        self,
        kind: Kind,
        verb: str,
        before: Stored | None,
        obj: Obj,
        managers: Managers,
        *,
        counted: bool = True,
        leaves: dict[Path, Any] | None = None,
    ) -> Stored:
        meta = dict(obj["metadata"])
        if before is not None and counted and kind.counted and not _same_spec(obj, before.obj):
            meta["generation"] = before.obj["metadata"].get("generation", 0) + 1
        for hook in self._admission:
            hook(kind.resource, obj)
        self._version += 1
        meta["resourceVersion"] = str(self._version)
        # Nobody can own the fields that are set here.
        after = Stored({**obj, "metadata": meta}, managers, kind, _leaves=leaves)
        table = self._table(kind.resource)
        if after.deleting and not meta.get("finalizers"):
            self._remove(after, verb, before=before)
            return after
        table.objects[meta.get("namespace", ""), meta["name"]] = after
        self._publish(table, Change(self._version, "ADDED" if before is None else "MODIFIED", before, after))
        self._tell(verb, kind.resource, before, after)
        self._react(kind, before, after)
        return after

    def _remove(self, last: Stored, verb: str, *, before: Stored | None = None) -> None:
        meta = last.obj["metadata"]
        table = self._table(last.kind.resource)
        before = before or last
        del table.objects[meta.get("namespace", ""), meta["name"]]
        self._version += 1
        final = Stored(
            {**last.obj, "metadata": {**meta, "resourceVersion": str(self._version)}}, last.managers, last.kind
        )
        self._publish(table, Change(self._version, "DELETED", before, final))
        self._tell(verb, last.kind.resource, before, None)
        if last.kind.resource == CRDS:
            self._withdraw(str(meta["name"]))
        self._later(0.02, lambda: self._collect(last.uid))
        for owner in meta.get("ownerReferences") or ():
            if owner.get("blockOwnerDeletion"):
                self._later(0.02, partial(self._end_foreground, str(owner["uid"])))
        if meta.get("namespace"):
            home = self._table(NAMESPACES).objects.get(("", meta["namespace"]))
            if home is not None and home.deleting:
                self._later(0.02, lambda: self._empty(meta["namespace"]))
        if last.kind.crd:
            crd = self._table(CRDS).objects.get(("", last.kind.crd))
            if crd is not None and crd.deleting:
                self._later(0.02, lambda: self._clean_up(last.kind.crd))

    def _publish(self, table: _Table, change: Change) -> None:
        table.history.append(change)
        for stream in table.streams:
            stream.wake()

    def _tell(self, verb: str, resource: Resource, before: Stored | None, after: Stored | None) -> None:
        for observer in self._observers:
            observer(Write(self._actor, verb, resource, before, after))

    def _stamp(self) -> str:
        return self._now().astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

    # Rules

    def _decoded(self, kind: Kind, body: Any) -> Obj:
        resource = kind.resource
        if not isinstance(body, dict):
            raise StatusError(400, "BadRequest", "the body is not an object")
        obj = {"apiVersion": resource.api_version, "kind": resource.kind, **body}
        if (obj["apiVersion"], obj["kind"]) != (resource.api_version, resource.kind):
            raise StatusError(
                400,
                "BadRequest",
                f"{obj['apiVersion']}, Kind={obj['kind']}: the object provided is unrecognized (expected "
                f"{resource.api_version}, Kind={resource.kind})",
            )
        meta = obj.get("metadata") or {}
        if not isinstance(meta, dict):
            raise StatusError(400, "BadRequest", "metadata is not an object")
        for name in ("labels", "annotations"):
            values = meta.get(name) or {}
            if not isinstance(values, dict) or not all(isinstance(v, str) for v in values.values()):
                raise StatusError(400, "BadRequest", f"metadata.{name}: expected strings")
        obj["metadata"] = {k: v for k, v in meta.items() if v is not None}
        return obj

    def _completed(self, kind: Kind, obj: Obj) -> Obj:
        if kind.resource == DEPLOYMENTS:
            spec = {
                "replicas": 1,
                "revisionHistoryLimit": 10,
                "progressDeadlineSeconds": 600,
                **(obj.get("spec") or {}),
            }
            return {**obj, "spec": spec}
        if kind.crd and kind.schema is not None:
            name = obj["metadata"].get("name", "")
            shaped = {k: v for k, v in obj.items() if k != "metadata"}
            errors: list[tuple[str, str]] = []
            shaped = _structural(shaped, kind.schema, "", errors)
            if errors:
                raise _invalid(kind, str(name), *errors[0])
            return {**shaped, "metadata": obj["metadata"]}
        return obj

    def _check_name(self, kind: Kind, name: str) -> None:
        if not name or len(name) > 253 or not _NAME.fullmatch(name):
            if name and kind.resource.plural in _LOOSE_NAMES:
                return
            raise _invalid(kind, name, "metadata.name", "a lowercase RFC 1123 subdomain must consist of lower case")

    def _check_preconditions(self, kind: Kind, before: Stored, uid: Any, version: Any) -> None:
        name = before.obj["metadata"]["name"]
        if uid and uid != before.uid:
            raise StatusError(
                409,
                "Conflict",
                f'Operation cannot be fulfilled on {kind.resource.plural} "{name}": Precondition failed: UID in '
                f"precondition: {uid}, UID in object meta: {before.uid}",
            )
        if version and str(version) != before.obj["metadata"]["resourceVersion"]:
            raise StatusError(
                409,
                "Conflict",
                f'Operation cannot be fulfilled on {kind.resource.plural} "{name}": the object has been modified; '
                "please apply your changes to the latest version and try again",
            )

    # The controllers inside

    def _react(self, kind: Kind, before: Stored | None, after: Stored) -> None:
        if kind.resource == CRDS:
            name = after.obj["metadata"]["name"]
            if before is None:
                self._later(self._establish_s, lambda: self._establish(name))
            elif before.obj.get("spec") != after.obj.get("spec"):
                self._serve(after)
        elif (
            kind.resource == DEPLOYMENTS
            and self.deployment_ready_s is not None
            and (before is None or before.obj.get("spec") != after.obj.get("spec"))
        ):
            key = (after.obj["metadata"]["namespace"], after.obj["metadata"]["name"])
            self._later(self.deployment_ready_s, lambda: self._roll_out(key, after.uid))

    def _as(self, actor: str) -> None:
        self._actor = actor

    def _roll_out(self, key: tuple[str, str], uid: str) -> None:
        """The Deployment controller: all requested replicas become available."""
        found = self._table(DEPLOYMENTS).objects.get(key)
        if found is None or found.uid != uid:
            return
        self._as("deployment-controller")
        replicas = found.obj["spec"]["replicas"]
        status = {
            "observedGeneration": found.obj["metadata"]["generation"],
            "replicas": replicas,
            "availableReplicas": replicas,
            "readyReplicas": replicas,
            "updatedReplicas": replicas,
        }
        self._replace(found.kind, found, {**found.obj, "status": status}, ("kcm", "Update", "status"))

    def _establish(self, name: str) -> None:
        found = self._table(CRDS).objects.get(("", name))
        if found is None or found.deleting:
            return
        self._as("apiextensions")
        names = found.obj["spec"]["names"]
        stamp = self._stamp()
        conditions = [
            {"type": kind, "status": "True", "reason": reason, "message": "", "lastTransitionTime": stamp}
            for kind, reason in (("NamesAccepted", "NoConflicts"), ("Established", "InitialNamesAccepted"))
        ]
        versions = [v["name"] for v in found.obj["spec"]["versions"] if v.get("storage")]
        status = {"conditions": conditions, "acceptedNames": names, "storedVersions": versions}
        self._serve(found)
        self._replace(found.kind, found, {**found.obj, "status": status}, ("apiextensions", "Update", "status"))

    def _serve(self, crd: Stored) -> None:
        name = crd.obj["metadata"]["name"]
        self._unserve(name)
        for resource, schema in crd_kinds(crd.obj):
            version = next(v for v in crd.obj["spec"]["versions"] if v["name"] == resource.version)
            has_status = "status" in (version.get("subresources") or {})
            kind = Kind(resource, schema, has_status, True, name)
            self._kinds[resource.group, resource.version, resource.plural] = kind

    def _unserve(self, name: str) -> None:
        self._openapi_index = None
        for key in [k for k, kind in self._kinds.items() if kind.crd == name]:
            del self._kinds[key]

    def _withdraw(self, name: str) -> None:
        """End a kind whose CRD is gone, and every watch of the kind."""
        for kind in [k for k in self._kinds.values() if k.crd == name]:
            table = self._table(kind.resource)
            for stream in list(table.streams):
                stream.end()
            table.history.clear()
            table.compacted = self._version
        self._unserve(name)

    def _clean_up(self, name: str) -> None:
        crd = self._table(CRDS).objects.get(("", name))
        if crd is None or not crd.deleting:
            return
        self._as("apiextensions")
        left = False
        for kind in [k for k in self._kinds.values() if k.crd == name]:
            for stored in list(self._table(kind.resource).objects.values()):
                if not stored.deleting:
                    meta = stored.obj["metadata"]
                    self._delete(kind, meta.get("namespace", ""), meta["name"], {})
            left = left or bool(self._table(kind.resource).objects)
        if not left:
            self._without_finalizer(crd, _CLEANUP)

    def _empty(self, namespace: str) -> None:
        home = self._table(NAMESPACES).objects.get(("", namespace))
        if home is None or not home.deleting:
            return
        self._as("namespace-controller")
        left = False
        for kind in list(self._kinds.values()):
            if not kind.resource.namespaced:
                continue
            table = self._table(kind.resource)
            for at, stored in list(table.objects.items()):
                if at[0] == namespace and at in table.objects:
                    left = True
                    if not stored.deleting:
                        self._delete(kind, namespace, at[1], {})
        if left:
            self._later(0.05, lambda: self._empty(namespace))
        else:
            self._without_finalizer(home, "kubernetes")

    def _without_finalizer(self, stored: Stored, finalizer: str) -> None:
        meta = stored.obj["metadata"]
        others = [f for f in meta.get("finalizers", ()) if f != finalizer]
        obj = {**stored.obj, "metadata": {**meta, "finalizers": others}}
        self._save(stored.kind, "update", stored, obj, stored.managers)

    def _collect(self, uid: str) -> None:
        """The garbage collector: delete the objects whose only owner had this UID."""
        for table in list(self._tables.values()):
            for at, stored in list(table.objects.items()):
                owners = stored.obj["metadata"].get("ownerReferences") or ()
                if any(o.get("uid") == uid for o in owners) and not stored.deleting and at in table.objects:
                    others = [o for o in owners if o.get("uid") != uid and self._exists(str(o.get("uid")))]
                    if not others:
                        self._as("garbage-collector")
                        self._delete(stored.kind, at[0], at[1], {})

    def _end_foreground(self, uid: str) -> None:
        """The garbage collector: delete the dependents of an owner, and the owner once none of them blocks it."""
        found = next((s for t in self._tables.values() for s in t.objects.values() if s.uid == uid), None)
        if found is None or not found.deleting or _FOREGROUND not in found.obj["metadata"].get("finalizers", ()):
            return
        self._as("garbage-collector")
        dependents = [s for t in self._tables.values() for s in t.objects.values() if _owner_entry(s, uid) is not None]
        for dependent in dependents:
            meta = dependent.obj["metadata"]
            if not dependent.deleting:
                self._delete(
                    dependent.kind, meta.get("namespace", ""), meta["name"], {"propagationPolicy": "Background"}
                )
        blocking = (d for d in dependents if (_owner_entry(d, uid) or {}).get("blockOwnerDeletion"))
        if not any(self._exists(d.uid) for d in blocking):
            self._without_finalizer(found, _FOREGROUND)

    def _exists(self, uid: str) -> bool:
        return any(s.uid == uid for t in self._tables.values() for s in t.objects.values())

    # Discovery and OpenAPI

    def _static(self, path: str) -> bytes | None:
        parts = path.strip("/").split("/")
        if path == "/version":
            return orjson.dumps({"major": "1", "minor": "36", "gitVersion": "v1.36.0"})
        if path in ("/readyz", "/livez"):
            return b"ok"
        if parts[:2] == ["openapi", "v3"]:
            return self._openapi("/".join(parts[2:]))
        if parts[0] == "api" and len(parts) == 2:
            return self._resources("", parts[1])
        if path == "/apis":
            groups = dict.fromkeys(group for group, _, _ in self._kinds if group)
            return orjson.dumps({"kind": "APIGroupList", "groups": [{"name": group} for group in groups]})
        if parts[0] == "apis" and len(parts) == 2:
            return self._group(parts[1])
        if parts[0] == "apis" and len(parts) == 3:
            return self._resources(parts[1], parts[2])
        return None

    def _resources(self, group: str, version: str) -> bytes:
        entries = []
        for (of_group, of_version, plural), kind in self._kinds.items():
            if (of_group, of_version) == (group, version):
                entry = {"name": plural, "kind": kind.resource.kind, "namespaced": kind.resource.namespaced}
                entries.append(entry)
                if kind.status:
                    entries.append({**entry, "name": f"{plural}/status"})
        if not entries:
            raise StatusError(404, "NotFound", "the server could not find the requested resource")
        api_version = f"{group}/{version}" if group else version
        return orjson.dumps({"kind": "APIResourceList", "groupVersion": api_version, "resources": entries})

    def _group(self, group: str) -> bytes:
        versions = list(dict.fromkeys(v for g, v, _ in self._kinds if g == group))
        if not versions:
            raise StatusError(404, "NotFound", "the server could not find the requested resource")
        entries = [{"groupVersion": f"{group}/{v}", "version": v} for v in versions]
        return orjson.dumps({"kind": "APIGroup", "name": group, "versions": entries, "preferredVersion": entries[0]})

    def _openapi(self, path: str) -> bytes:
        if not path:
            self._openapi_index = self._openapi_index or self._documents()
            return self._openapi_index
        prefix, _, rest = path.partition("/")
        group, _, version = rest.rpartition("/") if prefix == "apis" else ("", "", rest)
        if not any((g, v) == (group, version) for g, v, _ in self._kinds):
            raise StatusError(404, "NotFound", "the server could not find the requested resource")
        return self._document(group, version)

    def _documents(self) -> bytes:
        paths = {}
        for group, version in dict.fromkeys((g, v) for g, v, _ in self._kinds):
            at = document_path(GVK(group, version, ""))
            paths[at] = {"serverRelativeURL": f"/openapi/v3/{at}?hash={_digest(self._document(group, version))}"}
        return orjson.dumps({"paths": paths})

    def _document(self, group: str, version: str) -> bytes:
        api_version = f"{group}/{version}" if group else version
        packaged = _packaged(api_version)
        generated = [k for (g, v, _), k in self._kinds.items() if (g, v) == (group, version) and k.crd]
        if packaged is not None and not generated:
            return packaged
        components = orjson.loads(packaged)["components"]["schemas"] if packaged is not None else {}
        for (g, v, _), kind in self._kinds.items():
            if (g, v) == (group, version) and kind.schema is not None:
                tag = [{"group": g, "version": v, "kind": kind.resource.kind}]
                components[f"{g}.{v}.{kind.resource.kind}"] = {
                    **kind.schema,
                    "x-kubernetes-group-version-kind": tag,
                }
        return orjson.dumps({"openapi": "3.0.0", "components": {"schemas": components}})


class Stream:
    """The answer to a watch; `content.iter_any()` yields chunks as aiohttp's does."""

    _serial = 0

    def __init__(self, server: FakeServer, kind: Kind, table: _Table, namespace: str, query: Mapping[str, str]) -> None:
        Stream._serial += 1
        self.number = Stream._serial
        self.resource = kind.resource
        self.content = self
        self.status = 200
        self.silent = False
        self.delay_s: Callable[[], float] = lambda: 0.0
        self._server = server
        self._table = table
        self._matches = selection(namespace, query.get("labelSelector", ""), query.get("fieldSelector", ""))
        self._timeout_s = float(query.get("timeoutSeconds") or 1800)
        self._bookmarks = query.get("allowWatchBookmarks") == "true"
        self._at = int(query.get("resourceVersion") or 0)
        self._changed = asyncio.Event()
        self._ended = False
        self._held_until_s = 0.0
        self._bookmark_due = False
        self._error: Exception | None = None
        self._failure = b""
        table.streams.add(self)

    def wake(self) -> None:
        self._changed.set()

    def end(self) -> None:
        """The server ends the answer normally."""
        self._ended = True
        self.wake()

    def lose(self) -> None:
        """Drop the events that were not delivered yet."""
        self._at = self._server.version

    def cut(self, error: Exception) -> None:
        """The connection breaks."""
        self._error = error
        self.wake()

    def fail(self, code: int, reason: str, message: str) -> None:
        """The server reports an error inside the stream, and ends it."""
        self._failure = _error_event(code, reason, message)
        self.wake()

    def hold(self, seconds: float) -> None:
        """Deliver nothing for a while."""
        self._held_until_s = asyncio.get_running_loop().time() + seconds
        self.wake()

    def repeat(self, versions: int) -> None:
        """Deliver the events of the last versions again."""
        self._at = max(self._table.compacted, self._at - versions)
        self.wake()

    def mark(self) -> None:
        """Send a bookmark now, to clients that asked for bookmarks."""
        self._bookmark_due = True
        self.wake()

    def close(self) -> None:
        self._table.streams.discard(self)

    async def iter_any(self) -> AsyncIterator[bytes]:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._timeout_s
        bookmark = loop.time() + self._server.bookmark_s
        try:
            while True:
                if self._error is not None:
                    raise self._error
                if self._ended:
                    return
                if self._at < self._table.compacted:
                    yield _error_event(410, "Expired", f"too old resource version: {self._at}")
                    return
                if self._failure and not self.silent:
                    yield self._failure
                    return
                now = loop.time()
                held = now < self._held_until_s
                pending = [] if self.silent or held else self._pending()
                if pending:
                    delay_s = self.delay_s()
                    if delay_s:
                        await asyncio.sleep(delay_s)
                        if self._error is not None or self.silent or self._ended:  # type: ignore[redundant-expr]
                            continue
                    self._at = pending[-1][0]
                    chunk = b"".join(event for _, event in pending)
                    if chunk:
                        yield chunk
                    continue
                if now >= deadline and not self.silent:
                    return
                if (now >= bookmark or self._bookmark_due) and not self.silent and not held:
                    self._bookmark_due = False
                    bookmark = now + self._server.bookmark_s
                    if self._bookmarks:
                        self._at = max(self._at, self._server.version)
                        yield self._bookmark()
                    continue
                self._changed.clear()
                due = min(deadline, self._held_until_s if held else bookmark)
                timer = None if self.silent else loop.call_at(due, self.wake)
                try:
                    await self._changed.wait()
                finally:
                    if timer is not None:
                        timer.cancel()
        finally:
            self.close()

    def _pending(self) -> list[tuple[int, bytes]]:
        history = self._table.history
        first = len(history)
        while first and history[first - 1].version > self._at:
            first -= 1
        return [(change.version, self._event(change)) for change in history[first:]]

    def _event(self, change: Change) -> bytes:
        was = change.before is not None and self._matches(change.before.obj)
        now = change.type != "DELETED" and self._matches(change.after.obj)
        if now:
            kind = b"MODIFIED" if was else b"ADDED"
        elif was:
            kind = b"DELETED"
        else:
            return b""
        return b'{"type":"' + kind + b'","object":' + change.after.content() + b"}\n"

    def _bookmark(self) -> bytes:
        resource = self.resource
        obj = {
            "apiVersion": resource.api_version,
            "kind": resource.kind,
            "metadata": {"resourceVersion": str(self._at)},
        }
        return orjson.dumps({"type": "BOOKMARK", "object": obj}) + b"\n"


def selection(namespace: str, labels: str, field_text: str) -> Callable[[Obj], bool]:
    """Whether an object is in a namespace (empty: all) and matches both selectors."""
    tests: list[Callable[[Obj], bool]] = []
    if namespace:
        tests.append(lambda obj: obj["metadata"].get("namespace") == namespace)
    tests += [_label_test(term) for term in _terms(labels)]
    for term in filter(None, field_text.split(",")):
        path, _, value = term.partition("=")
        steps = path.removesuffix("!").split(".")
        negated = path.endswith("!")
        tests.append(lambda obj, s=steps, v=value.removeprefix("="), n=negated: (_at(obj, s) == v) != n)  # type: ignore[misc]
    return lambda obj: all(test(obj) for test in tests)


def _terms(text: str) -> Iterable[str]:
    return (term.strip() for term in re.split(r",(?![^(]*\))", text) if term.strip())


def _label_test(term: str) -> Callable[[Obj], bool]:
    def value(obj: Obj, key: str) -> str | None:
        found = (obj["metadata"].get("labels") or {}).get(key)
        return None if found is None else str(found)

    among = re.fullmatch(r"(\S+)\s+(in|notin)\s+\(([^)]*)\)", term)
    if among:
        key, values = among[1], {v.strip() for v in among[3].split(",")}
        if among[2] == "in":
            return lambda obj: value(obj, key) in values
        return lambda obj: value(obj, key) not in values
    if "!=" in term:
        key, _, other = term.partition("!=")
        return lambda obj: value(obj, key.strip()) != other.strip()
    if "=" in term:
        key, _, other = term.partition("=")
        return lambda obj: value(obj, key.strip()) == other.removeprefix("=").strip()
    if term.startswith("!"):
        return lambda obj: value(obj, term[1:].strip()) is None
    return lambda obj: value(obj, term) is not None


def _at(obj: Any, steps: list[str]) -> str:
    for step in steps:
        obj = obj.get(step) if isinstance(obj, dict) else None
    return "" if obj is None else str(obj)


def merge_patched(target: Any, patch: Any) -> Any:
    """RFC 7386."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merge_patched(result.get(key), value)
    return result


def json_patched(target: Obj, operations: Any) -> Any:
    """RFC 6902 without `move` and `copy`."""
    result: Any = orjson.loads(orjson.dumps(target))
    for operation in operations:
        steps = [s.replace("~1", "/").replace("~0", "~") for s in operation["path"].split("/")[1:]]
        parent = result
        try:
            for step in steps[:-1]:
                parent = parent[int(step)] if isinstance(parent, list) else parent[step]
            _json_operation(parent, steps[-1], operation)
        except (KeyError, IndexError, ValueError) as error:
            raise StatusError(422, "Invalid", f"the server rejected our request: {operation}: {error}") from error
    return result


def _json_operation(parent: Any, step: str, operation: Obj) -> None:
    kind = operation["op"]
    at: Any = step
    if isinstance(parent, list):
        at = len(parent) if step == "-" else int(step)
    if kind == "test":
        if parent[at] != operation.get("value"):
            raise ValueError("testing value failed")
    elif kind == "remove":
        del parent[at]
    elif kind == "replace":
        if isinstance(parent, dict) and at not in parent:
            raise KeyError(at)
        parent[at] = operation["value"]
    elif isinstance(parent, list):
        parent.insert(at, operation["value"])
    else:
        parent[at] = operation["value"]


def _parsed(body: bytes | None) -> Any:
    if not body:
        return None
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise StatusError(400, "BadRequest", f"the body is not JSON: {error}") from error


def _invalid(kind: Kind, name: str, at: str, text: str) -> StatusError:
    return _refused(kind, name, [("FieldValueInvalid", at, f"Invalid value: {text}")])


def _refused(kind: Kind, name: str, found: list[immutables.Cause]) -> StatusError:
    resource = kind.resource
    whole = resource.kind + (f".{resource.group}" if resource.group else "")
    told = ", ".join(f"{at}: {text}" for _, at, text in found)
    return StatusError(
        422,
        "Invalid",
        f'{whole} "{name}" is invalid: {told if len(found) == 1 else f"[{told}]"}',
        name=name,
        kind=resource.kind,
        **({"group": resource.group} if resource.group else {}),
        causes=[{"reason": reason, "message": text, "field": at} for reason, at, text in found],
    )


def _check_immutable(kind: Kind, before: Stored, obj: Obj) -> None:
    found = immutables.causes(before.obj, obj)
    if found:
        raise _refused(kind, before.meta["name"], found)


def _written(kind: Kind, by: tuple[str, str, str]) -> str:
    """A field manager as conflicts write it."""
    manager, operation, subresource = by
    text = orjson.dumps(manager).decode() + (f' with subresource "{subresource}"' if subresource else "")
    return f"{text} using {kind.resource.api_version}" if operation == "Update" else text


def _conflict(conflicts: list[tuple[str, Path]]) -> StatusError:
    causes = [
        {"reason": "FieldManagerConflict", "message": f"conflict with {manager}", "field": fields.text(path)}
        for manager, path in conflicts
    ]
    if len(causes) == 1:
        told = f"1 conflict: {causes[0]['message']}: {causes[0]['field']}"
    else:
        by_manager = {
            manager: [f"- {fields.text(path)}" for other, path in conflicts if other == manager]
            for manager, _ in sorted(conflicts)
        }
        parts = ["\n".join((f"conflicts with {manager}:", *told)) for manager, told in by_manager.items()]
        told = f"{len(causes)} conflicts: " + "\n".join(parts)
    return StatusError(409, "Conflict", f"Apply failed with {told}", causes=causes)


def _scale_of(stored: Stored) -> Obj:
    copied = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
    meta = {name: stored.obj["metadata"][name] for name in copied if name in stored.obj["metadata"]}
    status = {"replicas": (stored.obj.get("status") or {}).get("replicas", 0)}
    spec = {"replicas": stored.obj["spec"]["replicas"]}
    return {"kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": meta, "spec": spec, "status": status}


def _owner_entry(stored: Stored, uid: str) -> Obj | None:
    owners = stored.obj["metadata"].get("ownerReferences") or ()
    return next((owner for owner in owners if owner.get("uid") == uid), None)


_SCALARS: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
}


def _structural(value: Any, schema: Mapping[str, Any], at: str, errors: list[tuple[str, str]]) -> Any:
    """Default, prune and validate an object by its structural schema: types, required, enum, bounds."""
    wanted = schema.get("type")
    if value is None:
        return value
    if wanted == "object" or "properties" in schema:
        if not isinstance(value, dict):
            errors.append((at or ".", f"must be of type object: {value!r}"))
            return value
        return _structural_object(value, schema, at, errors)
    if wanted == "array":
        if not isinstance(value, list):
            errors.append((at, f"must be of type array: {value!r}"))
            return value
        items = schema.get("items") or {}
        return [_structural(item, items, f"{at}[{i}]", errors) for i, item in enumerate(value)]
    if wanted in _SCALARS and (
        not isinstance(value, _SCALARS[wanted]) or (isinstance(value, bool) and wanted != "boolean")
    ):
        errors.append((at, f"must be of type {wanted}: {value!r}"))
    if "enum" in schema and value not in schema["enum"]:
        errors.append((at, f"unsupported value: {value!r}"))
    if "minimum" in schema and isinstance(value, int | float) and value < schema["minimum"]:
        errors.append((at, f"should be greater than or equal to {schema['minimum']}"))
    if "maximum" in schema and isinstance(value, int | float) and value > schema["maximum"]:
        errors.append((at, f"should be less than or equal to {schema['maximum']}"))
    return value


def _structural_object(
    value: Mapping[str, Any], schema: Mapping[str, Any], at: str, errors: list[tuple[str, str]]
) -> Obj:
    properties = schema.get("properties") or {}
    additional = schema.get("additionalProperties")
    keeps = bool(schema.get("x-kubernetes-preserve-unknown-fields"))
    result: Obj = {}
    for name, item in value.items():
        below = f"{at}.{name}" if at else name
        if name in properties:
            if name == "metadata" and not at:
                result[name] = item
            else:
                result[name] = _structural(item, properties[name], below, errors)
        elif isinstance(additional, Mapping):
            result[name] = _structural(item, additional, below, errors)
        elif keeps or additional is True:
            result[name] = item
    for name, below_schema in properties.items():
        if name not in result and "default" in below_schema:
            default = orjson.loads(orjson.dumps(below_schema["default"]))
            result[name] = _structural(default, below_schema, f"{at}.{name}", errors)
    errors += [(f"{at}.{name}", "Required value") for name in schema.get("required", ()) if name not in result]
    return result


def _same(a: Obj, b: Obj) -> bool:
    keep = ("resourceVersion", "managedFields")
    left, right = ({k: v for k, v in o["metadata"].items() if k not in keep} for o in (a, b))
    return left == right and {**a, "metadata": None} == {**b, "metadata": None}


def _same_spec(a: Obj, b: Obj) -> bool:
    return {**a, "metadata": None, "status": None} == {**b, "metadata": None, "status": None}


def _error_event(code: int, reason: str, message: str) -> bytes:
    return orjson.dumps({"type": "ERROR", "object": StatusError(code, reason, message).body}) + b"\n"


@lru_cache(maxsize=512)
def _query(text: str) -> Mapping[str, str]:
    """Not to be changed."""
    return dict(parse_qsl(text, keep_blank_values=True))


@lru_cache(maxsize=64)
def _digest(document: bytes) -> str:
    return hashlib.sha256(document).hexdigest()[:16].upper()


@cache
def _catalog() -> Catalog:
    return bundled()


@cache
def _builtin() -> dict[GVK, Kind]:
    """The kinds of Kubernetes and of kro itself. Schemas of those whose lists matter are known."""
    catalog = _catalog()
    found: dict[GVK, Kind] = {}
    for gvk in catalog:
        resource = catalog.resource(gvk)
        assert resource is not None
        # kro's own kinds are CRDs, but every installation has them.
        schema = catalog.schema(gvk) if gvk.group in ("", "apps", "batch", "autoscaling") else None
        status = gvk.group in _WITH_STATUS or gvk.kind in ("Namespace", "Service", "Pod")
        found[gvk] = Kind(resource, schema, status, gvk.group in _COUNTED_GROUPS)
    found[REVISIONS.gvk] = Kind(REVISIONS, None, True, True)
    return found


@cache
def _packaged(api_version: str) -> bytes | None:
    if not any(gvk.api_version == api_version for gvk in _catalog()):
        return None
    packed = (package_data.files("kroasync.schema") / "data" / file_of(api_version)).read_bytes()
    return orjson.dumps({"openapi": "3.0.0", "components": {"schemas": orjson.loads(gzip.decompress(packed))}})
