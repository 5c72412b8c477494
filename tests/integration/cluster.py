"""A small synchronous client of the control plane for tests, and a test environment of one namespace and one API group.

It waits by polling every 20 ms until a deadline; the message of a failure has the last state.
"""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias, TypeVar
from urllib.parse import quote, urlsplit

from kroasync.playground import Playground
from tests import samples
from tests.samples import config_map as config_map  # what tests of a lab need comes with it
from tests.waiting import POLL_S
from tests.waiting import eventually as eventually

T = TypeVar("T")
Obj: TypeAlias = dict[str, Any]

_WELL_KNOWN = {
    "Namespace": "v1",
    "ConfigMap": "v1",
    "Secret": "v1",
    "Service": "v1",
    "PersistentVolumeClaim": "v1",
    "ServiceAccount": "v1",
    "Deployment": "apps/v1",
    "Ingress": "networking.k8s.io/v1",
    "NetworkPolicy": "networking.k8s.io/v1",
    "CronJob": "batch/v1",
    "Job": "batch/v1",
    "Pod": "v1",
    "Role": "rbac.authorization.k8s.io/v1",
    "RoleBinding": "rbac.authorization.k8s.io/v1",
    "ClusterRoleBinding": "rbac.authorization.k8s.io/v1",
    "ClusterRole": "rbac.authorization.k8s.io/v1",
    "PriorityClass": "scheduling.k8s.io/v1",
    "CustomResourceDefinition": "apiextensions.k8s.io/v1",
    "Event": "events.k8s.io/v1",
    "ResourceGroup": "kro.run/v1alpha1",
    "ResourceGraphDefinition": "kro.run/v1alpha1",
    "GraphRevision": "internal.kro.run/v1alpha1",
}
APPLY = "application/apply-patch+yaml"
MERGE = "application/merge-patch+json"


class RefusedError(Exception):
    """The API server refused the request."""

    def __init__(self, status: int, body: Any) -> None:
        self.status = status
        self.message = body.get("message", "") if isinstance(body, dict) else str(body)
        super().__init__(f"{status}: {self.message}")


class Cluster:
    """The API server with the rights of its administrator, or of a token's owner."""

    def __init__(self, playground: Playground, *, token: str = "") -> None:
        self.playground = playground
        self._netloc = urlsplit(playground.server).netloc
        self._token = token or playground.admin_token
        self._tls = ssl.create_default_context(cafile=str(playground.certificate))
        # One connection per thread, because a connection serves one request at a time.
        self._local = threading.local()
        self._connections: list[http.client.HTTPSConnection] = []
        self._resources: dict[tuple[str, str], tuple[str, bool]] = {}

    def call(self, method: str, path: str, body: Any = None, *, content_type: str = "application/json") -> Any:
        """The JSON answer; raises RefusedError for a status from 400 up, OSError if nobody answers."""
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": content_type}
        sent = None if body is None else json.dumps(body)
        for attempt in (1, 2):
            connection: http.client.HTTPSConnection | None = getattr(self._local, "connection", None)
            if connection is None:
                connection = http.client.HTTPSConnection(self._netloc, context=self._tls, timeout=30)
                self._local.connection = connection
                self._connections.append(connection)
            try:
                connection.request(method, path, sent, headers)
                answer = connection.getresponse()
                content = answer.read()
                break
            except (OSError, http.client.HTTPException):
                # The server may have closed the kept connection meanwhile.
                connection.close()
                self._local.connection = None
                if attempt == 2:
                    raise
        # Of a path that it does not serve, for instance after a CRD is gone, the API server says so in plain text.
        is_json = "json" in answer.getheader("Content-Type", "")
        found = json.loads(content or b"null") if is_json else content.decode(errors="replace")
        if answer.status >= 400:
            raise RefusedError(answer.status, found)
        return found

    def close(self) -> None:
        for connection in self._connections:
            connection.close()

    def path(self, kind: str, namespace: str = "", name: str = "", *, api_version: str = "") -> str:
        """The URL path of an object, or of the kind in a namespace. Raises KeyError for a kind not served."""
        version = api_version or _WELL_KNOWN[kind]
        prefix = f"/apis/{version}" if "/" in version else f"/api/{version}"
        if (version, kind) not in self._resources:
            try:
                served = self.call("GET", prefix)["resources"]
            except RefusedError:
                served = []
            for entry in served:
                if "/" not in entry["name"]:
                    self._resources[(version, entry["kind"])] = (entry["name"], entry["namespaced"])
        plural, namespaced = self._resources[(version, kind)]
        place = f"/namespaces/{namespace}" if namespaced and namespace else ""
        return f"{prefix}{place}/{plural}" + (f"/{quote(name)}" if name else "")

    def path_of(self, obj: Obj) -> str:
        meta = obj["metadata"]
        return self.path(obj["kind"], meta.get("namespace", ""), meta["name"], api_version=obj["apiVersion"])

    def create(self, obj: Obj) -> Obj:
        return dict(self.call("POST", self.path_of(obj).rsplit("/", 1)[0], obj))

    def apply(self, obj: Obj, *, manager: str = "test") -> Obj:
        """Server-side apply, with force."""
        path = f"{self.path_of(obj)}?fieldManager={manager}&force=true"
        return dict(self.call("PATCH", path, obj, content_type=APPLY))

    def read(self, path: str) -> Obj | None:
        try:
            return dict(self.call("GET", path))
        except RefusedError as error:
            if error.status == 404:
                return None
            raise

    def list(self, path: str, selector: str = "") -> list[Obj]:
        found = self.call("GET", path + (f"?labelSelector={quote(selector)}" if selector else ""))
        return list(found["items"])

    def merge(self, path: str, patch: Obj) -> Obj:
        return dict(self.call("PATCH", path, patch, content_type=MERGE))

    def delete(self, path: str, **options: Any) -> None:
        """Delete the object; it may already be gone."""
        try:
            self.call("DELETE", path, options or None)
        except RefusedError as error:
            if error.status != 404:
                raise


def for_a_while(look: Callable[[], T], *, seconds: float = 0.5) -> Iterator[T]:
    """The results of `look`, repeated for some time, to check that something does not happen."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        yield look()
        threading.Event().wait(POLL_S)


class Lab:
    """The namespace and API group of one test, with a running controller."""

    def __init__(self, cluster: Cluster, *, namespace: str, group: str, controller: Any) -> None:
        self.cluster = cluster
        self.namespace = namespace
        self.group = group
        self.controller = controller
        self.definitions: list[str] = []

    # Definitions

    def definition(
        self,
        kind: str,
        resources: Sequence[Obj],
        *,
        spec: Mapping[str, Any] | None = None,
        status: Mapping[str, Any] | None = None,
        name: str = "",
        **schema: Any,
    ) -> Obj:
        """A ResourceGraphDefinition of the lab's group."""
        schema = {"group": self.group, "status": status, **schema}
        return samples.definition(kind, resources, name=name or self.definition_name(kind), spec=spec, **schema)

    def definition_name(self, kind: str) -> str:
        return f"{kind.lower()}.{self.group}"

    def define(self, kind: str, resources: Sequence[Obj], **options: Any) -> Obj:
        """Apply a definition and wait until it is Active for the applied generation."""
        return self.define_object(self.definition(kind, resources, **options))

    def define_object(self, obj: Obj) -> Obj:
        applied = self.submit(obj)
        return self.await_definition(applied["metadata"]["name"], generation=applied["metadata"]["generation"])

    def submit(self, obj: Obj) -> Obj:
        """Apply a definition without waiting."""
        self.definitions.append(obj["metadata"]["name"])
        return self.cluster.apply(obj)

    def read_definition(self, name: str) -> Obj:
        return self.cluster.read(self.cluster.path("ResourceGraphDefinition", "", name)) or {}

    def await_definition(
        self, name: str, state: str = "Active", *, generation: int = 0, message: str = "", timeout_s: float = 20.0
    ) -> Obj:
        """The definition, once its status is about this generation and the message of a condition contains a text."""

        def holds(obj: Obj) -> bool:
            status, wanted = obj.get("status", {}), generation or obj["metadata"]["generation"]
            conditions = status.get("conditions") or []
            accepted = condition(obj, "GraphAccepted")
            if state == "Active" and accepted.get("reason") == "InvalidResourceGraph":
                assert accepted["observedGeneration"] < wanted, accepted["message"]
            return (
                status.get("state") == state
                and accepted.get("observedGeneration", 0) >= wanted
                and (state != "Active" or is_true(obj, "Ready"))
                and any(message in c.get("message", "") for c in conditions)
            )

        return eventually(lambda: self.read_definition(name), holds, timeout_s=timeout_s, what=f"{name} {state}")

    # Instances

    def instance(self, kind: str, name: str = "one", spec: Obj | None = None, **meta: Any) -> Obj:
        """Apply a new instance; returns what the server stored.

        It does not use POST: the server delays a POST for a CRD that is younger than 2 s.
        """
        obj: Obj = {
            "apiVersion": f"{self.group}/v1alpha1",
            "kind": kind,
            "metadata": {"name": name, "namespace": self.namespace, **meta},
            "spec": spec or {},
        }
        if meta.get("namespace", self.namespace) is None:
            del obj["metadata"]["namespace"]
        return self.cluster.apply(obj)

    def path(self, kind: str, name: str = "one") -> str:
        return self.cluster.path(kind, self.namespace, name, api_version=f"{self.group}/v1alpha1")

    def read(self, kind: str, name: str = "one") -> Obj:
        """The instance; {} if there is none."""
        return self.cluster.read(self.path(kind, name)) or {}

    def edit(self, kind: str, name: str = "one", **patch: Any) -> Obj:
        return self.cluster.merge(self.path(kind, name), patch)

    def await_state(
        self, kind: str, name: str = "one", state: str = "ACTIVE", *, message: str = "", timeout_s: float = 20.0
    ) -> Obj:
        """The instance, once it has that state for its own generation, and the message of Ready contains a text."""

        def holds(obj: Obj) -> bool:
            status = obj.get("status", {})
            return (
                status.get("state") == state
                # A suspended instance also stays ACTIVE.
                and (state != "ACTIVE" or is_true(obj, "Ready"))
                and status.get("observedGeneration") == obj["metadata"]["generation"]
                and message in condition(obj, "Ready").get("message", "")
            )

        return eventually(
            lambda: self.read(kind, name), holds, timeout_s=timeout_s, what=f"{kind} {name} {state} {message}"
        )

    def await_status(
        self, kind: str, name: str = "one", *, check: Callable[[Obj], Any], timeout_s: float = 20.0
    ) -> Obj:
        """The instance, once `check` is true for its status."""
        return eventually(
            lambda: self.read(kind, name),
            lambda obj: check(obj.get("status", {})),
            timeout_s=timeout_s,
            what=f"{kind} {name}",
        )

    def await_gone(self, path: str, *, timeout_s: float = 20.0) -> None:
        eventually(lambda: self.cluster.read(path), lambda obj: obj is None, timeout_s=timeout_s, what=f"{path} gone")

    def events(self, name: str = "one", *, reason: str = "") -> list[Obj]:
        """Events on the instance with this name."""
        found = self.cluster.list(self.cluster.path("Event", self.namespace))
        return [
            e for e in found if e.get("regarding", {}).get("name") == name and (not reason or e.get("reason") == reason)
        ]

    # Children

    def child_path(self, kind: str, name: str, namespace: str = "") -> str:
        return self.cluster.path(kind, namespace or self.namespace, name)

    def child(self, kind: str, name: str, namespace: str = "") -> Obj:
        """The child; {} if there is none."""
        return self.cluster.read(self.child_path(kind, name, namespace)) or {}

    def await_child(self, kind: str, name: str, check: Callable[[Obj], Any] = bool, **options: Any) -> Obj:
        return eventually(lambda: self.child(kind, name), check, what=f"{kind} {name}", **options)

    def configs(self, selector: str = "kro.run/owned=true") -> dict[str, Obj]:
        """The ConfigMaps of the lab's namespace by name; by default, only the managed ones."""
        found = self.cluster.list(self.cluster.path("ConfigMap", self.namespace), selector)
        return {obj["metadata"]["name"]: obj for obj in found}

    def await_configs(self, expected: set[str], **options: Any) -> dict[str, Obj]:
        return eventually(self.configs, lambda found: set(found) == expected, what=f"ConfigMaps {expected}", **options)

    def open(self) -> None:
        """Create the namespace."""
        self.cluster.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.namespace}})

    def close(self) -> None:
        """Delete the namespace and the definitions; the controller then deletes the generated kinds."""
        self.cluster.delete(self.cluster.path("Namespace", "", self.namespace))
        for name in self.definitions:
            self.cluster.delete(self.cluster.path("ResourceGraphDefinition", "", name))


def node(id_: str, template: Obj, **extra: Any) -> Obj:
    """A resource of a definition."""
    return {"id": id_, "template": template, **extra}


def config(id_: str, name: str = "", data: Mapping[str, Any] | None = None, **extra: Any) -> Obj:
    """A ConfigMap as a resource of a definition; by default, its name has those of the instance and the id."""
    meta: Obj = {"name": name or f"${{schema.metadata.name}}-{id_}", **extra.pop("metadata", {})}
    template: Obj = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta}
    if data is not None:
        template["data"] = dict(data)
    return node(id_, template, **extra)


def condition(obj: Obj, type_: str) -> Obj:
    """The condition of that type, {} if there is none."""
    found = obj.get("status", {}).get("conditions") or []
    return next((dict(c) for c in found if c["type"] == type_), {})


def is_true(obj: Obj, type_: str) -> bool:
    return bool(condition(obj, type_).get("status") == "True")


def applyset_id(obj: Obj) -> str:
    """The ApplySet id of a parent (KEP-3659)."""
    meta = obj["metadata"]
    group = obj["apiVersion"].partition("/")[0] if "/" in obj["apiVersion"] else ""
    text = f"{meta['name']}.{meta.get('namespace', '')}.{obj['kind']}.{group}"
    return f"applyset-{_digest(text)}-v1"


def inventory_hash(id_: str, group_kinds: str, namespaces: str) -> str:
    return f"sha256:{_digest(chr(0).join((id_, group_kinds, namespaces)))}"


def _digest(text: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode().rstrip("=")


def audited(playground: Playground, *, user: str, since: int = 0) -> list[Obj]:
    """The finished requests of a user, without watches, from an offset of the audit log."""
    with Path(playground.audit_log).open("rb") as log:
        log.seek(since)
        lines = log.read().splitlines()
    found = []
    for line in lines:
        if not line.endswith(b"}") or user.encode() not in line:
            continue
        event = json.loads(line)
        if event["user"]["username"] == user and event["verb"] != "watch":
            found.append(event)
    return found
